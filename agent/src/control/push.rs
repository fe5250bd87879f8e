//! `POST /setMkConfig`, the original's way to hand a configuration to a node, in both of its forms: raw JSON, and JSON
//! sent through a form encoder (URL-encoded, with `=` at the end).
//!
//! The port has no authentication, so that only a caller that is root here, as the kernel says, may change anything. What is
//! posted is checked here and handed to the unit `checkin` in a file, which deals with it as with a pushed one and says in its
//! own what came of it. The answers are the original's: JSON where nothing changes, text where something does.

use std::time::Instant;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use serde_json::json;
use tokio::sync::Mutex;
use wire::config::Config;
use wire::error::Problem;

use super::{peer, refusal, text};
use crate::checkin::{Pushed, Stage, check};
use crate::limits::{CONFIG_BODY, POSTED_ANSWER, POSTED_LOOK};
use crate::loopback::Ends;
use crate::state::{Posted, Published as _};

/// One at a time is handed over: each has a number of its own.
static HANDING: Mutex<()> = Mutex::const_new(());

/// Answers the request.
pub(super) async fn set_config(ends: Extension<Option<Ends>>, body: Result<Bytes, BytesRejection>) -> Response {
    let uid = ends.and_then(|ends| peer::uid(ends.peer, ends.own));
    if uid != Some(0) {
        let who = uid.map_or_else(|| "somebody unknown".to_owned(), |uid| format!("the user with id {uid}"));
        let error = format!("a configuration is taken from root on this machine only, and this is from {who}");
        let remedy = "Become root, or change it on the server: nodes get it with their next check-in.";
        return refusal(StatusCode::FORBIDDEN, &Problem::new("root_only", error, remedy));
    }
    let checked = match body {
        Ok(body) => parse(&body).and_then(|config| check(&config).map(|()| config)),
        Err(rejection) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            let error = format!("the posted configuration has more than {CONFIG_BODY} bytes");
            let problem = Problem::new("too_large", error, "Post the configuration alone.");
            return refusal(StatusCode::PAYLOAD_TOO_LARGE, &problem);
        }
        Err(rejection) => Err(bad_config(&format!("it could not be received: {rejection}"))),
    };
    match checked {
        Err(problem) => refusal(StatusCode::BAD_REQUEST, &problem),
        Ok(config) => hand_over(config).await,
    }
}

/// Has the unit `checkin` take it, and waits a little for what came of it.
async fn hand_over(config: Config) -> Response {
    let _one = HANDING.lock().await;
    let pushed = Pushed::read().unwrap_or_default();
    let answered = pushed.answer.map_or(0, |answer| answer.number);
    let posted = Posted::read().map_or(0, |posted| posted.number);
    // One that still waits to be taken would come after this one.
    if pushed.config == config && pushed.candidate.is_none() && posted <= answered {
        return Json(json!({ "json_received": config, "message": "the configuration is unchanged" })).into_response();
    }
    let number = posted.max(answered) + 1;
    if let Err(why) = (Posted { number, config }).publish() {
        let problem = Problem::new("failed", format!("{why:#}"), "See whether /run on this node is full.");
        return refusal(StatusCode::INTERNAL_SERVER_ERROR, &problem);
    }
    let end = Instant::now() + POSTED_ANSWER;
    loop {
        if let Some(response) = answer(number) {
            return response;
        }
        if Instant::now() >= end {
            let mut late =
                text("the configuration is handed over, and taken up when the unit checkin has time\n".to_owned());
            *late.status_mut() = StatusCode::ACCEPTED;
            return late;
        }
        tokio::time::sleep(POSTED_LOOK).await;
    }
}

/// What came of the configuration with this number, once the unit `checkin` has dealt with it.
fn answer(number: u64) -> Option<Response> {
    let pushed = Pushed::read()?;
    let answer = pushed.answer.filter(|answer| answer.number >= number)?;
    let candidate = pushed.candidate.filter(|candidate| candidate.posted == Some(number));
    Some(match (answer.refused, candidate.map(|candidate| candidate.stage)) {
        (Some(problem), _) => refusal(StatusCode::BAD_REQUEST, &problem),
        (None, None) => text("the configuration is changed and in force\n".to_owned()),
        (None, Some(stage)) => {
            let what = if stage == Stage::Extensions { "extensions are loaded" } else { "units run on trial" };
            let mut tried =
                text(format!("the configuration is taken up: its {what}; GET /status says what comes of it\n"));
            *tried.status_mut() = StatusCode::ACCEPTED;
            tried
        }
    })
}

/// Configuration in a request's body.
fn parse(body: &[u8]) -> Result<Config, Problem> {
    let json = if body.trim_ascii_start().starts_with(b"{") {
        body.to_vec()
    } else {
        // The whole JSON is the name of a form field without a value.
        let field = form_urlencoded::parse(body).next().map(|(name, _)| name.into_owned());
        field.unwrap_or_default().into_bytes()
    };
    serde_json::from_slice(&json).map_err(|error| bad_config(&error.to_string()))
}

fn bad_config(why: &str) -> Problem {
    let error = format!("the posted configuration is no JSON object of mk_* keys: {why}");
    Problem::new("bad_config", error, "Post a JSON object, raw or as a form field's name.")
}

/// For the fuzzer: a posted configuration in both forms.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(bytes: &[u8]) {
    if let Ok(config) = parse(bytes) {
        let _ = config.validate();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn both_forms_of_the_original() {
        let raw = br#" {"mk_checkin_interval": 30, "mk_tce_mirror_uri": "http://10.0.0.1/a b&c=d"}"#;
        let encoded: String = form_urlencoded::byte_serialize(raw).chain(["="]).collect();
        let expected = parse(raw).unwrap();
        assert_eq!(expected.mk_checkin_interval, Some(30));
        assert_eq!(parse(encoded.as_bytes()).unwrap(), expected);
        assert_eq!(expected.mk_tce_mirror_uri.as_deref(), Some("http://10.0.0.1/a b&c=d"));
    }

    #[test]
    fn what_is_no_configuration_is_refused() {
        for body in [&b""[..], b"[]", b"{", b"{\"mk_checkin_interval\": \"soon\"}", b"a=b", b"%ff="] {
            assert_eq!(parse(body).unwrap_err().code, "bad_config", "{}", String::from_utf8_lossy(body));
        }
    }

    proptest! {
        #[test]
        fn any_body_is_answered(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&body);
        }
    }
}
