//! What an HTTP answer means. Pure: status, headers and body go in; a reply or a [`Failure`] comes out.

use std::net::SocketAddr;
use std::time::Duration;

use wire::checkin::{CheckinReply, Hello, WaitReply};
use wire::error::Problem;
use wire::limits::MAX_CHECKIN_BODY;
use wire::routes::JSON;

use crate::text::cut;

/// Most characters of foreign text that are repeated in a problem.
const QUOTE: usize = 120;
/// Most characters of each part of a server's own problem: whole sentences of ours, and no flood of a stranger's.
const SAID: usize = 600;
/// Our server has taken another request under this number: status and code.
const REPLAY: (u16, &str) = (409, wire::error::REPLAY);
/// A proxy got no whole answer from the server behind it.
const GATEWAY_LOST: [u16; 2] = [502, 504];

/// An HTTP answer whose body was read in full.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Answer {
    /// Where it came from.
    pub(super) peer: Option<SocketAddr>,
    pub(super) status: u16,
    pub(super) content_type: Option<String>,
    pub(super) location: Option<String>,
    /// Seconds, or a date, before which nobody should ask again.
    pub(super) retry_after: Option<String>,
    pub(super) body: Vec<u8>,
}

impl Answer {
    /// Its status and kind, for people.
    pub(super) fn head(&self) -> String {
        format!("HTTP {}, {}", self.status, self.kind())
    }

    /// The kind of its body.
    fn kind(&self) -> String {
        quote(self.content_type.as_deref().unwrap_or("no content type"))
    }
}

/// Why there is no reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    /// For people, with the URL.
    pub(super) problem: Problem,
    /// The right server said so: no other one is asked.
    pub(super) final_word: bool,
    /// HTTP status, if it came to that.
    pub(super) status: Option<u16>,
    /// The server was not reached at all.
    pub(super) unreached: bool,
    /// The request may have been taken, and its answer lost on the way.
    pub(super) lost: bool,
    /// The server asks to be left alone for so long.
    pub(super) retry_after: Option<Duration>,
}

impl Failure {
    /// A failure that another server may not have.
    pub(super) fn new(code: &str, error: String, remedy: &str) -> Self {
        Self::of(Problem::new(code, error, remedy))
    }

    /// The same with this problem.
    pub(super) fn of(problem: Problem) -> Self {
        Self { problem, final_word: false, status: None, unreached: false, lost: false, retry_after: None }
    }

    /// The server itself spoke about this request: it is settled, if not well. An error of the server's (500 and above)
    /// settles nothing.
    pub(super) fn answered(&self) -> bool {
        self.status.is_some_and(|status| status < 500)
    }

    /// The server has taken a request under this number, and it was not this one.
    pub(super) fn is_replay(&self) -> bool {
        (self.status, self.problem.code.as_str()) == (Some(REPLAY.0), REPLAY.1)
    }

    /// The same with a few words more.
    pub(super) fn with_more(mut self, words: &str) -> Self {
        self.problem.error.push_str(words);
        self
    }
}

/// The reply to a check-in.
pub(super) fn checkin(url: &str, answer: &Answer) -> Result<CheckinReply, Failure> {
    json_body(url, answer)?;
    let reply: CheckinReply = serde_json::from_slice(&answer.body).map_err(|why| not_ours(url, answer, &why))?;
    // Both are shown on screens and logged, and a reason quotes what other machines say of themselves.
    let reason = reply
        .reason
        .map(|Problem { code, error, remedy }| Problem::new(&quote(&code), cut(&error, SAID), cut(&remedy, SAID)));
    Ok(CheckinReply { name: reply.name.as_deref().map(quote), reason, ..reply })
}

/// Whether a server that was only guessed is one of ours.
pub(super) fn hello(url: &str, answer: &Answer) -> Result<(), Failure> {
    json_body(url, answer)?;
    let hello: Hello = serde_json::from_slice(&answer.body).map_err(|why| not_ours(url, answer, &why))?;
    if hello.service != Hello::SERVICE || hello.protocol != Hello::PROTOCOL {
        let text = format!(
            "{url} is the service {:?}, protocol {}, and not {:?}, protocol {}",
            quote(&hello.service),
            hello.protocol,
            Hello::SERVICE,
            Hello::PROTOCOL
        );
        return Err(Failure::new("not_our_server", text, "Name the server with razor.server= on the kernel line."));
    }
    Ok(())
}

/// Whether a bundle was taken.
pub(super) fn bundle(url: &str, answer: &Answer) -> Result<(), Failure> {
    json_body(url, answer)
}

/// Whether there is something to be told.
pub(super) fn wait(url: &str, answer: &Answer) -> Result<bool, Failure> {
    json_body(url, answer)?;
    let reply: WaitReply = serde_json::from_slice(&answer.body).map_err(|why| not_ours(url, answer, &why))?;
    Ok(reply.due)
}

fn json_body(url: &str, answer: &Answer) -> Result<(), Failure> {
    let status = answer.status;
    let mut failure = match status {
        200..300 if !is_json(answer) => {
            let text = format!("{url} answered with {}, not {JSON}: {}", answer.kind(), start_of(&answer.body));
            Failure::new("not_json", text, "Another web server answers at this address: correct the server's URL.")
        }
        200..300 => return Ok(()),
        300..400 => {
            let to = answer.location.as_deref().map_or("nowhere", |l| l);
            let text = format!("{url} redirects to {} (HTTP {status}), and redirects are not followed", quote(to));
            Failure::new(
                "redirected",
                text,
                "Give the URL at which the server itself answers. If this is the network's log-in page, let this machine pass it.",
            )
        }
        _ => refusal(url, answer),
    };
    failure.status = Some(status);
    failure.lost = GATEWAY_LOST.contains(&status);
    // A date says nothing to a machine whose clock may be wrong.
    failure.retry_after = answer.retry_after.as_deref().and_then(|t| t.trim().parse().ok()).map(Duration::from_secs);
    Err(failure)
}

/// A status of 400 or above: our server says why in a problem, an original one in `error` or not at all.
fn refusal(url: &str, answer: &Answer) -> Failure {
    let status = answer.status;
    if let Some(problem) = serde_json::from_slice::<Problem>(&answer.body).ok().filter(|_| is_json(answer)) {
        let error = format!("{url} refused the request (HTTP {status}): {}", cut(&problem.error, SAID));
        let failure = Failure::new(&quote(&problem.code), error, &cut(&problem.remedy, SAID));
        return Failure { final_word: status < 500, ..failure };
    }
    let said = if answer.body.is_empty() { "without a word".to_owned() } else { start_of(&answer.body) };
    let too_large =
        format!("A proxy on the way limits what may be sent: let {} MiB pass.", MAX_CHECKIN_BODY / 1024 / 1024);
    let remedy = match status {
        407 => "A proxy on the way wants a log-in: let this machine pass it, or name the server by a way around it.",
        413 => &too_large,
        511 => "The network wants a log-in: let this machine pass its portal, by its MAC for instance.",
        502 | 504 => "A proxy answers for a server that it does not reach: see whether the server behind it runs.",
        404 => "Correct the server's URL, or let the server discover this machine anew.",
        400..500 => "See the server's log for the reason.",
        503 => "The server is overloaded or is being started; the check-in is repeated. See its log if that lasts.",
        _ => "See the server's log; the check-in is repeated.",
    };
    Failure::new("http_status", format!("{url} answered HTTP {status}: {said}"), remedy)
}

fn not_ours(url: &str, answer: &Answer, why: &serde_json::Error) -> Failure {
    let text = format!(
        "{url} answered with JSON that is no reply of ours ({}): {}",
        quote(&why.to_string()),
        start_of(&answer.body)
    );
    let failure =
        Failure::new("not_our_server", text, "Another service answers at this address: correct the server's URL.");
    Failure { status: Some(answer.status), ..failure }
}

fn is_json(answer: &Answer) -> bool {
    let essence = answer.content_type.as_deref().and_then(|t| t.split(';').next()).unwrap_or("");
    essence.trim().eq_ignore_ascii_case(JSON)
}

/// The beginning of a body, as text that can be shown.
fn start_of(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(QUOTE * 4)]);
    format!("`{}`", quote(text.trim()))
}

/// A little of a foreign text.
fn quote(text: &str) -> String {
    cut(text, QUOTE)
}

/// For the fuzzer: any answer of whatever listens at the server's address. The first two bytes are its status and what else its
/// head says. What a stranger says is repeated in short.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(bytes: &[u8]) {
    let [status, head, body @ ..] = bytes else { return };
    let said = |bit: u8| (head & bit != 0).then(|| String::from_utf8_lossy(&body[..body.len().min(32)]).into_owned());
    let answer = Answer {
        peer: None,
        status: [200, 204, 301, 400, 404, 409, 413, 429, 500, 503][usize::from(*status) % 10],
        content_type: if head & 1 == 0 { Some(JSON.to_owned()) } else { said(2) },
        location: said(4),
        retry_after: said(8),
        body: body.to_vec(),
    };
    let url = "http://server/svc";
    let reply = checkin(url, &answer);
    if let Ok(reply) = &reply {
        let _ = super::reply::effects(reply, &std::collections::BTreeSet::new(), false);
    }
    let all = [reply.err(), hello(url, &answer).err(), bundle(url, &answer).err(), wait(url, &answer).err()];
    for Failure { problem, .. } in all.into_iter().flatten() {
        let length = problem.code.len() + problem.error.len() + problem.remedy.len();
        assert!(length < 4 * (2 * SAID + 8 * QUOTE), "{length} bytes: {problem:?}");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn answer(status: u16, kind: &str, body: &str) -> Answer {
        Answer { status, content_type: Some(kind.to_owned()), body: body.as_bytes().to_vec(), ..Answer::default() }
    }

    #[test]
    fn only_a_proxy_can_lose_an_answer_with_a_status() {
        for (status, lost) in [(400, false), (409, false), (500, false), (502, true), (503, false), (504, true)] {
            assert_eq!(checkin("u", &answer(status, "text/html", "")).unwrap_err().lost, lost, "{status}");
        }
    }

    #[test]
    fn name_and_reason_of_a_reply_are_fit_to_be_shown() {
        let reason = Problem::new("\u{9b}2J", "serial \u{202e}X\n<0>panic".repeat(200), "\u{1b}[1A".repeat(1000));
        let reply = serde_json::json!({"action": "none", "name": "node7\u{1b}[2J\nnode8", "reason": reason});
        let reply = checkin("u", &answer(200, JSON, &reply.to_string())).unwrap();
        let reason = reply.reason.unwrap().to_string();
        assert_eq!(reply.name.as_deref(), Some("node7 [2J node8"));
        assert!(reason.starts_with("serial  X <0>panic") && reason.len() < 3 * SAID, "{reason}");
        assert!(!reason.contains(['\u{1b}', '\u{9b}', '\u{202e}', '\n']), "{reason}");
    }

    #[test]
    fn a_replay_is_our_servers_word_only() {
        let said = |code: &str| format!("{{\"code\":\"{code}\",\"error\":\"e\",\"remedy\":\"r\"}}");
        for (status, kind, body, replay) in [
            (409, JSON, said("replay"), true),
            (409, JSON, said("wrong_key"), false),
            (400, JSON, said("replay"), false),
            (409, "text/html", said("replay"), false),
        ] {
            assert_eq!(checkin("u", &answer(status, kind, &body)).unwrap_err().is_replay(), replay, "{status} {body}");
        }
    }

    #[test]
    fn only_a_verdict_settles_a_request_that_is_repeated() {
        for (status, settled) in [(400, true), (409, true), (500, false), (503, false)] {
            assert_eq!(checkin("u", &answer(status, "text/html", "")).unwrap_err().answered(), settled, "{status}");
        }
        assert!(!Failure::new("connect", String::new(), "").answered());
    }

    #[test]
    fn a_server_may_ask_to_be_left_alone_for_seconds() {
        for (text, asked) in [("7", Some(7)), (" 0 ", Some(0)), ("-1", None), ("Fri, 31 Dec 1999 23:59:59 GMT", None)] {
            let given = Answer { retry_after: Some(text.to_owned()), ..answer(503, "text/plain", "busy") };
            assert_eq!(checkin("u", &given).unwrap_err().retry_after, asked.map(Duration::from_secs), "{text}");
        }
    }

    #[test]
    fn replies_of_ours_and_of_an_original_server() {
        let reply = checkin("u", &answer(200, "application/json", r#"{"action":"none","id":7}"#)).unwrap();
        assert_eq!((reply.action.as_str(), reply.id), ("none", Some(7)));
        let reply = checkin("u", &answer(202, "Application/JSON; charset=utf-8", r#"{"action":"reboot"}"#)).unwrap();
        assert_eq!((reply.action.as_str(), reply.send_inventory), ("reboot", None));
    }

    #[test]
    fn each_failure_names_the_url_and_what_it_is() {
        let problem = r#"{"code":"no_match_value","error":"nothing to match","remedy":"r"}"#;
        for (given, code, word, final_word) in [
            (answer(200, "text/html", "<html>\n<b>It works"), "not_json", "`<html> <b>It works`", false),
            (answer(200, "application/json", "[1]"), "not_our_server", "`[1]`", false),
            (answer(200, "application/json", "{}"), "not_our_server", "action", false),
            (answer(200, "application/json", ""), "not_our_server", "EOF", false),
            (answer(404, "text/plain", ""), "http_status", "HTTP 404: without a word", false),
            (answer(500, "text/plain", "oops"), "http_status", "HTTP 500: `oops`", false),
            (answer(400, "application/json", problem), "no_match_value", "nothing to match", true),
            (answer(503, "application/json", problem), "no_match_value", "nothing to match", false),
            (answer(400, "text/html", problem), "http_status", "HTTP 400", false),
            (Answer { location: Some("http://b".into()), ..answer(302, "", "") }, "redirected", "http://b", false),
        ] {
            let failure = checkin("http://a/x", &given).unwrap_err();
            assert_eq!((failure.problem.code.as_str(), failure.final_word), (code, final_word), "{failure:?}");
            assert!(
                failure.problem.error.contains("http://a/x") && failure.problem.error.contains(word),
                "{failure:?}"
            );
            assert_eq!(failure.status, Some(given.status));
            assert!(!failure.problem.remedy.is_empty());
        }
    }

    #[test]
    fn only_our_own_hello_will_do() {
        let ours = r#"{"service":"razor-mk","protocol":1,"version":"0.1.0"}"#;
        assert_eq!(hello("u", &answer(200, JSON, ours)), Ok(()));
        for other in [
            r#"{"service":"x","protocol":1,"version":""}"#,
            r#"{"service":"razor-mk","protocol":2,"version":""}"#,
            "{}",
        ] {
            assert_eq!(hello("u", &answer(200, JSON, other)).unwrap_err().problem.code, "not_our_server", "{other}");
        }
    }

    #[test]
    fn a_flood_in_json_is_cut_and_harmless_wherever_it_stands() {
        let flood = format!("\u{1b}[2J{}", "x".repeat(1_000_000));
        let text = |json: serde_json::Value| json.to_string();
        for given in [
            answer(400, JSON, &text(serde_json::json!({"code": flood, "error": flood, "remedy": flood}))),
            answer(503, JSON, &text(serde_json::json!({"code": flood, "error": flood, "remedy": flood}))),
            answer(200, JSON, &text(serde_json::json!({"action": "none", "id": flood}))),
            answer(200, JSON, &text(serde_json::json!({"action": "none", "config": flood}))),
        ] {
            let Problem { code, error, remedy, .. } = checkin("u", &given).unwrap_err().problem;
            let all = format!("{code}{error}{remedy}");
            assert!(all.len() < 4 * SAID && !all.contains('\u{1b}'), "{} bytes", all.len());
        }
    }

    proptest! {
        #[test]
        fn any_answer_is_no_panic_and_short(status in 100u16..600, kind in ".{0,30}", body in proptest::collection::vec(any::<u8>(), 0..3000)) {
            let given = Answer { status, content_type: Some(kind), body, ..Answer::default() };
            if let Err(failure) = checkin("u", &given) {
                prop_assert!(failure.problem.error.chars().count() < 4 * QUOTE, "{failure:?}");
            }
            let _ = hello("u", &given);
        }
    }
}
