//! Machines that share a connection: each is switched on, checks in when its time has come, and is asked at the end whether the server
//! still knows what it acknowledged.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::http::StatusCode;
use tokio::sync::watch;
use wire::checkin::CheckinReply;
use wire::error::Problem;
use wire::routes::{BOOT, JSON, KEY_HEADER, SIGNATURE_HEADER};

use crate::limits::{SIMULATED_PATIENCE, SIMULATED_RETRY};
use crate::simulate::line::{Answer, Line};
use crate::simulate::machine::Model;
use crate::simulate::node::{Node, Says};
use crate::simulate::tally::Tally;

/// What machines do.
#[derive(Debug, Clone, Copy)]
pub(super) enum Phase {
    /// None of them: `/healthz` is asked for, for so long.
    Healthz(Duration),
    /// They are switched on, boot from the network and report for the first time.
    Arrive,
    /// They check in.
    Steady {
        /// Time between two check-ins; zero: at once.
        interval: Duration,
        /// For how long.
        duration: Duration,
        /// Of a hundred check-ins, those with a changed report.
        changed: u8,
    },
    /// Each checks in until nothing is open between it and the server.
    Audit,
}

impl Phase {
    /// One word for it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Healthz(_) => "healthz",
            Self::Arrive => "arrival",
            Self::Steady { .. } => "check-ins",
            Self::Audit => "audit",
        }
    }
}

/// Machines and their connection.
#[derive(Debug)]
pub(super) struct Worker {
    line: Line,
    nodes: Vec<Node>,
    models: Arc<[Model]>,
    /// State of a generator of random numbers.
    dice: u64,
    tally: Tally,
    /// True from when somebody has had enough: machines get in no more and check in no more, and are asked at once.
    stop: watch::Receiver<bool>,
}

impl Worker {
    /// These machines on this connection.
    pub(super) fn new(
        line: Line,
        nodes: Vec<Node>,
        models: Arc<[Model]>,
        seed: u64,
        stop: watch::Receiver<bool>,
    ) -> Self {
        Self { line, nodes, models, dice: seed, tally: Tally::default(), stop }
    }

    /// The ids that its machines were given.
    pub(super) fn ids(&self) -> impl Iterator<Item = u64> {
        self.nodes.iter().filter_map(|node| node.id)
    }

    /// Goes through a phase; gives itself back, and what came of it.
    pub(super) async fn run(mut self, phase: Phase) -> (Self, Tally) {
        match phase {
            Phase::Healthz(duration) => self.healthz(duration).await,
            Phase::Arrive => self.arrive().await,
            Phase::Steady { interval, duration, changed } => self.steady(interval, duration, changed).await,
            Phase::Audit => self.audit().await,
        }
        let tally = std::mem::take(&mut self.tally);
        (self, tally)
    }

    async fn healthz(&mut self, duration: Duration) {
        let end = Instant::now() + duration;
        while Instant::now() < end {
            let start = Instant::now();
            let answer = self.line.send("GET", "/healthz", &[], Bytes::new()).await;
            if self.good(answer).await.is_some() {
                self.tally.answer(start.elapsed(), false);
            }
        }
    }

    /// Tries again until all are in, or none got in for a while.
    async fn arrive(&mut self) {
        let mut progress = Instant::now();
        while progress.elapsed() < SIMULATED_PATIENCE && !*self.stop.borrow() {
            let mut all_in = true;
            for at in 0..self.nodes.len() {
                if self.nodes.get(at).is_none_or(Node::is_in) {
                    continue;
                }
                if self.boot(at).await && self.check_in(at, false, Instant::now()).await {
                    progress = Instant::now();
                } else {
                    all_in = false;
                }
            }
            if all_in {
                break;
            }
        }
        self.tally.outside = self.nodes.iter().filter(|node| !node.is_in()).count() as u64;
    }

    async fn steady(&mut self, interval: Duration, duration: Duration, changed: u8) {
        let start = Instant::now();
        let end = start + duration;
        let mut due: BinaryHeap<Reverse<(Instant, usize)>> =
            (0..self.nodes.len()).map(|at| Reverse((start + interval.mul_f64(self.chance()), at))).collect();
        while let Some(Reverse((when, at))) = due.pop().filter(|Reverse((when, _))| *when < end) {
            let stopped = tokio::time::timeout_at(when.into(), self.stop.wait_for(|stop| *stop)).await.is_ok();
            if stopped || Instant::now() >= end {
                break;
            }
            let change = self.chance() * 100.0 < f64::from(changed);
            // Whoever waits for another machine's answer waits as well.
            let since = if interval.is_zero() { Instant::now() } else { when };
            self.check_in(at, change, since).await;
            let jitter = interval.mul_f64(0.9 + 0.2 * self.chance());
            due.push(Reverse((if interval.is_zero() { Instant::now() } else { when + jitter }, at)));
        }
    }

    async fn audit(&mut self) {
        for at in 0..self.nodes.len() {
            let start = Instant::now();
            let mut done = false;
            while !done && start.elapsed() < SIMULATED_PATIENCE {
                let answered = self.check_in(at, false, Instant::now()).await;
                done = answered && self.nodes.get(at).is_none_or(|node| !node.is_open());
            }
            self.tally.outside += u64::from(!done);
        }
    }

    /// The machine asks what to boot, unless it knows who it is; false when it was not told.
    async fn boot(&mut self, at: usize) -> bool {
        let Some((model, node)) = self.machine(at) else { return false };
        if node.id.is_some() {
            return true;
        }
        let path = format!("{BOOT}?{}", model.boot_query(node.number));
        let answer = self.line.send("GET", &path, &[], Bytes::new()).await;
        let Some(script) = self.good(answer).await else { return false };
        let script = String::from_utf8_lossy(&script);
        let title = script.lines().find_map(|line| line.strip_prefix("echo node"));
        let id = title.and_then(|title| title.split(':').next()?.parse().ok());
        match (id, self.nodes.get_mut(at)) {
            (Some(id), Some(node)) => {
                if let Some(wrong) = node.booted(id) {
                    self.tally.wrong(wrong);
                }
                true
            }
            _ => {
                self.tally.error("no_boot_script");
                false
            }
        }
    }

    /// One check-in, counted from `since`; false when it was not answered well.
    async fn check_in(&mut self, at: usize, change: bool, since: Instant) -> bool {
        let models = Arc::clone(&self.models);
        let Some(node) = self.nodes.get_mut(at) else { return false };
        let Some(model) = models.get(node.number as usize % models.len()) else { return false };
        let says = node.says(change);
        let Ok(request) = node.request(says, model) else { return false };
        let headers =
            [("content-type", JSON.to_owned()), (KEY_HEADER, request.key), (SIGNATURE_HEADER, request.signature)];
        let answer = self.line.send("POST", &request.path, &headers, request.body.into()).await;
        let took = since.elapsed();
        let Some(body) = self.good(answer).await else { return false };
        let (Ok(reply), Some(node)) = (serde_json::from_slice::<CheckinReply>(&body), self.nodes.get_mut(at)) else {
            self.tally.error("no_reply");
            return false;
        };
        self.tally.answer(took, says == Says::Whole);
        match node.answered(says, &reply) {
            Some(wrong) => {
                self.tally.wrong(wrong);
                false
            }
            None => true,
        }
    }

    fn machine(&self, at: usize) -> Option<(&Model, &Node)> {
        let node = self.nodes.get(at)?;
        Some((self.models.get(node.number as usize % self.models.len())?, node))
    }

    /// The body of a good answer; any other is counted, and followed by a pause.
    async fn good(&mut self, answer: Option<Answer>) -> Option<Bytes> {
        let code = match answer {
            Some(Answer { status: StatusCode::OK, body }) => return Some(body),
            Some(Answer { status, body }) => {
                serde_json::from_slice::<Problem>(&body).map_or_else(|_| status.to_string(), |problem| problem.code)
            }
            None => "no_answer".to_owned(),
        };
        self.tally.error(&code);
        tokio::time::sleep(SIMULATED_RETRY).await;
        None
    }

    /// A random number from 0 to 1 (splitmix64): times and changes need be no better than that.
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
    fn chance(&mut self) -> f64 {
        self.dice = self.dice.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.dice;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}
