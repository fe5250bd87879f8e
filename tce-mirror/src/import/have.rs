//! What the base has already: a list by hand, or what a base ISO of `mkiso base` says of itself.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, anyhow, ensure};
use serde::Deserialize;

use super::control::is_name;
use crate::recipe::Present;
use crate::tool::XORRISO;

/// In a base ISO: what it was made of.
const DESCRIPTION: &str = "mk-base.json";

/// What of a base's description is needed here.
#[derive(Deserialize)]
struct Description {
    libraries: Vec<String>,
}

/// Reads a list: names of packages and paths of shared libraries, one a line, with comments after `#`.
///
/// # Errors
/// The line that is neither.
pub fn list(text: &str) -> Result<Present> {
    let mut present = Present::default();
    for (number, line) in text.lines().enumerate() {
        let word = line.split('#').next().unwrap_or_default().trim();
        if word.is_empty() {
            continue;
        }
        if word.contains('/') {
            present.libraries.insert(crate::tree::usr_merged(word.trim_start_matches('/')));
        } else {
            ensure!(is_name(word), "line {} is neither a package nor a library's path: {word:.60?}", number + 1);
            present.packages.insert(word.to_owned());
        }
    }
    Ok(present)
}

/// Adds the libraries of a base ISO.
///
/// # Errors
/// It cannot be read, or was not made by `mkiso base`.
pub fn base(iso: &Path, present: &mut Present) -> Result<()> {
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let to = folder.path().join(DESCRIPTION);
    ensure!(iso.is_file(), "{} is no file; name the ISO image itself", iso.display());
    let (from, iso_path) = (format!("/{DESCRIPTION}"), iso.as_os_str());
    let words = ["-osirrox", "on", "-indev"].map(std::ffi::OsStr::new);
    let more = ["-extract".as_ref(), from.as_ref(), to.as_os_str()];
    let said = XORRISO.run(&[&words[..], &[iso_path], &more[..]].concat(), &[]);
    let text = said.and_then(|_| Ok(fs::read_to_string(&to)?)).with_context(|| {
        format!(
            "{} has no {DESCRIPTION}, which `mkiso base` puts into its bases; say by --have what this one has",
            iso.display()
        )
    })?;
    let said: Description = serde_json::from_str(&text)
        .map_err(|e| anyhow!("{DESCRIPTION} of {} is of another version ({e}); make the base anew", iso.display()))?;
    present.libraries.extend(said.libraries);
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn packages_and_libraries() {
        let text = "libc6 # the base's own\r\n\n/lib/x86_64-linux-gnu/libz.so.1\n# remark\nusr/lib/libx.so\n";
        let present = list(text).unwrap();
        assert_eq!(present.packages.into_iter().collect::<Vec<_>>(), ["libc6"]);
        let libraries: Vec<String> = present.libraries.into_iter().collect();
        assert_eq!(libraries, ["usr/lib/libx.so", "usr/lib/x86_64-linux-gnu/libz.so.1"]);
        assert!(list("libc6\nnot a name\n").unwrap_err().to_string().contains("line 2"));
    }

    proptest! {
        #[test]
        fn any_list_is_read_or_refused(text in "\\PC{0,80}") {
            let _ = list(&text);
        }
    }
}
