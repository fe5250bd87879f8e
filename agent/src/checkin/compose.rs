//! What goes into a check-in. Pure.

use std::time::Instant;

use regex_lite::Regex;
use wire::checkin::Facts;
use wire::digest::{sha256_hex, stable};
use wire::facts::flatten;
use wire::inventory::Inventory;
use wire::limits::{MAX_FACT_NAME, MAX_FACTS};

use crate::limits::CHECKIN_VOLATILE;

/// What a server has of this node.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// The server that said so, and the [`View::fingerprint`] that it has.
    known: Option<(String, String)>,
    /// When a server was last sent the volatile parts.
    volatile_at: Option<Instant>,
}

/// The machine as it is sent.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct View {
    /// The inventory, volatile parts included.
    pub(super) inventory: Inventory,
    /// The flat facts that may be sent.
    pub(super) facts: Facts,
    /// Digest of the stable inventory.
    pub(super) digest: String,
    /// Digest of stable inventory and facts: addresses are in the facts only.
    pub(super) fingerprint: String,
}

/// What a request carries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Parts {
    pub(super) facts: bool,
    pub(super) inventory: bool,
    pub(super) volatile: bool,
}

impl View {
    /// Of this inventory, without facts whose names match `excluded`.
    pub(super) fn of(inventory: Inventory, excluded: Option<&Regex>) -> Self {
        let mut facts = flatten(&inventory);
        facts.retain(|name, _| name.len() <= MAX_FACT_NAME && !excluded.is_some_and(|e| e.is_match(name)));
        let facts: Facts = facts.into_iter().take(MAX_FACTS).collect();
        let digest = stable(&inventory.stable);
        // A map with string keys always has a JSON form.
        let text = serde_json::to_vec(&facts).unwrap_or_default();
        let fingerprint = sha256_hex(&[digest.as_bytes(), &text].concat());
        Self { inventory, facts, digest, fingerprint }
    }
}

impl Ledger {
    /// What this server is sent now.
    pub(super) fn parts(&self, server: &str, view: &View, now: Instant) -> Parts {
        let knows_server = self.known.as_ref().is_some_and(|(s, _)| s == server);
        let unchanged = self.known.as_ref().is_some_and(|(s, f)| s == server && *f == view.fingerprint);
        let volatile = !knows_server || self.volatile_at.is_none_or(|at| now - at >= CHECKIN_VOLATILE);
        Parts { facts: !unchanged, inventory: !unchanged || volatile, volatile }
    }

    /// The server answered: it has everything, wants everything, or is an original one, which says nothing.
    pub(super) fn answered(&mut self, server: &str, fingerprint: &str, sent: Parts, wants: Option<bool>, now: Instant) {
        self.known = (wants == Some(false)).then(|| (server.to_owned(), fingerprint.to_owned()));
        if sent.volatile {
            self.volatile_at = Some(now);
        }
    }

    /// Everything is to be sent again.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use wire::inventory::System;

    use super::*;

    fn view(serial: &str) -> View {
        let mut inventory = Inventory::default();
        inventory.stable.system = Some(System { serial: Some(serial.to_owned()), ..System::default() });
        View::of(inventory, None)
    }

    const ALL: Parts = Parts { facts: true, inventory: true, volatile: true };
    const NOTHING: Parts = Parts { facts: false, inventory: false, volatile: false };

    #[test]
    fn everything_until_the_server_says_that_it_has_it() {
        let (mut ledger, now, one) = (Ledger::default(), Instant::now(), view("1"));
        for wants in [None, Some(true)] {
            assert_eq!(ledger.parts("a", &one, now), ALL);
            ledger.answered("a", &one.fingerprint, ALL, wants, now);
        }
        assert_eq!(ledger.parts("a", &one, now), ALL, "an original server gets everything every time");
        ledger.answered("a", &one.fingerprint, ALL, Some(false), now);
        assert_eq!(ledger.parts("a", &one, now), NOTHING);
        assert_eq!(ledger.parts("b", &one, now), ALL, "another server has nothing");
        assert_eq!(ledger.parts("a", &view("2"), now), Parts { volatile: false, ..ALL }, "a change is sent");
        ledger.forget();
        assert_eq!(ledger.parts("a", &one, now), ALL);
    }

    #[test]
    fn volatile_parts_go_along_hourly() {
        let (mut ledger, now, one) = (Ledger::default(), Instant::now(), view("1"));
        ledger.answered("a", &one.fingerprint, ALL, Some(false), now);
        let soon = now + CHECKIN_VOLATILE - Duration::from_secs(1);
        assert_eq!(ledger.parts("a", &one, soon), NOTHING);
        let later = now + CHECKIN_VOLATILE;
        let hourly = Parts { facts: false, inventory: true, volatile: true };
        assert_eq!(ledger.parts("a", &one, later), hourly);
        ledger.answered("a", &one.fingerprint, hourly, Some(false), later);
        assert_eq!(ledger.parts("a", &one, later), NOTHING);
    }

    #[test]
    fn excluded_facts_are_left_out_and_change_the_fingerprint() {
        let all = view("1");
        let some = View::of(all.inventory.clone(), Some(&Regex::new("^serial").unwrap()));
        assert!(all.facts.contains_key("serialnumber") && !some.facts.contains_key("serialnumber"));
        assert_eq!(all.digest, some.digest, "the inventory is the same");
        assert_ne!(all.fingerprint, some.fingerprint);
    }
}
