//! QEMU guests: what machine they are ([`Machine`]), what they boot ([`Boot`]), and a running one ([`Guest`]).
//!
//! Pure: [`spec`], [`smbios`], [`command`] (machine in, QEMU arguments and table bytes out), [`sector`] (a disk that
//! speaks), [`trap`] (what was written to a disk). With effects: [`accel`] (is KVM sound here), [`guest`] (the process),
//! [`console`] (its serial port), [`qmp`] (its monitor), `bmc` (its service processor).

pub mod accel;
pub mod command;
pub mod console;
pub mod guest;
pub mod qmp;
pub mod sector;
pub mod smbios;
pub mod spec;
pub mod trap;

mod bmc;
mod probe;

pub use accel::Accel;
pub use command::{Boot, Firmware, Forward, Medium};
pub use console::Console;
pub use guest::{Guest, Options};
pub use spec::Machine;
