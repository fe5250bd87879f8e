//! The image's gem mirror: the gems of `gem-list/gem.list` with all that they need, from a gem server or a folder,
//! verified, laid out as the agent's mirror on port 2158 serves it. What was taken is pinned in `image.lock`
//! ([`pins`]). An empty list makes no mirror. No Ruby is needed or run.

mod aliases;
pub mod index;
pub mod list;
mod marshal;
pub mod pins;
pub mod source;
pub mod spec;
pub mod version;

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};

use crate::base::lock;
use crate::build::manifest::Part;
use crate::build::place::Item;
use crate::cache::sha256;
use crate::limits::MAX_GEMS;
use list::Wanted;
use pins::Pins;
use source::{Candidate, Source};
use spec::Spec;

/// The list, beside `image.toml`.
pub const LIST: &str = "gem-list/gem.list";
/// Where the agent finds the mirror, as in the original image.
const FOLDER: &str = "tmp/gem-mirror";

/// A gem that was taken.
#[derive(Debug, Clone)]
pub struct Gem {
    /// What it says of itself.
    pub spec: Spec,
    /// The file.
    pub bytes: Vec<u8>,
    /// SHA-256 in hexadecimal digits.
    pub sha256: String,
}

impl Gem {
    fn pin(&self) -> lock::Gem {
        let Spec { name, version, .. } = &self.spec;
        lock::Gem { name: name.clone(), version: version.text().to_owned(), sha256: self.sha256.clone() }
    }
}

/// A mirror for an image.
#[derive(Debug, Default)]
pub struct Gems {
    /// Files of the image; all that is large in them is compressed.
    pub items: Vec<Item>,
    /// The gems as inputs.
    pub parts: Vec<Part>,
    /// The gems as `image.lock` has them.
    pub taken: Vec<lock::Gem>,
}

/// Makes the mirror of the gems of the list at `path`, taken from the folder or server `from`. Of a gem that is pinned, that
/// version is taken as long as the list admits it.
///
/// # Errors
/// The list is wrong; it has gems and nobody says where from; a gem is missing, damaged, another one than the pinned one, or
/// does not fit the others.
pub fn mirror(path: &Path, from: Option<&str>, pins: &Pins) -> Result<Gems> {
    let shown = || path.display().to_string();
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Gems::default()),
        Err(error) => return Err(error).with_context(shown),
    };
    let wanted = list::parse(&text).with_context(shown)?;
    if wanted.is_empty() {
        return Ok(Gems::default());
    }
    let Some(from) = from else {
        bail!("{} lists gems: name the gem server or folder that they come from with --gem-source", path.display());
    };
    let source = Source::open(from)?;
    let gems = take(&source, &closure(&wanted, pins, |name| source.candidates(name))?)?;
    let files = index::files(&gems)?.into_iter().chain([("gems/gem.list".to_owned(), text.into_bytes())]);
    let items = files.map(|(file, bytes)| Item::file(&format!("{FOLDER}/{file}"), 0o644, bytes)).collect();
    // Where a folder lies is nothing about the gems, and the same image shall come of them wherever it does.
    let origin = if Path::new(from).is_dir() { "folder of gems" } else { from };
    let part = |gem: &Gem| Part::new(format!("{}.gem", gem.spec.full_name()), origin, &gem.bytes);
    Ok(Gems { items, parts: gems.iter().map(part).collect(), taken: gems.iter().map(Gem::pin).collect() })
}

/// All gems that are wanted with all that they need, one version of each: the pinned one, or the newest, that whoever asked
/// first can take.
///
/// # Errors
/// The source lacks a gem or has another one than the pinned one, or two ask for different versions of one.
fn closure(
    wanted: &[Wanted],
    pins: &Pins,
    mut candidates: impl FnMut(&str) -> Result<Vec<Candidate>>,
) -> Result<BTreeMap<String, Candidate>> {
    let mut chosen: BTreeMap<String, (Candidate, String)> = BTreeMap::new();
    let mut open: VecDeque<(Wanted, String)> = wanted.iter().map(|gem| (gem.clone(), LIST.to_owned())).collect();
    while let Some((gem, by)) = open.pop_front() {
        let Wanted { name, requirement } = gem;
        if let Some((taken, first)) = chosen.get(&name) {
            ensure!(
                requirement.takes(&taken.version),
                "{by} needs {name} {requirement}, but {} was taken for {first}: say in {LIST} which version both can have",
                taken.version
            );
            continue;
        }
        ensure!(chosen.len() < MAX_GEMS, "more than {MAX_GEMS} gems: {name} is one too many");
        let all = candidates(&name).with_context(|| format!("{name}, which {by} asks for"))?;
        let fits = |c: &&Candidate| {
            requirement.takes(&c.version) && (requirement.is_prerelease() || !c.version.is_prerelease())
        };
        let versions: Vec<&str> = all.iter().map(|candidate| candidate.version.text()).collect();
        let has = if versions.is_empty() { "no gem of that name".to_owned() } else { versions.join(", ") };
        let best = match pins.of(&name, &requirement) {
            Some(pin) => pins.candidate(pin, &all, &has)?,
            None => all
                .iter()
                .filter(fits)
                .max_by(|one, other| one.version.cmp(&other.version))
                .with_context(|| format!("{by} asks for the gem {name} {requirement}, and the source has {has}"))?,
        };
        let asker = format!("{name} {}", best.version);
        open.extend(best.needs.iter().map(|need| (need.clone(), asker.clone())));
        chosen.insert(name, (best.clone(), by));
    }
    Ok(chosen.into_iter().map(|(name, (candidate, _))| (name, candidate)).collect())
}

/// The chosen gems' bytes, each with what it says of itself.
fn take(source: &Source, chosen: &BTreeMap<String, Candidate>) -> Result<Vec<Gem>> {
    let mut gems = Vec::new();
    for (name, candidate) in chosen {
        let bytes = source.take(name, candidate)?;
        let shown = || format!("the gem {name} {}", candidate.version);
        let spec = spec::read(&bytes).with_context(shown)?;
        ensure!(
            spec.name == *name && spec.version == candidate.version,
            "{} says of itself that it is {}",
            shown(),
            spec.full_name()
        );
        gems.push(Gem { sha256: sha256(&bytes), spec, bytes });
    }
    Ok(gems)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates(name: &str) -> Vec<Candidate> {
        // Name, version, and what it needs.
        let all = ["a 1.0 b ~> 1.0", "a 2.0.rc1", "b 1.0", "b 1.5 a >= 1", "b 2.0", "c 1.0 b >= 2"];
        let ours = all.iter().filter_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        ours.map(|line| {
            let (version, need) = line.split_once(' ').unwrap_or((line, ""));
            Candidate {
                version: version::Version::parse(version).unwrap(),
                needs: list::parse(need).unwrap(),
                sha256: String::new(),
            }
        })
        .collect()
    }

    fn chosen(list: &str) -> Result<String> {
        pinned(list, &Pins::default())
    }

    fn pinned(list: &str, pins: &Pins) -> Result<String> {
        let chosen = closure(&list::parse(list)?, pins, |name| Ok(candidates(name)))?;
        Ok(chosen.iter().map(|(name, c)| format!("{name} {}", c.version)).collect::<Vec<_>>().join(", "))
    }

    #[test]
    fn the_newest_that_fits_comes_with_what_it_needs_and_rings_end() {
        assert_eq!(chosen("a").unwrap(), "a 1.0, b 1.5");
        assert_eq!(chosen("a >= 2.0.rc1").unwrap(), "a 2.0.rc1");
        assert_eq!(chosen("b 1.0\na\n").unwrap(), "a 1.0, b 1.0");
    }

    #[test]
    fn a_pinned_version_is_kept_while_it_is_admitted_and_there_and_the_same() {
        let pin = |version: &str, sha256: &str| Pins {
            gems: vec![lock::Gem { name: "b".to_owned(), version: version.to_owned(), sha256: sha256.to_owned() }],
            update: "mkiso gems --update-lock".to_owned(),
        };
        assert_eq!(chosen("b").unwrap(), "b 2.0");
        assert_eq!(pinned("b", &pin("1.5", "")).unwrap(), "a 1.0, b 1.5");
        assert_eq!(pinned("b >= 2", &pin("1.5", "")).unwrap(), "b 2.0");
        for (version, sha256, says) in [("1.7", "", "1.0, 1.5, 2.0"), ("2.0", "ab", "image.lock says ab")] {
            let said = format!("{:#}", pinned("b", &pin(version, sha256)).unwrap_err());
            let named = said.contains(&format!("the gem b {version} "));
            assert!(named && said.contains(says) && said.contains("`mkiso gems --update-lock`"), "{said}");
        }
    }

    #[test]
    fn what_cannot_be_is_said_with_who_asks() {
        let error = |list: &str| format!("{:#}", chosen(list).unwrap_err());
        assert!(error("a\nc\n").contains("c 1.0 needs b >= 2"), "{}", error("a\nc\n"));
        assert!(error("gone").contains("gem-list/gem.list asks for the gem gone") && error("gone").contains("no gem"));
        assert!(error("b > 2").contains("1.0, 1.5, 2.0"), "{}", error("b > 2"));
    }
}
