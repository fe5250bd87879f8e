//! Commands that take their time: each in a thread of its own, so that one that hangs makes no check-in late, and at most
//! one of a kind. What comes of them, and of everything else that goes on beside the check-ins, is an [`Event`].

use std::any::Any;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use anyhow::Context as _;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use wire::checkin::{CommandResult, Outcome};

use super::bundle::{self, Bundle};
use super::secrets::Secrets;
use super::verdict::Failure;
use crate::limits::COMMAND_DETAIL;
use crate::{ext, light};

/// A command that takes its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Job {
    /// Id of the command.
    pub(super) id: u64,
    pub(super) task: Task,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Task {
    Doctor,
    CollectLogs,
    /// For so many seconds; 0 ends it.
    Identify(u32),
    /// By its name.
    LoadExtension(String),
}

impl Task {
    fn kind(&self) -> &'static str {
        match self {
            Self::Doctor => wire::command::DOCTOR,
            Self::CollectLogs => wire::command::COLLECT_LOGS,
            Self::Identify(_) => wire::command::IDENTIFY,
            Self::LoadExtension(_) => wire::command::LOAD_EXTENSION,
        }
    }
}

/// What has happened beside the check-ins.
#[derive(Debug)]
pub(super) enum Event {
    /// A job of this kind has ended.
    Ended(&'static str, CommandResult),
    /// One has made a bundle, which is to be sent.
    Made(u64, Bundle),
    /// What the server said to the question that waited.
    Waited(Result<bool, Failure>),
}

/// The jobs that run.
pub(super) struct Jobs {
    sender: UnboundedSender<Event>,
    receiver: UnboundedReceiver<Event>,
    /// Their kinds.
    running: BTreeSet<&'static str>,
}

impl Default for Jobs {
    fn default() -> Self {
        let (sender, receiver) = unbounded_channel();
        Self { sender, receiver, running: BTreeSet::new() }
    }
}

impl Jobs {
    /// Starts a job, or says why it is not.
    pub(super) fn start(&mut self, job: Job) -> Result<(), CommandResult> {
        let (id, kind) = (job.id, job.task.kind());
        if !self.running.insert(kind) {
            return Err(failed(id, "a former command of this kind has not ended yet; wait for its result"));
        }
        let sender = self.sender.clone();
        let work = move || {
            let event = catch_unwind(AssertUnwindSafe(|| run(&job))).unwrap_or_else(|panic| {
                Event::Ended(kind, failed(id, &format!("it ended unexpectedly: {}", words(&*panic))))
            });
            // Nobody listens any more when the unit ends.
            let _: Result<(), _> = sender.send(event);
        };
        match thread::Builder::new().name(kind.to_owned()).spawn(work).context("no thread can be started") {
            Ok(_) => Ok(()),
            Err(why) => {
                self.running.remove(kind);
                Err(failed(id, &format!("{why:#}")))
            }
        }
    }

    /// Where those who run beside the check-ins tell what happened.
    pub(super) fn sender(&self) -> UnboundedSender<Event> {
        self.sender.clone()
    }

    /// Waits until something has happened.
    pub(super) async fn next(&mut self) -> Option<Event> {
        let event = self.receiver.recv().await;
        if let Some(Event::Ended(kind, _)) = &event {
            self.running.remove(kind);
        }
        event
    }
}

/// Does it, and says what came of it.
fn run(job: &Job) -> Event {
    let Job { id, task } = job;
    let done = |detail: anyhow::Result<String>| {
        let (outcome, detail) = match detail {
            Ok(detail) => (Outcome::Done, detail),
            Err(why) => (Outcome::Failed, format!("{why:#}")),
        };
        Event::Ended(task.kind(), result(*id, outcome, &detail))
    };
    match task {
        Task::Doctor => done(super::doctor().map(|report| report.verdict_first())),
        Task::Identify(seconds) => done(light::identify(*seconds)),
        Task::LoadExtension(name) => done(ext::load_by_hand(name)),
        Task::CollectLogs => match bundle::collect() {
            Ok(bundle) => Event::Made(*id, bundle),
            Err(why) => done(Err(why)),
        },
    }
}

/// The result of a command, without secrets and of a length that the server keeps.
pub(super) fn result(id: u64, outcome: Outcome, detail: &str) -> CommandResult {
    // Blanked before it is cut: half a URL does not show that there is a password in it.
    let detail = Secrets::load().blank(detail);
    CommandResult { id, outcome, detail: detail.chars().take(COMMAND_DETAIL).collect() }
}

/// The result of one that failed.
pub(super) fn failed(id: u64, why: &str) -> CommandResult {
    result(id, Outcome::Failed, why)
}

/// What a panic said.
fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it said nothing").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_job_ends_with_its_result_and_its_kind_may_run_again() {
        let mut jobs = Jobs::default();
        for id in [1, 2] {
            jobs.start(Job { id, task: Task::Doctor }).unwrap();
            let Some(Event::Ended(kind, result)) = jobs.next().await else { panic!("no result") };
            assert_eq!((kind, result.id, result.outcome), ("doctor", id, Outcome::Done));
            assert!(result.detail.starts_with("verdict "), "{}", result.detail);
        }
    }

    #[test]
    fn a_panic_says_what_it_said() {
        let said = |panic: Box<dyn Any + Send>| words(&*panic);
        assert_eq!(said(Box::new("a")), "a");
        assert_eq!((said(Box::new("b".to_owned())), said(Box::new(7))), ("b".to_owned(), "it said nothing".to_owned()));
    }

    #[tokio::test]
    async fn one_of_a_kind_runs_at_a_time() {
        let mut jobs = Jobs::default();
        jobs.running.insert("doctor");
        let refused = jobs.start(Job { id: 3, task: Task::Doctor }).unwrap_err();
        assert_eq!((refused.id, refused.outcome), (3, Outcome::Failed));
        jobs.sender().send(Event::Ended("doctor", failed(2, ""))).unwrap();
        assert!(matches!(jobs.next().await, Some(Event::Ended("doctor", _))));
        assert!(jobs.running.is_empty());
    }

    #[test]
    fn a_result_names_no_user_and_no_password() {
        let url = "http://user:p@ss@m/tc";
        let said = result(1, Outcome::Failed, &format!("{url}/x.tcz is not there"));
        assert_eq!(said.detail, "http://[blanked]@m/tc/x.tcz is not there");
        let cut = "x".repeat(COMMAND_DETAIL - "http://user:p".len()) + url;
        assert!(!result(1, Outcome::Done, &cut).detail.contains("user"), "what is cut off does not hide what it was");
    }

    #[test]
    fn results_are_of_a_length_that_is_kept() {
        assert_eq!(result(1, Outcome::Done, &"ü".repeat(100_000)).detail.chars().count(), COMMAND_DETAIL);
    }
}
