//! The commands of this boot: which were begun, and what came of them. It lies in `/run`, so that a unit that is started
//! again carries none out a second time and reports each. Reboot and power-off are kept until the supervisor is asked: a unit
//! that is started again before acknowledges them, perhaps once more, and asks. A line for each: a word, the command's id, and
//! what is to be told of one that has ended, as a JSON string.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use wire::checkin::{Command, CommandResult, Outcome};

use super::jobs::{Job, failed, result};
use super::reply::Power;
use crate::file;
use crate::state::RUN_DIR;

const FILE: &str = "checkin.commands";
/// Word of one without a result yet.
const BEGUN: &str = "begun";
/// Word of one whose result was told.
const TOLD: &str = "told";
/// Words of those that have ended and are to be told.
const ENDED: [(&str, Outcome); 4] = [
    ("done", Outcome::Done),
    ("failed", Outcome::Failed),
    ("unsupported", Outcome::Unsupported),
    ("expired", Outcome::Expired),
];
/// Words of those that switch the machine, before they do.
const REBOOT: &str = "reboot";
const POWEROFF: &str = "poweroff";
/// What is told of one that was cut off.
const INTERRUPTED: &str =
    "it was interrupted: the unit checkin ended before it did; give the command again if it is still wanted";

/// All commands of this boot.
#[derive(Debug, Default)]
pub(super) struct Orders {
    /// None of them is carried out again.
    pub(super) known: BTreeSet<u64>,
    /// Of these, those that go on.
    begun: Vec<u64>,
    /// Of these, the one that is to switch the machine.
    power: Option<(u64, Power)>,
    /// What was written last.
    kept: String,
}

impl Orders {
    /// As an earlier run of the unit left them, and the results that are to be told.
    pub(super) fn load() -> (Self, Vec<CommandResult>) {
        Self::of(fs::read_to_string(Path::new(RUN_DIR).join(FILE)).unwrap_or_default())
    }

    fn of(kept: String) -> (Self, Vec<CommandResult>) {
        let (mut known, mut results, mut power) = (BTreeSet::new(), Vec::new(), None);
        for line in kept.lines() {
            let mut parts = line.splitn(3, ' ');
            let (word, id) = (parts.next(), parts.next().and_then(|id| id.parse().ok()));
            let (Some(word), Some(id)) = (word, id) else { continue };
            known.insert(id);
            let detail = parts.next().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
            match ENDED.iter().find(|(ended, _)| *ended == word) {
                Some((_, outcome)) => results.push(CommandResult { id, outcome: *outcome, detail }),
                None if word == BEGUN => results.push(failed(id, INTERRUPTED)),
                None if word == REBOOT || word == POWEROFF => {
                    let to = if word == REBOOT { Power::Reboot } else { Power::Off };
                    power = Some((id, to(format!("command {id} of the server"))));
                    results.push(result(id, Outcome::Accepted, ""));
                }
                None => {}
            }
        }
        (Self { known, begun: Vec::new(), power, kept }, results)
    }

    /// What an earlier run of the unit was about to do with the machine.
    pub(super) fn power(&self) -> Option<Power> {
        self.power.as_ref().map(|(_, power)| power.clone())
    }

    /// The supervisor is about to be asked to switch the machine.
    pub(super) fn switched(&mut self, results: &[CommandResult]) {
        if self.power.take().is_some() {
            self.keep(results);
        }
    }

    /// These are about to be begun, and those were dealt with at once; the machine is to be switched so, by one of the latter or
    /// by the answer's action, which is not acknowledged and not kept.
    pub(super) fn begin(&mut self, jobs: &[Job], results: &[CommandResult], power: Option<&Power>) {
        let accepted = results.iter().find(|r| r.outcome == Outcome::Accepted);
        if let Some((accepted, power)) = accepted.zip(power) {
            self.power = Some((accepted.id, power.clone()));
        }
        self.begun.extend(jobs.iter().map(|job| job.id));
        self.known.extend(results.iter().map(|r| r.id).chain(jobs.iter().map(|j| j.id)));
    }

    /// Keeps how things stand, with the results that wait to be told.
    pub(super) fn keep(&mut self, results: &[CommandResult]) {
        let now = self.now(results);
        if now == self.kept {
            return;
        }
        if let Err(why) = file::replace(&Path::new(RUN_DIR).join(FILE), now.as_bytes(), 0o600) {
            tracing::warn!("commands may be carried out again, should this unit end now: {why:#}");
            return;
        }
        self.kept = now;
    }

    /// Of what has ended and was told only what the server still lists is kept: where its database was made anew, or is of
    /// before, it gives the same ids out again.
    pub(super) fn forget_but(&mut self, listed: &[Command], pending: &[CommandResult]) {
        let (begun, switching) = (&self.begun, self.power.as_ref().map(|(id, _)| *id));
        self.known.retain(|id| {
            begun.contains(id)
                || switching == Some(*id)
                || listed.iter().any(|c| c.id == *id)
                || pending.iter().any(|r| r.id == *id)
        });
    }

    fn now(&mut self, results: &[CommandResult]) -> String {
        self.begun.retain(|id| results.iter().all(|r| r.id != *id));
        let line = |id: &u64| match (&self.power, results.iter().find(|r| r.id == *id)) {
            (Some((power, Power::Reboot(_))), _) if power == id => Some(format!("{REBOOT} {id}\n")),
            (Some((power, Power::Off(_))), _) if power == id => Some(format!("{POWEROFF} {id}\n")),
            (_, Some(result)) => {
                let (word, _) = ENDED.iter().find(|(_, outcome)| *outcome == result.outcome)?;
                Some(format!("{word} {id} {}\n", serde_json::to_string(&result.detail).unwrap_or_default()))
            }
            (_, None) => Some(format!("{} {id}\n", if self.begun.contains(id) { BEGUN } else { TOLD })),
        };
        self.known.iter().filter_map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkin::jobs::Task;

    fn job(id: u64) -> Job {
        Job { id, task: Task::Doctor }
    }

    #[test]
    fn what_was_begun_told_or_waits_to_be_told_is_known_after_a_restart() {
        let mut orders = Orders::default();
        let done = result(3, Outcome::Done, "two\nlines");
        orders.begin(&[job(1), job(2), job(3)], &[], None);
        let before = orders.now(std::slice::from_ref(&done));
        assert_eq!(before, "begun 1\nbegun 2\ndone 3 \"two\\nlines\"\n");
        assert_eq!(orders.now(&[result(1, Outcome::Done, "")]), "done 1 \"\"\nbegun 2\ntold 3\n");

        let (after, results) = Orders::of(before);
        assert_eq!(after.known, [1, 2, 3].into());
        let outcomes: Vec<(u64, Outcome)> = results.iter().map(|r| (r.id, r.outcome)).collect();
        assert_eq!(outcomes, [(1, Outcome::Failed), (2, Outcome::Failed), (3, Outcome::Done)]);
        assert!(results[0].detail.starts_with("it was interrupted") && results[2] == done);
    }

    #[test]
    fn what_was_to_switch_the_machine_is_acknowledged_and_done_after_a_restart_and_once() {
        let reason = || "command 4 of the server".to_owned();
        for (power, line) in [(Power::Reboot(reason()), "reboot 4\n"), (Power::Off(reason()), "poweroff 4\n")] {
            let (mut orders, accepted) = (Orders::default(), result(4, Outcome::Accepted, ""));
            orders.begin(&[], std::slice::from_ref(&accepted), Some(&power));
            assert_eq!(orders.now(std::slice::from_ref(&accepted)), line);
            orders.forget_but(&[], &[]);
            assert_eq!(orders.now(&[]), line, "acknowledged, and the supervisor was not asked yet");
            let (after, results) = Orders::of(line.to_owned());
            assert_eq!((after.known.clone(), results, after.power()), ([4].into(), vec![accepted], Some(power)));
            orders.power = None;
            let (after, results) = Orders::of(orders.now(&[]));
            assert_eq!((after.power(), results), (None, Vec::new()), "it was asked");
        }
        let mut orders = Orders::default();
        orders.begin(&[], &[result(5, Outcome::Failed, "")], Some(&Power::Reboot(String::new())));
        assert_eq!(orders.power(), None, "by the answer's action, which comes again by itself");
    }

    #[test]
    fn a_result_that_was_told_is_not_told_again_after_a_restart() {
        let mut orders = Orders::default();
        orders.begin(&[job(1)], &[], None);
        orders.now(&[result(1, Outcome::Done, "")]);
        let (after, results) = Orders::of(orders.now(&[]));
        assert_eq!((after.known, results), ([1].into(), Vec::new()));
    }

    #[test]
    fn what_the_server_lists_no_more_is_forgotten_once_it_was_told() {
        let mut orders = Orders::default();
        orders.begin(&[job(1), job(2), job(3), job(4)], &[], None);
        let listed: Command = serde_json::from_str(r#"{"id":3,"kind":"doctor"}"#).unwrap();
        let waits = result(2, Outcome::Done, "");
        orders.now(&[waits.clone(), result(3, Outcome::Done, ""), result(4, Outcome::Done, "")]);
        orders.forget_but(&[listed], &[waits]);
        assert_eq!(orders.known, [1, 2, 3].into(), "1 goes on, 2 is to be told, 3 is still listed");
    }

    #[test]
    fn a_damaged_file_is_read_as_far_as_it_goes() {
        let (after, results) = Orders::of("\nbegun\ntold x\ndance 7\ndone 8 {\ntold 9".to_owned());
        assert_eq!(after.known, [7, 8, 9].into());
        assert_eq!(results, [result(8, Outcome::Done, "")]);
    }
}
