//! Log-in with a browser from another machine: the cookie, what it is good for, and how it ends.

use reqwest::header::{COOKIE, LOCATION, ORIGIN, SET_COOKIE};
use reqwest::{Method, RequestBuilder};
use serde_json::json;

use crate::browser::{Browser, Scheme};
use crate::outside::{Outside, seen};
use crate::page::picture;

/// Logs in; gives the cookie as the browser sends it.
async fn log_in(outside: &Outside, token: &str) -> String {
    let form = form_urlencoded::Serializer::new(String::new())
        .append_pair("token", token)
        .append_pair("next", "/log")
        .finish();
    let post = outside.request(Method::POST, "/login").header(ORIGIN, &outside.https).body(form);
    let answer = post.header("content-type", "application/x-www-form-urlencoded").send().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.headers()[LOCATION].to_str().unwrap()), (303, "/log"));
    let cookie = answer.headers()[SET_COOKIE].to_str().unwrap().to_owned();
    for part in ["Path=/", "Max-Age=43200", "Secure", "HttpOnly", "SameSite=Strict"] {
        assert!(cookie.contains(part), "{part}: {cookie}");
    }
    cookie.split(';').next().unwrap().to_owned()
}

#[tokio::test]
async fn a_cookie_stands_for_the_token_until_either_is_ended() {
    let Some(outside) = Outside::start(&[]) else { return };
    let (token, sees) = (outside.token(&[]), outside.token(&["--read-only"]));
    let answer = outside.request(Method::GET, "/nodes?q=x").send().await.unwrap();
    assert_eq!(answer.headers()[LOCATION], "/login?next=%2Fnodes%3Fq%3Dx");
    let form = outside.request(Method::GET, "/login?next=//evil.example").send().await.unwrap();
    let (status, text) = (form.status().as_u16(), form.text().await.unwrap());
    assert!(status == 200 && text.contains("type=\"password\"") && !text.contains("evil"), "{text}");
    let wrong = outside.request(Method::POST, "/login").header(ORIGIN, &outside.https).body("token=wrong");
    let wrong = wrong.send().await.unwrap();
    assert!(wrong.status() == 401 && wrong.headers().get(SET_COOKIE).is_none());
    let foreign = outside.request(Method::POST, "/login").header(ORIGIN, "https://evil.example");
    let foreign = foreign.body(format!("token={token}")).send().await.unwrap();
    assert_eq!(foreign.status(), 403, "nobody is logged in by another site's page");
    let clear = outside.client.get(format!("{}/login", outside.http)).send().await.unwrap();
    assert_eq!(clear.status(), 403, "no form without TLS");

    let (cookie, seeing) = (log_in(&outside, &token).await, log_in(&outside, &sees).await);
    let outside = outside.again();
    let with = |method: Method, path: &str, cookie: &str| outside.request(method, path).header(COOKIE, cookie);
    let own = |request: RequestBuilder| request.header(ORIGIN, &outside.https);
    assert_eq!(seen(with(Method::GET, "/nodes", &cookie)).await.0, 200, "after a restart of the server");
    let register = |cookie: &str| {
        let machine = json!({"hw_info": {"net0": "00:11:22:33:44:55"}, "installed": true});
        with(Method::POST, "/api/commands/register-node", cookie).json(&machine)
    };
    assert_eq!(seen(register(&cookie)).await.1, "foreign_origin", "a form that does not say where it is from");
    assert_eq!(seen(register(&cookie).header(ORIGIN, "https://evil.example")).await.1, "foreign_origin");
    assert_eq!(seen(own(register(&seeing))).await.1, "read_only_token");
    assert_eq!(outside.server.count().await, 0, "nothing was done");
    assert_eq!(seen(own(register(&cookie))).await.0, 202);
    let clear = outside.client.get(format!("{}/nodes", outside.http)).header(COOKIE, &cookie).send().await.unwrap();
    assert_eq!(clear.status(), 403, "not without TLS");

    let out = own(with(Method::POST, "/logout", &seeing)).send().await.unwrap();
    assert_eq!((out.status().as_u16(), &out.headers()[LOCATION]), (303, &"/login".parse().unwrap()));
    assert_eq!(seen(with(Method::GET, "/api/collections/nodes", &seeing)).await.1, "session_over");
    assert_eq!(seen(with(Method::GET, "/nodes", &cookie)).await.0, 200, "the other one is as before");
    assert!(outside.server.cli(&["token", "revoke", "1"]).status.success());
    assert_eq!(seen(with(Method::GET, "/api/collections/nodes", &cookie)).await.1, "session_over");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_logs_in_and_out_without_scripts() {
    let Some(mut browser) = Browser::start() else { return };
    let Some(outside) = Outside::start(&[]) else { return };
    let token = outside.token(&["--note", "rack team"]);
    // The CA is the server's own.
    browser.call("Security.setIgnoreCertificateErrors", json!({"ignore": true}));
    browser.set(390, 844, Scheme::Light, false);
    browser.open(&format!("{}/nodes?show=silent", outside.https));
    assert_eq!(browser.value("location.pathname"), "/login");
    browser.picture(&picture("login"));
    let submit = "document.querySelector('main form button')";
    browser.value(&format!("document.getElementById('token').value = '{}'", "razormk_wrong"));
    browser.click(submit);
    let text = "document.querySelector('main').innerText";
    assert!(browser.value(text).as_str().unwrap().contains("is not known here"));
    browser.value(&format!("document.getElementById('token').value = '{token}'"));
    browser.click(submit);
    assert_eq!(browser.value("location.pathname + location.search"), "/nodes?show=silent");
    assert_eq!(browser.value("document.cookie"), "", "no script sees it");
    browser.click("document.querySelector('footer a')");
    assert!(browser.value(text).as_str().unwrap().contains("Logged in by token 1 (rack team)"));
    browser.click("document.querySelector('main form button')");
    browser.open(&format!("{}/nodes", outside.https));
    assert_eq!(browser.value("location.pathname"), "/login", "logged out");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}
