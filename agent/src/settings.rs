//! What this machine was told: the image's description of itself, the site's configuration and the kernel line, merged
//! key by key (the kernel line wins). A file that is missing leaves its defaults, and one that is broken a problem to report
//! as well. What a broken site file pins is not known: then nothing is trusted.

use std::io::ErrorKind;
use std::path::Path;

use anyhow::Context as _;
use serde::de::DeserializeOwned;
use wire::error::Problem;
use wire::limits::MAX_SETTINGS_FILE;
use wire::site::{IMAGE_PATH, Image, SITE_PATH, Site};

use crate::cmdline::{self, Argument, KernelLine, Source};
use crate::log::Level;
use crate::tls::Ca;
use crate::tree::Tree;

/// All settings of this boot. What the server pushes comes on top, in the unit that applies it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Settings {
    /// The image.
    pub(crate) image: Image,
    /// The site's configuration; its server, arguments and facts are merged into `line` already.
    pub(crate) site: Site,
    /// Why the site's configuration is not known, although there is one.
    pub(crate) broken_site: Option<Problem>,
    /// Kernel line and site arguments, merged.
    pub(crate) line: KernelLine,
    /// What was wrong with any of them.
    pub(crate) problems: Vec<Problem>,
}

impl Settings {
    /// Settings of the running machine.
    pub(crate) fn load() -> Self {
        Self::from(&Tree::live())
    }

    /// Settings of a recorded machine.
    pub(crate) fn from(tree: &Tree) -> Self {
        let mut problems = Vec::new();
        let image: Image = read(tree, IMAGE_PATH).unwrap_or_else(|why| {
            let remedy = "The rest of the image works with defaults. Build the image again.";
            problems.push(Problem::new("bad_settings", format!("{IMAGE_PATH} is ignored: {why:#}"), remedy));
            Image::default()
        });
        let (site, broken_site) = match read::<Site>(tree, SITE_PATH) {
            Ok(site) => (site, None),
            Err(why) => (Site::default(), Some(broken(&why))),
        };
        problems.extend(broken_site.clone());
        let kernel_line = tree.text("/proc/cmdline").unwrap_or_default();
        let mut arguments = site_arguments(&site);
        arguments.extend(cmdline::arguments(&kernel_line, Source::KernelLine));
        let (line, wrong) = cmdline::interpret(&arguments);
        problems.extend(wrong);
        Self { image, site, broken_site, line, problems }
    }

    /// What this image pins, if it does.
    ///
    /// # Errors
    /// It may pin something that is not known: no server can be trusted.
    pub(crate) fn ca(&self) -> Result<Option<Ca<'_>>, Problem> {
        let image_date = self.image.source_date_epoch;
        match &self.broken_site {
            Some(problem) => Err(problem.clone()),
            None => Ok(self.site.ca_pem.as_deref().map(|pem| Ca { pem, image_date })),
        }
    }

    /// Whether this image speaks to no server without TLS.
    pub(crate) fn is_pinned(&self) -> bool {
        !matches!(self.ca(), Ok(None))
    }

    /// How much is logged: what was asked for, else much in a debug image and little in others.
    pub(crate) fn level(&self) -> Level {
        let usual = if self.image.variant == "debug" { Level::Debug } else { Level::Info };
        self.line.log.unwrap_or(usual)
    }
}

fn site_arguments(site: &Site) -> Vec<Argument> {
    let own = |key: String, value: &str| Argument { key, value: value.to_owned(), source: Source::Site };
    let server = site.server.iter().map(|url| own("server".to_owned(), url));
    let facts = site.facts.iter().map(|(name, value)| own(format!("fact.{name}"), value));
    let rest = site.args.iter().flat_map(|line| cmdline::arguments(line, Source::Site));
    server.chain(facts).chain(rest).collect()
}

fn broken(why: &anyhow::Error) -> Problem {
    let text = format!(
        "{SITE_PATH} cannot be used: {why:#}. Whether it pins a CA certificate is not known, so that no server is trusted"
    );
    let remedy = "Put the site's settings into the image again, with the mkiso of the image's own version: mkiso customize IMAGE.";
    Problem::new("bad_settings", text, remedy)
}

/// A settings file; defaults where there is none.
fn read<T: DeserializeOwned + Default>(tree: &Tree, path: &str) -> anyhow::Result<T> {
    match parse(&tree.path(path)) {
        Err(why) if why.downcast_ref().map(std::io::Error::kind) == Some(ErrorKind::NotFound) => Ok(T::default()),
        parsed => parsed,
    }
}

fn parse<T: DeserializeOwned>(path: &Path) -> anyhow::Result<T> {
    let size = std::fs::metadata(path)?.len();
    anyhow::ensure!(size <= MAX_SETTINGS_FILE, "it has {size} bytes, more than {MAX_SETTINGS_FILE}");
    serde_json::from_slice(&std::fs::read(path)?).context("its content is not understood")
}

/// For the fuzzer: the site's settings, as far as they become arguments.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(bytes: &[u8]) {
    let _ = serde_json::from_slice::<Image>(bytes);
    let Ok(site) = serde_json::from_slice::<Site>(bytes) else { return };
    let arguments = site_arguments(&site);
    let (line, problems) = cmdline::interpret(&arguments);
    assert!(line.facts.len() + problems.len() <= arguments.len());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(site: Option<&str>, image: Option<&str>, line: &str) -> Settings {
        let root = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            let path = root.path().join(path.trim_start_matches('/'));
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        put("/proc/cmdline", line);
        if let Some(site) = site {
            put(SITE_PATH, site);
        }
        if let Some(image) = image {
            put(IMAGE_PATH, image);
        }
        Settings::from(&Tree::at(root.path()))
    }

    #[test]
    fn nothing_but_a_kernel_line() {
        let settings = machine(None, None, "quiet\n");
        assert_eq!(settings, Settings::default());
        assert_eq!(settings.level(), Level::Info);
    }

    #[test]
    fn the_kernel_line_wins_key_by_key() {
        let site =
            r#"{"server":"http://a:1","args":["razor.interval=5 razor.log=warn"],"facts":{"rack":"4","row":"2"}}"#;
        let settings = machine(Some(site), Some(r#"{"variant":"debug"}"#), "razor.interval=9 razor.fact.row=3");
        let server = settings.line.server.clone().unwrap();
        assert_eq!((server.url.as_str(), server.source), ("http://a:1", Source::Site));
        assert_eq!((settings.line.interval, settings.level()), (Some(9), Level::Warn));
        assert_eq!((settings.line.facts["rack"].as_str(), settings.line.facts["row"].as_str()), ("4", "3"));
        assert!(settings.problems.is_empty());
    }

    #[test]
    fn a_debug_image_logs_more() {
        assert_eq!(machine(None, Some(r#"{"variant":"debug"}"#), "").level(), Level::Debug);
    }

    #[test]
    fn broken_files_are_reported_and_the_kernel_line_still_counts() {
        let settings = machine(Some("{\"servr\":1}"), Some("no json"), "razor.server=b");
        assert_eq!(settings.problems.len(), 2);
        assert!(settings.problems.iter().all(|p| p.code == "bad_settings"));
        assert_eq!(settings.line.server.unwrap().url, "http://b:8150");
    }

    #[test]
    fn a_site_file_that_is_there_and_broken_trusts_nobody() {
        let large = format!("{{\"ca_pem\":\"{}\"}}", " ".repeat(usize::try_from(MAX_SETTINGS_FILE).unwrap()));
        let newer = r#"{"ca_pem":"PEM","of_a_newer_mkiso":1}"#;
        for broken in [newer, r#"{"ca_pem":"PE"#, "", "\0\0", &large] {
            let settings = machine(Some(broken), None, "");
            let problem = settings.ca().unwrap_err();
            assert!(settings.is_pinned() && settings.problems == [problem.clone()], "{broken:.40}");
            assert!(problem.error.contains(SITE_PATH) && problem.remedy.contains("mkiso customize"), "{problem}");
        }
        for (site, is_pinned) in [(None, false), (Some("{}"), false), (Some(r#"{"ca_pem":"PEM"}"#), true)] {
            let settings = machine(site, Some("no json"), "");
            assert_eq!((settings.ca().unwrap().is_some(), settings.is_pinned()), (is_pinned, is_pinned), "{site:?}");
        }
    }
}
