//! Who speaks: the Ed25519 key of this boot, the kernel's boot id, and the number of each request. Key and number lie
//! in `/run`, so that they outlive a restart of the unit and end with the boot.

use std::fs;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use wire::enrolment::fingerprint;

use crate::file;

const KEY: &str = "checkin.key";
const NUMBER: &str = "checkin.seq";
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The speaker of this boot.
pub(super) struct Speaker {
    dir: PathBuf,
    key: Ed25519KeyPair,
    number: u64,
    /// The kernel's id of this boot.
    pub(super) boot_id: String,
}

impl Speaker {
    /// Takes up what an earlier run of the unit left in `dir`, or begins.
    ///
    /// # Errors
    /// Names the file that cannot be read, written or understood.
    pub(super) fn load(dir: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
        let boot_id = fs::read_to_string(BOOT_ID).with_context(|| format!("cannot read {BOOT_ID}"))?.trim().to_owned();
        let path = dir.join(KEY);
        // Only a boot that has no key yet makes one: the server would refuse another key until the next boot. What is
        // there and cannot be read is an error, after which the supervisor starts the unit again.
        let pkcs8 = match there(fs::read(&path), &path)? {
            Some(bytes) => bytes,
            None => make(&path).with_context(|| format!("cannot make the key {}", path.display()))?,
        };
        let key = Ed25519KeyPair::from_pkcs8(&pkcs8).map_err(|why| {
            anyhow::anyhow!("{} is no Ed25519 key: {why}; delete it and it is made anew", path.display())
        })?;
        let path = dir.join(NUMBER);
        let number = match there(fs::read_to_string(&path), &path)? {
            Some(text) => text.trim().parse().with_context(|| {
                format!("{} is no number: {text:.20?}; the server knows the last one, so reboot", path.display())
            })?,
            None => 0,
        };
        Ok(Self { dir: dir.to_owned(), key, number, boot_id })
    }

    /// The next request's number. It is on record before it is used, so that none is used twice.
    ///
    /// # Errors
    /// Names the file that cannot be written.
    pub(super) fn next_number(&mut self) -> anyhow::Result<u64> {
        let number = self.number + 1;
        record(&self.dir.join(NUMBER), number)?;
        self.number = number;
        Ok(number)
    }

    /// The short form of the public key, as the server shows it.
    pub(super) fn fingerprint(&self) -> String {
        fingerprint(self.key.public_key().as_ref())
    }

    /// Public key and signature of a check-in's body, both in base64.
    pub(super) fn sign(&self, body: &[u8]) -> (String, String) {
        self.sign_message(&wire::sign::message(body))
    }

    /// The same of another request, which is what [`wire::sign`] makes of it.
    pub(super) fn sign_message(&self, message: &[u8]) -> (String, String) {
        let signature = self.key.sign(message);
        (STANDARD.encode(self.key.public_key()), STANDARD.encode(signature))
    }
}

/// Writes the number down, always with as many digits: where there is no room for another file, it is written over the one that is
/// there, which needs none. A node whose memory is full goes on checking in.
fn record(path: &Path, number: u64) -> anyhow::Result<()> {
    let text = format!("{number:020}");
    let put = file::replace(path, text.as_bytes(), 0o600);
    let is_full = |why: &anyhow::Error| {
        why.downcast_ref::<io::Error>().is_some_and(|why| why.kind() == io::ErrorKind::StorageFull)
    };
    match put {
        Err(why) if is_full(&why) && fs::metadata(path).is_ok_and(|file| file.len() == text.len() as u64) => {
            let file = fs::OpenOptions::new().write(true).open(path);
            file.and_then(|file| file.write_all_at(text.as_bytes(), 0)).map_err(|_| why)
        }
        put => put,
    }
}

/// What was read, if the file is there.
fn there<T>(read: io::Result<T>, path: &Path) -> anyhow::Result<Option<T>> {
    match read {
        Ok(content) => Ok(Some(content)),
        Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(why) => Err(why).with_context(|| format!("cannot read {}", path.display())),
    }
}

fn make(path: &Path) -> anyhow::Result<Vec<u8>> {
    let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new())
        .map_err(|_| anyhow::anyhow!("the kernel gives no random numbers"))?;
    file::replace(path, pkcs8.as_ref(), 0o600)?;
    Ok(pkcs8.as_ref().to_vec())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use ring::signature::{ED25519, UnparsedPublicKey};

    use super::*;

    #[test]
    fn a_restarted_unit_speaks_with_the_same_key_and_higher_numbers() {
        let dir = tempfile::tempdir().unwrap();
        let mut first = Speaker::load(dir.path()).unwrap();
        assert_eq!((first.next_number().unwrap(), first.next_number().unwrap()), (1, 2));
        let mut second = Speaker::load(dir.path()).unwrap();
        assert_eq!(second.next_number().unwrap(), 3);
        assert_eq!(first.sign(b"x"), second.sign(b"x"));
        assert_eq!(first.boot_id.len(), 36);
        let mode = fs::metadata(dir.path().join(KEY)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn the_signature_is_over_the_message_of_the_body() {
        let dir = tempfile::tempdir().unwrap();
        let (key, signature) = Speaker::load(dir.path()).unwrap().sign(b"{}");
        let (key, signature) = (STANDARD.decode(key).unwrap(), STANDARD.decode(signature).unwrap());
        assert_eq!(
            Speaker::load(dir.path()).unwrap().fingerprint(),
            fingerprint(&key),
            "as who is told the key shows it"
        );
        assert_eq!((key.len(), signature.len()), (wire::sign::KEY_LEN, wire::sign::SIGNATURE_LEN));
        let key = UnparsedPublicKey::new(&ED25519, key);
        assert!(key.verify(&wire::sign::message(b"{}"), &signature).is_ok());
        assert!(key.verify(b"{}", &signature).is_err());
    }

    #[test]
    fn what_is_there_is_never_replaced_but_named() {
        type Harm = fn(&Path);
        let cases: [(&str, Harm); 4] = [
            (KEY, |path| fs::write(path, "x").unwrap()),
            // A link to itself: there, and never readable.
            (KEY, |path| symlink(path, path).unwrap()),
            (NUMBER, |path| symlink(path, path).unwrap()),
            (NUMBER, |path| fs::write(path, "many").unwrap()),
        ];
        for (file, harm) in cases {
            let dir = tempfile::tempdir().unwrap();
            harm(&dir.path().join(file));
            let error = format!("{:#}", Speaker::load(dir.path()).err().unwrap());
            assert!(error.contains(file), "{error}");
            assert!(Speaker::load(dir.path()).is_err(), "and stays as it is");
        }
    }
}
