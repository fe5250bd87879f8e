//! Numbers for jitter and transaction ids. Not for keys: they may be predictable in the first moments of a boot, when
//! waiting for the kernel's good ones would cost a second.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};

/// Another number each time.
pub(crate) fn random() -> u64 {
    // Each state has keys of its own, from the kernel and a counter.
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_differ() {
        let numbers: std::collections::BTreeSet<u64> = (0..1000).map(|_| random()).collect();
        assert_eq!(numbers.len(), 1000);
    }
}
