//! Unit files: `NAME.toml` in `/etc/razor-mk/units.d` of the image and in `/run/razor-mk/units.d`, where those are that the
//! server has pushed; one outside program each, in order of file name. Example:
//!
//! ```toml
//! name = "sshd"
//! command = ["/usr/sbin/sshd", "-D", "-e"]
//! pre = [["/usr/bin/ssh-keygen", "-A"]]   # optional: must succeed before each start
//! tty = "/dev/ttyS0"                      # optional: its standard streams and controlling terminal
//! restart = "always"                      # or "on-failure", "never"
//! after = ["ext"]                         # optional: units that must be ready or have ended
//! ```

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{anyhow, ensure};
use wire::error::Problem;
use wire::limits::MAX_UNIT_NAME;
use wire::unit::{UnitFile, is_unit_name};

use super::Unit;
use crate::limits::{SETTINGS_FILE, UNIT_FILES};

/// Adds the units of all files of a folder, and gives those that are skipped; `remedy` says what to do about them. A missing
/// folder has no files.
pub(super) fn add(units: &mut Vec<Unit>, dir: &Path, remedy: &str) -> Vec<Problem> {
    let mut paths: Vec<PathBuf> = fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path()).collect();
    paths.retain(|p| p.extension().is_some_and(|e| e == "toml"));
    paths.sort();
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
    let error = format!("unit file {} is skipped: {why:#}", path.display());
    Problem::new("bad_unit_file", error, format!("{remedy}; all other units run."))
}

fn load(path: &Path, known: &[Unit]) -> anyhow::Result<Unit> {
    let about = fs::metadata(path)?;
    // Reading anything else, such as a pipe, might never end.
    ensure!(about.is_file(), "it is no file");
    let size = about.len();
    ensure!(size <= SETTINGS_FILE, "it has {size} bytes, more than {SETTINGS_FILE}");
    parse(&fs::read_to_string(path)?, known)
}

fn parse(text: &str, known: &[Unit]) -> anyhow::Result<Unit> {
    let file: UnitFile = toml::from_str(text).map_err(|e| not_understood(text, &e))?;
    ensure!(is_unit_name(&file.name), "name has a-z, 0-9 and `-` only, at most {MAX_UNIT_NAME}");
    ensure!(known.iter().all(|u| u.name != file.name), "there is a unit {} already", file.name);
    file.validate().map_err(|why| anyhow!(why))?;
    for name in &file.after {
        ensure!(known.iter().any(|u| u.name == *name), "it comes after {name}, which is no built-in or earlier unit");
    }
    let UnitFile { name, command, pre, tty, restart, after } = file;
    Ok(Unit { name, command, pre, tty, restart, after, notifies: false })
}

/// The parser's own text has several lines; a log line is one.
fn not_understood(text: &str, error: &toml::de::Error) -> anyhow::Error {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    anyhow::anyhow!("line {line} is not understood: {}", error.message().replace('\n', ", "))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Restart;
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
        assert_eq!((unit.name.as_str(), unit.restart, unit.notifies), ("shell", Restart::OnFailure, false));
        assert_eq!((unit.tty.as_deref(), unit.pre.len()), (Some("/dev/ttyS0"), 1));
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
        fs::write(dir.path().join("README"), "no unit").unwrap();
        nix::unistd::mkfifo(&dir.path().join("30-pipe.toml"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let mut units = Vec::new();
        let problems = add(&mut units, dir.path(), "Correct it");
        assert_eq!((units.len(), problems.len()), (1, 2));
        assert!(problems[0].error.contains("10-bad.toml"), "{}", problems[0].error);
        assert!(problems[1].error.contains("30-pipe.toml is skipped: it is no file"), "{}", problems[1].error);
        assert!(problems[0].remedy.starts_with("Correct it;"), "{}", problems[0].remedy);
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
