//! Settings as they are typed for `mk-server config set`: `KEY=VALUE`, or `KEY=@PATH` with a value from a file. For files
//! with facts and for units the path may be a folder that looks as it would on the node.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use serde_json::{Map, Value};
use wire::config::{APPLIED, FACTS_D, UNITS};
use wire::limits::MAX_COMMAND_BODY;

/// Reads them; each key once.
///
/// # Errors
/// Names the setting or the file, and what to write instead.
pub(super) fn pairs(values: &[String]) -> anyhow::Result<Map<String, Value>> {
    let mut pairs = Map::new();
    for text in values {
        let Some((key, value)) = text.split_once('=') else {
            bail!("{text:?} is no setting\nWrite KEY=VALUE with a key of {}.", APPLIED.join(", "))
        };
        let value = match value.strip_prefix('@') {
            Some(path) => {
                of_path(key, Path::new(path)).with_context(|| format!("the value of {key} cannot be read"))?
            }
            None => value.into(),
        };
        if pairs.insert(key.to_owned(), value).is_some() {
            bail!("{key} is given twice\nGive each key once.");
        }
    }
    Ok(pairs)
}

fn of_path(key: &str, path: &Path) -> anyhow::Result<Value> {
    let meta = fs::metadata(path).with_context(|| path.display().to_string())?;
    match key {
        _ if meta.is_file() => Ok(text(path)?.trim_end_matches('\n').into()),
        FACTS_D => folder(path, |path| Ok((file_name(path)?, text(path)?.into()))),
        UNITS => folder(path, unit),
        _ => bail!("{} is a folder\nOnly {FACTS_D} and {UNITS} are read from a folder; name a file.", path.display()),
    }
}

/// All files of a folder but hidden ones, in order of their names.
fn folder(path: &Path, read: impl Fn(&Path) -> anyhow::Result<(String, Value)>) -> anyhow::Result<Value> {
    let entries: Result<Vec<PathBuf>, _> = fs::read_dir(path).and_then(|all| all.map(|e| Ok(e?.path())).collect());
    let mut paths = entries.with_context(|| path.display().to_string())?;
    paths.retain(|path| !file_name(path).is_ok_and(|name| name.starts_with('.')));
    paths.sort();
    let mut files = Map::new();
    for path in paths {
        let (name, value) = read(&path)?;
        let is_new = files.insert(name.clone(), value).is_none();
        ensure!(is_new, "{} has {name}, which another file has too", path.display());
    }
    Ok(Value::Object(files))
}

/// The unit in a unit file, by its name.
fn unit(path: &Path) -> anyhow::Result<(String, Value)> {
    let is_toml = path.extension().is_some_and(|ending| ending == "toml");
    ensure!(is_toml, "{} is no unit file\nTheir names end in .toml.", path.display());
    let mut fields: Map<String, Value> =
        toml::from_str(&text(path)?).with_context(|| format!("{} is no TOML", path.display()))?;
    match fields.remove("name") {
        Some(Value::String(name)) => Ok((name, fields.into())),
        _ => bail!("{} has no name\nGive the unit's: name = \"sshd\".", path.display()),
    }
}

fn text(path: &Path) -> anyhow::Result<String> {
    let size = fs::metadata(path).with_context(|| path.display().to_string())?.len();
    let most = MAX_COMMAND_BODY as u64;
    ensure!(size <= most, "{} has {size} bytes, more than the {most} that a command may have", path.display());
    fs::read_to_string(path).with_context(|| path.display().to_string())
}

fn file_name(path: &Path) -> anyhow::Result<String> {
    let name = path.file_name().and_then(|name| name.to_str());
    Ok(name.with_context(|| format!("{} is no name in UTF-8", path.display()))?.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(text: &str) -> Result<Value, String> {
        pairs(&[text.to_owned()]).map(Value::from).map_err(|why| format!("{why:#}"))
    }

    #[test]
    fn values_come_from_files_and_folders_as_on_a_node() {
        let dir = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        put("pattern", "^x$\n");
        put("facts.d/10-rack.txt", "rack=4\n");
        put("facts.d/.hidden", "");
        put("units.d/sshd.toml", "name = \"sshd\"\ncommand = [\"/usr/sbin/sshd\", \"-D\"]\n");
        put("wrong/a.toml", "command = [\"/a\"]\n");
        put("worse/a.toml", "command =\n");
        put("other/README", "");
        put("twice/a.toml", "name = \"a\"\n");
        put("twice/b.toml", "name = \"a\"\n");
        let at = dir.path().display();
        assert_eq!(read(&format!("mk_fact_excl_pattern=@{at}/pattern")), Ok(json!({"mk_fact_excl_pattern": "^x$"})));
        assert_eq!(read(&format!("mk_facts_d=@{at}/facts.d")), Ok(json!({"mk_facts_d": {"10-rack.txt": "rack=4\n"}})));
        let sshd = json!({"command": ["/usr/sbin/sshd", "-D"]});
        assert_eq!(read(&format!("mk_units=@{at}/units.d")), Ok(json!({"mk_units": {"sshd": sshd}})));
        for (setting, words) in [
            (format!("mk_units=@{at}/none"), "none: No such file"),
            (format!("mk_units=@{at}/wrong"), "a.toml has no name"),
            (format!("mk_units=@{at}/worse"), "a.toml is no TOML"),
            (format!("mk_units=@{at}/other"), "README is no unit file"),
            (format!("mk_units=@{at}/twice"), "b.toml has a, which another file has too"),
            (format!("mk_log_level=@{at}/facts.d"), "is a folder"),
            ("mk_log_level".to_owned(), "KEY=VALUE"),
        ] {
            let why = read(&setting).unwrap_err();
            assert!(why.contains(words), "{words}: {why}");
        }
    }
}
