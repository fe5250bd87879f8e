//! Tiny Core extensions: repository format, dependency closure, verification, load plan, (feature `serve`) a mirror's
//! files over HTTP, (feature `fetch`) copies of a mirror's extensions, (feature `signed`)
//! a folder's signed index, and (feature `build`) making them from Debian
//! packages.

#[cfg(feature = "build")]
pub mod apt;
pub mod checksum;
#[cfg(feature = "build")]
pub mod deb;
#[cfg(feature = "build")]
pub mod elf;
#[cfg(feature = "fetch")]
pub mod fetch;
#[cfg(feature = "import")]
pub mod find;
#[cfg(all(any(test, fuzzing), feature = "import", feature = "serve"))]
pub mod fuzz;
#[cfg(feature = "import")]
pub mod import;
#[cfg(feature = "import")]
pub mod index;
#[cfg(feature = "build")]
pub mod libraries;
pub mod limits;
#[cfg(feature = "build")]
pub mod package;
pub mod plan;
#[cfg(feature = "build")]
pub mod recipe;
pub mod repository;
#[cfg(feature = "serve")]
pub mod serve;
#[cfg(feature = "cli")]
pub mod sign;
#[cfg(feature = "signed")]
pub mod signed;
#[cfg(feature = "fetch")]
pub mod sync;
#[cfg(feature = "build")]
pub mod tcz;
#[cfg(feature = "build")]
pub mod tool;
#[cfg(feature = "build")]
pub mod tree;
