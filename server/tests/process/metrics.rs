//! `/metrics`: names, types and labels, which others' dashboards depend on, and that what happens is counted.

use serde_json::json;

use crate::agents::{Boot, inventory};
use crate::support::Server;

/// Every metric. Only added to.
const METRICS: [(&str, &str); 12] = [
    ("mk_build_info", "gauge"),
    ("mk_nodes", "gauge"),
    ("mk_silent_nodes", "gauge"),
    ("mk_checkins_total", "counter"),
    ("mk_refusals_total", "counter"),
    ("mk_request_duration_seconds", "histogram"),
    ("mk_writer_queue", "gauge"),
    ("mk_commit_group_size", "histogram"),
    ("mk_events_total", "counter"),
    ("mk_database_bytes", "gauge"),
    ("mk_waiting_nodes", "gauge"),
    ("mk_certificate_not_after_seconds", "gauge"),
];

/// The value of a line that begins so.
fn value(text: &str, series: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {series} in\n{text}")).parse().unwrap()
}

#[tokio::test]
async fn what_happens_is_counted_under_names_that_stay() {
    let server = Server::start("");
    let mut boot = Boot::new(1);
    assert_eq!(boot.send(&server, &inventory(&["00-11-22-33-44-aa"], "S1")).await.0, 200);
    assert_eq!(server.post(None, b"{", &[]).await.0, 400);
    server.boot("net0=00-11-22-33-44-bb").await.unwrap();
    let answer = server.request(reqwest::Method::GET, "/metrics").send().await.unwrap();
    assert_eq!(answer.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    let text = answer.text().await.unwrap();
    let types: Vec<(&str, &str)> = text.lines().filter_map(|l| l.strip_prefix("# TYPE ")?.split_once(' ')).collect();
    let (certificate, rest) = METRICS.split_last().unwrap();
    assert_eq!(types, rest, "without a certificate there is no {}", certificate.0);
    for (series, expected) in [
        ("mk_nodes{state=\"normal\"}", 2.0),
        ("mk_nodes{state=\"held\"}", 0.0),
        ("mk_silent_nodes", 1.0),
        ("mk_checkins_total{result=\"normal\"}", 1.0),
        ("mk_checkins_total{result=\"refused\"}", 1.0),
        ("mk_refusals_total{route=\"checkin\",code=\"bad_json\"}", 1.0),
        ("mk_request_duration_seconds_count{route=\"checkin\"}", 2.0),
        ("mk_request_duration_seconds_bucket{route=\"checkin\",le=\"+Inf\"}", 2.0),
        ("mk_waiting_nodes", 0.0),
    ] {
        assert_eq!(value(&text, series), expected, "{series}");
    }
    assert!(value(&text, "mk_commit_group_size_sum") >= 2.0 && value(&text, "mk_events_total") >= 2.0, "{text}");
    assert!(value(&text, "mk_database_bytes") > 50_000.0, "{text}");
    // A document for Prometheus: each line is a comment, or a series with a number.
    for line in text.lines().filter(|line| !line.starts_with("# ")) {
        assert!(line.rsplit_once(' ').unwrap().1.parse::<f64>().is_ok(), "{line}");
    }
    let guide = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/OPERATORS.md")).unwrap();
    for (name, kind) in METRICS {
        assert!(guide.lines().any(|l| l.contains(&format!("`{name}`")) && l.contains(kind)), "{name} is not explained");
    }
    let refused = server.request(reqwest::Method::GET, "/metrics").header("host", "rebound.example");
    assert_eq!(refused.send().await.unwrap().status(), 403);
    assert_eq!(boot.send(&server, &json!({})).await.0, 200);
    assert_eq!(value(&server.text("/metrics").await.1, "mk_checkins_total{result=\"normal\"}"), 2.0);
}
