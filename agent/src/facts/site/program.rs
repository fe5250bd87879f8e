//! Programs that print facts. Each runs in a thread of its own and not more often than every [`FACT_PROGRAM_PAUSE`]; what it
//! said last counts until it says something else. A collection waits a little for those that have never ended, so that quick
//! ones are in the first check-in and slow ones hold up none. What they say is published where this process may ([`told`]).

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::ensure;
use serde::{Deserialize, Serialize};

use super::Facts;
use super::told::{self, Told};
use crate::exec;
use crate::limits::{COMMAND_OUTPUT, FACT_PROGRAM, FACT_PROGRAM_PAUSE};
use crate::state::uptime;

/// What a program said when it ended last.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Said {
    /// Its facts; those of its last good run, if it has failed since.
    pub(super) facts: Facts,
    /// Uptime at which it gave them.
    pub(super) said_s: Option<f64>,
    /// Why there are none, or no newer ones.
    pub(super) failure: Option<String>,
}

/// A program that was started.
#[derive(Debug, Default)]
struct Program {
    said: Said,
    is_running: bool,
    ended: Option<Instant>,
}

/// All programs, by path.
static PROGRAMS: Mutex<BTreeMap<String, Program>> = Mutex::new(BTreeMap::new());
/// One has ended.
static ENDED: Condvar = Condvar::new();

fn programs() -> MutexGuard<'static, BTreeMap<String, Program>> {
    PROGRAMS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts those that are due and gives what each has said.
pub(super) fn ask(paths: &[String], patience: Duration) -> Vec<(String, Said)> {
    let mut all = programs();
    for path in paths {
        let program = all.entry(path.clone()).or_default();
        let is_due = program.ended.is_none_or(|ended| ended.elapsed() >= FACT_PROGRAM_PAUSE);
        if !program.is_running && is_due {
            start(path, program);
        }
    }
    publish(&all);
    let is_new = |all: &mut BTreeMap<String, Program>| {
        paths.iter().filter_map(|path| all.get(path)).any(|program| program.is_running && program.ended.is_none())
    };
    let waited = ENDED.wait_timeout_while(all, patience, is_new);
    let (all, _) = waited.unwrap_or_else(PoisonError::into_inner);
    paths.iter().filter_map(|path| Some((path.clone(), all.get(path)?.latest()))).collect()
}

/// Goes on from what the unit said before it was started again: a crash is no news of what the programs say.
pub(super) fn remember(told: &Told) {
    let mut all = programs();
    for (path, said) in &told.programs {
        let said = Said { failure: None, ..said.clone() };
        all.entry(path.clone()).or_insert_with(|| Program { said, ..Program::default() });
    }
}

fn publish(all: &BTreeMap<String, Program>) {
    told::publish(|| Told { programs: all.iter().map(|(path, program)| (path.clone(), program.latest())).collect() });
}

impl Program {
    fn latest(&self) -> Said {
        let mut said = self.said.clone();
        if self.ended.is_none() && said.failure.is_none() {
            said.failure = Some("has not ended yet".to_owned());
        }
        said
    }
}

fn start(path: &str, program: &mut Program) {
    let own = path.to_owned();
    let body = move || {
        let result = run(&own);
        let mut all = programs();
        let program = all.entry(own).or_default();
        program.is_running = false;
        program.ended = Some(Instant::now());
        match result {
            Ok(facts) => program.said = Said { facts, said_s: Some(uptime()), failure: None },
            Err(why) => program.said.failure = Some(format!("{why:#}")),
        }
        publish(&all);
        ENDED.notify_all();
    };
    match thread::Builder::new().name("facts-program".to_owned()).spawn(body) {
        Ok(_) => program.is_running = true,
        Err(why) => program.said.failure = Some(format!("no thread can be started: {why}")),
    }
}

fn run(path: &str) -> anyhow::Result<Facts> {
    let (output, errors) = exec::run_apart(&[path], FACT_PROGRAM)?;
    let last = errors.trim().lines().last().unwrap_or_default();
    ensure!(output.success, "ended with {}: {last}", output.status);
    ensure!(output.text.len() < COMMAND_OUTPUT, "prints more than {COMMAND_OUTPUT} bytes");
    wire::fact_file::printed(&output.text).map_err(|why| anyhow::anyhow!(why))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use serde_json::json;

    use super::*;

    #[test]
    fn programs_are_asked_side_by_side_and_one_that_hangs_holds_up_none() {
        let dir = tempfile::tempdir().unwrap();
        let put = |name: &str, script: &str| {
            let path = dir.path().join(name);
            fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let go = dir.path().join("go");
        let paths = [
            put("lines", "echo a warning >&2; echo rack=4"),
            put("object", "echo '{\"owner\": {\"team\": \"storage\"}}'"),
            put("fails", "echo rack=5; echo no such device >&2; exit 3"),
            put("large", "head -c 70000 /dev/zero | tr '\\0' x"),
            put("slow", &format!("while [ ! -e {} ]; do sleep 0.1; done; echo slow=1", go.display())),
        ];
        let quick = &paths[..4];
        let said: BTreeMap<String, Said> = ask(quick, FACT_PROGRAM).into_iter().collect();
        let of = |number: usize| said[&paths[number]].clone();
        assert_eq!((json!(of(0).facts), of(0).failure), (json!({"rack": "4"}), None));
        assert_eq!((json!(of(1).facts), of(1).failure), (json!({"owner": {"team": "storage"}}), None));
        assert!(of(2).facts.is_empty() && of(2).failure.is_some_and(|why| why.ends_with("3: no such device")));
        assert!(of(3).failure.is_some_and(|why| why.contains("more than")));

        let waiting = ask(&paths, Duration::from_millis(50));
        assert_eq!(waiting[4].1.failure.as_deref(), Some("has not ended yet"));
        assert_eq!(json!(waiting[0].1.facts), json!({"rack": "4"}), "what was said stays");
        fs::write(&go, "").unwrap();
        let ended = ask(&paths, FACT_PROGRAM);
        assert_eq!((json!(ended[4].1.facts), &ended[4].1.failure), (json!({"slow": "1"}), &None));
    }

    #[test]
    fn a_program_that_fails_later_keeps_what_it_said() {
        let path = "/no/such/program".to_owned();
        let facts: Facts = [("a".to_owned(), json!(1))].into();
        programs().insert(path.clone(), Program { said: Said { facts, ..Said::default() }, ..Program::default() });
        let [(_, said)] = &ask(&[path], FACT_PROGRAM)[..] else { panic!("one is asked") };
        assert_eq!(json!(said.facts), json!({"a": 1}));
        assert!(said.failure.as_ref().is_some_and(|why| why.contains("/no/such/program")), "{said:?}");
    }

    #[test]
    fn what_was_said_before_a_crash_counts_until_it_is_said_anew() {
        let path = "/no/such/program-of-before".to_owned();
        let before =
            Said { facts: [("a".to_owned(), json!(1))].into(), said_s: Some(7.0), failure: Some("x".to_owned()) };
        remember(&Told { programs: [(path.clone(), before)].into() });
        let said = programs()[&path].latest();
        assert_eq!((json!(said.facts), said.said_s), (json!({"a": 1}), Some(7.0)));
        assert_eq!(said.failure.as_deref(), Some("has not ended yet"));
        remember(&Told { programs: [(path.clone(), Said::default())].into() });
        assert_eq!(json!(programs()[&path].latest().facts), json!({"a": 1}), "what is known already stays");
    }
}
