//! The rules of `deny.toml` about crates, held against what Cargo.lock really brings in: licences, crates that must not
//! come in, features that must stay off, and where crates come from. `cargo deny check` reads the same file; this test
//! needs nothing installed.

#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde::Deserialize;
use serde_json::Value;

/// The one place that crates may come from.
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

#[derive(Deserialize)]
struct Rules {
    licenses: Licenses,
    bans: Bans,
}

#[derive(Deserialize)]
struct Licenses {
    allow: BTreeSet<String>,
}

#[derive(Deserialize)]
struct Bans {
    deny: Vec<Ban>,
    features: Vec<FeatureBan>,
}

#[derive(Deserialize)]
struct Ban {
    #[serde(rename = "crate")]
    name: String,
    reason: String,
}

#[derive(Deserialize)]
struct FeatureBan {
    #[serde(rename = "crate")]
    name: String,
    deny: BTreeSet<String>,
    reason: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn rules() -> Rules {
    toml::from_str(&fs::read_to_string(root().join("deny.toml")).unwrap()).unwrap()
}

/// All crates of the image's and the tools' one platform, as cargo resolves them.
fn metadata() -> Value {
    let platform = "--filter-platform=x86_64-unknown-linux-gnu";
    let arguments = ["metadata", "--locked", "--offline", "--format-version", "1", platform];
    let output = Command::new(env!("CARGO")).args(arguments).current_dir(root()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// Whether a licence expression can be met with the allowed licences alone.
fn allowed(expression: &str, allow: &BTreeSet<String>) -> bool {
    let parsed = spdx::Expression::parse_mode(expression, spdx::ParseMode::LAX);
    parsed.is_ok_and(|e| e.evaluate(|license| allow.contains(&license.to_string())))
}

#[test]
fn every_crate_keeps_the_rules_of_deny_toml() {
    let (rules, metadata) = (rules(), metadata());
    let packages = metadata["packages"].as_array().unwrap();
    assert!(packages.len() > 100, "only {} crates: this test looks in the wrong place", packages.len());
    let mut broken = Vec::new();
    for package in packages {
        let (name, license) = (text(package, "name"), text(package, "license"));
        if !allowed(license, &rules.licenses.allow) {
            broken.push(format!("{name}: licence `{license}`"));
        }
        // Ours come from the work tree.
        if let Some(source) = package["source"].as_str().filter(|s| *s != REGISTRY) {
            broken.push(format!("{name}: comes from {source}"));
        }
        broken.extend(rules.bans.deny.iter().filter(|b| b.name == name).map(|b| format!("{name}: {}", b.reason)));
    }
    for node in metadata["resolve"]["nodes"].as_array().unwrap() {
        let on: BTreeSet<&str> = node["features"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        for ban in rules.bans.features.iter().filter(|b| text(node, "id").contains(&format!("#{}@", b.name))) {
            broken.extend(
                ban.deny
                    .iter()
                    .filter(|f| on.contains(f.as_str()))
                    .map(|f| format!("{}/{f}: {}", ban.name, ban.reason)),
            );
        }
    }
    assert!(broken.is_empty(), "against deny.toml:\n{}", broken.join("\n"));
}

#[test]
fn a_licence_that_is_not_allowed_is_seen() {
    let allow = BTreeSet::from(["MIT".to_owned(), "Apache-2.0 WITH LLVM-exception".to_owned()]);
    for good in ["MIT", "GPL-3.0 OR MIT", "MIT/Apache-2.0", "Apache-2.0 WITH LLVM-exception"] {
        assert!(allowed(good, &allow), "{good}");
    }
    for bad in ["", "GPL-3.0", "MIT AND GPL-3.0", "Apache-2.0"] {
        assert!(!allowed(bad, &allow), "{bad}");
    }
}
