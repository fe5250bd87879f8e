//! What a configuration carries as files: facts and units. The first that is wrong is named by its key and name, with what it
//! must be.

use std::collections::BTreeMap;

use super::{Config, FACTS_D, UNITS, is_name, wrong};
use crate::error::Problem;
use crate::fact_file::{self, ENDINGS};
use crate::limits::{MAX_FACT_FILES, MAX_FACT_FILES_BYTES, MAX_UNIT_NAME, MAX_UNITS, MAX_UNITS_BYTES};
use crate::unit::{BUILT_IN, UnitFile, is_unit_name};

impl Config {
    /// Its units, each with its name.
    ///
    /// # Errors
    /// `bad_config` with the first that is wrong.
    pub fn units(&self) -> Result<BTreeMap<String, UnitFile>, Problem> {
        let bytes = serde_json::to_vec(&self.mk_units).map_or(0, |json| json.len());
        bounded(UNITS, "units", self.mk_units.len(), MAX_UNITS)?;
        bounded(UNITS, "bytes", bytes, MAX_UNITS_BYTES)?;
        self.mk_units.iter().map(|(name, fields)| Ok((name.clone(), unit(name, fields)?))).collect()
    }

    pub(super) fn validate_facts(&self) -> Result<(), Problem> {
        let files = &self.mk_facts_d;
        bounded(FACTS_D, "files", files.len(), MAX_FACT_FILES)?;
        bounded(FACTS_D, "bytes", files.values().map(String::len).sum(), MAX_FACT_FILES_BYTES)?;
        for (name, text) in files {
            let key = format!("{FACTS_D}.{name:.80}");
            let Some(read) = fact_file::reader(name).filter(|_| is_name(name)) else {
                let want = format!(
                    "a file NAME.{} of letters, digits and `._+-~`; programs come with the image or an extension",
                    ENDINGS.join(", NAME.")
                );
                return Err(wrong(&key, "no file with facts", &want));
            };
            let want = "facts: an object (json), a table (toml) or lines name=value (txt)";
            read(text).map_err(|why| wrong(&key, &format!("wrong: {why}"), want))?;
        }
        Ok(())
    }
}

fn unit(name: &str, fields: &serde_json::Value) -> Result<UnitFile, Problem> {
    let key = format!("{UNITS}.{name:.80}");
    if !is_unit_name(name) {
        let want = format!("a name of a-z, 0-9 and `-`, at most {MAX_UNIT_NAME} long");
        return Err(wrong(&key, "no unit's name", &want));
    }
    if BUILT_IN.contains(&name) {
        return Err(wrong(&key, "the name of a unit of the agent's own", "another name"));
    }
    let want =
        "an object with the fields of a unit file: command and pre with absolute paths, tty in /dev, restart, after";
    let unwanted = |why: String| wrong(&key, &format!("wrong: {why}"), want);
    let unit: UnitFile = serde_json::from_value(fields.clone()).map_err(|why| unwanted(why.to_string()))?;
    unit.validate().map_err(unwanted)?;
    if !unit.name.is_empty() && unit.name != name {
        return Err(wrong(&format!("{key}.name"), &format!("{:.80}", unit.name), "left out, or the unit's key"));
    }
    Ok(UnitFile { name: name.to_owned(), ..unit })
}

fn bounded(key: &str, what: &str, count: usize, most: usize) -> Result<(), Problem> {
    if count <= most { Ok(()) } else { Err(wrong(key, &format!("{count} {what}"), &format!("at most {most} {what}"))) }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::unit::Restart;

    fn checked(json: &Value) -> Result<(), Problem> {
        serde_json::from_value::<Config>(json.clone()).unwrap().validate()
    }

    #[test]
    fn files_with_facts() {
        let good = json!({"mk_facts_d": {"10-rack.txt": "rack=4\n", "b.json": "{\"a\": [1]}", "c.toml": "x = 1"}});
        assert_eq!(checked(&good), Ok(()));
        let many: serde_json::Map<String, Value> =
            (0..=MAX_FACT_FILES).map(|n| (format!("{n}.txt"), "".into())).collect();
        for (files, words) in [
            (json!({"tool": "#!/bin/sh"}), "mk_facts_d.tool is no file with facts; it must be a file NAME.json"),
            (json!({"../x.txt": ""}), "mk_facts_d.../x.txt"),
            (json!({".x.txt": ""}), "mk_facts_d..x.txt"),
            (json!({"a/b.txt": ""}), "mk_facts_d.a/b.txt"),
            (json!({"a.txt": "a=1\nno fact"}), "mk_facts_d.a.txt is wrong: line 2 is not name=value"),
            (json!({"a.json": "[1]"}), "mk_facts_d.a.json is wrong: is no JSON object"),
            (json!({"a.toml": "x ="}), "mk_facts_d.a.toml is wrong: is no TOML: line 1"),
            (Value::Object(many), "mk_facts_d is 65 files; it must be at most 64 files"),
            (json!({"a.txt": "x".repeat(MAX_FACT_FILES_BYTES + 1)}), "mk_facts_d is 262145 bytes"),
        ] {
            let problem = checked(&json!({"mk_checkin_skew": 1, "mk_facts_d": files})).unwrap_err();
            assert!(problem.error.contains(words), "{words}: {problem}");
        }
    }

    #[test]
    fn units() {
        let sshd = json!({"command": ["/usr/sbin/sshd", "-D"], "pre": [["/bin/true"]], "restart": "on-failure"});
        assert_eq!(checked(&json!({"mk_units": {"sshd": sshd}})), Ok(()));
        let many: serde_json::Map<String, Value> =
            (0..=MAX_UNITS).map(|n| (format!("u{n}"), json!({"command": ["/x"]}))).collect();
        for (units, words) in [
            (json!({"Sshd": {"command": ["/x"]}}), "mk_units.Sshd is no unit's name"),
            (json!({"net": {"command": ["/x"]}}), "mk_units.net is the name of a unit of the agent's own"),
            (json!({"a": {"command": []}}), "mk_units.a is wrong: a command is empty"),
            (json!({"a": {"command": ["x"]}}), "x is no absolute path"),
            (json!({"a": {"command": ["/x", "\u{0}"]}}), "has a NUL"),
            (json!({"a": {"command": ["/x"], "tty": "ttyS0"}}), "tty ttyS0 is not in /dev"),
            (json!({"a": {"command": ["/x"], "colour": 1}}), "mk_units.a is wrong: unknown field `colour`"),
            (json!({"a": {"command": ["/x"], "restart": "often"}}), "mk_units.a is wrong: unknown variant `often`"),
            (json!({"a": "/x"}), "mk_units.a is wrong: "),
            (json!({"a": {"command": ["/x"], "name": "b"}}), "mk_units.a.name is b"),
            (Value::Object(many), "mk_units is 33 units; it must be at most 32 units"),
            (json!({"a": {"command": ["/x", "x".repeat(MAX_UNITS_BYTES)]}}), "bytes; it must be at most 65536 bytes"),
        ] {
            let problem = checked(&json!({"mk_units": units})).unwrap_err();
            assert!(problem.error.contains(words), "{words}: {problem}");
        }
        let named = json!({"mk_units": {"a": {"command": ["/x"], "name": "a"}}});
        let units = serde_json::from_value::<Config>(named).unwrap().units().unwrap();
        assert_eq!((units["a"].name.as_str(), units["a"].restart), ("a", Restart::Always));
    }
}
