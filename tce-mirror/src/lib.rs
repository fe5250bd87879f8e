//! Tiny Core extensions: repository format, dependency closure, verification, load plan.

pub mod plan;
