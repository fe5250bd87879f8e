//! The pages judged by axe-core in a real browser: rules of WCAG 2.2 A and AA, and axe's own best practice. axe is found through
//! `MK_AXE`, the path of its `axe.min.js`.

use serde_json::{Value, json};

use crate::agents::Boot;
use crate::browser::{Browser, Scheme};
use crate::fleet::{mac, machine};
use crate::images;
use crate::page::WIDE;
use crate::support::Server;

/// What axe finds wrong: rule, what it asks for, and where.
const JUDGE: &str = "axe.run(document).then(result => result.violations.map(v => \
     ({rule: v.id, help: v.help, places: v.nodes.map(n => n.html).slice(0, 5)})))";

#[tokio::test(flavor = "multi_thread")]
async fn pages_keep_the_rules_that_let_everybody_use_them() {
    let Some(axe) = std::env::var_os("MK_AXE") else { return mk_tests::skip_even_there("MK_AXE is not set") };
    let axe = std::fs::read_to_string(axe).unwrap();
    let Some(mut browser) = Browser::start() else { return };
    let server = Server::start("");
    for n in 1..=3 {
        assert_eq!(Boot::new(n).send(&server, &machine(n)).await.0, 200);
    }
    // A machine with the ports of two others is held.
    let mut both = machine(12);
    both["inventory"]["stable"]["nics"][0]["mac"] = json!(mac(2));
    both["inventory"]["stable"]["nics"][1]["mac"] = json!(mac(3));
    both["inventory_digest"] = json!("1".repeat(64));
    Boot::new(12).send(&server, &both).await;

    let remedy = "/conflicts/remedy?remedy=resolve+node4+different+node2";
    let order = "/conflicts/remedy?remedy=reboot+node1";
    images::put_in_use(&server);
    images::add(&server, b"another");
    let pages =
        ["/nodes", "/nodes?q=nothing", "/nodes/node1", "/nodes/node4", "/nodes/node1/log", "/nodes/node1/reports"];
    for path in
        pages.into_iter().chain(["/log", "/conflicts", "/outliers", "/rack", remedy, "/images", order, "/nodes/node99"])
    {
        for scheme in [Scheme::Light, Scheme::Dark] {
            browser.set(WIDE.0, WIDE.1, scheme, true);
            browser.open(&format!("{}{path}", server.url));
            browser.value(&axe);
            let found = browser.value(JUDGE);
            assert_eq!(found, Value::Array(Vec::new()), "{path}: {found:#}");
        }
    }
    // The judge finds what is wrong.
    browser.value("document.querySelector('main').insertAdjacentHTML('beforeend', '<img src=\"/icon.svg\">')");
    let found = browser.value(JUDGE);
    assert_eq!(found[0]["rule"], "image-alt", "{found:#}");
}
