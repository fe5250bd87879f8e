//! Whether the server can do its work: the database can be read and written, and its disk has room.

use std::path::Path;

use anyhow::Context as _;
use nix::sys::statvfs::statvfs;
use serde_json::{Value, json};

use crate::limits::MIN_ROOM;
use crate::store::Store;
use crate::store::sql::{self, Connection};
use crate::store::writer::Work;

/// Looks at it now; gives what to show.
///
/// # Errors
/// What of it is not so. A full disk is told as such.
pub async fn look(store: &Store, data: &Path) -> anyhow::Result<Value> {
    sql::query_scalar::<i64>("SELECT count(*) FROM starts").fetch_one(&store.readers).await?;
    store.writer.write(Probe).await?;
    let disk = statvfs(data).with_context(|| format!("cannot see how full the disk of {} is", data.display()))?;
    let free = disk.blocks_available().saturating_mul(disk.fragment_size());
    if free < MIN_ROOM {
        let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
        let what =
            format!("the disk of {} has {} KiB left, and check-ins will soon be refused", data.display(), free >> 10);
        return Err(anyhow::Error::new(full).context(what));
    }
    Ok(json!({"status": "ok", "database": true, "free_bytes": free}))
}

/// A change that changes nothing, and goes to the disk all the same.
struct Probe;

impl Work for Probe {
    type Output = ();

    async fn run(&self, db: &mut Connection) -> anyhow::Result<()> {
        sql::query("UPDATE starts SET log = log WHERE id = (SELECT max(id) FROM starts)").execute(db).await?;
        Ok(())
    }
}
