//! Reads an ISO 9660 image: its files and where they lie. Rock Ridge names where the image has them.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use hadris_fs::sync::FileSystem as _;
use hadris_fs::{DirCursor, ErrorKind, Extent, FileType, MountOptions, NodeId, Resolve};
use hadris_iso::sync::IsoFs;
use hadris_storage::host::FileDevice;

use crate::limits::MAX_ISO_FILE;

/// An opened image.
pub struct Iso {
    fs: IsoFs<FileDevice>,
    file: File,
    len: u64,
    path: PathBuf,
}

impl Iso {
    /// Opens an image for reading.
    ///
    /// # Errors
    /// The file cannot be read, or is no ISO 9660 image.
    pub fn open(path: &Path) -> Result<Self> {
        let named = || path.display().to_string();
        let file = File::open(path).with_context(|| format!("cannot open {}", named()))?;
        let metadata = file.metadata().with_context(|| format!("cannot read {}", named()))?;
        ensure!(metadata.is_file(), "{} is no file; name the ISO image itself", named());
        let device = FileDevice::open(path).with_context(|| format!("cannot open {}", named()))?;
        let fs = IsoFs::mount(device, MountOptions::new()).map_err(|error| {
            anyhow!("{} is no ISO image ({error:?}); check that the download is whole and is the ISO itself", named())
        })?;
        let (len, info) = (metadata.len(), fs.info());
        let volume = u64::from(info.volume_space_size()) * u64::from(info.block_size());
        ensure!(len >= volume, "{} is cut short: it has {len} of {volume} bytes; download it again", named());
        Ok(Self { fs, file, len, path: path.to_owned() })
    }

    /// Where the content of the file `name` (such as `boot/mk.gz`) lies; `None` where there is no such file.
    ///
    /// # Errors
    /// The image is damaged or cut, or the file lies in several pieces.
    pub fn extent(&mut self, name: &str) -> Result<Option<Extent>> {
        let Some(node) = self.node(name)? else { return Ok(None) };
        let stat = self.fs.stat(node).map_err(|error| self.damaged(name, &error))?;
        if stat.file_type() != FileType::File {
            return Ok(None);
        }
        let mut extents = [Extent::new(0, 0); 2];
        let count = self.fs.extents(node, 0, &mut extents).map_err(|error| self.damaged(name, &error))?;
        ensure!(count < 2, "{name} lies in several pieces in {}, which is not supported", self.path.display());
        let extent = if count == 0 { Extent::new(0, 0) } else { extents[0] };
        if extent.offset().checked_add(extent.len()).is_none_or(|end| end > self.len) {
            bail!(
                "{} is damaged: {name} should end at byte {}, the file has {}; download it again",
                self.path.display(),
                extent.offset().saturating_add(extent.len()),
                self.len
            );
        }
        Ok(Some(extent))
    }

    /// The content of the file `name`; `None` where there is no such file.
    ///
    /// # Errors
    /// The image is damaged or cut, or the file is larger than this program reads.
    pub fn read(&mut self, name: &str) -> Result<Option<Vec<u8>>> {
        let Some(extent) = self.extent(name)? else { return Ok(None) };
        ensure!(
            extent.len() <= MAX_ISO_FILE,
            "{name} in {} has {} bytes; {MAX_ISO_FILE} are accepted",
            self.path.display(),
            extent.len()
        );
        self.read_at(extent.offset(), extent.len()).map(Some)
    }

    /// `len` bytes of the image from `offset`.
    ///
    /// # Errors
    /// The image cannot be read, or ends before.
    pub fn read_at(&self, offset: u64, len: u64) -> Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(len)?];
        self.file
            .read_exact_at(&mut bytes, offset)
            .with_context(|| format!("cannot read {len} bytes at {offset} of {}", self.path.display()))?;
        Ok(bytes)
    }

    /// The names in the folder `name`, sorted; empty where there is no such folder.
    ///
    /// # Errors
    /// The image is damaged.
    pub fn list(&mut self, name: &str) -> Result<Vec<String>> {
        let Some(node) = self.node(name)? else { return Ok(Vec::new()) };
        let stat = self.fs.stat(node).map_err(|error| self.damaged(name, &error))?;
        if stat.file_type() != FileType::Dir {
            return Ok(Vec::new());
        }
        let mut names = Vec::new();
        let mut cursor = DirCursor::START;
        while let Some(entry) = self.fs.readdir(node, cursor).map_err(|error| self.damaged(name, &error))? {
            cursor = entry.next_cursor();
            names.push(String::from_utf8_lossy(entry.name().as_bytes()).into_owned());
        }
        names.sort();
        Ok(names)
    }

    fn node(&mut self, name: &str) -> Result<Option<NodeId>> {
        match self.fs.resolve(format!("/{name}").as_bytes(), Resolve::Lexical) {
            Ok(node) => Ok(Some(node)),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
            Err(error) => Err(self.damaged(name, &error)),
        }
    }

    fn damaged(&self, name: &str, error: &dyn std::fmt::Debug) -> anyhow::Error {
        anyhow!("{} is damaged at {name} ({error:?}); download it again", self.path.display())
    }
}
