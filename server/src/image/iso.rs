//! Taking kernel and initrds out of an ISO, with their digests checked while they are copied.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use anyhow::{Context as _, anyhow, ensure};
use hadris_fs::sync::Volume;
use hadris_fs::{MountOptions, OpenOptions};
use hadris_iso::sync::IsoFs;
use hadris_storage::host::FileDevice;

use crate::image::metadata::{self, Algorithm, Member, Metadata};
use crate::limits::{COPY_BUFFER, MAX_BOOT_CONFIG, MAX_IMAGE_MEMBER, MAX_METADATA};

/// Where an image says what it is.
const METADATA: &str = "iso-metadata.yaml";
/// The configuration of its boot loader.
const BOOT_CONFIG: &str = "boot/isolinux/isolinux.cfg";

/// An ISO of ours.
pub struct Iso {
    volume: Volume<IsoFs<FileDevice>>,
}

/// What was copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// SHA-256 (hex) of the copy.
    pub sha256: String,
    /// Its length in bytes.
    pub bytes: u64,
}

impl Iso {
    /// Opens an ISO.
    ///
    /// # Errors
    /// When the file cannot be read or is no ISO.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let device = FileDevice::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        let fs = IsoFs::mount(device, MountOptions::new())
            .map_err(|e| anyhow!("it is no ISO 9660 image, or damaged: {e:?}; compare it with its .sha256"))?;
        Ok(Self { volume: Volume::new(fs) })
    }

    /// What the image says of itself.
    ///
    /// # Errors
    /// When it does not, or in a way that cannot be used.
    pub fn metadata(&self) -> anyhow::Result<Metadata> {
        let text = self.text(METADATA, MAX_METADATA)?;
        metadata::parse(&text).with_context(|| format!("{METADATA} in the image cannot be used"))
    }

    /// The arguments with which its own boot loader starts the kernel.
    ///
    /// # Errors
    /// When its configuration has none.
    pub fn kernel_args(&self) -> anyhow::Result<String> {
        let text = self.text(BOOT_CONFIG, MAX_BOOT_CONFIG)?;
        metadata::kernel_args(&text).with_context(|| format!("{BOOT_CONFIG} in the image has no append line"))
    }

    /// Copies `members` one after the other into `file`, each padded to 4 bytes as the kernel wants its initrds.
    ///
    /// # Errors
    /// When a member is missing, too large, or not what its digest says; names it.
    pub fn copy(&self, members: &[Member], algorithm: Algorithm, file: &Path) -> anyhow::Result<Copied> {
        let mut out = File::create_new(file).with_context(|| format!("cannot write {}", file.display()))?;
        let mut whole = Algorithm::Sha256.hasher();
        let mut bytes = 0;
        for member in members {
            let mut source = self.open_file(&member.path)?.take(MAX_IMAGE_MEMBER + 1);
            let mut hasher = algorithm.hasher();
            let mut length = 0u64;
            let mut buffer = vec![0; COPY_BUFFER];
            loop {
                let n =
                    source.read(&mut buffer).with_context(|| format!("cannot read {} in the image", member.path))?;
                let piece = buffer.get(..n).unwrap_or_default();
                if piece.is_empty() {
                    break;
                }
                hasher.update(piece);
                whole.update(piece);
                out.write_all(piece).with_context(|| full(file))?;
                length += piece.len() as u64;
            }
            ensure!(length <= MAX_IMAGE_MEMBER, "{} is larger than {MAX_IMAGE_MEMBER} bytes", member.path);
            verify(member, &hasher.finish())?;
            let pad = [0u8; 3].get(..usize::try_from((4 - length % 4) % 4)?).unwrap_or_default();
            whole.update(pad);
            out.write_all(pad).with_context(|| full(file))?;
            bytes += length + pad.len() as u64;
        }
        out.sync_all().with_context(|| full(file))?;
        Ok(Copied { sha256: whole.finish(), bytes })
    }

    fn text(&self, path: &str, limit: u64) -> anyhow::Result<String> {
        let mut text = String::new();
        let source = self.open_file(path)?;
        source.take(limit + 1).read_to_string(&mut text).with_context(|| format!("cannot read {path} in the image"))?;
        ensure!(text.len() as u64 <= limit, "{path} in the image is larger than {limit} bytes");
        Ok(text)
    }

    fn open_file(&self, path: &str) -> anyhow::Result<impl Read + use<>> {
        self.volume
            .open(format!("/{path}"), OpenOptions::new().read())
            .map_err(|e| anyhow!("the image has no {path} ({e:?}); it must be an ISO that `mkiso build` made"))
    }
}

fn verify(member: &Member, digest: &str) -> anyhow::Result<()> {
    let Member { path, digest: Some(want) } = member else { return Ok(()) };
    ensure!(
        digest == want,
        "{path} in the image has the digest {digest}, but {METADATA} says {want}: the file is damaged. Copy it again and \
         compare it with its .sha256"
    );
    Ok(())
}

fn full(file: &Path) -> String {
    format!("cannot write {}; check that its disk has room", file.display())
}
