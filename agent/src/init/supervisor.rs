//! The loop: hear, decide, act, publish. It belongs to one thread; a panic in it is caught and the loop goes on with
//! the state as it was before the event, since PID 1 must not end.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Instant;

use super::Message;
use super::decide::{State, decide};
use super::event::{Action, Event, Goal};
use super::executor::Executor;
use crate::limits::{LONGEST_SLEEP, PANIC_PAUSE};

/// State, hands and ears of the supervisor.
pub(super) struct Supervisor {
    state: State,
    /// Decided and not done yet.
    queue: VecDeque<Action>,
    executor: Executor,
    inbox: Receiver<Message>,
    started: Instant,
}

impl Supervisor {
    pub(super) fn new(state: State, executor: Executor, inbox: Receiver<Message>) -> Self {
        Self { state, queue: VecDeque::new(), executor, inbox, started: Instant::now() }
    }

    /// Runs until the supervisor is told to leave, which PID 1 never is.
    pub(super) fn run(&mut self) {
        self.hear(&Event::Tick);
        survive(|| self.turn());
    }

    fn turn(&mut self) -> ControlFlow<()> {
        loop {
            while let Some(action) = self.queue.pop_front() {
                if action == Action::Finish(Goal::Leave) {
                    self.executor.publish(&self.state);
                    return ControlFlow::Break(());
                }
                if let Some(event) = self.executor.apply(&self.state, action) {
                    self.hear(&event);
                }
            }
            match self.executor.reap() {
                Some(Event::Childless) if self.queue_after(&Event::Childless) => {}
                Some(Event::Childless) | None => break,
                Some(event) => self.hear(&event),
            }
        }
        self.executor.publish(&self.state);
        self.wait();
        ControlFlow::Continue(())
    }

    fn wait(&mut self) {
        let due = self.state.next_deadline().map(|at| at.saturating_sub(self.started.elapsed()));
        let event = match self.inbox.recv_timeout(due.unwrap_or(LONGEST_SLEEP).min(LONGEST_SLEEP)) {
            Ok(Message::Event(event)) => event,
            Ok(Message::Asked { sender, request, reply_to }) => self.executor.ask(sender, request, reply_to),
            // Children are looked for at each turn.
            Ok(Message::ChildEnded) | Err(RecvTimeoutError::Timeout) => Event::Tick,
            Err(RecvTimeoutError::Disconnected) => {
                std::thread::sleep(PANIC_PAUSE);
                Event::Tick
            }
        };
        self.hear(&event);
    }

    fn hear(&mut self, event: &Event) {
        let (state, actions) = decide(&self.state, event, self.started.elapsed());
        self.state = state;
        self.queue.extend(actions);
    }

    /// Hears an event and says whether there is anything to do about it.
    fn queue_after(&mut self, event: &Event) -> bool {
        self.hear(event);
        !self.queue.is_empty()
    }
}

/// Repeats `turn` until it breaks, whatever happens in it.
fn survive(mut turn: impl FnMut() -> ControlFlow<()>) {
    loop {
        match catch_unwind(AssertUnwindSafe(&mut turn)) {
            Ok(ControlFlow::Continue(())) => {}
            Ok(ControlFlow::Break(())) => return,
            Err(_) => {
                tracing::error!("the supervisor's loop panicked and goes on");
                std::thread::sleep(PANIC_PAUSE);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loop_goes_on_after_a_panic() {
        let mut turns = 0;
        survive(|| {
            turns += 1;
            assert_ne!(turns, 1, "a turn that panics");
            if turns == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert_eq!(turns, 3);
    }
}
