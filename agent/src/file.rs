//! Files that are there whole or not at all: written beside their place, synced, then renamed into it.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::Context as _;

/// Replaces a file, or creates it with these permissions; its folder is created where it is missing.
///
/// # Errors
/// Names the path when it cannot be written; the former file is still there then.
pub(crate) fn replace(path: &Path, bytes: &[u8], mode: u32) -> anyhow::Result<()> {
    let put = || -> io::Result<()> {
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::ErrorKind::InvalidFilename.into());
        };
        fs::create_dir_all(folder)?;
        // Two processes may write one file; each has a temporary one of its own.
        let temp = folder.join(format!(".{}.{}", name.to_string_lossy(), std::process::id()));
        fill(&temp, bytes, mode).and_then(|()| fs::rename(&temp, path)).inspect_err(|_| {
            // Where all of this is memory, half a file would stay there and be in the way. It may not have been made.
            let _: io::Result<()> = fs::remove_file(&temp);
        })
    };
    put().with_context(|| format!("cannot write {}", path.display()))
}

fn fill(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_nothing_else_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/resolv.conf");
        replace(&path, b"old and longer", 0o600).unwrap();
        replace(&path, b"new", 0o600).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_failure_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.json");
        fs::create_dir(&path).unwrap();
        replace(&path, b"new", 0o600).unwrap_err();
        let left: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left, ["state.json"]);
    }

    #[test]
    fn errors_name_the_path() {
        for path in ["/proc/none/resolv.conf", "/"] {
            let error = format!("{:#}", replace(Path::new(path), b"", 0o644).unwrap_err());
            assert!(error.contains(path), "{error}");
        }
    }
}
