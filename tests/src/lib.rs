//! What tests stand on: [`vm`] drives QEMU guests, [`process`] ties programs to us, [`built`] finds the images, [`web`] is a
//! mirror that behaves or lies, [`recorded`] what a genuine razor-server answers, [`tpm`] an emulated TPM, [`drive`] a disk that loses
//! power, [`skip`] is
//! for tests that cannot run everywhere, [`limits`] holds every time-out and size.

pub mod built;
pub mod drive;
pub mod fuzz;
pub mod limits;
pub mod process;
pub mod recorded;
mod skip;
pub mod tpm;
pub mod vm;
pub mod web;

pub use skip::{skip, skip_even_there};
