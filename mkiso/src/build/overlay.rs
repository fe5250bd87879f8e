//! `rootfs-overlay/`: files as they will appear under `/` in the image. `MANIFEST.toml` in it says what the folder
//! itself cannot: modes, links, empty folders, in which variants a path is, and what may replace something of another
//! type in the base.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;
use walkdir::WalkDir;

use super::place::{Item, Kind};
use super::variant::Variant;

/// Name of the manifest within the overlay.
const MANIFEST: &str = "MANIFEST.toml";
/// Mode of files that the manifest does not name.
const FILE_MODE: u32 = 0o644;
/// Mode of folders that the manifest does not name.
const DIR_MODE: u32 = 0o755;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    #[serde(default)]
    path: BTreeMap<String, Rule>,
}

/// What the manifest says of one path.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Rule {
    /// Permissions in octal digits.
    mode: Option<String>,
    /// Target, for a symbolic link.
    link: Option<String>,
    /// True for a folder that holds nothing.
    dir: bool,
    /// True where it may replace something of another type in the base.
    replace: bool,
    /// Variants that have it; all, if none is named.
    variants: Vec<Variant>,
}

/// The items of the overlay for `variant`, in order of their paths.
///
/// # Errors
/// The overlay or its manifest cannot be read, or they contradict each other.
pub fn read(folder: &Path, variant: Variant) -> Result<Vec<Item>> {
    let file = folder.join(MANIFEST);
    let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let manifest: Manifest = toml::from_str(&text).with_context(|| format!("{} is wrong", file.display()))?;
    let mut items = files(folder, &manifest, variant)?;
    for (path, rule) in &manifest.path {
        let there = folder.join(path).symlink_metadata().is_ok();
        let kind = match (&rule.link, rule.dir) {
            (Some(target), false) => Kind::Link(target.clone()),
            (None, true) => Kind::Dir,
            (None, false) if there => continue,
            (None, false) => bail!("{}: {path} is not in the folder", file.display()),
            (Some(_), true) => bail!("{}: {path} cannot be a link and a folder", file.display()),
        };
        ensure!(!there, "{}: {path} is in the folder already", file.display());
        if rule.applies(variant) {
            let default = if kind == Kind::Dir { DIR_MODE } else { FILE_MODE };
            items.push(Item { mode: rule.mode(path, default)?, path: path.clone(), kind, replace: rule.replace });
        }
    }
    items.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(items)
}

fn files(folder: &Path, manifest: &Manifest, variant: Variant) -> Result<Vec<Item>> {
    let mut items = Vec::new();
    for entry in WalkDir::new(folder).min_depth(1).sort_by_file_name() {
        let entry = entry.with_context(|| format!("cannot read {}", folder.display()))?;
        let relative = entry.path().strip_prefix(folder)?;
        let Some(path) = relative.to_str() else { bail!("{} has a name that is no UTF-8", entry.path().display()) };
        let rule = manifest.path.get(path).cloned().unwrap_or_default();
        if path == MANIFEST || !rule.applies(variant) {
            continue;
        }
        let (kind, default) = if entry.file_type().is_dir() {
            // Folders come with the files in them, so that none is there for a variant that has none of its files.
            continue;
        } else if entry.file_type().is_file() {
            let bytes = fs::read(entry.path()).with_context(|| format!("cannot read {}", entry.path().display()))?;
            (Kind::File(bytes), FILE_MODE)
        } else {
            bail!("{} is neither file nor folder; links are written in {MANIFEST}", entry.path().display());
        };
        items.push(Item { mode: rule.mode(path, default)?, path: path.to_owned(), kind, replace: rule.replace });
    }
    Ok(items)
}

impl Rule {
    fn applies(&self, variant: Variant) -> bool {
        self.variants.is_empty() || self.variants.contains(&variant)
    }

    fn mode(&self, path: &str, default: u32) -> Result<u32> {
        let Some(text) = &self.mode else { return Ok(default) };
        let mode = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o7777);
        mode.with_context(|| format!("{MANIFEST}: {path} has mode {text:?}; write octal digits such as \"0755\""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overlay(manifest: &str, files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, file).unwrap();
        }
        fs::write(folder.path().join(MANIFEST), manifest).unwrap();
        folder
    }

    #[test]
    fn modes_links_folders_and_variants_are_as_the_manifest_says() {
        let folder = overlay(
            "[path.\"etc/shadow\"]\nmode = \"0600\"\nreplace = true\n\
             [path.\"etc/ssh\"]\nvariants = [\"debug\"]\nmode = \"0755\"\n\
             [path.\"var/empty\"]\ndir = true\nmode = \"0700\"\n\
             [path.\"bin/x\"]\nlink = \"../sbin/y\"\n",
            &["etc/shadow", "etc/ssh", "etc/motd"],
        );
        let items = read(folder.path(), Variant::Production).unwrap();
        let got: Vec<_> = items.iter().map(|item| (item.path.as_str(), item.mode, item.replace)).collect();
        let want = [
            ("bin/x", FILE_MODE, false),
            ("etc/motd", FILE_MODE, false),
            ("etc/shadow", 0o600, true),
            ("var/empty", 0o700, false),
        ];
        assert_eq!(got, want);
        assert_eq!(items[0].kind, Kind::Link("../sbin/y".into()));
        assert_eq!(items[2].kind, Kind::File(b"etc/shadow".to_vec()));
        assert_eq!(read(folder.path(), Variant::Debug).unwrap().len(), 5);
    }

    #[test]
    fn a_manifest_that_contradicts_the_folder_is_refused() {
        for (manifest, want) in [
            ("[path.\"etc/gone\"]\nmode = \"0600\"\n", "not in the folder"),
            ("[path.\"etc/motd\"]\nlink = \"x\"\n", "already"),
            ("[path.\"etc/motd\"]\nmode = \"rwx\"\n", "octal"),
            ("[path.\"etc/motd\"]\nmod = \"0600\"\n", "unknown field"),
        ] {
            let folder = overlay(manifest, &["etc/motd"]);
            let error = format!("{:#}", read(folder.path(), Variant::Debug).unwrap_err());
            assert!(error.contains(want), "{manifest}: {error}");
        }
    }
}
