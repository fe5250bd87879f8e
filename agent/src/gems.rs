//! Unit `gems` (one-shot): installs the gems of the list that the gem mirror has, where Ruby is in the image (a `gem` on
//! the search path). Mirror and list are the image's own on 127.0.0.1:2158, or those of the pushed configuration
//! (`mk_gem_mirror_uri`, `mk_gemlist_uri`). One that cannot be installed is reported by name and stops no other.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use tce_mirror::fetch::Mirror;
use wire::config::Config;
use wire::gems::{is_name, lines};
use wire::routes::GEM_PORT;

use crate::checkin::Pushed;
use crate::exec;
use crate::limits::GEM_INSTALL;
use crate::settings::Settings;
use crate::state::Published as _;

/// RubyGems' own program.
const GEM: &str = "gem";
/// The list on a mirror, as in the original.
const LIST: &str = "gems/gem.list";

/// Runs the unit to its end.
///
/// # Errors
/// The list cannot be had, or gems cannot be installed, each with the reason; the unit is started again then.
pub(crate) fn run() -> anyhow::Result<()> {
    let Some(gem) = program() else {
        tracing::debug!("there is no {GEM} in this image, and no need of its mirror");
        return Ok(());
    };
    let source = Source::of(&Pushed::read().unwrap_or_default().config);
    let settings = Settings::load();
    install(&gem, &source, settings.ca()?.map(|ca| ca.pem))
}

/// Where gems come from.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Source {
    /// URL of the mirror, without a slash at its end.
    pub(crate) mirror: String,
    /// URL of the list.
    pub(crate) list: String,
    /// Somebody said so: then a list must be there.
    pub(crate) chosen: bool,
}

impl Source {
    /// As the pushed configuration says it, key by key; the image's own where it says nothing.
    fn of(config: &Config) -> Self {
        let text = |key: &Option<String>| key.clone().filter(|uri| !uri.is_empty());
        let (mirror, list) = (text(&config.mk_gem_mirror_uri), text(&config.mk_gemlist_uri));
        let chosen = mirror.is_some() || list.is_some();
        let mirror = mirror.unwrap_or_else(|| format!("http://127.0.0.1:{GEM_PORT}/gem-mirror"));
        let mirror = mirror.trim_end_matches('/').to_owned();
        let list = list.unwrap_or_else(|| format!("{mirror}/{LIST}"));
        Self { mirror, list, chosen }
    }
}

/// The program that installs gems.
fn program() -> Option<PathBuf> {
    exec::PATH.split(':').map(|folder| Path::new(folder).join(GEM)).find(|path| path.is_file())
}

/// Installs what the list names, by RubyGems' program `gem`.
///
/// # Errors
/// As for [`run`].
pub(crate) fn install(gem: &Path, source: &Source, ca_pem: Option<&str>) -> anyhow::Result<()> {
    let Some(list) = fetch(&source.list, ca_pem)? else {
        ensure!(!source.chosen, "the gem list {} is not there", source.list);
        tracing::debug!("this image mirrors no gems");
        return Ok(());
    };
    let (mut wrong, mut done) = (Vec::new(), 0);
    for (number, name, requirement) in lines(&list) {
        let result = match is_name(name) {
            true => one(gem, &source.mirror, name, requirement),
            false => Err(anyhow::anyhow!("line {number}: {name:.60?} is no gem's name")),
        };
        match result {
            Ok(()) => done += 1,
            Err(error) => {
                tracing::error!("{error:#}");
                wrong.push(format!("{error:#}"));
            }
        }
    }
    tracing::info!("{done} gems installed from {}", source.mirror);
    match wrong.as_slice() {
        [] => Ok(()),
        all => bail!("gems were not installed: {}", all.join("; ")),
    }
}

/// Installs one gem with all that it needs; one that is there already stays.
fn one(gem: &Path, mirror: &str, name: &str, requirement: &str) -> anyhow::Result<()> {
    let gem = gem.to_str().context("the program's path is no text")?;
    let source = format!("{mirror}/");
    let mut command =
        vec![gem, "install", "--no-document", "--conservative", "--clear-sources", "--source", &source, name];
    if !requirement.is_empty() {
        command.extend(["--version", requirement]);
    }
    let said = exec::run(&command, GEM_INSTALL)?;
    let last = said.text.trim().lines().last().unwrap_or_default();
    ensure!(said.success, "{name} from {mirror}: {last} ({})", said.status);
    tracing::info!("{name}: {last}");
    Ok(())
}

/// The text at a URL; `None` if it is not there. An image trusts no CA but its site's.
fn fetch(url: &str, ca_pem: Option<&str>) -> anyhow::Result<Option<String>> {
    let (folder, name) = url.rsplit_once('/').with_context(|| format!("the gem list {url:?} is no URL"))?;
    Mirror::trusting(folder, ca_pem)?.text(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pushed_keys_count_one_by_one() {
        let config = |mirror: &str, list: &str| Config {
            mk_gem_mirror_uri: Some(mirror.to_owned()),
            mk_gemlist_uri: Some(list.to_owned()),
            ..Config::default()
        };
        let of = |config: &Config| {
            let Source { mirror, list, chosen } = Source::of(config);
            (mirror, list, chosen)
        };
        let own = "http://127.0.0.1:2158/gem-mirror";
        assert_eq!(of(&Config::default()), (own.to_owned(), format!("{own}/gems/gem.list"), false));
        let expected = ("http://m".to_owned(), "http://m/gems/gem.list".to_owned(), true);
        assert_eq!(of(&config("http://m/", "")), expected);
        let expected = (own.to_owned(), "http://m/list".to_owned(), true);
        assert_eq!(of(&config("", "http://m/list")), expected);
    }
}
