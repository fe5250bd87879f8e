//! What the site's programs said, from process to process. The unit `checkin` holds a lock as long as it lives, and
//! publishes what each program says; others take its word, with how old it is. State files outlive their writer, and
//! locks do not.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::program::Said;
use crate::limits::FACT_PROGRAM_OLD;
use crate::state::{Published, RUN_DIR};

/// The lock's file.
const LOCK: &str = "facts.lock";

/// What the programs said last. Written by `checkin`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Told {
    /// By path.
    pub(super) programs: BTreeMap<String, Said>,
}

impl Published for Told {
    const NAME: &'static str = "facts";
}

/// This process's lock, and what it published.
struct Held {
    _lock: File,
    published: Option<Told>,
}

static HELD: Mutex<Option<Held>> = Mutex::new(None);

fn held() -> MutexGuard<'static, Option<Held>> {
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes the lock for as long as this process lives. Tells whether that was just now.
pub(super) fn hold() -> bool {
    let mut held = held();
    if held.is_some() {
        return false;
    }
    match take(Path::new(RUN_DIR)) {
        Ok(lock) => *held = Some(Held { _lock: lock, published: None }),
        // Whoever looks has it for a moment; the next collection takes it then.
        Err(TryLockError::WouldBlock) => {}
        Err(TryLockError::Error(why)) => tracing::warn!("cannot lock {RUN_DIR}/{LOCK}: {why}"),
    }
    held.is_some()
}

/// Whether a process that runs the programs lives.
pub(super) fn is_held() -> bool {
    is_taken(Path::new(RUN_DIR))
}

/// Publishes this if it is news, and if this process has the lock.
pub(super) fn publish(told: impl FnOnce() -> Told) {
    let mut held = held();
    let Some(held) = held.as_mut() else { return };
    let told = told();
    if held.published.as_ref() == Some(&told) {
        return;
    }
    match told.publish() {
        Ok(()) => held.published = Some(told),
        Err(why) => tracing::warn!("{why:#}"),
    }
}

fn take(folder: &Path) -> Result<File, TryLockError> {
    let open =
        || -> io::Result<File> { OpenOptions::new().write(true).create(true).truncate(false).open(folder.join(LOCK)) };
    let file = open().map_err(TryLockError::Error)?;
    file.try_lock()?;
    Ok(file)
}

fn is_taken(folder: &Path) -> bool {
    let shared = |file: File| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock));
    File::open(folder.join(LOCK)).is_ok_and(shared)
}

impl Told {
    /// What these programs said, with how old it is where that matters.
    pub(super) fn of(&self, paths: Vec<String>, now_s: f64) -> Vec<(String, Said)> {
        let said = |path: String| {
            let said = self.programs.get(&path).cloned().unwrap_or_else(|| Said {
                failure: Some("the unit checkin, which runs it, has not done so yet".to_owned()),
                ..Said::default()
            });
            let failure = remark(&said, now_s);
            (path, Said { failure, ..said })
        };
        paths.into_iter().map(said).collect()
    }
}

fn remark(said: &Said, now_s: f64) -> Option<String> {
    let age = said.said_s.map(|at| (now_s - at).max(0.0));
    match (&said.failure, age) {
        (Some(why), Some(age)) => Some(format!("{why}; its facts are {age:.0} s old")),
        (None, Some(age)) if age > FACT_PROGRAM_OLD.as_secs_f64() => {
            Some(format!("its facts are {age:.0} s old: the unit checkin runs it before a check-in"))
        }
        (why, _) => why.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_lock_is_seen_as_long_as_its_holder_lives() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!is_taken(dir.path()), "nobody was ever here");
        let lock = take(dir.path()).unwrap();
        assert!(is_taken(dir.path()) && is_taken(dir.path()));
        assert!(matches!(take(dir.path()), Err(TryLockError::WouldBlock)), "one at a time");
        drop(lock);
        assert!(!is_taken(dir.path()), "its file stays, and says nothing");
        take(dir.path()).unwrap();
        assert!(matches!(take(&dir.path().join("none")), Err(TryLockError::Error(_))));
    }

    #[test]
    fn what_was_said_is_given_with_its_age_where_that_matters() {
        let said = |said_s, failure: Option<&str>| Said {
            facts: [("a".to_owned(), json!(1))].into(),
            said_s,
            failure: failure.map(str::to_owned),
        };
        let old = FACT_PROGRAM_OLD.as_secs_f64();
        for (one, expected) in [
            (said(Some(1000.0), None), None),
            (said(Some(1000.0 - old), None), None),
            (said(Some(999.0 - old), None), Some("its facts are 181 s old")),
            (said(Some(990.0), Some("ended with 3")), Some("ended with 3; its facts are 10 s old")),
            (said(None, Some("ended with 3")), Some("ended with 3")),
        ] {
            let told = Told { programs: [("/p".to_owned(), one.clone())].into() };
            let all = told.of(vec!["/p".to_owned(), "/new".to_owned()], 1000.0);
            assert_eq!(all[0].1.facts, one.facts);
            let failure = all[0].1.failure.as_deref();
            assert_eq!(failure.is_some(), expected.is_some(), "{failure:?}");
            assert!(failure.is_none_or(|why| why.starts_with(expected.unwrap_or_default())), "{failure:?}");
            assert!(all[1].1.facts.is_empty() && all[1].1.failure.as_ref().is_some_and(|why| why.contains("checkin")));
        }
    }
}
