//! Pushed files in a folder that others read: the whole set of them at once, or none. The folder is a link to the set in
//! force, which stands beside it and is exchanged by rename; old file systems in memory cannot exchange folders. A real folder,
//! which somebody on this machine made, is left alone while there is nothing to place, and is moved aside otherwise.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// Files by name.
pub(super) type Files = BTreeMap<String, String>;

/// Makes these all that is in the folder. Tells whether that is a change.
///
/// # Errors
/// Names the folder; the former files are still there then.
pub(super) fn put(folder: &Path, files: &Files) -> anyhow::Result<bool> {
    let is_real = folder.symlink_metadata().is_ok_and(|about| about.is_dir());
    if there(folder).unwrap_or_default() == *files || (is_real && files.is_empty()) {
        return Ok(false);
    }
    exchange(folder, files).with_context(|| format!("cannot write {}", folder.display()))?;
    Ok(true)
}

/// What is there; nothing where there is no folder.
fn there(folder: &Path) -> io::Result<Files> {
    let mut files = Files::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        files.insert(entry.file_name().to_string_lossy().into_owned(), fs::read_to_string(entry.path())?);
    }
    Ok(files)
}

fn exchange(folder: &Path, files: &Files) -> io::Result<()> {
    let former = fs::read_link(folder).ok();
    // One of two, so that what a crash has left is found by its name.
    let names = [beside(folder, "a")?, beside(folder, "b")?];
    let [one, other] = &names;
    let next = if former.as_deref() == one.file_name().map(Path::new) { other } else { one };
    let link = beside(folder, "link")?;
    remove(next)?;
    fill(next, files).inspect_err(|_| {
        // Where all of this is memory, half a set would be in the way of the next. It may not have been made.
        let _: io::Result<()> = remove(next);
    })?;
    let _: io::Result<()> = fs::remove_file(&link);
    symlink(next.file_name().unwrap_or_default(), &link)?;
    move_aside(folder)?;
    fs::rename(&link, folder)?;
    // What nobody finds any more; the next one is not in its way.
    names.iter().filter(|name| *name != next).try_for_each(|name| remove(name))
}

/// Keeps a real folder, whose files are somebody's, under another name.
fn move_aside(folder: &Path) -> io::Result<()> {
    if !folder.symlink_metadata().is_ok_and(|about| about.is_dir()) {
        return Ok(());
    }
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let mut names = (1_u32..).map(|number| folder.with_file_name(format!("{name}.aside-{number}")));
    let aside = names.find(|name| name.symlink_metadata().is_err()).ok_or(io::ErrorKind::AlreadyExists)?;
    fs::rename(folder, &aside)?;
    let (folder, aside) = (folder.display(), aside.display());
    tracing::warn!("{folder} was no folder of the server's configuration, which takes its place: it is {aside} now");
    Ok(())
}

fn fill(folder: &Path, files: &Files) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    files.iter().try_for_each(|(name, text)| fs::write(folder.join(name), text))
}

fn beside(folder: &Path, what: &str) -> io::Result<PathBuf> {
    let name = folder.file_name().ok_or(io::ErrorKind::InvalidFilename)?;
    Ok(folder.with_file_name(format!(".{}.{what}", name.to_string_lossy())))
}

fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(why) if why.kind() != io::ErrorKind::NotFound => Err(why),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(files: &[(&str, &str)]) -> Files {
        files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
    }

    #[test]
    fn a_set_takes_the_place_of_the_one_before_and_nothing_else_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("facts.d");
        assert!(!put(&folder, &Files::new()).unwrap() && !folder.exists(), "nothing was ever pushed");
        for set in [files(&[("a.txt", "a=1"), ("b.txt", "b=1")]), files(&[("b.txt", "b=2")]), Files::new()] {
            assert!(put(&folder, &set).unwrap());
            assert!(!put(&folder, &set).unwrap(), "no change");
            assert_eq!(there(&folder).unwrap(), set);
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "the link and its set");
        }
    }

    #[test]
    fn a_set_that_cannot_be_written_leaves_the_one_before() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("facts.d");
        let before = files(&[("a.txt", "a=1")]);
        put(&folder, &before).unwrap();
        let error = put(&folder, &files(&[("a.txt", "a=2"), ("no/b.txt", "")])).unwrap_err();
        assert!(format!("{error:#}").contains("facts.d"), "{error:#}");
        assert_eq!(there(&folder).unwrap(), before);
        // As a crash in the middle leaves it.
        fs::create_dir_all(dir.path().join(".facts.d.b/x")).unwrap();
        symlink("nowhere", dir.path().join(".facts.d.link")).unwrap();
        assert!(put(&folder, &files(&[("c.txt", "c=1")])).unwrap());
        assert_eq!((there(&folder).unwrap().len(), fs::read_dir(dir.path()).unwrap().count()), (1, 2));
    }

    #[test]
    fn a_folder_that_somebody_made_is_kept_beside() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("units.d");
        for (made, aside) in ["units.d.aside-1", "units.d.aside-2"].into_iter().enumerate() {
            fs::create_dir(&folder).unwrap();
            fs::write(folder.join("own.toml"), made.to_string()).unwrap();
            assert!(!put(&folder, &Files::new()).unwrap() && folder.join("own.toml").exists(), "nothing is pushed");
            let pushed = files(&[("a.toml", "a=1")]);
            assert!(put(&folder, &pushed).unwrap());
            assert_eq!(there(&folder).unwrap(), pushed);
            assert_eq!(fs::read_to_string(dir.path().join(aside).join("own.toml")).unwrap(), made.to_string());
            fs::remove_file(&folder).unwrap();
        }
    }
}
