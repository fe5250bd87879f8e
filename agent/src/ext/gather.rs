//! Brings together what is to be loaded: the wanted extensions with all that they depend on, each proven before any is
//! loaded.
//!
//! An extension is taken from the image if its manifest names it, else from the external mirror if the pushed digests name
//! it or the mirror's index does that a key of the image has signed, else it is refused by name. What is loaded already is passed over with all that it needs.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use tce_mirror::fetch::{Mirror, OtherBytes};
use tce_mirror::plan;
use tce_mirror::signed::{Fault, Refusal};

use super::load;
use super::signed::Signed;
use crate::file;

/// Folder of the extensions that came from a mirror, where Tiny Core's `tce-load` has its own.
pub(super) const DOWNLOADS: &str = "/tmp/tce/optional";

/// Where extensions may come from.
pub(super) struct Origins<'a> {
    /// Folder of the built-in ones.
    pub(super) builtin: &'a Path,
    /// Digests of the built-in ones.
    pub(super) manifest: &'a BTreeMap<String, String>,
    /// The external mirror, with the folder of its extensions.
    pub(super) mirror: Option<(&'a Mirror, String)>,
    /// Digests that the server pushed for it.
    pub(super) pushed: &'a BTreeMap<String, String>,
    /// The mirror's signed index.
    pub(super) signed: Signed<'a>,
    /// Where those go that are fetched.
    pub(super) downloads: &'a Path,
    /// Release of the kernel, for `KERNEL` in names.
    pub(super) kernel: &'a str,
    /// Bytes that all of them together may have; what was fetched is taken off.
    pub(super) left: Cell<u64>,
}

/// An extension that was proven and can be loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Proven {
    pub(super) name: String,
    pub(super) sha256: String,
    /// Where it lies.
    pub(super) folder: PathBuf,
}

/// What became of the wanted ones and all that they need.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Gathered {
    /// To be loaded, each behind what it needs.
    pub(super) proven: Vec<Proven>,
    /// Names of those that are not to be had, with the reason.
    pub(super) refused: Vec<(String, String)>,
    /// What is at fault, where the first of them is refused for what a mirror has.
    pub(super) fault: Option<Fault>,
}

impl Origins<'_> {
    /// Gathers; `is_loaded` tells what is there already.
    pub(super) fn gather(&self, wanted: &[String], is_loaded: impl Fn(&str) -> bool) -> Gathered {
        let mut gathered = Gathered::default();
        let mut found = BTreeMap::new();
        let mut asked_by: BTreeMap<String, String> = BTreeMap::new();
        let order = plan::order(wanted, |name| {
            if is_loaded(name) {
                return Vec::new();
            }
            match self.take(name) {
                Ok((proven, needs)) => {
                    found.insert(name.to_owned(), proven);
                    for need in &needs {
                        asked_by.entry(need.clone()).or_insert_with(|| name.to_owned());
                    }
                    needs
                }
                Err(error) => {
                    gathered.fault = match gathered.refused.first() {
                        None => error.downcast_ref().map(|refusal: &Refusal| refusal.fault),
                        Some(_) => gathered.fault,
                    };
                    let by = asked_by.get(name).map(|by| format!(" (needed by {by})")).unwrap_or_default();
                    gathered.refused.push((name.to_owned(), format!("{name}{by} is refused: {error:#}")));
                    Vec::new()
                }
            }
        });
        gathered.proven = order.iter().filter_map(|name| found.remove(name)).collect();
        gathered
    }

    /// Proves one extension and says what it depends on.
    fn take(&self, name: &str) -> anyhow::Result<(Proven, Vec<String>)> {
        if let Some(sha256) = self.manifest.get(name)
            && self.builtin.join(name).exists()
        {
            load::verify(self.builtin, name, sha256, "the image's manifest")?;
            let dep = fs::read_to_string(self.builtin.join(format!("{name}.dep"))).unwrap_or_default();
            return Ok((self.proven(name, sha256, self.builtin), plan::names(&dep, self.kernel)));
        }
        let Some((mirror, folder)) = &self.mirror else {
            bail!("the image does not have it, and no external mirror is configured");
        };
        let path = format!("{folder}/{name}");
        let (sha256, dep, most) = match self.pushed.get(name) {
            Some(sha256) => (sha256, mirror.text(&format!("{path}.dep"))?.unwrap_or_default(), self.left.get()),
            None => {
                let entry = self.signed.entry(mirror, folder, name)?;
                if entry.size > self.left.get() {
                    let why = format!("it has {} bytes, and there is room for {}", entry.size, self.left.get());
                    return Err(Refusal::new(Fault::TooLarge, why).into());
                }
                (&entry.sha256, entry.needs.iter().map(|need| format!("{need}\n")).collect(), entry.size)
            }
        };
        let pin = digest(sha256).with_context(|| format!("{sha256} is no SHA-256"))?;
        let fetched = mirror.file(&path, Some(pin), most, &self.downloads.join(name));
        // A part takes memory from those that follow.
        let fetched = fetched.inspect_err(|_| drop(fs::remove_file(self.downloads.join(format!(".{name}.part")))));
        let fetched = fetched.map_err(|error| match error.is::<OtherBytes>() {
            true => Refusal::new(Fault::Swapped, format!("{error:#}")).into(),
            false => error,
        });
        let Some(verified) = fetched? else { bail!("{} is not there", mirror.url(&path)) };
        let size = fs::metadata(self.downloads.join(name)).map_or(0, |file| file.len());
        self.left.set(self.left.get().saturating_sub(size));
        let md5 = format!("{}  {name}\n", tce_mirror::checksum::hex(&verified.md5));
        for (suffix, text) in [("dep", &dep), ("md5.txt", &md5)] {
            file::replace(&self.downloads.join(format!("{name}.{suffix}")), text.as_bytes(), 0o644)?;
        }
        Ok((self.proven(name, sha256, self.downloads), plan::names(&dep, self.kernel)))
    }

    fn proven(&self, name: &str, sha256: &str, folder: &Path) -> Proven {
        Proven { name: name.to_owned(), sha256: sha256.to_lowercase(), folder: folder.to_owned() }
    }

    /// Removes what was fetched, wholly or in part, and will not be loaded: it takes memory.
    pub(super) fn discard(&self, proven: &[Proven], refused: &[(String, String)]) {
        let fetched = proven.iter().filter(|one| one.folder == self.downloads).map(|one| &one.name);
        for name in fetched.chain(refused.iter().map(|(name, _)| name)) {
            for file in [name.clone(), format!("{name}.dep"), format!("{name}.md5.txt"), format!(".{name}.part")] {
                let _: std::io::Result<()> = fs::remove_file(self.downloads.join(file));
            }
        }
    }
}

/// A digest in hex as bytes.
fn digest(hex: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    let digits = hex.as_bytes();
    if digits.len() != 64 {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use mk_tests::web::{Answer, Server};

    use tce_mirror::signed::Expected;

    use super::*;

    fn here() -> Expected<'static> {
        Expected { repository: "17.x/x86_64", kernel: None, floor: 0, now: 0 }
    }

    #[test]
    fn the_image_proves_its_own_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in
            [("a.tcz", "a"), ("b.tcz", "b"), ("d.tcz", "d"), ("a.tcz.dep", "b.tcz\nd-KERNEL.tcz\nc.tcz\n")]
        {
            fs::write(dir.path().join(name), text).unwrap();
        }
        let right = |name: &str| (name.to_owned(), load::sha256(&dir.path().join(name)).unwrap());
        let manifest = BTreeMap::from([right("a.tcz"), ("b.tcz".to_owned(), "0".repeat(64)), right("d.tcz")]);
        let origins = Origins {
            builtin: dir.path(),
            manifest: &manifest,
            mirror: None,
            pushed: &BTreeMap::new(),
            signed: Signed::by(&[], here()),
            downloads: Path::new("/nonexistent"),
            kernel: "6.1",
            left: Cell::new(0),
        };
        let Gathered { proven, refused, .. } =
            origins.gather(&["a.tcz".to_owned(), "d.tcz".to_owned()], |name| name == "c.tcz");
        assert_eq!(proven.iter().map(|p| p.name.as_str()).collect::<Vec<_>>(), ["a.tcz", "d.tcz"]);
        assert!(proven.iter().all(|p| p.folder == dir.path() && p.sha256 == manifest[&p.name]));
        let why: String = refused.iter().map(|(_, why)| format!("{why}\n")).collect();
        assert!(why.contains("b.tcz (needed by a.tcz) is refused: its SHA-256 is"), "{why}");
        assert!(why.contains("d-6.1.tcz (needed by a.tcz) is refused: the image does not have it"), "{why}");
        assert_eq!(refused.len(), 2, "what is loaded already needs no proof: {why}");
    }

    #[test]
    fn all_that_is_fetched_shares_one_budget_of_memory() {
        let dir = tempfile::tempdir().unwrap();
        let web = Server::start();
        let content = |name: &str| name.repeat(10).into_bytes();
        let names = ["aaaa.tcz", "bbbb.tcz", "cccc.tcz", "dd.tcz"];
        let mut pushed = BTreeMap::new();
        for name in names {
            fs::write(dir.path().join("x"), content(name)).unwrap();
            pushed.insert(name.to_owned(), load::sha256(&dir.path().join("x")).unwrap());
            let md5 = tce_mirror::checksum::hex(&tce_mirror::checksum::md5(&content(name)));
            web.put(&format!("/tcz/{name}"), Answer::ok(content(name)));
            web.put(&format!("/tcz/{name}.md5.txt"), Answer::ok(format!("{md5}  {name}\n")));
        }
        let mirror = Mirror::trusting(&web.url(), None).unwrap();
        let downloads = dir.path().join("downloads");
        fs::create_dir(&downloads).unwrap();
        let origins = Origins {
            builtin: dir.path(),
            manifest: &BTreeMap::new(),
            mirror: Some((&mirror, "tcz".to_owned())),
            pushed: &pushed,
            signed: Signed::by(&[], here()),
            downloads: &downloads,
            kernel: "6.1",
            // Enough for each, and for two of 80 bytes with the one of 60, but not for all.
            left: Cell::new(230),
        };
        let Gathered { proven, refused, .. } = origins.gather(&names.map(str::to_owned), |_| false);
        assert_eq!(proven.iter().map(|p| p.name.as_str()).collect::<Vec<_>>(), ["aaaa.tcz", "bbbb.tcz", "dd.tcz"]);
        let [(name, why)] = refused.as_slice() else { panic!("{refused:?}") };
        assert!(name == "cccc.tcz" && why.contains("is longer than 70 bytes"), "{why}");
        assert_eq!(origins.left.get(), 10, "what was begun of the third is not there any more");
        let left = fs::read_dir(&downloads).unwrap().map(|f| f.unwrap().file_name().into_string().unwrap());
        assert!(left.into_iter().all(|name| !name.contains("cccc")));
    }

    #[test]
    fn digests() {
        assert_eq!(digest(&"0f".repeat(32)), Some([15; 32]));
        for bad in ["", "0f", &"zz".repeat(32), &"0f".repeat(33)] {
            assert_eq!(digest(bad), None, "{bad}");
        }
    }
}
