//! Receives and hashes closures of mirrors: one change at a time, in a thread of its own, bounded in bytes and time,
//! and ended when whoever asked for it goes away. Nothing is written to a disk.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, bail};
use tce_mirror::checksum::hex;
use tce_mirror::fetch::{Allowance, Mirror};
use tce_mirror::plan;
use tce_mirror::sync::{self, Copy, Repository};
use tokio::sync::Semaphore;
use wire::extensions::{Source, list};

use super::Origin;
use crate::http::problem::Failure;
use crate::limits::{HASHED_BYTES, HASHING_TIME};
use crate::registry::Refusal;

/// Stands for the kernel's release in names, and is no release itself.
const NO_KERNEL: &str = "KERNEL";

/// SHA-256 by file name.
type Digests = BTreeMap<String, String>;

/// The one place where mirrors are hashed.
#[derive(Debug, Clone)]
pub struct Hashing(Arc<Semaphore>);

impl Default for Hashing {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(1)))
    }
}

/// Has the thread end when nobody waits for it any more.
struct Stop(Arc<AtomicBool>);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Hashing {
    /// Hashes these closures; the text goes before what is said of one that fails.
    ///
    /// # Errors
    /// A mirror does not give its list, or an extension that is in it, rightly. Another change is being worked on.
    pub(super) async fn hash(&self, wanted: Vec<(String, Origin)>) -> Result<Vec<(Origin, Digests)>, Failure> {
        let permit = Arc::clone(&self.0).try_acquire_owned().map_err(|_| busy())?;
        let stop = Stop(Arc::default());
        let stopped = Arc::clone(&stop.0);
        let work = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let mut allowance = Allowance::new(HASHED_BYTES, HASHING_TIME, &stopped);
            let hash = |(whom, from): (String, Origin)| {
                let digests = digests(&from, &mut allowance).map_err(|error| format!("{whom}{error:#}"))?;
                tracing::info!("{} extensions were received from {} and hashed", digests.len(), from.source.mirror);
                Ok((from, digests))
            };
            wanted.into_iter().map(hash).collect::<Result<Vec<_>, String>>()
        });
        let hashed = work.await.map_err(anyhow::Error::new)?;
        drop(stop);
        hashed.map_err(|error| refused(&error).into())
    }
}

/// SHA-256 of each extension in the install list's closure, by file name.
fn digests(Origin { source, kernel }: &Origin, allowance: &mut Allowance<'_>) -> anyhow::Result<Digests> {
    let url = source.install_list.as_deref().context("the mirror has no install list")?;
    let (folder, file) = url.rsplit_once('/').context("the install list's URL has no path")?;
    let Some(text) = Mirror::new(folder)?.text_within(file, allowance)? else {
        bail!("{url} is not there; it must hold the names of the extensions to load, as a JSON array or one a line");
    };
    let kernel = kernel.as_deref().unwrap_or(NO_KERNEL);
    let read =
        |name: &String| plan::name(name, kernel).with_context(|| format!("{url}: {name:?} is no extension's name"));
    let wanted = list(&text).iter().map(read).collect::<anyhow::Result<Vec<String>>>()?;
    let (release, arch) = source.repository.split_once('/').context("the repository has no architecture")?;
    let repository = Repository { release: release.to_owned(), arch: arch.to_owned(), kernel: kernel.to_owned() };
    let copy = sync::hash(&Mirror::new(&source.mirror)?, &repository, &wanted, allowance)?;
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

fn busy() -> Refusal {
    let error = "the extensions of a mirror are being hashed for another change";
    Refusal::new(409, "mirror_busy", error, "Nothing was changed. Give the command again when the other one has ended.")
}
