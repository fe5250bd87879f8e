//! Microkernel images: what `/svc/boot` boots. Each is a folder of `images` in the data folder, with the kernel, the
//! joined initrds and a description; the file `current` names the one in use. All appear whole or not at all.

pub mod iso;
pub mod metadata;

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};

use crate::image::iso::{Copied, Iso};
use crate::store::now_ms;
use crate::store::view::timestamp;

/// File name of the kernel.
pub const KERNEL: &str = "vmlinuz";
/// File name of the joined initrds.
pub const INITRD: &str = "initrd";
/// File name of the description.
const DESCRIPTION: &str = "image.json";
/// Names the image in use.
const CURRENT: &str = "current";
/// Digits of the initrd's digest in an image's name, so that two builds of one version can be told apart.
const NAME_DIGITS: usize = 8;

/// An image, as it is described and shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// `VERSION-VARIANT-DIGEST`, its name in URLs.
    pub name: String,
    /// Version of the image.
    pub version: String,
    /// `production`, `development` or `debug`.
    pub variant: String,
    /// The image's own kernel arguments.
    pub kernel_args: String,
    /// SHA-256 (hex) of the kernel.
    pub kernel_sha256: String,
    /// SHA-256 (hex) of the joined initrds.
    pub initrd_sha256: String,
    /// Length of the kernel in bytes.
    pub kernel_bytes: u64,
    /// Length of the joined initrds in bytes.
    pub initrd_bytes: u64,
    /// When it was added.
    pub added: String,
}

/// The folder of images.
#[derive(Debug, Clone)]
pub struct Images {
    folder: PathBuf,
}

impl Images {
    /// Images below the data folder; makes the folder where there is none, and clears away what an unclean stop left.
    ///
    /// # Errors
    /// When the folder cannot be used.
    pub fn open(data: &Path) -> anyhow::Result<Self> {
        let folder = data.join("images");
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        for entry in fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(tempfile_prefix()) {
                fs::remove_dir_all(entry.path())
                    .with_context(|| format!("cannot remove {}", entry.path().display()))?;
            }
        }
        Ok(Self { folder })
    }

    /// A new folder for an image on its way in; removed with everything in it when the value is dropped.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn incoming(&self) -> anyhow::Result<tempfile::TempDir> {
        let made = tempfile::Builder::new().prefix(tempfile_prefix()).tempdir_in(&self.folder);
        made.with_context(|| format!("cannot make a folder in {}", self.folder.display()))
    }

    /// Takes kernel and initrds out of the ISO at `iso`, which lies in `incoming`. The first image is put to use at once.
    ///
    /// # Errors
    /// When the ISO is not ours or damaged, or the disk is full; nothing is left behind then.
    pub fn add(&self, incoming: tempfile::TempDir, iso: &Path) -> anyhow::Result<Image> {
        let source = Iso::open(iso)?;
        let metadata = source.metadata()?;
        let staging = incoming.path().join("image");
        fs::create_dir(&staging).with_context(|| format!("cannot make {}", staging.display()))?;
        let copy =
            |members: &[metadata::Member], name: &str| source.copy(members, metadata.algorithm, &staging.join(name));
        let Copied { sha256: kernel_sha256, bytes: kernel_bytes } =
            copy(std::slice::from_ref(&metadata.kernel), KERNEL)?;
        let Copied { sha256: initrd_sha256, bytes: initrd_bytes } = copy(&metadata.initrds, INITRD)?;
        let digits = initrd_sha256.get(..NAME_DIGITS).unwrap_or_default();
        let image = Image {
            name: format!("{}-{}-{digits}", metadata.version, metadata.variant),
            version: metadata.version,
            variant: metadata.variant,
            kernel_args: source.kernel_args()?,
            kernel_sha256,
            initrd_sha256,
            kernel_bytes,
            initrd_bytes,
            added: timestamp(now_ms()),
        };
        let place = self.folder.join(&image.name);
        if !place.join(DESCRIPTION).exists() {
            write_whole(&staging, DESCRIPTION, &serde_json::to_vec_pretty(&image)?)?;
            fs::rename(&staging, &place).with_context(|| format!("cannot put {} in place", place.display()))?;
            sync_folder(&self.folder)?;
        }
        if self.current_name()?.is_none() {
            self.choose(&image.name)?;
        }
        Ok(image)
    }

    /// All images in order of name.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn list(&self) -> anyhow::Result<Vec<Image>> {
        let mut images = Vec::new();
        for entry in fs::read_dir(&self.folder).with_context(|| format!("cannot read {}", self.folder.display()))? {
            let path = entry?.path();
            if path.join(DESCRIPTION).exists()
                && !path.file_name().is_some_and(|n| n.to_string_lossy().starts_with('.'))
            {
                images.push(describe(&path)?);
            }
        }
        images.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(images)
    }

    /// Puts the image whose name begins with `wanted` to use.
    ///
    /// # Errors
    /// When there is none or more than one; names them.
    pub fn choose(&self, wanted: &str) -> anyhow::Result<Image> {
        let images = self.list()?;
        let named: Vec<&Image> = images.iter().filter(|i| !wanted.is_empty() && i.name.starts_with(wanted)).collect();
        let names = |images: &[&Image]| images.iter().map(|i| i.name.as_str()).collect::<Vec<_>>().join(", ");
        let exact = named.iter().find(|i| i.name == wanted);
        match (exact, named.as_slice()) {
            (Some(image), _) | (None, [image]) => {
                write_whole(&self.folder, CURRENT, image.name.as_bytes())?;
                Ok((*image).clone())
            }
            (None, []) if images.is_empty() => {
                bail!("there is no image yet; add one with `mk-server image add FILE.iso`")
            }
            (None, []) => {
                bail!("there is no image {wanted:?}; there are {}", names(&images.iter().collect::<Vec<_>>()))
            }
            (None, many) => bail!("{wanted:?} may be any of {}; give more of its name", names(many)),
        }
    }

    /// The image in use.
    ///
    /// # Errors
    /// When it is damaged.
    pub async fn current(&self) -> anyhow::Result<Option<Image>> {
        let images = self.clone();
        tokio::task::spawn_blocking(move || {
            images.current_name()?.map(|name| describe(&images.folder.join(name))).transpose()
        })
        .await?
    }

    /// Path of an image's file, and its digest; nothing for what is not there.
    ///
    /// # Errors
    /// When the image is damaged.
    pub fn file(&self, name: &str, file: &str) -> anyhow::Result<Option<(PathBuf, String)>> {
        let plain = !name.is_empty() && !name.starts_with('.') && !name.contains('/');
        let folder = self.folder.join(name);
        if !plain || !matches!(file, KERNEL | INITRD) || !folder.join(DESCRIPTION).exists() {
            return Ok(None);
        }
        let image = describe(&folder)?;
        let digest = if file == KERNEL { image.kernel_sha256 } else { image.initrd_sha256 };
        Ok(Some((folder.join(file), digest)))
    }

    fn current_name(&self) -> anyhow::Result<Option<String>> {
        match fs::read_to_string(self.folder.join(CURRENT)) {
            Ok(name) => Ok(Some(name.trim().to_owned())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", self.folder.join(CURRENT).display())),
        }
    }
}

fn tempfile_prefix() -> &'static str {
    ".incoming-"
}

fn describe(folder: &Path) -> anyhow::Result<Image> {
    let file = folder.join(DESCRIPTION);
    let text = fs::read_to_string(&file)
        .with_context(|| format!("cannot read {}; choose another image with `mk-server image use`", file.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is damaged; add the image again", file.display()))
}

/// Writes a file so that it is there whole or as it was before.
fn write_whole(folder: &Path, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
    let place = folder.join(name);
    let failed = || format!("cannot write {}; check that its disk has room", place.display());
    let mut file = tempfile::NamedTempFile::new_in(folder).with_context(failed)?;
    file.write_all(bytes).and_then(|()| file.as_file().sync_all()).with_context(failed)?;
    file.persist(&place).with_context(failed)?;
    sync_folder(folder)
}

fn sync_folder(folder: &Path) -> anyhow::Result<()> {
    File::open(folder).and_then(|f| f.sync_all()).with_context(|| format!("cannot sync {}", folder.display()))
}
