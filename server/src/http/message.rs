//! Reading a check-in's bytes: form, limits, signature. Pure, and never panics, whatever comes.

use axum::extract::Query;
use axum::http::{HeaderMap, Uri, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{ED25519, UnparsedPublicKey};
use serde::de::DeserializeOwned;
use wire::checkin::{CheckinRequest, Facts};
use wire::limits::{MAX_COMPONENTS, MAX_FACT_NAME, MAX_FACTS};
use wire::routes::{JSON, KEY_HEADER, SIGNATURE_HEADER};
use wire::sign::{KEY_LEN, SIGNATURE_LEN};

use crate::registry::Refusal;

/// Length of a boot id: a UUID with its hyphens.
const BOOT_ID_LEN: usize = 36;
/// Length of a SHA-256 in hex.
const DIGEST_LEN: usize = 64;

/// Checks the media type, literally as razor-server does.
///
/// # Errors
/// When it is another one.
pub fn content_type(headers: &HeaderMap) -> Result<(), Refusal> {
    let kind = headers.get(header::CONTENT_TYPE).map(header::HeaderValue::as_bytes);
    if kind == Some(JSON.as_bytes()) {
        return Ok(());
    }
    let sent = kind.map_or("absent".into(), String::from_utf8_lossy);
    let error = format!("the Content-Type is {sent}; it must be exactly {JSON}");
    Err(Refusal::new(400, "bad_content_type", error, "Send it without parameters such as charset."))
}

/// Reads the message and checks what it says of itself.
///
/// # Errors
/// Names what is wrong with it.
pub fn parse(body: &[u8]) -> Result<CheckinRequest, Refusal> {
    let refuse = |why: String| {
        let error = format!("the body is no check-in: {why}");
        Refusal::new(400, "bad_json", error, "Send {\"hw_id\": …, \"facts\": {…}} as razor-el-mk and mk-agent do.")
    };
    // A list would be taken for the fields in order.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(refuse("it does not begin with {".to_owned()));
    }
    let request: CheckinRequest = serde_json::from_slice(body).map_err(|e| refuse(e.to_string()))?;
    match request.boot_id.as_deref() {
        None if request.facts.is_none() => {
            let error = "the body has no facts";
            return Err(Refusal::new(
                400,
                "no_facts",
                error,
                "Send {\"hw_id\": …, \"facts\": {…}} with every check-in.",
            ));
        }
        None => {}
        Some(boot_id) => ours(&request, boot_id)?,
    }
    request.facts.as_ref().map_or(Ok(()), few_facts)?;
    let components = request.inventory.as_ref().map_or(0, |i| i.stable.nics.len().max(i.stable.disks.len()));
    if components > MAX_COMPONENTS {
        let error =
            format!("the inventory has {components} network ports or disks; at most {MAX_COMPONENTS} are taken");
        return Err(Refusal::new(413, "too_large", error, "Report the machine's make, if it really has so many."));
    }
    Ok(request)
}

/// Checks the number of facts and the length of their names.
///
/// # Errors
/// When there is too much of either.
pub fn few_facts(facts: &Facts) -> Result<(), Refusal> {
    let (count, longest) = facts.iter().fold((0, 0), |(n, longest), (name, _)| (n + 1, longest.max(name.len())));
    if count > MAX_FACTS || longest > MAX_FACT_NAME {
        let error = format!(
            "the body has {count} facts, the longest name with {longest} bytes; at most {MAX_FACTS} facts with names of \
             {MAX_FACT_NAME} bytes are taken"
        );
        return Err(Refusal::new(413, "too_large", error, "Exclude facts with mk_fact_excl_pattern."));
    }
    Ok(())
}

/// What only agents of ours send.
fn ours(request: &CheckinRequest, boot_id: &str) -> Result<(), Refusal> {
    let hex = |text: &str| text.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
    let refuse =
        |what: &str| Err(Refusal::new(400, "bad_checkin", what, "Update the agent, or report this as its fault."));
    if boot_id.len() != BOOT_ID_LEN || !hex(boot_id) {
        return refuse("boot_id is no UUID");
    }
    if request.seq.is_none_or(|seq| seq == 0 || i64::try_from(seq).is_err()) {
        return refuse("boot_id comes without a seq from 1");
    }
    match request.inventory_digest.as_deref() {
        Some(digest) if digest.len() != DIGEST_LEN || !hex(digest) => refuse("inventory_digest is no SHA-256 in hex"),
        _ => Ok(()),
    }
}

/// Reads the query of a request.
///
/// # Errors
/// Names what is wrong with it.
pub fn query<T: DeserializeOwned>(uri: &Uri) -> Result<T, Refusal> {
    let Query(read) = Query::try_from_uri(uri).map_err(|why| {
        let error = format!("the query of {} is not understood: {why}", uri.path());
        Refusal::new(400, "bad_query", error, "Update the agent, or report this as its fault.")
    })?;
    Ok(read)
}

/// The key that signed a request which must be.
///
/// # Errors
/// When it is unsigned, or as for [`signer`].
pub fn speaker(headers: &HeaderMap, signed: &[u8]) -> Result<Vec<u8>, Refusal> {
    signer(headers, signed)?.ok_or_else(|| {
        let error = format!("the request is not signed: it has no {KEY_HEADER}");
        Refusal::new(401, "not_signed", error, "Only agents that checked in with a key can ask this.")
    })
}

/// The key that signed these bytes; nothing when the request is unsigned.
///
/// # Errors
/// When only one of the two headers is there, one is malformed, or the signature is not that key's.
pub fn signer(headers: &HeaderMap, signed: &[u8]) -> Result<Option<Vec<u8>>, Refusal> {
    let (key, signature) = match (headers.get(KEY_HEADER), headers.get(SIGNATURE_HEADER)) {
        (None, None) => return Ok(None),
        (Some(key), Some(signature)) => (key, signature),
        _ => {
            let error = format!("only one of {KEY_HEADER} and {SIGNATURE_HEADER} is there");
            return Err(Refusal::new(400, "bad_signature", error, "Send both or none."));
        }
    };
    let bytes = |value: &header::HeaderValue, name: &str, length: usize| {
        STANDARD.decode(value.as_bytes()).ok().filter(|b| b.len() == length).ok_or_else(|| {
            let error = format!("{name} is not the base64 of {length} bytes");
            Refusal::new(400, "bad_signature", error, "Update the agent, or report this as its fault.")
        })
    };
    let key = bytes(key, KEY_HEADER, KEY_LEN)?;
    let signature = bytes(signature, SIGNATURE_HEADER, SIGNATURE_LEN)?;
    UnparsedPublicKey::new(&ED25519, &key).verify(signed, &signature).map_err(|_| {
        let error = "the signature is not that of this request by this key";
        Refusal::new(
            401,
            "bad_signature",
            error,
            "Something between agent and server changes requests, or forges them.",
        )
    })?;
    Ok(Some(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_that_are_no_check_ins_are_named() {
        for (body, code) in [
            ("", "bad_json"),
            ("{}}", "bad_json"),
            ("[]", "bad_json"),
            ("{\"facts\": \"x\"}", "bad_json"),
            ("{}", "no_facts"),
            ("{\"facts\": null}", "no_facts"),
            ("{\"boot_id\": \"x\", \"seq\": 1}", "bad_checkin"),
            ("{\"boot_id\": \"00000000-0000-0000-0000-000000000000\"}", "bad_checkin"),
            ("{\"boot_id\": \"00000000-0000-0000-0000-000000000000\", \"seq\": 0}", "bad_checkin"),
            (
                "{\"boot_id\": \"00000000-0000-0000-0000-000000000000\", \"seq\": 1, \"inventory_digest\": \"1\"}",
                "bad_checkin",
            ),
        ] {
            assert_eq!(parse(body.as_bytes()).unwrap_err().problem.code, code, "{body}");
        }
        assert!(parse(b"{\"facts\": {}}").is_ok());
    }

    #[test]
    fn depth_and_number_of_facts_are_limited() {
        let deep = format!("{{\"facts\": {{\"a\": {}{}}}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(parse(deep.as_bytes()).unwrap_err().status, 400);
        let many: String = (0..=MAX_FACTS).map(|i| format!("\"f{i}\":1,")).collect();
        let many = format!("{{\"facts\": {{{}}}}}", many.trim_end_matches(','));
        assert_eq!(parse(many.as_bytes()).unwrap_err().status, 413);
    }

    #[test]
    fn ports_and_disks_are_limited() {
        for kind in ["nics", "disks"] {
            let body = |n: usize| {
                let parts = vec!["{\"key\": \"k\"}"; n].join(",");
                let boot = "\"boot_id\": \"00000000-0000-0000-0000-000000000000\", \"seq\": 1";
                format!("{{{boot}, \"inventory\": {{\"stable\": {{\"{kind}\": [{parts}]}}}}}}")
            };
            assert!(parse(body(MAX_COMPONENTS).as_bytes()).is_ok(), "{kind}");
            let refused = parse(body(MAX_COMPONENTS + 1).as_bytes()).unwrap_err();
            assert_eq!((refused.status, refused.problem.code.as_str()), (413, "too_large"), "{kind}");
        }
    }

    #[test]
    fn signatures_are_checked() {
        use ring::signature::{Ed25519KeyPair, KeyPair as _};
        let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
        let mut headers = HeaderMap::new();
        assert_eq!(signer(&headers, b"body").unwrap(), None);
        assert_eq!(speaker(&headers, b"body").unwrap_err().problem.code, "not_signed");
        headers.insert(KEY_HEADER, STANDARD.encode(pair.public_key()).parse().unwrap());
        assert_eq!(signer(&headers, b"body").unwrap_err().status, 400, "a key without a signature");
        headers.insert(SIGNATURE_HEADER, STANDARD.encode(pair.sign(b"body")).parse().unwrap());
        assert_eq!(signer(&headers, b"body").unwrap().as_deref(), Some(pair.public_key().as_ref()));
        assert_eq!(signer(&headers, b"Body").unwrap_err().status, 401);
        headers.insert(KEY_HEADER, "AAAA".parse().unwrap());
        assert_eq!(signer(&headers, b"body").unwrap_err().status, 400);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read(body in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..512)) {
            let _ = parse(&body);
        }

        #[test]
        fn any_json_like_text_is_read(body in "[\\[\\]{}\":,a-z0-9.eE+\\-]{0,200}") {
            let _ = parse(body.as_bytes());
        }

        #[test]
        fn any_headers_are_read(key in "[ -~]{0,100}", signature in "[ -~]{0,100}", body in ".*") {
            let mut headers = HeaderMap::new();
            headers.insert(KEY_HEADER, key.parse().unwrap());
            headers.insert(SIGNATURE_HEADER, signature.parse().unwrap());
            proptest::prop_assert!(signer(&headers, body.as_bytes()).is_err());
        }
    }
}
