//! The description of the API against the running server: methods as the server itself names them, and schemathesis, which makes
//! up requests by the description and judges the answers by it.

use std::process::Command;

use reqwest::Method;
use serde_json::{Value, json};

use crate::agents::{Boot, inventory};
use crate::support::Server;

/// What is judged: no answer of 500, and none that is not described by its status, media type and form.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,\
                      response_headers_conformance,unsupported_method";
/// Time after which no further requests are made up, in seconds: a third of it is used where nothing else runs.
const TIME_S: &str = "40";
/// Longest time for one answer, in seconds.
const ANSWER_S: &str = "20";

#[tokio::test]
async fn each_path_takes_the_methods_that_its_description_names() {
    let server = Server::start("");
    let (status, document) = server.get("/openapi.json").await;
    assert_eq!((status, &document["openapi"]), (200, &json!("3.1.0")));
    for (path, item) in document["paths"].as_object().unwrap() {
        let path =
            path.replace("{name}", "node1").replace("{path}", "x").replace("{id}", "1").replace("{command}", "1");
        let response = server.request(Method::DELETE, &path).send().await.unwrap();
        assert_eq!(response.status(), 405, "{path}");
        let allowed = response.headers()["allow"].to_str().unwrap().to_lowercase();
        let mut allowed: Vec<&str> = allowed.split(',').filter(|method| *method != "head").collect();
        allowed.sort_unstable();
        let described: Vec<&String> = item.as_object().unwrap().keys().collect();
        assert_eq!(allowed, described, "{path}");
    }
    // What the router refuses by itself has the form of all refusals.
    for (path, status) in
        [("/api/collections/nodes/%ff", 400), ("/api/collections/nodes?%ff", 404), ("/svc/log/%ff", 400)]
    {
        let (got, refused) = server.get(path).await;
        assert!(got == 200 || (got == status && refused["code"] == "bad_request"), "{path}: {got} {refused}");
    }
}

// A thread of its own sees that the server closes the connection which the first request has left.
#[tokio::test(flavor = "multi_thread")]
async fn schemathesis_finds_no_answer_that_is_not_described() {
    let Some(folder) = std::env::var_os("MK_SCHEMATHESIS") else {
        return mk_tests::skip_even_there("MK_SCHEMATHESIS names no folder with schemathesis; use cargo xtask test");
    };
    let server = Server::start("");
    // Something to find.
    let report: Value = inventory(&["00-11-22-33-44-01"], "S1");
    assert_eq!(Boot::new(1).send(&server, &report).await.0, 200);
    let work = tempfile::tempdir().unwrap();
    let mut run = Command::new("python3");
    run.current_dir(&work).env("PYTHONPATH", &folder).args(["-m", "schemathesis.cli", "run"]);
    run.arg(format!("{}/openapi.json", server.url)).args(["--checks", CHECKS, "--phases", "examples,coverage,fuzzing"]);
    run.args(["--max-examples", "10", "--seed", "1", "--generation-deterministic"]);
    run.args(["--no-shrink", "--no-color", "--warnings", "off", "--request-timeout", ANSWER_S, "--max-failures", "40"]);
    let ran =
        run.args(["--continue-on-failure", "--suppress-health-check", "all", "--max-time", TIME_S]).output().unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    let start = said.find("FAILURES").or_else(|| said.find("ERRORS")).unwrap_or(0);
    assert!(ran.status.success(), "{}\n{}", &said[start..], String::from_utf8_lossy(&ran.stderr));
    assert_eq!(server.get("/healthz").await.0, 200);
}
