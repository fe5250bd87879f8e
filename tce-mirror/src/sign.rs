//! Signs a mirror's folder, and looks whether one is as its signed index says: [`sign`] reads every extension of a folder and
//! writes index and signature beside them, [`verify`] reads all of them again, in a folder or at a URL.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Cursor, ErrorKind, IsTerminal as _, Read as _, stdin};
use std::path::{Component, Path};
use std::sync::atomic::AtomicBool;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use minisign::{PublicKey, SecretKey, SecretKeyBox};
use sha2::{Digest as _, Sha256};

use crate::checksum::hex;
use crate::fetch::{self, Allowance, Mirror};
use crate::limits::{CHUNK, FILE, MAX_TEXT};
use crate::plan::{self, SUFFIX};
use crate::signed::{self, Entry, Expected, INDEX, Index, MAX_INDEX, MAX_SIGNATURE, SIGNATURE};

/// Stands for the release of a kernel, which names keep.
const KERNEL: &str = "KERNEL";
/// Seconds of a day.
const DAY: i64 = 86_400;

/// What an index is signed for.
#[derive(Debug, Clone, Default)]
pub struct Terms {
    /// Release and architecture; where it is not said, the folder's path tells: `…/RELEASE/ARCH/tcz`.
    pub repository: Option<String>,
    /// The kernel's release, if the extensions are for one.
    pub kernel: Option<String>,
    /// For how many days it is valid; for good where it is not said.
    pub days: Option<u32>,
}

/// Writes index and signature of a folder anew.
///
/// # Errors
/// The key cannot be read, or a file of the folder; the folder's path does not tell what it is for.
pub fn sign(folder: &Path, key: &Path, terms: &Terms) -> Result<Index> {
    let key = secret_key(key)?;
    let repository = match &terms.repository {
        Some(text) => text.clone(),
        None => repository_of(folder)?,
    };
    let date = now()?;
    let expires = terms.days.map(|days| date + i64::from(days) * DAY);
    let mut index = Index::new(repository, terms.kernel.clone(), next(folder, date)?, date, expires);
    for name in extensions(folder)? {
        let path = folder.join(&name);
        let (size, sha256) = digest(&path)?;
        let needs = needs(&folder.join(format!("{name}.dep")))?;
        index.extensions.insert(name, Entry { size, sha256, needs });
    }
    let bytes = serde_json::to_vec_pretty(&index)?;
    ensure!(bytes.len() as u64 <= MAX_INDEX, "the index would be longer than {MAX_INDEX} bytes; divide the folder");
    let comment = format!("{} sequence {}", index.repository, index.sequence);
    let signature = minisign::sign(None, &key, Cursor::new(&bytes), Some(&comment), Some("mirror index"));
    let signature = signature.map_err(|error| anyhow!("cannot sign: {error}"))?.into_string();
    let public = PublicKey::from_secret_key(&key).map_err(|error| anyhow!("{error}"))?.to_base64();
    signed::open(&bytes, signature.as_bytes(), &[public])
        .context("the secret key is damaged: it makes wrong signatures")?;
    // Who fetches in between finds a signature that does not fit, and asks again later.
    fetch::place(&folder.join(INDEX), &bytes)?;
    fetch::place(&folder.join(SIGNATURE), signature.as_bytes())?;
    Ok(index)
}

/// What [`verify`] found.
#[derive(Debug)]
pub struct Verified {
    /// The index.
    pub index: Index,
    /// What is not as it says, a sentence each.
    pub wrong: Vec<String>,
    /// Extensions of a folder that it does not name.
    pub unlisted: Vec<String>,
}

/// Compares a folder, or one at a URL, with its index.
///
/// # Errors
/// There is no index, its signature is not by `key`, it is no more valid, or is for another kernel than `kernel`.
pub fn verify(place: &str, key: &str, kernel: Option<&str>) -> Result<Verified> {
    let is_url = place.starts_with("http://") || place.starts_with("https://");
    let (mirror, folder) = (is_url.then(|| Mirror::new(place)).transpose()?, Path::new(place));
    let read = |name: &str, most: u64| match &mirror {
        Some(mirror) => mirror.bytes(name, most)?.with_context(|| format!("{place} has no {name}: it is not signed")),
        None => fs::read(folder.join(name)).with_context(|| format!("cannot read {place}/{name}; is it signed?")),
    };
    let keys = [signed::public_key(key).map_err(anyhow::Error::msg)?];
    let (index, signature) = (read(INDEX, MAX_INDEX)?, read(SIGNATURE, MAX_SIGNATURE)?);
    let (index, _) = signed::open(&index, &signature, &keys).with_context(|| format!("{place} is refused"))?;
    let expected = Expected { repository: &index.repository, kernel, floor: 0, now: now()? };
    index.check(&expected).with_context(|| format!("{place} is refused"))?;
    let mut wrong = Vec::new();
    for (name, entry) in &index.extensions {
        let found = match &mirror {
            Some(mirror) => received(mirror, name, entry.size),
            None => digest(&folder.join(name)),
        };
        match found {
            Ok((size, sha256)) if size == entry.size && sha256.eq_ignore_ascii_case(&entry.sha256) => {}
            Ok((size, sha256)) => wrong.push(format!(
                "{name} has {size} bytes with SHA-256 {sha256}, the index says {} with {}",
                entry.size, entry.sha256
            )),
            Err(error) => wrong.push(format!("{name}: {error:#}")),
        }
    }
    let mut unlisted = if is_url { Vec::new() } else { extensions(folder)? };
    unlisted.retain(|name| !index.extensions.contains_key(name));
    Ok(Verified { index, wrong, unlisted })
}

/// Size and SHA-256 of a file that a mirror has.
fn received(mirror: &Mirror, name: &str, size: u64) -> Result<(u64, String)> {
    let stop = AtomicBool::new(false);
    // Twice, since a file whose checksum is wrong is received once more; with one byte more a longer one is seen.
    let mut allowance = Allowance::new(2 * (size + MAX_TEXT) + 1, 2 * FILE, &stop);
    let verified = mirror.hash(name, &mut allowance)?.context("is not there")?;
    Ok((verified.size, hex(&verified.sha256)))
}

/// Names of the extensions in a folder.
fn extensions(folder: &Path) -> Result<Vec<String>> {
    let shown = || format!("cannot read the folder {}", folder.display());
    let mut names = BTreeMap::new();
    for entry in fs::read_dir(folder).with_context(shown)? {
        let name = entry.with_context(shown)?.file_name().to_string_lossy().into_owned();
        if name.ends_with(SUFFIX) && plan::name(&name, KERNEL).as_ref() == Some(&name) {
            names.insert(name, ());
        }
    }
    Ok(names.into_keys().collect())
}

fn digest(path: &Path) -> Result<(u64, String)> {
    let failed = || format!("cannot read {}", path.display());
    let mut file = File::open(path).with_context(failed)?;
    let (mut hash, mut size, mut chunk) = (Sha256::new(), 0, vec![0; CHUNK]);
    loop {
        match file.read(&mut chunk).with_context(failed)? {
            0 => return Ok((size, hex(&hash.finalize()))),
            length => {
                size += length as u64;
                hash.update(&chunk[..length]);
            }
        }
    }
}

/// `RELEASE/ARCH` of a folder `…/RELEASE/ARCH/tcz`.
fn repository_of(folder: &Path) -> Result<String> {
    let full = fs::canonicalize(folder).with_context(|| format!("cannot read the folder {}", folder.display()))?;
    let names = full.components().filter_map(|part| match part {
        Component::Normal(name) => name.to_str(),
        _ => None,
    });
    match names.collect::<Vec<_>>().as_slice() {
        [.., release, arch, "tcz"] => Ok(format!("{release}/{arch}")),
        _ => bail!(
            "{} does not end in RELEASE/ARCH/tcz, such as 17.x/x86_64/tcz; say what it is for with --repository",
            full.display()
        ),
    }
}

/// What an extension needs, by its list of dependencies; nothing without one. Any other that cannot be read must not be signed
/// as an empty one.
fn needs(list: &Path) -> Result<Vec<String>> {
    match fs::read_to_string(list) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        read => {
            let text = read.with_context(|| format!("cannot read {}; mend it or take it away", list.display()))?;
            Ok(plan::names(&text, KERNEL))
        }
    }
}

/// A number that no index of this folder had before: later than the last one's, and than any from before the folder was lost.
fn next(folder: &Path, date: i64) -> Result<u64> {
    let by_time = u64::try_from(date).context("this machine's clock is before 1970")?;
    match fs::read(folder.join(INDEX)) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(by_time),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", folder.join(INDEX).display())),
        Ok(bytes) => {
            let former: Index = serde_json::from_slice(&bytes)
                .with_context(|| format!("{} is not understood; take it away", folder.join(INDEX).display()))?;
            let after = former.sequence.checked_add(1).context("there is no number after the last one")?;
            Ok(after.max(by_time))
        }
    }
}

fn now() -> Result<i64> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).context("this machine's clock is before 1970")?;
    Ok(i64::try_from(since.as_secs())?)
}

/// A secret key as `minisign -G` makes it; its password is asked for on the terminal.
fn secret_key(path: &Path) -> Result<SecretKey> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read the key {}", path.display()))?;
    let parsed = |text: &str| SecretKeyBox::from_string(text).map_err(|error| anyhow!("{error}"));
    // A key without a password has no checksum from minisign 0.11: the crate's own reader refuses it.
    let bytes = STANDARD.decode(text.lines().nth(1).unwrap_or_default().trim()).unwrap_or_default();
    if let Ok(key) = SecretKey::from_bytes(&bytes)
        && !key.is_encrypted()
    {
        return Ok(key);
    }
    ensure!(
        stdin().is_terminal(),
        "{} is no secret key of minisign without a password, and nobody is there to ask for one. `minisign -G -W` makes one \
         without",
        path.display()
    );
    let key = parsed(&text)?.into_secret_key(None);
    key.map_err(|error| anyhow!("{} is no secret key of minisign, or the password is wrong: {error}", path.display()))
}
