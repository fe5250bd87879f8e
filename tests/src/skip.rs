//! Tests that cannot run everywhere.

use std::io::Write as _;

/// Set where everything that the tests need has been installed.
const NO_SKIP: &str = "MK_NO_SKIP";

/// Says on standard error that a test does not run here, and why.
///
/// # Panics
/// Where `MK_NO_SKIP` is set: `cargo xtask test` has installed all that tests need, so none may be left out.
pub fn skip(why: &str) {
    assert!(std::env::var_os(NO_SKIP).is_none(), "this test must run where {NO_SKIP} is set, but {why}");
    skip_even_there(why);
}

/// Says the same of a test that asks more of the machine than can be installed, such as firmware tables.
pub fn skip_even_there(why: &str) {
    // Not by `eprintln!`, which the test runner swallows.
    let _ = writeln!(std::io::stderr(), "SKIPPED: {why}");
}
