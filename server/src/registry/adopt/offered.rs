//! A node as razor-server's `GET /api/collections/nodes?depth=1` shows it, and what is taken over of it. Pure.

use serde::Deserialize;
use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use wire::checkin::Facts;

use crate::config::Config;
use crate::identity::canonical::HwInfo;
use crate::identity::evidence::Evidence;
use crate::identity::report::{self, Context};
use crate::limits::MAX_ADOPTED_ID;
use crate::registry::Refusal;
use crate::store::history::Content;
use crate::store::nodes;

/// What installed nodes have whose policy is not told.
const UNKNOWN: &str = "installed";

/// A node of a dump. What it has besides is left out.
#[derive(Debug, Clone, Deserialize)]
pub struct Offered {
    /// Its name, `node` and its id.
    name: String,
    /// Hardware values; `mac` is a list.
    #[serde(default)]
    hw_info: Map<String, Value>,
    /// The MAC that iPXE got its address with.
    dhcp_mac: Option<String>,
    /// What it reported last.
    facts: Option<Facts>,
    /// What is installed.
    #[serde(default)]
    state: Installed,
    /// What razor-server named its machine.
    hostname: Option<String>,
    /// When it spoke last.
    last_checkin: Option<String>,
}

/// Whether it is installed.
#[derive(Debug, Clone, Default, Deserialize)]
struct Installed {
    /// False, or the name of the policy, or `+protected`.
    #[serde(default)]
    installed: Value,
    /// Since when.
    installed_at: Option<String>,
}

/// A node that can be taken over.
#[derive(Debug)]
pub struct Ready {
    /// Its id.
    pub id: i64,
    /// Hardware values.
    pub info: HwInfo,
    /// The MAC that iPXE got its address with.
    pub dhcp_mac: Option<String>,
    /// JSON of its facts, and the same as a report.
    pub facts: Option<(String, Content)>,
    /// What is installed on it.
    pub installed: Option<String>,
    /// Since when, in milliseconds since 1970.
    pub installed_at: Option<i64>,
    /// When it spoke last.
    pub last_checkin: Option<i64>,
    /// Its host name.
    pub hostname: Option<String>,
    /// What is known about its values.
    pub context: Context,
    /// What tells it from others.
    pub evidence: Evidence,
}

impl Offered {
    /// Reads it.
    ///
    /// # Errors
    /// Names what it says that cannot be.
    pub fn ready(self, config: &Config) -> Result<Ready, Refusal> {
        let name = self.name;
        let wrong = |what: String| {
            let remedy = "Send nodes as GET /api/collections/nodes?depth=1 of a razor-server gives them.";
            Refusal::new(422, "bad_node", format!("{name:?} of the dump {what}; no node was taken over"), remedy)
        };
        let id = nodes::parse_name(&name).filter(|id| (1..=MAX_ADOPTED_ID).contains(id));
        let id = id.ok_or_else(|| wrong(format!("is no name such as node17, with a number up to {MAX_ADOPTED_ID}")))?;
        let info = hw_info(&self.hw_info).map_err(&wrong)?;
        let time = |what: &str, text: Option<&String>| {
            let read =
                |text: &String| ms(text).ok_or_else(|| wrong(format!("has {text:?} for {what}, which is no time")));
            text.map(read).transpose()
        };
        let installed = match self.state.installed {
            Value::Null | Value::Bool(false) => None,
            Value::Bool(true) => Some(UNKNOWN.to_owned()),
            Value::String(what) => Some(what),
            other => return Err(wrong(format!("has {other} for state.installed"))),
        };
        let facts = self.facts.unwrap_or_default();
        let context = report::read(&facts, None, &config.match_facts).context;
        let evidence = Evidence::of_info(&info, Some(&facts), &context);
        let kept = report::without_blacklisted(facts, &config.blacklist);
        let facts = (!kept.is_empty()).then(|| packed(&kept)).transpose();
        Ok(Ready {
            id,
            installed_at: time("state.installed_at", self.state.installed_at.as_ref())?,
            last_checkin: time("last_checkin", self.last_checkin.as_ref())?,
            facts: facts.map_err(|error| wrong(format!("has facts that cannot be kept: {error:#}")))?,
            info,
            dhcp_mac: self.dhcp_mac,
            installed,
            hostname: self.hostname,
            context,
            evidence,
        })
    }
}

fn packed(facts: &impl serde::Serialize) -> anyhow::Result<(String, Content)> {
    let json = serde_json::to_string(facts)?;
    let content = Content::new("facts", None, json.as_bytes())?;
    Ok((json, content))
}

fn hw_info(values: &Map<String, Value>) -> Result<HwInfo, String> {
    let mut pairs = Vec::new();
    for (key, value) in values {
        for value in value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice) {
            let text =
                value.as_str().ok_or_else(|| format!("has {value} for {key} of its hw_info, which is no text"))?;
            pairs.push((key.as_str(), text));
        }
    }
    Ok(HwInfo::canonicalize(pairs))
}

fn ms(text: &str) -> Option<i64> {
    let time = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    i64::try_from(time.unix_timestamp_nanos() / 1_000_000).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(node: Value) -> Result<Ready, String> {
        let offered: Offered = serde_json::from_value(node).unwrap();
        offered.ready(&Config::parse("").unwrap()).map_err(|refusal| refusal.problem.error)
    }

    #[test]
    fn what_razor_server_says_of_installed_nodes_is_read() {
        for (said, installed) in [
            (json!(false), None),
            (json!(null), None),
            (json!("+protected"), Some("+protected")),
            (json!("debian"), Some("debian")),
            (json!(true), Some(UNKNOWN)),
        ] {
            let node =
                json!({"name": "node3", "state": {"installed": said, "installed_at": "2014-05-21T18:15:26-07:00"}});
            let ready = read(node).unwrap();
            assert_eq!((ready.installed.as_deref(), ready.installed_at), (installed, Some(1_400_721_326_000)));
        }
    }

    #[test]
    fn a_node_that_cannot_be_is_named_with_what_is_wrong() {
        for (node, words) in [
            (json!({"name": "web1"}), ["web1", "node17"]),
            (json!({"name": "node0"}), ["node0", "node17"]),
            (json!({"name": "node2147483648"}), ["node2147483648", "2147483647"]),
            (json!({"name": "node1", "hw_info": {"serial": 7}}), ["node1", "serial"]),
            (json!({"name": "node1", "last_checkin": "yesterday"}), ["last_checkin", "yesterday"]),
            (json!({"name": "node1", "state": {"installed": 1}}), ["node1", "state.installed"]),
        ] {
            let error = read(node).unwrap_err();
            assert!(words.iter().all(|word| error.contains(word)), "{error}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_values_are_read_or_refused(name in "node[0-9]{1,20}|.*", key in "mac|net0|serial|.*", value in ".*", time in ".*") {
            let _ = read(json!({"name": name, "hw_info": {key: [value]}, "last_checkin": time}));
        }
    }
}
