//! What images of the Tiny Core era are answered. Pure. Forms and values are the old servers'.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};
use wire::checkin::Facts;
use wire::error::Problem;

use crate::config::Config;
use crate::http::legacy::Family;
use crate::http::legacy::form::Echo;
use crate::registry::legacy::Command;
use crate::store::nodes;

/// What answers are said to come from.
const RESOURCE: &str = "ProjectRazor::Slice::Node";
/// Seconds by which images spread their first check-in.
const SKEW_S: u32 = 5;
/// Facts that change all the time, which would make an image register at each check-in.
const EXCLUDED: [&str; 19] = [
    "^facter.*$",
    "^id$",
    "^kernel.*$",
    "^memoryfree$",
    "^operating.*$",
    "^osfamily$",
    "^path$",
    "^ps$",
    "^ruby.*$",
    "^selinux$",
    "^ssh.*$",
    "^swap.*$",
    "^timezone$",
    "^uniqueid$",
    "^uptime.*$",
    ".*json_str$",
    "^memorysize$",
    "^clientcert$",
    "^timestamp$",
];
/// The mirrors in the image itself.
const TCE_MIRROR: &str = "http://localhost:2157/tinycorelinux";
const GEM_MIRROR: &str = "http://localhost:2158/gem-mirror";

/// The configuration that goes with every answer. It is the same each time: an image that sees another one starts its
/// controller anew.
pub(super) fn client_config(family: Family, base: &str, config: &Config) -> Value {
    let mut keys = Map::new();
    let mut put = |key: &str, value: Value| keys.insert(key.to_owned(), value);
    put("mk_checkin_interval", config.checkin_interval.into());
    put("mk_checkin_skew", SKEW_S.into());
    put("mk_fact_excl_pattern", EXCLUDED.join("|").into());
    put("mk_log_level", "Logger::ERROR".into());
    match family {
        Family::Razor(prefix) => {
            put("mk_uri", base.into());
            put("mk_register_path", format!("{prefix}/node/register").into());
            put("mk_checkin_path", format!("{prefix}/node/checkin").into());
            put("mk_tce_mirror_port", 2157.into());
            put("mk_tce_mirror_uri", TCE_MIRROR.into());
            put("mk_tce_install_list_uri", format!("{TCE_MIRROR}/tce-install-list").into());
            put("mk_kmod_install_list_uri", format!("{TCE_MIRROR}/kmod-install-list").into());
            put("mk_gem_mirror_uri", GEM_MIRROR.into());
            put("mk_gemlist_uri", format!("{GEM_MIRROR}/gems/gem.list").into());
        }
        Family::Hanlon => {
            put("mk_tce_mirror", TCE_MIRROR.into());
            put("mk_tce_install_list_uri", "/tce-install-list".into());
            put("mk_kmod_install_list_uri", "/kmod-install-list".into());
            put("mk_gem_mirror", GEM_MIRROR.into());
            put("mk_gemlist_uri", "/gems/gem.list".into());
        }
    }
    keys.into()
}

/// The answer to a check-in.
pub(super) fn command(command: Command, client_config: Value) -> Response {
    success("checkin_node", json!({"command_name": command.word(), "command_param": {}}), client_config)
}

/// The answer to a register: the node. `now` is in milliseconds since 1970.
pub(super) fn node(id: i64, echo: &Echo, facts: &Facts, now: i64, client_config: Value) -> Response {
    let response = json!({
        "@uuid": nodes::name(id), "@hw_id": echo.hw_id, "@attributes_hash": facts,
        "@timestamp": now / 1000, "@last_state": echo.last_state, "@tags": [], "@status": "inactive",
    });
    success("register_node", response, client_config)
}

fn success(command: &str, response: Value, client_config: Value) -> Response {
    let document = json!({
        "resource": RESOURCE, "command": command, "result": "Ok", "http_err_code": 200, "errcode": 0,
        "response": response, "client_config": client_config,
    });
    Json(document).into_response()
}

/// A refusal: without `errcode`, in the old server's form, with ours for the person who reads it.
pub(super) fn refusal(family: Family, command: &str, status: StatusCode, problem: &Problem) -> Value {
    let (number, class) = match (problem.code.as_str(), status.as_u16()) {
        ("missing_argument", _) => (114, "MissingArgument"),
        (_, 400 | 404) if command == "register_node" => (124, "CouldNotRegisterNode"),
        _ => (100, "Generic"),
    };
    let mut document = match family {
        Family::Razor(_) => json!({
            "slice": RESOURCE, "command": command, "result": problem.error, "http_err_code": status.as_u16(),
            "std_err_code": number, "err_class": format!("ProjectRazor::Error::Slice::{class}"),
        }),
        Family::Hanlon => json!({"response": {"result": {
            "code": status.as_u16(), "type": format!("ProjectHanlon::Error::Slice::{class}"), "description": problem.error,
        }}}),
    };
    for (name, value) in [("code", &problem.code), ("error", &problem.error), ("remedy", &problem.remedy)] {
        document[name] = value.as_str().into();
    }
    document
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_family_gets_its_own_keys() {
        let config = Config::parse("checkin_interval = 77").unwrap();
        let razor = client_config(Family::Razor("/razor/api"), "http://10.0.0.1:8026", &config);
        assert_eq!(razor["mk_checkin_interval"], 77);
        assert_eq!(razor["mk_uri"], "http://10.0.0.1:8026");
        assert_eq!(razor["mk_register_path"], "/razor/api/node/register");
        let hanlon = client_config(Family::Hanlon, "http://10.0.0.1:8026", &config);
        assert_eq!(hanlon.get("mk_uri"), None, "such images make it themselves, and compare what they get");
        assert_eq!(hanlon["mk_tce_install_list_uri"], "/tce-install-list");
    }

    #[test]
    fn a_refusal_has_no_errcode_and_says_what_to_do() {
        let problem = Problem::new("missing_argument", "no hw_id", "send one");
        let razor = refusal(Family::Razor("/razor/api"), "checkin_node", StatusCode::BAD_REQUEST, &problem);
        assert_eq!((razor.get("errcode"), &razor["std_err_code"]), (None, &json!(114)));
        let hanlon = refusal(Family::Hanlon, "checkin_node", StatusCode::BAD_REQUEST, &problem);
        let result = &hanlon["response"]["result"];
        assert_eq!(
            (hanlon.get("errcode"), &result["code"], &result["description"]),
            (None, &json!(400), &json!("no hw_id"))
        );
        for document in [razor, hanlon] {
            assert_eq!(document["remedy"], "send one");
        }
    }
}
