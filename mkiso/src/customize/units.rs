//! Unit files that a site puts into an image. They are checked as the agent checks them, with the same code, so that what goes in
//! is started and not skipped. Pure.

use std::collections::BTreeMap;

use anyhow::{Result, anyhow, ensure};
use wire::limits::{MAX_UNITS, MAX_UNITS_BYTES};
use wire::unit::{BUILT_IN, UNITS_PATH, UnitFile};

use crate::build::manifest::Manifest;
use crate::slot::{TOML, relative};

/// Puts unit files, each by its text, over those that are there by their names.
///
/// # Errors
/// One is wrong, or they are more than an agent takes.
pub fn add(units: &mut BTreeMap<String, String>, texts: &[String]) -> Result<()> {
    for text in texts {
        let unit = UnitFile::parse(text).map_err(|why| anyhow!("the unit file cannot be used: {why}"))?;
        units.insert(unit.name, text.clone());
    }
    let bytes: usize = units.values().map(String::len).sum();
    ensure!(units.len() <= MAX_UNITS, "there would be {} units; an image takes at most {MAX_UNITS}", units.len());
    ensure!(bytes <= MAX_UNITS_BYTES, "the unit files would have {bytes} bytes; an image takes {MAX_UNITS_BYTES}");
    Ok(())
}

/// Names of the units that an image was built with, from its manifest.
#[must_use]
pub fn built_in(manifest: &Manifest) -> Vec<String> {
    let folder = format!("{}/", relative(UNITS_PATH));
    manifest
        .inputs
        .iter()
        .filter_map(|input| Some(input.name.strip_prefix(&folder)?.strip_suffix(TOML)?.to_owned()))
        .collect()
}

/// Checks that the agent starts these units in an image with those of its own: no name twice, and none after one that is not
/// there or comes later.
///
/// # Errors
/// The unit, and what of the above.
pub fn fit(units: &BTreeMap<String, String>, own: &[String]) -> Result<()> {
    for (name, text) in units {
        ensure!(
            !BUILT_IN.contains(&name.as_str()) && !own.contains(name),
            "the image has a unit {name} of its own; choose another name"
        );
        let unit = UnitFile::parse(text).map_err(|why| anyhow!("the unit {name} cannot be used: {why}"))?;
        let earlier = |other: &String| other < name && (units.contains_key(other) || own.contains(other));
        let unknown = unit.after.iter().find(|other| !BUILT_IN.contains(&other.as_str()) && !earlier(other));
        if let Some(other) = unknown {
            return Err(anyhow!(
                "the unit {name} comes after {other}, which is no unit of the agent and none with a name before {name}"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(name: &str, more: &str) -> String {
        format!("name = \"{name}\"\ncommand = [\"/bin/sleep\", \"9\"]\n{more}")
    }

    #[test]
    fn a_unit_takes_the_place_of_the_one_of_its_name_and_a_wrong_one_of_none() {
        let mut units = BTreeMap::new();
        add(&mut units, &[unit("a", ""), unit("b", "")]).unwrap();
        add(&mut units, &[unit("a", "pids_max = 5")]).unwrap();
        assert!(units.len() == 2 && units["a"].contains("pids_max"));
        for (text, words) in [
            (unit("A b", ""), "name = \"A b\""),
            (unit("c", "colour = 1"), "line 3 is not understood: unknown field `colour`"),
            (unit("c", "").replace("/bin/", ""), "sleep is no absolute path"),
            (unit("c", "pids_max = 0"), "pids_max"),
        ] {
            let why = add(&mut units, &[text]).unwrap_err().to_string();
            assert!(why.contains(words), "{why}");
        }
    }

    #[test]
    fn more_than_an_agent_takes_is_refused_with_both_numbers() {
        let many: Vec<String> = (0..=MAX_UNITS).map(|n| unit(&format!("u{n}"), "")).collect();
        add(&mut BTreeMap::new(), &many[1..]).unwrap();
        let why = add(&mut BTreeMap::new(), &many).unwrap_err().to_string();
        assert!(why.contains("33 units") && why.contains("at most 32"), "{why}");
        let long = unit("a", &format!("# {}", "x".repeat(MAX_UNITS_BYTES)));
        assert!(add(&mut BTreeMap::new(), &[long]).unwrap_err().to_string().contains("takes 65536"));
    }

    #[test]
    fn units_that_the_agent_would_skip_are_refused() {
        let fits = |texts: &[String]| {
            let mut units = BTreeMap::new();
            add(&mut units, texts).unwrap();
            fit(&units, &["sshd".to_owned()])
        };
        fits(&[unit("a", "after = [\"ext\"]"), unit("b", "after = [\"a\"]"), unit("t", "after = [\"sshd\"]")]).unwrap();
        for (texts, words) in [
            (unit("sshd", ""), "a unit sshd of its own"),
            (unit("net", ""), "a unit net of its own"),
            (unit("a", "after = [\"sshd\"]"), "the unit a comes after sshd"),
            (unit("a", "after = [\"x\"]"), "the unit a comes after x"),
        ] {
            let why = fits(&[texts]).unwrap_err().to_string();
            assert!(why.contains(words), "{why}");
        }
    }
}
