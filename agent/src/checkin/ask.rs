//! One round of questions: which servers are asked over which ports, with which request, and what all their failures come
//! to. What is decided is in the pure modules; this file sends.

use std::time::{Duration, Instant};

use wire::checkin::{CheckinReply, CheckinRequest};
use wire::error::Problem;

use super::compose::{Parts, View};
use super::former::Former;
use super::sealed::Sealed;
use super::token;
use super::transport::Transport;
use super::verdict::{self, Failure};
use super::watch::Inputs;
use super::{CHECKED_IN, RETRYING, Round, Unit, outbox};
use crate::state::{Published as _, ServerHint, uptime};

impl Unit {
    /// Asks the servers one after the other until one answers.
    pub(super) async fn round(&mut self, inputs: &Inputs, view: &View) -> Round {
        // Later rounds and repeated attempts are routine: nobody wants to read of each.
        if ![CHECKED_IN, RETRYING].contains(&self.state.stage.as_str()) {
            self.say("checking in");
        }
        self.outbox.problems(self.settings.problems.iter().cloned());
        self.outbox.problems(crate::state::Net::read().map(|n| n.problems).unwrap_or_default());
        let order: Vec<ServerHint> = self.route.order(&inputs.servers).into_iter().cloned().collect();
        let mut failures: Vec<Option<Failure>> = vec![None; order.len()];
        // All as the kernel would first: on a machine in several networks, one dead server must not delay the next. Guesses
        // come after both: a named server that only one port leads to is still the one that was meant.
        let each = Some(inputs.ports.as_slice()).filter(|ports| ports.len() > 1);
        let passes = [false, true]
            .into_iter()
            .flat_map(|guessed| std::iter::once::<&[String]>(&[]).chain(each).map(move |ports| (guessed, ports)));
        'all: for (guessed, ports) in passes {
            for (hint, failure) in order.iter().zip(&mut failures).filter(|(hint, _)| hint.guessed == guessed) {
                if failure.as_ref().is_some_and(|f| !f.unreached) {
                    continue;
                }
                let why = match self.attempt(hint, view, ports).await {
                    Ok((sealed, reply)) => {
                        let others = order.iter().zip(failures).filter(|(other, _)| other.url != hint.url);
                        let failed: Vec<Problem> = others.filter_map(|(_, failure)| Some(failure?.problem)).collect();
                        return self.answered(hint, view, sealed, &reply, &failed);
                    }
                    Err(why) => failure.insert(why),
                };
                self.route.failed(hint, why.status);
                if why.final_word {
                    break 'all;
                }
            }
        }
        let failures: Vec<Failure> = failures.into_iter().flatten().collect();
        // Another round is held back only if all servers ask for that.
        let asked = failures.iter().map(|f| f.retry_after).min().flatten();
        self.failed(RETRYING, all_failed(failures.into_iter().map(|f| f.problem)), asked)
    }

    async fn attempt(
        &mut self,
        hint: &ServerHint,
        view: &View,
        ports: &[String],
    ) -> Result<(Sealed, CheckinReply), Failure> {
        if self.route.must_greet(hint) {
            let (url, answer) = self.transport()?.hello(&hint.url, ports).await;
            verdict::hello(&url, &answer?)?;
            self.route.greeted(hint);
            self.answered_well();
        }
        let url = self.route.url(hint);
        loop {
            let sealed = self
                .seal(hint, view)
                .map_err(|why| Failure::new("local", format!("{why:#}"), "See the state of /run on this node."))?;
            let answer = self.transport()?.post(&url, &sealed.body, &sealed.signed, ports).await;
            let failure = match answer.and_then(|answer| verdict::checkin(&url, &answer)) {
                Ok(reply) => return Ok((sealed, reply)),
                Err(failure) => failure,
            };
            match sealed.in_doubt.clone() {
                // The one before it was taken. The next has a number of its own, so that this does not come again.
                Some(told) if failure.is_replay() => self.outbox.delivered(told),
                in_doubt => {
                    if failure.lost || (in_doubt.is_some() && !failure.answered()) {
                        self.lost = Some(sealed.lost());
                    }
                    return Err(failure);
                }
            }
        }
    }

    /// The next request to this server: the lost one as it was, or a new one under its number, or one under the next.
    fn seal(&mut self, hint: &ServerHint, view: &View) -> anyhow::Result<Sealed> {
        let now = Instant::now();
        let (number, in_doubt) = match self.lost.take() {
            Some(lost) if lost.can_be_repeated(&hint.url, now) => return Ok(lost),
            Some(lost) => (lost.number, lost.in_doubt),
            None => (self.speaker.next_number()?, None),
        };
        self.tell_card();
        let former = self.held_back(hint, view);
        let parts = match &former {
            Some(_) => Parts::default(),
            None => self.ledger.parts(&hint.url, view, now),
        };
        let body = serde_json::to_vec(&self.request(hint, view, former.as_ref(), parts, number))?;
        Ok(Sealed {
            server: hint.url.clone(),
            number,
            at: now,
            signed: self.speaker.sign(&body),
            body,
            parts,
            // Of what is held back the server has nothing.
            fingerprint: if former.is_some() { String::new() } else { view.fingerprint.clone() },
            told: self.outbox.pending().clone(),
            repeated: false,
            in_doubt,
        })
    }

    /// What an earlier run of this unit told this server, where that is better than what this one can tell yet.
    fn held_back(&mut self, hint: &ServerHint, view: &View) -> Option<Former> {
        let is_over = Instant::now() >= self.former_end;
        let former = self.former.take_if(|former| is_over || former.server == hint.url).filter(|_| !is_over)?;
        let lacking = former.lacks(&view.inventory)?;
        self.outbox.problems([lacking]);
        self.former = Some(former.clone());
        Some(former)
    }

    fn transport(&mut self) -> Result<&mut Transport, Failure> {
        self.transport.as_mut().map_err(|why| why.clone())
    }

    fn request(
        &self,
        hint: &ServerHint,
        view: &View,
        former: Option<&Former>,
        parts: Parts,
        number: u64,
    ) -> CheckinRequest {
        let mut inventory = parts.inventory.then(|| view.inventory.clone());
        if let Some(inventory) = inventory.as_mut().filter(|_| !parts.volatile) {
            inventory.volatile = None;
        }
        CheckinRequest {
            hw_id: former.map_or_else(|| wire::facts::hw_id(&view.inventory.stable), |former| former.hw_id.clone()),
            facts: parts.facts.then(|| view.facts.clone()),
            inventory,
            inventory_digest: Some(former.map_or(&view.digest, |former| &former.digest).clone()),
            boot_id: Some(self.speaker.boot_id.clone()),
            seq: Some(number),
            uptime_s: Some(Duration::from_secs_f64(uptime()).as_secs()),
            clock_s: outbox::clock(),
            agent: Some(outbox::agent(&self.settings.image)),
            enrolment: token::for_server(&self.settings, hint, &self.state),
            config: Some(self.pushed.state()),
            results: self.outbox.pending().results.clone(),
            problems: self.outbox.pending().problems.clone(),
            card: self.outbox.pending().card.clone(),
        }
    }
}

/// Nobody can be asked.
pub(super) fn no_server() -> Problem {
    Problem::new(
        "no_server",
        "nothing says where the server is: no razor.server on the kernel line, no site configuration, nothing by DHCP or DNS",
        "Give razor.server=URL on the kernel line, DHCP next-server or option 224, or a DNS name razor.",
    )
}

/// One problem of all that the servers' failures are.
fn all_failed(mut problems: impl Iterator<Item = Problem>) -> Problem {
    let Some(first) = problems.next() else { return no_server() };
    let rest: Vec<String> = problems.map(|p| p.error).collect();
    if rest.is_empty() { first } else { Problem { error: format!("{}; {}", first.error, rest.join("; ")), ..first } }
}
