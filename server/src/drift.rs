//! Extensions of a node that are not what they should be: other ones than its configuration says, or than the other nodes have
//! that run the same image with the same configuration. Pure: what agents said goes in, the differences come out.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use wire::checkin::{Agent, ConfigState};

/// Nodes with the same image and configuration without which nothing is said of what they have.
const PEERS: usize = 2;

/// What a node said last.
#[derive(Debug, Clone, Default)]
pub struct Said {
    /// The agent and what it loaded.
    pub agent: Agent,
    /// Its configuration.
    pub config: ConfigState,
}

/// An extension that differs.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// File name.
    pub extension: String,
    /// `missing`, `other` or `additional`.
    pub kind: &'static str,
    /// The SHA-256 that it should have; none where it should not be there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// What is not as it should be.
    pub what: String,
    /// What to do.
    pub remedy: &'static str,
}

/// Digits of a digest in a sentence.
const SHORT: usize = 12;

const MISSING: &str = "See why it did not load (nodes logs), or restart the node.";
const OTHER: &str = "Restart the node: a loaded extension is not exchanged. If it has it again, look into who changed its image or mirror.";
const ADDITIONAL: &str =
    "If nobody loaded it by hand (nodes load-extension, tce load), look into the node; a restart takes it away.";

/// The differences of a node, by name. `wanted` are the digests that its configuration in force carries; `others` are any other
/// nodes.
#[must_use]
pub fn of(node: &Said, wanted: &BTreeMap<String, String>, others: &[Said]) -> Vec<Difference> {
    if !is_settled(&node.agent) {
        return Vec::new();
    }
    let has = loaded(&node.agent);
    let peers: Vec<BTreeMap<&str, &str>> = others
        .iter()
        .filter(|other| is_settled(&other.agent) && is_alike(node, other))
        .map(|other| loaded(&other.agent))
        .collect();
    let peers = if peers.len() < PEERS { Vec::new() } else { peers };
    let mut names: BTreeSet<&str> = has.keys().copied().chain(wanted.keys().map(String::as_str)).collect();
    names.extend(peers.iter().flat_map(|peer| peer.keys()));
    names.into_iter().filter_map(|name| one(name, has.get(name).copied(), wanted, &peers)).collect()
}

fn one(
    name: &str,
    has: Option<&str>,
    wanted: &BTreeMap<String, String>,
    peers: &[BTreeMap<&str, &str>],
) -> Option<Difference> {
    let difference = |kind, expected: Option<&str>, what, remedy| {
        let expected = expected.map(str::to_owned);
        Some(Difference { extension: name.to_owned(), kind, expected, what, remedy })
    };
    let of_peers = |digest| peers.iter().filter(|peer| peer.get(name).copied() == digest).count();
    let like_it = format!("{} nodes with this image and configuration", peers.len());
    if let Some(digest) = wanted.get(name) {
        return match has {
            Some(has) if has.eq_ignore_ascii_case(digest) => None,
            Some(has) => {
                let what = format!("it is {}…, its configuration says {}…", short(has), short(digest));
                difference("other", Some(digest), what, OTHER)
            }
            None => {
                let what = "its configuration names it, and it is not loaded".to_owned();
                difference("missing", Some(digest), what, MISSING)
            }
        };
    }
    let common = peers.iter().map(|peer| peer.get(name).copied()).find(|digest| of_peers(*digest) * 2 > peers.len());
    match (has, common) {
        (Some(has), Some(Some(digest))) if has != digest => {
            let count = of_peers(Some(digest));
            let what = format!("it is {}…; {count} of {like_it} have {}…", short(has), short(digest));
            difference("other", Some(digest), what, OTHER)
        }
        (None, Some(Some(digest))) => {
            let what = format!("{} of {like_it} have it", of_peers(Some(digest)));
            difference("missing", Some(digest), what, MISSING)
        }
        (Some(_), Some(None)) => {
            let what = format!("{} of {like_it} do not have it", of_peers(None));
            difference("additional", None, what, ADDITIONAL)
        }
        _ => None,
    }
}

/// As many digits of a digest as people compare.
fn short(digest: &str) -> String {
    digest.chars().take(SHORT).collect()
}

/// Nothing is being loaded on it.
fn is_settled(agent: &Agent) -> bool {
    agent.units.iter().find(|unit| unit.name == "ext").is_none_or(|unit| unit.state == "done")
}

fn is_alike(one: &Said, other: &Said) -> bool {
    let image = |said: &Said| (said.agent.image.clone(), said.agent.variant.clone());
    let config = |said: &Said| (said.config.version, said.config.digest.clone(), said.config.posted);
    image(one) == image(other) && config(one) == config(other) && !one.config.posted
}

fn loaded(agent: &Agent) -> BTreeMap<&str, &str> {
    let there = agent.extensions.iter().filter(|extension| extension.error.is_none());
    there.map(|extension| (extension.name.as_str(), extension.sha256.as_str())).collect()
}

#[cfg(test)]
mod tests {
    use wire::checkin::{Extension, Unit};

    use super::*;

    fn node(extensions: &[(&str, &str)]) -> Said {
        let one = |(name, sha256): &(&str, &str)| Extension {
            name: (*name).to_owned(),
            sha256: (*sha256).to_owned(),
            error: None,
        };
        let agent =
            Agent { image: "1".to_owned(), extensions: extensions.iter().map(one).collect(), ..Agent::default() };
        Said { agent, config: ConfigState::default() }
    }

    fn shown(node: &Said, wanted: &[(&str, &str)], others: &[Said]) -> Vec<String> {
        let wanted = wanted.iter().map(|(name, digest)| ((*name).to_owned(), (*digest).to_owned())).collect();
        of(node, &wanted, others).into_iter().map(|d| format!("{} {}", d.kind, d.extension)).collect()
    }

    #[test]
    fn what_the_configuration_names_is_there_as_it_says() {
        let own = node(&[("a", "AA"), ("b", "22"), ("x", "99")]);
        let wanted = [("a", "aa"), ("b", "bb"), ("c", "cc")];
        assert_eq!(shown(&own, &wanted, &[]), ["other b", "missing c"]);
        let mut failed = node(&[("a", "aa")]);
        failed.agent.extensions[0].error = Some("is refused".to_owned());
        assert_eq!(shown(&failed, &wanted[..1], &[]), ["missing a"]);
        let loading = Unit { name: "ext".to_owned(), state: "running".to_owned(), ..Unit::default() };
        failed.agent.units.push(loading);
        assert!(shown(&failed, &wanted, &[]).is_empty(), "it is not done yet");
    }

    #[test]
    fn a_node_is_compared_with_its_like() {
        let usual = node(&[("a", "aa"), ("b", "bb")]);
        let odd = node(&[("a", "a1"), ("c", "cc")]);
        assert_eq!(shown(&odd, &[], &[usual.clone(), usual.clone()]), ["other a", "missing b", "additional c"]);
        assert!(shown(&usual, &[], &[usual.clone(), usual.clone(), odd.clone()]).is_empty());
        assert!(shown(&odd, &[], std::slice::from_ref(&usual)).is_empty(), "one is no measure");
        assert!(shown(&usual, &[], &[odd.clone(), usual.clone()]).is_empty(), "half is no majority");
        let mut newer = usual.clone();
        newer.agent.image = "2".to_owned();
        assert!(shown(&odd, &[], &[newer.clone(), newer]).is_empty(), "another image");
        let mut configured = usual.clone();
        configured.config.version = 3;
        assert!(shown(&odd, &[], &[configured.clone(), configured]).is_empty(), "another configuration");
    }
}
