//! Which source of a setting counts where several have it: image < site configuration < kernel line < pushed by the server,
//! key by key. Every key that has more than one source, with every combination of sources.

use std::fs;

use serde_json::json;
use wire::config::Config;
use wire::extensions::Source;
use wire::inventory::Inventory;
use wire::site::{IMAGE_PATH, SITE_PATH};

use super::pace::Pace;
use super::{Candidate, Pushed};
use crate::facts::{self, Asker, PUSHED_DIR};
use crate::settings::Settings;
use crate::tree::Tree;

/// All that a machine was told.
struct Machine {
    settings: Settings,
    facts: Inventory,
    pushed: Pushed,
}

/// A key: what counts with no source, then by source in rising order, and how it is read. None: that source cannot have it.
type Row = (&'static str, &'static str, [Option<&'static str>; 4], fn(&Machine) -> String);

const ROWS: [Row; 8] = [
    ("server", "none", [None, Some("http://site"), Some("http://line"), None], |m| {
        m.settings.line.server.as_ref().map_or("none".to_owned(), |server| server.url.clone())
    }),
    ("static address", "none", [None, Some("10.0.0.1"), Some("10.0.0.2"), None], |m| {
        m.settings.line.ip.as_ref().map_or("none".to_owned(), |ip| ip.address.to_string())
    }),
    ("interval", "60", [None, Some("61"), Some("62"), Some("63")], |m| {
        Pace::of(&m.pushed.config, m.settings.line.interval).interval_s.to_string()
    }),
    ("skew", "5", [None, None, None, Some("7")], |m| Pace::of(&m.pushed.config, None).skew_s.to_string()),
    ("log level", "Info", [Some("Debug"), Some("Warn"), Some("Error"), Some("Info")], |m| {
        format!("{:?}", m.pushed.level().unwrap_or_else(|| m.settings.level()))
    }),
    ("fact", "null", [Some("\"image\""), Some("\"site\""), Some("\"line\""), Some("\"pushed\"")], |m| {
        m.facts.stable.site.get("rack").map_or("null".to_owned(), ToString::to_string)
    }),
    ("mirror", "http://localhost:2157/tinycorelinux", [None, None, None, Some("http://pushed/tc")], |m| {
        Source::of(&m.pushed.config, "").mirror
    }),
    ("exclusion pattern", "none", [None, None, None, Some("^pushed")], |m| {
        m.pushed.excluded().map_or("none".to_owned(), |pattern| pattern.as_str().to_owned())
    }),
];

/// A machine whose sources with these bits say something of every key.
fn machine(sources: u8) -> Machine {
    let root = tempfile::tempdir().unwrap();
    let put = |path: &str, text: &str| {
        let path = root.path().join(path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    if sources & 1 != 0 {
        put(IMAGE_PATH, r#"{"variant": "debug"}"#);
        put("/etc/razor-mk/facts.d/rack.txt", "rack=image\n");
    }
    if sources & 2 != 0 {
        let args = ["razor.interval=61 razor.log=warn razor.ip=10.0.0.1/24"];
        put(SITE_PATH, &json!({"server": "http://site", "args": args, "facts": {"rack": "site"}}).to_string());
    }
    if sources & 4 != 0 {
        let line =
            "razor.server=http://line razor.interval=62 razor.log=error razor.ip=10.0.0.2/24 razor.fact.rack=line";
        put("/proc/cmdline", line);
    }
    let mut pushed = Pushed::default();
    if sources & 8 != 0 {
        let config = json!({"mk_checkin_interval": 63, "mk_checkin_skew": 7, "mk_log_level": "Logger::INFO",
            "mk_fact_excl_pattern": "^pushed", "mk_facts_d": {"rack.txt": "rack=pushed\n"}});
        pushed.consider(Candidate::of_server(1, None, serde_json::from_value(config).unwrap())).unwrap();
        for (name, text) in &pushed.config.mk_facts_d {
            put(&format!("{PUSHED_DIR}/{name}"), text);
        }
        // In force once it is loaded, which is another's test.
        pushed.config = Config { mk_tce_mirror_uri: Some("http://pushed/tc".to_owned()), ..pushed.config };
    }
    let tree = Tree::at(root.path());
    Machine { settings: Settings::from(&tree), facts: facts::collect(&tree, Asker::Control), pushed }
}

#[test]
fn the_later_source_counts_key_by_key() {
    for sources in 0..16 {
        let machine = machine(sources);
        assert_eq!(machine.settings.problems, [], "{sources:04b}");
        for (key, usual, values, read) in ROWS {
            let there = values.iter().enumerate().filter(|(bit, _)| sources & (1 << bit) != 0);
            let expected = there.filter_map(|(_, value)| *value).next_back().unwrap_or(usual);
            assert_eq!(read(&machine), expected, "{key} with sources {sources:04b}");
        }
    }
}
