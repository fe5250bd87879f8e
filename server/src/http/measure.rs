//! The outermost layer of every route: times and refusals are counted, and what was refused is said in the log, within limits, so
//! that a flood of bad requests does not fill the disk.

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use axum::extract::{ConnectInfo, Request, State as Handle};
use axum::middleware::Next;
use axum::response::Response;
use wire::error::Problem;

use crate::http::State;
use crate::http::access::rules::Area;
use crate::human;
use crate::limits::{REFUSALS_LOGGED, REFUSALS_PERIOD};
use crate::metrics::Route;
use crate::registry::operate::token;

/// What tokens begin with.
const SECRETS: [&str; 2] = [token::PREFIX, wire::enrolment::PREFIX];

/// Measures a request.
pub async fn measure(
    Handle(state): Handle<State>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
    next: Next,
) -> Response {
    let (route, path) = (route(request.uri().path()), request.uri().path().to_owned());
    let begun = Instant::now();
    let response = next.run(request).await;
    // A question that waits is answered late on purpose.
    if !path.starts_with("/svc/wait/") {
        state.metrics.answered(route, begun.elapsed());
    }
    if let Some(problem) = response.extensions().get::<Problem>() {
        let status = response.status().as_u16();
        state.metrics.refused(route, status, &problem.code);
        note(peer, route, &path, status, problem);
    }
    response
}

/// What a path is counted as.
fn route(path: &str) -> Route {
    let under = |prefix: &str| path.starts_with(prefix);
    match Area::of(path) {
        _ if under("/svc/checkin") => Route::Checkin,
        _ if under("/svc/boot") || under("/svc/nodeid") || under("/api/microkernel/") => Route::Boot,
        _ if under("/razor/") || under("/hanlon/") => Route::Legacy,
        Area::Open => Route::Svc,
        Area::Api => Route::Api,
        Area::Login | Area::Page => Route::Page,
    }
}

/// A line of the log about a refusal.
fn note(peer: SocketAddr, route: Route, path: &str, status: u16, problem: &Problem) {
    static LINES: Mutex<Option<Lines>> = Mutex::new(None);
    let now = Instant::now();
    let mut lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
    let (may, unsaid) = lines.get_or_insert(Lines { begun: now, said: 0, unsaid: 0 }).take(now);
    drop(lines);
    if unsaid > 0 {
        tracing::warn!(
            event = "refusals-not-logged",
            count = unsaid,
            "{unsaid} refusals were not logged: there were many"
        );
    }
    if may {
        let (event, peer) = (format!("{}-refused", route.word()), peer.ip().to_canonical());
        let (path, error) = (blanked(path), blanked(&problem.error));
        let (path, error) = (human::part(&path), human::plain(&error));
        tracing::info!(event, %peer, %path, status, code = problem.code, "refused: {error}");
    }
}

/// A text without tokens. An error may quote what was sent, and somebody may have sent one in the wrong place.
fn blanked(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    let next = |rest: &str| SECRETS.iter().filter_map(|prefix| Some(rest.find(prefix)? + prefix.len())).min();
    while let Some(end) = next(rest) {
        let (before, secret) = rest.split_at(end);
        shown.push_str(before);
        rest = secret.trim_start_matches(|c: char| c.is_ascii_hexdigit());
        shown.push('…');
    }
    shown + rest
}

/// Lines about refusals in this period.
struct Lines {
    begun: Instant,
    said: u32,
    unsaid: u64,
}

impl Lines {
    /// Whether there may be one more, and how many there were in the period before that were not said.
    fn take(&mut self, now: Instant) -> (bool, u64) {
        let mut unsaid = 0;
        if now.duration_since(self.begun) >= REFUSALS_PERIOD {
            unsaid = self.unsaid;
            *self = Self { begun: now, said: 0, unsaid: 0 };
        }
        if self.said >= REFUSALS_LOGGED {
            self.unsaid += 1;
            return (false, unsaid);
        }
        self.said += 1;
        (true, unsaid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_counted_and_said_once() {
        let begun = Instant::now();
        let mut lines = Lines { begun, said: 0, unsaid: 0 };
        let said = (0..3 * REFUSALS_LOGGED).filter(|_| lines.take(begun).0).count();
        assert_eq!(said, REFUSALS_LOGGED as usize);
        let later = begun + REFUSALS_PERIOD;
        assert_eq!(lines.take(later), (true, u64::from(2 * REFUSALS_LOGGED)));
        assert_eq!(lines.take(later), (true, 0));
    }

    #[test]
    fn no_token_is_said() {
        for (text, expected) in [
            ("the body is \"mke-00ff\", and no map", "the body is \"mke-…\", and no map"),
            ("/razormk_ab/mke-12/x razormk_", "/razormk_…/mke-…/x razormk_…"),
            ("nothing", "nothing"),
        ] {
            assert_eq!(blanked(text), expected);
        }
    }

    #[test]
    fn every_path_is_counted_as_something() {
        for (path, expected) in [
            ("/svc/checkin", Route::Checkin),
            ("/svc/checkin/7", Route::Checkin),
            ("/svc/boot/why", Route::Boot),
            ("/api/microkernel/bootstrap", Route::Boot),
            ("/razor/api/node/checkin", Route::Legacy),
            ("/svc/wait/7", Route::Svc),
            ("/api/collections/nodes", Route::Api),
            ("/metrics", Route::Api),
            ("/nodes", Route::Page),
            ("/login", Route::Page),
        ] {
            assert_eq!(route(path), expected, "{path}");
        }
    }
}
