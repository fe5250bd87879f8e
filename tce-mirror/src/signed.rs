//! The signed index of a mirror's folder: which extensions it has, for which release, architecture and kernel, with the size
//! and SHA-256 of each and what it needs. `mk-index.json` holds it, `mk-index.json.minisig` its signature as `minisign`
//! makes it. Bytes in, a verified index or a [`Refusal`] out; nothing is read from the index before its signature is right.
//! Pure; fetching is the caller's, within [`MAX_INDEX`] and [`MAX_SIGNATURE`].

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::{self, Display, Formatter};

use minisign_verify::{PublicKey, Signature};
use serde::{Deserialize, Serialize};

use crate::plan::{self, SUFFIX};

pub use crate::limits::{MAX_INDEX, MAX_SIGNATURE};

/// File of the index, beside the extensions.
pub const INDEX: &str = "mk-index.json";
/// File of its signature.
pub const SIGNATURE: &str = "mk-index.json.minisig";
/// The format that this version writes and reads.
const FORMAT: u32 = 1;
/// Stands for a kernel's release in names.
const KERNEL: &str = "KERNEL";

/// An index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Index {
    /// Version of the format.
    pub format: u32,
    /// Release and architecture, such as `17.x/x86_64`.
    pub repository: String,
    /// The kernel's release that the extensions are for; none where they are for any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<String>,
    /// Rises with every signing: who has seen one takes none with a lower number.
    pub sequence: u64,
    /// When it was signed, in seconds since 1970.
    pub date: i64,
    /// From when on it is no more valid; none where it is for good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<i64>,
    /// What is known of each extension, by file name.
    pub extensions: BTreeMap<String, Entry>,
}

/// An extension of an [`Index`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Bytes.
    pub size: u64,
    /// SHA-256 in hex.
    pub sha256: String,
    /// What it needs, as its `.dep` has it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<String>,
}

/// What an index must be for here and now.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// Release and architecture.
    pub repository: &'a str,
    /// Release of the running kernel; none where it does not matter.
    pub kernel: Option<&'a str>,
    /// The lowest number that is taken.
    pub floor: u64,
    /// Seconds since 1970.
    pub now: i64,
}

/// Why an index, or an extension that it names, is refused. What each is called is fixed: servers and people know it by that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// There is no index, or no signature beside it.
    Unsigned,
    /// The mirror did not give it, or something endless in its place.
    NotFetched,
    /// The signature is by a key that is not known here.
    UnknownKey,
    /// The signature is not that of these bytes, or is none.
    BadSignature,
    /// It is signed, and yet no index of this format.
    BadIndex,
    /// It is older than one that was seen before, or no more valid.
    Stale,
    /// It is for another release or architecture.
    WrongRelease,
    /// It is for another kernel.
    WrongKernel,
    /// It does not name the extension.
    NotListed,
    /// An extension has other bytes than it says.
    Swapped,
    /// An extension has more bytes than there is memory for.
    TooLarge,
}

impl Fault {
    /// Its name in reports.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Unsigned => "index_unsigned",
            Self::NotFetched => "index_not_fetched",
            Self::UnknownKey => "index_unknown_key",
            Self::BadSignature => "index_bad_signature",
            Self::BadIndex => "index_malformed",
            Self::Stale => "index_stale",
            Self::WrongRelease => "index_wrong_release",
            Self::WrongKernel => "index_wrong_kernel",
            Self::NotListed => "extension_not_listed",
            Self::Swapped => "extension_swapped",
            Self::TooLarge => "extension_too_large",
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn remedy(self) -> &'static str {
        match self {
            Self::Unsigned | Self::NotListed => "Sign what the mirror has: tce-mirror sign FOLDER --key FILE.",
            Self::NotFetched => "See whether the mirror is up, and what stands between it and this node.",
            Self::UnknownKey => {
                "Sign the mirror with a key of the image, or put its key into the image: mkiso customize --mirror-key FILE."
            }
            Self::BadSignature => {
                "Somebody changed the index, or the mirror is being updated. See who writes to the mirror, then sign it again: \
                 tce-mirror sign FOLDER --key FILE."
            }
            Self::BadIndex => "Sign the mirror with the tce-mirror of the image's version.",
            Self::Stale => {
                "See whether the mirror, or a cache before it, was put back to an earlier state; if it is right, sign it again: \
                 tce-mirror sign FOLDER --key FILE."
            }
            Self::WrongRelease => "Set mk_tce_repository to the folder that was signed, or sign the right one.",
            Self::WrongKernel => {
                "Sign the folder that has the extensions of this kernel: tce-mirror sign FOLDER --key FILE --kernel RELEASE."
            }
            Self::Swapped => {
                "See who writes to the mirror. If the file is right, sign the folder again (tce-mirror sign FOLDER --key FILE), or \
                 give `mk-server config set` again where the server hashed it."
            }
            Self::TooLarge => "Take it out of the list of extensions, or give the node more memory.",
        }
    }
}

/// A [`Fault`], with what was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What it is.
    pub fault: Fault,
    /// In words.
    pub why: String,
}

impl Refusal {
    /// With these words.
    pub fn new(fault: Fault, why: impl Into<String>) -> Self {
        Self { fault, why: why.into() }
    }
}

impl Display for Refusal {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

impl Error for Refusal {}

/// A public key as people give it, the text of a file as `minisign` writes it or its second line alone, as that line.
///
/// # Errors
/// It is none.
pub fn public_key(text: &str) -> Result<String, String> {
    let line = text.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or_default();
    PublicKey::from_base64(line).map(|_| line.to_owned()).map_err(|_| {
        format!("{line:.60?} is no public key of minisign: that is a file of two lines, or its second one, which begins with RW")
    })
}

/// Reads an index whose signature is by one of these public keys; with the key, as it stands in `keys`.
///
/// # Errors
/// [`Fault::BadSignature`], [`Fault::UnknownKey`], [`Fault::BadIndex`].
pub fn open<'k>(index: &[u8], signature: &[u8], keys: &'k [String]) -> Result<(Index, &'k str), Refusal> {
    let bad = |why: &str| Refusal::new(Fault::BadSignature, format!("the signature of its index {why}"));
    let text = std::str::from_utf8(signature).map_err(|_| bad("is no text"))?;
    let signature = Signature::decode(text).map_err(|_| bad("is none that minisign makes"))?;
    for key in keys {
        let Ok(public) = PublicKey::from_base64(key) else { continue };
        // Only signatures over a digest, as minisign has made them since 2021.
        match public.verify(index, &signature, false) {
            Ok(()) => return Ok((parse(index)?, key)),
            Err(minisign_verify::Error::UnexpectedKeyId) => {}
            Err(minisign_verify::Error::UnexpectedAlgorithm) => return Err(bad("is of minisign's old form (`-l`)")),
            Err(_) => return Err(bad("does not fit it: it was changed after it was signed")),
        }
    }
    Err(Refusal::new(Fault::UnknownKey, "its index is signed by a key that is not in the image"))
}

/// Reads an index that was signed. An own signature does not make a name harmless that leads out of a folder.
fn parse(bytes: &[u8]) -> Result<Index, Refusal> {
    let bad = |why: String| Refusal::new(Fault::BadIndex, format!("its index cannot be used: {why}"));
    let index: Index = serde_json::from_slice(bytes).map_err(|error| bad(error.to_string()))?;
    if index.format != FORMAT {
        return Err(bad(format!("its format is {}, this version knows {FORMAT}", index.format)));
    }
    let is_file = |name: &str| name.ends_with(SUFFIX) && plan::name(name, KERNEL).as_deref() == Some(name);
    for (name, entry) in &index.extensions {
        let is_digest = entry.sha256.len() == 64 && entry.sha256.bytes().all(|b| b.is_ascii_hexdigit());
        if !is_file(name) || !is_digest || !entry.needs.iter().all(|need| is_file(need)) {
            return Err(bad(format!("what it says of {name:.60?} makes no sense")));
        }
    }
    Ok(index)
}

impl Index {
    /// A new one.
    #[must_use]
    pub fn new(repository: String, kernel: Option<String>, sequence: u64, date: i64, expires: Option<i64>) -> Self {
        Self { format: FORMAT, repository, kernel, sequence, date, expires, extensions: BTreeMap::new() }
    }

    /// Whether it is for this machine, and new enough.
    ///
    /// # Errors
    /// [`Fault::WrongRelease`], [`Fault::WrongKernel`], [`Fault::Stale`].
    pub fn check(&self, expected: &Expected<'_>) -> Result<(), Refusal> {
        let refuse = |fault, why| Err(Refusal::new(fault, format!("its index {why}")));
        if self.repository != expected.repository {
            return refuse(Fault::WrongRelease, format!("is for {}, not {}", self.repository, expected.repository));
        }
        if let (Some(own), Some(running)) = (&self.kernel, expected.kernel)
            && own != running
        {
            return refuse(Fault::WrongKernel, format!("is for the kernel {own}, and {running} is running"));
        }
        if self.sequence < expected.floor {
            let why = format!("has number {}, and number {} was seen before", self.sequence, expected.floor);
            return refuse(Fault::Stale, why);
        }
        if let Some(expires) = self.expires.filter(|expires| *expires <= expected.now) {
            let days = expected.now.saturating_sub(expires) / 86_400;
            return refuse(Fault::Stale, format!("expired {days} days ago"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
