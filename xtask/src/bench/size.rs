//! Row `size`: the ISOs of the three variants, and what fills them.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context as _;
use serde_json::Value;

use super::table::{Detail, Findings, Goal, Line, Samples};
use super::{Inputs, MIB};
use crate::images::Variant;

/// Our initrd in the manifest's members; it holds the agent, the overlay and the extensions.
const SEGMENT: &str = "boot/mk.gz";
/// What an image may have, in MiB: on the base of Debian packages, and on Tiny Core's root file system.
const GOAL_MIB: (f64, f64) = (48.0, 32.0);

/// Measures.
///
/// # Errors
/// An image or its manifest cannot be read.
pub(crate) fn run(inputs: &Inputs) -> anyhow::Result<Findings> {
    let mut findings = Findings::default();
    let mut groups: BTreeMap<String, BTreeMap<&str, u64>> = BTreeMap::new();
    for (variant, iso) in inputs.images()? {
        let bytes = iso.metadata().with_context(|| format!("cannot look at {}", iso.display()))?.len();
        for (group, size) in fill(&manifest(&iso)?, bytes)? {
            groups.entry(group).or_default().insert(variant.name(), size);
        }
        findings.lines.push(Line {
            what: format!("{} ISO", variant.name()),
            unit: "MiB",
            ours: Samples::one(bytes as f64 / MIB),
            peer: None,
            goal: if variant.has_ssh() { Goal::default() } else { Goal::at_most(inputs.goal(GOAL_MIB)) },
        });
    }
    let variants = Variant::ALL.map(Variant::name);
    let mut rows: Vec<_> = groups.into_iter().collect();
    rows.sort_by_key(|(_, sizes)| std::cmp::Reverse(sizes.values().max().copied()));
    findings.details.push(Detail {
        title: "What fills them, in bytes".into(),
        head: std::iter::once("part").chain(variants).map(str::to_owned).collect(),
        rows: rows.into_iter().map(|(name, sizes)| row(name, &sizes, variants)).collect(),
    });
    Ok(findings)
}

fn row(name: String, sizes: &BTreeMap<&str, u64>, variants: [&str; 3]) -> Vec<String> {
    let size = |variant| sizes.get(variant).map(u64::to_string).unwrap_or_default();
    std::iter::once(name).chain(variants.map(size)).collect()
}

fn manifest(iso: &Path) -> anyhow::Result<Value> {
    let path = iso.with_extension("manifest.json");
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is no manifest", path.display()))
}

/// The parts of an ISO with their sizes in it: what the manifest names, and the rest.
fn fill(manifest: &Value, iso: u64) -> anyhow::Result<BTreeMap<String, u64>> {
    let parts = |key: &str| -> anyhow::Result<Vec<(String, u64)>> {
        let list = manifest[key].as_array().with_context(|| format!("the manifest has no {key}"))?;
        Ok(list.iter().filter_map(|p| Some((p["name"].as_str()?.to_owned(), p["bytes"].as_u64()?))).collect())
    };
    let extensions: Vec<_> = parts("inputs")?.into_iter().filter(|(name, _)| name.ends_with(".tcz")).collect();
    let inside: u64 = extensions.iter().map(|(_, bytes)| bytes).sum();
    let mut all = BTreeMap::new();
    for (name, bytes) in parts("members")? {
        if name == SEGMENT {
            all.insert(format!("{name}: agent, overlay, texts, compressed"), bytes.saturating_sub(inside));
        } else {
            all.insert(name, bytes);
        }
    }
    all.extend(extensions.into_iter().map(|(name, bytes)| (format!("{SEGMENT}: {name}"), bytes)));
    let named: u64 = all.values().sum();
    all.insert("ISO structures".into(), iso.saturating_sub(named));
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn parts_add_up_to_the_iso() {
        let manifest = json!({
            "inputs": [{"name": "agent", "bytes": 50}, {"name": "a.tcz", "bytes": 70}],
            "members": [{"name": "boot/vmlinuz64", "bytes": 100}, {"name": "boot/mk.gz", "bytes": 90}],
        });
        let parts = fill(&manifest, 250).unwrap();
        assert_eq!(parts.values().sum::<u64>(), 250);
        assert_eq!(parts["boot/mk.gz: a.tcz"], 70);
        assert_eq!(parts["boot/mk.gz: agent, overlay, texts, compressed"], 20);
        assert!(fill(&json!({}), 1).is_err());
    }
}
