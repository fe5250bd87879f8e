//! What a check-in says, worked out before it comes to the writer: parsing, digests and compression happen side by side on
//! all processors, and the one transaction at a time only compares and stores.

use wire::checkin::CheckinRequest;

use crate::config::Config;
use crate::identity::report::{self, Report};
use crate::store::history::Content;
use crate::store::makeups::Kept;

/// What a check-in with facts or an inventory says.
#[derive(Debug)]
pub struct Said {
    /// The machine's identity.
    pub report: Report,
    /// JSON of the facts without blacklisted ones.
    pub facts: String,
    /// SHA-256 (hex) of it.
    pub facts_digest: String,
    /// What is kept as a report; agents of ours that sent only facts have none.
    pub content: Option<Content>,
    /// What its machine is made of and plugged into; nothing where no inventory came.
    pub kept: Kept,
}

impl Said {
    /// Works out what `request` says; nothing when it has neither facts nor inventory.
    ///
    /// # Errors
    /// When memory runs out while it is compressed.
    pub fn of(request: &CheckinRequest, config: &Config) -> anyhow::Result<Option<Self>> {
        let Some(facts) = report::facts_of(request) else { return Ok(None) };
        let stable = request.inventory.as_ref().map(|i| &i.stable);
        let report = report::read(&facts, stable, &config.match_facts);
        let facts = serde_json::to_string(&report::without_blacklisted(facts, &config.blacklist))?;
        let facts_digest = wire::digest::sha256_hex(facts.as_bytes());
        let content = match stable {
            Some(stable) => {
                let name = request.inventory_digest.clone();
                Some(Content::new("inventory", name, &serde_json::to_vec(stable)?)?)
            }
            None if request.boot_id.is_none() => Some(Content::new("facts", None, facts.as_bytes())?),
            None => None,
        };
        let kept = stable.map(Kept::of).transpose()?.unwrap_or_default();
        Ok(Some(Self { report, facts, facts_digest, content, kept }))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn said(request: Value) -> Option<Said> {
        Said::of(&serde_json::from_value(request).unwrap(), &Config::parse("").unwrap()).unwrap()
    }

    #[test]
    fn a_check_in_without_news_says_nothing() {
        assert!(said(json!({"boot_id": "b", "seq": 1, "inventory_digest": "d"})).is_none());
    }

    #[test]
    fn original_clients_report_facts_and_ours_inventories() {
        let legacy = said(json!({"facts": {"macaddress": "00:11:22:33:44:55", "uptime": "1"}})).unwrap();
        assert_eq!(legacy.facts, "{\"macaddress\":\"00:11:22:33:44:55\"}", "blacklisted facts are gone");
        let content = legacy.content.unwrap();
        assert_eq!((content.kind, &content.digest), ("facts", &legacy.facts_digest));

        let ours = json!({"boot_id": "b", "facts": {}, "inventory": {"stable": {"system": {"serial": "s"}}}, "inventory_digest": "d"});
        let content = said(ours).unwrap().content.unwrap();
        assert_eq!((content.kind, content.digest.as_str()), ("inventory", "d"));
        let json = zstd::bulk::decompress(&content.packed, 1024).unwrap();
        assert_eq!(json, b"{\"system\":{\"serial\":\"s\"}}");
        assert_eq!((content.address, content.bytes), (wire::digest::sha256_hex(&json), json.len()));

        assert!(said(json!({"boot_id": "b", "facts": {}})).unwrap().content.is_none(), "facts alone are no report");
    }
}
