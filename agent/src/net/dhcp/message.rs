//! DHCPv4 messages (RFC 2131, 2132, 3396) as bytes and back. Pure; nothing here panics on bytes from the network.
//!
//! Only what a client needs: requests are written, replies are read. Numbers are in network byte order, times seconds.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// Hardware address of an Ethernet port.
pub(crate) type Mac = [u8; 6];

const BOOT_REQUEST: u8 = 1;
const BOOT_REPLY: u8 = 2;
const ETHERNET: u8 = 1;
const MAGIC: [u8; 4] = [99, 130, 83, 99];
/// Length up to and with the magic.
const HEADER: usize = 240;
/// Relays and old servers drop shorter requests.
const SHORTEST: usize = 300;
const SNAME: std::ops::Range<usize> = 44..108;
const FILE: std::ops::Range<usize> = 108..236;
/// Largest reply that we can take: an Ethernet frame's payload.
const LARGEST_REPLY: u16 = 1500;

/// What is asked for: mask, router, DNS, host name, domain, MTU, NTP, lease time, search list, classless routes, and
/// 224 to 226, by which the original finds its server.
const PARAMETERS: [u8; 13] = [1, 3, 6, 12, 15, 26, 42, 51, 119, 121, 224, 225, 226];

/// Numbers of the options that are used here.
pub(crate) mod code {
    pub(crate) const PAD: u8 = 0;
    pub(crate) const MASK: u8 = 1;
    pub(crate) const ROUTER: u8 = 3;
    pub(crate) const DNS: u8 = 6;
    pub(crate) const DOMAIN: u8 = 15;
    pub(crate) const MTU: u8 = 26;
    pub(crate) const REQUESTED: u8 = 50;
    pub(crate) const LEASE_TIME: u8 = 51;
    pub(crate) const OVERLOAD: u8 = 52;
    pub(crate) const KIND: u8 = 53;
    pub(crate) const SERVER: u8 = 54;
    pub(crate) const PARAMETERS: u8 = 55;
    pub(crate) const TEXT: u8 = 56;
    pub(crate) const LARGEST: u8 = 57;
    pub(crate) const RENEWAL: u8 = 58;
    pub(crate) const REBINDING: u8 = 59;
    pub(crate) const CLIENT_ID: u8 = 61;
    pub(crate) const SEARCH: u8 = 119;
    pub(crate) const ROUTES: u8 = 121;
    pub(crate) const MK_SERVER: u8 = 224;
    pub(crate) const MK_PORT: u8 = 225;
    pub(crate) const MK_URI: u8 = 226;
    pub(crate) const END: u8 = 255;
}

/// What a reply is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReplyKind {
    Offer,
    Ack,
    Nak,
}

/// A request of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    /// Transaction.
    pub(crate) xid: u32,
    /// Seconds since the client began.
    pub(crate) secs: u16,
    /// Port that asks.
    pub(crate) mac: Mac,
    /// What is asked.
    pub(crate) ask: Ask,
}

/// What a [`Request`] asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ask {
    /// Who has an address?
    Discover,
    /// The offer of this server is taken.
    Take { address: Ipv4Addr, server: Ipv4Addr },
    /// Is this address, held before, still good here?
    Verify { address: Ipv4Addr },
    /// Extend the lease of this address, which is in use: this server, or whoever can.
    Extend { address: Ipv4Addr, server: Option<Ipv4Addr> },
}

/// A server's reply. Options are raw; parts of one that was split are joined (RFC 3396).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) kind: ReplyKind,
    pub(crate) xid: u32,
    pub(crate) mac: Mac,
    pub(crate) address: Ipv4Addr,
    pub(crate) next_server: Ipv4Addr,
    pub(crate) options: BTreeMap<u8, Vec<u8>>,
}

impl Request {
    /// The message's bytes.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = vec![0; HEADER];
        out[..4].copy_from_slice(&[BOOT_REQUEST, ETHERNET, 6, 0]);
        out[4..8].copy_from_slice(&self.xid.to_be_bytes());
        out[8..10].copy_from_slice(&self.secs.to_be_bytes());
        if let Ask::Extend { address, .. } = self.ask {
            out[12..16].copy_from_slice(&address.octets());
        }
        out[28..34].copy_from_slice(&self.mac);
        out[236..240].copy_from_slice(&MAGIC);
        let kind = if self.ask == Ask::Discover { 1 } else { 3 };
        let mut option = |code: u8, value: &[u8]| {
            // Every value here is a few bytes long.
            out.extend([code, u8::try_from(value.len()).unwrap_or(0)]);
            out.extend(value);
        };
        option(code::KIND, &[kind]);
        let mut id = vec![ETHERNET];
        id.extend(self.mac);
        option(code::CLIENT_ID, &id);
        option(code::LARGEST, &LARGEST_REPLY.to_be_bytes());
        match &self.ask {
            Ask::Discover | Ask::Extend { .. } => {}
            Ask::Take { address, server } => {
                option(code::REQUESTED, &address.octets());
                option(code::SERVER, &server.octets());
            }
            Ask::Verify { address } => option(code::REQUESTED, &address.octets()),
        }
        option(code::PARAMETERS, &PARAMETERS);
        out.push(code::END);
        out.resize(out.len().max(SHORTEST), code::PAD);
        out
    }
}

impl Reply {
    /// Reads a message; `None` if it is no reply of a DHCP server to an Ethernet client.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.len() < HEADER || bytes[..3] != [BOOT_REPLY, ETHERNET, 6] || bytes[236..240] != MAGIC {
            return None;
        }
        let options = all_options(bytes)?;
        let kind = match options.get(&code::KIND)?.as_slice() {
            [2] => ReplyKind::Offer,
            [5] => ReplyKind::Ack,
            [6] => ReplyKind::Nak,
            _ => return None,
        };
        Some(Self {
            kind,
            xid: u32::from_be_bytes(bytes[4..8].try_into().ok()?),
            mac: bytes[28..34].try_into().ok()?,
            address: address(&bytes[16..20])?,
            next_server: address(&bytes[20..24])?,
            options,
        })
    }

    /// An option that is one address.
    pub(crate) fn address_option(&self, code: u8) -> Option<Ipv4Addr> {
        address(self.options.get(&code)?.get(..4)?)
    }

    /// An option that is a number of four bytes.
    pub(crate) fn number_option(&self, code: u8) -> Option<u32> {
        Some(u32::from_be_bytes(self.options.get(&code)?.as_slice().try_into().ok()?))
    }

    /// An option that is a number of two bytes.
    pub(crate) fn short_option(&self, code: u8) -> Option<u16> {
        Some(u16::from_be_bytes(self.options.get(&code)?.as_slice().try_into().ok()?))
    }

    /// An option that is a list of addresses.
    pub(crate) fn addresses_option(&self, code: u8) -> Vec<Ipv4Addr> {
        self.options.get(&code).map_or(&[][..], Vec::as_slice).chunks_exact(4).filter_map(address).collect()
    }

    /// An option that is text; control characters make it none of ours.
    pub(crate) fn text_option(&self, code: u8) -> Option<String> {
        let text = std::str::from_utf8(self.options.get(&code)?).ok()?.trim_matches(['\0', ' ']);
        (!text.is_empty() && !text.chars().any(char::is_control)).then(|| text.to_owned())
    }
}

/// Options of the message, of its file field and of its name field, in the order that RFC 3396 joins them.
fn all_options(bytes: &[u8]) -> Option<BTreeMap<u8, Vec<u8>>> {
    let mut options = BTreeMap::new();
    read_options(&bytes[HEADER..], &mut options)?;
    let overload = options.get(&code::OVERLOAD).and_then(|v: &Vec<u8>| v.first().copied()).unwrap_or(0);
    if overload & 1 != 0 {
        read_options(&bytes[FILE], &mut options)?;
    }
    if overload & 2 != 0 {
        read_options(&bytes[SNAME], &mut options)?;
    }
    Some(options)
}

/// Adds the options in `bytes`; `None` if one reaches beyond the end.
fn read_options(mut bytes: &[u8], options: &mut BTreeMap<u8, Vec<u8>>) -> Option<()> {
    loop {
        match bytes {
            [] | [code::END, ..] => return Some(()),
            [code::PAD, rest @ ..] => bytes = rest,
            [code, len, rest @ ..] => {
                let (value, rest) = rest.split_at_checked(usize::from(*len))?;
                options.entry(*code).or_default().extend(value);
                bytes = rest;
            }
            [_] => return None,
        }
    }
}

fn address(bytes: &[u8]) -> Option<Ipv4Addr> {
    Some(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?))
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(crate) const MAC: Mac = [0x52, 0x54, 0, 0x12, 0x34, 0x56];

    /// A server's answer to `request`, as bytes.
    pub(crate) fn answer(request: &Request, kind: u8, address: Ipv4Addr, options: &[(u8, &[u8])]) -> Vec<u8> {
        let mut out = request.encode()[..HEADER].to_vec();
        out[0] = BOOT_REPLY;
        out[12..16].fill(0);
        out[16..20].copy_from_slice(&address.octets());
        out.extend([code::KIND, 1, kind]);
        for (code, value) in options {
            out.extend([*code, u8::try_from(value.len()).unwrap()]);
            out.extend(*value);
        }
        out.push(code::END);
        out
    }

    fn discover() -> Request {
        Request { xid: 7, secs: 1, mac: MAC, ask: Ask::Discover }
    }

    #[test]
    fn requests_carry_what_servers_look_for() {
        let bytes = discover().encode();
        assert_eq!(bytes.len(), SHORTEST);
        assert_eq!(bytes[..12], [1, 1, 6, 0, 0, 0, 0, 7, 0, 1, 0, 0]);
        let options = all_options(&bytes).unwrap();
        assert_eq!(options[&code::KIND], [1]);
        assert_eq!(options[&code::CLIENT_ID], [1, 0x52, 0x54, 0, 0x12, 0x34, 0x56], "as iPXE's, or leases multiply");
        assert_eq!(options[&code::PARAMETERS], [1, 3, 6, 12, 15, 26, 42, 51, 119, 121, 224, 225, 226]);

        let address = Ipv4Addr::new(10, 0, 2, 15);
        let server = Ipv4Addr::new(10, 0, 2, 2);
        for (ask, ciaddr, requested, named) in [
            (Ask::Take { address, server }, false, true, true),
            (Ask::Verify { address }, false, true, false),
            (Ask::Extend { address, server: Some(server) }, true, false, false),
        ] {
            let bytes = Request { ask: ask.clone(), ..discover() }.encode();
            let options = all_options(&bytes).unwrap();
            assert_eq!(options[&code::KIND], [3]);
            assert_eq!(bytes[12..16] == address.octets(), ciaddr, "{ask:?}");
            assert_eq!(
                options.get(&code::REQUESTED).map(Vec::as_slice) == Some(&address.octets()),
                requested,
                "{ask:?}"
            );
            assert_eq!(options.contains_key(&code::SERVER), named, "{ask:?}");
        }
    }

    #[test]
    fn replies_are_read() {
        let bytes =
            answer(&discover(), 2, Ipv4Addr::new(10, 0, 2, 15), &[(code::SERVER, &[10, 0, 2, 2]), (26, &[5, 220])]);
        let reply = Reply::decode(&bytes).unwrap();
        assert_eq!((reply.kind, reply.xid, reply.mac), (ReplyKind::Offer, 7, MAC));
        assert_eq!(reply.address, Ipv4Addr::new(10, 0, 2, 15));
        assert_eq!(reply.address_option(code::SERVER), Some(Ipv4Addr::new(10, 0, 2, 2)));
        assert_eq!(reply.short_option(code::MTU), Some(1500));
        assert_eq!(reply.number_option(code::MTU), None);
    }

    #[test]
    fn split_and_overloaded_options_are_joined() {
        let mut bytes =
            answer(&discover(), 5, Ipv4Addr::LOCALHOST, &[(15, b"ex"), (code::OVERLOAD, &[3]), (15, b"am")]);
        bytes[FILE][..5].copy_from_slice(&[15, 2, b'p', b'l', code::END]);
        bytes[SNAME][..4].copy_from_slice(&[15, 1, b'e', code::END]);
        assert_eq!(Reply::decode(&bytes).unwrap().text_option(code::DOMAIN).as_deref(), Some("example"));
    }

    #[test]
    fn what_is_no_reply_is_dropped() {
        assert_eq!(Reply::decode(&discover().encode()), None, "another client's request");
        let good = answer(&discover(), 5, Ipv4Addr::LOCALHOST, &[]);
        for (at, to) in [(1, 6), (2, 16), (236, 0), (242, 9)] {
            let mut bad = good.clone();
            bad[at] = to;
            assert_eq!(Reply::decode(&bad), None, "byte {at}");
        }
        let mut long = good;
        long.truncate(243);
        long.extend([15, 200, b'x']);
        assert_eq!(Reply::decode(&long), None, "an option beyond the end");
    }

    proptest! {
        #[test]
        fn any_bytes_are_no_panic(bytes in proptest::collection::vec(any::<u8>(), 0..700)) {
            let _ = Reply::decode(&bytes);
        }

        #[test]
        fn any_options_are_no_panic(tail in proptest::collection::vec(any::<u8>(), 0..400)) {
            let mut bytes = answer(&discover(), 5, Ipv4Addr::LOCALHOST, &[]);
            bytes.truncate(243);
            bytes.extend(tail);
            if let Some(reply) = Reply::decode(&bytes) {
                for code in reply.options.keys() {
                    let _ = (reply.address_option(*code), reply.number_option(*code), reply.short_option(*code));
                    let _ = (reply.addresses_option(*code), reply.text_option(*code));
                }
            }
        }

        #[test]
        fn options_come_back(values in proptest::collection::btree_map(1u8..=254, proptest::collection::vec(any::<u8>(), 0..255), 0..20)) {
            let values: BTreeMap<u8, Vec<u8>> =
                values.into_iter().filter(|(c, _)| ![code::KIND, code::OVERLOAD].contains(c)).collect();
            let list: Vec<(u8, &[u8])> = values.iter().map(|(c, v)| (*c, v.as_slice())).collect();
            let mut options = Reply::decode(&answer(&discover(), 6, Ipv4Addr::LOCALHOST, &list)).unwrap().options;
            options.remove(&code::KIND);
            prop_assert_eq!(options, values);
        }
    }
}
