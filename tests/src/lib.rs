//! What the end-to-end tests stand on: [`vm`] drives QEMU guests, [`limits`] holds every time-out and size.

pub mod limits;
pub mod vm;
