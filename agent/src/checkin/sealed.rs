//! A request as it goes over the wire, and what is done about one whose answer was lost. Pure.
//!
//! The server may have taken a lost request, so that its number is in doubt until a server speaks about it. No higher
//! number is used meanwhile, at whatever name: two names may lead to one server. While the request is young and carries
//! what the server asked needs, the very same bytes are sent again: a server that took them gives the same answer, and
//! nothing counts twice. Later its uptime would mislead a server that did not take it, so that a request of now goes
//! out under the same number. A server that took the first one refuses that as a replay: what the first one told is
//! then delivered and is not told again.

use std::time::Instant;

use super::compose::Parts;
use super::outbox::Told;
use crate::limits::CHECKIN_REPEAT;

/// A numbered and signed request, with what an answer to it settles.
#[derive(Debug, Clone)]
pub(super) struct Sealed {
    /// Base URL of the server that it was made for.
    pub(super) server: String,
    pub(super) number: u64,
    /// When it was made.
    pub(super) at: Instant,
    pub(super) body: Vec<u8>,
    /// Public key and signature.
    pub(super) signed: (String, String),
    /// What of the machine it carries.
    pub(super) parts: Parts,
    /// Which state of the machine that is.
    pub(super) fingerprint: String,
    /// What it tells.
    pub(super) told: Told,
    /// These bytes were sent before.
    pub(super) repeated: bool,
    /// What the first request under this number told, if that one was lost.
    pub(super) in_doubt: Option<Told>,
}

impl Sealed {
    /// Whether these bytes can be sent to this server again.
    pub(super) fn can_be_repeated(&self, server: &str, now: Instant) -> bool {
        let has_all = self.server == server || (self.parts.facts && self.parts.inventory);
        has_all && now.saturating_duration_since(self.at) < CHECKIN_REPEAT
    }

    /// The same after its answer was lost.
    pub(super) fn lost(self) -> Self {
        let in_doubt = Some(self.in_doubt.unwrap_or_else(|| self.told.clone()));
        Self { repeated: true, in_doubt, ..self }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use wire::error::Problem;

    use super::*;

    const ALL: Parts = Parts { facts: true, inventory: true, volatile: true };
    const NOTHING: Parts = Parts { facts: false, inventory: false, volatile: false };

    fn sealed(parts: Parts, problem: &str) -> Sealed {
        Sealed {
            server: "a".to_owned(),
            number: 1,
            at: Instant::now(),
            body: Vec::new(),
            signed: (String::new(), String::new()),
            parts,
            fingerprint: String::new(),
            told: Told { problems: vec![Problem::new(problem, "", "")], ..Told::default() },
            repeated: false,
            in_doubt: None,
        }
    }

    #[test]
    fn bytes_are_repeated_while_they_are_young_and_where_they_say_enough() {
        let young = Duration::from_secs(1);
        let cases = [(ALL, "a", true), (ALL, "b", true), (NOTHING, "a", true), (NOTHING, "b", false)];
        for (parts, server, expected) in cases {
            let sealed = sealed(parts, "p");
            assert_eq!(sealed.can_be_repeated(server, sealed.at + young), expected, "{parts:?} {server}");
            assert!(!sealed.can_be_repeated(server, sealed.at + CHECKIN_REPEAT), "its uptime is old");
        }
    }

    #[test]
    fn in_doubt_is_what_the_first_one_told() {
        let first = sealed(ALL, "first").lost();
        let anew = Sealed { in_doubt: first.in_doubt.clone(), ..sealed(ALL, "second") };
        assert!(first.repeated && !anew.repeated);
        assert_eq!(anew.lost().in_doubt, Some(first.told));
    }
}
