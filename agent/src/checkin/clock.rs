//! Whether this machine's clock can be right. A wrong clock is no reason not to check in, but it makes times in
//! logs worthless and certificates look invalid, so that it is said; and where the server has proved who it is, the system's
//! clock is set to the server's. The one on the board is left alone: nothing on a machine is written.

use std::time::Duration;

use anyhow::Context as _;
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_settime};

use wire::error::Problem;

use crate::limits::CLOCK_OFF;

/// What is wrong with our clock if the server's is right, both in seconds since 1970.
pub(super) fn wrong(ours: Option<i64>, servers: Option<i64>) -> Option<Problem> {
    let (ours, servers) = (ours?, servers?);
    let off = Duration::from_secs(ours.abs_diff(servers));
    if off < CLOCK_OFF {
        return None;
    }
    let way = if ours < servers { "behind" } else { "ahead of" };
    let text = format!("this machine's clock is {} {way} the server's", coarse(off));
    let remedy = "Set it in the firmware setup, or replace the board's battery; until then times in this machine's logs are wrong.";
    Some(Problem::new("clock", text, remedy))
}

/// Sets this machine's clock to the server's, in seconds since 1970.
///
/// # Errors
/// The kernel refuses it, such as under another init that does not give the right.
pub(super) fn set(servers: i64) -> anyhow::Result<()> {
    let time = TimeSpec::from_duration(Duration::from_secs(u64::try_from(servers).context("it is before 1970")?));
    clock_settime(ClockId::CLOCK_REALTIME, time).with_context(|| format!("cannot set the clock to {servers}"))
}

/// In the largest unit of which there are two.
fn coarse(time: Duration) -> String {
    let seconds = time.as_secs();
    let units = [(365 * 86_400, "years"), (86_400, "days"), (3600, "hours"), (60, "minutes"), (1, "seconds")];
    let (size, name) = units.into_iter().find(|(size, _)| seconds >= 2 * size).unwrap_or((1, "seconds"));
    format!("{} {name}", seconds / size)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: i64 = 1_790_000_000;

    #[test]
    fn a_dead_battery_is_named_and_a_small_difference_is_not() {
        for (ours, words) in [
            (NOW - 299, None),
            (NOW + 299, None),
            (NOW - 300, Some("5 minutes behind the server's")),
            (NOW + 10_000, Some("2 hours ahead of the server's")),
            (NOW - 86_400 * 3, Some("3 days behind")),
            (915_148_800, Some("27 years behind")),
            (2_208_988_800, Some("13 years ahead of")),
        ] {
            let problem = wrong(Some(ours), Some(NOW));
            assert_eq!(problem.is_some(), words.is_some(), "{ours}");
            assert!(problem.is_none_or(|p| p.error.contains(words.unwrap()) && p.remedy.contains("battery")), "{ours}");
        }
    }

    proptest! {
        #[test]
        fn any_clocks_are_compared(ours in any::<Option<i64>>(), servers in any::<Option<i64>>()) {
            prop_assert!(wrong(ours, servers).is_none() || (ours.is_some() && servers.is_some()));
        }
    }
}
