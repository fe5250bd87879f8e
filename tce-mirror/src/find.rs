//! Which extension of a repository has a file: by its `provides.db.gz`, on a mirror or in a folder.

use std::fs;
use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use flate2::read::GzDecoder;

use crate::fetch::Mirror;
use crate::limits::{MAX_PROVIDES, MAX_PROVIDES_PACKED};
use crate::repository::{blocks, info, is_file};

/// The list, packed, as every mirror has it.
const PROVIDES: &str = "provides.db.gz";

/// An extension that has a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// File name of the extension.
    pub name: String,
    /// What it says of itself, in one line; empty if it says nothing.
    pub description: String,
    /// Paths in it that are the file, or end in it.
    pub paths: Vec<String>,
}

/// A folder of extensions, here or on a mirror (URL of `RELEASE/ARCH/tcz`).
enum Place<'a> {
    Mirror(Mirror),
    Folder(&'a Path),
}

/// Looks for a file (its name, or as much of the end of its path as is known) in the repository at `place`.
///
/// # Errors
/// The repository cannot be read, or has no list.
pub fn file(place: &str, wanted: &str) -> Result<Vec<Found>> {
    let is_url = place.starts_with("http://") || place.starts_with("https://");
    let at = if is_url { Place::Mirror(Mirror::new(place)?) } else { Place::Folder(Path::new(place)) };
    let text = at.provides().with_context(|| format!("{}/{PROVIDES}", place.trim_end_matches('/')))?;
    let mut found = Vec::new();
    for (name, lines) in blocks(&text) {
        let paths: Vec<String> = lines.into_iter().filter(|p| is_file(p, wanted)).map(str::to_owned).collect();
        if !paths.is_empty() {
            let about = at.text(&format!("{name}.info"))?.map(|text| info(&text)).unwrap_or_default();
            let description = about.get("Description").and_then(|text| text.lines().next()).unwrap_or_default();
            found.push(Found { name, description: description.to_owned(), paths });
        }
    }
    Ok(found)
}

impl Place<'_> {
    fn text(&self, name: &str) -> Result<Option<String>> {
        match self {
            Self::Mirror(mirror) => mirror.text(name),
            Self::Folder(folder) => Ok(fs::read_to_string(folder.join(name)).ok()),
        }
    }

    fn provides(&self) -> Result<String> {
        let packed = match self {
            Self::Mirror(mirror) => mirror
                .bytes(PROVIDES, MAX_PROVIDES_PACKED)?
                .context("the mirror has none: is it the folder of extensions?")?,
            Self::Folder(folder) => {
                fs::read(folder.join(PROVIDES)).context("cannot be read; `tce-mirror index` writes it")?
            }
        };
        let mut text = Vec::new();
        let read = GzDecoder::new(packed.as_slice()).take(MAX_PROVIDES + 1).read_to_end(&mut text);
        ensure!(read.context("is damaged")? as u64 <= MAX_PROVIDES, "unpacks to more than {MAX_PROVIDES} bytes");
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}
