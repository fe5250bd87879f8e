//! What the site's programs said, from process to process. The unit `checkin` holds a lock as long as it lives, and
//! publishes what each program says; others take its word, with how old it is. State files outlive their writer, and
//! locks do not. Where a former `checkin` hangs in the kernel and does not let go of the lock, the new one goes on without:
//! to others the lock says the same.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use serde::{Deserialize, Serialize};

use super::program::Said;
use crate::limits::{CHECKIN_LOOK, FACT_LOCK_TRIES, FACT_PROGRAM_OLD};
use crate::state::{Published, RUN_DIR};

/// The lock's file.
const LOCK: &str = "facts.lock";
/// What is wrong when another has it for longer than a moment.
const HANGS: &str = "a former process of the unit checkin has it and does not end; this one goes on without; \
                     see the kernel's log for hardware that does not answer";

/// What the programs said last. Written by `checkin`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Told {
    /// By path.
    pub(super) programs: BTreeMap<String, Said>,
}

impl Published for Told {
    const NAME: &'static str = "facts";
}

/// Of the process that publishes.
#[derive(Default)]
struct Writer {
    lock: Option<File>,
    /// Why it has no lock.
    trouble: Option<String>,
    published: Option<Told>,
}

static WRITER: Mutex<Option<Writer>> = Mutex::new(None);

fn writer() -> MutexGuard<'static, Option<Writer>> {
    WRITER.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From now on this process publishes, and has the lock as long as it lives. Tells whether that is new.
pub(super) fn hold() -> bool {
    let mut writer = writer();
    let is_new = writer.is_none();
    let Writer { lock, trouble, .. } = writer.get_or_insert_default();
    if lock.is_none() {
        let taken = patiently(Path::new(RUN_DIR), FACT_LOCK_TRIES);
        let before = trouble.take();
        *trouble = taken.as_ref().err().map(|why| match why {
            TryLockError::WouldBlock => HANGS.to_owned(),
            TryLockError::Error(why) => format!("cannot be locked: {why}"),
        });
        *lock = taken.ok();
        if let Some(why) = trouble.as_ref().filter(|_| *trouble != before) {
            tracing::warn!("{RUN_DIR}/{LOCK}: {why}");
        }
    }
    is_new
}

/// What is wrong with the lock of this process, by its path.
pub(super) fn trouble() -> Option<(String, String)> {
    let why = writer().as_ref()?.trouble.clone()?;
    Some((format!("{RUN_DIR}/{LOCK}"), why))
}

/// Whether a process that runs the programs lives.
pub(super) fn is_held() -> bool {
    is_taken(Path::new(RUN_DIR))
}

/// Publishes this if it is news, and if that is this process's affair.
pub(super) fn publish(told: impl FnOnce() -> Told) {
    let mut writer = writer();
    let Some(writer) = writer.as_mut() else { return };
    let told = told();
    if writer.published.as_ref() == Some(&told) {
        return;
    }
    match told.publish() {
        Ok(()) => writer.published = Some(told),
        Err(why) => tracing::warn!("{why:#}"),
    }
}

/// Takes the lock, at so many tries. Whoever looks has it for a moment.
fn patiently(folder: &Path, tries: u32) -> Result<File, TryLockError> {
    for _ in 1..tries {
        match take(folder) {
            Err(TryLockError::WouldBlock) => thread::sleep(CHECKIN_LOOK),
            taken => return taken,
        }
    }
    take(folder)
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
        let lock = patiently(dir.path(), 10_000).unwrap();
        assert!(matches!(patiently(dir.path(), 2), Err(TryLockError::WouldBlock)), "a predecessor that hangs");
        let looker = thread::spawn(move || {
            thread::sleep(CHECKIN_LOOK * 2);
            drop(lock);
        });
        patiently(dir.path(), 10_000).unwrap();
        looker.join().unwrap();
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
