//! Which Tiny Core: a release (`17.0`), or the newest of a series (`17.x`). Pure: text in, paths on a mirror out.

use std::fmt;
use std::str::FromStr;

use anyhow::{Context as _, Result};
use serde::Deserialize;

/// The one architecture whose kernel the agent runs on.
pub const ARCHITECTURE: &str = "x86_64";
/// How the file of a release's ISO begins and ends.
const FILE: (&str, &str) = ("CorePure64-", ".iso");
/// What stands for the release in the name of the newest one.
const CURRENT: &str = "current";

/// A release, or a series of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Version {
    major: u32,
    minor: Option<u32>,
}

impl Version {
    /// Name of the series, as mirrors name its folder: `17.x`.
    #[must_use]
    pub fn series(&self) -> String {
        format!("{}.x", self.major)
    }

    /// Whether it is a release and no series.
    #[must_use]
    pub fn is_release(&self) -> bool {
        self.minor.is_some()
    }

    /// Whether `other` is what is asked for by this one.
    #[must_use]
    pub fn admits(&self, other: &Self) -> bool {
        self.major == other.major && (self.minor.is_none() || self.minor == other.minor)
    }

    /// Path of its ISO on a mirror. That of a series is the newest release's.
    #[must_use]
    pub fn path(&self) -> String {
        let name = self.minor.map_or(CURRENT.to_owned(), |minor| format!("{}.{minor}", self.major));
        format!("{}/{ARCHITECTURE}/release/{}{name}{}", self.series(), FILE.0, FILE.1)
    }

    /// The version whose ISO has this path on a mirror.
    #[must_use]
    pub fn of_path(path: &str) -> Option<Self> {
        let (series, rest) = path.split_once('/')?;
        let file = rest.strip_prefix(ARCHITECTURE)?.strip_prefix("/release/")?;
        let series: Self = series.parse().ok()?;
        let found = Self::of_file(file)?;
        let found = if found.is_empty() { series } else { found.parse().ok()? };
        (series.minor.is_none() && series.admits(&found)).then_some(found)
    }

    /// The release that the checksum file of a series' newest ISO names, if it names one.
    #[must_use]
    pub fn newest(&self, checksums: &str) -> Option<Self> {
        let names = checksums.split_ascii_whitespace().map(|word| word.trim_start_matches('*'));
        let files = names.filter_map(|word| Self::of_file(word.rsplit('/').next().unwrap_or(word)));
        files.filter_map(|name| name.parse().ok()).find(|found| self.admits(found) && found.is_release())
    }

    /// What stands for the release in a file's name; nothing for the newest one.
    fn of_file(file: &str) -> Option<&str> {
        let name = file.strip_prefix(FILE.0)?.strip_suffix(FILE.1)?;
        Some(if name == CURRENT { "" } else { name })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.minor {
            Some(minor) => write!(to, "{}.{minor}", self.major),
            None => write!(to, "{}.x", self.major),
        }
    }
}

impl FromStr for Version {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let parts = || {
            let (major, minor) = text.split_once('.')?;
            let number = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?;
            Some(Self { major: number(major)?, minor: if minor == "x" { None } else { Some(number(minor)?) } })
        };
        parts().with_context(|| {
            format!("{text:?} is no version of Tiny Core; write it such as 17.0, or 17.x for the newest 17")
        })
    }
}

impl TryFrom<String> for Version {
    type Error = anyhow::Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    #[test]
    fn paths_are_those_of_the_mirrors() {
        assert_eq!(version("17.0").path(), "17.x/x86_64/release/CorePure64-17.0.iso");
        assert_eq!(version("17.x").path(), "17.x/x86_64/release/CorePure64-current.iso");
        for text in ["17.0", "17.x", "9.12"] {
            assert_eq!(Version::of_path(&version(text).path()), Some(version(text)));
        }
        for path in ["17.x/x86_64/tcz/bash.tcz", "16.x/x86_64/release/CorePure64-17.0.iso", "17.0"] {
            assert_eq!(Version::of_path(path), None, "{path}");
        }
    }

    #[test]
    fn a_series_admits_its_releases() {
        assert!(version("17.x").admits(&version("17.1")) && version("17.1").admits(&version("17.1")));
        assert!(!version("17.x").admits(&version("16.1")) && !version("17.1").admits(&version("17.0")));
        assert!(!version("17.1").admits(&version("17.x")));
    }

    #[test]
    fn a_checksum_file_tells_which_release_is_the_newest() {
        let sum = "d41d8cd98f00b204e9800998ecf8427e";
        for (name, want) in [
            ("CorePure64-17.1.iso", Some("17.1")),
            ("*./release/CorePure64-17.1.iso", Some("17.1")),
            ("CorePure64-current.iso", None),
            ("CorePure64-16.2.iso", None),
            ("", None),
        ] {
            assert_eq!(version("17.x").newest(&format!("{sum}  {name}\r\n")), want.map(version), "{name}");
        }
    }

    #[test]
    fn what_is_no_version_is_refused_with_examples() {
        for text in ["", "17", "x.17", "17.", ".1", "17.0.1", "17.x.x", "-1.0", "17.+1", "99999999999.0"] {
            let error = text.parse::<Version>().unwrap_err().to_string();
            assert!(error.contains("17.x"), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in "\\PC{0,40}") {
            let _ = text.parse::<Version>();
            let _ = Version::of_path(&text);
            let _ = version("17.x").newest(&text);
        }

        #[test]
        fn what_is_written_is_read_back(major in 0_u32..99, minor in proptest::option::of(0_u32..99)) {
            let version = Version { major, minor };
            prop_assert_eq!(version.to_string().parse::<Version>().unwrap(), version);
        }
    }
}
