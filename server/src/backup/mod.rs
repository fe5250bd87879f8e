//! `mk-server backup` and `restore`: a data folder as one archive, taken while its server runs, and put back whole. Both work on
//! the folder itself, on the server's machine, since keys are in it.
//!
//! The archive is a tar: the database first, as it stood at one moment, then every other file of the folder, and last
//! `SHA256SUMS` with the digest of each, as `sha256sum -c` reads it. Without that end an archive is cut short.

mod hashed;
mod restore;
mod tree;

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use nix::fcntl::{Flock, FlockArg};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _, Row as _};
use tar::{Builder, EntryType, Header};

use self::hashed::Hashed;
pub use self::restore::restore;
use self::tree::{Entry, Kind};
use crate::limits::BUSY_TIMEOUT;
use crate::store::{FILE, now_ms};

/// Last member of an archive: the digests of all files before it.
const SUMS: &str = "SHA256SUMS";
/// Folder within the data folder in which a backup is prepared.
const WORK: &str = "backup.tmp";
/// Mode of what only the server's own user may read.
const OWN: u32 = 0o600;

/// What an archive holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Contents {
    /// Files, without the list of digests.
    pub files: usize,
    /// Their length in bytes.
    pub bytes: u64,
}

/// Writes an archive of the data folder `data` to `out`. A server may run on it meanwhile: all that it had answered before is in the
/// archive, and what it answers later may be.
///
/// # Errors
/// Names the file, and says what to do. What was written by then is no archive, and `restore` refuses it.
pub async fn write<W: Write>(data: &Path, out: W) -> anyhow::Result<Contents> {
    let database = data.join(FILE);
    ensure!(
        database.is_file(),
        "{0} is no data folder of mk-server: it has no {FILE}. Where the server was started with --database, pg_dump backs up \
         what is in PostgreSQL, and a copy of {0} has the rest: images, bundles and keys",
        data.display()
    );
    let work = Work::begin(data)?;
    // What the database names is held by a second name before and after it is copied, so that a file which the server removes
    // meanwhile stays.
    let held = work.folder.join("held");
    let mut entries = tree::hold(data, &held)?;
    let copy = work.folder.join(FILE);
    copy_database(&database, &copy).await?;
    entries.append(&mut tree::hold(data, &held)?);
    let mut archive = Archive { tar: Builder::new(out), sums: String::new(), contents: Contents::default() };
    archive.add(FILE, &copy)?;
    for (name, entry) in &entries {
        archive.put(name, entry)?;
    }
    archive.end()
}

/// The folder in which one backup at a time is prepared; it goes with the value.
struct Work {
    folder: PathBuf,
    _alone: Flock<File>,
}

impl Work {
    fn begin(data: &Path) -> anyhow::Result<Self> {
        let folder = data.join(WORK);
        let failed = || format!("cannot use {}; check the folder's owner and that its disk has room", folder.display());
        fs::create_dir_all(&folder).with_context(failed)?;
        let alone = match Flock::lock(File::open(&folder).with_context(failed)?, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => lock,
            Err((_, nix::errno::Errno::EWOULDBLOCK)) => {
                bail!("another backup of {} is being made; wait until it has ended", data.display())
            }
            Err((_, error)) => return Err(error).with_context(failed),
        };
        // What a backup left that was killed.
        for entry in fs::read_dir(&folder).with_context(failed)? {
            let path = entry.with_context(failed)?.path();
            if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) }.with_context(failed)?;
        }
        Ok(Self { folder, _alone: alone })
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.folder) {
            tracing::warn!("cannot remove {}: {error}; the next backup does", self.folder.display());
        }
    }
}

/// Copies a database that may be in use, as it stands at one moment, and looks the copy over.
async fn copy_database(database: &Path, copy: &Path) -> anyhow::Result<()> {
    let from = || format!("cannot copy the database {}", database.display());
    let options = SqliteConnectOptions::new().filename(database).busy_timeout(BUSY_TIMEOUT).disable_statement_logging();
    let mut connection = options.connect().await.with_context(from)?;
    let target = copy.to_str().with_context(|| format!("{} is no UTF-8", copy.display()))?;
    let copied = sqlx::query("VACUUM INTO $1").bind(target).execute(&mut connection).await;
    copied.with_context(|| format!("{}; its disk needs room for a second copy", from()))?;
    connection.close().await.with_context(from)?;
    check_database(copy).await.with_context(|| format!("the database {} is damaged", database.display()))
}

/// Has `SQLite` look whether a database is sound.
async fn check_database(file: &Path) -> anyhow::Result<()> {
    let options =
        SqliteConnectOptions::new().filename(file).read_only(true).immutable(true).disable_statement_logging();
    let mut connection: SqliteConnection = options.connect().await?;
    let said: String = sqlx::query("PRAGMA quick_check(1)").fetch_one(&mut connection).await?.try_get(0)?;
    connection.close().await?;
    ensure!(said == "ok", "SQLite says: {said}");
    Ok(())
}

/// An archive that is being written.
struct Archive<W: Write> {
    tar: Builder<W>,
    sums: String,
    contents: Contents,
}

impl<W: Write> Archive<W> {
    fn put(&mut self, name: &str, entry: &Entry) -> anyhow::Result<()> {
        match &entry.kind {
            Kind::File => self.add(name, &entry.path),
            Kind::Folder => {
                let mut header = header(EntryType::Directory, &fs::symlink_metadata(&entry.path)?);
                self.tar.append_data(&mut header, name, std::io::empty()).with_context(|| failed(name))
            }
            Kind::Link(target) => {
                let mut header = header(EntryType::Symlink, &fs::symlink_metadata(&entry.path)?);
                self.tar.append_link(&mut header, name, target).with_context(|| failed(name))
            }
        }
    }

    fn add(&mut self, name: &str, path: &Path) -> anyhow::Result<()> {
        let unread = || format!("cannot read {}", path.display());
        let file = File::open(path).with_context(unread)?;
        let about = file.metadata().with_context(unread)?;
        let mut header = header(EntryType::Regular, &about);
        header.set_size(about.len());
        let mut hashed = Hashed::new(file, about.len());
        self.tar.append_data(&mut header, name, &mut hashed).with_context(|| failed(name))?;
        let digest = hashed
            .digest()
            .with_context(|| format!("{} became shorter while it was read; try again", path.display()))?;
        self.sums.push_str(&format!("{digest}  {name}\n"));
        self.contents.files += 1;
        self.contents.bytes += about.len();
        Ok(())
    }

    fn end(mut self) -> anyhow::Result<Contents> {
        let mut header = Header::new_gnu();
        header.set_size(self.sums.len() as u64);
        header.set_mode(OWN);
        header.set_mtime(u64::try_from(now_ms() / 1000)?);
        self.tar.append_data(&mut header, SUMS, self.sums.as_bytes()).with_context(|| failed(SUMS))?;
        let mut out = self.tar.into_inner().with_context(|| failed("the archive's end"))?;
        out.flush().with_context(|| failed("the archive's end"))?;
        Ok(self.contents)
    }
}

fn header(kind: EntryType, about: &fs::Metadata) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(0);
    header.set_mode(about.permissions().mode() & 0o777);
    header.set_mtime(u64::try_from(about.mtime()).unwrap_or_default());
    header
}

fn failed(name: &str) -> String {
    format!("cannot write {name} into the archive; check that its disk has room")
}
