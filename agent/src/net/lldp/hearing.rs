//! Who speaks LLDP to one port, and whether nobody does. Pure: time comes from outside.
//!
//! What is told changes only when the neighbour does, never by time alone but for two steps: one that falls silent is
//! forgotten when what it said no longer holds, and a port that heard nobody for [`LLDP_SILENCE`] says so once.
//! Of more neighbours than are kept, those that came first stay, so that the list comes to rest; but a switch takes the
//! place of a host, since behind a plain switch many hosts may speak, and it is the switch that people look for.

use std::collections::BTreeMap;
use std::time::Instant;

use wire::inventory::{Lldp, Neighbour};

use super::{Heard, Role};
use crate::limits::{LLDP_DEFAULT_TTL, LLDP_LONGEST_TTL, LLDP_NEIGHBOURS, LLDP_SILENCE};

/// Chassis, port and VLAN tag: a switch may speak on one port under several tags.
type Who = (String, String, Option<u16>);

struct Known {
    neighbour: Neighbour,
    role: Role,
    until: Instant,
}

/// What one port hears.
#[derive(Default)]
pub(crate) struct Hearing {
    known: BTreeMap<Who, Known>,
    /// Since when nobody was heard; `None` while the port cannot hear.
    quiet_since: Option<Instant>,
    silent: bool,
}

impl Hearing {
    /// What was known before this unit was started again: a crash is no news of the cables. Those whom nobody hears any
    /// more are forgotten as others are.
    pub(crate) fn remembering(former: Lldp, now: Instant) -> Self {
        let until = now + LLDP_DEFAULT_TTL;
        let role = Role::default();
        let known = former.neighbours.into_iter().map(|neighbour| (who(&neighbour), Known { neighbour, role, until }));
        Self { known: known.collect(), quiet_since: None, silent: former.silent_s.is_some() }
    }

    /// Whether the port, which is up, can hear: it has a link. Behind another link there may be another switch.
    pub(crate) fn can_hear(&mut self, can: bool, now: Instant) {
        match (can, self.quiet_since) {
            (true, None) => self.quiet_since = Some(now),
            (true, Some(_)) => {}
            (false, _) => *self = Self::default(),
        }
    }

    /// Somebody spoke.
    pub(crate) fn heard(&mut self, heard: Heard, now: Instant) {
        let Heard { neighbour, role, ttl } = heard;
        if self.quiet_since.is_none() {
            return;
        }
        (self.quiet_since, self.silent) = (Some(now), false);
        if ttl.is_zero() {
            self.known.retain(|(chassis, port, _), _| (chassis, port) != (&neighbour.chassis, &neighbour.port));
            return;
        }
        let (who, until) = (who(&neighbour), now + ttl.min(LLDP_LONGEST_TTL));
        if let Some(known) = self.known.get_mut(&who) {
            (known.role, known.until) = (role, until);
            if !is_same(&known.neighbour, &neighbour) {
                known.neighbour = neighbour;
            }
        } else if self.known.len() < LLDP_NEIGHBOURS || self.makes_room_for(role) {
            self.known.insert(who, Known { neighbour, role, until });
        }
    }

    /// Forgets the neighbour that matters least, of several the one that would be forgotten first, if it matters less
    /// than this.
    fn makes_room_for(&mut self, role: Role) -> bool {
        let least = self.known.iter().min_by_key(|(_, known)| (known.role, known.until));
        let Some(least) = least.filter(|(_, known)| known.role < role).map(|(who, _)| who.clone()) else {
            return false;
        };
        self.known.remove(&least).is_some()
    }

    /// Time went by.
    pub(crate) fn tick(&mut self, now: Instant) {
        self.known.retain(|_, known| known.until > now);
        let long = self.quiet_since.is_some_and(|since| now >= since + LLDP_SILENCE);
        self.silent = self.known.is_empty() && (self.silent || long);
    }

    /// When the next [`Self::tick`] changes something.
    pub(crate) fn due(&self) -> Option<Instant> {
        let silence =
            self.quiet_since.filter(|_| self.known.is_empty() && !self.silent).map(|since| since + LLDP_SILENCE);
        self.known.values().map(|known| known.until).chain(silence).min()
    }

    /// What is known; `None` while nobody was heard and it is too early to say that nobody is there.
    pub(crate) fn describe(&self) -> Option<Lldp> {
        let silent_s = self.silent.then(|| u32::try_from(LLDP_SILENCE.as_secs()).unwrap_or(u32::MAX));
        let neighbours: Vec<Neighbour> = self.known.values().map(|known| known.neighbour.clone()).collect();
        (silent_s.is_some() || !neighbours.is_empty()).then_some(Lldp { silent_s, neighbours })
    }
}

fn who(neighbour: &Neighbour) -> Who {
    (neighbour.chassis.clone(), neighbour.port.clone(), neighbour.tagged)
}

/// Whether all that was understood is the same. What was not may hold counters, which must not make each frame a change.
fn is_same(old: &Neighbour, new: &Neighbour) -> bool {
    *old == Neighbour { raw: old.raw.clone(), ..new.clone() }
}

/// For the fuzzer: frames one after the other, each behind its length and a byte that says how its tag was told. Whoever
/// speaks, no more neighbours are kept than are asked for, and what is kept can be printed.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(mut bytes: &[u8]) {
    let (mut hearing, now) = (Hearing::default(), Instant::now());
    hearing.can_hear(true, now);
    while let [length, told, rest @ ..] = bytes {
        let (frame, next) = rest.split_at(rest.len().min(usize::from(*length) * 4));
        let tagged = if told & 1 == 0 { None } else { super::frame::tag(frame) };
        let heard = super::frame::unwrap(frame, tagged).and_then(|(vlan, unit)| super::unit::decode(unit, vlan));
        if let Some(heard) = heard {
            hearing.heard(heard, now);
        }
        hearing.tick(now);
        bytes = next;
    }
    let known = hearing.describe().unwrap_or_default();
    assert!(known.neighbours.len() <= LLDP_NEIGHBOURS);
    for neighbour in &known.neighbours {
        let shown = [&neighbour.chassis, &neighbour.port];
        assert!(shown.iter().all(|text| !text.is_empty() && !text.chars().any(char::is_control)), "{neighbour:?}");
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn from(port: &str, raw: &str, ttl: u64) -> Heard {
        let neighbour =
            Neighbour { chassis: "s".to_owned(), port: port.to_owned(), raw: raw.to_owned(), ..Neighbour::default() };
        Heard { neighbour, role: Role::Unknown, ttl: Duration::from_secs(ttl) }
    }

    fn of_role(role: Role, port: &str, ttl: u64) -> Heard {
        Heard { role, ..from(port, "", ttl) }
    }

    fn names(hearing: &Hearing) -> Vec<String> {
        let neighbours = hearing.describe().map(|l| l.neighbours).unwrap_or_default();
        neighbours.into_iter().map(|n| n.port).collect()
    }

    /// A hearing with a link, and what time it is so many seconds later.
    fn linked() -> (Hearing, impl Fn(u64) -> Instant) {
        let start = Instant::now();
        let mut hearing = Hearing::default();
        hearing.can_hear(true, start);
        (hearing, move |seconds| start + Duration::from_secs(seconds))
    }

    #[test]
    fn silence_is_told_once_and_ends_when_somebody_speaks() {
        let (mut hearing, at) = linked();
        hearing.tick(at(64));
        assert_eq!((hearing.describe(), hearing.due()), (None, Some(at(65))));
        hearing.tick(at(65));
        let silent = Some(Lldp { silent_s: Some(65), neighbours: Vec::new() });
        assert_eq!((hearing.describe(), hearing.due()), (silent.clone(), None));
        hearing.tick(at(7000));
        assert_eq!(hearing.describe(), silent, "it is the same for ever");
        hearing.heard(from("e1", "", 120), at(7001));
        assert_eq!(names(&hearing), ["e1"]);
        assert_eq!(hearing.describe().unwrap().silent_s, None);
    }

    #[test]
    fn a_neighbour_is_there_as_long_as_it_said() {
        let (mut hearing, at) = linked();
        hearing.heard(from("e2", "", 120), at(1));
        hearing.heard(from("e1", "", 30), at(2));
        hearing.heard(from("e1", "", 30), at(20));
        hearing.tick(at(40));
        assert_eq!((names(&hearing), hearing.due()), (vec!["e1".to_owned(), "e2".to_owned()], Some(at(50))));
        hearing.tick(at(50));
        assert_eq!((names(&hearing), hearing.due()), (vec!["e2".to_owned()], Some(at(121))));
        hearing.heard(from("e2", "", 0), at(60));
        assert_eq!((hearing.describe(), hearing.due()), (None, Some(at(125))), "it took its leave");
        hearing.tick(at(125));
        assert_eq!(hearing.describe().unwrap().silent_s, Some(65));
    }

    #[test]
    fn without_a_link_nobody_is_there_and_nothing_is_said_of_silence() {
        let (mut hearing, at) = linked();
        hearing.heard(from("e1", "", 120), at(1));
        hearing.can_hear(true, at(2));
        assert_eq!(names(&hearing), ["e1"]);
        hearing.can_hear(false, at(3));
        hearing.heard(from("e1", "", 120), at(3));
        hearing.tick(at(1000));
        assert_eq!((hearing.describe(), hearing.due()), (None, None));
        hearing.can_hear(true, at(2000));
        assert_eq!(hearing.due(), Some(at(2065)), "silence counts from the new link");
    }

    #[test]
    fn what_was_known_before_a_crash_is_no_news() {
        let (mut hearing, at) = linked();
        hearing.heard(from("e1", "", 30), at(1));
        let before = hearing.describe().unwrap();
        let mut hearing = Hearing::remembering(before.clone(), at(2));
        assert_eq!(hearing.describe().as_ref(), Some(&before), "before the port is up");
        hearing.can_hear(true, at(3));
        hearing.tick(at(121));
        assert_eq!((hearing.describe().as_ref(), hearing.due()), (Some(&before), Some(at(122))));
        hearing.tick(at(122));
        assert_eq!(hearing.describe().unwrap().silent_s, Some(65), "it was not heard again");

        let mut hearing = Hearing::remembering(hearing.describe().unwrap(), at(130));
        hearing.can_hear(true, at(130));
        hearing.tick(at(131));
        assert_eq!(hearing.describe().unwrap().silent_s, Some(65), "silence goes on");
        hearing.can_hear(false, at(132));
        assert_eq!(hearing.describe(), None);

        let mut unplugged = Hearing::remembering(before, at(133));
        unplugged.can_hear(false, at(134));
        assert_eq!((unplugged.describe(), unplugged.due()), (None, None), "it came up without its link");
    }

    #[test]
    fn what_is_not_understood_does_not_make_each_frame_a_change() {
        let (mut hearing, at) = linked();
        hearing.heard(from("e1", "01", 120), at(1));
        hearing.heard(from("e1", "02", 120), at(31));
        assert_eq!(hearing.describe().unwrap().neighbours[0].raw, "01");
        let mut changed = from("e1", "03", 120);
        changed.neighbour.vlan = Some(12);
        hearing.heard(changed, at(61));
        assert_eq!(hearing.describe().unwrap().neighbours[0].raw, "03");
    }

    #[test]
    fn the_same_port_under_two_tags_is_two_that_leave_together() {
        let (mut hearing, at) = linked();
        let mut tagged = from("e1", "", 120);
        tagged.neighbour.tagged = Some(1);
        hearing.heard(tagged, at(1));
        hearing.heard(from("e1", "", 120), at(1));
        assert_eq!(names(&hearing).len(), 2);
        hearing.heard(from("e1", "", 0), at(2));
        assert_eq!(names(&hearing).len(), 0);
    }

    #[test]
    fn no_more_than_so_many_are_remembered() {
        let (mut hearing, at) = linked();
        for n in 0..LLDP_NEIGHBOURS + 5 {
            hearing.heard(from(&format!("e{n:02}"), "", 120), at(1));
        }
        assert_eq!(names(&hearing).len(), LLDP_NEIGHBOURS);
        assert_eq!(names(&hearing)[0], "e00", "those that came first stay");
    }

    #[test]
    fn a_switch_takes_the_place_of_the_host_that_would_be_forgotten_first() {
        let (mut hearing, at) = linked();
        for n in 0..u64::try_from(LLDP_NEIGHBOURS).unwrap() {
            let role = if n == 3 { Role::Unknown } else { Role::Host };
            hearing.heard(of_role(role, &format!("e{n}"), 200 - 10 * n), at(1));
        }
        hearing.heard(of_role(Role::Host, "late-host", 600), at(2));
        assert!(!names(&hearing).contains(&"late-host".to_owned()), "hosts do not push each other out");
        hearing.heard(of_role(Role::Switch, "switch", 120), at(3));
        let after = names(&hearing);
        assert_eq!((after.len(), after.contains(&"switch".to_owned())), (LLDP_NEIGHBOURS, true), "{after:?}");
        assert!(!after.contains(&format!("e{}", LLDP_NEIGHBOURS - 1)), "it had the least time left: {after:?}");
        for n in 0..LLDP_NEIGHBOURS {
            hearing.heard(of_role(Role::Switch, &format!("s{n}"), 120), at(4));
        }
        let after = names(&hearing);
        assert!(!after.contains(&"e3".to_owned()) && after.contains(&"switch".to_owned()), "{after:?}");
        assert!(
            !after.contains(&format!("s{}", LLDP_NEIGHBOURS - 1)),
            "switches do not push each other out: {after:?}"
        );
    }

    #[test]
    fn nobody_is_held_for_longer_than_an_hour_without_a_word() {
        let (mut hearing, at) = linked();
        hearing.heard(from("e1", "", 65_535), at(0));
        hearing.tick(at(3599));
        assert_eq!((names(&hearing).len(), hearing.due()), (1, Some(at(3600))));
        hearing.tick(at(3600));
        assert_eq!(names(&hearing).len(), 0);
    }
}
