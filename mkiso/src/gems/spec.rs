//! Reads a gem: a tar of `metadata.gz` (YAML), `data.tar.gz` and `checksums.yaml.gz`. Bytes that nobody vouches for;
//! sizes are bounded. No Ruby is run.

use std::collections::BTreeMap;
use std::io::Read;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use flate2::read::GzDecoder;
use yaml_rust2::{Yaml, YamlLoader};

use super::aliases;
use super::list::Wanted;
use super::version::{Requirement, Version};
use crate::cache::sha256;
use crate::limits::MAX_GEM_METADATA;

/// The platform of gems that run everywhere.
pub const RUBY: &str = "ruby";
const METADATA: &str = "metadata.gz";
const CHECKSUMS: &str = "checksums.yaml.gz";

/// What a gem says of itself.
#[derive(Debug, Clone)]
pub struct Spec {
    /// Name.
    pub name: String,
    /// Version.
    pub version: Version,
    /// `ruby`, or the machine that it is made for.
    pub platform: String,
    /// Gems that it needs to run.
    pub needs: Vec<Wanted>,
    /// Rubies that it runs on.
    pub ruby: Requirement,
    /// Versions of RubyGems that can install it.
    pub rubygems: Requirement,
    /// Its other texts by name: `summary`, `description`, `homepage`, `date`, `rubygems_version`.
    pub texts: BTreeMap<&'static str, String>,
    /// Who wrote it.
    pub authors: Vec<String>,
    /// Its licences.
    pub licenses: Vec<String>,
}

/// Texts that are kept.
const TEXTS: [&str; 5] = ["summary", "description", "homepage", "date", "rubygems_version"];

impl Spec {
    /// `NAME-VERSION`, with the platform where it is not `ruby`: a gem's file name without `.gem`.
    #[must_use]
    pub fn full_name(&self) -> String {
        let platform = if self.platform == RUBY { String::new() } else { format!("-{}", self.platform) };
        format!("{}-{}{platform}", self.name, self.version)
    }
}

/// Reads a gem and checks the checksums that it carries.
///
/// # Errors
/// What is missing, damaged or not allowed.
pub fn read(gem: &[u8]) -> Result<Spec> {
    let mut members: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let mut archive = tar::Archive::new(gem);
    for entry in archive.entries().context("it is no gem")? {
        let mut entry = entry.context("it is no gem, or is cut short")?;
        let name = entry.path()?.to_string_lossy().into_owned();
        // The header of a sparse file may stand for any number of zeros.
        ensure!(entry.header().entry_type().is_file(), "{name:.60?} is no plain file");
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).with_context(|| format!("{name} is cut short"))?;
        members.insert(name, bytes);
    }
    let metadata = members.get(METADATA).ok_or_else(|| anyhow!("it is no gem: it has no {METADATA}"))?;
    ensure!(members.contains_key("data.tar.gz"), "it is no gem, or is cut short: it has no data.tar.gz");
    if let Some(sums) = members.get(CHECKSUMS) {
        check(&yaml(sums).context(CHECKSUMS)?, &members)?;
    }
    spec(&yaml(metadata).context(METADATA)?).context(METADATA)
}

/// Compares the members of a gem with the digests that it carries.
fn check(sums: &Yaml, members: &BTreeMap<String, Vec<u8>>) -> Result<()> {
    let Some(sums) = sums["SHA256"].as_hash() else { return Ok(()) };
    for (name, digest) in sums.iter().filter_map(|(name, digest)| Some((name.as_str()?, digest.as_str()?))) {
        let bytes = members.get(name).ok_or_else(|| anyhow!("{name} is missing, of which it has a digest"))?;
        ensure!(sha256(bytes) == digest, "{name} is damaged: its SHA-256 is not what {CHECKSUMS} says");
    }
    Ok(())
}

fn yaml(gz: &[u8]) -> Result<Yaml> {
    let mut text = String::new();
    let read = GzDecoder::new(gz).take(MAX_GEM_METADATA + 1).read_to_string(&mut text);
    let read = read.context("it is damaged")?;
    ensure!(read as u64 <= MAX_GEM_METADATA, "it has more than {MAX_GEM_METADATA} bytes");
    parsed(&text)
}

fn parsed(text: &str) -> Result<Yaml> {
    // The reader goes one call deeper for each level.
    ensure!(depth(text) <= MAX_DEPTH, "it is nested more than {MAX_DEPTH} deep");
    aliases::check(text, MAX_GEM_METADATA)?;
    YamlLoader::load_from_str(text)?.into_iter().next().ok_or_else(|| anyhow!("it is empty"))
}

/// Deepest nesting of metadata that is read.
const MAX_DEPTH: usize = 200;

/// An upper bound of a YAML text's nesting.
fn depth(text: &str) -> usize {
    let brackets = text.chars().filter(|c| matches!(c, '[' | '{')).count();
    let indented = |line: &str| line.chars().take_while(|c| " -?:".contains(*c)).count();
    brackets + text.lines().map(indented).max().unwrap_or_default()
}

fn spec(yaml: &Yaml) -> Result<Spec> {
    let name = text(&yaml["name"]).unwrap_or_default();
    let version = text(&yaml["version"]["version"]).ok_or_else(|| anyhow!("it gives no version"))?;
    let wanted = Wanted::new(&name, "")?;
    let platform = text(&yaml["platform"]).unwrap_or_else(|| RUBY.to_owned());
    ensure!(wire::gems::is_name(&platform), "{platform:.60?} is no platform");
    let mut needs = Vec::new();
    for dependency in yaml["dependencies"].as_vec().into_iter().flatten() {
        if text(&dependency["type"]).is_some_and(|kind| kind.trim_start_matches(':') != "runtime") {
            continue;
        }
        let name = text(&dependency["name"]).unwrap_or_default();
        let mut need = Wanted::new(&name, "")?;
        let conditions = [&dependency["requirement"], &dependency["version_requirements"]];
        if let Some(requirement) = conditions.into_iter().find(|c| !c.is_badvalue() && !c.is_null()) {
            need.requirement = requires(requirement).with_context(|| name.clone())?;
        }
        needs.push(need);
    }
    let list = |key: &str| yaml[key].as_vec().into_iter().flatten().filter_map(text).collect();
    Ok(Spec {
        name: wanted.name,
        version: Version::parse(&version)?,
        platform,
        needs,
        ruby: requires(&yaml["required_ruby_version"])?,
        rubygems: requires(&yaml["required_rubygems_version"])?,
        texts: TEXTS.into_iter().filter_map(|key| Some((key, text(&yaml[key])?))).collect(),
        authors: list("authors"),
        licenses: list("licenses"),
    })
}

/// A requirement as YAML has it: pairs of a comparison and a version.
fn requires(yaml: &Yaml) -> Result<Requirement> {
    let mut conditions = Vec::new();
    for pair in yaml["requirements"].as_vec().into_iter().flatten() {
        let (Some(operator), Some(version)) = (text(&pair[0]), text(&pair[1]["version"])) else {
            bail!("a requirement is no pair of comparison and version");
        };
        conditions.extend(Requirement::parse(&format!("{operator} {version}"))?.0);
    }
    if conditions.is_empty() { Requirement::any() } else { Ok(Requirement(conditions)) }
}

/// A scalar as text, numbers as they are written.
fn text(yaml: &Yaml) -> Option<String> {
    match yaml {
        Yaml::String(text) | Yaml::Real(text) => Some(text.clone()),
        Yaml::Integer(number) => Some(number.to_string()),
        _ => None,
    }
}

/// For the fuzzer: the metadata as text.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(bytes: &[u8]) {
    if let Ok(spec) = parsed(&String::from_utf8_lossy(bytes)).and_then(|yaml| spec(&yaml)) {
        assert!(!spec.full_name().contains('/'));
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::Write as _;

    use proptest::prelude::*;

    use super::*;

    fn gz(text: &str) -> Vec<u8> {
        let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        out.write_all(text.as_bytes()).unwrap();
        out.finish().unwrap()
    }

    /// A gem without Ruby; `needs` are names with a condition each.
    pub(crate) fn gem(name: &str, version: &str, needs: &[(&str, &str)]) -> Vec<u8> {
        let dependencies: String = needs
            .iter()
            .map(|(name, condition)| {
                let (operator, version) = condition.split_once(' ').unwrap();
                format!(
                    "- !ruby/object:Gem::Dependency\n  name: {name}\n  requirement: !ruby/object:Gem::Requirement\n    \
                     requirements:\n    - - \"{operator}\"\n      - !ruby/object:Gem::Version\n        version: '{version}'\n  \
                     type: :runtime\n"
                )
            })
            .collect();
        let metadata = format!(
            "--- !ruby/object:Gem::Specification\nname: {name}\nversion: !ruby/object:Gem::Version\n  version: {version}\n\
             platform: ruby\nauthors:\n- somebody\ndate: 2026-11-22 00:00:00.000000000 Z\ndependencies:\n{dependencies}\
             licenses:\n- MIT\nsummary: The {name}\n"
        );
        let members = [(METADATA, gz(&metadata)), ("data.tar.gz", gz(""))];
        let sums: String = members.iter().map(|(name, bytes)| format!("  {name}: {}\n", sha256(bytes))).collect();
        let mut archive = tar::Builder::new(Vec::new());
        for (name, bytes) in members.into_iter().chain([(CHECKSUMS, gz(&format!("---\nSHA256:\n{sums}")))]) {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o444);
            archive.append_data(&mut header, name, bytes.as_slice()).unwrap();
        }
        archive.into_inner().unwrap()
    }

    #[test]
    fn a_gem_is_read() {
        let spec = read(&gem("a", "1.2.0", &[("b", "~> 1.0")])).unwrap();
        assert_eq!((spec.full_name().as_str(), spec.needs[0].name.as_str()), ("a-1.2.0", "b"));
        assert_eq!(
            (spec.needs[0].requirement.to_string().as_str(), spec.texts["summary"].as_str()),
            ("~> 1.0", "The a")
        );
        assert_eq!((spec.ruby.to_string().as_str(), spec.licenses.as_slice()), (">= 0", ["MIT".to_owned()].as_slice()));
    }

    #[test]
    fn what_is_no_gem_or_means_harm_is_refused() {
        assert!(read(b"<html>").is_err() && read(b"").is_err());
        for (name, version) in [("../x", "1"), ("a", "../1"), ("a/b", "1"), ("", "1")] {
            assert!(read(&gem(name, version, &[])).is_err(), "{name} {version}");
        }
        let whole = gem("a", "1", &[]);
        assert!(read(&whole[..whole.len() / 3]).is_err());
        let mut other = gem("a", "1", &[]);
        // The first byte behind the header of metadata.gz that is not gzip's own.
        other[512 + 9] ^= 1;
        assert!(read(&other).is_err());
        let deep = "[".repeat(100_000);
        assert!(yaml(&gz(&deep)).unwrap_err().to_string().contains("deep"));
    }

    #[test]
    fn a_gem_of_a_sparse_file_is_refused_before_it_fills_the_memory() {
        // One header of 512 bytes stands for two gibibytes of zeros.
        let mut header = tar::Header::new_gnu();
        header.set_path(METADATA).unwrap();
        header.set_entry_type(tar::EntryType::GNUSparse);
        header.as_gnu_mut().unwrap().set_real_size(1 << 31);
        header.as_gnu_mut().unwrap().sparse[0].offset = *b"20000000000\0";
        header.as_gnu_mut().unwrap().sparse[0].numbytes = *b"00000000000\0";
        header.set_size(0);
        header.set_cksum();
        let gem = [header.as_bytes().as_slice(), &[0; 1024]].concat();
        assert!(read(&gem).unwrap_err().to_string().contains("no plain file"));
    }

    #[test]
    fn aliases_that_stand_for_more_than_any_memory_are_refused() {
        let line = |n: usize| format!("l{n}: &l{n} [{}]\n", vec![format!("*l{}", n - 1); 9].join(","));
        let text = format!("l0: &l0 ha\n{}", (1..30).map(line).collect::<String>());
        assert!(yaml(&gz(&text)).unwrap_err().to_string().contains("aliases"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
            let _ = read(&bytes);
        }

        #[test]
        fn any_metadata_is_read_or_refused(text in "([a-z]{1,8}: |- |\\[|&a|\\*a|!x |\n|  |'|\"|1\\.0|\\PC){0,20}") {
            let _ = yaml(&gz(&text)).and_then(|yaml| spec(&yaml));
        }

        #[test]
        fn a_flipped_byte_never_panics(at in 0usize..3000, bit in 0u8..8) {
            let mut bytes = gem("a", "1.0", &[("b", ">= 1")]);
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
            let _ = read(&bytes);
        }
    }
}
