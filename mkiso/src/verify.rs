//! `mkiso verify`: whether an image is what its manifest says, but for what a site may fill, and whether its base is the one that it
//! claims.
//!
//! The manifest within an ISO proves that its files are whole. With the one that was released (`--manifest`), and for an initrd with
//! the one beside it, the whole file is compared too, what a site may fill as it was built: boot records and all that lies between
//! files. Who made an image, only a manifest proves that came from its maker.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use sha2::{Digest as _, Sha256};
use tce_mirror::checksum;

use crate::bootline;
use crate::build::author;
use crate::build::manifest::{self, Manifest, Part};
use crate::build::tree::{SEGMENT, SLOT, lasting};
use crate::cache::{digest, hex, sha256};
use crate::cpio::{self, initrd};
use crate::image::{Image, Span};
use crate::input;
use crate::iso::Iso;
use crate::limits::MAX_INITRD_UNPACKED;
use crate::patch;
use crate::slot::Content;

/// How the name of a kernel begins among an image's members.
const KERNEL: &str = "boot/vmlinuz";
/// Suffix of the kernel beside an initrd.
const KERNEL_BESIDE: &str = "vmlinuz";

/// Arguments of `mkiso verify`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// The image: an ISO, or the initrd for PXE with kernel, descriptor and manifest beside it.
    pub image: PathBuf,
    /// The manifest that was released with it.
    #[arg(long)]
    pub manifest: Option<PathBuf>,
    /// The base that it was made of, as its maker ships it, with its checksum FILE.md5.txt beside it if there is one.
    #[arg(long)]
    pub base: Option<PathBuf>,
}

/// Runs `mkiso verify`. Prints what was compared.
///
/// # Errors
/// The image cannot be read, or something in it is not what it should be; all that is wrong is named.
pub fn run(args: &Args) -> Result<()> {
    let mut image = Image::open(&args.image)?;
    let shown = args.image.display();
    let Some(mut manifest) = image.manifest.take() else {
        bail!(
            "{shown} has no manifest to compare it with: it is of an earlier mkiso, or the manifest beside it is missing"
        )
    };
    let mut findings = Findings::default();
    if let Some(path) = &args.manifest {
        let released = serde_json::from_slice(&input::read(path, "manifest")?);
        let released: Manifest = released.with_context(|| format!("{} is no manifest", path.display()))?;
        findings.compare("its manifest with the one that was released", is_same(&released, &manifest));
        manifest = released;
    }
    whole(&image, &manifest, &mut findings)?;
    let members = match image.iso.take() {
        Some(iso) => iso_members(iso, &image, &manifest, &mut findings)?,
        None => initrd_members(&image, &manifest, &mut findings)?,
    };
    inputs(&members, &manifest, &mut findings)?;
    match &args.base {
        Some(base) => compare_base(base, &manifest, &mut findings)?,
        None => {
            let manifest::Base { name, sha256, .. } = &manifest.base;
            println!("not compared: the base {name}, SHA-256 {sha256}; give it with --base");
        }
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
        let own = match image.own == image.as_built() {
            true => "nothing was put into it",
            false => "but for what a site has put into it (see it with mkiso inspect)",
        };
        println!("{shown} is the {} image {}, {own}", image.embed.variant, image.embed.version);
        Ok(())
    }
}

/// Whether two manifests describe the same image.
fn is_same(one: &Manifest, other: &Manifest) -> bool {
    let head = |of: &Manifest| (of.version.clone(), of.variant, of.base.sha256.clone());
    head(one) == head(other) && one.inputs == other.inputs && one.members == other.members
}

/// Compares the whole file, what a site may fill as it was built, with the digest of the file that was built.
fn whole(image: &Image, manifest: &Manifest, findings: &mut Findings) -> Result<()> {
    let suffix = image.path.extension().unwrap_or_default().to_string_lossy().into_owned();
    let built = manifest.outputs.iter().find(|(name, _)| name.ends_with(&format!(".{suffix}")));
    let Some((name, expected)) = built else {
        println!("not compared: boot records, and what lies between files; give the released manifest with --manifest");
        return Ok(());
    };
    let mut hasher = Hasher(Sha256::new());
    patch::send(&image.path, &patch::patches(image, &image.as_built())?, &mut hasher)?;
    findings.compare(&format!("the whole of {name}, as it was built"), hex(&hasher.0.finalize()) == *expected);
    Ok(())
}

struct Hasher(Sha256);

impl Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
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
        let (Some(mut bytes), Some(extent)) = (iso.read(&part.name)?, iso.extent(&part.name)?) else {
            findings.compare(&format!("{} is missing", part.name), false);
            continue;
        };
        if part.name == SLOT {
            slot(part, &bytes, Span { offset: extent.offset(), length: extent.len() }, image, findings);
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

/// The slot, which must be what the descriptor says it is, and hold what was read from there: as it was built, or filled.
fn slot(part: &Part, bytes: &[u8], place: Span, image: &Image, findings: &mut Findings) {
    let is_read = place == image.slot && Content::from_slot(bytes).is_ok_and(|content| content == image.own.content);
    if !is_read {
        findings.compare(&format!("{SLOT} is where the descriptor says, and holds nothing else"), false);
    } else if image.own.content == image.as_built().content {
        findings.part(part, bytes);
    } else {
        println!("filled: {SLOT}, {} bytes for a site's settings", bytes.len());
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

/// Compares the parts of an initrd for PXE, and the kernel beside it.
fn initrd_members(image: &Image, manifest: &Manifest, findings: &mut Findings) -> Result<BTreeMap<String, Vec<u8>>> {
    let shown = image.path.display();
    let member = |is_it: &dyn Fn(&str) -> bool| manifest.members.iter().find(|part| is_it(&part.name));
    let kernel = member(&|name| name.starts_with(KERNEL)).context("its manifest names no kernel")?;
    let beside = image.path.with_extension(KERNEL_BESIDE);
    match beside.exists() {
        true => findings.part(kernel, &input::read(&beside, "kernel")?),
        false => findings.compare(&format!("the kernel {} is missing", beside.display()), false),
    }
    let whole = input::read_up_to(&image.path, "initrd", MAX_INITRD_UNPACKED)?;
    let base = member(&|name| name.starts_with("boot/") && name.ends_with(".gz") && name != SEGMENT);
    let mut kept = BTreeMap::new();
    let mut at: usize = 0;
    for part in [base, member(&|name| name == SEGMENT), member(&|name| name == SLOT)] {
        let part = part.context("its manifest does not name the three parts of an initrd")?;
        let end = usize::try_from(part.bytes).ok().and_then(|bytes| at.checked_add(bytes));
        let bytes = end.and_then(|end| whole.get(at..end));
        let bytes = bytes.with_context(|| format!("{shown} ends within {}", part.name))?;
        if part.name == SLOT {
            let place = Span { offset: u64::try_from(at)?, length: part.bytes };
            slot(part, bytes, place, image, findings);
        } else {
            findings.part(part, bytes);
            kept.insert(part.name.clone(), bytes.to_vec());
        }
        at = (at + bytes.len()).next_multiple_of(cpio::ALIGN);
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
    let sums = base.with_added_extension("md5.txt");
    if sums.exists() {
        let name = base.file_name().unwrap_or_default().to_string_lossy();
        let text = String::from_utf8(input::read(&sums, "checksum of the base")?);
        let text = text.with_context(|| format!("{} is no text", sums.display()))?;
        let own = checksum::parse(&text, &name).with_context(|| sums.display().to_string())?;
        let bytes = std::fs::read(base).with_context(|| format!("cannot read {}", base.display()))?;
        findings.compare(&format!("the base with its maker's {}", sums.display()), checksum::md5(&bytes) == own);
    } else {
        println!("not compared: the base with its maker's checksum; put that beside it as {}", sums.display());
    }
    let mut iso = Iso::open(base)?;
    for part in manifest.members.iter().filter(|part| part.origin == manifest.base.name) {
        let bytes = iso.read(&part.name)?;
        let what = format!("{} as in {}", part.name, base.display());
        findings.compare(&what, bytes.is_some_and(|bytes| sha256(&bytes) == part.sha256));
    }
    Ok(())
}
