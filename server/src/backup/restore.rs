//! Putting a backup back: everything is unpacked beside the data folder's place and proved there, and takes the place only
//! when it is whole.

use std::collections::BTreeMap;
use std::fs::{self, File, Metadata, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, lchown, symlink};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _};
use tar::{Archive, Entry, EntryType};

use super::hashed::Hashed;
use super::{Contents, SUMS, check_database};
use crate::limits::{MAX_SUMS, RESTORED_GAP};
use crate::store::FILE;

/// Digests by name.
type Sums = BTreeMap<String, String>;

/// Makes the data folder `data` of an archive. An empty folder that is there already gives it its owner and mode.
///
/// # Errors
/// When there is something in `data` already, or the archive is cut short or damaged; `data` is untouched then.
pub async fn restore<R: Read>(archive: R, data: &Path) -> anyhow::Result<Contents> {
    let unread = || format!("cannot read {}", data.display());
    let (is_free, former) = match fs::read_dir(data) {
        Ok(mut entries) => (entries.next().is_none(), Some(fs::metadata(data).with_context(unread)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => (true, None),
        Err(error) => return Err(error).with_context(unread),
    };
    ensure!(is_free, "{} is not empty: name another folder, or move away what is in it", data.display());
    let parent = data.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let failed = || format!("cannot write in {}", parent.display());
    fs::create_dir_all(parent).with_context(failed)?;
    let begun = tempfile::Builder::new().prefix(".tmp-restore-").tempdir_in(parent).with_context(failed)?;
    let contents = unpack(archive, begun.path())?;
    let database = begun.path().join(FILE);
    check_database(&database).await.context("the database in the archive is damaged")?;
    leave_room(&database).await.with_context(|| format!("cannot write {}", database.display()))?;
    if let Some(former) = former {
        hand_over(begun.path(), &former).with_context(failed)?;
    }
    sync(begun.path()).with_context(failed)?;
    let place = || format!("cannot take the place of {}; where a disk is mounted, name a folder on it", data.display());
    fs::rename(begun.path(), data).with_context(place)?;
    // Nothing is left under the name that it would remove.
    let _: PathBuf = begun.keep();
    sync(parent).with_context(failed)?;
    Ok(contents)
}

/// Numbers of nodes, commands and tokens that were given since the backup are known elsewhere: they are not given again.
async fn leave_room(database: &Path) -> anyhow::Result<()> {
    let options = SqliteConnectOptions::new().filename(database).disable_statement_logging();
    let mut connection = options.connect().await?;
    let counted = "UPDATE sqlite_sequence SET seq = seq + $1
                   WHERE name IN ('nodes', 'commands', 'enrolment_tokens', 'operator_tokens')";
    sqlx::query(counted).bind(RESTORED_GAP).execute(&mut connection).await?;
    Ok(connection.close().await?)
}

/// Gives a folder the mode of the one whose place it takes, and all in it its owner.
fn hand_over(folder: &Path, former: &Metadata) -> io::Result<()> {
    let mut rest = vec![folder.to_owned()];
    while let Some(path) = rest.pop() {
        let about = fs::symlink_metadata(&path)?;
        if (about.uid(), about.gid()) != (former.uid(), former.gid()) {
            lchown(&path, Some(former.uid()), Some(former.gid()))?;
        }
        if about.is_dir() {
            rest.extend(fs::read_dir(&path)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?);
        }
    }
    fs::set_permissions(folder, Permissions::from_mode(former.mode() & 0o777))
}

/// Unpacks an archive into an empty folder, and compares all files with the list at its end.
fn unpack<R: Read>(archive: R, folder: &Path) -> anyhow::Result<Contents> {
    let mut archive = Archive::new(archive);
    let (mut found, mut contents, mut listed) = (Sums::new(), Contents::default(), None);
    let (mut folders, mut links) = (Vec::new(), Vec::new());
    for entry in archive.entries().context("the archive cannot be read")? {
        let mut entry = entry.context("the archive is damaged, or none of mk-server")?;
        ensure!(listed.is_none(), "there is something behind {SUMS}, the archive's last member");
        let path = path(&entry)?;
        let name = path.to_string_lossy().into_owned();
        let place = folder.join(&path);
        let failed = || format!("cannot write {name}; check that its disk has room");
        match entry.header().entry_type() {
            EntryType::Regular if name == SUMS => listed = Some(sums(&mut entry)?),
            EntryType::Regular => {
                let digest = file(&mut entry, &place).with_context(failed)?;
                contents.files += 1;
                contents.bytes += entry.size();
                ensure!(found.insert(name.clone(), digest).is_none(), "{name} is in the archive twice");
            }
            EntryType::Directory => {
                fs::create_dir(&place).with_context(failed)?;
                folders.push((place, entry.header().mode()?));
            }
            EntryType::Symlink => {
                let target = entry.link_name()?.with_context(|| format!("{name} names nothing"))?;
                links.push((target.into_owned(), place));
            }
            kind => bail!("{name} is of a kind ({kind:?}) that no backup has"),
        }
    }
    let listed = listed.with_context(|| format!("the archive is cut short: {SUMS} is missing at its end"))?;
    compare(&found, &listed)?;
    // Last, so that nothing is written through one.
    for (target, place) in links {
        symlink(target, &place).with_context(|| format!("cannot make the link {}", place.display()))?;
    }
    for (place, mode) in folders.iter().rev() {
        sync(place).and_then(|()| fs::set_permissions(place, Permissions::from_mode(mode & 0o777)))?;
    }
    Ok(contents)
}

/// Where a member goes, from the data folder on.
fn path<R: Read>(entry: &Entry<'_, R>) -> anyhow::Result<PathBuf> {
    let path = entry.path().context("a member of the archive has no name")?.into_owned();
    let is_below = path.components().all(|part| matches!(part, Component::Normal(_)));
    ensure!(is_below && path.components().next().is_some(), "{} leads out of the data folder", path.display());
    Ok(path)
}

/// Writes a member to its place; gives its SHA-256 (hex).
fn file<R: Read>(entry: &mut Entry<'_, R>, place: &Path) -> anyhow::Result<String> {
    let (size, mode) = (entry.size(), entry.header().mode()? & 0o777);
    let mut out = File::create_new(place)?;
    let mut hashed = Hashed::new(entry, size);
    io::copy(&mut hashed, &mut out)?;
    out.set_permissions(Permissions::from_mode(mode))?;
    out.sync_all()?;
    hashed.digest().context("the archive is cut short in it")
}

/// The list of digests.
fn sums<R: Read>(entry: &mut Entry<'_, R>) -> anyhow::Result<Sums> {
    let mut text = String::new();
    entry.take(MAX_SUMS + 1).read_to_string(&mut text).with_context(|| format!("{SUMS} cannot be read"))?;
    ensure!(text.len() as u64 <= MAX_SUMS, "{SUMS} is larger than {MAX_SUMS} bytes");
    let line = |line: &str| line.split_once("  ").map(|(digest, name)| (name.to_owned(), digest.to_owned()));
    text.lines().map(line).collect::<Option<_>>().with_context(|| format!("{SUMS} is damaged"))
}

/// Whether the archive holds just what it lists.
fn compare(found: &Sums, listed: &Sums) -> anyhow::Result<()> {
    let names = listed.keys().chain(found.keys());
    for name in names {
        match (found.get(name), listed.get(name)) {
            (Some(found), Some(listed)) => {
                ensure!(found == listed, "{name} in the archive is damaged: it has SHA-256 {found}, not {listed}");
            }
            (None, _) => bail!("{name} is missing in the archive"),
            (_, None) => bail!("{name} is in the archive, but not in its list {SUMS}"),
        }
    }
    ensure!(found.contains_key(FILE), "the archive has no database {FILE}: it is no backup of mk-server");
    Ok(())
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
