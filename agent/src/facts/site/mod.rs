//! The site's own facts: files in `/etc/razor-mk/facts.d`. `NAME.json` holds an object, `NAME.toml` a table, `NAME.txt` lines
//! `name=value`; any other file is a program that prints an object or such lines ([`program`]). Files are taken in the order of
//! their names, and a later one wins. What cannot be used is named under the file's path in `volatile.failures`, and harms no
//! other file.

mod parse;
mod program;

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context as _, ensure};
use serde_json::Value;

use super::collector::Found;
use crate::limits::{FACT_PROGRAM_WAIT, SETTINGS_FILE};
use crate::tree::Tree;

/// Where the files are.
const FOLDER: &str = "/etc/razor-mk/facts.d";

/// Facts by name.
type Facts = BTreeMap<String, Value>;

/// Reads the files, and asks the programs where this is the running machine.
pub(super) fn collect(tree: &Tree) -> anyhow::Result<Found> {
    let (mut files, mut programs) = (BTreeMap::new(), Vec::new());
    for name in tree.names(FOLDER).into_iter().filter(|name| !name.starts_with('.')) {
        let path = format!("{FOLDER}/{name}");
        match parse::data(&name) {
            Some(read) => drop(files.insert(path.clone(), data(&tree.path(path), read))),
            None if !is_program(&tree.path(&path)) => {
                let wrong = anyhow::anyhow!("is no .json, .toml or .txt file, and not executable");
                files.insert(path, Err(wrong));
            }
            None if tree.is_live() => programs.push(path),
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
    for (path, said) in program::ask(&programs, FACT_PROGRAM_WAIT) {
        failures.extend(said.failure.map(|why| (path.clone(), why)));
        facts.insert(path, said.facts);
    }
    Ok(Found::new(move |stable, volatile| {
        stable.site.extend(facts.into_values().flatten());
        volatile.failures.extend(failures);
    }))
}

/// The facts of a file with data.
fn data(path: &Path, read: fn(&str) -> anyhow::Result<Facts>) -> anyhow::Result<Facts> {
    // Asked before it is opened: to open a pipe that nobody writes to never ends.
    ensure!(fs::metadata(path).context("cannot be read")?.is_file(), "is no file");
    let mut bytes = Vec::new();
    let file = fs::File::open(path).context("cannot be read")?;
    file.take(SETTINGS_FILE + 1).read_to_end(&mut bytes).context("cannot be read")?;
    ensure!(bytes.len() as u64 <= SETTINGS_FILE, "has more than {SETTINGS_FILE} bytes, which are read at most");
    read(std::str::from_utf8(&bytes).context("is not UTF-8")?)
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
        collect(tree).unwrap().put(&mut stable, &mut volatile);
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
    fn what_is_no_file_or_too_large_holds_up_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join(FOLDER.trim_start_matches('/'));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("10-rack.txt"), "rack=4\n").unwrap();
        nix::unistd::mkfifo(&folder.join("20-pipe.json"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        std::os::unix::fs::symlink("/dev/zero", folder.join("30-device.txt")).unwrap();
        fs::File::create(folder.join("40-large.txt")).unwrap().set_len(SETTINGS_FILE + 1).unwrap();
        let (send, receive) = std::sync::mpsc::channel();
        std::thread::spawn(move || send.send(found(&Tree::at(dir.path()))));
        let (facts, failures) = receive.recv_timeout(std::time::Duration::from_secs(20)).expect("none is waited for");
        assert_eq!(json!(facts), json!({"rack": "4"}));
        let why: Vec<_> = failures.values().map(String::as_str).collect();
        assert!(matches!(why[..], ["is no file", "is no file", large] if large.contains("has more than")), "{why:?}");
    }
}
