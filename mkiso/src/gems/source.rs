//! Where gems come from: a gem server with `info/NAME` (the compact index, with a SHA-256 of each gem), or a folder of
//! `*.gem` files.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail, ensure};
use tce_mirror::fetch::Mirror;

use super::list::Wanted;
use super::spec::{self, RUBY, Spec};
use super::version::Version;
use crate::cache::sha256;
use crate::limits::MAX_GEM;

/// A source.
#[derive(Debug)]
pub enum Source {
    /// A gem server.
    Server(Mirror),
    /// The gems of a folder, read.
    Folder(PathBuf, Vec<(Spec, Vec<u8>)>),
}

/// A gem that a source has.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// Its version.
    pub version: Version,
    /// What it needs.
    pub needs: Vec<Wanted>,
    /// SHA-256 in hexadecimal digits, as the source gives it.
    pub sha256: String,
}

impl Source {
    /// A source by its URL or its folder.
    ///
    /// # Errors
    /// It is neither, or a gem in the folder is damaged.
    pub fn open(place: &str) -> Result<Self> {
        if place.starts_with("http://") || place.starts_with("https://") {
            return Ok(Self::Server(Mirror::new(place)?));
        }
        let folder = PathBuf::from(place);
        let shown =
            || format!("cannot read the folder of gems {place}; a gem server is named by its http or https URL");
        let mut gems = Vec::new();
        for entry in fs::read_dir(&folder).with_context(shown)? {
            let path = entry.with_context(shown)?.path();
            if path.extension().is_some_and(|x| x == "gem") {
                let bytes = crate::input::read_up_to(&path, "gem", MAX_GEM)?;
                gems.push((spec::read(&bytes).with_context(|| path.display().to_string())?, bytes));
            }
        }
        Ok(Self::Folder(folder, gems))
    }

    /// The gems of a name that run on every platform; none where the source has no gem of that name.
    ///
    /// # Errors
    /// A server cannot be reached or gives no list that can be understood.
    pub fn candidates(&self, name: &str) -> Result<Vec<Candidate>> {
        match self {
            Self::Server(mirror) => {
                let path = format!("info/{name}");
                let Some(text) = mirror.text(&path)? else { return Ok(Vec::new()) };
                info(&text).with_context(|| mirror.url(&path))
            }
            Self::Folder(_, gems) => {
                let ours = gems.iter().filter(|(spec, _)| spec.name == name && spec.platform == RUBY);
                let candidate = |(spec, bytes): &(Spec, Vec<u8>)| Candidate {
                    version: spec.version.clone(),
                    needs: spec.needs.clone(),
                    sha256: sha256(bytes),
                };
                Ok(ours.map(candidate).collect())
            }
        }
    }

    /// A gem's bytes, verified by the digest that the source gave for it.
    ///
    /// # Errors
    /// The source has it not, or other bytes.
    pub fn take(&self, name: &str, candidate: &Candidate) -> Result<Vec<u8>> {
        let path = format!("gems/{name}-{}.gem", candidate.version);
        let (from, bytes) = match self {
            Self::Server(mirror) => (mirror.url(&path), mirror.bytes(&path, MAX_GEM)?),
            Self::Folder(folder, gems) => {
                let same = |(spec, _): &&(Spec, Vec<u8>)| spec.name == name && spec.version == candidate.version;
                (folder.display().to_string(), gems.iter().find(same).map(|(_, bytes)| bytes.clone()))
            }
        };
        let Some(bytes) = bytes else { bail!("{from}: the server lists the gem, but does not have it") };
        let found = sha256(&bytes);
        ensure!(
            found == candidate.sha256,
            "{from}: {} bytes with SHA-256 {found}, while the server's index says {}. The server is damaged or altered; \
             name another one with --gem-source",
            bytes.len(),
            candidate.sha256
        );
        Ok(bytes)
    }
}

/// Lines `VERSION[-PLATFORM] NEED:CONDITIONS,…|checksum:SHA256,ruby:CONDITIONS` of an `info/NAME`. Gems for one platform
/// only are left out.
///
/// # Errors
/// The line that is wrong.
pub fn info(text: &str) -> Result<Vec<Candidate>> {
    let mut candidates = Vec::new();
    let lines = text.lines().enumerate().map(|(at, line)| (at + 1, line.trim()));
    for (number, line) in lines.filter(|(_, line)| !line.is_empty() && *line != "---") {
        if let Some(candidate) = one(line).with_context(|| format!("line {number} is not understood: {line:.60?}"))? {
            candidates.push(candidate);
        }
    }
    Ok(candidates)
}

fn one(line: &str) -> Result<Option<Candidate>> {
    let (version, rest) = line.split_once(' ').context("it has no list of needs")?;
    if version.contains('-') {
        return Ok(None);
    }
    let (needs, about) = rest.split_once('|').context("it has no digest")?;
    let sha256 = about.split(',').find_map(|word| word.strip_prefix("checksum:")).context("it has no digest")?;
    ensure!(sha256.len() == 64 && sha256.bytes().all(|b| b.is_ascii_hexdigit()), "its digest is {sha256:.70?}");
    let mut wanted = Vec::new();
    for need in needs.split(',').map(str::trim).filter(|need| !need.is_empty()) {
        let (name, conditions) = need.split_once(':').unwrap_or((need, ""));
        ensure!(wire::gems::is_name(name), "{name:.60?} is no gem");
        wanted.push(Wanted::new(name, &conditions.replace('&', ", "))?);
    }
    Ok(Some(Candidate { version: Version::parse(version)?, needs: wanted, sha256: sha256.to_ascii_lowercase() }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lines_of_a_compact_index() {
        let digest = "ab".repeat(32);
        let text = format!(
            "---\n1.0 |checksum:{digest}\n1.2.0 b:>= 1.0.1&~> 1.0,c:>= 0|checksum:{digest},ruby:>= 2.0,rubygems:> 1\n\
             1.2.0-java b:= 1|checksum:{digest}\n"
        );
        let found = info(&text).unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!(found[1].needs[0].requirement.to_string(), ">= 1.0.1, ~> 1.0");
        for bad in
            ["1.0", "1.0 |ruby:> 1", "x |checksum:ab", "<html> |checksum:", &format!("1 ../x:> 1|checksum:{digest}")]
        {
            assert!(format!("{:#}", info(bad).unwrap_err()).contains("line 1"), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_index_is_read_or_refused(text in "\\PC{0,80}") {
            let _ = info(&text);
        }
    }
}
