//! Which nodes' identity is disputed.

use crate::store::sql::{self, Connection};
use crate::store::view::Page;

/// Held nodes, and such with a value that another has too, unless an operator said that they are two machines.
macro_rules! disputed {
    () => {
        "SELECT id FROM nodes WHERE state = 'held' UNION
         SELECT mine.node FROM claims mine
         JOIN claims c ON c.kind = mine.kind AND c.value = mine.value AND c.node <> mine.node
                      AND c.matching = 1 AND c.state <> 'former'
         WHERE mine.state = 'contested' AND mine.matching = 1 AND NOT EXISTS (
            SELECT 1 FROM distinct_nodes d WHERE d.one = min(mine.node, c.node) AND d.other = max(mine.node, c.node))"
    };
}

/// A page of their ids in order, and the number of all.
///
/// # Errors
/// When the database fails.
pub async fn ids(db: &mut Connection, page: Page) -> anyhow::Result<(i64, Vec<i64>)> {
    let total =
        sql::query_scalar(concat!("SELECT count(*) FROM (", disputed!(), ") AS disputed")).fetch_one(&mut *db).await?;
    let select = sql::query_scalar(concat!(disputed!(), " ORDER BY 1 LIMIT $1 OFFSET $2"));
    Ok((total, select.bind(page.limit).bind(page.start).fetch_all(db).await?))
}
