//! How long a question may wait at the server before something on the way ends its connection: proxies and firewalls do so
//! with those on which nothing is said for a while, some without a word. Pure.

use std::time::{Duration, Instant};

use wire::limits::MAX_WAIT_S;

use super::verdict::Failure;
use crate::limits::{WAIT_PROMPT, WAIT_SHORTEST, WAIT_WHOLE};

/// What is known of the way to one server.
#[derive(Debug, Default)]
pub(super) struct Idle {
    /// When the last question went out, and how long it was to wait.
    asked: Option<(Instant, Duration)>,
    /// Questions that wait no longer than this may get through.
    longest: Option<Duration>,
    /// Questions in a row that waited so long.
    whole: u32,
}

impl Idle {
    /// Of so many seconds those that a question may wait.
    pub(super) fn of(&self, seconds: u64) -> u64 {
        self.longest.map_or(seconds, |longest| seconds.min(longest.as_secs()))
    }

    /// A question goes out at this time, to wait so many seconds.
    pub(super) fn asked(&mut self, at: Instant, seconds: u64) {
        self.asked = Some((at, Duration::from_secs(seconds)));
    }

    /// Whether the question was ended on its way after a while, so that a shorter one may get through. One that ends at
    /// once was ended by something else.
    pub(super) fn is_cut(&mut self, failure: &Failure, now: Instant) -> bool {
        let Some((at, time)) = self.asked.take().filter(|_| failure.lost) else { return false };
        let lived = now.saturating_duration_since(at).min(time);
        let is_cut = lived >= WAIT_PROMPT;
        if is_cut {
            self.whole = 0;
            self.longest = Some((lived * 3 / 4).max(WAIT_SHORTEST));
        }
        is_cut
    }

    /// A question has waited its whole time. After some of them a longer one is tried: what ended one before may have been a
    /// server that was started again, and short questions cost it more.
    pub(super) fn waited(&mut self) {
        let Some(longest) = self.longest else { return };
        self.whole += 1;
        if self.whole >= WAIT_WHOLE {
            self.whole = 0;
            self.longest = Some(longest * 2).filter(|longest| longest.as_secs() < MAX_WAIT_S);
        }
    }

    /// It was the server that went away, or there is another way now.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(lost: bool) -> Failure {
        Failure { lost, ..Failure::new("broken", String::new(), "") }
    }

    /// Questions until one gets through, where a proxy ends what is idle for so long: each one's time.
    fn behind_a_proxy(cuts_after: u64) -> Vec<u64> {
        let (mut idle, mut now, mut asked) = (Idle::default(), Instant::now(), Vec::new());
        loop {
            let seconds = idle.of(50);
            asked.push(seconds);
            idle.asked(now, seconds);
            now += Duration::from_secs(seconds.min(cuts_after));
            if seconds <= cuts_after || !idle.is_cut(&failure(true), now) {
                return asked;
            }
        }
    }

    #[test]
    fn questions_become_as_short_as_a_proxy_wants_them() {
        for (cuts_after, expected) in
            [(60, vec![50]), (30, vec![50, 22]), (10, vec![50, 7]), (5, vec![50, 3]), (4, vec![50])]
        {
            assert_eq!(behind_a_proxy(cuts_after), expected, "{cuts_after}");
        }
    }

    #[test]
    fn one_accident_is_forgotten_and_a_proxy_costs_a_question_now_and_then() {
        let (mut idle, now) = (Idle::default(), Instant::now());
        idle.asked(now, 50);
        assert!(idle.is_cut(&failure(true), now + WAIT_PROMPT), "the server was killed");
        let mut questions = 0;
        while idle.of(50) < 50 {
            questions += 1;
            idle.waited();
        }
        assert!(questions <= 5 * WAIT_WHOLE, "{questions}");
        // What ends questions after 30 s goes on doing so.
        let (mut cuts, mut waited) = (0, 0);
        for _ in 0..1000 {
            let seconds = idle.of(50);
            idle.asked(now, seconds);
            if seconds > 30 {
                cuts += 1;
                assert!(idle.is_cut(&failure(true), now + Duration::from_secs(30)));
            } else {
                waited += 1;
                idle.waited();
            }
        }
        assert!(cuts * WAIT_WHOLE <= waited + WAIT_WHOLE, "{cuts} cuts, {waited} waited");
    }

    #[test]
    fn a_silent_end_shortens_them_too_and_a_refusal_does_not() {
        let (mut idle, now) = (Idle::default(), Instant::now());
        idle.asked(now, 50);
        assert!(!idle.is_cut(&failure(false), now + Duration::from_secs(40)));
        assert!(!idle.is_cut(&failure(true), now + Duration::from_secs(40)), "of that question all is known");
        idle.asked(now, 20);
        assert!(idle.is_cut(&failure(true), now + Duration::from_secs(30)), "its answer never came");
        assert_eq!(idle.of(50), 15);
        idle.forget();
        assert_eq!(idle.of(50), 50);
    }
}
