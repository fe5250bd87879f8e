//! A base: any ISO of Tiny Core's layout, read into memory. Its initrd is looked into, never changed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;

use super::modules::{Modules, Place};
use crate::base::tinycore::{RELEASES, version_of};
use crate::cpio::tree::Tree;
use crate::cpio::{TYPE_FILE, TYPE_MASK, initrd};
use crate::iso::Iso;
use crate::limits::MAX_INITRD_UNPACKED;

/// Kernel of a 64-bit Core ISO.
const KERNEL: &str = "boot/vmlinuz64";
/// Kernel of a 32-bit Core ISO.
const KERNEL_32: &str = "boot/vmlinuz";
/// Initrds of a 64-bit Core ISO, the usual one first.
const INITRDS: [&str; 2] = ["boot/corepure64.gz", "boot/core.gz"];
/// Folder of the base's extensions.
const EXTENSIONS: &str = "cde/optional";
/// What `mkiso base` says of a base that it made.
const DESCRIPTION: &str = "mk-base.json";
/// Index files of modules that are read.
const INDEX: [&str; 2] = ["modules.builtin", "modules.dep"];
/// What Tiny Core's own initrd has.
const TINY_CORE: &str = "etc/init.d/tc-config";

/// An opened base.
pub struct Core {
    iso: Iso,
    /// Name, such as `debian 12 (6.1.0-50-amd64)`.
    pub name: String,
    /// Release of the kernel.
    pub release: String,
    /// Path of the kernel in the ISO.
    pub kernel_path: &'static str,
    /// The kernel.
    pub kernel: Vec<u8>,
    /// Path of the initrd in the ISO.
    pub initrd_path: &'static str,
    /// The initrd, bit for bit.
    pub initrd: Vec<u8>,
    /// What the kernel makes of the initrd.
    pub tree: Tree,
    /// Release of Tiny Core, where the base is its own ISO, or is laid out as that and says nothing of itself.
    pub tiny_core: Option<String>,
    index: BTreeMap<&'static str, String>,
    /// Where extensions are that the ISO lacks.
    beside: Option<PathBuf>,
}

/// The part of the description that is read.
#[derive(Debug, Deserialize)]
struct Description {
    name: String,
    #[serde(default)]
    suite: String,
}

impl Core {
    /// Opens a base.
    ///
    /// # Errors
    /// The file is no ISO, no Core ISO, one for 32-bit machines, or damaged.
    pub fn open(path: &Path) -> Result<Self> {
        let mut iso = Iso::open(path)?;
        let kernel = iso.read(KERNEL)?;
        let mut initrd = None;
        for name in INITRDS {
            if initrd.is_none() {
                initrd = iso.read(name)?.map(|bytes| (name, bytes));
            }
        }
        let shown = path.display();
        let (kernel, (initrd_path, initrd)) = match (kernel, initrd) {
            (Some(kernel), Some(initrd)) => (kernel, initrd),
            (None, _) if iso.extent(KERNEL_32)?.is_some() => bail!(
                "{shown} is a 32-bit Core ISO (it has {KERNEL_32}, not {KERNEL}); the agent is an x86_64 program: use \
                 a CorePure64 ISO"
            ),
            _ => bail!(
                "{shown} is no Core ISO: it lacks {KERNEL} or {}; use a CorePure64 ISO, or one that `mkiso base` made",
                INITRDS.join(" and ")
            ),
        };
        let mut tree = Tree::default();
        let mut found = BTreeMap::new();
        initrd::for_each(&initrd, MAX_INITRD_UNPACKED, |member| {
            tree.apply(&member);
            let name = String::from_utf8_lossy(member.name);
            let mut keep = |name| found.insert(name, String::from_utf8_lossy(member.data).into_owned());
            if let Some(index) = INDEX.iter().find(|index| name.rsplit('/').next() == Some(index)) {
                keep(*index);
            } else if let Some(release) = RELEASES.iter().find(|release| name.trim_start_matches("./") == **release) {
                keep(*release);
            }
        })
        .with_context(|| format!("{initrd_path} in {shown} cannot be read"))?;
        let release = release(&tree).with_context(|| format!("{initrd_path} in {shown}"))?;
        let mut tiny_core = None;
        let name = match iso.read(DESCRIPTION)? {
            Some(json) => {
                let description: Description = serde_json::from_slice(&json)
                    .with_context(|| format!("{DESCRIPTION} in {shown} cannot be read"))?;
                format!("{} {} ({release})", description.name, description.suite)
            }
            None if tree.get(TINY_CORE).is_some() => {
                let version = version_of(RELEASES.map(|path| found.get(path).map_or("", String::as_str)));
                tiny_core = Some(version.clone());
                format!("tinycore {version} ({release})")
            }
            None => format!("{} ({release})", path.file_name().unwrap_or_default().to_string_lossy()),
        };
        let (kernel_path, index, beside) = (KERNEL, found, None);
        Ok(Self { iso, name, release, kernel_path, kernel, initrd_path, initrd, tree, tiny_core, index, beside })
    }

    /// What the base says of itself: packages with versions and origins, where `mkiso base` made it.
    ///
    /// # Errors
    /// The ISO is damaged.
    pub fn description(&mut self) -> Result<Option<serde_json::Value>> {
        let Some(json) = self.iso.read(DESCRIPTION)? else { return Ok(None) };
        Ok(Some(serde_json::from_slice(&json)?))
    }

    /// A file of the ISO that the base may lack.
    ///
    /// # Errors
    /// The ISO is damaged.
    pub fn file(&mut self, name: &str) -> Result<Option<Vec<u8>>> {
        self.iso.read(name)
    }

    /// Names the folder with the extensions that the ISO lacks.
    pub fn look_beside(&mut self, folder: PathBuf) {
        self.beside = Some(folder);
    }

    /// A file of `cde/optional`, or of the folder beside: an extension or what stands with it.
    ///
    /// # Errors
    /// The ISO is damaged, or the file in the folder cannot be read.
    pub fn extension_file(&mut self, name: &str) -> Result<Option<Vec<u8>>> {
        let own = self.iso.read(&format!("{EXTENSIONS}/{name}"))?;
        let (None, Some(folder)) = (&own, &self.beside) else { return Ok(own) };
        let path = folder.join(name);
        match std::fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    /// Calls `each` with every module of the initrd: its path below the folder of the index, and its bytes.
    ///
    /// # Errors
    /// The initrd is damaged.
    pub fn each_module(&self, mut each: impl FnMut(&str, &[u8])) -> Result<()> {
        let folder = format!("lib/modules/{}/", self.release);
        initrd::for_each(&self.initrd, MAX_INITRD_UNPACKED, |member| {
            let name = String::from_utf8_lossy(member.name);
            if let Some((_, path)) = name.split_once(&folder).filter(|_| member.mode & TYPE_MASK == TYPE_FILE) {
                each(path, member.data);
            }
        })
        .with_context(|| format!("{} of {} cannot be read", self.initrd_path, self.name))
    }

    /// Puts another `modules.dep` in place of the initrd's own.
    pub fn index_anew(&mut self, dep: String) {
        self.index.insert(INDEX[1], dep);
    }

    /// Names of the extensions in the base.
    ///
    /// # Errors
    /// The ISO is damaged.
    pub fn extensions(&mut self) -> Result<Vec<String>> {
        let mut names = self.iso.list(EXTENSIONS)?;
        names.retain(|name| Path::new(name).extension().is_some_and(|extension| extension == "tcz"));
        Ok(names)
    }

    /// Checks that modules are there; `early` are the files of the extensions that are mounted before drivers are
    /// loaded, as paths in the running image.
    ///
    /// # Errors
    /// Names all modules that are missing.
    pub fn prove<'a>(
        &self,
        modules: impl IntoIterator<Item = (&'a str, Place)>,
        early: &BTreeSet<String>,
    ) -> Result<()> {
        let empty = String::new();
        let text = |name| self.index.get(name).unwrap_or(&empty);
        let index = Modules::parse(text("modules.builtin"), text("modules.dep"));
        let folder = format!("lib/modules/{}", self.release);
        let in_initrd = |file: &str| {
            let placed = self.tree.follow(&format!("{folder}/{file}")).ok().flatten();
            placed.is_some_and(|placed| self.tree.get(&placed).is_some())
        };
        let mut missing = Vec::new();
        for (name, place) in modules {
            let has = |file: &str| in_initrd(file) || place == Place::Early && early.contains(file);
            let lacks = index.missing(name, has);
            missing.extend(lacks.map(|what| match place {
                Place::Initrd => format!("{what} in the initrd"),
                Place::Early => what,
            }));
        }
        ensure!(
            missing.is_empty(),
            "the base {} lacks kernel modules that image.toml requires: {}; take another base, or remove them from \
             image.required_modules",
            self.name,
            missing.join(", ")
        );
        Ok(())
    }
}

/// The release of the kernel whose modules the initrd has.
fn release(tree: &Tree) -> Result<String> {
    let folder = tree.follow("lib/modules")?.unwrap_or_default();
    let mut releases: Vec<&str> = tree
        .paths()
        .filter_map(|path| path.strip_prefix(&folder)?.strip_prefix('/'))
        .filter(|name| !name.contains('/') && name.starts_with(|c: char| c.is_ascii_digit()))
        .collect();
    match (releases.pop(), releases.is_empty()) {
        (Some(release), true) => Ok(release.to_owned()),
        (None, _) => bail!("it has no kernel modules (/lib/modules is empty)"),
        (Some(last), false) => bail!("it has modules of several kernels: {}, {last}", releases.join(", ")),
    }
}
