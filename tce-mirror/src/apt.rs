//! A private APT state: own sources, lists and list of installed packages, below the cache folder. No root, and
//! nothing of the machine's own package state is read but its proxies.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, bail, ensure};

use serde::{Deserialize, Serialize};

use crate::limits::DOWNLOAD_TIMEOUT_S;
use crate::package::Package;
use crate::tool::{APT_CONFIG, APT_GET, APT_HELPER, tail};

/// The version that packages have which are left out: newer than any that is asked for.
const WITHOUT_VERSION: &str = "99999";

/// Where packages come from, as the section `[debian]` of `image.toml` says it.
#[derive(Debug, Clone, Deserialize)]
pub struct Sources {
    /// Debian's name of the machine architecture.
    pub architecture: String,
    /// File with the archives' public keys.
    pub keyring: PathBuf,
    /// Archives, in order.
    pub archives: Vec<Archive>,
    /// Parts of the archives.
    pub components: Vec<String>,
    /// Packages that are left out although others depend on them, with the reason.
    #[serde(default)]
    pub without: BTreeMap<String, String>,
}

/// One archive.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Archive {
    /// Its address.
    pub uri: String,
    /// Suites that are taken from it.
    pub suites: Vec<String>,
}

/// The state.
#[derive(Debug)]
pub struct Apt {
    conf: PathBuf,
}

impl Apt {
    /// Lays the state out in `folder`.
    ///
    /// # Errors
    /// A file cannot be written, or the keyring is missing.
    pub fn new(folder: &Path, config: &Sources) -> Result<Self> {
        ensure!(
            config.keyring.is_file(),
            "the archives' keys {} are missing; install them: apt-get install debian-archive-keyring",
            config.keyring.display()
        );
        for sub in ["lists/partial", "archives/partial", "etc/preferences.d", "parts"] {
            let sub = folder.join(sub);
            fs::create_dir_all(&sub).with_context(|| format!("cannot make the folder {}", sub.display()))?;
        }
        let conf = folder.join("apt.conf");
        for (path, text) in [
            (conf.clone(), settings(folder, config, &proxies()?)),
            (folder.join("etc/sources.list"), sources(config)),
            (folder.join("status"), status(&config.without, &config.architecture)),
        ] {
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(Self { conf })
    }

    /// Downloads the lists of packages.
    ///
    /// # Errors
    /// An archive cannot be reached or is not signed by the keyring.
    pub fn update(&self) -> Result<()> {
        self.get(&["update", "--error-on=any"]).context(
            "cannot get the lists of packages; check the network and the archives in image.toml, or build with the \
             image.lock and cache of another machine",
        )?;
        Ok(())
    }

    /// The kernel's own package, where `name` is one that only depends on it.
    ///
    /// # Errors
    /// There is no such package.
    pub fn kernel(&self, name: &str) -> Result<String> {
        let files = self.get(&["install", "--print-uris", "-qq", name])?;
        parse_uris(&files)?
            .into_iter()
            .map(|p| p.name)
            .filter(|n| {
                n.strip_prefix("linux-image-").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
            })
            .max()
            .ok_or_else(|| anyhow!("{name} leads to no kernel package; name one as `kernel` in image.toml"))
    }

    /// The names of `packages` and of all that they depend on and that is not left out.
    ///
    /// # Errors
    /// A package does not exist, or dependencies cannot be met.
    pub fn closure(&self, packages: &[&str]) -> Result<Vec<String>> {
        let mut args = vec!["install", "--print-uris", "-qq"];
        args.extend(packages);
        Ok(parse_uris(&self.get(&args)?)?.into_iter().map(|p| p.name).collect())
    }

    /// Where each of `packages` is to be had, sorted by name.
    ///
    /// # Errors
    /// A package does not exist.
    pub fn locate(&self, packages: &[String]) -> Result<Vec<Package>> {
        let mut args = vec!["download", "--print-uris", "-qq"];
        args.extend(packages.iter().map(String::as_str));
        let mut found = parse_uris(&self.get(&args)?)?;
        for package in &found {
            ensure!(!package.sha256.is_empty(), "the archive gives no SHA-256 for {}", package.name);
        }
        found.sort();
        found.dedup();
        Ok(found)
    }

    /// Downloads files: address, checksum and target of each. Returns what was said about failures.
    ///
    /// # Errors
    /// The program that downloads is missing.
    pub fn download(&self, files: &[(&str, &str, &Path)]) -> Result<String> {
        let mut args = vec!["download-file".to_owned()];
        for (uri, sha256, target) in files {
            args.extend([(*uri).to_owned(), target.display().to_string(), format!("SHA256:{sha256}")]);
        }
        let output = APT_HELPER.output(&args, &[("APT_CONFIG", self.conf.as_os_str())])?;
        Ok(if output.status.success() { String::new() } else { tail(&output.stderr) })
    }

    fn get(&self, args: &[&str]) -> Result<String> {
        APT_GET.run(args, &[("APT_CONFIG", OsStr::new(&self.conf))])
    }
}

/// The machine's own proxy settings, as lines of a settings file.
fn proxies() -> Result<String> {
    let dump = APT_CONFIG.run(&["dump", "Acquire"], &[])?;
    Ok(dump.lines().filter(|l| l.to_ascii_lowercase().contains("proxy")).fold(String::new(), |text, l| text + l + "\n"))
}

fn settings(folder: &Path, config: &Sources, proxies: &str) -> String {
    let at = folder.display();
    let architecture = &config.architecture;
    format!(
        "{proxies}\
         Dir \"{at}/\";\nDir::State \"{at}/\";\nDir::State::status \"{at}/status\";\nDir::State::Lists \"{at}/lists/\";\n\
         Dir::Cache \"{at}/\";\nDir::Cache::archives \"{at}/archives/\";\nDir::Etc \"{at}/etc/\";\n\
         Dir::Etc::sourcelist \"sources.list\";\nDir::Etc::sourceparts \"/dev/null\";\nDir::Etc::parts \"{at}/parts/\";\n\
         Dir::Etc::main \"/dev/null\";\nDir::Etc::trusted \"/dev/null\";\nDir::Etc::trustedparts \"{at}/parts/\";\n\
         APT::Architecture \"{architecture}\";\nAPT::Architectures {{ \"{architecture}\"; }};\n\
         APT::Install-Recommends \"false\";\nAPT::Sandbox::User \"\";\nAcquire::Languages \"none\";\nAcquire::Retries \"2\";\n\
         Acquire::http::Timeout \"{DOWNLOAD_TIMEOUT_S}\";\nAcquire::https::Timeout \"{DOWNLOAD_TIMEOUT_S}\";\n"
    )
}

fn sources(config: &Sources) -> String {
    let mut text = String::new();
    let (keyring, components) = (config.keyring.display(), config.components.join(" "));
    for archive in &config.archives {
        for suite in &archive.suites {
            text.push_str(&format!("deb [signed-by={keyring}] {} {suite} {components}\n", archive.uri));
        }
    }
    text
}

/// A list of installed packages in which only those stand that are left out.
fn status(without: &BTreeMap<String, String>, architecture: &str) -> String {
    without.keys().fold(String::new(), |text, name| {
        text + &format!(
            "Package: {name}\nStatus: install ok installed\nArchitecture: {architecture}\nMulti-Arch: allowed\n\
             Version: {WITHOUT_VERSION}\nMaintainer: none\nDescription: left out\n\n"
        )
    })
}

/// Parses lines `'URI' FILE SIZE [SHA256:DIGEST]`, as `--print-uris` gives them.
fn parse_uris(text: &str) -> Result<Vec<Package>> {
    text.lines().filter(|line| line.starts_with('\'')).map(parse_uri).collect()
}

fn parse_uri(line: &str) -> Result<Package> {
    let strange = || anyhow!("apt-get printed a line that is not understood: {line:?}");
    let mut words = line.split_whitespace();
    let uri = words.next().and_then(|w| w.strip_prefix('\'')?.strip_suffix('\'')).ok_or_else(strange)?;
    let file = words.next().ok_or_else(strange)?;
    let size = words.next().and_then(|w| w.parse().ok()).ok_or_else(strange)?;
    let sha256 = words.next().and_then(|w| w.strip_prefix("SHA256:")).unwrap_or_default();
    let mut parts = file.split('_');
    let (Some(name), Some(version)) = (parts.next(), parts.next()) else { bail!(strange()) };
    Ok(Package {
        name: name.to_owned(),
        version: version.replace("%3a", ":"),
        size,
        sha256: sha256.to_owned(),
        uri: uri.to_owned(),
    })
}

/// For the fuzzer: what apt-get prints.
#[cfg(all(any(test, fuzzing), feature = "import", feature = "serve"))]
pub(crate) fn fuzz(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    assert!(parse_uris(&text).is_ok_and(|packages| packages.len() <= text.lines().count()) || text.contains('\''));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lines_of_apt_are_read() {
        let text = "Reading…\n'http://a/b/busybox_1.35.0-4_amd64.deb' busybox_1%3a1.35.0-4_amd64.deb 452120 SHA256:ab12\n\
                    'http://a/perl.deb' perl-base_5.36_amd64.deb 12 \n";
        let found = parse_uris(text).unwrap();
        assert_eq!((found[0].name.as_str(), found[0].version.as_str()), ("busybox", "1:1.35.0-4"));
        assert_eq!((found[0].size, found[0].sha256.as_str()), (452_120, "ab12"));
        assert_eq!(found[1].sha256, "");
    }

    proptest! {
        #[test]
        fn any_line_is_read_or_refused(line in "'?[ -~]{0,60}") {
            let _ = parse_uris(&line);
        }
    }
}
