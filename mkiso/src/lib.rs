//! Core ISO in, microkernel ISO out.
//!
//! [`base`] assembles a Core-layout ISO from Debian packages, [`mirrors`] gets Tiny Core's own, [`build`] makes an image of
//! one with its bill of materials ([`sbom`]), [`customize`] fits an image to a site by way of its [`slot`] and [`bootline`]s, [`inspect`] shows it, [`verify`] compares it with
//! its manifest. [`iso`] and [`cpio`] are the formats. What the
//! parts share is here: what operators hand in ([`input`]), whole-or-nothing output ([`output`]), progress on the
//! terminal ([`progress`]), the builder's cache ([`cache`]) and every limit ([`limits`]).

pub mod base;
pub mod bootline;
pub mod build;
pub mod cache;
pub mod cpio;
pub mod customize;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod gems;
pub mod image;
pub mod input;
pub mod inspect;
pub mod interrupt;
pub mod iso;
pub mod limits;
pub mod mirrors;
pub mod output;
pub mod patch;
pub mod progress;
pub mod sbom;
pub mod slot;
pub mod verify;
