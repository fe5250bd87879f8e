//! What has come of pushed units that run on trial. Pure: what the supervisor publishes goes in, a verdict comes out.

use std::collections::BTreeMap;
use std::time::Duration;

use wire::checkin::Unit;
use wire::error::Problem;
use wire::unit::{Restart, UnitFile};

use crate::limits::{
    AFTER_WAIT, KILL_GRACE, START_TIMEOUT, STOP_TIMEOUT, UNIT_LINE, UNIT_LINES, UNIT_SETTLE, UNIT_TRIAL,
};

/// A unit that does not work.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Failed {
    /// Its name.
    pub(super) unit: String,
    /// What it did.
    pub(super) why: String,
}

/// What is to be thought of the units on trial.
#[derive(Debug, PartialEq)]
pub(super) enum Verdict {
    /// It is too early; at this age of the trial in seconds time alone may decide.
    Open(f64),
    /// All run, or are done.
    Good,
    /// One does not.
    Bad(Failed),
}

/// What was seen of the units on trial. It does not outlive the unit `checkin`: after a restart of that they run anew.
#[derive(Debug, Default)]
pub(super) struct Trial {
    /// Those that run: since which age of the trial in seconds, and how often they had been restarted then.
    runs: BTreeMap<String, (f64, u32)>,
}

impl Trial {
    /// Judges these units, which the supervisor has known for so many seconds. What it had published just before it heard of
    /// them is not theirs. One that ends while it is looked away has another number of restarts.
    pub(super) fn look(&mut self, units: &BTreeMap<String, UnitFile>, published: &[Unit], age_s: f64) -> Verdict {
        if age_s < UNIT_SETTLE.as_secs_f64() {
            return Verdict::Open(UNIT_SETTLE.as_secs_f64());
        }
        let mut open: Option<f64> = None;
        for (name, file) in units {
            let failed = |why: String| Verdict::Bad(Failed { unit: name.clone(), why });
            let Some(unit) = published.iter().find(|unit| unit.name == *name) else {
                return failed("is not known to the supervisor".to_owned());
            };
            let last = unit.last_exit.as_ref().map(|exit| format!(", last with {exit}")).unwrap_or_default();
            let bound = up_within(file).as_secs_f64();
            let next = match unit.state.as_str() {
                "failed" if file.restart == Restart::Never => {
                    return failed(
                        unit.last_exit.as_ref().map_or_else(|| "failed".to_owned(), |e| format!("failed: {e}")),
                    );
                }
                "failed" => return failed(format!("ended again and again{last}")),
                "done" => continue,
                "running" => {
                    let run = self.runs.entry(name.clone()).or_insert((age_s, unit.restarts));
                    if run.1 != unit.restarts {
                        *run = (age_s, unit.restarts);
                    }
                    let well = run.0 + UNIT_TRIAL.as_secs_f64();
                    if age_s >= well {
                        continue;
                    }
                    if age_s >= bound + UNIT_TRIAL.as_secs_f64() {
                        return failed(format!("never ran for {} s, in {age_s:.0} s{last}", UNIT_TRIAL.as_secs()));
                    }
                    well
                }
                state if age_s >= bound => return failed(format!("is {state} after {age_s:.0} s{last}")),
                _ => {
                    self.runs.remove(name);
                    bound
                }
            };
            open = Some(open.map_or(next, |open| open.min(next)));
        }
        open.map_or(Verdict::Good, Verdict::Open)
    }
}

/// A unit may take so long to run: the former process stops, others come first, what it prepares and its own start have
/// their time.
fn up_within(file: &UnitFile) -> Duration {
    // It was checked.
    let bounds = file.bounds().unwrap_or_default();
    let start = bounds.start_timeout.map_or(START_TIMEOUT, Duration::from_secs);
    let stop = bounds.stop_timeout.map_or(STOP_TIMEOUT, Duration::from_secs) + KILL_GRACE;
    let starts = u32::try_from(file.pre.len()).unwrap_or(u32::MAX).saturating_add(1);
    stop + AFTER_WAIT + start.saturating_mul(starts)
}

/// What the server is told of it, with the last lines that the unit wrote.
pub(super) fn problem(failed: &Failed, lines: &[String]) -> Problem {
    let Failed { unit, why } = failed;
    let last = lines.iter().skip(lines.len().saturating_sub(UNIT_LINES));
    let said: Vec<String> = last.map(|line| line.chars().take(UNIT_LINE).collect()).collect();
    let said = if said.is_empty() { "it wrote nothing".to_owned() } else { format!("it wrote: {}", said.join(" | ")) };
    let remedy = format!(
        "Correct mk_units.{unit} and set the key again, or take it back; the configuration before is in force, with its units."
    );
    Problem::new("unit", format!("the unit {unit} {why}; {said}"), remedy)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const RUN: f64 = UNIT_TRIAL.as_secs_f64();
    const EARLY: f64 = UNIT_SETTLE.as_secs_f64();

    fn file(keys: serde_json::Value) -> UnitFile {
        let mut file = json!({"name": "a", "command": ["/a"]});
        file.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
        serde_json::from_value(file).unwrap()
    }

    fn files(names: &[&str]) -> BTreeMap<String, UnitFile> {
        names.iter().map(|name| ((*name).to_owned(), file(json!({})))).collect()
    }

    fn unit(name: &str, state: &str, restarts: u32) -> Unit {
        let last_exit = (state != "running").then(|| "exit status 3".to_owned());
        Unit { name: name.to_owned(), state: state.to_owned(), restarts, last_exit }
    }

    /// The last verdict about unit `a`, whose state and restarts were these at these ages.
    fn course(files: &BTreeMap<String, UnitFile>, course: &[(f64, &str, u32)]) -> Verdict {
        let (mut trial, mut verdict) = (Trial::default(), Verdict::Good);
        for (age_s, state, restarts) in course {
            verdict = trial.look(files, &[unit("a", state, *restarts)], *age_s);
        }
        verdict
    }

    fn why(verdict: Verdict) -> String {
        match verdict {
            Verdict::Bad(failed) => format!("{} {}", failed.unit, failed.why),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn units_must_run_for_a_while_or_be_done() {
        let (one, two) = (files(&["a"]), files(&["a", "b"]));
        let mut trial = Trial::default();
        assert_eq!(trial.look(&one, &[unit("a", "failed", 9)], EARLY - 0.1), Verdict::Open(EARLY), "of the one before");
        assert_eq!(
            why(trial.look(&one, &[unit("a", "failed", 9)], EARLY)),
            "a ended again and again, last with exit status 3"
        );
        assert!(why(trial.look(&one, &[], EARLY)).contains("is not known"));
        assert_eq!(trial.look(&one, &[unit("a", "done", 0)], EARLY), Verdict::Good);
        assert_eq!(trial.look(&BTreeMap::new(), &[], EARLY), Verdict::Good, "units were only taken away");
        let both = [unit("a", "running", 0), unit("b", "done", 0), unit("z", "failed", 9)];
        assert_eq!(trial.look(&two, &both, EARLY), Verdict::Open(EARLY + RUN), "another one's failure is not theirs");
        assert_eq!(trial.look(&two, &both, EARLY + RUN - 0.1), Verdict::Open(EARLY + RUN));
        assert_eq!(trial.look(&two, &both, EARLY + RUN), Verdict::Good);
    }

    #[test]
    fn one_that_comes_up_late_has_its_whole_time() {
        let late = up_within(&file(json!({}))).as_secs_f64() - 1.0;
        for state in ["waiting", "starting", "stopping", "backoff"] {
            let begin = [(EARLY, state, 0), (late, state, 0), (late + 0.5, "running", 0)];
            assert_eq!(course(&files(&["a"]), &begin), Verdict::Open(late + 0.5 + RUN), "{state}");
            let whole = [&begin[..], &[(late + 0.5 + RUN, "running", 0)]].concat();
            assert_eq!(course(&files(&["a"]), &whole), Verdict::Good, "{state}");
            assert_eq!(course(&files(&["a"]), &begin[..2]), Verdict::Open(late + 1.0));
            assert!(
                why(course(&files(&["a"]), &[(late + 1.0, state, 0)])).contains(&format!("is {state} after 127 s"))
            );
        }
        let slow = file(json!({"pre": [["/p"], ["/q"]], "start_timeout": 600, "stop_timeout": 60, "ready": "/r"}));
        assert_eq!(up_within(&slow).as_secs(), 60 + 2 + 60 + 3 * 600);
        let slow = BTreeMap::from([("a".to_owned(), slow)]);
        assert_eq!(course(&slow, &[(1921.0, "starting", 0)]), Verdict::Open(1922.0));
    }

    #[test]
    fn one_that_ends_meanwhile_begins_anew_and_not_for_ever() {
        let one = files(&["a"]);
        let seen = [(2.0, "running", 0), (8.0, "backoff", 1), (9.0, "running", 1), (32.0, "running", 1)];
        assert_eq!(course(&one, &seen), Verdict::Open(9.0 + RUN));
        assert_eq!(course(&one, &[&seen[..], &[(9.0 + RUN, "running", 1)]].concat()), Verdict::Good);
        let unseen = [(2.0, "running", 0), (32.0, "running", 2)];
        assert_eq!(course(&one, &unseen), Verdict::Open(32.0 + RUN), "its end was not looked at");
        let again: Vec<_> = (1_u32..40).map(|n| (f64::from(n) * 8.0, "running", n)).collect();
        let (mut trial, mut ends) = (Trial::default(), None);
        for (age_s, state, restarts) in again {
            match trial.look(&one, &[unit("a", state, restarts)], age_s) {
                Verdict::Open(_) => {}
                Verdict::Bad(failed) => ends = ends.or(Some((age_s, failed.why))),
                Verdict::Good => panic!("taken at {age_s}"),
            }
        }
        assert_eq!(ends, Some((160.0, "never ran for 30 s, in 160 s".to_owned())));
    }

    #[test]
    fn one_that_is_not_restarted_ended_once() {
        let once = BTreeMap::from([("a".to_owned(), file(json!({"restart": "never"})))]);
        assert_eq!(why(course(&once, &[(EARLY, "failed", 0)])), "a failed: exit status 3");
    }

    #[test]
    fn the_report_has_the_last_lines_and_bounded() {
        let failed = Failed { unit: "a".to_owned(), why: "ended".to_owned() };
        let lines: Vec<String> = (0..99).map(|n| format!("{n} {}", "x".repeat(5000))).collect();
        let told = problem(&failed, &lines);
        assert!(told.error.contains("the unit a ended; it wrote: ") && told.error.contains("98 x"), "{told}");
        assert!(told.error.len() < (UNIT_LINE + 3) * UNIT_LINES + 60 && told.remedy.contains("mk_units.a"));
        assert!(problem(&failed, &[]).error.ends_with("it wrote nothing"));
    }
}
