//! On what a figure was taken: processor, versions, commit, and how busy the machine was before.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use crate::place;

/// Programs whose versions matter, each with the argument that makes it tell.
const PROGRAMS: [(&str, &str); 7] = [
    ("rustc", "--version"),
    ("qemu-system-x86_64", "--version"),
    ("xorriso", "-version"),
    ("gzip", "--version"),
    ("advdef", "--version"),
    ("facter", "--version"),
    ("lshw", "-version"),
];

/// The machine and what runs on it, by name.
pub(crate) struct Environment(Vec<(String, String)>);

impl Environment {
    /// Looks. What cannot be found out is left out.
    pub(crate) fn look() -> Self {
        let mut all = Vec::new();
        let mut add = |name: &str, value: Option<String>| all.extend(value.map(|v| (name.to_owned(), v)));
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        add("date", said("date", &["--utc", "+%Y-%m-%d %H:%M UTC"]));
        add("commit", commit());
        add("processor", field(&read("/proc/cpuinfo"), "model name"));
        add("hardware threads", std::thread::available_parallelism().ok().map(|n| n.to_string()));
        add("memory", field(&read("/proc/meminfo"), "MemTotal"));
        add("load average before", read("/proc/loadavg").get(..14).map(str::to_owned));
        add("kernel", said("uname", &["-sr"]));
        add("system", field(&read("/etc/os-release").replace('=', ":").replace('"', ""), "PRETTY_NAME"));
        for (program, argument) in PROGRAMS {
            add(program, said(program, &[argument]));
        }
        add("accelerator of the guests", Some("TCG, one processor".to_owned()));
        Self(all)
    }

    /// For people, and for the document.
    pub(crate) fn markdown(&self) -> String {
        let line = |(name, value): &(String, String)| format!("- {name}: {value}\n");
        format!("## Environment\n\n{}", self.0.iter().map(line).collect::<String>())
    }

    /// For programs.
    pub(crate) fn json(&self) -> Value {
        self.0.iter().map(|(name, value)| (name.clone(), json!(value))).collect::<serde_json::Map<_, _>>().into()
    }
}

/// The first line that a program prints, on whichever of its outputs; nothing when it fails.
fn said(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).current_dir(place::root()).output().ok()?;
    if !output.status.success() {
        return None;
    }
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    text.lines().map(str::trim).find(|line| !line.is_empty()).map(str::to_owned)
}

fn commit() -> Option<String> {
    let commit = said("git", &["rev-parse", "--short", "HEAD"])?;
    let changed = said("git", &["status", "--porcelain", "--untracked-files=no"]).is_some();
    Some(if changed { format!("{commit} with changes") } else { commit })
}

/// The value of the first `name: value`.
fn field(text: &str, name: &str) -> Option<String> {
    let value = |line: &str| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim().to_owned())
    };
    text.lines().find_map(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_program_says_that_fails_is_no_version() {
        assert_eq!(said("sh", &["-c", "echo; echo 1.2 >&2"]).as_deref(), Some("1.2"));
        assert_eq!(said("sh", &["-c", "echo fatal: not a repository; exit 128"]), None);
    }

    #[test]
    fn fields_are_found_by_their_whole_names() {
        let text = "model\t\t: 6\nmodel name\t: Some CPU @ 2.4 GHz\n";
        assert_eq!(field(text, "model name").as_deref(), Some("Some CPU @ 2.4 GHz"));
        assert_eq!(field(text, "name"), None);
    }
}
