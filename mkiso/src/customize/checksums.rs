//! The file of checksums that `mkiso build` has put beside an image, and that shall stay true of it. The manifest goes on
//! describing the image as it was built.

use std::path::Path;

use anyhow::{Context as _, Result};

use crate::build::outputs::Outputs;
use crate::output::folder_of;

/// Suffix of the file.
const FILE: &str = "sha256";

/// The checksums beside an image that is to be replaced.
pub(super) struct Checksums {
    outputs: Outputs,
    /// Suffix of the image.
    suffix: String,
    text: String,
}

impl Checksums {
    /// The file beside an image, when there is one that names the image.
    ///
    /// # Errors
    /// The folder cannot be written to.
    pub(super) fn beside(image: &Path) -> Result<Option<Self>> {
        let name = |part: Option<&std::ffi::OsStr>| part.and_then(|part| part.to_str()).map(str::to_owned);
        let (Some(stem), Some(suffix)) = (name(image.file_stem()), name(image.extension())) else { return Ok(None) };
        let Ok(text) = std::fs::read_to_string(image.with_extension(FILE)) else { return Ok(None) };
        if with_digest(&text, &format!("{stem}.{suffix}"), "").is_none() {
            return Ok(None);
        }
        Ok(Some(Self { outputs: Outputs::new(&folder_of(image), &stem)?, suffix, text }))
    }

    /// Puts another image in place together with its checksum, both or neither.
    ///
    /// # Errors
    /// As for `make`, or one of the files cannot be put in place.
    pub(super) fn replace(mut self, make: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
        make(&self.outputs.reserve(&self.suffix))?;
        let name = self.outputs.name(&self.suffix);
        let digest = self.outputs.digests()?.get(&name).with_context(|| format!("{name} has no digest"))?;
        let text = with_digest(&self.text, &name, digest).with_context(|| format!("no checksum of {name}"))?;
        self.outputs.write(FILE, &[text.as_bytes()])?;
        self.outputs.publish()
    }
}

/// A file of checksums, in the form of `sha256sum`, with another digest for one name; nothing when the name is not in it.
fn with_digest(text: &str, name: &str, digest: &str) -> Option<String> {
    let is_its = |line: &str| line.split_once("  ").is_some_and(|(_, of)| of == name);
    let line = |line: &str| if is_its(line) { format!("{digest}  {name}\n") } else { format!("{line}\n") };
    text.lines().any(is_its).then(|| text.lines().map(line).collect())
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
