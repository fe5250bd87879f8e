//! Core ISO in, microkernel ISO out.
//!
//! [`base`] assembles a Core-layout ISO from Debian packages. What the parts share is here: whole-or-nothing output
//! ([`output`]), progress on the terminal ([`progress`]), the builder's cache ([`cache`]) and every limit
//! ([`limits`]).

pub mod base;
pub mod cache;
pub mod cpio;
pub mod limits;
pub mod output;
pub mod progress;
pub mod tool;
