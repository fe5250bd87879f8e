//! What an image was built from: its version and its date, from git where there is a checkout.

use std::path::Path;

use anyhow::{Context as _, Result};

/// The date of an image that was built outside a git checkout: 2025-01-01.
const FIXED_EPOCH: u32 = 1_735_689_600;
/// The environment variable that sets the date, see reproducible-builds.org.
const EPOCH_VARIABLE: &str = "SOURCE_DATE_EPOCH";

/// Version and date.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Version, such as `0.1.0` for a release or `0.1.0+12-g1a2b3c4` for a commit after it.
    pub version: String,
    /// Date of all that the image has, in seconds since 1970.
    pub epoch: u32,
}

impl Source {
    /// Asks the environment and git about the checkout that `folder` lies in.
    ///
    /// # Errors
    /// `SOURCE_DATE_EPOCH` is set to something that is no date.
    pub fn find(folder: &Path) -> Result<Self> {
        let described = git(folder, &["describe", "--tags", "--match", "v*", "--long", "--always", "--dirty"]);
        let epoch = match std::env::var(EPOCH_VARIABLE) {
            Ok(text) => text.parse().with_context(|| {
                format!("{EPOCH_VARIABLE} is {text:?}; it must be seconds since 1970, below 4294967296")
            })?,
            Err(_) => {
                let date = git(folder, &["log", "-1", "--format=%ct"]).and_then(|text| text.parse().ok());
                date.unwrap_or(FIXED_EPOCH)
            }
        };
        Ok(Self { version: version(env!("CARGO_PKG_VERSION"), described.as_deref()), epoch })
    }
}

/// One line of git's output; `None` where there is no git or no checkout.
fn git(folder: &Path, args: &[&str]) -> Option<String> {
    let command = duct::cmd("git", args).dir(folder).stderr_null().unchecked().stdout_capture();
    let output = command.run().ok().filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// The version in the ancestor's form: `0.1.0`, or `0.1.0+4-g<hash>` for what is not exactly a release.
fn version(release: &str, described: Option<&str>) -> String {
    let Some(described) = described else { return release.to_owned() };
    match described.strip_prefix('v').and_then(|rest| rest.split_once('-')) {
        Some((tag, rest)) if rest.starts_with("0-") && !rest.ends_with("-dirty") => tag.to_owned(),
        Some((tag, rest)) => format!("{tag}+{rest}"),
        None => format!("{release}+g{described}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_have_the_ancestors_form() {
        assert_eq!(version("0.1.0", None), "0.1.0");
        assert_eq!(version("0.1.0", Some("1a2b3c4")), "0.1.0+g1a2b3c4");
        assert_eq!(version("0.1.0", Some("1a2b3c4-dirty")), "0.1.0+g1a2b3c4-dirty");
        assert_eq!(version("0.1.0", Some("v0.2.0-0-g1a2b3c4")), "0.2.0");
        assert_eq!(version("0.1.0", Some("v0.2.0-0-g1a2b3c4-dirty")), "0.2.0+0-g1a2b3c4-dirty");
        assert_eq!(version("0.1.0", Some("v0.2.0-48-g1a2b3c4")), "0.2.0+48-g1a2b3c4");
    }

    #[test]
    fn a_folder_outside_a_checkout_has_the_release_and_a_fixed_date() {
        let folder = tempfile::tempdir().unwrap();
        let source = Source::find(folder.path()).unwrap();
        assert_eq!(source.version, env!("CARGO_PKG_VERSION"));
        if std::env::var_os(EPOCH_VARIABLE).is_none() {
            assert_eq!(source.epoch, FIXED_EPOCH);
        }
    }
}
