//! What has come of pushed units that run on trial. Pure: what the supervisor publishes goes in, a verdict comes out.

use wire::checkin::Unit;
use wire::error::Problem;

use crate::limits::{UNIT_LINE, UNIT_LINES, UNIT_SETTLE, UNIT_TRIAL};

/// A unit that does not work.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Failed {
    /// Its name.
    pub(super) unit: String,
    /// What it did.
    pub(super) why: String,
}

/// Judges these units, which the supervisor has known for so many seconds; `None` while it is too early. What it had published
/// just before it heard of them is not theirs.
pub(super) fn verdict(names: &[&str], published: &[Unit], age_s: f64) -> Option<Result<(), Failed>> {
    if age_s < UNIT_SETTLE.as_secs_f64() {
        return None;
    }
    let is_over = age_s >= UNIT_TRIAL.as_secs_f64();
    let mut open = false;
    for name in names {
        let failed = |why: String| Some(Err(Failed { unit: (*name).to_owned(), why }));
        let Some(unit) = published.iter().find(|unit| unit.name == *name) else {
            return failed("is not known to the supervisor".to_owned());
        };
        let last = unit.last_exit.as_ref().map(|exit| format!(", last with {exit}")).unwrap_or_default();
        match unit.state.as_str() {
            "failed" => return failed(format!("ended again and again{last}")),
            "done" => {}
            "running" if is_over => {}
            state if is_over => return failed(format!("is {state} after {} s{last}", UNIT_TRIAL.as_secs())),
            _ => open = true,
        }
    }
    (!open).then_some(Ok(()))
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
    use super::*;

    fn unit(name: &str, state: &str) -> Unit {
        let last_exit = (state != "running").then(|| "exit status 3".to_owned());
        Unit { name: name.to_owned(), state: state.to_owned(), restarts: 1, last_exit }
    }

    #[test]
    fn units_must_run_for_a_while_or_be_done() {
        let (early, later) = (UNIT_SETTLE.as_secs_f64(), UNIT_TRIAL.as_secs_f64());
        for (states, age_s, expected) in [
            (&[("a", "failed")][..], early - 0.1, None),
            (&[("a", "failed")], early, Some(Err("ended again and again, last with exit status 3"))),
            (&[("a", "running"), ("b", "failed")], early, Some(Err("ended again and again"))),
            (&[], early, Some(Err("is not known"))),
            (&[("a", "done")], early, Some(Ok(()))),
            (&[("a", "running")], early, None),
            (&[("a", "backoff")], later - 0.1, None),
            (&[("a", "running"), ("b", "done")], later, Some(Ok(()))),
            (&[("a", "backoff")], later, Some(Err("is backoff after 30 s, last with exit status 3"))),
            (&[("a", "waiting")], later, Some(Err("is waiting after 30 s"))),
            (&[("a", "running"), ("z", "failed")], later, Some(Ok(()))),
        ] {
            let names: Vec<&str> = if states.is_empty() { vec!["a"] } else { states.iter().map(|(n, _)| *n).collect() };
            let names: Vec<&str> = names.into_iter().filter(|name| *name != "z").collect();
            let published: Vec<Unit> = states.iter().map(|(name, state)| unit(name, state)).collect();
            let verdict = verdict(&names, &published, age_s);
            match (&verdict, expected) {
                (Some(Err(failed)), Some(Err(why))) => assert!(failed.why.contains(why), "{failed:?}: {why}"),
                (got, expected) => {
                    assert_eq!(got.as_ref().map(Result::is_ok), expected.map(|e| e.is_ok()), "{states:?}");
                }
            }
        }
        assert_eq!(verdict(&[], &[], early), Some(Ok(())), "units were only taken away");
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
