//! What happened, over all nodes or at one: entries of the nodes' logs and events, in the order in which they were written.
//!
//! Both are tables of their own with rising ids, so that a place in the feed is a pair of ids, a [`Cursor`]. The clock may
//! step back; a cursor never misses an entry for it. A copy of the database that is put back numbers new entries as it did
//! those that it lacks: a cursor says in which run of the server it was given, and [`begin`] keeps where each run began.

use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;

use anyhow::anyhow;
use ring::rand::SystemRandom;
use serde_json::{Value, json};
use sqlx::FromRow;

use crate::limits::STARTS;
use crate::store::nodes;
use crate::store::sql::{self, Connection, Pool};
use crate::store::view::timestamp;
use crate::wording;

/// A place between two entries. Its text form is for URLs and means nothing to anybody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cursor {
    log: i64,
    event: i64,
    /// The start of the server that gave it; without one it is taken as of this feed.
    start: Option<i64>,
}

impl Cursor {
    /// True for a place that comes after this one in at least one of the two tables.
    fn is_before(self, other: Self) -> bool {
        self.log < other.log || self.event < other.event
    }

    /// True for an entry that comes before this place.
    #[must_use]
    pub fn is_past(self, mark: Mark) -> bool {
        match mark.source {
            Source::Log => mark.id <= self.log,
            Source::Event => mark.id <= self.event,
        }
    }

    /// This place, as one of the run of the server that gave `other`.
    #[must_use]
    pub fn of_run(self, other: Self) -> Self {
        Self { start: other.start, ..self }
    }

    /// This place, once this entry is passed too.
    #[must_use]
    pub fn past(mut self, mark: Mark) -> Self {
        let place = id(&mut self, mark.source);
        *place = mark.id.max(*place);
        self
    }
}

/// Where one entry stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    source: Source,
    id: i64,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.log, self.event)?;
        self.start.map_or(Ok(()), |start| write!(f, ".{start:016x}"))
    }
}

impl FromStr for Cursor {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = "a cursor is three numbers with points between them, as an answer gave it";
        let (log, event) = text.split_once('.').ok_or(bad)?;
        let (event, start) = event.split_once('.').map_or((event, None), |(event, start)| (event, Some(start)));
        let start = start.map(|start| u64::from_str_radix(start, 16).map(u64::cast_signed)).transpose();
        Ok(Self {
            log: log.parse().map_err(|_| bad)?,
            event: event.parse().map_err(|_| bad)?,
            start: start.map_err(|_| bad)?,
        })
    }
}

/// Which part of the feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Its end.
    Newest,
    /// What follows a place, from there on.
    After(Cursor),
    /// What was before a place, up to there.
    Before(Cursor),
}

/// What is asked of the feed.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// Only what concerns this node.
    pub node: Option<i64>,
    /// Only what happened at this time or later, in milliseconds since 1970.
    pub since: Option<i64>,
    /// Which part.
    pub part: Part,
    /// Entries to give at most.
    pub limit: i64,
}

/// A part of the feed, oldest first.
#[derive(Debug)]
pub struct Feed {
    /// Objects with `timestamp`, `node`, `severity`, `text` and the stored `entry`.
    pub entries: Vec<Value>,
    /// Where each of them stands.
    pub marks: Vec<Mark>,
    /// Before the first entry.
    pub first: Cursor,
    /// After the last entry.
    pub last: Cursor,
    /// The feed does not go on from the place that was asked for: it was restored from a copy, or begun anew.
    pub is_lost: bool,
    /// There are more in the direction of the part: older ones, or newer ones after a place.
    pub more: bool,
}

#[derive(Debug, FromRow)]
struct Row {
    id: i64,
    at: i64,
    node: Option<i64>,
    severity: String,
    /// Of an event, which has it beside its detail.
    kind: Option<String>,
    entry: String,
    times: i64,
    since: Option<i64>,
}

/// The two tables, in one form. An event that stands in the logs of its nodes too is left out; what an operator did to
/// a node that was deleted since is not.
const LOG: &str = "SELECT id, at, node, severity, NULL AS kind, entry, times, since FROM node_log WHERE 1 = 1";
const EVENTS: &str = "SELECT id, at, node, CASE kind WHEN 'identity-conflict' THEN 'warn' ELSE 'info' END AS severity,
     kind, detail AS entry, CAST(1 AS BIGINT) AS times, CAST(NULL AS BIGINT) AS since FROM events
     WHERE NOT (kind IN ('hardware-moved', 'identity-conflict', 'node-rejoined') AND node IS NOT NULL)
     AND NOT (kind = 'operator' AND EXISTS (SELECT 1 FROM nodes WHERE nodes.id = events.node))";

/// Reads a part of the feed.
///
/// # Errors
/// When the database fails.
pub async fn read(db: &Pool, wanted: &Wanted) -> anyhow::Result<Feed> {
    let mut connection = db.acquire().await?;
    // One look at both tables, so that nothing falls between them.
    let mut snapshot = connection.snapshot().await?;
    let end = end(&mut snapshot).await?;
    let is_lost = match wanted.part {
        Part::After(place) => end.is_before(place) || is_foreign(&mut snapshot, place).await?,
        Part::Newest | Part::Before(_) => false,
    };
    let logs = rows(&mut snapshot, LOG, wanted, |cursor| cursor.log).await?;
    let events = rows(&mut snapshot, EVENTS, wanted, |cursor| cursor.event).await?;
    snapshot.commit().await?;
    let limit = usize::try_from(wanted.limit).unwrap_or(0);
    Ok(Feed { is_lost, ..cut(merge(logs, events), wanted.part, end, limit)? })
}

/// Notes that the server starts, and where the feed ends now. Called once, before anything is written.
///
/// # Errors
/// When the database fails.
pub async fn begin(db: &mut Connection) -> anyhow::Result<()> {
    let end = end(&mut *db).await?;
    let start = ring::rand::generate::<[u8; 8]>(&SystemRandom::new()).map_err(|_| anyhow!("no random numbers"))?;
    let insert = sql::query("INSERT INTO starts (start, log, event) VALUES ($1, $2, $3)");
    insert.bind(i64::from_le_bytes(start.expose())).bind(end.log).bind(end.event).execute(&mut *db).await?;
    let prune = sql::query("DELETE FROM starts WHERE id <= (SELECT max(id) FROM starts) - $1");
    prune.bind(STARTS).execute(db).await?;
    Ok(())
}

/// The place after the newest entry.
///
/// # Errors
/// When the database fails.
pub async fn newest(db: &Pool) -> anyhow::Result<Cursor> {
    let mut connection = db.acquire().await?;
    end(&mut connection).await
}

/// The same within a transaction.
///
/// # Errors
/// When the database fails.
pub async fn end(db: &mut Connection) -> anyhow::Result<Cursor> {
    // Not the largest id: the newest entries may have been those of a node that was deleted.
    let select = "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'node_log'), 0),
                  coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'events'), 0),
                  (SELECT start FROM starts ORDER BY id DESC LIMIT 1)";
    let (log, event, start) = sql::query_as(select).fetch_one(db).await?;
    Ok(Cursor { log, event, start })
}

/// Whether a place is of a run of the server that this database does not know, or knows only up to before that place.
async fn is_foreign(db: &mut Connection, place: Cursor) -> anyhow::Result<bool> {
    let Some(start) = place.start else { return Ok(false) };
    // Where the next run began, this one had ended.
    let select = "SELECT later.log, later.event FROM starts s
                  LEFT JOIN starts later ON later.id = (SELECT min(id) FROM starts WHERE id > s.id) WHERE s.start = $1";
    let ended: Option<(Option<i64>, Option<i64>)> = sql::query_as(select).bind(start).fetch_optional(db).await?;
    Ok(match ended {
        None => true,
        Some((Some(log), Some(event))) => Cursor { log, event, start: None }.is_before(place),
        Some(_) => false,
    })
}

/// Rows of one table, one more than wanted, oldest first.
async fn rows(
    db: &mut Connection,
    table: &'static str,
    wanted: &Wanted,
    place: fn(Cursor) -> i64,
) -> anyhow::Result<VecDeque<Row>> {
    let mut select = sql::query(table);
    if let Some(node) = wanted.node {
        select.push(" AND node = ").push_bind(node);
    }
    if let Some(since) = wanted.since {
        select.push(" AND at >= ").push_bind(since);
    }
    let order = match wanted.part {
        Part::Newest => "DESC",
        Part::Before(cursor) => {
            select.push(" AND id <= ").push_bind(place(cursor));
            "DESC"
        }
        Part::After(cursor) => {
            select.push(" AND id > ").push_bind(place(cursor));
            "ASC"
        }
    };
    select.push(&format!(" ORDER BY id {order} LIMIT ")).push_bind(wanted.limit.saturating_add(1));
    let mut rows: VecDeque<Row> = select.rows().fetch_all(db).await?.into();
    if order == "DESC" {
        rows.make_contiguous().reverse();
    }
    Ok(rows)
}

/// Both in the order of time; each keeps the order of its ids.
fn merge(mut logs: VecDeque<Row>, mut events: VecDeque<Row>) -> Vec<(Source, Row)> {
    let mut merged = Vec::with_capacity(logs.len() + events.len());
    loop {
        let event_first = match (logs.front(), events.front()) {
            (Some(log), Some(event)) => event.at <= log.at,
            (log, _) => log.is_none(),
        };
        let (source, rows) = if event_first { (Source::Event, &mut events) } else { (Source::Log, &mut logs) };
        let Some(row) = rows.pop_front() else { return merged };
        merged.push((source, row));
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Log,
    Event,
}

fn cut(mut rows: Vec<(Source, Row)>, part: Part, end: Cursor, limit: usize) -> anyhow::Result<Feed> {
    let more = rows.len() > limit;
    let mut first = match part {
        Part::Newest => end,
        Part::Before(cursor) | Part::After(cursor) => Cursor { start: end.start, ..cursor },
    };
    let mut last = first;
    match part {
        Part::After(_) => {
            rows.truncate(limit);
            for (source, row) in &rows {
                *id(&mut last, *source) = row.id;
            }
        }
        Part::Newest | Part::Before(_) => {
            rows.drain(..rows.len().saturating_sub(limit));
            for (source, row) in rows.iter().rev() {
                *id(&mut first, *source) = row.id - 1;
            }
        }
    }
    let marks = rows.iter().map(|(source, row)| Mark { source: *source, id: row.id }).collect();
    let entries = rows.into_iter().map(|(_, row)| entry(row)).collect::<anyhow::Result<_>>()?;
    Ok(Feed { entries, marks, first, last, is_lost: false, more })
}

fn id(cursor: &mut Cursor, source: Source) -> &mut i64 {
    match source {
        Source::Log => &mut cursor.log,
        Source::Event => &mut cursor.event,
    }
}

fn entry(row: Row) -> anyhow::Result<Value> {
    let mut entry: Value = serde_json::from_str(&row.entry)?;
    if let Some(kind) = row.kind {
        entry["event"] = kind.into();
    }
    let text = wording::sentence(&entry);
    let mut shown = json!({
        "timestamp": timestamp(row.at), "node": row.node.map(nodes::name), "severity": row.severity, "text": text,
        "entry": entry,
    });
    if let Some(since) = row.since.map(timestamp) {
        shown["text"] = wording::repeated(&text, row.times, &since).into();
        shown["times"] = row.times.into();
        shown["since"] = since.into();
    }
    Ok(shown)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::in_memory;

    fn row(id: i64, at: i64) -> Row {
        Row {
            id,
            at,
            node: Some(1),
            severity: "info".into(),
            kind: None,
            entry: format!("{{\"msg\": \"{id} at {at}\"}}"),
            times: 1,
            since: None,
        }
    }

    fn at(log: i64, event: i64) -> Cursor {
        Cursor { log, event, start: None }
    }

    /// Two tables whose clock stepped back once.
    fn both() -> Vec<(Source, Row)> {
        let logs = [row(1, 10), row(2, 30), row(3, 20), row(4, 40)];
        let events = [row(1, 5), row(2, 25), row(3, 40)];
        merge(logs.into(), events.into())
    }

    fn texts(feed: &Feed) -> Vec<&str> {
        feed.entries.iter().filter_map(|e| e["text"].as_str()).collect()
    }

    #[test]
    fn nothing_is_missed_when_the_clock_steps_back() {
        let ids = |source| both().iter().filter(|(s, _)| *s == source).map(|(_, r)| r.id).collect::<Vec<_>>();
        assert_eq!((ids(Source::Log), ids(Source::Event)), (vec![1, 2, 3, 4], vec![1, 2, 3]));
        let end = at(4, 3);
        // Page by page forwards, each from where the last one ended.
        let mut seen = Vec::new();
        let mut place = Cursor::default();
        loop {
            let left: Vec<_> = both()
                .into_iter()
                .filter(|(s, r)| r.id > if *s == Source::Log { place.log } else { place.event })
                .collect();
            let feed = cut(left, Part::After(place), end, 2).unwrap();
            seen.extend(texts(&feed).iter().map(ToString::to_string));
            place = feed.last;
            if !feed.more {
                break;
            }
        }
        assert_eq!((seen.len(), place), (7, end), "{seen:?}");
    }

    #[test]
    fn the_newest_come_last_and_the_older_ones_join_up() {
        let end = at(4, 3);
        let newest = cut(both(), Part::Newest, end, 3).unwrap();
        assert_eq!((texts(&newest).len(), newest.more, newest.last), (3, true, end));
        let older: Vec<_> = both()
            .into_iter()
            .filter(|(s, r)| r.id <= if *s == Source::Log { newest.first.log } else { newest.first.event })
            .collect();
        let rest = cut(older, Part::Before(newest.first), end, 10).unwrap();
        assert_eq!((texts(&rest).len(), rest.more), (4, false));
        assert_eq!(rest.first, Cursor::default());
    }

    #[test]
    fn a_place_that_the_feed_does_not_have_yet_is_told() {
        let end = at(4, 3);
        for (log, event, beyond) in [(4, 3, false), (0, 0, false), (5, 3, true), (4, 4, true), (9, 0, true)] {
            assert_eq!(end.is_before(at(log, event)), beyond, "{log}.{event}");
        }
    }

    #[test]
    fn cursors_are_read_as_they_are_written() {
        for start in [None, Some(0), Some(i64::MIN), Some(-1), Some(i64::MAX)] {
            let cursor = Cursor { start, ..at(12, 345) };
            assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }
        for bad in ["", "1", "1.", ".", "1.x", "a.b", "1.2.x", "1.2.", "1.2.3.4", "99999999999999999999.1"] {
            assert!(bad.parse::<Cursor>().is_err(), "{bad}");
        }
    }

    #[tokio::test]
    async fn a_place_of_a_run_that_the_database_lacks_in_part_or_whole_is_foreign() {
        let mut db = in_memory().await;
        begin(&mut db).await.unwrap();
        let first = end(&mut db).await.unwrap().start;
        assert!(first.is_some());
        // A copy is made when there were ten entries, and put back.
        let ten = "INSERT INTO sqlite_sequence (name, seq) VALUES ('node_log', 10)";
        sql::query(ten).execute(&mut db).await.unwrap();
        begin(&mut db).await.unwrap();
        let second = end(&mut db).await.unwrap();
        assert_eq!((second.log, second.start == first), (10, false));
        for (log, event, start, foreign) in [
            (10, 0, first, false),
            (11, 0, first, true),
            (10, 1, first, true),
            (500, 0, second.start, false),
            (0, 0, Some(1), true),
            (0, 0, None, false),
        ] {
            let place = Cursor { log, event, start };
            assert_eq!(is_foreign(&mut db, place).await.unwrap(), foreign, "{place}");
        }
        for _ in 0..=STARTS {
            begin(&mut db).await.unwrap();
        }
        let (count,): (i64,) = sql::query_as("SELECT count(*) FROM starts").fetch_one(&mut db).await.unwrap();
        assert_eq!(count, STARTS);
    }
}
