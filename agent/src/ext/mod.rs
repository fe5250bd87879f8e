//! stub

/// Runs the unit until it is told to stop.
///
/// # Errors
/// What failed, on what.
pub(crate) fn run() -> anyhow::Result<()> {
    anyhow::bail!("unit ext is not written yet")
}
