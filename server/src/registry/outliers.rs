//! The odd machines of the fleet, counted anew with each question. Input: what nodes are made of, as [`makeups`] counts it. Output:
//! products, what is split among their machines, and a page of odd nodes. Nodes that wait to be accepted or are in dispute do
//! not count: anybody can make them up.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::fleet::makeup::Area;
use crate::fleet::outliers::{self, Odd, Split, sentence, split_sentence};
use crate::limits::{MAX_GROUPS, MAX_ODD_SHOWN, MAX_PRODUCTS};
use crate::store::makeups::{self, Counted};
use crate::store::nodes;
use crate::store::sql::Pool;
use crate::store::view::Page;

/// What is asked.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// Only products with this in their name, in any case.
    pub product: String,
    /// All nodes with this makeup, odd or not.
    pub makeup: Option<i64>,
}

/// The answer.
#[derive(Debug, Serialize)]
pub struct Found {
    /// Odd nodes, or those with the makeup that was asked for.
    pub total: i64,
    /// Products, those with most machines first.
    pub products: Vec<Product>,
    /// Further products.
    pub more_products: usize,
    /// A page of the nodes, by product and makeup.
    pub items: Vec<Item>,
}

/// Machines of one product.
#[derive(Debug, Serialize)]
pub struct Product {
    /// Maker and product.
    pub product: String,
    /// Nodes.
    pub nodes: i64,
    /// Different makeups among them.
    pub makeups: usize,
    /// Nodes at which something is odd.
    pub odd: i64,
    /// Where no value is common.
    pub split: Vec<Told<Split>>,
    /// How many more of these there are.
    pub more_split: usize,
    /// Nodes of wholly the same makeup, the most first.
    pub groups: Vec<Group>,
}

/// Nodes of wholly the same makeup.
#[derive(Debug, Serialize)]
pub struct Group {
    /// Number of the makeup.
    pub makeup: i64,
    /// Nodes that have it.
    pub nodes: i64,
    /// Things that are odd at each of them.
    pub odd: usize,
}

/// A node.
#[derive(Debug, Serialize)]
pub struct Item {
    /// Its name.
    pub name: String,
    /// Maker and product.
    pub product: String,
    /// Number of its makeup.
    pub makeup: i64,
    /// Nodes that have wholly the same, itself among them.
    pub alike: i64,
    /// What is odd.
    pub odd: Vec<Told<Odd>>,
    /// How many more odd things there are.
    pub more: usize,
}

/// Something with a sentence about it.
#[derive(Debug, Clone, Serialize)]
pub struct Told<T> {
    /// What.
    #[serde(flatten)]
    pub what: T,
    /// The sentence.
    pub text: String,
}

/// Makeups of one product with what is odd at each.
struct Judged {
    makeups: Vec<(Counted, Vec<Odd>)>,
    split: Vec<Split>,
}

/// Looks for odd machines.
///
/// # Errors
/// When the database fails or holds something damaged.
pub async fn find(db: &Pool, asked: &Asked, page: Page) -> anyhow::Result<Found> {
    let wanted = asked.product.trim().to_lowercase();
    let mut counted = makeups::counted(db, None).await?;
    // A product whose name another one's begins with can be asked for too.
    let is_whole = counted.iter().any(|one| one.product.to_lowercase() == wanted);
    let fits = |name: String| if is_whole { name == wanted } else { name.contains(&wanted) };
    counted.retain(|one| wanted.is_empty() || fits(one.product.to_lowercase()));
    if let Some(makeup) = asked.makeup {
        let product = counted.iter().find(|one| one.id == makeup).map(|one| one.product.clone());
        counted.retain(|one| Some(&one.product) == product.as_ref());
    }
    let judged = judged(db, counted).await?;
    let is_shown = |one: &Counted, odd: &[Odd]| asked.makeup.map_or(!odd.is_empty(), |makeup| makeup == one.id);
    let shown: Vec<&(Counted, Vec<Odd>)> =
        judged.iter().flat_map(|j| &j.makeups).filter(|(one, odd)| is_shown(one, odd)).collect();
    let total = shown.iter().map(|(one, _)| one.nodes).sum();
    let items = items(db, &shown, page).await?;
    let mut products: Vec<Product> = judged.iter().map(product).collect();
    products.sort_by_key(|product| -product.nodes);
    let more_products = products.len().saturating_sub(MAX_PRODUCTS);
    products.truncate(MAX_PRODUCTS);
    Ok(Found { total, products, more_products, items })
}

/// What is odd at a node; nothing where it is not compared with any.
///
/// # Errors
/// When the database fails or holds something damaged.
pub async fn of_node(db: &Pool, node: i64) -> anyhow::Result<Option<Item>> {
    let Some((makeup, product)) = makeups::of_node(db, node).await? else { return Ok(None) };
    let judged = judged(db, makeups::counted(db, Some(&product)).await?).await?;
    let mut all = judged.iter().flat_map(|j| &j.makeups);
    Ok(all.find(|(one, _)| one.id == makeup).map(|(one, odd)| item(node, one, odd)))
}

/// Judges makeups that are in order of product.
async fn judged(db: &Pool, counted: Vec<Counted>) -> anyhow::Result<Vec<Judged>> {
    let ids: BTreeSet<i64> = counted.iter().flat_map(|one| one.areas.iter().copied()).collect();
    let areas = makeups::areas(db, &ids).await?;
    let products = counted.chunk_by(|one, next| one.product == next.product);
    Ok(products.map(|makeups| judge(makeups, &areas)).collect())
}

/// Judges the makeups of one product, area by area.
fn judge(makeups: &[Counted], areas: &BTreeMap<i64, Area>) -> Judged {
    let mut nodes: BTreeMap<i64, i64> = BTreeMap::new();
    for one in makeups {
        for id in &one.areas {
            *nodes.entry(*id).or_default() += one.nodes;
        }
    }
    let mut sides: BTreeMap<&str, Vec<(i64, &Area, i64)>> = BTreeMap::new();
    for (id, count) in nodes {
        if let Some(area) = areas.get(&id) {
            sides.entry(&area.area).or_default().push((id, area, count));
        }
    }
    let (mut odd, mut split) = (BTreeMap::new(), Vec::new());
    for contents in sides.values() {
        let counted: Vec<(&Area, i64)> = contents.iter().map(|(_, area, count)| (*area, *count)).collect();
        let judged = outliers::judge(&counted);
        odd.extend(contents.iter().map(|(id, ..)| *id).zip(judged.odd));
        split.extend(judged.split);
    }
    let of = |one: &Counted| one.areas.iter().filter_map(|id| odd.get(id)).flatten().cloned().collect();
    Judged { makeups: makeups.iter().map(|one| (one.clone(), of(one))).collect(), split }
}

fn product(judged: &Judged) -> Product {
    let all = &judged.makeups;
    let mut groups: Vec<Group> =
        all.iter().map(|(one, odd)| Group { makeup: one.id, nodes: one.nodes, odd: odd.len() }).collect();
    groups.sort_by_key(|group| (-group.nodes, group.makeup));
    groups.truncate(MAX_GROUPS);
    let told = |split: &Split| Told { text: split_sentence(split), what: split.clone() };
    Product {
        product: all.first().map(|(one, _)| one.product.clone()).unwrap_or_default(),
        nodes: all.iter().map(|(one, _)| one.nodes).sum(),
        makeups: all.len(),
        odd: all.iter().filter(|(_, odd)| !odd.is_empty()).map(|(one, _)| one.nodes).sum(),
        split: judged.split.iter().take(MAX_ODD_SHOWN).map(told).collect(),
        more_split: judged.split.len().saturating_sub(MAX_ODD_SHOWN),
        groups,
    }
}

fn item(node: i64, one: &Counted, odd: &[Odd]) -> Item {
    let told = |odd: &Odd| Told { text: sentence(odd), what: odd.clone() };
    Item {
        name: nodes::name(node),
        product: one.product.clone(),
        makeup: one.id,
        alike: one.nodes,
        odd: odd.iter().take(MAX_ODD_SHOWN).map(told).collect(),
        more: odd.len().saturating_sub(MAX_ODD_SHOWN),
    }
}

/// A page of the nodes that have these makeups: only those of the page are read.
async fn items(db: &Pool, shown: &[&(Counted, Vec<Odd>)], page: Page) -> anyhow::Result<Vec<Item>> {
    let (mut skip, mut room) = (page.start, page.limit);
    let mut items = Vec::new();
    for (one, odd) in shown {
        if room <= 0 {
            break;
        }
        if skip >= one.nodes {
            skip -= one.nodes;
            continue;
        }
        let found = makeups::nodes(db, one.id, Page { start: skip, limit: room.min(one.nodes - skip) }).await?;
        skip = 0;
        room -= i64::try_from(found.len())?;
        items.extend(found.into_iter().map(|node| item(node, one, odd)));
    }
    Ok(items)
}
