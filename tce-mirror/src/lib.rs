//! Tiny Core extensions: repository format, dependency closure, verification, load plan, and (feature `build`) making
//! them from Debian packages.

#[cfg(feature = "build")]
pub mod deb;
pub mod plan;
#[cfg(feature = "build")]
pub mod tcz;
#[cfg(feature = "build")]
pub mod tree;
