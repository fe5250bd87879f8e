//! What a reply asks of this node. Pure: the reply goes in, what to do comes out.
//!
//! Nothing is guessed: an action or command that this version does not know is reported and nothing is done.

use std::collections::BTreeSet;

use wire::checkin::{CheckinReply, Command, CommandResult, Outcome};
use wire::error::Problem;

/// What to do about power.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Power {
    /// Restart the machine, and why.
    Reboot(String),
    /// Switch it off, and why.
    Off(String),
}

/// What a reply asks for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Effects {
    /// To be done after the results are reported.
    pub(super) power: Option<Power>,
    /// Facts and inventory are wanted whole.
    pub(super) send_all: bool,
    /// The next check-in is due at once.
    pub(super) at_once: bool,
    /// What became of the commands.
    pub(super) results: Vec<CommandResult>,
    /// What was not understood.
    pub(super) problems: Vec<Problem>,
}

/// Reads a reply; `done` are the commands that were carried out before, `sent_all` whether the request was whole.
pub(super) fn effects(reply: &CheckinReply, done: &BTreeSet<u64>, sent_all: bool) -> Effects {
    let mut effects = Effects::default();
    match reply.action.as_str() {
        "none" => {}
        "reboot" => effects.power = Some(Power::Reboot("the server's reply says reboot".to_owned())),
        other => effects.problems.push(unknown_action(other)),
    }
    for command in reply.commands.iter().filter(|c| !done.contains(&c.id)) {
        carry_out(command, &mut effects);
    }
    if reply.send_inventory == Some(true) {
        effects.send_all = true;
        // A server that asks again for what it was just sent is not answered in a circle.
        effects.at_once |= !sent_all;
    }
    effects.at_once |= !effects.results.is_empty();
    effects
}

fn carry_out(command: &Command, effects: &mut Effects) {
    let reason = || format!("command {} of the server", command.id);
    let (outcome, detail) = match command.kind.as_str() {
        _ if command.expires_in_s == Some(0) => (Outcome::Expired, String::new()),
        "reboot" | "poweroff" if effects.power.is_some() => {
            (Outcome::Failed, "another command or action switches this node already".to_owned())
        }
        "reboot" => {
            effects.power = Some(Power::Reboot(reason()));
            (Outcome::Accepted, String::new())
        }
        "poweroff" => {
            effects.power = Some(Power::Off(reason()));
            (Outcome::Accepted, String::new())
        }
        "refresh" => {
            effects.send_all = true;
            (Outcome::Done, String::new())
        }
        other => {
            let version = env!("CARGO_PKG_VERSION");
            (Outcome::Unsupported, format!("mk-agent {version} does not know the command {other:.60}"))
        }
    };
    effects.results.push(CommandResult { id: command.id, outcome, detail });
}

fn unknown_action(action: &str) -> Problem {
    Problem::new(
        "unsupported_action",
        format!("the reply's action is {action:.60?}, which this agent does not know; nothing was done"),
        "Use none or reboot, or an image whose agent knows this action.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(json: &str) -> CheckinReply {
        serde_json::from_str(json).unwrap()
    }

    fn of(json: &str) -> Effects {
        effects(&reply(json), &BTreeSet::from([1]), false)
    }

    #[test]
    fn actions() {
        assert_eq!(of(r#"{"action":"none"}"#), Effects::default());
        assert!(matches!(of(r#"{"action":"reboot"}"#).power, Some(Power::Reboot(_))));
        for unknown in ["", "Reboot", "../../sbin/reboot", "wipe"] {
            let effects = of(&format!(r#"{{"action":"{unknown}"}}"#));
            assert_eq!((effects.power, effects.problems[0].code.as_str()), (None, "unsupported_action"));
        }
    }

    #[test]
    fn commands() {
        let of = |kind: &str| of(&format!(r#"{{"action":"none","commands":[{{"id":5,"kind":"{kind}"}}]}}"#));
        for (kind, outcome, power, send_all) in [
            ("reboot", Outcome::Accepted, true, false),
            ("poweroff", Outcome::Accepted, true, false),
            ("refresh", Outcome::Done, false, true),
            ("doctor", Outcome::Unsupported, false, false),
            ("", Outcome::Unsupported, false, false),
        ] {
            let effects = of(kind);
            assert_eq!((effects.results[0].id, effects.results[0].outcome), (5, outcome), "{kind}");
            assert_eq!((effects.power.is_some(), effects.send_all, effects.at_once), (power, send_all, true), "{kind}");
        }
    }

    #[test]
    fn commands_are_carried_out_once_and_not_after_their_time() {
        let effects =
            of(r#"{"action":"none","commands":[{"id":1,"kind":"reboot"},{"id":2,"kind":"reboot","expires_in_s":0},
            {"id":3,"kind":"poweroff"},{"id":4,"kind":"reboot"}]}"#);
        let outcomes: Vec<(u64, Outcome)> = effects.results.iter().map(|r| (r.id, r.outcome)).collect();
        assert_eq!(outcomes, [(2, Outcome::Expired), (3, Outcome::Accepted), (4, Outcome::Failed)]);
        assert!(matches!(effects.power, Some(Power::Off(_))));
    }

    #[test]
    fn a_wish_for_the_inventory_is_met_at_once_but_not_in_a_circle() {
        let wish = reply(r#"{"action":"none","send_inventory":true}"#);
        let done = BTreeSet::new();
        let (first, again) = (effects(&wish, &done, false), effects(&wish, &done, true));
        assert_eq!((first.send_all, first.at_once), (true, true));
        assert_eq!((again.send_all, again.at_once), (true, false));
    }
}
