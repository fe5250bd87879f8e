//! What the end-to-end tests stand on: [`vm`] drives QEMU guests, [`process`] ties programs to us, [`limits`] holds
//! every time-out and size.

pub mod limits;
pub mod process;
pub mod vm;
