//! MACs that belong to no machine for good, as full reports told: USB ports, BMCs, virtual interfaces.

use std::collections::BTreeSet;

use serde_json::json;

use crate::identity::canonical::HwInfo;
use crate::identity::mac;
use crate::store::sql::{self, Connection};

/// Those of `info`'s MACs that are known to be foreign, as comparable text.
///
/// # Errors
/// When the database fails.
pub async fn among(db: &mut Connection, info: &HwInfo) -> anyhow::Result<BTreeSet<String>> {
    let macs: Vec<String> = info.entries().iter().filter(|e| e.key == "mac").map(|e| mac::judge(&e.value).0).collect();
    let select = "SELECT f.value FROM json_each($1) k JOIN foreign_macs f ON f.value = k.value";
    let found: Vec<String> = sql::query_scalar(select).bind(json!(macs).to_string()).fetch_all(db).await?;
    Ok(found.into_iter().collect())
}

/// Remembers `foreign`, but for what another node's last full report has as a port, and forgets those of `own` that
/// turned out to be ports of a machine.
///
/// # Errors
/// When the database fails.
pub async fn learn<'a>(
    db: &mut Connection,
    at: i64,
    foreign: &BTreeSet<String>,
    own: impl Iterator<Item = &'a String>,
) -> anyhow::Result<()> {
    if !foreign.is_empty() {
        let insert = "INSERT INTO foreign_macs (value, since) SELECT k.value, $2 FROM json_each($1) k
                      WHERE NOT EXISTS (SELECT 1 FROM evidence e JOIN nodes n ON n.id = e.node JOIN reports r ON r.id = n.report
                                        WHERE e.kind = 'nic' AND e.value = k.value AND r.kind = 'inventory')
                      ON CONFLICT (value) DO NOTHING";
        sql::query(insert).bind(json!(foreign).to_string()).bind(at).execute(&mut *db).await?;
    }
    let own: Vec<&String> = own.collect();
    let delete = "DELETE FROM foreign_macs WHERE value IN (SELECT value FROM json_each($1))";
    sql::query(delete).bind(json!(own).to_string()).execute(db).await?;
    Ok(())
}
