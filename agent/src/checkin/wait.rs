//! The question that waits at the server between two check-ins, so that a command reaches this node within a second although
//! nothing on it listens. A few follow each other at once, more a second apart ([`Bucket`]). A server that says nothing
//! before its time, or [`CHECKIN_HURRIES`] times in a row at once that there is something when there is nothing, is asked ever
//! more seldom, down to once a minute. One question at a time; a server that does not know such questions is left alone.
//! Pure, but for [`ask`].

use std::time::{Duration, Instant};

use wire::checkin::CheckinReply;
use wire::limits::MAX_WAIT_S;
use wire::routes::WAIT;

use super::idle::Idle;
use super::pace::{self, Bucket};
use super::transport::Transport;
use super::verdict::{self, Failure};
use crate::limits::{
    CHECKIN_GAP, CHECKIN_HURRIES, CHECKIN_RETRY_MAX, WAIT_MARGIN, WAIT_PROMPT, WAIT_SHORTEST, WAIT_UNKNOWN,
};

/// Codes of the refusals of a server that knows no such questions: an earlier one of ours, and others.
const UNKNOWN: [&str; 3] = ["no_such_path", "wrong_method", "http_status"];

/// Whom to ask, and when.
#[derive(Debug, Default)]
pub(super) struct Wait {
    target: Option<Target>,
    bucket: Bucket,
    idle: Idle,
    /// Nobody is asked before.
    not_before: Option<Instant>,
    /// In a row, failures and answers of nothing before their time.
    failures: u32,
    /// When the last question went out, and how long it was to wait.
    asked: Option<(Instant, Duration)>,
    /// In a row, answers at once that there is something, while check-ins brought nothing.
    prompt: u32,
    /// Number of the last question.
    number: u64,
}

/// A server that answered the last check-in.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Target {
    /// Base URL.
    server: String,
    /// This node's id there.
    id: u64,
    /// Version of the configuration that this node should have.
    config: u64,
}

/// A question to be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Question {
    pub(super) id: u64,
    /// What the boot's key signs, with the id.
    pub(super) query: String,
    pub(super) url: String,
    /// To be waited before it is asked.
    pub(super) pause: Duration,
    /// Time for the answer.
    pub(super) patience: Duration,
}

impl Wait {
    /// This server answered a check-in. One that says nothing of commands and configuration is an original one.
    pub(super) fn answered(&mut self, server: &str, reply: &CheckinReply) {
        let target = reply.id.zip(reply.send_inventory).map(|(id, _)| Target {
            server: server.to_owned(),
            id,
            config: reply.config_version.unwrap_or(0),
        });
        if self.target.as_ref().map(|t| &t.server) != target.as_ref().map(|t| &t.server) {
            (self.bucket, self.not_before, self.failures) = (Bucket::default(), None, 0);
            self.idle.forget();
        }
        self.target = target;
    }

    /// A check-in brought something to do: it was right to say so.
    pub(super) fn brought(&mut self) {
        self.prompt = 0;
    }

    /// No server answered: there is nobody to wait at.
    pub(super) fn unanswered(&mut self) {
        self.target = None;
        self.idle.forget();
    }

    /// The next question, if one is worth its while before `end`. Its number is `least`, which is higher than those of an
    /// earlier run of this unit, or that of the one before and one more.
    pub(super) fn next(&mut self, boot_id: &str, least: u64, now: Instant, end: Instant) -> Option<Question> {
        let Target { server, id, config } = self.target.as_ref()?;
        let (mut bucket, begin) = (self.bucket, self.not_before.unwrap_or(now).max(now));
        let begin = begin + bucket.take(begin);
        let time = end.checked_duration_since(begin).filter(|time| *time >= WAIT_SHORTEST)?;
        let seconds = self.idle.of(time.as_secs().min(MAX_WAIT_S));
        self.idle.asked(begin, seconds);
        self.bucket = bucket;
        self.asked = Some((begin, Duration::from_secs(seconds)));
        self.number = least.max(self.number + 1);
        let number = self.number;
        let query = format!("boot_id={boot_id}&config={config}&number={number}&wait={seconds}");
        Some(Question {
            id: *id,
            url: format!("{server}{WAIT}/{id}?{query}"),
            query,
            pause: begin - now,
            patience: Duration::from_secs(seconds) + WAIT_MARGIN,
        })
    }

    /// What came of it; true when there is something to be told.
    pub(super) fn outcome(&mut self, answer: &Result<bool, Failure>, now: Instant, random: u64) -> bool {
        match answer {
            Ok(true) => {
                self.failures = 0;
                self.prompt = if self.is_sooner(now, WAIT_PROMPT) { self.prompt.saturating_add(1) } else { 0 };
                // One that always has something to say must not be asked in a circle, day after day.
                if self.prompt >= CHECKIN_HURRIES {
                    self.not_before = Some(now + CHECKIN_RETRY_MAX);
                }
                true
            }
            // Nor one that does not let a question wait.
            Ok(false) => {
                let half = self.asked.map_or(WAIT_PROMPT, |(_, time)| time / 2);
                self.prompt = 0;
                self.failures =
                    if self.is_sooner(now, half.min(WAIT_PROMPT)) { self.failures.saturating_add(1) } else { 0 };
                self.not_before = (self.failures > 0).then(|| now + pace::after_failure(self.failures, None, random));
                if self.failures == 0 {
                    self.idle.waited();
                }
                false
            }
            Err(failure) if self.idle.is_cut(failure, now) => {
                (self.failures, self.not_before) = (0, Some(now + CHECKIN_GAP));
                false
            }
            Err(failure) => {
                self.failures = self.failures.saturating_add(1);
                let pause = match UNKNOWN.contains(&failure.problem.code.as_str()) && failure.answered() {
                    true => WAIT_UNKNOWN,
                    false => pace::after_failure(self.failures, failure.retry_after, random),
                };
                self.not_before = Some(now + pause);
                false
            }
        }
    }

    /// Whether it is now less than this time after the last question.
    fn is_sooner(&self, now: Instant, time: Duration) -> bool {
        self.asked.is_some_and(|(asked, _)| now < asked + time)
    }
}

/// Asks it.
pub(super) async fn ask(
    mut transport: Transport,
    question: &Question,
    signed: &(String, String),
) -> Result<bool, Failure> {
    tokio::time::sleep(question.pause).await;
    let answer = transport.wait(&question.url, signed, question.patience).await?;
    verdict::wait(&question.url, &answer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{CHECKIN_BURST, CHECKIN_RETRY};

    fn reply(json: &str) -> CheckinReply {
        serde_json::from_str(json).unwrap()
    }

    fn ours() -> Wait {
        let mut wait = Wait::default();
        wait.answered("http://s", &reply(r#"{"action":"none","id":7,"send_inventory":false,"config_version":3}"#));
        wait
    }

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn a_server_of_ours_is_asked_and_an_original_one_is_not() {
        let now = Instant::now();
        let question = ours().next("b", 12, now, now + MINUTE).unwrap();
        assert_eq!(question.url, "http://s/svc/wait/7?boot_id=b&config=3&number=12&wait=50");
        assert!(question.url.ends_with(&question.query) && question.pause == Duration::ZERO);
        assert_eq!(question.patience, Duration::from_secs(50) + WAIT_MARGIN);
        let mut wait = ours();
        wait.answered("http://s", &reply(r#"{"action":"none"}"#));
        assert_eq!(wait.next("b", 1, now, now + MINUTE), None);
        let mut wait = ours();
        wait.unanswered();
        assert_eq!(wait.next("b", 1, now, now + MINUTE), None);
    }

    #[test]
    fn no_question_outlasts_the_pause() {
        let (mut wait, now) = (ours(), Instant::now());
        let question = wait.next("b", 1, now, now + Duration::from_secs(20)).unwrap();
        assert!(question.query.ends_with("wait=20"), "{question:?}");
        assert_eq!(wait.next("b", 2, now, now + WAIT_SHORTEST - Duration::from_millis(1)), None);
        let later = now + Duration::from_secs(20);
        assert!(!wait.outcome(&Ok(false), later, 0));
        let again = wait.next("b", 1, later, later + MINUTE).unwrap();
        assert!(again.pause.is_zero() && again.query.contains("&number=2&"), "at once, and numbers rise: {again:?}");
        assert!(wait.outcome(&Ok(true), later, 0));
    }

    #[test]
    fn a_server_that_lets_no_question_wait_is_asked_ever_more_seldom() {
        let (mut wait, mut now) = (ours(), Instant::now());
        let mut pause = |answered_after| {
            let question = wait.next("b", 1, now, now + 2 * MINUTE).unwrap();
            now += question.pause + answered_after;
            assert!(!wait.outcome(&Ok(false), now, u64::MAX));
            question.pause
        };
        let pauses: Vec<Duration> = (0..10).map(|_| pause(Duration::ZERO)).collect();
        assert!(pauses.is_sorted() && pauses[9] > CHECKIN_RETRY_MAX * 9 / 10, "{pauses:?}");
        pause(Duration::from_secs(50));
        assert_eq!(pause(Duration::ZERO), Duration::ZERO, "it has waited");
    }

    #[test]
    fn a_server_that_has_something_each_time_is_asked_on() {
        let (mut wait, now) = (ours(), Instant::now());
        for _ in 0..3 * CHECKIN_HURRIES {
            assert!(wait.next("b", 1, now, now + 2 * MINUTE).unwrap().pause <= 3 * CHECKIN_HURRIES * CHECKIN_GAP);
            assert!(wait.outcome(&Ok(true), now, 0));
            wait.brought();
        }
    }

    #[test]
    fn a_server_that_always_has_something_is_asked_ever_so_often_and_one_that_had_waited_at_once() {
        let (mut wait, mut now) = (ours(), Instant::now());
        let mut pause = |answered_after| {
            let question = wait.next("b", 1, now, now + 2 * MINUTE).unwrap();
            now += question.pause + answered_after;
            assert!(wait.outcome(&Ok(true), now, 0), "each is followed by a check-in");
            question.pause
        };
        let prompt: Vec<Duration> = (0..=CHECKIN_HURRIES + 1).map(|_| pause(Duration::ZERO)).collect();
        let eight = CHECKIN_HURRIES as usize;
        let (burst, slow) = prompt[..eight].split_at(CHECKIN_BURST as usize);
        assert!(burst.iter().all(Duration::is_zero) && slow.iter().all(|p| *p == CHECKIN_GAP), "{prompt:?}");
        assert_eq!(prompt[eight..], [CHECKIN_RETRY_MAX; 2]);
        pause(WAIT_PROMPT);
        assert_eq!(pause(Duration::ZERO), Duration::ZERO);
    }

    #[test]
    fn who_does_not_know_it_is_asked_again_in_an_hour_and_who_is_away_soon() {
        let now = Instant::now();
        let failure = |status, code| Failure { status, ..Failure::new(code, String::new(), "") };
        let mut wait = ours();
        wait.outcome(&Err(failure(Some(404), "no_such_path")), now, 0);
        assert_eq!(wait.next("b", 1, now, now + WAIT_UNKNOWN), None);
        assert!(wait.next("b", 1, now + WAIT_UNKNOWN, now + WAIT_UNKNOWN + MINUTE).is_some());
        let mut wait = ours();
        for (status, code) in [(None, "connect"), (Some(404), "no_such_boot"), (Some(500), "http_status")].repeat(30) {
            wait.outcome(&Err(failure(status, code)), now, u64::MAX);
        }
        let pause = wait.next("b", 1, now, now + 2 * MINUTE).unwrap().pause;
        assert!((CHECKIN_RETRY..=CHECKIN_RETRY_MAX).contains(&pause), "{pause:?}");
        wait.answered("http://other", &reply(r#"{"action":"none","id":1,"send_inventory":false}"#));
        assert_eq!(wait.next("b", 1, now, now + MINUTE).unwrap().pause, Duration::ZERO, "another one has not failed");
    }
}
