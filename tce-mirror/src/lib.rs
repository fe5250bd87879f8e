//! Tiny Core extensions: repository format, dependency closure, verification, load plan, (feature `fetch`) copies of a
//! mirror's extensions, and (feature `build`) making them from Debian packages.

pub mod checksum;
#[cfg(feature = "build")]
pub mod deb;
#[cfg(feature = "fetch")]
pub mod fetch;
mod limits;
pub mod plan;
#[cfg(feature = "fetch")]
pub mod sync;
#[cfg(feature = "build")]
pub mod tcz;
#[cfg(feature = "build")]
pub mod tree;
