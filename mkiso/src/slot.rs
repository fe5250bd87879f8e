//! The site slot: `site.img`, the third initrd. Zeros, or a small plain cpio archive with the site's own files at its
//! start and zeros behind, which the kernel skips.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail, ensure};
use wire::embed::Built;
use wire::limits::MAX_SETTINGS_FILE;
use wire::site::{AUTHORIZED_KEYS_PATH, SITE_PATH, Site};
use wire::unit::UNITS_PATH;

use crate::cpio::initrd;
use crate::cpio::write::Archive;

/// Ending of a unit file's name.
pub(crate) const TOML: &str = ".toml";

/// What a slot holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Content {
    /// The site's settings.
    pub site: Site,
    /// Public keys in OpenSSH's `authorized_keys` format; empty for none.
    pub authorized_keys: String,
    /// Texts of the site's unit files, by the names of their units.
    pub units: BTreeMap<String, String>,
}

/// No image is built with units in its slot.
impl From<Content> for Built {
    fn from(Content { site, authorized_keys, .. }: Content) -> Self {
        Self { site, authorized_keys }
    }
}

impl From<Built> for Content {
    fn from(Built { site, authorized_keys }: Built) -> Self {
        Self { site, authorized_keys, units: BTreeMap::new() }
    }
}

impl Content {
    /// The slot's bytes, `len` of them.
    ///
    /// # Errors
    /// The content needs more than `len` bytes, or is more than machines read; the message says how many.
    pub fn to_slot(&self, len: u64) -> Result<Vec<u8>> {
        let mut bytes = if *self == Self::default() { Vec::new() } else { self.archive()? };
        let needed = bytes.len() as u64;
        ensure!(
            needed <= len,
            "the site's settings need {needed} bytes, the image's slot has {len}; leave something out, or build the \
             image with a larger slot"
        );
        bytes.resize(usize::try_from(len)?, 0);
        Ok(bytes)
    }

    /// Reads a slot.
    ///
    /// # Errors
    /// The slot holds something that [`Content::to_slot`] never writes.
    pub fn from_slot(slot: &[u8]) -> Result<Self> {
        let mut content = Self::default();
        let mut problem = None;
        initrd::for_each(slot, slot.len() as u64, |member| {
            let name = format!("/{}", String::from_utf8_lossy(member.name));
            if let Err(error) = content.take(&name, member.data) {
                problem.get_or_insert(error);
            }
        })
        .context("the image's slot is damaged; build the image again")?;
        problem.map_or(Ok(content), Err)
    }

    fn take(&mut self, name: &str, data: &[u8]) -> Result<()> {
        let unit = name.strip_prefix(UNITS_PATH).and_then(|rest| rest.strip_prefix('/')?.strip_suffix(TOML));
        if let Some(unit) = unit {
            let text = String::from_utf8(data.to_vec()).with_context(|| format!("{name} in the slot"))?;
            self.units.insert(unit.to_owned(), text);
            return Ok(());
        }
        match name {
            UNITS_PATH => {}
            SITE_PATH => self.site = serde_json::from_slice(data).with_context(|| format!("{name} in the slot"))?,
            AUTHORIZED_KEYS_PATH => {
                self.authorized_keys =
                    String::from_utf8(data.to_vec()).with_context(|| format!("{name} in the slot"))?;
            }
            _ if folders(SITE_PATH).chain(folders(AUTHORIZED_KEYS_PATH)).any(|folder| format!("/{folder}") == name) => {
            }
            _ => bail!("the slot holds {name}, which this version of mkiso does not know; use the one that wrote it"),
        }
        Ok(())
    }

    fn archive(&self) -> Result<Vec<u8>> {
        let mut archive = Archive::new(0);
        let site = serde_json::to_vec_pretty(&self.site)?;
        let size = site.len() as u64;
        ensure!(
            size <= MAX_SETTINGS_FILE,
            "the site's settings have {size} bytes, machines read at most {MAX_SETTINGS_FILE}; leave something out"
        );
        for folder in folders(SITE_PATH) {
            archive.dir(folder, 0o755)?;
        }
        archive.file(relative(SITE_PATH), 0o644, &site)?;
        if !self.units.is_empty() {
            archive.dir(relative(UNITS_PATH), 0o755)?;
        }
        for (name, text) in &self.units {
            archive.file(&format!("{}/{name}{TOML}", relative(UNITS_PATH)), 0o644, text.as_bytes())?;
        }
        if !self.authorized_keys.is_empty() {
            for folder in folders(AUTHORIZED_KEYS_PATH) {
                archive.dir(folder, 0o700)?;
            }
            archive.file(relative(AUTHORIZED_KEYS_PATH), 0o600, self.authorized_keys.as_bytes())?;
        }
        Ok(archive.finish())
    }
}

/// A path as archives have it.
#[must_use]
pub fn relative(path: &str) -> &str {
    path.trim_start_matches('/')
}

/// The folders above a path, outermost first, without the root.
fn folders(path: &str) -> impl Iterator<Item = &str> {
    let path = relative(path);
    path.match_indices('/').map(|(at, _)| &path[..at])
}

/// Checks that `text` is a list of OpenSSH public keys, and gives it with one line feed at its end.
///
/// # Errors
/// A private key, or a line that is no public key.
pub fn public_keys(text: &str) -> Result<String> {
    ensure!(!text.contains("PRIVATE KEY"), "this is a private key; give the public one (its name ends with .pub)");
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let keys: Vec<&str> = lines.collect();
    ensure!(!keys.is_empty(), "there is no public key in it");
    for key in &keys {
        ensure!(is_public_key(key), "{key:.40?} is no OpenSSH public key");
    }
    Ok(keys.join("\n") + "\n")
}

/// Whether a line has a key type followed by a key; options may stand before.
fn is_public_key(line: &str) -> bool {
    let kinds = ["ssh-", "ecdsa-", "sk-"];
    let words: Vec<&str> = line.split_whitespace().collect();
    words.windows(2).any(|pair| kinds.iter().any(|kind| pair[0].starts_with(kind)) && pair[1].starts_with("AAAA"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIE1NRkFCQ0RFRkdISUpLTE1OT1BRUlNUVVZXWFla operator@host";

    fn content() -> Content {
        let site = Site { server: Some("http://10.0.0.1:8150".into()), ..Site::default() };
        let units = BTreeMap::from([("tool".into(), "name = \"tool\"".into())]);
        Content { site, authorized_keys: format!("{KEY}\n"), units }
    }

    #[test]
    fn an_empty_content_is_zeros() {
        assert_eq!(Content::default().to_slot(1024).unwrap(), vec![0; 1024]);
    }

    #[test]
    fn what_is_put_in_is_read_back() {
        let slot = content().to_slot(4096).unwrap();
        assert_eq!(slot.len(), 4096);
        assert_eq!(Content::from_slot(&slot).unwrap(), content());
        assert_eq!(Content::from_slot(&[0; 4096]).unwrap(), Content::default());
    }

    #[test]
    fn files_are_private_and_their_folders_come_first() {
        let slot = content().to_slot(4096).unwrap();
        let mut seen = Vec::new();
        initrd::for_each(&slot, 4096, |member| {
            seen.push((String::from_utf8_lossy(member.name).into_owned(), member.mode & 0o7777));
        })
        .unwrap();
        let expected = [
            ("etc", 0o755),
            ("etc/razor-mk", 0o755),
            ("etc/razor-mk/site.json", 0o644),
            ("etc/razor-mk/units.d", 0o755),
            ("etc/razor-mk/units.d/tool.toml", 0o644),
            ("root", 0o700),
            ("root/.ssh", 0o700),
            ("root/.ssh/authorized_keys", 0o600),
        ];
        assert_eq!(seen, expected.map(|(name, mode)| (name.to_owned(), mode)));
    }

    #[test]
    fn an_overflow_says_needed_and_available_bytes() {
        let error = content().to_slot(512).unwrap_err().to_string();
        assert!(error.contains("has 512") && error.contains("need "), "{error}");
    }

    #[test]
    fn settings_that_no_machine_would_read_are_refused() {
        let most = usize::try_from(MAX_SETTINGS_FILE).unwrap();
        let with = |length| Content { site: Site { ca_pem: Some("x".repeat(length)), ..Site::default() }, ..content() };
        let around = serde_json::to_vec_pretty(&with(0).site).unwrap().len();
        let slot = with(most - around).to_slot(2 * MAX_SETTINGS_FILE).unwrap();
        assert_eq!(Content::from_slot(&slot).unwrap(), with(most - around));
        let error = with(most - around + 1).to_slot(2 * MAX_SETTINGS_FILE).unwrap_err().to_string();
        assert!(error.contains(&format!("have {} bytes", most + 1)), "{error}");
    }

    #[test]
    fn a_foreign_slot_is_refused() {
        let mut archive = Archive::new(0);
        archive.file("etc/passwd", 0o644, b"x").unwrap();
        assert!(Content::from_slot(&archive.finish()).unwrap_err().to_string().contains("/etc/passwd"));
        assert!(Content::from_slot(b"rubbish").is_err());
    }

    #[test]
    fn only_public_keys_are_taken() {
        assert_eq!(public_keys(&format!("# mine\n\n{KEY}\n")).unwrap(), format!("{KEY}\n"));
        public_keys(&format!("from=\"10.0.0.0/8\" {KEY}")).unwrap();
        let private = public_keys("-----BEGIN OPENSSH PRIVATE KEY-----\nx").unwrap_err().to_string();
        assert!(private.contains(".pub"), "{private}");
        assert!(public_keys("hello world").is_err());
        assert!(public_keys("").is_err());
    }
}
