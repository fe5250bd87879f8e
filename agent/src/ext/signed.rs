//! The signed index of the external mirror, fetched once and only when an extension is asked for that nothing else proves. The
//! keys are those of image and slot; the lowest number that is taken is the highest of: the image's own, those that this
//! node believed in this boot, and those that the server knows of its boots before.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::bail;
use tce_mirror::fetch::Mirror;
use tce_mirror::signed::{self, Entry, Expected, Fault, INDEX, Index, MAX_INDEX, MAX_SIGNATURE, Refusal, SIGNATURE};

use crate::checkin::Pushed;
use crate::limits::INDEX_PAUSE;
use crate::settings::Settings;
use crate::state::{Extensions, Published as _};

/// A mirror's index, once it was asked for.
pub(super) struct Signed<'a> {
    keys: &'a [String],
    expected: Expected<'a>,
    known: BTreeMap<String, u64>,
    found: OnceCell<Result<Found<'a>, Refusal>>,
}

/// An index that is believed.
struct Found<'a> {
    index: Index,
    key: &'a str,
}

impl<'a> Signed<'a> {
    /// By one of these keys, and for here and now.
    pub(super) fn by(keys: &'a [String], expected: Expected<'a>) -> Self {
        Self { keys, expected, known: BTreeMap::new(), found: OnceCell::new() }
    }

    /// With the numbers that are known, by key.
    pub(super) fn knowing(self, known: &BTreeMap<String, u64>) -> Self {
        Self { known: known.clone(), ..self }
    }

    /// What the index says of an extension.
    ///
    /// # Errors
    /// The image has no key; a [`Refusal`] of the index, or of the extension since it is not in it.
    pub(super) fn entry(&self, mirror: &Mirror, folder: &str, name: &str) -> anyhow::Result<&Entry> {
        if self.keys.is_empty() {
            bail!(
                "neither the image's manifest nor the server's list of digests names it; give `mk-server config set \
                 mk_tce_mirror_uri=…` again, so that the server hashes what the mirror has now"
            );
        }
        let found = self.found.get_or_init(|| self.fetch(mirror, folder));
        let found = found.as_ref().map_err(|refusal| anyhow::Error::new(refusal.clone()))?;
        let why =
            "neither the image's manifest, nor the server's list of digests, nor the mirror's signed index names it";
        Ok(found.index.extensions.get(name).ok_or_else(|| Refusal::new(Fault::NotListed, why))?)
    }

    /// Index and signature are two files: between them the folder may be signed anew, so that they do not fit once.
    fn fetch(&self, mirror: &Mirror, folder: &str) -> Result<Found<'a>, Refusal> {
        match self.fetch_both(mirror, folder) {
            Err(Refusal { fault: Fault::BadSignature, why }) => {
                tracing::info!("{why}; both are fetched once more");
                sleep(INDEX_PAUSE);
                self.fetch_both(mirror, folder)
            }
            done => done,
        }
    }

    fn fetch_both(&self, mirror: &Mirror, folder: &str) -> Result<Found<'a>, Refusal> {
        let get = |name: &str, most| {
            let path = format!("{folder}/{name}");
            let absent =
                || Refusal::new(Fault::Unsigned, format!("it is not signed: {} is not there", mirror.url(&path)));
            match mirror.bytes(&path, most) {
                Ok(bytes) => bytes.ok_or_else(absent),
                Err(error) => Err(Refusal::new(Fault::NotFetched, format!("its index cannot be had: {error:#}"))),
            }
        };
        let of_mirror = |Refusal { fault, why }| Refusal::new(fault, format!("{}: {why}", mirror.url(folder)));
        let (bytes, signature) = (get(INDEX, MAX_INDEX)?, get(SIGNATURE, MAX_SIGNATURE)?);
        let (index, key) = signed::open(&bytes, &signature, self.keys).map_err(of_mirror)?;
        let floor = self.known.get(key).copied().unwrap_or_default().max(self.expected.floor);
        index.check(&Expected { floor, ..self.expected }).map_err(of_mirror)?;
        Ok(Found { index, key })
    }

    /// Keeps the number of the index that was believed.
    pub(super) fn remember(&self, state: &mut Extensions) {
        if let Some(Ok(Found { index, key })) = self.found.get() {
            let known = state.mirror_index.entry((*key).to_owned()).or_default();
            *known = index.sequence.max(*known);
        }
    }
}

/// The keys that are believed.
pub(crate) fn keys(settings: &Settings) -> Vec<String> {
    [settings.image.mirror_keys.as_slice(), &settings.site.mirror_keys].concat()
}

/// The time by which an index expires: that of the clock, which a check-in with a server that proved who it is has set, and
/// none before the image was made.
pub(super) fn now(settings: &Settings) -> i64 {
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    i64::try_from(clock).unwrap_or(i64::MAX).max(settings.image.source_date_epoch)
}

/// Highest numbers that this node knows of, by key.
pub(crate) fn known(state: &Extensions) -> BTreeMap<String, u64> {
    let mut known = Pushed::read().unwrap_or_default().mirror_index;
    for (key, sequence) in &state.mirror_index {
        let highest = known.entry(key.clone()).or_default();
        *highest = (*highest).max(*sequence);
    }
    known
}
