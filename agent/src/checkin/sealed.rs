//! A request as it goes over the wire. When its answer is lost, the very same bytes are sent again under the same
//! number: a server that took it the first time then gives the same answer again, and nothing counts twice.

use super::compose::Parts;
use super::outbox::Told;

/// A numbered and signed request, with what an answer to it settles.
#[derive(Debug)]
pub(super) struct Sealed {
    /// Base URL of the server that it is for.
    pub(super) server: String,
    pub(super) body: Vec<u8>,
    /// Public key and signature.
    pub(super) signed: (String, String),
    /// What of the machine it carries.
    pub(super) parts: Parts,
    /// Which state of the machine that is.
    pub(super) fingerprint: String,
    /// What it tells.
    pub(super) told: Told,
    /// It was sent before.
    pub(super) repeated: bool,
}

/// The request whose answer was lost, if there is one.
#[derive(Debug, Default)]
pub(super) struct Lost(Option<Sealed>);

impl Lost {
    /// The request that this server must be sent before any other.
    pub(super) fn take(&mut self, server: &str) -> Option<Sealed> {
        self.0.take_if(|sealed| sealed.server == server)
    }

    /// The answer was lost: the server may have taken it.
    pub(super) fn keep(&mut self, sealed: Sealed) {
        self.0 = Some(Sealed { repeated: true, ..sealed });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_request_is_for_its_own_server_and_goes_first_there() {
        let sealed = |server: &str| Sealed {
            server: server.to_owned(),
            body: server.as_bytes().to_vec(),
            signed: (String::new(), String::new()),
            parts: Parts { facts: true, inventory: true, volatile: true },
            fingerprint: String::new(),
            told: Told::default(),
            repeated: false,
        };
        let mut lost = Lost::default();
        assert!(lost.take("a").is_none());
        lost.keep(sealed("a"));
        assert!(lost.take("b").is_none(), "another server never saw it");
        let again = lost.take("a").unwrap();
        assert_eq!((again.body.as_slice(), again.repeated), (&b"a"[..], true));
        assert!(lost.take("a").is_none(), "once, unless it is lost again");
    }
}
