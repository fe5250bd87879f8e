//! Rows 6 to 9 and 11: a check-in with facts. The order is that of the table: what the machine's own node says, then how
//! many registered nodes it may be, then whether another boot speaks as the one that is left.

use crate::identity::decide::{Arrival, Candidate, Decision, Judged, Link, Own, Verdict, judge, possible, weigh};
use crate::identity::evidence::Group;

/// Decides for a check-in.
#[must_use]
pub fn checkin(arrival: &Arrival) -> Decision {
    let newborn = arrival.own.filter(|own| own.newborn).map(|own| own.id);
    let judged = judge(arrival.candidates, arrival.evidence, arrival.common, newborn);
    let scene = Scene { arrival, own: own(arrival, &judged), open: possible(&judged), judged: &judged };
    let (row, verdict) = scene.decide();
    let evidence = weigh(&judged, |c| arrival.is_alive(c));
    Decision { row, verdict, evidence }.bounded()
}

impl Arrival<'_> {
    /// Another boot spoke as this node after the one that speaks now had begun: two machines. A silence below zero says
    /// only that the server's clock was put back.
    pub(super) fn speaks_elsewhere(&self, candidate: &Candidate) -> bool {
        candidate.silence_ms.zip(self.uptime_ms).is_some_and(|(silence, uptime)| (0..uptime).contains(&silence))
    }

    /// Another boot speaks as this node, or did so until lately.
    pub(super) fn is_alive(&self, candidate: &Candidate) -> bool {
        candidate.silence_ms.is_some_and(|silence| silence <= candidate.alive_ms) || self.speaks_elsewhere(candidate)
    }
}

/// The own node, unless nothing proves that it is.
fn own(arrival: &Arrival, judged: &[Judged]) -> Option<Own> {
    let own = arrival.own?;
    let weighed = judged.iter().find(|j| j.candidate.id == own.id);
    let vetoed = weighed.is_some_and(|j| j.vetoed);
    // A boot that was recognised may not have shown yet what proves that it is another machine.
    let taken_back = weighed.is_some_and(|j| j.candidate.reopened && j.vetoed && !j.compared.rejoins());
    let by_key = weighed.is_some_and(|j| j.candidate.link != Link::Hint);
    // A node that only a boot made knows little: any value of the machine's shows that it was this boot.
    let by_boot = !own.registered && own.shares;
    ((own.proven && !taken_back) || (!vetoed && (by_key || by_boot))).then_some(own)
}

/// Everything that the rows look at.
struct Scene<'a, 'b> {
    arrival: &'b Arrival<'b>,
    own: Option<Own>,
    /// V.
    open: Vec<&'b Judged<'a>>,
    judged: &'b [Judged<'a>],
}

impl Scene<'_, '_> {
    fn decide(&self) -> (u8, Verdict) {
        let lost_own = self.arrival.own.is_some_and(|own| self.own.is_none() && own.registered);
        match self.own {
            Some(own) if own.registered => self.registered(own),
            own => {
                let (row, verdict) = self.unregistered(own);
                let new = self.is_taken_back() && matches!(verdict, Verdict::Create { .. });
                (if lost_own && (row == 6 || new) { 8 } else { row }, verdict)
            }
        }
    }

    /// True when the boot that speaks was recognised as its own node, wrongly.
    fn is_taken_back(&self) -> bool {
        self.own.is_none() && self.arrival.own.is_some_and(|own| own.proven)
    }

    /// Row 7: the own node is registered, and stays what it is.
    fn registered(&self, own: Own) -> (u8, Verdict) {
        // What the first report of this boot did not show yet may prove now which node it was all along.
        let late = if own.newborn || own.held { self.settled_late(own) } else { None };
        if let Some(settled) = late {
            return settled;
        }
        let conflict = self.rivals(Some(own));
        if !own.proven && self.candidate(own.id).is_some_and(|c| self.arrival.speaks_elsewhere(c)) {
            return self.two_machines(own.id, None);
        }
        let disputed = if own.held { self.disputed(own.id) } else { Vec::new() };
        let held = own.held && !(conflict.is_empty() && disputed.is_empty());
        let conflict = if held && conflict.is_empty() { disputed } else { conflict };
        (7, Verdict::Node { id: own.id, merge: self.duplicates(own.id, None), conflict, held })
    }

    /// A node of this boot's own that turns out to be another one.
    fn settled_late(&self, own: Own) -> Option<(u8, Verdict)> {
        let rivals = self.rivals(Some(own));
        if let Some(id) = self.silent_one(&rivals) {
            return Some((9, self.survives(id, Some(own), Vec::new())));
        }
        let (row, id) = match (rivals.as_slice(), self.relatives().as_slice()) {
            ([one], _) if own.newborn && !own.held => (6, *one),
            ([one], [kin]) if own.newborn && one == kin => (9, *one),
            ([one], _) if own.newborn && self.is_clearly(*one) => (9, *one),
            ([], [one]) => (9, *one),
            ([one], _) if own.held && self.has_ended(own, *one) => (9, *one),
            _ => return None,
        };
        let free = self.is_free(id) || self.own.is_some_and(|own| self.has_ended(own, id));
        free.then(|| (row, self.survives(id, Some(own), Vec::new())))
    }

    /// True when all that is known of this node is in the machine, and enough to tell it from others.
    fn is_clearly(&self, id: i64) -> bool {
        let clear = |j: &&Judged| j.compared.differ.is_empty() && j.compared.unseen.is_empty() && j.compared.is_clear();
        self.judged.iter().find(|j| j.candidate.id == id).as_ref().is_some_and(clear)
    }

    /// True when nothing was heard of this rival since before the boot that speaks was heard first, and for long: a reboot that
    /// was held for a second machine, since the server's clock had been put back a little.
    fn has_ended(&self, own: Own, rival: i64) -> bool {
        self.judged.iter().find(|j| j.candidate.id == rival).is_some_and(|j| {
            let before = j
                .candidate
                .silence_ms
                .zip(own.heard_ms)
                .is_some_and(|(silence, heard)| silence > heard.max(j.candidate.alive_ms));
            before && j.candidate.evidence == *self.arrival.evidence
        })
    }

    /// Rows 6, 9 and 11: there is no own node, or only a boot knows it.
    fn unregistered(&self, own: Option<Own>) -> (u8, Verdict) {
        let rivals = self.rivals(own);
        if let Some(id) = self.silent_one(&rivals) {
            return (9, self.survives(id, own, Vec::new()));
        }
        match rivals.as_slice() {
            [] => self.unknown(own),
            [one] => match self.candidate(*one) {
                Some(node) if self.arrival.speaks_elsewhere(node) => self.two_machines(*one, own),
                _ => (6, self.survives(*one, own, Vec::new())),
            },
            many => (6, Verdict::Ambiguous { nodes: many.to_vec(), held_as: self.held_as(own) }),
        }
    }

    /// Rows 6 and 9: no registered node has its keys. It may be one all the same, with a part replaced.
    fn unknown(&self, own: Option<Own>) -> (u8, Verdict) {
        let relatives = self.relatives();
        if let [one] = relatives.as_slice()
            && self.is_free(*one)
        {
            return (9, self.survives(*one, own, Vec::new()));
        }
        let conflict = self.disputed(own.map_or(0, |o| o.id));
        // Held before, and its rivals are gone.
        if let [held] = self.held_before().as_slice() {
            return (6, self.survives(*held, own, conflict));
        }
        let idle = self.open.iter().filter(|j| !j.candidate.registered && !self.arrival.is_alive(j.candidate));
        match idle.map(|j| j.candidate.id).chain(own.map(|o| o.id)).min() {
            Some(id) => (6, self.survives(id, own, conflict)),
            None => (9, Verdict::Create { conflict }),
        }
    }

    /// True when nobody else speaks as this node. Where nothing at all speaks against it, that is not before this boot began:
    /// a machine without match keys that is booted twice in a row. Else the other boot must have been silent for a while.
    fn is_free(&self, id: i64) -> bool {
        let free = |j: &&Judged| {
            let untouched = j.compared.is_untouched() && self.arrival.uptime_ms.is_some();
            let elsewhere = self.arrival.speaks_elsewhere(j.candidate);
            if untouched { !elsewhere } else { !self.arrival.is_alive(j.candidate) }
        };
        self.judged.iter().find(|j| j.candidate.id == id).as_ref().is_some_and(free)
    }

    /// Row 11: the incumbent keeps all, the newcomer is held.
    fn two_machines(&self, incumbent: i64, own: Option<Own>) -> (u8, Verdict) {
        (11, Verdict::Ambiguous { nodes: vec![incumbent], held_as: self.held_as(own) })
    }

    fn survives(&self, id: i64, own: Option<Own>, conflict: Vec<i64>) -> Verdict {
        let held = !conflict.is_empty();
        Verdict::Node { id, merge: self.duplicates(id, own), conflict, held }
    }

    /// Registered nodes other than its own that it may be.
    fn rivals(&self, own: Option<Own>) -> Vec<i64> {
        let rival = |c: &&Candidate| c.registered && !c.held && own.is_none_or(|o| o.id != c.id);
        self.open.iter().map(|j| j.candidate).filter(rival).map(|c| c.id).collect()
    }

    /// Of several rivals that an operator told apart, the only one that did not speak since this kernel started: the machine is
    /// none of the others.
    fn silent_one(&self, rivals: &[i64]) -> Option<i64> {
        let rivals: Vec<&Candidate> = rivals.iter().filter_map(|id| self.candidate(*id)).collect();
        let apart = |one: &Candidate| rivals.iter().all(|c| c.id == one.id || one.told_apart.contains(&c.id));
        if rivals.len() < 2 || !rivals.iter().all(|c| apart(c)) {
            return None;
        }
        match rivals.iter().filter(|c| !self.arrival.speaks_elsewhere(c)).collect::<Vec<_>>().as_slice() {
            [one] => Some(one.id),
            _ => None,
        }
    }

    /// E: registered nodes whose parts and numbers the machine has, whatever its match keys are now.
    fn relatives(&self) -> Vec<i64> {
        let fits = |j: &&Judged| {
            let c = j.candidate;
            c.registered && !c.held && !c.ruled_out && self.own.is_none_or(|o| o.id != c.id) && j.compared.rejoins()
        };
        self.judged.iter().filter(fits).map(|j| j.candidate.id).collect()
    }

    /// Whose parts the machine has, although it is not to be taken for them, or not yet.
    fn disputed(&self, own: i64) -> Vec<i64> {
        let relatives = self.relatives();
        if relatives.is_empty() { self.with_parts(own) } else { relatives }
    }

    /// Nodes that share a match key and are vetoed, but whose memory or disks are in the machine.
    fn with_parts(&self, own: i64) -> Vec<i64> {
        let parts = |j: &&Judged| [Group::Dimm, Group::Disk].iter().any(|g| j.compared.agree.contains(g));
        let disputed = |j: &&Judged| {
            let c = j.candidate;
            j.vetoed && !c.ruled_out && c.link != Link::Hint && c.registered && c.id != own && parts(j)
        };
        self.judged.iter().filter(disputed).map(|j| j.candidate.id).collect()
    }

    /// Unregistered duplicates that nobody speaks for, and the own node where another survives.
    fn duplicates(&self, survivor: i64, own: Option<Own>) -> Vec<i64> {
        let idle = self.open.iter().map(|j| j.candidate).filter(|c| !c.registered && !self.arrival.is_alive(c));
        let mut ids: Vec<i64> = idle.map(|c| c.id).chain(own.map(|o| o.id)).filter(|id| *id != survivor).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// The node that the machine is held as: its own, or the one that it was held as before, whatever it boots from.
    fn held_as(&self, own: Option<Own>) -> Option<i64> {
        own.map(|o| o.id).or(self.held_before().first().copied())
    }

    /// Held nodes that nobody else speaks as.
    fn held_before(&self) -> Vec<i64> {
        let was_held = |c: &&Candidate| c.held && !self.arrival.speaks_elsewhere(c);
        self.open.iter().map(|j| j.candidate).filter(was_held).map(|c| c.id).collect()
    }

    fn candidate(&self, id: i64) -> Option<&Candidate> {
        self.judged.iter().map(|j| j.candidate).find(|c| c.id == id)
    }
}
