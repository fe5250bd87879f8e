//! What images of the Tiny Core era send, in all its forms. Pure.
//!
//! They name themselves by MACs of their `ethN` ports without colons, joined by `_`: `hw_id` of Razor from 0.7 on, `uuid`
//! (one MAC) before, `mac_id` of Hanlon, which has the SMBIOS UUID in `uuid`. A register has the facts with it: JSON in the
//! form field `json_hash`, its keys with `@` before them, or as the body itself, without.

use serde_json::{Map, Value};
use wire::checkin::{CheckinRequest, Facts};
use wire::limits::MAX_COMPONENTS;

use crate::http::message;
use crate::http::query::Pairs;
use crate::identity::canonical::HwInfo;
use crate::registry::Refusal;

/// Digits of a MAC without colons.
const MAC_DIGITS: usize = 12;

/// Who speaks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Speaker {
    /// MACs with colons, as sent otherwise.
    macs: Vec<String>,
    /// SMBIOS UUID.
    uuid: Option<String>,
}

impl Speaker {
    /// By the values of `hw_id`, `mac_id` and `uuid`.
    fn read(ids: &[&str], uuid: Option<&str>) -> Result<Self, Refusal> {
        let mut speaker = Self::default();
        for part in ids.iter().flat_map(|id| id.split(['_', ','])) {
            speaker.macs.extend(mac(part.trim()));
        }
        if let Some(uuid) = uuid.map(str::trim).filter(|u| !u.is_empty()) {
            match mac(uuid) {
                Some(mac) => speaker.macs.push(mac),
                None => speaker.uuid = Some(uuid.to_owned()),
            }
        }
        if speaker.macs.len() > MAX_COMPONENTS {
            let error =
                format!("the request names {} network ports; at most {MAX_COMPONENTS} are taken", speaker.macs.len());
            return Err(Refusal::new(413, "too_large", error, "Report the machine's make, if it really has so many."));
        }
        if speaker.macs.is_empty() && speaker.uuid.is_none() {
            let error = "the request has no hw_id, mac_id or uuid that names a machine";
            let remedy =
                "An image sends MACs of its eth ports, such as hw_id=001122334455_001122334456; check that it has any.";
            return Err(Refusal::new(400, "missing_argument", error, remedy));
        }
        Ok(speaker)
    }

    /// Its hardware values.
    pub(super) fn info(&self) -> HwInfo {
        let macs = self.macs.iter().map(|mac| ("mac", mac.as_str()));
        HwInfo::canonicalize(macs.chain(self.uuid.iter().map(|uuid| ("uuid", uuid.as_str()))))
    }

    /// The MACs as the image wrote them, without colons.
    pub(super) fn hw_id(&self) -> Vec<String> {
        self.macs.iter().map(|mac| mac.replace(':', "")).collect()
    }
}

/// A MAC of twelve hexadecimal digits with colons between its bytes.
fn mac(digits: &str) -> Option<String> {
    if digits.len() != MAC_DIGITS || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let bytes: Vec<&str> = (0..MAC_DIGITS).step_by(2).filter_map(|at| digits.get(at..at + 2)).collect();
    Some(bytes.join(":"))
}

/// Who checks in.
///
/// # Errors
/// When the query names no machine.
pub(super) fn speaker(pairs: &Pairs) -> Result<Speaker, Refusal> {
    let value = |name: &str| pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let ids: Vec<&str> = ["hw_id", "mac_id"].into_iter().filter_map(value).collect();
    Speaker::read(&ids, value("uuid"))
}

/// A machine with its facts.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Registration {
    /// Who registers.
    pub(super) speaker: Speaker,
    /// What it reports.
    pub(super) facts: Facts,
    /// `idle` in all images.
    pub(super) last_state: String,
}

/// Reads a register's body.
///
/// # Errors
/// Says what is missing or malformed.
pub(super) fn registration(body: &[u8]) -> Result<Registration, Refusal> {
    let mut fields = fields(body)?;
    let facts = match fields.remove("attributes_hash") {
        Some(Value::Object(facts)) if !facts.is_empty() => facts.into_iter().collect::<Facts>(),
        other => {
            let found = other.map_or("missing".to_owned(), |v| kind(&v).to_owned());
            return Err(unreadable(&format!("attributes_hash is {found}; it must be an object with facts")));
        }
    };
    message::few_facts(&facts)?;
    let ids: Vec<&str> = ["hw_id", "mac_id"].into_iter().filter_map(|name| fields.get(name)).flat_map(texts).collect();
    let speaker = Speaker::read(&ids, fields.get("uuid").and_then(Value::as_str))?;
    let last_state = fields.get("last_state").and_then(Value::as_str).unwrap_or("idle").to_owned();
    Ok(Registration { speaker, facts, last_state })
}

impl Registration {
    /// The same as a check-in of protocol A, and what the answer repeats but for the facts. Facts name the ports themselves;
    /// where they do not, the image's name for itself stands in.
    pub(super) fn into_request(self) -> (CheckinRequest, Echo) {
        let mut facts = self.facts;
        let mut added = Facts::new();
        if !facts.keys().any(|name| name.starts_with("macaddress")) {
            let macs = self.speaker.macs.iter().enumerate();
            added.extend(macs.map(|(n, mac)| (format!("macaddress_eth{n}"), mac.clone().into())));
        }
        if let Some(uuid) = self.speaker.uuid.as_ref().filter(|_| !facts.contains_key("uuid")) {
            added.insert("uuid".to_owned(), uuid.clone().into());
        }
        let hw_id = self.speaker.hw_id();
        let echo = Echo { hw_id, last_state: self.last_state, added: added.keys().cloned().collect() };
        facts.extend(added);
        (CheckinRequest { hw_id: echo.hw_id.join("_"), facts: Some(facts), ..CheckinRequest::default() }, echo)
    }
}

/// What the answer to a registration repeats beside the facts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Echo {
    /// MACs as the image wrote them.
    pub(super) hw_id: Vec<String>,
    /// State as the image wrote it.
    pub(super) last_state: String,
    /// Facts that it did not send.
    added: Vec<String>,
}

impl Echo {
    /// The facts as they were sent.
    pub(super) fn sent(&self, mut facts: Facts) -> Facts {
        facts.retain(|name, _| !self.added.contains(name));
        facts
    }
}

/// The fields of either form, without `@` before their names.
fn fields(body: &[u8]) -> Result<Map<String, Value>, Refusal> {
    let json = if body.trim_ascii_start().first() == Some(&b'{') {
        body.to_vec()
    } else {
        let field = form_urlencoded::parse(body).find(|(name, _)| name == "json_hash");
        let field = field.ok_or_else(|| unreadable("it is no JSON object and has no field json_hash"))?;
        field.1.into_owned().into_bytes()
    };
    let object: Map<String, Value> = serde_json::from_slice(&json).map_err(|error| unreadable(&error.to_string()))?;
    Ok(object.into_iter().map(|(name, value)| (name.trim_start_matches('@').to_owned(), value)).collect())
}

/// One text or a list of them.
fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::Array(list) => list.iter().filter_map(Value::as_str).collect(),
        other => other.as_str().into_iter().collect(),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Object(_) => "empty",
        Value::Null => "null",
        _ => "something else",
    }
}

fn unreadable(why: &str) -> Refusal {
    let remedy =
        "Images of Razor and Hanlon send the form field json_hash, or JSON, with hw_id or mac_id and attributes_hash.";
    Refusal::new(400, "missing_argument", format!("the body is no registration: {why}"), remedy)
}

/// For the fuzzer: a register's body and a check-in's query.
#[cfg(any(test, fuzzing))]
pub(super) fn fuzz(bytes: &[u8]) {
    let pairs: Pairs = form_urlencoded::parse(bytes).into_owned().collect();
    if let Ok(speaker) = speaker(&pairs) {
        assert!(speaker.hw_id().len() <= MAX_COMPONENTS);
        let _ = speaker.info();
    }
    let Ok(registration) = registration(bytes) else { return };
    let sent = registration.facts.clone();
    let (request, echo) = registration.into_request();
    assert_eq!(echo.sent(request.facts.unwrap_or_default()), sent);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn query(pairs: &[(&str, &str)]) -> Result<Vec<String>, Refusal> {
        let pairs: Pairs = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        speaker(&pairs).map(|s| s.info().into())
    }

    #[test]
    fn every_image_names_itself_in_its_own_way() {
        let one = ["mac=00-11-22-33-44-aa"];
        assert_eq!(query(&[("uuid", "0011223344AA"), ("last_state", "idle")]).unwrap(), one, "Razor to 0.6");
        let two = ["mac=00-11-22-33-44-aa", "mac=00-11-22-33-44-bb"];
        assert_eq!(query(&[("hw_id", "0011223344AA_0011223344BB")]).unwrap(), two, "Razor 0.7 to 0.12");
        let hanlon = query(&[("uuid", "4C4C4544-0042"), ("mac_id", "0011223344aa")]).unwrap();
        assert_eq!(hanlon, ["mac=00-11-22-33-44-aa", "uuid=4c4c4544-0042"]);
    }

    #[test]
    fn who_names_no_machine_is_refused() {
        for pairs in [&[][..], &[("hw_id", "")], &[("hw_id", "_")], &[("hw_id", "0011223344"), ("uuid", " ")]] {
            assert_eq!(query(pairs).unwrap_err().problem.code, "missing_argument", "{pairs:?}");
        }
    }

    #[test]
    fn every_form_of_a_registration_is_the_same() {
        let facts = json!({"macaddress_eth0": "00:11:22:33:44:AA", "serialnumber": "S1"});
        let at = json!({"@hw_id": "0011223344AA", "@attributes_hash": facts, "@last_state": "idle"}).to_string();
        let list = json!({"@hw_id": ["0011223344AA"], "@attributes_hash": facts, "@last_state": "idle"}).to_string();
        let old = json!({"@uuid": "0011223344AA", "@attributes_hash": facts, "@last_state": "idle"}).to_string();
        let raw = json!({"mac_id": "0011223344AA", "attributes_hash": facts, "last_state": "idle"}).to_string();
        let form = |json: &str| form_urlencoded::Serializer::new(String::new()).append_pair("json_hash", json).finish();
        let want = registration(raw.as_bytes()).unwrap();
        for body in [form(&at), form(&list), form(&old), at, format!("{}\n", form(&raw).trim_end())] {
            let body = body.trim_end();
            assert_eq!(registration(body.as_bytes()).unwrap(), want, "{body}");
        }
        let request = want.into_request().0;
        assert_eq!((request.hw_id.as_str(), &request.facts.unwrap()["serialnumber"]), ("0011223344AA", &json!("S1")));
    }

    #[test]
    fn ports_that_the_facts_do_not_name_come_from_the_images_own_name() {
        let body = json!({"mac_id": "0011223344aa", "uuid": "U-1", "attributes_hash": {"a": "b"}}).to_string();
        let (request, echo) = registration(body.as_bytes()).unwrap().into_request();
        let facts = request.facts.unwrap();
        assert_eq!((&facts["macaddress_eth0"], &facts["uuid"]), (&json!("00:11:22:33:44:aa"), &json!("U-1")));
        assert_eq!(json!(echo.sent(facts)), json!({"a": "b"}), "the answer repeats what was sent");
    }

    #[test]
    fn what_is_missing_is_said() {
        for (body, words) in [
            ("", "no field json_hash"),
            ("a=b", "no field json_hash"),
            ("json_hash={", "EOF"),
            ("[]", "no field json_hash"),
            ("{\"mac_id\": \"0011223344aa\"}", "attributes_hash is missing"),
            ("{\"mac_id\": \"0011223344aa\", \"attributes_hash\": {}}", "attributes_hash is empty"),
            ("{\"attributes_hash\": {\"a\": 1}}", "no hw_id"),
        ] {
            let error = registration(body.as_bytes()).unwrap_err().problem.error;
            assert!(error.contains(words), "{body}: {error}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(body in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300)) {
            let _ = registration(&body);
        }

        #[test]
        fn any_query_is_read_or_refused(id in "\\PC{0,40}", uuid in "\\PC{0,40}") {
            let _ = query(&[("hw_id", &id), ("uuid", &uuid)]);
        }
    }
}
