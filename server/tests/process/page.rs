//! The pages in a real browser: what people see, on a wide screen and on a phone, in the light and in the dark, with
//! scripts and without. Pictures of all of it are kept in the folder for temporary files of the build (`target/tmp`).

use std::path::PathBuf;

use serde_json::json;

use crate::agents::Boot;
use crate::browser::{Browser, Scheme};
use crate::fleet::{hostile, mac, machine};
use crate::support::Server;

/// A phone's width in CSS pixels.
pub(crate) const PHONE: (u32, u32) = (375, 740);
/// A notebook's.
pub(crate) const WIDE: (u32, u32) = (1440, 900);

/// Where a picture is kept.
pub(crate) fn picture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("page-{name}.png"))
}

/// Widest scroll that the page offers beyond its window.
pub(crate) const OVERFLOW: &str = "document.documentElement.scrollWidth - document.documentElement.clientWidth";

async fn check_in(server: &Server, machines: std::ops::RangeInclusive<u8>) {
    for n in machines {
        let (status, reply) = Boot::new(n).send(server, &machine(n)).await;
        assert_eq!(status, 200, "{reply}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_people_see() {
    let Some(mut browser) = Browser::start() else { return };
    let server = Server::start("");
    let page = |path: &str| format!("{}{path}", server.url);

    browser.set(WIDE.0, WIDE.1, Scheme::Light, true);
    browser.open(&page("/"));
    browser.wait("document.querySelector('h2')?.textContent.includes('No machine has been seen yet')");
    browser.picture(&picture("empty"));

    // The first machine comes in while somebody looks.
    check_in(&server, 1..=1).await;
    browser.wait("document.querySelector('#node1 a')?.textContent === 'node1'");
    assert_eq!(browser.complaints(), Vec::<String>::new());

    check_in(&server, 2..=9).await;
    server.boot("net0=00-11-22-33-44-55").await.unwrap();
    // A machine with the ports of two others is held.
    let mut both = machine(12);
    both["inventory"]["stable"]["nics"][0]["mac"] = json!(mac(2));
    both["inventory"]["stable"]["nics"][1]["mac"] = json!(mac(3));
    both["inventory_digest"] = json!("1".repeat(64));
    Boot::new(12).send(&server, &both).await;

    for (name, path) in
        [("nodes", "/nodes"), ("node", "/nodes/node1"), ("log", "/nodes/node1/log"), ("held", "/nodes/node11")]
    {
        for scheme in [Scheme::Light, Scheme::Dark] {
            for ((width, height), size) in [(WIDE, "wide"), (PHONE, "phone")] {
                let tone = if scheme == Scheme::Dark { "dark" } else { "light" };
                browser.set(width, height, scheme, true);
                browser.open(&page(path));
                assert_eq!(browser.value(OVERFLOW), 0, "{path} is wider than {width} px");
                let ground = browser.value("getComputedStyle(document.body).backgroundColor");
                let channel: u32 =
                    ground.as_str().unwrap().trim_start_matches("rgb(").split(',').next().unwrap().parse().unwrap();
                assert_eq!(channel < 80, scheme == Scheme::Dark, "{path} in {tone}: {ground}");
                assert_eq!(browser.value(FAINT), json!([]), "{path} in {tone}: too little contrast");
                assert_eq!(browser.complaints(), Vec::<String>::new(), "{path}");
                browser.picture(&picture(&format!("{name}-{size}-{tone}")));
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_keeps_itself_up_to_date_and_leaves_the_person_alone() {
    let Some(mut browser) = Browser::start() else { return };
    let mut server = Server::start("");
    check_in(&server, 1..=40).await;
    browser.set(WIDE.0, WIDE.1, Scheme::Light, true);
    browser.open(&format!("{}/nodes", server.url));
    // Somebody has scrolled, is typing, and has marked a serial number to copy it.
    browser.value("document.getElementById('q').focus(); document.execCommand('insertText', false, 'half a wo')");
    browser.value("window.scrollTo(0, 400); window.before = window.scrollY");
    browser.value("getSelection().selectAllChildren(document.querySelector('#node20 [data-label=Serial]'))");
    let selected = browser.value("String(getSelection())");
    let (status, _) = Boot::new(41).send(&server, &machine(41)).await;
    assert_eq!(status, 200);
    browser.wait("!!document.getElementById('node41')");
    let kept = "document.activeElement.id === 'q' && document.getElementById('q').value === 'half a wo'
                && window.scrollY >= window.before";
    assert_eq!((browser.value(kept), browser.value("String(getSelection())")), (json!(true), selected));
    let first =
        "document.querySelector('tbody tr').id === 'node41' && document.querySelectorAll('tbody tr').length === 41";
    assert_eq!(browser.value(first), true);
    assert_eq!(browser.complaints(), Vec::<String>::new());

    // The server goes away and comes back on the same port.
    let address = server.url.strip_prefix("http://").unwrap().to_owned();
    server.stop();
    browser.wait("!document.getElementById('away').hidden && document.getElementById('away').textContent.includes('does not answer')");
    browser.picture(&picture("away"));
    server.start_again(&address);
    browser.wait("document.getElementById('away').hidden");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_scripts_everything_is_there() {
    let Some(mut browser) = Browser::start() else { return };
    let server = Server::start("");
    check_in(&server, 1..=60).await;
    browser.set(WIDE.0, WIDE.1, Scheme::Light, false);
    browser.open(&format!("{}/nodes", server.url));
    let names = "[...document.querySelectorAll('tbody th')].map((th) => th.textContent)";
    let shown = browser.value(names);
    assert_eq!((shown.as_array().unwrap().len(), &shown[0]), (50, &json!("node60")), "newest first, one page");
    follow(&mut browser, "a[rel=next]");
    assert_eq!(browser.value(names)[0], "node10");
    browser.open(&format!("{}/nodes", server.url));
    follow(&mut browser, "thead a[href*=serial]");
    assert_eq!(browser.value(names)[0], "node1", "by serial number");
    follow(&mut browser, "thead a[href*=serial]");
    assert_eq!(browser.value(names)[0], "node60", "the other way round");
    for (search, found) in
        [("SRV00007", "node7"), ("00:1b:21:3c:4d:08", "node8"), ("10.20.0.9/24", "node9"), ("s45pna0m0A00", "node10")]
    {
        browser.open(&format!("{}/nodes?q={search}", server.url));
        assert_eq!(browser.value(names), json!([found]), "{search}");
    }
    follow(&mut browser, "tbody th a");
    assert_eq!(browser.value("document.querySelector('h1').firstChild.textContent.trim()"), "node10");
    browser.picture(&picture("node-without-scripts"));
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

/// Opens what a link leads to.
fn follow(browser: &mut Browser, link: &str) {
    let url = browser.value(&format!("document.querySelector('{link}').href"));
    browser.open(url.as_str().unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_machine_shows_as_text() {
    let Some(mut browser) = Browser::start() else { return };
    let server = Server::start("");
    assert_eq!(Boot::new(1).send(&server, &hostile(1)).await.0, 200);
    for path in [
        "/nodes",
        "/nodes/node1",
        "/nodes/node1/log",
        "/nodes?q=%3Cscript%3Edocument.title='owned'%3C/script%3E",
        "/nodes/%3Cscript%3E",
    ] {
        for (width, height) in [WIDE, PHONE] {
            browser.set(width, height, Scheme::Light, true);
            browser.open(&format!("{}{path}", server.url));
            let foreign = "document.title === 'owned' || document.querySelectorAll('img, h1 ~ h1, td script, dd script').length > 0";
            assert_eq!(browser.value(foreign), false, "{path}");
            assert_eq!(browser.value(OVERFLOW), 0, "{path} is wider than {width} px");
            let size = browser.value("document.documentElement.outerHTML.length");
            assert!(size.as_u64().unwrap() < 200_000, "{path}: {size} characters");
        }
    }
    browser.open(&format!("{}/nodes/node1", server.url));
    let text = browser.value("document.body.innerText");
    let text = text.as_str().unwrap();
    assert!(text.contains("<script>document.title='owned'</script>\u{fffd}[2J") && text.contains("(1048"), "{text}");
    assert!(!text.contains(['\u{1b}', '\u{202e}', '\u{7}']), "{text}");
    browser.picture(&picture("hostile"));
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

/// Texts whose contrast against what they stand on is under 4.5.
pub(crate) const FAINT: &str = r"(() => {
    const channels = (color) => color.match(/[\d.]+/g).map(Number);
    const luminance = ([r, g, b]) => [r, g, b]
        .map((c) => c / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
        .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
    const ground = (element) => {
        for (let e = element; e; e = e.parentElement) {
            const color = channels(getComputedStyle(e).backgroundColor);
            if (color.length === 3 || color[3] === 1) return color;
        }
        return [255, 255, 255];
    };
    const faint = new Set();
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const element = walker.currentNode.parentElement;
        if (!walker.currentNode.nodeValue.trim() || !element.checkVisibility()) continue;
        const [a, b] = [luminance(channels(getComputedStyle(element).color)), luminance(ground(element))];
        const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        if (contrast < 4.5) faint.add(`${walker.currentNode.nodeValue.trim()}: ${contrast.toFixed(2)}`);
    }
    return [...faint];
})()";
