//! What a machine is made of, without what tells it from the next one of its kind: no serial number, MAC or address. Machines that
//! were delivered, cabled and flashed alike have the same makeup, whatever their number. Pure: the stable inventory in, a makeup out.
//!
//! A makeup is cut into areas, each of which is stored once for all that have it: an odd memory module makes a new memory area and
//! nothing else. What nobody could read is left out, and is neither odd nor common.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wire::inventory::Stable;

use crate::fleet::parts;
use crate::identity::placeholders::is_placeholder;
use crate::limits::{MAX_AREA_PARTS, MAX_PART_TEXT};

/// The number of this way to put machines in words. Raise it with any change of [`parts`]: all nodes are worked out anew then,
/// since the same machine in other words would pass for an odd one.
pub const FORM: i64 = 1;

/// What is known of a part, by what it is about, such as `speed`.
pub type Fields = BTreeMap<&'static str, Option<String>>;

/// All that machines of one product are compared by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Makeup {
    /// Maker and product.
    pub product: String,
    /// SHA-256 (hex) of product and areas.
    pub digest: String,
    /// Its areas in order of name.
    pub areas: Vec<Packed>,
}

/// An area as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed {
    /// SHA-256 (hex) of its JSON.
    pub digest: String,
    /// JSON of an [`Area`].
    pub json: String,
}

/// One side of a machine, such as its memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Area {
    /// Its name.
    pub area: String,
    /// Its parts; those of which the same is known stand together.
    pub alike: Vec<Alike>,
}

/// Parts of which the same is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alike {
    /// Their names, such as `DIMM A1`.
    pub parts: Vec<String>,
    /// What is known of each, by what it is about.
    pub known: BTreeMap<String, String>,
}

impl Area {
    /// Puts parts together of which the same is known.
    fn of(area: &str, parts: Vec<(String, Fields)>) -> Self {
        let mut alike: BTreeMap<BTreeMap<String, String>, Vec<String>> = BTreeMap::new();
        let mut named: BTreeMap<String, usize> = BTreeMap::new();
        for (part, fields) in parts.into_iter().take(MAX_AREA_PARTS) {
            let known = fields.into_iter().filter_map(|(what, value)| Some((what.to_owned(), cut(&value?))));
            let known = known.filter(|(_, value)| !value.is_empty());
            alike.entry(known.collect()).or_default().push(unique(&mut named, cut(&part)));
        }
        let alike = alike.into_iter().map(|(known, mut parts)| {
            parts.sort();
            Alike { parts, known }
        });
        Self { area: area.to_owned(), alike: alike.collect() }
    }

    /// Ready to be stored.
    fn pack(&self) -> serde_json::Result<Packed> {
        let json = serde_json::to_string(self)?;
        Ok(Packed { digest: wire::digest::sha256_hex(json.as_bytes()), json })
    }
}

/// The makeup of a machine; nothing for one that does not say what product it is, since there is no telling what it should be like.
///
/// # Errors
/// When it cannot be written as JSON.
pub fn of(stable: &Stable) -> serde_json::Result<Option<Makeup>> {
    let Some(product) = product(stable) else { return Ok(None) };
    let areas: Vec<Packed> =
        parts::of(stable).into_iter().map(|(name, parts)| Area::of(name, parts).pack()).collect::<Result<_, _>>()?;
    let all: Vec<&str> = [product.as_str()].into_iter().chain(areas.iter().map(|a| a.digest.as_str())).collect();
    let digest = wire::digest::sha256_hex(all.join("\n").as_bytes());
    Ok(Some(Makeup { product, digest, areas }))
}

/// Maker and product of the system; where its maker left them blank, of the board.
fn product(stable: &Stable) -> Option<String> {
    let named = |maker: Option<&String>, product: Option<&String>| {
        let product = real(product?)?;
        Some(maker.and_then(|m| real(m)).map_or_else(|| product.clone(), |maker| format!("{maker} {product}")))
    };
    let (system, board) = (stable.system.as_ref(), stable.board.as_ref());
    system
        .and_then(|s| named(s.manufacturer.as_ref(), s.product.as_ref()))
        .or_else(|| board.and_then(|b| named(b.manufacturer.as_ref(), b.product.as_ref())))
}

/// A name that somebody gave, not too long.
fn real(value: &str) -> Option<String> {
    (!is_placeholder(&value.trim().to_lowercase())).then(|| cut(value))
}

/// Some boards give several slots one name.
fn unique(named: &mut BTreeMap<String, usize>, part: String) -> String {
    let mut number = named.get(&part).copied().unwrap_or(0) + 1;
    let numbered = |number| if number == 1 { part.clone() } else { format!("{part} ({number})") };
    while number > 1 && named.contains_key(&numbered(number)) {
        number += 1;
    }
    let name = numbered(number);
    named.insert(name.clone(), 1);
    named.insert(part, number);
    name
}

fn cut(text: &str) -> String {
    text.trim().chars().take(MAX_PART_TEXT).collect()
}
