//! `GET /openapi.json`: the description of `/api`, `/svc` and `/healthz`, made of what stands at the handlers. A route that is
//! not in it fails a test, and so does one that is in it and not served.

pub mod codes;
pub mod forms;

use std::sync::LazyLock;

use axum::http::header;
use axum::response::IntoResponse;
use serde_json::{Map, Value, json};
use utoipa::OpenApi;

use crate::http::{
    adopt, api, boot, bundle, checkin, configs, differ, explain, extension, images, metrics, operate, outliers, rack,
    svc, wait, webhooks,
};
use crate::registry::operate::Operation;
use forms::Problem;

/// Where the description is.
pub const PATH: &str = "/openapi.json";
/// The route of all commands that have none of their own; in the description each command is a path.
pub const COMMANDS: &str = "/api/commands/{name}";

#[derive(OpenApi)]
#[openapi(
    info(
        title = "mk-server",
        description = "The server of the Razor Microkernel. `/svc` is for machines, `/api` for operators.",
        license(name = "Apache-2.0 OR MIT")
    ),
    paths(
        svc::hello,
        svc::health,
        svc::log,
        boot::boot,
        boot::why,
        boot::node_id,
        boot::bootstrap,
        checkin::with_id,
        checkin::without_id,
        bundle::add,
        bundle::list,
        bundle::get,
        wait::wait,
        extension::zip,
        images::repo,
        images::list,
        images::add,
        images::choose,
        api::root,
        api::nodes,
        api::node,
        api::log,
        api::reports,
        api::report,
        api::events,
        differ::diff,
        webhooks::list,
        operate::command,
        operate::conflicts,
        outliers::collection,
        rack::collection,
        rack::set,
        rack::unset,
        operate::enrolment_tokens,
        operate::tokens,
        metrics::metrics,
        adopt::adopt,
        configs::config,
        explain::explain,
    ),
    components(schemas(Problem, Operation))
)]
struct Described;

/// `GET /openapi.json`.
pub async fn serve() -> impl IntoResponse {
    static TEXT: LazyLock<String> = LazyLock::new(|| document().to_string());
    ([(header::CONTENT_TYPE, "application/json")], TEXT.as_str())
}

/// The description.
#[must_use]
pub fn document() -> Value {
    let mut document = serde_json::to_value(Described::openapi()).unwrap_or_default();
    document["info"]["version"] = env!("CARGO_PKG_VERSION").into();
    // A list that may grow, and no closed one: programs are to expect codes that they do not know.
    document["components"]["schemas"]["Problem"]["properties"]["code"]["examples"] = json!(codes::CODES.as_slice());
    if let Some(paths) = document["paths"].as_object_mut() {
        let command = paths.remove(COMMANDS).unwrap_or_default();
        let operations = document["components"]["schemas"].as_object_mut().and_then(|s| s.remove("Operation"));
        if let Some(paths) = document["paths"].as_object_mut() {
            for form in operations.unwrap_or_default()["oneOf"].as_array().into_iter().flatten() {
                add_command(paths, &command, form.clone());
            }
            paths.iter_mut().for_each(|(path, item)| complete(path, item));
        }
    }
    document
}

/// Adds the path of one command: `form` is that of its body, as [`Operation`] has it.
fn add_command(paths: &mut Map<String, Value>, command: &Value, mut form: Value) {
    let tag = form["properties"].as_object_mut().and_then(|properties| properties.remove("command"));
    let Some(name) = tag.and_then(|tag| Some(tag["enum"][0].as_str()?.to_owned())) else { return };
    if let Some(required) = form["required"].as_array_mut() {
        required.retain(|field| field != "command");
    }
    let said = form.as_object_mut().and_then(|form| form.remove("description"));
    form["properties"]["dry_run"] = json!({"type": "boolean", "description": "Only say what would come of it."});
    let mut item = command.clone();
    item["post"]["operationId"] = name.clone().into();
    item["post"]["summary"] = said.unwrap_or_default();
    item["post"]["requestBody"] = json!({"required": true, "content": {"application/json": {"schema": form}}});
    if let Some(post) = item["post"].as_object_mut() {
        post.remove("parameters");
        post.remove("description");
    }
    paths.insert(COMMANDS.replace("{name}", &name), item);
}

/// Adds the refusals that any request of this kind may get, and the form of all refusals.
fn complete(path: &str, item: &mut Value) {
    for (_, operation) in item.as_object_mut().into_iter().flatten() {
        let mut refusals = vec![
            ("400", "bad_request, bad_host, bad_parameter"),
            ("500", "internal"),
            ("503", "database_away"),
            ("507", "disk_full"),
        ];
        if (path.starts_with("/api") || path == "/metrics") && path != wire::routes::BOOTSTRAP {
            refusals.push(("401", "no_token, bad_token, session_over"));
            refusals.push(("403", "not_local, needs_tls, token_in_the_clear, read_only_token, through_proxy, foreign_host, foreign_origin"));
            refusals.push(("429", "too_many_attempts"));
        }
        if operation.get("requestBody").is_some() {
            refusals.extend([("408", "too_slow"), ("413", "too_large")]);
        }
        // Of what stands at a handler, its answers say when it refuses.
        let said =
            operation["description"].as_str().and_then(|said| Some(said.split_once("# Errors")?.0.trim().to_owned()));
        if let Some(said) = said {
            operation["description"] = said.into();
        }
        let Some(responses) = operation["responses"].as_object_mut() else { continue };
        for (status, codes) in refusals {
            responses.entry(status).or_insert_with(|| json!({"description": codes}));
        }
        for (status, response) in responses.iter_mut().filter(|(status, _)| status.as_str() >= "400") {
            let codes = response["description"].as_str().unwrap_or_default();
            response["description"] = format!("Refused ({status}): {codes}").into();
            response["content"] = json!({"application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}});
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::http::{api_routes, svc_routes};
    use crate::registry::operate::NAMES;

    /// Paths of the router, as it says itself.
    fn served() -> BTreeSet<String> {
        let said = format!("{:?}{:?}", svc_routes(), api_routes());
        // Each stands in a table of the router as `RouteId(N): "/path"`.
        let paths = said.split("RouteId(").filter_map(|part| part.split_once("): \"")?.1.split('"').next());
        // The last two of them are where no route is.
        let paths = paths.filter(|path| *path != "/" && !path.contains("__private"));
        paths.map(|path| path.replace("{*", "{")).collect()
    }

    #[test]
    fn every_route_is_described_and_every_path_that_is_described_is_a_route() {
        let document = document();
        let mut described: BTreeSet<String> = document["paths"].as_object().unwrap().keys().cloned().collect();
        for name in NAMES {
            assert!(described.remove(&COMMANDS.replace("{name}", name)), "{name} is not described");
        }
        described.extend([COMMANDS.to_owned(), PATH.to_owned()]);
        assert!(described.len() > 25, "{described:?}");
        assert_eq!(described, served());
    }

    #[test]
    fn every_command_is_described_with_its_own_fields() {
        let document = document();
        let form = |name: &str| {
            let body = &document["paths"][COMMANDS.replace("{name}", name)]["post"]["requestBody"];
            body["content"]["application/json"]["schema"].clone()
        };
        let identify = form("identify-node");
        assert_eq!(identify["required"], json!(["name"]));
        assert!(identify["properties"].get("seconds").is_some() && identify["properties"].get("dry_run").is_some());
        assert!(form("set-config")["properties"].get("renewed").is_none(), "what no caller may send");
    }
}
