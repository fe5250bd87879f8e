//! What a node is told to do. Pure.

use serde_json::{Value, json};

use crate::limits::{MAX_REBOOTS, REBOOTS_FORGOTTEN_MS};
use crate::registry::lookup::PROTECTED;
use crate::registry::queue::Order;

/// An answer to a check-in, with what it leaves behind.
#[derive(Debug, Clone, PartialEq)]
pub struct Action {
    /// `none` or `reboot`.
    pub word: &'static str,
    /// Reboots ordered in a row, this one included.
    pub reboots: i64,
    /// Severity and entry for the node's log.
    pub log: Option<(&'static str, Value)>,
}

/// Nothing is to be done.
pub const NONE: Action = Action { word: "none", reboots: 0, log: None };

/// The action for a node with this `installed`, after `reboots` in a row and a silence. A `held` node is left alone, and its
/// count stays: a dispute that lasts for one check-in says nothing about where the machine boots from.
///
/// A network boot that was sent to the node's own disk does not begin the count anew: what the firmware boots next may
/// be the microkernel again, from a medium that stayed in the machine, and the node would reboot for ever.
#[must_use]
pub fn choose(installed: Option<&str>, held: bool, reboots: i64, silence_ms: i64) -> Action {
    let Some(installed) = installed else { return NONE };
    if held {
        return Action { reboots, ..NONE };
    }
    let reboots = if silence_ms >= REBOOTS_FORGOTTEN_MS { 0 } else { reboots };
    if reboots >= MAX_REBOOTS {
        let log = (reboots == MAX_REBOOTS).then(|| {
            let entry = json!({"event": "reboot-loop", "msg": format!(
                "told to reboot {MAX_REBOOTS} times in a row and still in the microkernel, so it is left there; check \
                 its boot order and remove boot media, or release it with reinstall-node")});
            ("warn", entry)
        });
        return Action { word: "none", reboots: MAX_REBOOTS + 1, log };
    }
    let msg = if installed == PROTECTED {
        "the node was new while protect_new_nodes was true, so it counts as installed; the command reinstall-node releases it"
    } else {
        "the node is installed, so it starts from its own disk; reinstall-node releases it"
    };
    let log = json!({"action": "reboot", "task": "noop", "msg": msg});
    Action { word: "reboot", reboots: reboots + 1, log: Some(("info", log)) }
}

/// The action beside an operator's commands, which come before any other.
#[must_use]
pub fn ordered(order: &Order, reboots: i64) -> Action {
    let word = match order {
        Order::Commands(_) => "none",
        Order::Reboot => "reboot",
    };
    Action { word, reboots, log: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Words of six check-ins one after another, each after this silence.
    fn words(silence_ms: i64) -> (Vec<&'static str>, usize) {
        let (mut reboots, mut words, mut loops) = (0, Vec::new(), 0);
        for _ in 0..6 {
            let action = choose(Some("linux"), false, reboots, silence_ms);
            reboots = action.reboots;
            words.push(action.word);
            loops += usize::from(
                action.log.is_some_and(|(severity, log)| severity == "warn" && log["event"] == "reboot-loop"),
            );
        }
        (words, loops)
    }

    #[test]
    fn nodes_without_anything_installed_are_left_alone() {
        assert_eq!(choose(None, false, 2, 0), NONE);
    }

    #[test]
    fn reboots_are_limited_and_said_once() {
        assert_eq!(words(60_000), (vec!["reboot", "reboot", "reboot", "none", "none", "none"], 1));
    }

    #[test]
    fn a_dispute_does_not_begin_the_count_anew() {
        let held = choose(Some("linux"), true, 2, 60_000);
        assert_eq!((held.word, held.reboots, held.log), ("none", 2, None));
        let after = choose(Some("linux"), false, held.reboots, 60_000);
        assert_eq!((after.word, after.reboots), ("reboot", 3));
        assert_eq!(choose(Some("linux"), true, MAX_REBOOTS + 1, 60_000).reboots, MAX_REBOOTS + 1);
    }

    #[test]
    fn who_was_away_for_long_has_run_from_its_disk() {
        assert_eq!(words(REBOOTS_FORGOTTEN_MS), (vec!["reboot"; 6], 0));
    }

    #[test]
    fn matrix_35_the_log_names_the_setting() {
        let (_, log) = choose(Some(PROTECTED), false, 0, 0).log.unwrap();
        assert!(log["msg"].as_str().unwrap().contains("protect_new_nodes"), "{log}");
    }
}
