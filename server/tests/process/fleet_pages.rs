//! Outliers and racks in a real browser.

use serde_json::json;

use crate::browser::{Browser, Scheme};
use crate::outliers::{changed, delivered};
use crate::page::{FAINT, OVERFLOW, PHONE, WIDE, picture};
use crate::rack::{expected, racked};
use crate::support::Server;

#[tokio::test(flavor = "multi_thread")]
async fn outliers_and_racks_as_people_see_them() {
    let Some(mut browser) = Browser::start() else { return };
    let server = Server::start("");
    let mut boots = delivered(&server).await;
    let slow = changed(24, "/memory/dimms/1/configured_mts", &json!(2400));
    assert_eq!(boots[1].send(&server, &slow).await.0, 200);
    let folder = tempfile::tempdir().unwrap();
    browser.set(WIDE.0, WIDE.1, Scheme::Light, true);
    browser.open(&format!("{}/rack", server.url));
    browser.wait("document.querySelector('main').innerText.includes('mk-server rack set')");
    assert!(server.cli(&["rack", "set", expected(folder.path()).to_str().unwrap()]).status.success());
    let pages = [
        ("outliers", "/outliers", "DIMM_A2: speed 2400 MT/s; 4 of 4 others: 2933 MT/s"),
        ("odd-node", "/nodes/node2", "It differs from other machines of its product"),
        ("rack", "/rack", "web36"),
    ];
    for (name, path, words) in pages {
        if name == "rack" {
            racked(&server).await;
        }
        for scripts in [true, false] {
            let (scheme, tone) = if scripts { (Scheme::Light, "light") } else { (Scheme::Dark, "dark") };
            for ((width, height), size) in [(WIDE, "wide"), (PHONE, "phone")] {
                browser.set(width, height, scheme, scripts);
                browser.open(&format!("{}{path}", server.url));
                assert_eq!(browser.value(OVERFLOW), 0, "{path} is wider than {width} px");
                assert_eq!(browser.value(FAINT), json!([]), "{path} in {tone}: too little contrast");
                let shown = browser.value("document.querySelector('main').innerText");
                assert!(shown.as_str().unwrap().contains(words), "{path}: {shown}");
                assert_eq!(browser.complaints(), Vec::<String>::new(), "{path}");
                browser.picture(&picture(&format!("{name}-{size}-{tone}")));
            }
        }
    }
}
