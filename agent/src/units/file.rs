//! Unit files: `NAME.toml` in `/etc/razor-mk/units.d` of the image and in `/run/razor-mk/units.d`, where those are that the
//! server has pushed; one outside program each, in order of file name without `.toml`. Example:
//!
//! ```toml
//! name = "sshd"
//! command = ["/usr/sbin/sshd", "-D", "-e"]
//! pre = [["/usr/bin/ssh-keygen", "-A"]]   # optional: must succeed before each start
//! tty = "/dev/ttyS0"                      # optional: its standard streams and controlling terminal
//! restart = "always"                      # or "on-failure", "never"
//! after = ["ext"]                         # optional: units that must be ready or have ended
//! ready = "/run/sshd.pid"                 # optional: it is ready once it has made or changed this file below /run
//! start_timeout = 60                      # seconds for that, and for each command in `pre`
//! stop_timeout = 5                        # seconds from TERM to KILL
//! kill_mode = "control-group"             # what goes with its process: all, or its "process-group" only
//! memory_max = "32M"                      # optional limits; without one, there is none
//! pids_max = 64
//! cpu_weight = 100
//! ```

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{anyhow, ensure};
use wire::error::Problem;
use wire::unit::UnitFile;

use super::{Readiness, Unit};
use crate::limits::{START_TIMEOUT, STOP_TIMEOUT, UNIT_FILE, UNIT_FILES, UNIT_PROBLEM};

/// Adds the units of all files of a folder, and gives those that are skipped; `remedy` says what to do about them. A missing
/// folder has no files.
pub(super) fn add(units: &mut Vec<Unit>, dir: &Path, remedy: &str) -> Vec<Problem> {
    let mut paths: Vec<PathBuf> = fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path()).collect();
    paths.retain(|p| p.extension().is_some_and(|e| e == "toml"));
    // Of whole names, `a-b.toml` would come before `a.toml`.
    paths.sort_by(|a, b| a.file_stem().cmp(&b.file_stem()));
    let mut problems = Vec::new();
    for (number, path) in paths.iter().enumerate() {
        let unit =
            if number < UNIT_FILES { load(path, units) } else { Err(anyhow!("its folder has {UNIT_FILES} before it")) };
        match unit {
            Ok(unit) => units.push(unit),
            Err(why) => problems.push(problem(path, remedy, &why)),
        }
    }
    problems
}

fn problem(path: &Path, remedy: &str, why: &anyhow::Error) -> Problem {
    let why = format!("{why:#}");
    let why = &why[..why.floor_char_boundary(UNIT_PROBLEM)];
    let error = format!("unit file {} is skipped: {why}", path.display());
    Problem::new("bad_unit_file", error, format!("{remedy}; all other units run."))
}

fn load(path: &Path, known: &[Unit]) -> anyhow::Result<Unit> {
    let about = fs::metadata(path)?;
    // Reading anything else, such as a pipe, might never end.
    ensure!(about.is_file(), "it is no file");
    let size = about.len();
    ensure!(size <= UNIT_FILE, "it has {size} bytes, more than {UNIT_FILE}");
    parse(&fs::read_to_string(path)?, known)
}

fn parse(text: &str, known: &[Unit]) -> anyhow::Result<Unit> {
    let file = UnitFile::parse(text).map_err(|why| anyhow!(why))?;
    ensure!(known.iter().all(|u| u.name != file.name), "there is a unit {} already", file.name);
    for name in &file.after {
        ensure!(known.iter().any(|u| u.name == *name), "it comes after {name}, which is no built-in or earlier unit");
    }
    let bounds = file.bounds().map_err(|why| anyhow!(why))?;
    let UnitFile { name, command, pre, tty, restart, after, ready, kill_mode, .. } = file;
    Ok(Unit {
        name,
        command,
        pre,
        tty,
        restart,
        after,
        ready: ready.map_or(Readiness::Running, |path| Readiness::File(path.into())),
        start_timeout: bounds.start_timeout.map_or(START_TIMEOUT, Duration::from_secs),
        stop_timeout: bounds.stop_timeout.map_or(STOP_TIMEOUT, Duration::from_secs),
        kill_mode,
        limits: bounds.limits,
    })
}

/// For the fuzzer: what is taken has a name and bounds that the supervisor can keep.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(bytes: &[u8]) {
    let Ok(unit) = parse(&String::from_utf8_lossy(bytes), &[]) else { return };
    assert!(wire::unit::is_unit_name(&unit.name) && !unit.command.is_empty());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{KillMode, Limits, Restart};
    use super::*;

    const SHELL: &str = r#"
        name = "shell"
        command = ["/bin/sh"]
        pre = [["/bin/mkdir", "-p", "/root"]]
        tty = "/dev/ttyS0"
        restart = "on-failure"
    "#;

    #[test]
    fn a_unit_file_is_read() {
        let unit = parse(SHELL, &[]).unwrap();
        assert_eq!((unit.name.as_str(), unit.restart, &unit.ready), ("shell", Restart::OnFailure, &Readiness::Running));
        assert_eq!((unit.tty.as_deref(), unit.pre.len()), (Some("/dev/ttyS0"), 1));
        assert_eq!((unit.start_timeout, unit.stop_timeout), (START_TIMEOUT, STOP_TIMEOUT));
        assert_eq!((unit.kill_mode, unit.limits), (KillMode::ControlGroup, Limits::default()));
    }

    #[test]
    fn each_key_is_read() {
        let text = "ready = \"/run/x\"\nstart_timeout = 3600\nstop_timeout = 1\nkill_mode = \"process-group\"
            memory_max = \"32M\"\npids_max = 64\ncpu_weight = 10000";
        let unit = parse(&format!("{SHELL}\n{text}"), &[]).unwrap();
        assert_eq!((unit.ready, unit.kill_mode), (Readiness::File("/run/x".into()), KillMode::ProcessGroup));
        assert_eq!((unit.start_timeout.as_secs(), unit.stop_timeout.as_secs()), (3600, 1));
        let limits = Limits { memory_max: Some(32 << 20), pids_max: Some(64), cpu_weight: Some(10000) };
        assert_eq!(unit.limits, limits);
    }

    #[test]
    fn bad_unit_files_say_what_is_wrong() {
        let shell = parse(SHELL, &[]).unwrap();
        for (text, why) in [
            (SHELL, "there is a unit shell already"),
            ("name = \"a\"", "not understood"),
            ("name = \"A b\"\ncommand = [\"/x\"]", "a-z"),
            ("name = \"a\"\ncommand = []", "empty"),
            ("name = \"a\"\ncommand = [\"x\"]", "absolute"),
            ("name = \"a\"\ncommand = [\"/x\"]\ntty = \"ttyS0\"", "/dev"),
            ("name = \"a\"\ncommand = [\"/x\"]\nafter = [\"b\"]", "after b"),
            ("name = \"a\"\ncommand = [\"/x\"]\ncolour = 1", "not understood"),
            ("name = \"a\"\ncommand = [\"/x\"]\nrestart = \"often\"", "not understood"),
            ("name = \"a\"\ncommand = [\"/x\"]\nkill_mode = \"mixed\"", "not understood"),
            (
                "name = \"a\"\ncommand = [\"/x\"]\nready = \"/srv/pid\"",
                "ready = \"/srv/pid\": it takes the path of a file below /run",
            ),
            (
                "name = \"a\"\ncommand = [\"/x\"]\nstart_timeout = 0",
                "start_timeout = 0: it takes a whole number of seconds from 1 to 3600",
            ),
            (
                "name = \"a\"\ncommand = [\"/x\"]\nstop_timeout = 61",
                "stop_timeout = 61: it takes a whole number of seconds from 1 to 60",
            ),
            ("name = \"a\"\ncommand = [\"/x\"]\nstop_timeout = 1.5", "stop_timeout = 1.5: it takes"),
            (
                "name = \"a\"\ncommand = [\"/x\"]\nmemory_max = 32",
                "memory_max = 32: it takes a text such as \"32M\", from 1 MiB to 1024 GiB",
            ),
            (
                "name = \"a\"\ncommand = [\"/x\"]\npids_max = -1",
                "pids_max = -1: it takes a whole number of processes from 1 to 32768",
            ),
            (
                "name = \"a\"\ncommand = [\"/x\"]\ncpu_weight = 10001",
                "cpu_weight = 10001: it takes a whole number of shares from 1 to 10000",
            ),
        ] {
            let error = format!("{:#}", parse(text, std::slice::from_ref(&shell)).unwrap_err());
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn a_bad_file_does_not_hide_the_others() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("10-bad.toml"), "name = ").unwrap();
        fs::write(dir.path().join("20-shell.toml"), SHELL).unwrap();
        let long = format!("name = \"{}\"\ncommand = [\"/x\"]", "N".repeat(9999));
        fs::write(dir.path().join("40-long.toml"), long).unwrap();
        fs::write(dir.path().join("README"), "no unit").unwrap();
        nix::unistd::mkfifo(&dir.path().join("30-pipe.toml"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let mut units = Vec::new();
        let problems = add(&mut units, dir.path(), "Correct it");
        assert_eq!((units.len(), problems.len()), (1, 3));
        assert!(problems[0].error.contains("10-bad.toml"), "{}", problems[0].error);
        assert!(problems[1].error.contains("30-pipe.toml is skipped: it is no file"), "{}", problems[1].error);
        let long = &problems[2].error;
        assert!(long.contains("40-long.toml is skipped: name = \"NNN") && long.len() < 1000, "{} bytes", long.len());
        assert!(problems[0].remedy.starts_with("Correct it;"), "{}", problems[0].remedy);
    }

    #[test]
    fn a_name_comes_before_those_that_it_begins() {
        let dir = tempfile::tempdir().unwrap();
        for (name, after) in [("vmtoolsd-helper", "after = [\"vmtoolsd\"]"), ("vmtoolsd", "")] {
            let text = format!("name = \"{name}\"\ncommand = [\"/bin/true\"]\n{after}");
            fs::write(dir.path().join(format!("{name}.toml")), text).unwrap();
        }
        let mut units = Vec::new();
        assert_eq!(add(&mut units, dir.path(), "Correct it"), []);
        let names: Vec<&str> = units.iter().map(|unit| unit.name.as_str()).collect();
        assert_eq!(names, ["vmtoolsd", "vmtoolsd-helper"]);
    }

    #[test]
    fn a_folder_without_end_makes_no_units_without_end() {
        let dir = tempfile::tempdir().unwrap();
        for number in 0..UNIT_FILES + 2 {
            let text = format!("name = \"u{number}\"\ncommand = [\"/bin/true\"]");
            fs::write(dir.path().join(format!("{number:03}.toml")), text).unwrap();
        }
        let mut units = Vec::new();
        let problems = add(&mut units, dir.path(), "Correct it");
        assert_eq!((units.len(), problems.len()), (UNIT_FILES, 2));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC*") {
            let _: anyhow::Result<Unit> = parse(&text, &[]);
        }
    }
}
