//! What must stay true of the source as a whole: who may depend on whom, where effects may be, how files look.
//! `docs/ARCHITECTURE.md` says why.

#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use walkdir::WalkDir;

/// Our crates' folders, and which of the others each may use. The tests of each may use `tests` besides. `fuzz`, which nobody ships,
/// calls the parsers of all.
const MAY_USE: [(&str, &[&str]); 8] = [
    ("wire", &[]),
    ("tce-mirror", &[]),
    ("xtask", &[]),
    ("agent", &["wire", "tce-mirror"]),
    ("mkiso", &["wire", "tce-mirror"]),
    ("server", &["wire", "tce-mirror", "mkiso"]),
    ("tests", &["wire"]),
    ("fuzz", &["wire", "tce-mirror", "agent", "mkiso", "server"]),
];

/// Most lines of a file, blank ones and tests apart.
const MOST_LINES: usize = 500;

/// A source file.
struct Source {
    path: PathBuf,
    text: String,
}

impl Source {
    /// The part that is not tests, comments apart, with line numbers from 1.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.text.lines().take_while(|line| line.trim() != "#[cfg(test)]");
        lines.enumerate().filter(|(_, line)| !line.trim_start().starts_with("//")).map(|(i, line)| (i + 1, line))
    }

    /// Test code in files of its own.
    fn is_test(&self) -> bool {
        self.path.components().skip(1).any(|c| c.as_os_str() == "tests") || self.path.ends_with("tests.rs")
    }

    /// Places in the code where one of these words stands.
    fn places(&self, words: &[&str]) -> Vec<String> {
        let found = self.code().filter(|(_, line)| words.iter().any(|word| line.contains(word)));
        found.map(|(number, line)| format!("{}:{number}: {}", self.path.display(), line.trim())).collect()
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// All Rust sources below a folder of the work tree, by path within it.
fn sources(folder: &str) -> Vec<Source> {
    let wanted = |e: &walkdir::DirEntry| e.depth() == 0 || !matches!(e.file_name().to_str(), Some("target" | ".git"));
    let entries = WalkDir::new(root().join(folder)).into_iter().filter_entry(wanted).map(Result::unwrap);
    let rust = entries.filter(|e| e.path().extension().is_some_and(|x| x == "rs"));
    let read = rust.map(|e| Source {
        path: e.path().strip_prefix(root()).unwrap().to_owned(),
        text: fs::read_to_string(e.path()).unwrap(),
    });
    let sources: Vec<Source> = read.collect();
    assert!(!sources.is_empty(), "no source in {folder}");
    sources
}

fn none(what: &str, found: &[String]) {
    assert!(found.is_empty(), "{what}:\n{}", found.join("\n"));
}

#[test]
fn crates_depend_on_each_other_only_as_the_map_says() {
    let arguments = ["metadata", "--no-deps", "--offline", "--format-version", "1"];
    let output = Command::new(env!("CARGO")).args(arguments).current_dir(root()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let folder = |manifest: &serde_json::Value| {
        let path = Path::new(manifest.as_str().unwrap()).parent().unwrap();
        path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned()
    };
    let folders: BTreeMap<&str, String> =
        packages.iter().map(|p| (p["name"].as_str().unwrap(), folder(&p["manifest_path"]))).collect();
    let allowed = BTreeMap::from(MAY_USE);
    let known: Vec<&str> = folders.values().map(String::as_str).collect();
    assert_eq!(known.len(), allowed.len(), "a crate is not on the map: {known:?}");
    for package in packages {
        let user = &folders[package["name"].as_str().unwrap()];
        for dependency in package["dependencies"].as_array().unwrap() {
            let Some(used) = folders.get(dependency["name"].as_str().unwrap()) else { continue };
            let for_tests = dependency["kind"] == "dev" && used == "tests";
            let may = for_tests || allowed[user.as_str()].contains(&used.as_str());
            assert!(may, "{user} must not depend on {used}");
        }
    }
}

#[test]
fn wire_does_no_io_and_reads_no_clock() {
    let effects = [
        "std::fs",
        "std::io",
        "std::process",
        "std::time",
        "std::thread",
        "std::env",
        "TcpStream",
        "UdpSocket",
        "TcpListener",
        "Command::new",
        "File::open",
        "SystemTime",
        "Instant",
        "println!",
        "tokio",
    ];
    let found: Vec<String> = sources("wire/src").iter().flat_map(|s| s.places(&effects)).collect();
    none("wire has effects", &found);
}

#[test]
fn only_exec_starts_processes_in_the_agent() {
    let starts = ["Command::new", "duct::", "posix_spawn", "execv", "fork("];
    let sources = sources("agent/src");
    let others = sources.iter().filter(|s| !s.path.ends_with("src/exec.rs") && !s.is_test());
    none("the agent starts processes elsewhere", &others.flat_map(|s| s.places(&starts)).collect::<Vec<_>>());
    let exec = sources.iter().find(|s| s.path.ends_with("src/exec.rs")).unwrap();
    assert!(!exec.places(&starts).is_empty(), "exec.rs starts none: this test looks for the wrong words");
}

#[test]
fn the_agent_listens_on_loopback_only() {
    let agent = sources("agent/src");
    let binds: Vec<String> =
        agent.iter().filter(|s| !s.is_test()).flat_map(|s| s.places(&["TcpListener::bind"])).collect();
    assert!(!binds.is_empty(), "no listener found: this test looks for the wrong word");
    none("listeners", &binds.into_iter().filter(|place| !place.contains("LOCALHOST")).collect::<Vec<_>>());
}

#[test]
fn time_outs_are_named_constants_in_limits() {
    let crates = ["agent/src", "mkiso/src", "server/src", "tce-mirror/src", "tests/src", "wire/src", "xtask/src"];
    let sources = crates.into_iter().flat_map(sources);
    let others = sources.filter(|s| !s.is_test() && !s.path.ends_with("limits.rs"));
    let numbers = ["Duration::from_secs(", "Duration::from_millis(", "Duration::from_mins("];
    let bare = |place: &String| {
        let argument = numbers.iter().find_map(|n| place.split_once(n)).map(|(_, rest)| rest);
        argument.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    let found: Vec<String> = others.flat_map(|s| s.places(&numbers)).filter(bare).collect();
    none("times without a name in limits.rs", &found);
}

#[test]
fn every_file_says_what_it_is_for_and_is_short() {
    let mut wrong = Vec::new();
    for source in sources("") {
        if !source.text.starts_with("//!") {
            wrong.push(format!("{} does not begin with //!", source.path.display()));
        }
        let lines =
            source.text.lines().take_while(|l| l.trim() != "#[cfg(test)]").filter(|l| !l.trim().is_empty()).count();
        if lines > MOST_LINES {
            wrong.push(format!("{} has {lines} lines, more than {MOST_LINES}", source.path.display()));
        }
    }
    none("files", &wrong);
}

#[test]
fn nothing_is_left_unfinished_or_silenced() {
    // Put together here, so that this file does not find itself.
    let words =
        [["allow", "(dead_code"].concat(), ["TO", "DO"].concat(), ["FIX", "ME"].concat(), ["todo", "!("].concat()];
    let mut found = Vec::new();
    for source in sources("") {
        for (number, line) in source.text.lines().enumerate() {
            if words.iter().any(|word| line.contains(word.as_str())) {
                found.push(format!("{}:{}: {}", source.path.display(), number + 1, line.trim()));
            }
        }
    }
    none("left-overs", &found);
}

#[test]
fn no_file_knows_where_it_was_written() {
    let here = root().to_str().unwrap();
    if root().components().count() < 3 {
        return; // A folder like /src says nothing, and many files name such a one.
    }
    let output = Command::new("git").args(["ls-files", "-z"]).current_dir(root()).output();
    // A source archive without git has nothing but the files themselves.
    let Some(output) = output.ok().filter(|o| o.status.success()) else { return };
    let names = String::from_utf8(output.stdout).unwrap();
    let holds = |name: &&str| {
        let text = fs::read(root().join(name)).unwrap_or_default();
        text.windows(here.len()).any(|w| w == here.as_bytes())
    };
    let found: Vec<String> = names.split_terminator('\0').filter(holds).map(str::to_owned).collect();
    none("files that name this work tree's place", &found);
}
