//! The fleet as a whole: what its machines are made of, and which of them are odd among their kind. Pure.

pub mod makeup;
pub mod outliers;
pub mod parts;
pub mod ports;
