//! The expected machines compared with the nodes that were found: the names of a few nodes at once, everything for the pages about
//! racks. The rows are kept in memory by their version; what came of comparing all of them is kept for a while where that took long.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::json;

use crate::limits::{COMPARED_AGAIN, COMPARED_FAST};
use crate::rack::matching::{Matched, Matching, Standing};
use crate::rack::words::sentence;
use crate::rack::{Rack, Row};
use crate::registry::caller::Caller;
use crate::store::sql::{Connection, Pool};
use crate::store::view::{Page, timestamp};
use crate::store::writer::Work;
use crate::store::{history, nodes, racks};

/// All that is expected and what came of it, at one time.
#[derive(Debug)]
pub struct Compared {
    rack: Arc<Rack>,
    matched: Matched,
    /// Nodes that are no row, and may be none.
    unexpected: Vec<i64>,
    counts: BTreeMap<&'static str, usize>,
    at: Instant,
    took: Duration,
}

/// What is kept in memory.
#[derive(Debug, Clone, Default)]
pub struct Racks {
    rack: Arc<Mutex<Option<Arc<Rack>>>>,
    /// Held while it is worked out, so that many who ask at once have it done once.
    compared: Arc<tokio::sync::Mutex<Option<Arc<Compared>>>>,
}

/// Which entries are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Show {
    /// All expected machines.
    #[default]
    All,
    /// Those of one standing.
    Only(Standing),
    /// Nodes that nobody expects.
    Unexpected,
    /// All that is not as expected.
    Wrong,
}

impl Show {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::All,
        Self::Only(Standing::Present),
        Self::Only(Standing::Missing),
        Self::Only(Standing::Swapped),
        Self::Only(Standing::Moved),
        Self::Only(Standing::Ambiguous),
        Self::Unexpected,
        Self::Wrong,
    ];

    /// Its name in URLs.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Only(standing) => standing.word(),
            Self::Unexpected => "unexpected",
            Self::Wrong => "wrong",
        }
    }
}

/// A part of what came of it.
#[derive(Debug, Serialize)]
pub struct Listed {
    /// When the file was set, RFC 3339; nothing where no machines are expected.
    pub set: Option<String>,
    /// Machines by standing, with `expected` for all and `unexpected` for nodes that nobody expects.
    pub counts: BTreeMap<&'static str, usize>,
    /// Entries that are shown, on all pages together.
    pub total: usize,
    /// Those of this page.
    pub items: Vec<Entry>,
}

/// An expected machine, or a node that nobody expects.
#[derive(Debug, Serialize)]
pub struct Entry {
    /// What is expected.
    #[serde(flatten)]
    pub row: Option<Row>,
    /// A [`Standing`], or `unexpected`.
    pub standing: &'static str,
    /// Name of the node that it is.
    pub node: Option<String>,
    /// When that was heard last, RFC 3339.
    pub seen: Option<String>,
    /// What is not as expected; empty where all is.
    pub text: String,
}

impl Racks {
    /// The rows in force; nothing where no machines are expected.
    async fn current(&self, db: &Pool) -> anyhow::Result<Option<Arc<Rack>>> {
        let Some(version) = racks::version(db).await? else { return Ok(None) };
        let kept = self.rack.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(rack) = kept.filter(|rack| rack.version == version) {
            return Ok(Some(rack));
        }
        let read = racks::get(db).await?.map(Arc::new);
        self.rack.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&read);
        Ok(read)
    }

    /// The names by which some nodes are expected.
    ///
    /// # Errors
    /// When the database fails or holds something damaged.
    pub async fn names(&self, db: &Pool, nodes: &[i64]) -> anyhow::Result<BTreeMap<i64, Row>> {
        let Some(rack) = self.current(db).await? else { return Ok(BTreeMap::new()) };
        let mut matching = Matching::new(&rack);
        racks::match_some(db, &rack, nodes, &mut matching).await?;
        let named = nodes.iter().filter_map(|id| Some((*id, rack.rows.get(matching.row_of(*id)?)?.clone())));
        Ok(named.collect())
    }

    /// A part of what came of comparing everything.
    ///
    /// # Errors
    /// When the database fails or holds something damaged.
    pub async fn list(&self, db: &Pool, show: Show, page: Page) -> anyhow::Result<Listed> {
        let Some(all) = self.compared(db).await? else {
            return Ok(Listed { set: None, counts: BTreeMap::new(), total: 0, items: Vec::new() });
        };
        let rows = all.matched.found.iter().enumerate().filter(|(_, found)| match show {
            Show::All => true,
            Show::Only(standing) => found.standing == standing,
            Show::Wrong => found.standing != Standing::Present,
            Show::Unexpected => false,
        });
        let strangers = all.unexpected.iter().filter(|_| matches!(show, Show::Unexpected | Show::Wrong));
        let shown = rows.map(|(row, _)| Ok(row)).chain(strangers.map(|node| Err(*node)));
        let shown: Vec<Result<usize, i64>> = shown.collect();
        let start = usize::try_from(page.start).unwrap_or(usize::MAX).min(shown.len());
        let end = start.saturating_add(usize::try_from(page.limit).unwrap_or(0)).min(shown.len());
        let part = &shown[start..end];
        let ids: Vec<i64> = part.iter().filter_map(|one| all.node(*one)).collect();
        let seen = racks::seen(db, &ids).await?;
        let items = part.iter().map(|one| all.entry(*one, &seen)).collect();
        Ok(Listed { set: Some(timestamp(all.rack.at)), counts: all.counts.clone(), total: shown.len(), items })
    }

    async fn compared(&self, db: &Pool) -> anyhow::Result<Option<Arc<Compared>>> {
        let Some(rack) = self.current(db).await? else { return Ok(None) };
        let mut kept = self.compared.lock().await;
        if let Some(former) = kept.as_ref().filter(|former| former.rack.version == rack.version && former.is_fresh()) {
            return Ok(Some(Arc::clone(former)));
        }
        let at = Instant::now();
        let mut matching = Matching::new(&rack);
        racks::match_all(db, &mut matching).await?;
        let matched = matching.done();
        let is_known = |node: &i64| matched.rows.contains_key(node) || matched.unsure.contains(node);
        let unexpected: Vec<i64> = racks::nodes(db).await?.into_iter().filter(|node| !is_known(node)).collect();
        let mut counts: BTreeMap<&'static str, usize> =
            Standing::ALL.into_iter().map(|standing| (standing.word(), 0)).collect();
        for found in &matched.found {
            *counts.entry(found.standing.word()).or_default() += 1;
        }
        counts.extend([("expected", rack.rows.len()), ("unexpected", unexpected.len())]);
        let compared = Arc::new(Compared { rack, matched, unexpected, counts, at, took: at.elapsed() });
        *kept = Some(Arc::clone(&compared));
        Ok(Some(compared))
    }
}

impl Compared {
    fn is_fresh(&self) -> bool {
        self.took > COMPARED_FAST && self.at.elapsed() < self.took * COMPARED_AGAIN
    }

    fn node(&self, one: Result<usize, i64>) -> Option<i64> {
        one.map_or_else(Some, |row| self.matched.found.get(row)?.node)
    }

    fn entry(&self, one: Result<usize, i64>, seen: &BTreeMap<i64, i64>) -> Entry {
        let node = self.node(one);
        let (row, standing, text) = match one {
            Ok(row) => {
                let standing = self.matched.found.get(row).map_or("missing", |found| found.standing.word());
                (self.rack.rows.get(row).cloned(), standing, sentence(&self.rack, &self.matched, row))
            }
            Err(_) => (None, "unexpected", "no row of the file is about it".to_owned()),
        };
        let seen = node.and_then(|node| seen.get(&node)).map(|at| timestamp(*at));
        Entry { row, standing, node: node.map(nodes::name), seen, text }
    }
}

/// Sets the expected machines, or expects none any more.
#[derive(Debug)]
pub struct Set {
    /// Milliseconds since 1970.
    pub now: i64,
    /// Who wants it.
    pub by: Caller,
    /// Rows ready to be stored.
    pub packed: Option<Vec<u8>>,
    /// What was done, for the log.
    pub result: String,
}

impl Work for Set {
    type Output = i64;

    async fn run(&self, db: &mut Connection) -> anyhow::Result<i64> {
        racks::put(&mut *db, self.now, self.packed.as_deref()).await?;
        let command = if self.packed.is_some() { "set-rack" } else { "unset-rack" };
        let detail = json!({"operation": {"command": command}, "by": self.by.to_string(), "result": self.result});
        history::event(db, self.now, "operator", None, &detail).await
    }
}
