//! Taking anew what is pinned of a series of Tiny Core: first all of it is there, in a folder of its own; then its pins
//! take the place of the former ones in one write, and its files that of the former files. What fails before leaves
//! both as they were.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use walkdir::WalkDir;

use super::{Mirrors, Version, folder_of, repository};
use crate::base::Iso;
use crate::base::lock::Lock;
use crate::build::choose;

/// Folder of what is taken anew, beside that of the downloads. What a run that failed left there spares the next one a
/// download.
const FOLDER: &str = "tinycore.new";
/// Where the former files are while these take their place.
const ASIDE: &str = "former";

impl Mirrors<'_> {
    /// Takes the ISO of a version, or of what the description names, and the extensions that go with it. `extensions` names
    /// these and the kernel's release for the ISO.
    ///
    /// # Errors
    /// Something of it cannot be had. Everything stays as it is then.
    pub fn renew(
        &self,
        wanted: Option<&Version>,
        extensions: impl FnOnce(&Path) -> Result<(String, Vec<String>)>,
    ) -> Result<Iso> {
        let stays = || format!("nothing is taken anew, and what {} pins stays", self.lock.display());
        let version = self.newest(wanted.unwrap_or(&self.config.version)).with_context(stays)?;
        let (series, folder) = (version.series(), self.folder.with_file_name(FOLDER));
        link(&self.folder.join(&series), &folder.join(&series));
        let new = Mirrors { mirrors: self.mirrors.clone(), folder, update: self.update.clone(), ..*self };
        let iso = new.download(&version, None).with_context(stays)?;
        let (kernel, names) = extensions(&new.folder.join(&iso.path)).with_context(stays)?;
        let taken = new.fetch(&repository(&version, &kernel), &names).with_context(stays)?;

        let had = Iso { path: self.folder.join(&iso.path), sha256: iso.sha256.clone() };
        Lock::change(self.lock, |lock| {
            lock.tinycore.retain(|old| !old.path.starts_with(&format!("{series}/")));
            lock.tinycore.extend(taken.into_iter().chain([iso]));
            lock.tinycore.sort();
            // A base that is kept must not name a release of which nothing is pinned any more.
            let named = lock.base.as_deref().and_then(|name| choose::tiny_core(name).ok()??);
            if named.is_some_and(|named| named.is_release() && named.series() == series) {
                lock.base = Some(choose::named(&version));
            }
            Ok(())
        })?;
        // Should this be cut short, the next build finds other files than the pinned ones, or none, and downloads these.
        exchange(&new.folder, &self.folder, &series)?;
        Ok(had)
    }
}

/// Gives the files of a folder a second name in the folder `to`, so that what a mirror has unchanged is not downloaded
/// again. One that cannot be linked is.
fn link(from: &Path, to: &Path) {
    for entry in WalkDir::new(from).into_iter().flatten().filter(|entry| entry.file_type().is_file()) {
        let Ok(name) = entry.path().strip_prefix(from) else { continue };
        let place = to.join(name);
        if folder_of(&place).is_ok() {
            let _ = fs::hard_link(entry.path(), place);
        }
    }
}

/// Puts the folder `name` of `new` in place of that of `old`, and removes `new`.
fn exchange(new: &Path, old: &Path, name: &str) -> Result<()> {
    let (place, aside) = (old.join(name), new.join(ASIDE));
    let _ = fs::remove_dir_all(&aside);
    let failed = || format!("cannot put the new {} in its place", place.display());
    folder_of(&place)?;
    if place.exists() {
        fs::rename(&place, &aside).with_context(failed)?;
    }
    fs::rename(new.join(name), &place).with_context(failed)?;
    fs::remove_dir_all(new).with_context(|| format!("cannot remove {}", new.display()))
}
