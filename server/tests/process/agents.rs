//! Check-ins as agents of ours send them: numbered and signed.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};
use wire::routes::{KEY_HEADER, SIGNATURE_HEADER};
use wire::sign::message;

use crate::support::{Answer, Server};

/// One boot of a machine.
pub(crate) struct Boot {
    /// Kernel's boot id.
    pub(crate) id: String,
    key: Ed25519KeyPair,
    /// Number of the last request.
    pub(crate) seq: u64,
}

impl Boot {
    /// The boot number `n`, with a key of its own.
    pub(crate) fn new(n: u8) -> Self {
        let key = Ed25519KeyPair::from_seed_unchecked(&[n; 32]).unwrap();
        Self { id: format!("00000000-0000-0000-0000-0000000000{n:02x}"), key, seq: 0 }
    }

    /// Body of the next request, with `more` in it. The kernel has just started, unless `more` says otherwise.
    pub(crate) fn next(&mut self, more: &Value) -> Vec<u8> {
        self.seq += 1;
        let mut body = json!({"hw_id": "x", "boot_id": self.id, "seq": self.seq, "uptime_s": 0});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body.to_string().into_bytes()
    }

    /// The headers that sign `body`.
    pub(crate) fn sign(&self, body: &[u8]) -> Vec<(&'static str, String)> {
        self.sign_message(&message(body))
    }

    /// The headers that sign what [`wire::sign`] makes of another request.
    pub(crate) fn sign_message(&self, message: &[u8]) -> Vec<(&'static str, String)> {
        let signature = self.key.sign(message);
        vec![(KEY_HEADER, STANDARD.encode(self.key.public_key())), (SIGNATURE_HEADER, STANDARD.encode(signature))]
    }

    /// Sends the next request to the check-in without id.
    pub(crate) async fn send(&mut self, server: &Server, more: &Value) -> Answer {
        let body = self.next(more);
        server.post(None, &body, &self.sign(&body)).await
    }
}

/// An inventory of a machine with these MACs and this serial number, and its digest.
pub(crate) fn inventory(macs: &[&str], serial: &str) -> Value {
    let nics: Vec<Value> = macs
        .iter()
        .enumerate()
        .map(|(i, mac)| json!({"key": format!("0000:00:0{i}.0"), "mac": mac.replace('-', ":"), "bus": "pci"}))
        .collect();
    report(&json!({"system": {"serial": serial}, "nics": nics}))
}

/// The part of a check-in that carries this stable inventory.
pub(crate) fn report(stable: &Value) -> Value {
    let typed: wire::inventory::Stable = serde_json::from_value(stable.clone()).unwrap();
    let digest = wire::digest::stable(&typed);
    json!({"inventory": {"stable": typed}, "inventory_digest": digest})
}
