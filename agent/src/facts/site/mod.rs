//! The site's own facts: files in `/etc/razor-mk/facts.d`. `NAME.json` holds an object, `NAME.toml` a table, `NAME.txt`
//! lines `name=value`; any other file is a program that prints an object or such lines ([`program`]). Files are taken
//! in the order of their names, and a later one wins. What cannot be used is named under the file's path in
//! `volatile.failures`, and harms no other file. Where the unit `checkin` lives, it alone runs the programs, and others
//! take its word ([`told`]): a tool that takes a lock or talks to a BMC must not meet itself.
//!
//! What the server pushes lies in `/run/razor-mk/facts.d` in the same forms, without programs.

mod program;
mod told;

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context as _, anyhow, ensure};
use serde_json::Value;
use wire::fact_file::{Reader, reader};

use super::collector::Found;
use crate::limits::{FACT_PROGRAM_END, FACT_PROGRAM_WAIT, UNIT_FILE};
use crate::state::{Published as _, uptime};
use crate::tree::Tree;
use program::Said;
pub(crate) use told::Told;

/// Where the files are.
const FOLDER: &str = "/etc/razor-mk/facts.d";
/// Where those are that the server has pushed; `checkin` writes them.
pub(crate) const PUSHED_DIR: &str = "/run/razor-mk/facts.d";

/// Facts by name.
type Facts = BTreeMap<String, Value>;

/// Who wants to know what the programs say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asker {
    /// The unit `checkin` runs them, and publishes what they said.
    Checkin,
    /// The unit `control`, and who packs a bundle, is told what was published, and never runs any.
    Control,
    /// A person's command is told so too while there is a `checkin`. Elsewhere it runs them and waits until they have ended.
    Command,
}

/// What the programs say in one collection.
pub(super) enum Programs {
    /// It asks them, in its own time.
    Asked,
    /// They said so before it began.
    Said(Vec<(String, Said)>),
}

/// Prepares a collection for this asker. It may take as long as programs may run.
pub(super) fn programs(tree: &Tree, asker: Asker) -> Programs {
    let paths = || program_paths(tree);
    match asker {
        Asker::Checkin => {
            if tree.is_live() && told::hold() {
                program::remember(&Told::read().unwrap_or_default());
            }
            Programs::Asked
        }
        Asker::Command if !told::is_held() => Programs::Said(program::ask(&paths(), FACT_PROGRAM_END)),
        Asker::Control | Asker::Command => Programs::Said(Told::read().unwrap_or_default().of(paths(), uptime())),
    }
}

/// Paths of the programs; none on a recorded machine, where nothing may run.
fn program_paths(tree: &Tree) -> Vec<String> {
    if !tree.is_live() {
        return Vec::new();
    }
    let is_one = |path: &String| reader(path).is_none() && is_program(&tree.path(path));
    paths(tree, FOLDER).filter(is_one).collect()
}

/// All that is in a folder, in order.
fn paths(tree: &Tree, folder: &str) -> impl Iterator<Item = String> {
    let names = tree.names(folder).into_iter().filter(|name| !name.starts_with('.'));
    names.map(move |name| format!("{folder}/{name}"))
}

/// What the server has pushed, and which files of it cannot be used, by path.
pub(super) fn pushed(tree: &Tree) -> (Facts, BTreeMap<String, String>) {
    let (mut facts, mut failures) = (Facts::new(), BTreeMap::new());
    for path in paths(tree, PUSHED_DIR) {
        let Some(read) = reader(&path) else { continue };
        match data(&tree.path(&path), read) {
            Ok(found) => facts.extend(found),
            Err(why) => drop(failures.insert(path, format!("{why:#}"))),
        }
    }
    (facts, failures)
}

/// Reads the files, and asks the programs where nobody has.
pub(super) fn collect(tree: &Tree, programs: Programs) -> anyhow::Result<Found> {
    let mut files = BTreeMap::new();
    for path in paths(tree, FOLDER) {
        let place = tree.path(&path);
        match reader(&path) {
            Some(read) => drop(files.insert(path, data(&place, read))),
            None if !is_program(&place) => {
                let wrong = anyhow!("is no .json, .toml or .txt file, and not executable");
                files.insert(path, Err(wrong));
            }
            None => {}
        }
    }
    let mut failures = BTreeMap::new();
    let mut facts: BTreeMap<String, Facts> = BTreeMap::new();
    for (path, read) in files {
        match read {
            Ok(found) => drop(facts.insert(path, found)),
            Err(why) => drop(failures.insert(path, format!("{why:#}"))),
        }
    }
    let said = match programs {
        Programs::Asked => {
            failures.extend(told::trouble());
            program::ask(&program_paths(tree), FACT_PROGRAM_WAIT)
        }
        Programs::Said(said) => said,
    };
    for (path, said) in said {
        failures.extend(said.failure.map(|why| (path.clone(), why)));
        facts.insert(path, said.facts);
    }
    Ok(Found::new(move |stable, volatile| {
        stable.site.extend(facts.into_values().flatten());
        volatile.failures.extend(failures);
    }))
}

/// The facts of a file with data.
fn data(path: &Path, read: Reader) -> anyhow::Result<Facts> {
    // Asked before it is opened: to open a pipe that nobody writes to never ends.
    ensure!(fs::metadata(path).context("cannot be read")?.is_file(), "is no file");
    let mut bytes = Vec::new();
    let file = fs::File::open(path).context("cannot be read")?;
    file.take(UNIT_FILE + 1).read_to_end(&mut bytes).context("cannot be read")?;
    ensure!(bytes.len() as u64 <= UNIT_FILE, "has more than {UNIT_FILE} bytes, which are read at most");
    read(std::str::from_utf8(&bytes).context("is not UTF-8")?).map_err(|why| anyhow!(why))
}

fn is_program(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use wire::inventory::{Stable, Volatile};

    use super::*;

    fn found(tree: &Tree) -> (Facts, BTreeMap<String, String>) {
        let (mut stable, mut volatile) = (Stable::default(), Volatile::default());
        collect(tree, Programs::Said(Vec::new())).unwrap().put(&mut stable, &mut volatile);
        (stable.site, volatile.failures)
    }

    #[test]
    fn every_form_is_read_a_later_file_wins_and_a_wrong_one_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join(FOLDER.trim_start_matches('/'));
        fs::create_dir_all(&folder).unwrap();
        for (name, text) in [
            ("10-rack.txt", "# where\nrack = row 4\nunit=7\n"),
            ("20-owner.json", r#"{"owner": {"team": "storage"}, "unit": 8}"#),
            ("30-site.toml", "spare = true\nsince = 2026-11-22\n"),
            ("40-wrong.json", "[1]"),
            ("50-wrong.txt", "a=1\nno fact\n"),
            ("60-script", "#!/bin/sh\n"),
            (".hidden.txt", "hidden=1"),
        ] {
            fs::write(folder.join(name), text).unwrap();
        }
        let (facts, failures) = found(&Tree::at(dir.path()));
        let expected =
            json!({"rack": "row 4", "unit": 8, "owner": {"team": "storage"}, "spare": true, "since": "2026-11-22"});
        assert_eq!(json!(facts), expected);
        let why: Vec<_> = failures.iter().map(|(path, why)| (path.rsplit('/').next().unwrap(), why.as_str())).collect();
        assert!(
            matches!(why[..], [("40-wrong.json", _), ("50-wrong.txt", line), ("60-script", no)]
            if line.contains("line 2") && no.contains("not executable")),
            "{why:?}"
        );
        assert_eq!(found(&Tree::at("/nowhere")), (Facts::new(), BTreeMap::new()));
    }

    #[test]
    fn what_is_pushed_is_data_only() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join(PUSHED_DIR.trim_start_matches('/'));
        fs::create_dir_all(&folder).unwrap();
        for (name, text) in [("a.txt", "rack=4"), ("b.json", r#"{"rack": 5}"#), ("tool", "#!/bin/sh"), ("c.toml", "x")]
        {
            fs::write(folder.join(name), text).unwrap();
        }
        let (facts, failures) = pushed(&Tree::at(dir.path()));
        assert_eq!(json!(facts), json!({"rack": 5}));
        assert!(failures.len() == 1 && failures[&format!("{PUSHED_DIR}/c.toml")].contains("no TOML"), "{failures:?}");
    }

    #[test]
    fn what_is_no_file_or_too_large_holds_up_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join(FOLDER.trim_start_matches('/'));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("10-rack.txt"), "rack=4\n").unwrap();
        nix::unistd::mkfifo(&folder.join("20-pipe.json"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        std::os::unix::fs::symlink("/dev/zero", folder.join("30-device.txt")).unwrap();
        fs::File::create(folder.join("40-large.txt")).unwrap().set_len(UNIT_FILE + 1).unwrap();
        let (send, receive) = std::sync::mpsc::channel();
        std::thread::spawn(move || send.send(found(&Tree::at(dir.path()))));
        let (facts, failures) = receive.recv_timeout(std::time::Duration::from_secs(20)).expect("none is waited for");
        assert_eq!(json!(facts), json!({"rack": "4"}));
        let why: Vec<_> = failures.values().map(String::as_str).collect();
        assert!(matches!(why[..], ["is no file", "is no file", large] if large.contains("has more than")), "{why:?}");
    }
}
