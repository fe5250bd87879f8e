//! `mk-server backup` and `mk-server restore`: files for [`crate::backup`]. An archive appears under its name whole or not at all, and
//! only its owner may read it, since the keys of the server are in it.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, IsTerminal as _, Write as _};
use std::path::Path;

use anyhow::{Context as _, ensure};

use super::args::{Backup, Restore};
use crate::backup::{self, Contents};

/// In place of a file: standard input or output.
const STANDARD: &str = "-";

/// Writes a backup.
///
/// # Errors
/// When it cannot be made whole; says why. No file is left then.
pub async fn write(Backup { data, out }: &Backup) -> anyhow::Result<()> {
    let (contents, place) = if out.as_os_str() == STANDARD {
        ensure!(!io::stdout().is_terminal(), "a backup is no text for a terminal: send it to a file or a program");
        (backup::write(data, io::stdout().lock()).await?, "standard output".to_owned())
    } else {
        (write_file(data, out).await?, out.display().to_string())
    };
    eprintln!("wrote {} of {} to {place}", amount(contents), data.display());
    Ok(())
}

async fn write_file(data: &Path, out: &Path) -> anyhow::Result<Contents> {
    let there = || format!("{} is there already; name another file", out.display());
    ensure!(!out.exists(), "{}", there());
    let folder = out.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let failed = || format!("cannot write {}; check that its disk has room", out.display());
    let mut file = tempfile::NamedTempFile::new_in(folder).with_context(failed)?;
    let mut buffered = BufWriter::new(file.as_file_mut());
    let contents = backup::write(data, &mut buffered).await?;
    buffered.flush().with_context(failed)?;
    drop(buffered);
    file.as_file().sync_all().with_context(failed)?;
    file.persist_noclobber(out).map_err(|error| error.error).with_context(there)?;
    File::open(folder).and_then(|folder| folder.sync_all()).with_context(failed)?;
    Ok(contents)
}

/// Puts a backup back.
///
/// # Errors
/// When the archive is not whole, or there is something in its place; that is untouched then.
pub async fn restore(Restore { archive, data }: &Restore) -> anyhow::Result<()> {
    let contents = if archive.as_os_str() == STANDARD {
        backup::restore(io::stdin().lock(), data).await
    } else {
        let file = File::open(archive).with_context(|| format!("cannot open {}", archive.display()))?;
        backup::restore(BufReader::new(file), data).await
    };
    let contents = contents.with_context(|| format!("{} was not restored", archive.display()))?;
    eprintln!("restored {}; start it with: mk-server serve --data {}", amount(contents), data.display());
    Ok(())
}

fn amount(contents: Contents) -> String {
    format!("{} files with {} bytes", contents.files, contents.bytes)
}
