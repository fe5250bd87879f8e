//! What a node is told to do. Pure.

use serde_json::{Value, json};

use crate::limits::MAX_REBOOTS;
use crate::registry::lookup::PROTECTED;

/// An answer to a check-in, with what it leaves behind.
#[derive(Debug, Clone, PartialEq)]
pub struct Action {
    /// `none` or `reboot`.
    pub word: &'static str,
    /// Reboots ordered in a row, this one included.
    pub reboots: i64,
    /// Entry for the node's log.
    pub log: Option<Value>,
}

/// The action for a node that is `installed` or not, after `reboots` in a row. A held node is left alone.
#[must_use]
pub fn choose(installed: Option<&str>, held: bool, reboots: i64) -> Action {
    let Some(installed) = installed.filter(|_| !held) else {
        return Action { word: "none", reboots: 0, log: None };
    };
    if reboots >= MAX_REBOOTS {
        let log = (reboots == MAX_REBOOTS).then(|| {
            json!({"event": "reboot-loop", "msg": format!(
                "told to reboot {MAX_REBOOTS} times in a row and still in the microkernel, so it is left there; check \
                 its boot order")})
        });
        return Action { word: "none", reboots: MAX_REBOOTS + 1, log };
    }
    let msg = if installed == PROTECTED {
        "the node was new while protect_new_nodes was true, so it counts as installed; the command reinstall-node releases it"
    } else {
        "the node is installed, so it starts from its own disk; reinstall-node releases it"
    };
    Action { word: "reboot", reboots: reboots + 1, log: Some(json!({"action": "reboot", "task": "noop", "msg": msg})) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_without_anything_installed_are_left_alone() {
        assert_eq!(choose(None, false, 2), Action { word: "none", reboots: 0, log: None });
        assert_eq!(choose(Some("linux"), true, 0).word, "none");
    }

    #[test]
    fn reboots_are_limited_and_said_once() {
        let mut reboots = 0;
        let mut words = Vec::new();
        let mut loops = 0;
        for _ in 0..6 {
            let action = choose(Some("linux"), false, reboots);
            reboots = action.reboots;
            words.push(action.word);
            loops += usize::from(action.log.is_some_and(|l| l["event"] == "reboot-loop"));
        }
        assert_eq!(words, ["reboot", "reboot", "reboot", "none", "none", "none"]);
        assert_eq!(loops, 1);
    }

    #[test]
    fn matrix_35_the_log_names_the_setting() {
        let log = choose(Some(PROTECTED), false, 0).log.unwrap();
        assert!(log["msg"].as_str().unwrap().contains("protect_new_nodes"), "{log}");
    }
}
