//! A built image as an operator hands it in: an ISO, or the initrd for PXE with its descriptor beside it. Reads the descriptor,
//! what the site has put in, and where; changes nothing.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use wire::embed::{Area, EMBED_PATH, Embed};

use crate::bootline::{self, END, PAD};
use crate::build::manifest::{self, Manifest};
use crate::customize::settings::KernelLine;
use crate::input;
use crate::iso::Iso;
use crate::limits::{MAX_BOOT_LINE, MAX_SITE_SLOT};
use crate::slot::Content;

/// Suffix of an initrd for PXE, and of its descriptor and manifest in its place.
const INITRD: &str = "initrd";
const DESCRIPTOR: &str = "embed.json";
const MANIFEST: &str = "manifest.json";

/// A built image.
pub struct Image {
    /// Its file.
    pub path: PathBuf,
    /// Its descriptor.
    pub embed: Embed,
    /// What it was made of, as it says itself; images of before have none within.
    pub manifest: Option<Manifest>,
    /// The slot.
    pub slot: Span,
    /// Where its kernel lines may be extended.
    pub lines: Vec<Span>,
    /// What is in both.
    pub own: Own,
    /// The ISO, where it is one.
    pub iso: Option<Iso>,
}

/// What a site has put into an image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Own {
    /// In the slot.
    pub content: Content,
    /// On the kernel lines.
    pub kernel_arguments: String,
}

/// A span of an image's file, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Where it begins.
    pub offset: u64,
    /// Its length.
    pub length: u64,
}

impl Image {
    /// Opens an image.
    ///
    /// # Errors
    /// It is none that `mkiso build` has made, or is damaged; the message says where.
    pub fn open(path: &Path) -> Result<Self> {
        if path.extension().is_some_and(|suffix| suffix == INITRD) { Self::initrd(path) } else { Self::iso(path) }
    }

    /// Its manifest.
    ///
    /// # Errors
    /// The image came without; says which file is missing.
    pub fn manifest(&self) -> Result<&Manifest> {
        self.manifest.as_ref().with_context(|| match &self.iso {
            Some(_) => format!("{} has no {}, which says what is in it", self.path.display(), manifest::PATH),
            None => format!(
                "{} is missing, which says what is in the image; put it beside, as `mkiso build` did",
                self.path.with_extension(MANIFEST).display()
            ),
        })
    }

    /// What was in it when it was built.
    #[must_use]
    pub fn as_built(&self) -> Own {
        let content = self.embed.built.clone().map(Content::from).unwrap_or_default();
        Own { content, kernel_arguments: String::new() }
    }

    /// Whether its kernel line can be extended.
    #[must_use]
    pub fn kernel_line(&self) -> KernelLine {
        match (&self.iso, self.lines.is_empty()) {
            (None, _) => KernelLine::OfServer,
            (Some(_), true) => KernelLine::Fixed,
            (Some(_), false) => KernelLine::Open,
        }
    }

    fn iso(path: &Path) -> Result<Self> {
        let mut iso = Iso::open(path)?;
        let shown = path.display();
        let Some(json) = iso.read(EMBED_PATH)? else {
            bail!("{shown} has no {EMBED_PATH}: only images that `mkiso build` made can be customized");
        };
        let embed = descriptor(&json, EMBED_PATH, path)?;
        let manifest = iso.read(manifest::PATH)?.map(|json| read_manifest(&json, manifest::PATH, path)).transpose()?;
        let mut span = |area: &Area, most| {
            let file = iso.extent(area.path.trim_start_matches('/'))?;
            let file =
                file.with_context(|| format!("{EMBED_PATH} in {shown} names {}, which is not there", area.path))?;
            within(area, file.len(), most, path)?;
            anyhow::Ok(Span { offset: file.offset() + area.offset, length: area.length })
        };
        let slot = span(&embed.site, MAX_SITE_SLOT)?;
        let lines = embed.boot_lines.iter().map(|line| span(&line.area, MAX_BOOT_LINE)).collect::<Result<Vec<_>>>()?;
        Self::with(path, embed, manifest, slot, lines, Some(iso))
    }

    fn initrd(path: &Path) -> Result<Self> {
        let beside = path.with_extension(DESCRIPTOR);
        let said = |error: anyhow::Error| {
            error.context(format!(
                "{} can only be read with the descriptor that `mkiso build` put beside it; keep both together",
                path.display()
            ))
        };
        let json = input::read(&beside, "descriptor").map_err(said)?;
        let name = beside.display().to_string();
        let embed = descriptor(&json, &name, path)?;
        let named = path.file_name().is_some_and(|file| file == embed.site.path.as_str());
        ensure!(
            named,
            "{name} describes {}, not {}; give both the name that they had",
            embed.site.path,
            path.display()
        );
        let manifest = path.with_extension(MANIFEST);
        let manifest = match manifest.exists() {
            true => Some(read_manifest(&input::read(&manifest, "manifest")?, &manifest.display().to_string(), path)?),
            false => None,
        };
        let len = std::fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?.len();
        within(&embed.site, len, MAX_SITE_SLOT, path)?;
        let slot = Span { offset: embed.site.offset, length: embed.site.length };
        Self::with(path, embed, manifest, slot, Vec::new(), None)
    }

    fn with(
        path: &Path,
        embed: Embed,
        manifest: Option<Manifest>,
        slot: Span,
        lines: Vec<Span>,
        iso: Option<Iso>,
    ) -> Result<Self> {
        let shown = path.display();
        let content =
            Content::from_slot(&read(path, slot)?).with_context(|| format!("{} in {shown}", embed.site.path))?;
        let mut arguments = None;
        for (span, line) in lines.iter().zip(&embed.boot_lines) {
            ensure!(
                [&line.pad, &line.end, &line.default] == [&PAD.to_string(), &END.to_string(), &String::new()],
                "{shown} has boot lines of another form than this mkiso knows; use the mkiso of the image's version, {}",
                embed.version
            );
            let found =
                bootline::read(&read(path, *span)?).with_context(|| format!("{} in {shown}", line.area.path))?;
            let same = arguments.get_or_insert_with(|| found.clone()) == &found;
            ensure!(
                same,
                "{shown} is damaged: its boot lines have not all the same arguments; start with a fresh copy"
            );
        }
        let own = Own { content, kernel_arguments: arguments.unwrap_or_default() };
        Ok(Self { path: path.to_owned(), embed, manifest, slot, lines, own, iso })
    }
}

/// Bytes of a file.
fn read(path: &Path, span: Span) -> Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(span.length)?];
    File::open(path)
        .and_then(|file| file.read_exact_at(&mut bytes, span.offset))
        .with_context(|| format!("cannot read {} bytes at {} of {}", span.length, span.offset, path.display()))?;
    Ok(bytes)
}

fn descriptor(json: &[u8], name: &str, image: &Path) -> Result<Embed> {
    let shown = image.display();
    let embed: Embed = serde_json::from_slice(json).with_context(|| format!("{name} of {shown} cannot be read"))?;
    ensure!(
        embed.format == Embed::FORMAT,
        "{shown} has a descriptor of format {}; this mkiso knows {}: use the mkiso of the image's version, {}",
        embed.format,
        Embed::FORMAT,
        embed.version
    );
    Ok(embed)
}

fn read_manifest(json: &[u8], name: &str, image: &Path) -> Result<Manifest> {
    serde_json::from_slice(json).with_context(|| format!("{name} of {} cannot be read", image.display()))
}

/// A span that the descriptor names must lie within its file, of `len` bytes.
fn within(area: &Area, len: u64, most: u64, image: &Path) -> Result<()> {
    let Area { path, offset, length } = area;
    let fits = *length <= most && offset.checked_add(*length).is_some_and(|end| end <= len);
    ensure!(
        fits,
        "the descriptor of {} names {length} bytes at {offset} of {path}, which has {len}; the image is damaged",
        image.display()
    );
    Ok(())
}

/// For the fuzzer: both descriptions of an image. A span that is taken lies within its file.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(bytes: &[u8]) {
    let image = Path::new("image.iso");
    let _ = read_manifest(bytes, "mk/manifest.json", image);
    let Ok(embed) = descriptor(bytes, "mk/embed.json", image) else { return };
    for area in embed.boot_lines.iter().map(|line| &line.area).chain([&embed.site]) {
        if within(area, 4096, 4096, image).is_ok() {
            assert!(area.offset + area.length <= 4096);
        }
    }
}
