//! What nodes may load from a mirror: the closure of its install list, fetched once when an operator names the mirror, and
//! hashed. Nodes are sent the digests with the mirror's URL and load nothing else from it.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail};
use serde_json::Value;
use tce_mirror::checksum::hex;
use tce_mirror::fetch::Mirror;
use tce_mirror::plan;
use tce_mirror::sync::{self, Copy, Repository};
use wire::config::{ABOUT_EXTENSIONS, Config};
use wire::extensions::{Source, list};

use crate::http::State;
use crate::http::problem::Failure;
use crate::registry::Refusal;
use crate::registry::configs::{self as keys, Wanted};
use crate::registry::operate::Operation;
use crate::store::configs::{self, Keys};
use crate::store::nodes;

/// The key that holds the digests.
const DIGESTS: &str = "mk_tce_sha256";
/// Stands for the kernel's release in names, and is no release itself.
const NO_KERNEL: &str = "KERNEL";

/// Completes a change of configuration with the digests of what it has nodes load. Any other operation, a change of other
/// keys, and one that brings digests of its own are left as they are; so is one that will be refused for a wrong value.
///
/// # Errors
/// The mirror does not give its list, or an extension that is in it, rightly; each is named.
pub async fn complete(state: &State, mut operation: Operation) -> Result<Operation, Failure> {
    let Operation::SetConfig { node, set, unset } = &mut operation else { return Ok(operation) };
    let about = |key: &str| ABOUT_EXTENSIONS.contains(&key);
    let touched = set.keys().map(String::as_str).chain(unset.iter().map(String::as_str)).any(about);
    if !touched || set.contains_key(DIGESTS) {
        return Ok(operation);
    }
    let Some(config) = after(state, node.as_deref(), set, unset).await? else { return Ok(operation) };
    let source = Source::of(&config, &state.own_url);
    if source.is_internal() {
        unset.push(DIGESTS.to_owned());
        return Ok(operation);
    }
    let kernel = config.mk_tce_kernel.clone();
    let work = tokio::task::spawn_blocking(move || digests(&source, kernel.as_deref()));
    let digests = work.await.map_err(anyhow::Error::new)?.map_err(|error| refused(&format!("{error:#}")))?;
    tracing::info!("{} extensions were fetched from the mirror and hashed", digests.len());
    unset.retain(|key| key != DIGESTS);
    set.insert(DIGESTS.to_owned(), serde_json::to_value(digests).map_err(anyhow::Error::new)?);
    Ok(operation)
}

/// The keys that hold after the change; none if it will be refused.
async fn after(state: &State, node: Option<&str>, set: &Keys, unset: &[String]) -> anyhow::Result<Option<Config>> {
    let mut db = state.store.readers.acquire().await?;
    let mut after = configs::get(&mut db, None).await?.keys;
    if let Some(id) = node {
        let Some(id) = nodes::parse_name(id) else { return Ok(None) };
        let wanted = Wanted::of(&mut db, id).await?;
        let mut own = wanted.own.keys;
        own.retain(|key, _| !unset.contains(key));
        after.extend(own);
    } else {
        after.retain(|key, _| !unset.contains(key));
    }
    for (key, value) in set {
        let Ok(value) = keys::read(key, value) else { return Ok(None) };
        after.insert(key.clone(), value);
    }
    after.remove(DIGESTS);
    Ok(Some(serde_json::from_value(Value::Object(after))?))
}

/// SHA-256 of each extension in the install list's closure, by file name.
fn digests(source: &Source, kernel: Option<&str>) -> anyhow::Result<BTreeMap<String, String>> {
    let url = source.install_list.as_deref().context("the mirror has no install list")?;
    let (folder, file) = url.rsplit_once('/').context("the install list's URL has no path")?;
    let Some(text) = Mirror::new(folder)?.text(file)? else {
        bail!("{url} is not there; it must hold the names of the extensions to load, as a JSON array or one a line");
    };
    let kernel = kernel.unwrap_or(NO_KERNEL);
    let read =
        |name: &String| plan::name(name, kernel).with_context(|| format!("{url}: {name:?} is no extension's name"));
    let wanted = list(&text).iter().map(read).collect::<anyhow::Result<Vec<String>>>()?;
    let (release, arch) = source.repository.split_once('/').context("the repository has no architecture")?;
    let repository = Repository { release: release.to_owned(), arch: arch.to_owned(), kernel: kernel.to_owned() };
    let place = tempfile::tempdir().context("no folder can be made for what is fetched")?;
    let copy = sync::run(&[Mirror::new(&source.mirror)?], &repository, &wanted, place.path(), |_| {})?;
    whole(&copy, source)?;
    Ok(copy.files.into_iter().map(|(name, verified)| (name, hex(&verified.sha256))).collect())
}

/// Nothing of the list is missing.
fn whole(copy: &Copy, source: &Source) -> anyhow::Result<()> {
    let Some((name, missing)) = copy.missing.iter().next() else { return Ok(()) };
    let by = missing.needed_by.as_ref().map_or("the install list".to_owned(), |by| format!("{by}.dep"));
    let kernel = if name.contains(NO_KERNEL) {
        ". KERNEL stands for the nodes' kernel release: set mk_tce_kernel to what `uname -r` prints on them"
    } else {
        ""
    };
    bail!("{}/{} has no {name}, which {by} names{kernel}", source.mirror, source.folder())
}

fn refused(error: &str) -> Refusal {
    let remedy = "Nothing was changed. Correct the mirror or the key and try again; docs/OPERATORS.md says what a mirror holds. \
                  Where only nodes reach it, give the digests yourself as mk_tce_sha256.";
    Refusal::new(422, "bad_mirror", error, remedy)
}
