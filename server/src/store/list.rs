//! The list of nodes, sorted, searched and cut into pages by the database: only the nodes of a page are loaded. Counts
//! and the rows before the page still walk an index, and a search the words of all nodes; `tests/process/many.rs`
//! prints what that costs with a hundred thousand of them.

use crate::limits::ALIVE_INTERVALS;
use crate::store::nodes::alive_ms;
use crate::store::sql::{self, Pool};
use crate::store::view::Page;

/// What the list is sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sort {
    /// The order in which nodes were made.
    #[default]
    Node,
    /// State.
    State,
    /// Product name.
    Product,
    /// Serial number of the system.
    Serial,
    /// Number of processors.
    Cpus,
    /// Memory.
    Memory,
    /// Last check-in.
    Checkin,
}

impl Sort {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Node, Self::State, Self::Product, Self::Serial, Self::Cpus, Self::Memory, Self::Checkin];

    /// Its name in URLs.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::State => "state",
            Self::Product => "product",
            Self::Serial => "serial",
            Self::Cpus => "cpus",
            Self::Memory => "memory",
            Self::Checkin => "checkin",
        }
    }

    /// The column, which has an index.
    fn column(self) -> &'static str {
        match self {
            Self::Node => "n.id",
            Self::State => "n.state",
            Self::Product => "s.product",
            Self::Serial => "s.serial",
            Self::Cpus => "s.cpus",
            Self::Memory => "s.memory",
            Self::Checkin => "n.last_checkin",
        }
    }
}

/// Which nodes are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Which {
    /// All.
    #[default]
    All,
    /// Those whose state is not normal.
    Disputed,
    /// Those that have not checked in for several intervals, or never.
    Silent,
}

impl Which {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::All, Self::Disputed, Self::Silent];

    /// Its name in URLs.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Disputed => "disputed",
            Self::Silent => "silent",
        }
    }
}

/// What is asked of the list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Query {
    /// Words that must all stand somewhere in the node's name, hardware values or addresses.
    pub search: String,
    /// Which nodes.
    pub which: Which,
    /// Order.
    pub sort: Sort,
    /// Largest or newest first.
    pub descending: bool,
}

/// A page of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Nodes that the query fits.
    pub total: i64,
    /// Ids of those on the page, in order.
    pub ids: Vec<i64>,
}

/// Numbers of nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// All.
    pub all: i64,
    /// State not normal.
    pub disputed: i64,
    /// Silent since before the time asked for, or never heard.
    pub silent: i64,
}

impl Counts {
    /// Nodes of this kind.
    #[must_use]
    pub fn of(self, which: Which) -> i64 {
        match which {
            Which::All => self.all,
            Which::Disputed => self.disputed,
            Which::Silent => self.silent,
        }
    }
}

/// When a node counts as silent.
#[derive(Debug, Clone, Copy)]
pub struct Silence {
    /// Milliseconds since 1970.
    pub now: i64,
    /// Seconds between check-ins of a node that was told no longer interval.
    pub usual_s: u32,
}

impl Silence {
    /// As [`alive_ms`] has it. Most nodes were told no longer interval, so that the index on the last check-in does most.
    pub(super) fn condition(self, select: &mut sql::Query) {
        let (now, usual_ms) = (self.now, alive_ms(None, self.usual_s));
        select.push("(n.last_checkin IS NULL OR (n.last_checkin < ").push_bind(now - usual_ms);
        select.push(" AND (n.interval IS NULL OR n.last_checkin < ").push_bind(now);
        select.push(" - n.interval * ").push_bind(ALIVE_INTERVALS * 1000).push(")))");
    }
}

/// A page of the nodes that `query` fits; `counts` are those of that time, so that only a search is counted anew.
///
/// # Errors
/// When the database fails.
pub async fn find(db: &Pool, query: &Query, silence: Silence, counts: Counts, page: Page) -> anyhow::Result<Listed> {
    let total = if query.search.trim().is_empty() {
        counts.of(query.which)
    } else {
        let mut count = sql::query("SELECT count(*) FROM nodes n JOIN summaries s ON s.node = n.id");
        restrict(&mut count, query, silence);
        count.scalars().fetch_one(db).await?
    };
    let mut select = sql::query("SELECT n.id FROM nodes n JOIN summaries s ON s.node = n.id");
    restrict(&mut select, query, silence);
    let direction = if query.descending { "DESC" } else { "ASC" };
    // What has no value comes last either way: nobody looks for it.
    let column = query.sort.column();
    select.push(&format!(" ORDER BY {column} {direction} NULLS LAST, n.id {direction} LIMIT "));
    select.push_bind(page.limit).push(" OFFSET ").push_bind(page.start);
    Ok(Listed { total, ids: select.scalars().fetch_all(db).await? })
}

fn restrict(select: &mut sql::Query, query: &Query, silence: Silence) {
    select.push(" WHERE 1 = 1");
    match query.which {
        Which::All => {}
        Which::Disputed => {
            select.push(" AND n.state <> 'normal'");
        }
        Which::Silent => {
            select.push(" AND ");
            silence.condition(select);
        }
    }
    containing(select, &query.search);
}

/// Only nodes in whose name, hardware values and addresses all these words stand.
pub(super) fn containing(select: &mut sql::Query, words: &str) {
    for word in words.split_whitespace() {
        select.push(" AND (s.words LIKE ").push_bind(pattern(word)).push(" ESCAPE '\\'");
        if word.contains(':') {
            // MACs are stored with hyphens; people copy them with colons.
            select.push(" OR s.words LIKE ").push_bind(pattern(&word.replace(':', "-"))).push(" ESCAPE '\\'");
        }
        select.push(")");
    }
}

/// A pattern of `LIKE` for text that contains `word`. In small letters, which fits where the words are kept in small letters, and
/// where `LIKE` does not tell them from large ones.
fn pattern(word: &str) -> String {
    let mut pattern = String::from("%");
    for c in word.to_ascii_lowercase().chars() {
        if matches!(c, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern.push('%');
    pattern
}

/// How many nodes there are, and how many of them want a look.
///
/// # Errors
/// When the database fails.
pub async fn counts(db: &Pool, silence: Silence) -> anyhow::Result<Counts> {
    let mut select = sql::query(
        "SELECT (SELECT count(*) FROM nodes), (SELECT count(*) FROM nodes WHERE state <> 'normal'),
         (SELECT count(*) FROM nodes n WHERE ",
    );
    silence.condition(&mut select);
    select.push(")");
    let (all, disputed, silent) = select.rows().fetch_one(db).await?;
    Ok(Counts { all, disputed, silent })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_searched_for_is_no_pattern() {
        assert_eq!(pattern("a%b_c\\"), "%a\\%b\\_c\\\\%");
        assert_eq!(pattern("Node1"), "%node1%");
    }
}
