//! `mkiso verify`: whether an image is what its manifest says, byte for byte but for what a site may fill, and whether its base is
//! the one that it claims.
//!
//! The manifest within an image proves that the image is whole, not who made it: for that, give the manifest that was released
//! (`--manifest`), and the base as its maker ships it (`--base`).

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};

use crate::bootline;
use crate::build::author;
use crate::build::manifest::{self, Manifest, Part};
use crate::build::tree::{SEGMENT, SLOT, lasting};
use crate::cache::{digest, sha256};
use crate::cpio::{self, initrd};
use crate::image::Image;
use crate::input;
use crate::iso::Iso;
use crate::limits::MAX_INITRD_UNPACKED;
use crate::slot::Content;

/// Arguments of `mkiso verify`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// The image: an ISO, or the initrd for PXE with descriptor and manifest beside it.
    pub image: PathBuf,
    /// The manifest that was released with it.
    #[arg(long)]
    pub manifest: Option<PathBuf>,
    /// The base that it was made of, as its maker ships it.
    #[arg(long)]
    pub base: Option<PathBuf>,
}

/// Runs `mkiso verify`. Prints what was compared.
///
/// # Errors
/// The image cannot be read, or something in it is not what it should be; all that is wrong is named.
pub fn run(args: &Args) -> Result<()> {
    let mut image = Image::open(&args.image)?;
    let Some(manifest) = image.manifest.take() else {
        bail!(
            "{} has no manifest to compare it with: it is of an earlier mkiso, or the manifest beside it is missing",
            args.image.display()
        )
    };
    let mut findings = Findings::default();
    if let Some(path) = &args.manifest {
        let released = serde_json::from_slice(&input::read(path, "manifest")?);
        let released: Manifest = released.with_context(|| format!("{} is no manifest", path.display()))?;
        findings.compare("its manifest with the one that was released", is_same(&released, &manifest));
    }
    let members = match image.iso.take() {
        Some(iso) => iso_members(iso, &image, &manifest, &mut findings)?,
        None => initrd_members(&image, &manifest, &mut findings)?,
    };
    inputs(&members, &manifest, &mut findings)?;
    match &args.base {
        Some(base) => compare_base(base, &manifest, &mut findings)?,
        None => println!(
            "not compared: the base {}, SHA-256 {}; give it with --base",
            manifest.base.name, manifest.base.sha256
        ),
    }
    findings.end(&image)
}

/// What was compared, and what was wrong.
#[derive(Default)]
struct Findings {
    wrong: Vec<String>,
}

impl Findings {
    fn compare(&mut self, what: &str, is_right: bool) {
        println!("{} {what}", if is_right { "right:" } else { "WRONG:" });
        if !is_right {
            self.wrong.push(what.to_owned());
        }
    }

    fn part(&mut self, part: &Part, bytes: &[u8]) {
        self.compare(&format!("{} {}", part.name, part.sha256), sha256(bytes) == part.sha256);
    }

    fn end(self, image: &Image) -> Result<()> {
        let shown = image.path.display();
        ensure!(
            self.wrong.is_empty(),
            "{shown} is not the {} {} image that it says it is: {}; get it anew from where it was released",
            image.embed.version,
            image.embed.variant,
            self.wrong.join(", ")
        );
        let own = match image.content == Content::default() && image.kernel_arguments.is_empty() {
            true => "nothing was put into it",
            false => "but for what a site has put into it (see it with mkiso inspect)",
        };
        println!("{shown} is the {} image {}, {own}", image.embed.variant, image.embed.version);
        Ok(())
    }
}

/// Whether two manifests describe the same image.
fn is_same(one: &Manifest, other: &Manifest) -> bool {
    let common = |manifest: &Manifest| {
        (
            manifest.version.clone(),
            manifest.variant,
            manifest.base.sha256.clone(),
            manifest.inputs.clone(),
            manifest.members.clone(),
        )
    };
    common(one) == common(other)
}

/// Compares all files of an ISO; gives kernel and initrds.
fn iso_members(
    mut iso: Iso,
    image: &Image,
    manifest: &Manifest,
    findings: &mut Findings,
) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut kept = BTreeMap::new();
    let mut left: BTreeSet<String> = BTreeSet::new();
    files(&mut iso, "", &mut left)?;
    // The manifest cannot name itself, and the program that writes an ISO makes the catalogue.
    left.remove(manifest::PATH);
    left.remove(&format!("{}/boot.cat", author::ISOLINUX));
    for part in &manifest.members {
        left.remove(&part.name);
        let Some(mut bytes) = iso.read(&part.name)? else {
            findings.compare(&format!("{} is missing", part.name), false);
            continue;
        };
        if part.name == SLOT {
            slot(part, &bytes, image, findings);
            continue;
        }
        for line in image.embed.boot_lines.iter().filter(|line| line.area.path.trim_start_matches('/') == part.name) {
            let (at, length) = (usize::try_from(line.area.offset)?, usize::try_from(line.area.length)?);
            let span =
                bytes.get_mut(at..at.saturating_add(length)).context("a boot line lies behind its file's end")?;
            span.copy_from_slice(&bootline::fill(&line.default, length)?);
        }
        findings.part(part, &lasting(&part.name, &bytes));
        kept.insert(part.name.clone(), bytes);
    }
    for name in left {
        findings.compare(&format!("{name} is not in the manifest"), false);
    }
    Ok(kept)
}

/// The slot as it was built, filled, or emptied: what is in it has been read already.
fn slot(part: &Part, bytes: &[u8], image: &Image, findings: &mut Findings) {
    let is_empty = image.content == Content::default();
    match sha256(bytes) == part.sha256 {
        true => findings.part(part, bytes),
        false => println!(
            "{} {SLOT}, {} bytes for a site's settings",
            if is_empty { "empty:" } else { "filled:" },
            bytes.len()
        ),
    }
}

/// All files of an ISO.
fn files(iso: &mut Iso, folder: &str, found: &mut BTreeSet<String>) -> Result<()> {
    for name in iso.list(folder)? {
        let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
        match iso.extent(&path)? {
            Some(_) => {
                found.insert(path);
            }
            None => files(iso, &path, found)?,
        }
    }
    Ok(())
}

/// Compares the parts of an initrd for PXE.
fn initrd_members(image: &Image, manifest: &Manifest, findings: &mut Findings) -> Result<BTreeMap<String, Vec<u8>>> {
    let whole = input::read_up_to(&image.path, "initrd", MAX_INITRD_UNPACKED)?;
    let mut kept = BTreeMap::new();
    let mut at = 0;
    // In order of loading; the kernel, which is the first of the manifest, lies beside.
    for part in manifest.members.iter().skip(1).take(3) {
        let end = at + usize::try_from(part.bytes)?;
        let bytes =
            whole.get(at..end).with_context(|| format!("{} ends within {}", image.path.display(), part.name))?;
        at = end.next_multiple_of(cpio::ALIGN);
        if part.name == SLOT {
            slot(part, bytes, image, findings);
            continue;
        }
        findings.part(part, bytes);
        kept.insert(part.name.clone(), bytes.to_vec());
    }
    findings.compare("nothing lies behind its parts", at == whole.len());
    Ok(kept)
}

/// Each input that the manifest names as a part of our initrd must be there.
fn inputs(members: &BTreeMap<String, Vec<u8>>, manifest: &Manifest, findings: &mut Findings) -> Result<()> {
    let Some(segment) = members.get(SEGMENT) else { return Ok(()) };
    let mut within = BTreeSet::new();
    initrd::for_each(segment, MAX_INITRD_UNPACKED, |member| {
        within.insert(sha256(member.data));
    })
    .with_context(|| format!("{SEGMENT} is damaged"))?;
    for part in manifest.inputs.iter().filter(|part| part.origin != "boot loader") {
        findings.compare(&format!("{} {} in {SEGMENT}", part.name, part.sha256), within.contains(&part.sha256));
    }
    Ok(())
}

/// The base as its maker ships it, and its kernel and initrd in the image.
fn compare_base(base: &Path, manifest: &Manifest, findings: &mut Findings) -> Result<()> {
    findings.compare(&format!("the base {}", base.display()), digest(base)? == manifest.base.sha256);
    let mut iso = Iso::open(base)?;
    for part in manifest.members.iter().take(2) {
        let bytes = iso.read(&part.name)?;
        let what = format!("{} as in {}", part.name, base.display());
        findings.compare(&what, bytes.is_some_and(|bytes| sha256(&bytes) == part.sha256));
    }
    Ok(())
}
