//! Answers that are kept for a while, because asking is slow or a burden to the hardware: a BMC takes its time for each
//! question, and a disk that is asked every minute never comes to rest. They stay beyond that time, for when no newer one
//! can be had. Within one process only.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Answers by component, each with the time until which nobody need ask again.
pub(super) struct Kept<T>(Mutex<BTreeMap<String, (Instant, T)>>);

impl<T: Clone> Kept<T> {
    /// Nothing yet.
    pub(super) const fn new() -> Self {
        Self(Mutex::new(BTreeMap::new()))
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<String, (Instant, T)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps an answer; it is fresh until this time.
    pub(super) fn keep(&self, component: &str, answer: T, until: Instant) {
        self.all().insert(component.to_owned(), (until, answer));
    }

    /// The last answer, however old.
    pub(super) fn last(&self, component: &str) -> Option<T> {
        self.all().get(component).map(|(_, answer)| answer.clone())
    }

    /// The last answer if it is still fresh.
    pub(super) fn fresh(&self, component: &str, now: Instant) -> Option<T> {
        let all = self.all();
        let (until, answer) = all.get(component)?;
        (now < *until).then(|| answer.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_answer_ages_but_is_not_forgotten() {
        let (kept, now, age) = (Kept::new(), Instant::now(), Duration::from_secs(60));
        assert_eq!((kept.fresh("sda", now), kept.last("sda")), (None, None));
        kept.keep("sda", 1, now + age);
        assert_eq!(kept.fresh("sda", now + age / 2), Some(1));
        assert_eq!(kept.fresh("sdb", now), None);
        assert_eq!((kept.fresh("sda", now + age), kept.last("sda")), (None, Some(1)));
        kept.keep("sda", 2, now + age * 2);
        assert_eq!(kept.fresh("sda", now + age), Some(2));
    }
}
