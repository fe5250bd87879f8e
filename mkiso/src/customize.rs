//! `mkiso customize`: fits a built image to a site by filling its slot. The image says where the slot is and what it
//! honours (`mk/embed.json`); nothing else of it is touched.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use wire::embed::{EMBED_PATH, Embed};

use crate::build::outputs::Outputs;
use crate::limits::MAX_SITE_SLOT;
use crate::output::{folder_of, full_or, publish, temp_beside};
use crate::slot::{Content, public_keys};
use crate::{input, iso::Iso};

/// Arguments of `mkiso customize`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// The image.
    pub iso: PathBuf,
    /// URL of the server that the image checks in to.
    #[arg(long)]
    pub server: Option<String>,
    /// OpenSSH public key that may log in; development and debug images only.
    #[arg(long)]
    pub ssh_key: Option<PathBuf>,
    /// Kernel argument of ours for all machines that boot the image, such as razor.vlan=5; repeat it for several. All
    /// that the image had are replaced.
    #[arg(long = "arg", value_name = "razor.KEY=VALUE")]
    pub args: Vec<String>,
    /// Where to write the result [default: change the image itself].
    #[arg(long)]
    pub out: Option<PathBuf>,
}

/// The slot of an image: where it lies, and what is in it.
struct Slot {
    offset: u64,
    length: u64,
    content: Content,
}

/// Runs `mkiso customize`.
///
/// # Errors
/// What failed, on what, and what to do. All checks come before the first byte is written.
pub fn run(args: &Args) -> Result<()> {
    ensure!(
        args.server.is_some() || args.ssh_key.is_some() || !args.args.is_empty(),
        "nothing to do: say what is to be set, with --server URL, --arg razor.KEY=VALUE or --ssh-key FILE"
    );
    let (embed, mut slot) = open(&args.iso)?;
    if let Some(server) = &args.server {
        slot.content.site.server = Some(input::server_url(server)?);
    }
    if !args.args.is_empty() {
        args.args.iter().try_for_each(|arg| input::kernel_argument(arg))?;
        slot.content.site.args.clone_from(&args.args);
    }
    if let Some(path) = &args.ssh_key {
        ensure!(
            embed.features.ssh_key,
            "{} is a {} image without sshd: it cannot honour an ssh key; take a development or debug image",
            args.iso.display(),
            embed.variant
        );
        let text = String::from_utf8(input::read(path, "public key")?);
        let text = text.with_context(|| format!("{} is no text", path.display()))?;
        slot.content.authorized_keys =
            public_keys(&text).with_context(|| format!("{} cannot be used for log-in", path.display()))?;
    }
    let bytes = slot.content.to_slot(slot.length)?;
    let out = args.out.as_ref().unwrap_or(&args.iso);
    let copy = |to: &Path| {
        std::fs::copy(&args.iso, to).map_err(|error| full_or(error, out))?;
        write(to, slot.offset, &bytes)
    };
    // In place too: a copy that replaces the image whole, since half a slot would be read by the kernel.
    match Checksums::beside(out)? {
        Some(checksums) => checksums.replace(copy)?,
        None => {
            let temp = temp_beside(out)?;
            copy(temp.path())?;
            publish(temp, out)?;
        }
    }
    eprintln!("customized {}", out.display());
    Ok(())
}

/// The checksums that `mkiso build` has put beside an image, and that shall stay true of it. The manifest goes on
/// describing the image as it was built.
struct Checksums {
    outputs: Outputs,
    text: String,
}

impl Checksums {
    /// Suffix of an image that has such a file.
    const IMAGE: &str = "iso";
    /// Suffix of the file.
    const FILE: &str = "sha256";

    /// The file beside an image, when there is one that names the image.
    fn beside(iso: &Path) -> Result<Option<Self>> {
        let stem =
            iso.file_stem().and_then(|stem| stem.to_str()).filter(|_| iso.extension() == Some(Self::IMAGE.as_ref()));
        let (Some(stem), Ok(text)) = (stem, std::fs::read_to_string(iso.with_extension(Self::FILE))) else {
            return Ok(None);
        };
        if with_digest(&text, &format!("{stem}.{}", Self::IMAGE), "").is_none() {
            return Ok(None);
        }
        Ok(Some(Self { outputs: Outputs::new(&folder_of(iso), stem)?, text }))
    }

    /// Puts another image in place together with its checksum, both or neither.
    fn replace(mut self, make: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
        make(&self.outputs.reserve(Self::IMAGE))?;
        let name = self.outputs.name(Self::IMAGE);
        let digest = self.outputs.digests()?.get(&name).with_context(|| format!("{name} has no digest"))?;
        let text = with_digest(&self.text, &name, digest).with_context(|| format!("no checksum of {name}"))?;
        self.outputs.write(Self::FILE, &[text.as_bytes()])?;
        self.outputs.publish()
    }
}

/// A file of checksums, in the form of `sha256sum`, with another digest for one name; nothing when the name is not in it.
fn with_digest(text: &str, name: &str, digest: &str) -> Option<String> {
    let is_its = |line: &str| line.split_once("  ").is_some_and(|(_, of)| of == name);
    let line = |line: &str| if is_its(line) { format!("{digest}  {name}\n") } else { format!("{line}\n") };
    text.lines().any(is_its).then(|| text.lines().map(line).collect())
}

/// Reads an image's descriptor and slot.
fn open(path: &Path) -> Result<(Embed, Slot)> {
    let mut iso = Iso::open(path)?;
    let shown = path.display();
    let Some(json) = iso.read(EMBED_PATH)? else {
        bail!("{shown} has no {EMBED_PATH}: only images that `mkiso build` made can be customized");
    };
    let embed: Embed =
        serde_json::from_slice(&json).with_context(|| format!("{EMBED_PATH} in {shown} cannot be read"))?;
    ensure!(
        embed.format == Embed::FORMAT,
        "{shown} has a descriptor of format {}; this mkiso knows {}: use the mkiso of the image's version, {}",
        embed.format,
        Embed::FORMAT,
        embed.version
    );
    let area = &embed.site;
    let file = iso.extent(area.path.trim_start_matches('/'))?;
    let file = file.with_context(|| format!("{EMBED_PATH} in {shown} names {}, which is not there", area.path))?;
    let end = area.offset.checked_add(area.length).filter(|end| *end <= file.len() && area.length <= MAX_SITE_SLOT);
    ensure!(
        end.is_some(),
        "{EMBED_PATH} in {shown} describes {} bytes at {} of {}, which has {}; the image is damaged",
        area.length,
        area.offset,
        area.path,
        file.len()
    );
    let offset = file.offset() + area.offset;
    let bytes = iso.read_at(offset, area.length)?;
    let content = Content::from_slot(&bytes).with_context(|| format!("{} in {shown}", area.path))?;
    let length = area.length;
    Ok((embed, Slot { offset, length, content }))
}

/// Writes the slot, makes it durable and reads it back.
fn write(path: &Path, offset: u64, bytes: &[u8]) -> Result<()> {
    let change = || -> std::io::Result<bool> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        file.write_all_at(bytes, offset)?;
        file.sync_all()?;
        let mut back = vec![0; bytes.len()];
        file.read_exact_at(&mut back, offset)?;
        Ok(back == bytes)
    };
    let same = change().map_err(|error| full_or(error, path))?;
    ensure!(same, "{} does not hold what was written to it; check the disk", path.display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_digest_is_changed_and_no_other() {
        let text = "aa  x.initrd\nbb  x.iso\ncc  x.iso.other\n";
        assert_eq!(with_digest(text, "x.iso", "dd").as_deref(), Some("aa  x.initrd\ndd  x.iso\ncc  x.iso.other\n"));
        assert_eq!(with_digest(text, "y.iso", "dd"), None);
        assert_eq!(with_digest("", "x.iso", "dd"), None);
    }
}
