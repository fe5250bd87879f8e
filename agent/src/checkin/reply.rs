//! What a reply asks of this node. Pure: the reply goes in, what to do comes out.
//!
//! Nothing is guessed: an action or command that this version does not know is reported and nothing is done.

use std::collections::BTreeSet;

use wire::checkin::{CheckinReply, Command, CommandResult, Outcome};
use wire::command;
use wire::error::Problem;
use wire::limits::MAX_IDENTIFY_S;

use super::jobs::{Job, Task};

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
    /// Commands that take their time.
    pub(super) jobs: Vec<Job>,
    /// What became of the others.
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
    let mut start = |task| {
        effects.jobs.push(Job { id: command.id, task });
        None
    };
    let end = |outcome| Some((outcome, String::new()));
    let ended = match command.kind.as_str() {
        _ if command.expires_in_s == Some(0) => end(Outcome::Expired),
        command::REBOOT | command::POWEROFF if effects.power.is_some() => {
            Some((Outcome::Failed, "another command or action switches this node already".to_owned()))
        }
        command::REBOOT => {
            effects.power = Some(Power::Reboot(reason()));
            end(Outcome::Accepted)
        }
        command::POWEROFF => {
            effects.power = Some(Power::Off(reason()));
            end(Outcome::Accepted)
        }
        command::REFRESH => {
            effects.send_all = true;
            end(Outcome::Done)
        }
        command::DOCTOR => start(Task::Doctor),
        command::COLLECT_LOGS => start(Task::CollectLogs),
        command::IDENTIFY => match seconds(command) {
            Some(seconds) => start(Task::Identify(seconds)),
            None => {
                let why = format!("its argument {} must be a number up to {MAX_IDENTIFY_S}", command::SECONDS);
                Some((Outcome::Failed, why))
            }
        },
        command::LOAD_EXTENSION => match command.args.get(command::EXTENSION).and_then(|name| name.as_str()) {
            Some(name) => start(Task::LoadExtension(name.to_owned())),
            None => Some((Outcome::Failed, format!("its argument {} is missing", command::EXTENSION))),
        },
        other => {
            let version = env!("CARGO_PKG_VERSION");
            Some((Outcome::Unsupported, format!("mk-agent {version} does not know the command {other:.60}")))
        }
    };
    effects.results.extend(ended.map(|(outcome, detail)| CommandResult { id: command.id, outcome, detail }));
}

fn seconds(command: &Command) -> Option<u32> {
    let seconds = command.args.get(command::SECONDS)?.as_u64()?;
    u32::try_from(seconds).ok().filter(|seconds| *seconds <= MAX_IDENTIFY_S)
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
            ("identify", Outcome::Failed, false, false),
            ("load-extension", Outcome::Failed, false, false),
            ("dance", Outcome::Unsupported, false, false),
            ("", Outcome::Unsupported, false, false),
        ] {
            let effects = of(kind);
            assert_eq!((effects.results[0].id, effects.results[0].outcome), (5, outcome), "{kind}");
            assert_eq!((effects.power.is_some(), effects.send_all, effects.at_once), (power, send_all, true), "{kind}");
        }
    }

    #[test]
    fn what_takes_its_time_is_begun_and_its_result_follows() {
        for (kind, args, task) in [
            ("doctor", "{}", Task::Doctor),
            ("collect-logs", "{}", Task::CollectLogs),
            ("identify", r#"{"seconds":0}"#, Task::Identify(0)),
            ("identify", r#"{"seconds":3600}"#, Task::Identify(3600)),
            ("load-extension", r#"{"extension":"htop"}"#, Task::LoadExtension("htop".to_owned())),
        ] {
            let json = format!(r#"{{"action":"none","commands":[{{"id":5,"kind":"{kind}","args":{args}}}]}}"#);
            let effects = of(&json);
            assert_eq!(effects.jobs, [Job { id: 5, task }]);
            assert!(effects.results.is_empty() && !effects.at_once, "{kind}");
        }
        for wrong in [r#"{"seconds":3601}"#, r#"{"seconds":-1}"#, r#"{"seconds":"9"}"#, "{}"] {
            let json = format!(r#"{{"action":"none","commands":[{{"id":5,"kind":"identify","args":{wrong}}}]}}"#);
            assert_eq!(of(&json).results[0].outcome, Outcome::Failed, "{wrong}");
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
