//! Who sees nodes: callers on the server's machine, and no web page of somebody else's in their browser.

use std::process::Command;

use reqwest::Method;
use serde_json::json;

use crate::outside::own_address;
use crate::support::{PROGRAM, Server};

#[tokio::test]
async fn callers_elsewhere_are_told_how_to_get_there() {
    let Some(own) = own_address() else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(PROGRAM);
    command.args(["serve", "--listen", "0.0.0.0:0", "--data"]).arg(folder.path());
    let mut server = Server::spawn(folder.path(), command);
    let port = server.url.rsplit(':').next().unwrap().to_owned();
    server.url = format!("http://{}:{port}", own);
    for path in ["/nodes", "/nodes/node1", "/log"] {
        let (status, page) = server.text(path).await;
        assert_eq!(status, 403, "{path}");
        assert!(
            page.starts_with("<!DOCTYPE html>") && page.contains("ssh -N -L 8150:127.0.0.1:8150"),
            "{path}: {page}"
        );
    }
    let (status, problem) = server.get("/api/collections/nodes").await;
    assert_eq!((status, &problem["code"]), (403, &json!("not_local")));
    for open in ["/svc/hello", "/assets/style.css", "/api/microkernel/bootstrap"] {
        assert_eq!(server.text(open).await.0, 200, "{open} is for everybody");
    }
}

#[tokio::test]
async fn a_server_at_one_address_is_there_for_operators_on_its_machine() {
    let Some(own) = own_address() else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(PROGRAM);
    command.args(["serve", "--listen", &format!("{}:0", own), "--data"]).arg(folder.path());
    let mut server = Server::spawn(folder.path(), command);
    assert_eq!(server.text("/nodes").await.0, 403);
    server.url = format!("http://127.0.0.1:{}", server.url.rsplit(':').next().unwrap());
    assert_eq!(server.text("/nodes").await.0, 200);
}

#[tokio::test]
async fn foreign_names_and_pages_are_refused() {
    let server = Server::start("protect_new_nodes = true\n");
    server.boot("net0=00-11-22-33-44-aa").await.unwrap();
    for path in ["/nodes", "/api/collections/nodes", "/api/collections/events"] {
        let answer = server.request(Method::GET, path).header("host", "rebound.example:8150").send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 403, "{path}");
    }
    for header in ["forwarded", "x-forwarded-for", "x-real-ip", "via"] {
        for path in ["/nodes", "/api/collections/nodes"] {
            let answer = server.request(Method::GET, path).header(header, "for=192.0.2.1").send().await.unwrap();
            assert_eq!(answer.status().as_u16(), 403, "{header} {path}");
            assert!(answer.text().await.unwrap().contains("proxy"), "{header} {path}");
        }
        let hello = server.request(Method::GET, "/svc/hello").header(header, "192.0.2.1").send().await.unwrap();
        assert_eq!(hello.status().as_u16(), 200, "machines may come through a proxy");
    }
    let script = server.request(Method::GET, "/svc/hello").header("host", "razor.example").send().await.unwrap();
    assert_eq!(script.status().as_u16(), 200, "machines know the server by any name");
    // What a form on another site would send: no preflight goes before it.
    let command = server.request(Method::POST, "/api/commands/reinstall-node").header("origin", "http://evil.example");
    let command = command.header("content-type", "text/plain").body("{\"name\": \"node1\"}").send().await.unwrap();
    assert_eq!(command.status().as_u16(), 403);
    assert_eq!(server.node(1).await["state"]["installed"], "+protected", "nothing was done");
}

#[tokio::test]
async fn the_page_of_an_alias_leads_to_the_node_with_all_that_was_asked() {
    let server = Server::start("");
    for mac in ["00-11-22-33-44-aa", "00-11-22-33-44-bb"] {
        server.boot(&format!("net0={mac}")).await.unwrap();
    }
    assert!(server.cli(&["conflicts", "merge", "node2", "node1"]).status.success());
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    for below in ["", "?x=1", "/log", "/log?before=7.9", "/reports?start=100"] {
        let answer = client.get(format!("{}/nodes/node2{below}", server.url)).send().await.unwrap();
        let location = answer.headers().get("location").map(|l| l.to_str().unwrap());
        assert_eq!((answer.status().as_u16(), location), (307, Some(format!("/nodes/node1{below}").as_str())));
    }
}
