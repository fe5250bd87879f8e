//! Which nodes a caller of the API looks for, found and cut into pages by the database.

use regex_lite::RegexBuilder;

use crate::identity::canonical::HwInfo;
use crate::identity::keys::{self, Key};
use crate::identity::report::Context;
use crate::store::list::{self, Listed, Silence};
use crate::store::sql::{self, Pool};
use crate::store::view::Page;

/// What is looked for; all of it must fit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Hardware values of which the node has at least one.
    pub keys: Vec<Key>,
    /// A regular expression that its host name fits, in whatever case; what is none is looked for as it stands.
    pub hostname: Option<String>,
    /// Its state.
    pub state: Option<State>,
    /// Its product name, in whatever case.
    pub product: Option<String>,
    /// Words that must all stand somewhere in its name, hardware values or addresses.
    pub search: String,
}

/// States by which nodes are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Nothing is wrong.
    Normal,
    /// Its identity is disputed.
    Held,
    /// It waits to be accepted.
    Pending,
    /// It has not checked in for several intervals, or never.
    Silent,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Normal, Self::Held, Self::Pending, Self::Silent];

    /// Its name in URLs.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Held => "held",
            Self::Pending => "pending",
            Self::Silent => "silent",
        }
    }
}

impl Filter {
    /// True when every node fits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A hardware value in the form in which nodes have it; nothing for what is none.
#[must_use]
pub fn key(kind: &str, value: &str) -> Option<Key> {
    let info = HwInfo::canonicalize([(kind, value)]);
    keys::judged(&info, &Context::default()).into_iter().next().map(|(key, _)| key)
}

/// A page of the nodes that fit, in order of their ids.
///
/// # Errors
/// When the database fails.
pub async fn find(db: &Pool, filter: &Filter, silence: Silence, page: Page) -> anyhow::Result<Listed> {
    let named = match &filter.hostname {
        Some(pattern) => Some(named(db, pattern).await?),
        None => None,
    };
    let mut count = sql::query("SELECT count(*)");
    restrict(&mut count, filter, named.as_deref(), silence);
    let total = count.scalars().fetch_one(db).await?;
    let mut select = sql::query("SELECT n.id");
    restrict(&mut select, filter, named.as_deref(), silence);
    select.push(" ORDER BY n.id LIMIT ").push_bind(page.limit).push(" OFFSET ").push_bind(page.start);
    Ok(Listed { total, ids: select.scalars().fetch_all(db).await? })
}

/// Nodes whose host name fits, as a JSON list. The names are read in one walk over an index; databases do not agree about
/// regular expressions.
async fn named(db: &Pool, pattern: &str) -> anyhow::Result<String> {
    let compile = |pattern: &str| RegexBuilder::new(pattern).case_insensitive(true).build();
    let pattern = compile(pattern).or_else(|_| compile(&regex_lite::escape(pattern)))?;
    let select = "SELECT node, hostname FROM adopted WHERE hostname IS NOT NULL ORDER BY node";
    let names: Vec<(i64, String)> = sql::query_as(select).fetch_all(db).await?;
    let fitting: Vec<i64> =
        names.into_iter().filter(|(_, name)| pattern.is_match(name)).map(|(node, _)| node).collect();
    Ok(serde_json::to_string(&fitting)?)
}

fn restrict(select: &mut sql::Query, filter: &Filter, named: Option<&str>, silence: Silence) {
    select.push(" FROM nodes n JOIN summaries s ON s.node = n.id WHERE 1 = 1");
    match filter.state {
        Some(State::Silent) => {
            select.push(" AND ");
            silence.condition(select);
        }
        Some(state) => {
            select.push(" AND n.state = ").push_bind(state.word());
        }
        None => {}
    }
    if let Some(product) = &filter.product {
        select.push(" AND lower(s.product) = lower(").push_bind(product.clone()).push(")");
    }
    if let Some(named) = named {
        select
            .push(" AND n.id IN (SELECT CAST(k.value AS BIGINT) FROM json_each(")
            .push_bind(named.to_owned())
            .push(") k)");
    }
    if let [first, others @ ..] = filter.keys.as_slice() {
        select.push(" AND n.id IN (SELECT c.node FROM claims c WHERE c.state <> 'former' AND (");
        push_key(select, first);
        for key in others {
            select.push(" OR ");
            push_key(select, key);
        }
        select.push("))");
    }
    list::containing(select, &filter.search);
}

fn push_key(select: &mut sql::Query, key: &Key) {
    select
        .push("(c.kind = ")
        .push_bind(key.kind.clone())
        .push(" AND c.value = ")
        .push_bind(key.value.clone())
        .push(")");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::in_memory;

    async fn plan(filter: &Filter) -> String {
        let mut db = in_memory().await;
        let mut explain = sql::query("EXPLAIN QUERY PLAN SELECT n.id");
        restrict(&mut explain, filter, None, Silence { now: 0, usual_s: 60 });
        let rows: Vec<(i64, i64, i64, String)> = explain.rows().fetch_all(&mut db).await.unwrap();
        rows.into_iter().map(|(.., step)| step + "\n").collect()
    }

    #[tokio::test]
    async fn a_value_a_state_and_a_product_are_looked_up_in_an_index() {
        let keys = vec![key("mac", "00:11:22:33:44:55").unwrap(), key("serial", "S1").unwrap()];
        for (filter, index) in [
            (Filter { keys, ..Filter::default() }, "claims_by_key"),
            (Filter { state: Some(State::Held), ..Filter::default() }, "nodes_by_state"),
            (Filter { product: Some("R650".into()), ..Filter::default() }, "summaries_by_any_product"),
        ] {
            let plan = plan(&filter).await;
            assert!(plan.contains(index) && !plan.contains("SCAN n\n") && !plan.contains("SCAN s\n"), "{plan}");
        }
    }
}
