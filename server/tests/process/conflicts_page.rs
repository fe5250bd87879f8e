//! Conflicts in a real browser: evidence side by side, and remedies that are carried out by clicking.

use serde_json::{Value, json};

use crate::agents::{Boot, report};
use crate::browser::{Browser, Scheme};
use crate::conflicts::{A, B, C, id, machine, said, with_a_copy};
use crate::page::{FAINT, OVERFLOW, PHONE, WIDE, picture};
use crate::support::Server;

/// Clicks a button or link and waits for the page that it leads to.
fn click(browser: &mut Browser, what: &str) {
    browser.click(&format!("document.querySelector('{what}')"));
}

/// Has the page do now what it does every few seconds, and waits for the end of that.
fn ask_anew(browser: &mut Browser) {
    assert_eq!(browser.value("update().then(() => true)"), true);
}

fn text(browser: &mut Browser) -> String {
    browser.value("document.querySelector('main').innerText").as_str().unwrap().to_owned()
}

/// Shows the list on both screens in both colours.
fn look(browser: &mut Browser, server: &Server, name: &str) {
    for scheme in [Scheme::Light, Scheme::Dark] {
        for ((width, height), size) in [(WIDE, "wide"), (PHONE, "phone")] {
            browser.set(width, height, scheme, true);
            browser.open(&format!("{}/conflicts", server.url));
            assert_eq!(browser.value(OVERFLOW), 0, "wider than {width} px");
            assert_eq!(browser.value(FAINT), json!([]), "too little contrast");
            assert_eq!(browser.complaints(), Vec::<String>::new());
            let tone = if scheme == Scheme::Dark { "dark" } else { "light" };
            browser.picture(&picture(&format!("conflicts-{name}-{size}-{tone}")));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_is_told_from_its_original_by_two_clicks_without_scripts() {
    let Some(mut browser) = Browser::start() else { return };
    let (server, mut copy, running) = with_a_copy().await;
    look(&mut browser, &server, "held");
    browser.set(WIDE.0, WIDE.1, Scheme::Light, false);
    browser.open(&format!("{}/nodes/node2", server.url));
    click(&mut browser, "a[href=\"/conflicts#node2\"]");
    let shown = text(&mut browser);
    for words in ["two machines speak as node1", "System serial", "sys1", "node2 and node1 are two machines"] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    click(&mut browser, "button[value=\"resolve node2 different node1\"]");
    let shown = text(&mut browser);
    for words in
        ["This would come of it", "Nothing has been changed yet", "mk-server conflicts resolve node2 different node1"]
    {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    assert_eq!(server.node(2).await["identity"]["state"], "held", "a trial changes nothing");
    browser.picture(&picture("conflicts-trial"));
    click(&mut browser, "form[method=post] button");
    assert!(text(&mut browser).contains("node2 and node1 are two machines"), "the node's page with its log");
    assert_eq!(browser.value("location.pathname"), "/nodes/node2");
    assert_eq!(copy.send(&server, &running).await.1["state"], json!("normal"));
    browser.open(&format!("{}/conflicts", server.url));
    assert!(text(&mut browser).contains("No node's identity is disputed."));
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_in_two_nodes_is_given_to_the_one_that_has_it() {
    let Some(mut browser) = Browser::start() else { return };
    let server = Server::start("");
    assert_eq!(id(&Boot::new(1).send(&server, &report(&machine(1, &[A, B]))).await), 1);
    assert_eq!(id(&Boot::new(2).send(&server, &report(&machine(2, &[B, C]))).await), 2);
    look(&mut browser, &server, "shared");
    let before = server.node(1).await["identity"]["claims"].clone();
    click(&mut browser, &format!("button[value=\"move-hardware node1 node2 mac={B}\"]"));
    // The page asks for itself anew, and stays what it is.
    ask_anew(&mut browser);
    assert!(text(&mut browser).contains("Nothing has been changed yet"));
    click(&mut browser, "form[method=post] button");
    let claims = server.node(2).await["identity"]["claims"].clone();
    let of_b = |claims: &Value| claims.as_array().unwrap().iter().find(|c| c["value"] == B).map(|c| c["state"].clone());
    assert_eq!(of_b(&claims), Some(json!("current")));
    assert_eq!(of_b(&server.node(1).await["identity"]["claims"]), None);
    browser.open(&format!("{}/conflicts/remedy?remedy=nonsense", server.url));
    assert!(text(&mut browser).contains("is no remedy"));

    // It was wrong: the node's log takes it back, by two clicks as well.
    browser.open(&format!("{}/nodes/node1", server.url));
    browser.picture(&picture("conflicts-undo"));
    click(&mut browser, "button[value^=\"undo \"]");
    let shown = text(&mut browser);
    for words in ["This would come of it", "is undone", "Nothing has been changed yet", "mk-server conflicts undo"] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    assert_eq!(of_b(&server.node(1).await["identity"]["claims"]), None, "a trial changes nothing");
    click(&mut browser, "form[method=post] button");
    assert_eq!(server.node(1).await["identity"]["claims"], before, "all of it is put back");
    assert_eq!(browser.value("document.querySelectorAll('button[value^=\"undo \"]').length"), 0, "once is enough");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_machine_is_said_once_and_taken_back_and_a_refusal_stays() {
    let Some(mut browser) = Browser::start() else { return };
    let (server, ..) = with_a_copy().await;
    browser.set(WIDE.0, WIDE.1, Scheme::Light, true);
    let trial = format!("{}/conflicts/remedy?remedy=resolve+node2+same+node1", server.url);
    browser.open(&trial);
    click(&mut browser, "form[method=post] button");
    assert_eq!(browser.value("location.pathname"), "/nodes/node1");
    // As a second click on the same button would.
    browser.open(&trial);
    assert!(text(&mut browser).contains("node2 and node1 are one machine already"));
    click(&mut browser, "form[method=post] button");
    assert!(text(&mut browser).contains("node2 and node1 are one machine already, node1; nothing was changed"));

    let split = format!("{}/conflicts/remedy?remedy=split+node2", server.url);
    browser.open(&format!("{}/nodes/node1", server.url));
    click(&mut browser, "button[value=\"split node2\"]");
    assert_eq!(browser.value("location.href"), json!(split));
    assert_eq!(server.count().await, 1, "a trial changes nothing");
    said(&server, &["conflicts", "split", "node2"]);
    click(&mut browser, "form[method=post] button");
    // The page does not ask for itself anew, and so become the question again.
    ask_anew(&mut browser);
    let shown = text(&mut browser);
    assert!(shown.contains("Nothing was changed") && shown.contains("was not merged into another node"), "{shown}");
    browser.picture(&picture("conflicts-refused"));
}
