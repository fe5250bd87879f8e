//! `POST /setMkConfig`, the original's way to hand a configuration to a node, in both of its forms: raw JSON, and JSON
//! sent through a form encoder (URL-encoded, with `=` at the end).
//!
//! A configuration is checked here and never taken: this port has no authentication, and configuration comes from the
//! server with a check-in. The answer says which it is: in force already (as the original said it), wrong, or right and
//! to be pushed from the server.

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde_json::json;
use wire::config::Config;
use wire::error::Problem;

use super::refusal;
use crate::checkin::Pushed;
use crate::limits::CONFIG_BODY;
use crate::state::Published as _;

/// Answers the request.
pub(super) async fn set_config(body: Result<Bytes, BytesRejection>) -> Response {
    let checked = match body {
        Ok(body) => parse(&body).and_then(|config| config.validate().map(|()| config)),
        Err(rejection) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            let error = format!("the posted configuration has more than {CONFIG_BODY} bytes");
            let problem = Problem::new("too_large", error, "Post the configuration alone.");
            return refusal(StatusCode::PAYLOAD_TOO_LARGE, &problem);
        }
        Err(rejection) => Err(bad_config(&format!("it could not be received: {rejection}"))),
    };
    match checked {
        Err(problem) => refusal(StatusCode::BAD_REQUEST, &problem),
        Ok(config) if Pushed::read().is_some_and(|pushed| pushed.config == config) => unchanged(&config),
        Ok(_) => {
            let error = "the configuration is valid, but this node takes configuration from its server only";
            let remedy = "Change it on the server; nodes get it with their next check-in.";
            refusal(StatusCode::NOT_IMPLEMENTED, &Problem::new("config_from_server_only", error, remedy))
        }
    }
}

/// The original's answer to a configuration that is in force already.
fn unchanged(config: &Config) -> Response {
    Json(json!({ "json_received": config, "message": "the configuration is unchanged" })).into_response()
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
