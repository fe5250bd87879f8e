//! The bundle of an operator's `collect`: what one needs to see why a node is as it is, as a tar archive packed by gzip.
//! Logs of the units and of the kernel, the units' state, status, the doctor's report, facts, and a list of what is not in it.
//!
//! The key of this boot and the site's files are not collected, and users and passwords in URLs and the enrolment token are
//! blanked wherever they stand. Each file is bounded, and so is the archive: of what is too much, the newest is kept.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, ensure};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;
use wire::limits::MAX_BUNDLE;

use super::secrets::Secrets;
use crate::init::client::{self, Reply, Request};
use crate::limits::{BUNDLE_FILE, KERNEL_LOG};
use crate::settings::Settings;
use crate::state::{Checkin, Published as _, RUN_DIR, Units, uptime};
use crate::tree::Tree;
use crate::{cli, facts};

/// `SYSLOG_ACTION_READ_ALL` of the system call `syslog`: the end of the kernel's log.
const READ_ALL: i32 = 3;
/// Files of the kernel that tell what it loaded and how much room there is.
const OF_THE_KERNEL: [&str; 5] = ["cmdline", "meminfo", "modules", "mounts", "interrupts"];

/// A packed bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bundle {
    /// The archive.
    pub(super) packed: Vec<u8>,
    /// Files in it.
    pub(super) files: usize,
}

/// One file of a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
struct File {
    name: String,
    text: String,
}

/// Collects what there is; what there is not is named in the bundle.
///
/// # Errors
/// It cannot be packed.
pub(super) fn collect() -> anyhow::Result<Bundle> {
    let settings = Settings::load();
    let (mut files, mut missing) = (Vec::new(), Vec::new());
    let mut take = |name: String, text: anyhow::Result<String>| match text {
        Ok(text) => files.push(File { name, text }),
        Err(why) => missing.push(json!({"file": name, "why": format!("{why:#}")})),
    };
    take("status.txt".to_owned(), cli::status_text());
    take("doctor.txt".to_owned(), super::doctor().map(|report| report.text));
    take("kernel.log".to_owned(), kernel_log());
    for unit in Units::read().unwrap_or_default().units {
        let log = client::request(&Request::Logs(unit.name.clone())).map(lines);
        take(format!("logs/{}.log", plain(&unit.name)), log);
    }
    for name in states() {
        let text = fs::read_to_string(Path::new(RUN_DIR).join(&name)).map_err(anyhow::Error::new);
        take(format!("state/{name}"), text);
    }
    let inventory = facts::collect(&Tree::live(), facts::Asker::Control);
    take("facts.json".to_owned(), Ok(serde_json::to_string_pretty(&wire::facts::flatten(&inventory))?));
    take("inventory.json".to_owned(), Ok(serde_json::to_string_pretty(&inventory)?));
    for name in OF_THE_KERNEL {
        let text = fs::read_to_string(Path::new("/proc").join(name)).map_err(anyhow::Error::new);
        take(format!("proc/{name}"), text);
    }
    let about = json!({
        "agent": env!("CARGO_PKG_VERSION"), "image": settings.image.version, "variant": settings.image.variant,
        "node": Checkin::read().and_then(|c| c.node_name), "uptime_s": uptime(), "clock_s": super::outbox::clock(),
        "missing": missing,
    });
    files.insert(0, File { name: "bundle.json".to_owned(), text: serde_json::to_string_pretty(&about)? });
    let secrets = Secrets::load();
    for file in &mut files {
        file.text = secrets.blank(&file.text);
    }
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    pack(&files, clock, BUNDLE_FILE, MAX_BUNDLE)
}

/// Names of the units' state files.
fn states() -> Vec<String> {
    let entries = fs::read_dir(RUN_DIR).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<String> = names.filter(|name| name.ends_with(".json") && !name.starts_with('.')).collect();
    names.sort();
    names
}

fn lines(reply: Reply) -> String {
    match reply {
        Reply::Lines(lines) => lines.join("\n") + "\n",
        Reply::Accepted | Reply::Skipped(_) | Reply::Refused(_) => String::new(),
    }
}

/// A unit's name as a file's.
fn plain(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || "_-@".contains(c) { c } else { '_' }).collect()
}

fn kernel_log() -> anyhow::Result<String> {
    let mut log = vec![0_u8; KERNEL_LOG];
    let size = i32::try_from(log.len())?;
    // SAFETY: the kernel writes at most `size` bytes into the buffer, which has as many.
    let length = unsafe { libc::klogctl(READ_ALL, log.as_mut_ptr().cast(), size) };
    let length = usize::try_from(length).map_err(|_| std::io::Error::last_os_error());
    log.truncate(length.context("the kernel does not give its log")?);
    Ok(String::from_utf8_lossy(&log).into_owned())
}

/// Packs the files, of each at most its last `each` bytes, or less where the archive would be larger than `most`. Pure.
fn pack(files: &[File], clock: u64, each: usize, most: usize) -> anyhow::Result<Bundle> {
    let mut each = each;
    loop {
        let packed = archive(files, clock, each)?;
        if packed.len() <= most {
            return Ok(Bundle { packed, files: files.len() });
        }
        each /= 2;
        ensure!(each > 0, "the bundle has {} bytes and cannot be made smaller than {most}", packed.len());
    }
}

fn archive(files: &[File], clock: u64, each: usize) -> anyhow::Result<Vec<u8>> {
    let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::default()));
    for File { name, text } in files {
        let text = end_of(text, each);
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o600);
        header.set_mtime(clock);
        tar.append_data(&mut header, name, text.as_bytes()).with_context(|| format!("cannot pack {name}"))?;
    }
    let mut packed = tar.into_inner().context("cannot pack the bundle")?;
    packed.flush().context("cannot pack the bundle")?;
    packed.finish().context("cannot pack the bundle")
}

/// The last lines of a text, at most so many bytes, with a line that says what is left out.
fn end_of(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let from = text.ceil_char_boundary(text.len() - most);
    // A line is not begun in its middle, if there is another.
    let from = text[from..].find('\n').map_or(from, |end| from + end + 1);
    format!("[the first {from} bytes are left out]\n{}", &text[from..])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::Read as _;

    use flate2::read::GzDecoder;
    use proptest::prelude::*;

    use super::*;

    fn unpacked(packed: &[u8]) -> BTreeMap<String, String> {
        let mut archive = tar::Archive::new(GzDecoder::new(packed));
        let mut files = BTreeMap::new();
        for entry in archive.entries().unwrap() {
            let (mut entry, mut text) = (entry.unwrap(), String::new());
            let name = entry.path().unwrap().display().to_string();
            entry.read_to_string(&mut text).unwrap();
            files.insert(name, text);
        }
        files
    }

    fn file(name: &str, text: &str) -> File {
        File { name: name.to_owned(), text: text.to_owned() }
    }

    #[test]
    fn an_archive_holds_what_was_collected() {
        let files = [file("logs/net.log", "one\ntwo\n"), file("empty", "")];
        let bundle = pack(&files, 1_000_000_000, 100, 10_000).unwrap();
        let found = unpacked(&bundle.packed);
        assert_eq!((found["logs/net.log"].as_str(), found["empty"].as_str()), ("one\ntwo\n", ""));
        assert_eq!((bundle.files, found.len()), (2, 2));
    }

    #[test]
    fn of_what_is_too_much_the_newest_lines_stay() {
        assert_eq!(end_of("one\ntwo\nthree\n", 11), "[the first 4 bytes are left out]\ntwo\nthree\n");
        assert_eq!(end_of("äöü", 3), "[the first 4 bytes are left out]\nü");
        assert_eq!(end_of("one", 3), "one");
        // Text that hardly packs.
        let noise: String = (0..3000_u32).map(|n| wire::digest::sha256_hex(&n.to_le_bytes())).collect();
        let bundle = pack(&[file("noise", &noise), file("small", "whole")], 0, 1_000_000, 20_000).unwrap();
        assert!(bundle.packed.len() <= 20_000);
        let found = unpacked(&bundle.packed);
        assert!(found["noise"].starts_with("[the first ") && noise.ends_with(&found["noise"][40..]));
        assert_eq!(found["small"], "whole");
        assert!(pack(&[file("x", "x")], 0, 10, 10).is_err(), "it cannot be as small as that");
    }

    #[test]
    fn a_machine_without_a_supervisor_gives_what_it_has() {
        let found = unpacked(&collect().unwrap().packed);
        assert!(found["proc/meminfo"].contains("MemTotal") && found["inventory.json"].contains("stable"));
        let about: serde_json::Value = serde_json::from_str(&found["bundle.json"]).unwrap();
        let missing = about["missing"].as_array().unwrap();
        assert!(missing.iter().any(|m| m["file"] == "status.txt" && m["why"].is_string()), "{about}");
        assert!(found.keys().all(|name| !name.contains("key") && !name.contains("seq")), "{:?}", found.keys());
    }

    proptest! {
        #[test]
        fn any_text_is_cut_between_letters(text in any::<String>(), most in 0usize..50) {
            let end = end_of(&text, most);
            prop_assert!(end == text || end.starts_with("[the first "));
        }

        #[test]
        fn any_name_is_a_plain_file(name in any::<String>()) {
            let plain = plain(&name);
            prop_assert!(!plain.contains('/') && !plain.contains('.'));
        }
    }
}
