//! Copies extensions with all that they depend on from Tiny Core mirrors into a folder that can be served as a mirror
//! itself: `RELEASE/ARCH/tcz/NAME.tcz` with `.dep`, `.md5.txt`, `.info` and `.list` beside it.
//!
//! Each extension comes from one mirror with all its files: mirrors are seldom at the same state.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail, ensure};

use crate::checksum;
use crate::fetch::{self, Allowance, Asked, Mirror, Verified};
use crate::limits::{MAX_CLOSURE, MAX_EXTENSION};
use crate::plan;

/// Which repository of a mirror.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    /// Tiny Core's release, such as `17.x`.
    pub release: String,
    /// `x86_64` or `x86`.
    pub arch: String,
    /// Kernel's release, for `KERNEL` in names, such as `6.18.2-tinycore64`.
    pub kernel: String,
}

impl Repository {
    /// Folder of the extensions on a mirror, and in a copy.
    #[must_use]
    pub fn folder(&self) -> String {
        format!("{}/{}/tcz", self.release, self.arch)
    }
}

/// What a copy has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Copy {
    /// All extensions, each behind those that it depends on.
    pub order: Vec<String>,
    /// What is known of each that is there.
    pub files: BTreeMap<String, Verified>,
    /// Names that no mirror has.
    pub missing: BTreeMap<String, Missing>,
}

/// An extension that no mirror has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Missing {
    /// The extension that asks for it; none where it was wanted itself.
    pub needed_by: Option<String>,
    /// Mirrors that may have it and gave no answer, or a wrong one: a reason each.
    pub unsure: Vec<String>,
}

/// Brings `wanted` and all that they depend on into `out`. What is there and right stays. `said` gets one line for each,
/// and a warning for each mirror that was passed over.
///
/// # Errors
/// No mirror gives an extension rightly: one that lies, one that cannot be verified, a broken `.dep`, each with its URL.
/// What is missing on all mirrors is no error but told in [`Copy::missing`].
pub fn run(
    mirrors: &[Mirror],
    repository: &Repository,
    wanted: &[String],
    out: &Path,
    mut said: impl FnMut(&str),
) -> Result<Copy> {
    let folder = repository.folder();
    let place = out.join(&folder);
    fetch::folder(&place)?;
    closure(wanted, |name| {
        let one = One { folder: &folder, name, place: place.join(name) };
        let asked = fetch::first(mirrors, |mirror| one.take(mirror, &repository.kernel))?;
        if let Some((verified, _)) = &asked.found {
            for reason in &asked.passed_over {
                said(&format!("warning: {reason}; another mirror has it"));
            }
            let fetched = if verified.fetched { "fetched" } else { "unchanged" };
            said(&format!("{name}: {} bytes, {fetched}", verified.size));
        }
        Ok(asked)
    })
}

/// Hashes `wanted` and all that they depend on, as one mirror has them, and keeps nothing.
///
/// # Errors
/// As for [`run`]; the allowance is spent.
pub fn hash(
    mirror: &Mirror,
    repository: &Repository,
    wanted: &[String],
    allowance: &mut Allowance<'_>,
) -> Result<Copy> {
    let folder = repository.folder();
    closure(wanted, |name| {
        allowance.spend(0)?;
        let path = format!("{folder}/{name}");
        let dep = format!("{path}.dep");
        let depends = match mirror.text_within(&dep, allowance)? {
            Some(text) => dependencies(&text, &repository.kernel, &mirror.url(&dep))?,
            None => Vec::new(),
        };
        let found = mirror.hash(&path, allowance)?.map(|verified| (verified, depends));
        Ok(Asked { found, passed_over: Vec::new() })
    })
}

/// Takes `wanted`, then all that they depend on: what was taken tells what that is.
fn closure(wanted: &[String], mut take: impl FnMut(&str) -> Result<Asked<(Verified, Vec<String>)>>) -> Result<Copy> {
    let mut copy = Copy::default();
    let mut needs: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut open: Vec<(String, Option<String>)> = wanted.iter().rev().map(|name| (name.clone(), None)).collect();
    while let Some((name, by)) = open.pop() {
        if needs.contains_key(&name) {
            continue;
        }
        ensure!(needs.len() < MAX_CLOSURE, "more than {MAX_CLOSURE} extensions: {name} is one too many");
        let asked = take(&name)?;
        let Some((verified, depends)) = asked.found else {
            copy.missing.insert(name.clone(), Missing { needed_by: by, unsure: asked.passed_over });
            needs.insert(name, Vec::new());
            continue;
        };
        copy.files.insert(name.clone(), verified);
        open.extend(depends.iter().rev().map(|need| (need.clone(), Some(name.clone()))));
        needs.insert(name, depends);
    }
    copy.order = plan::order(wanted, |name| needs.get(name).cloned().unwrap_or_default());
    copy.order.retain(|name| copy.files.contains_key(name));
    Ok(copy)
}

/// One extension.
struct One<'a> {
    folder: &'a str,
    name: &'a str,
    place: PathBuf,
}

impl One<'_> {
    /// Takes it with all its files from a mirror; gives what it depends on. Nothing is written before all of it is there
    /// and sound.
    fn take(&self, mirror: &Mirror, kernel: &str) -> Result<Option<(Verified, Vec<String>)>> {
        let path = format!("{}/{}", self.folder, self.name);
        let mut beside = Vec::new();
        for kind in ["info", "list", "dep"] {
            beside.push((kind, mirror.text(&format!("{path}.{kind}"))?));
        }
        let depends = match &beside[2].1 {
            Some(text) => dependencies(text, kernel, &mirror.url(&format!("{path}.dep")))?,
            None => Vec::new(),
        };
        let Some(verified) = mirror.file(&path, None, MAX_EXTENSION, &self.place)? else { return Ok(None) };
        beside.push(("md5.txt", Some(format!("{}  {}\n", checksum::hex(&verified.md5), self.name))));
        for (kind, text) in beside {
            let to = self.place.with_file_name(format!("{}.{kind}", self.name));
            match text {
                Some(text) => fetch::place(&to, text.as_bytes())?,
                // One that the mirror has not (any more) must not stay from an earlier copy.
                None => drop(std::fs::remove_file(&to)),
            }
        }
        Ok(Some((verified, depends)))
    }
}

/// Names in a `.dep`. Unlike at boot, where what is there is loaded, a line that is no name ends the copy: it would be
/// short of an extension, and nobody would know.
fn dependencies(text: &str, kernel: &str, url: &str) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let bare = line.split('#').next().unwrap_or_default().trim();
        if bare.is_empty() {
            continue;
        }
        let Some(name) = plan::name(bare, kernel) else {
            bail!("{url}: line {} is no extension's name: {bare:.60?}", number + 1);
        };
        names.push(name);
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dep_as_mirrors_have_it() {
        let text = "ncurses.tcz\r\n\r\n readline.tcz \nfilesystems-KERNEL.tcz\n# remark\nbash\n";
        let names = dependencies(text, "6.18.2-tinycore64", "u").unwrap();
        assert_eq!(names, ["ncurses.tcz", "readline.tcz", "filesystems-6.18.2-tinycore64.tcz", "bash.tcz"]);
        let error = dependencies("a.tcz\n../../etc/shadow\n", "k", "http://m/a.tcz.dep").unwrap_err().to_string();
        assert!(error.contains("http://m/a.tcz.dep: line 2"), "{error}");
    }
}
