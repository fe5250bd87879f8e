//! What nodes may load from a mirror: the closure of its install list, received once when an operator names the mirror, and
//! hashed. Nodes are sent the digests with the mirror's URL and load nothing else from it. A node with keys of its own about
//! extensions, such as another kernel, has digests of its own; they are renewed with those of all nodes.

mod hashing;

use wire::config::{ABOUT_EXTENSIONS, Config};
use wire::extensions::Source;

use crate::http::State;
use crate::http::problem::Failure;
use crate::registry::configs as keys;
use crate::registry::operate::Operation;
use crate::store::configs::{self, DIGESTS, Keys, MIRROR};
use crate::store::nodes;

pub use hashing::Hashing;

/// What is hashed: a closure differs by mirror, list and kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Origin {
    source: Source,
    kernel: Option<String>,
}

/// Digests that a change concerns.
struct Concerned {
    /// The node that they are of; none for those whom the operator named.
    node: Option<i64>,
    /// Where they are from; none where the image, or what is sent to all nodes, proves its extensions.
    from: Option<Origin>,
}

/// Completes a change of configuration with the digests of what it has nodes load. Any other operation, a change of other
/// keys, and one that brings digests of its own are left as they are; so is one that will be refused for a wrong value.
///
/// # Errors
/// The mirror does not give its list, or an extension that is in it, rightly; each is named. Another mirror is being hashed.
pub async fn complete(state: &State, mut operation: Operation) -> Result<Operation, Failure> {
    let Operation::SetConfig { node, set, unset, renewed } = &mut operation else { return Ok(operation) };
    let touched = set.keys().chain(unset.iter()).any(|key| ABOUT_EXTENSIONS.contains(&key.as_str()));
    if !touched || set.contains_key(DIGESTS) {
        return Ok(operation);
    }
    let Some(concerned) = concerned(state, node.as_deref(), set, unset).await? else { return Ok(operation) };
    let mut wanted: Vec<(String, Origin)> = Vec::new();
    for Concerned { node, from } in &concerned {
        if let Some(from) = from.as_ref().filter(|from| wanted.iter().all(|(_, known)| known != *from)) {
            wanted.push((node.map_or_else(String::new, |id| format!("{}: ", nodes::name(id))), from.clone()));
        }
    }
    let hashed = match wanted.is_empty() {
        true => Vec::new(),
        false => state.hashing.hash(wanted).await?,
    };
    for Concerned { node, from } in concerned {
        let found = from.and_then(|from| hashed.iter().find(|(known, _)| *known == from));
        let digests = found.map(|(_, digests)| serde_json::to_value(digests)).transpose();
        let digests = digests.map_err(anyhow::Error::new)?;
        match (node, digests) {
            (Some(id), digests) => drop(renewed.insert(id, digests)),
            (None, None) => unset.push(DIGESTS.to_owned()),
            (None, Some(digests)) => {
                unset.retain(|key| key != DIGESTS);
                set.insert(DIGESTS.to_owned(), digests);
            }
        }
    }
    Ok(operation)
}

/// The digests that have to be taken anew; none if the change will be refused.
async fn concerned(
    state: &State,
    node: Option<&str>,
    set: &Keys,
    unset: &[String],
) -> anyhow::Result<Option<Vec<Concerned>>> {
    let mut db = state.store.readers.acquire().await?;
    let all = configs::get(&mut db, None).await?.keys;
    let from = |all: &Keys, own: &Keys| Origin::of(all, own, &state.own_url);
    if let Some(name) = node {
        let Some(id) = nodes::parse_name(name) else { return Ok(None) };
        let Some(own) = changed(configs::get(&mut db, Some(id)).await?.keys, set, unset) else { return Ok(None) };
        let from = if is_about_extensions(&own) { from(&all, &own)? } else { None };
        return Ok(Some(vec![Concerned { node: None, from }]));
    }
    let Some(all) = changed(all, set, unset) else { return Ok(None) };
    let mut concerned = vec![Concerned { node: None, from: from(&all, &Keys::new())? }];
    for (id, own) in configs::with_digests(&mut db).await? {
        // Digests alone are an operator's own word.
        if !own.contains_key(MIRROR) && is_about_extensions(&own) {
            concerned.push(Concerned { node: Some(id), from: from(&all, &own)? });
        }
    }
    Ok(Some(concerned))
}

/// Keys after a change; none if one of them is wrong.
fn changed(mut keys: Keys, set: &Keys, unset: &[String]) -> Option<Keys> {
    keys.retain(|key, _| !unset.contains(key));
    for (key, value) in set {
        keys.insert(key.clone(), keys::read(key, value).ok()?);
    }
    Some(keys)
}

/// Other keys than the digests say where extensions are from.
fn is_about_extensions(keys: &Keys) -> bool {
    keys.keys().any(|key| key != DIGESTS && ABOUT_EXTENSIONS.contains(&key.as_str()))
}

impl Origin {
    /// What a node with these keys of its own loads; none where the image proves it.
    fn of(all: &Keys, own: &Keys, server: &str) -> anyhow::Result<Option<Self>> {
        let mut merged = all.clone();
        merged.extend(own.clone());
        merged.remove(DIGESTS);
        let config: Config = serde_json::from_value(merged.into())?;
        let source = Source::of(&config, server);
        Ok((!source.is_internal()).then_some(Self { source, kernel: config.mk_tce_kernel }))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn keys(value: Value) -> Keys {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_nodes_kernel_makes_another_closure_and_the_images_own_mirror_none() {
        let all = keys(json!({"mk_tce_mirror_uri": "http://m/tc", "mk_tce_kernel": "6.1", "mk_tce_sha256": {}}));
        let of = |own: Value| Origin::of(&all, &keys(own), "http://s").unwrap();
        let usual = of(json!({})).unwrap();
        assert_eq!((usual.source.mirror.as_str(), usual.kernel.as_deref()), ("http://m/tc", Some("6.1")));
        let other = of(json!({"mk_tce_kernel": "6.2", "mk_tce_sha256": {"a.tcz": "0"}})).unwrap();
        assert_eq!((&other.source, other.kernel.as_deref()), (&usual.source, Some("6.2")));
        assert_eq!(of(json!({"mk_tce_mirror_uri": wire::extensions::INTERNAL_MIRROR})), None);
        assert!(!is_about_extensions(&keys(json!({"mk_tce_sha256": {}, "mk_checkin_skew": 1}))));
        assert!(is_about_extensions(&keys(json!({"mk_tce_kernel": "6.2"}))));
    }
}
