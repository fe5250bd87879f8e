//! What the unit does between two check-ins: it starts commands that take their time, sends what they made, and has a
//! question wait at the server. This file joins [`super::jobs`], [`super::bundle`] and [`super::wait`] to the unit.

use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedSender;
use tokio::task::JoinHandle;
use wire::checkin::{CommandResult, Outcome};
use wire::routes::BUNDLE;

use super::bundle::Bundle;
use super::jobs::{Event, Job, result};
use super::transport::Transport;
use super::verdict::{self, Failure};
use super::{Unit, wait};
use crate::limits::{BUNDLE_RETRY, BUNDLE_TRIES};
use crate::random::random;
use crate::state::uptime;

/// What an event leads to.
pub(super) enum Next {
    /// Go on as before.
    Wait,
    /// The question was answered, with nothing.
    AskAgain,
    /// There is something to be told, or to be heard.
    CheckIn,
}

/// A question that waits; it is taken back when this is dropped.
pub(super) struct Waiting(JoinHandle<()>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A bundle on its way.
struct Upload {
    id: u64,
    bundle: Bundle,
    url: String,
    signed: (String, String),
}

impl Unit {
    /// Starts commands; true when one that was not is to be told.
    pub(super) fn start(&mut self, jobs: Vec<Job>) -> bool {
        let refused: Vec<CommandResult> = jobs.into_iter().filter_map(|job| self.jobs.start(job).err()).collect();
        let is_told = !refused.is_empty();
        self.outbox.results(refused);
        self.orders.keep(&self.outbox.pending().results);
        is_told
    }

    /// Has a question wait at the server until then, if it knows such questions.
    pub(super) fn ask_to_be_told(&mut self, end: Instant) -> Option<Waiting> {
        let transport = self.transport.as_ref().ok()?.clone();
        let least = u64::try_from(Duration::from_secs_f64(uptime()).as_millis()).ok()?;
        let question = self.wait.next(&self.speaker.boot_id, least, Instant::now(), end)?;
        let signed = self.speaker.sign_message(&wire::sign::wait(question.id, &question.query));
        let sender = self.jobs.sender();
        Some(Waiting(tokio::spawn(async move {
            let answer = wait::ask(transport, &question, &signed).await;
            // Nobody listens any more when the unit ends.
            let _: Result<(), _> = sender.send(Event::Waited(answer));
        })))
    }

    /// Deals with an event.
    pub(super) fn happened(&mut self, event: Event) -> Next {
        match event {
            Event::Ended(_, result) => {
                tracing::info!("command {} is {:?}: {}", result.id, result.outcome, crate::text::plain(&result.detail));
                self.outbox.results(vec![result]);
                self.orders.keep(&self.outbox.pending().results);
                Next::CheckIn
            }
            Event::Made(id, bundle) => {
                self.send(id, bundle);
                Next::Wait
            }
            Event::Waited(answer) => {
                if let Err(why) = &answer {
                    tracing::debug!("no command can reach this node between check-ins: {}", why.problem);
                }
                match self.wait.outcome(&answer, Instant::now(), random()) {
                    true => Next::CheckIn,
                    false => Next::AskAgain,
                }
            }
        }
    }

    /// Sends a bundle to the server that asked for it, beside everything else.
    fn send(&self, id: u64, bundle: Bundle) {
        let (sender, kind) = (self.jobs.sender(), wire::command::COLLECT_LOGS);
        let (Some(server), Some(node), Ok(transport)) = (&self.route.current, self.state.node_id, &self.transport)
        else {
            let result = result(id, Outcome::Failed, "no server is known that the bundle could be sent to");
            // Nobody listens any more when the unit ends.
            let _: Result<(), _> = sender.send(Event::Ended(kind, result));
            return;
        };
        let query = format!("boot_id={}&command={id}", self.speaker.boot_id);
        let signed = self.speaker.sign_message(&wire::sign::bundle(node, &query, &bundle.packed));
        let upload = Upload { id, bundle, url: format!("{server}{BUNDLE}/{node}?{query}"), signed };
        tokio::spawn(carry(transport.clone(), upload, sender));
    }
}

/// Sends a bundle, again if it did not arrive, and tells what came of it.
async fn carry(mut transport: Transport, upload: Upload, sender: UnboundedSender<Event>) {
    let Upload { id, bundle, url, signed } = upload;
    let mut tries = 1;
    let sent: Result<(), Failure> = loop {
        let answer = transport.upload(&url, &bundle.packed, &signed).await;
        match answer.and_then(|answer| verdict::bundle(&url, &answer)) {
            Err(why) if !why.answered() && tries < BUNDLE_TRIES => tries += 1,
            sent => break sent,
        }
        tokio::time::sleep(BUNDLE_RETRY).await;
    };
    let result = match sent {
        Ok(()) => {
            let Bundle { packed, files } = bundle;
            result(id, Outcome::Done, &format!("{files} files were sent, packed {} bytes", packed.len()))
        }
        Err(why) => result(id, Outcome::Failed, &why.problem.to_string()),
    };
    // Nobody listens any more when the unit ends.
    let _: Result<(), _> = sender.send(Event::Ended(wire::command::COLLECT_LOGS, result));
}
