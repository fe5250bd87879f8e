//! Commands to nodes and the choice of an image, given on the page in a real browser without scripts.

use serde_json::json;

use crate::browser::{Browser, Scheme};
use crate::commands::{commands, with_a_node};
use crate::images;
use crate::page::{OVERFLOW, PHONE, WIDE, picture};

const MAIN: &str = "document.querySelector('main').innerText";

fn click(browser: &mut Browser, what: &str) {
    browser.click(&format!("document.querySelector('{what}')"));
}

fn shows(browser: &mut Browser, words: &[&str]) {
    let text = browser.value(MAIN);
    for word in words {
        assert!(text.as_str().unwrap().contains(word), "{word}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_is_told_by_two_clicks() {
    let Some(mut browser) = Browser::start() else { return };
    let (server, mut boot) = with_a_node("").await;
    let page = format!("{}/nodes/node1", server.url);
    browser.set(WIDE.0, WIDE.1, Scheme::Light, false);
    browser.open(&page);
    click(&mut browser, "button[value=\"identify node1\"]");
    shows(
        &mut browser,
        &["node1 is told to have a light blink?", "Nothing has been changed yet", "mk-server nodes identify node1"],
    );
    browser.open(&page);
    assert!(!browser.value(MAIN).as_str().unwrap().contains("sent with its next check-in"), "a trial changes nothing");
    click(&mut browser, "button[value=\"identify node1\"]");
    click(&mut browser, "form[method=post] button");
    assert_eq!(browser.value("location.pathname"), "/nodes/node1");
    shows(&mut browser, &["identify: sent with its next check-in"]);
    browser.picture(&picture("commands"));
    browser.set(PHONE.0, PHONE.1, Scheme::Light, false);
    browser.open(&page);
    assert_eq!(browser.value(OVERFLOW), 0);
    let told = commands(&boot.send(&server, &json!({})).await);
    assert_eq!(told[0]["kind"], "identify", "{told:?}");
    browser.open(&page);
    assert!(!browser.value(MAIN).as_str().unwrap().contains("sent with its next check-in"), "it has been sent");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn another_image_is_put_to_use_by_two_clicks() {
    let Some(mut browser) = Browser::start() else { return };
    let (server, _) = with_a_node("").await;
    let page = format!("{}/images", server.url);
    browser.set(WIDE.0, WIDE.1, Scheme::Light, false);
    browser.open(&page);
    shows(&mut browser, &["There is no image yet"]);
    images::add(&server, b"agent 1");
    images::add(&server, b"agent 2");
    browser.open(&page);
    browser.picture(&picture("images"));
    let first = browser.value("document.querySelector('tr:has(.badge) .code').innerText");
    let other = browser.value("document.querySelector('button[name=name]').value");
    assert_ne!(first, other);
    click(&mut browser, "button[name=name]");
    shows(&mut browser, &["Nothing has been changed yet", first.as_str().unwrap()]);
    click(&mut browser, "form[method=post] button");
    assert_eq!(browser.value("document.querySelector('tr:has(.badge) .code').innerText"), other);
    assert_eq!(server.get("/api/collections/images").await.1["current"], other);
    browser.open(&format!("{page}/use?name=none"));
    shows(&mut browser, &["there is no image"]);
    assert_eq!(server.get("/api/collections/images").await.1["current"], other);
}
