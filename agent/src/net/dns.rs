//! Asks DNS where our server is: SRV records of `_razor._tcp` in each search domain, and the plain name `razor`.
//! The messages (RFC 1035, 2782) are pure functions; one UDP socket and one time-out per question.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::net::UdpSocket;

use super::names;
use crate::limits::{DNS_ANSWER, DNS_TRIES};
use crate::random::random;

const SERVICE: &str = "_razor._tcp";
const NAME: &str = "razor";
const PORT: u16 = 53;
const HEADER: usize = 12;
const INTERNET: u16 = 1;
/// Largest answer over UDP that is taken.
const LARGEST_ANSWER: usize = 4096;

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Address = 1,
    Service = 33,
}

/// One record of an answer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Record {
    Address(Ipv4Addr),
    Service { priority: u16, weight: u16, port: u16, target: String },
}

/// A server that DNS names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// Host name.
    pub(crate) host: String,
    /// Port, where an SRV record gives one.
    pub(crate) port: Option<u16>,
    /// The question that it answered, for people.
    pub(crate) question: String,
}

/// All servers that these name servers know in these domains, best first. No answer is an empty list.
pub(crate) async fn look_up(servers: &[IpAddr], domains: &[String]) -> Vec<Found> {
    let mut found = Vec::new();
    for domain in domains {
        let question = format!("{SERVICE}.{domain}");
        for record in services(ask(servers, &question, Kind::Service).await) {
            if let Record::Service { port, target, .. } = record {
                found.push(Found { host: target, port: Some(port), question: question.clone() });
            }
        }
    }
    let names = domains.iter().map(|domain| format!("{NAME}.{domain}")).chain([NAME.to_owned()]);
    for name in names {
        let records = ask(servers, &name, Kind::Address).await;
        if records.iter().any(|r| matches!(r, Record::Address(_))) {
            found.push(Found { host: name.clone(), port: None, question: name });
        }
    }
    found
}

/// SRV records in the order in which they are to be tried. A target that is the root means "no such service".
fn services(mut records: Vec<Record>) -> Vec<Record> {
    records.retain(|r| matches!(r, Record::Service { target, .. } if !target.is_empty()));
    records.sort_by_key(|r| match r {
        Record::Service { priority, weight, .. } => (*priority, u16::MAX - weight),
        Record::Address(_) => (0, 0),
    });
    records
}

/// The first answer of these servers.
async fn ask(servers: &[IpAddr], name: &str, kind: Kind) -> Vec<Record> {
    for _ in 0..DNS_TRIES {
        for server in servers {
            let id = u16::try_from(random() & 0xffff).unwrap_or(0);
            let Some(query) = query(id, name, kind) else { return Vec::new() };
            match tokio::time::timeout(DNS_ANSWER, exchange(*server, &query)).await {
                Ok(Ok(bytes)) => match answer(&bytes, id, kind) {
                    Some(records) => return records,
                    None => tracing::debug!("DNS server {server} gave no usable answer for {name}"),
                },
                Ok(Err(why)) => tracing::debug!("cannot ask DNS server {server} for {name}: {why}"),
                Err(_) => tracing::debug!("DNS server {server} did not answer for {name}"),
            }
        }
    }
    Vec::new()
}

async fn exchange(server: IpAddr, query: &[u8]) -> std::io::Result<Vec<u8>> {
    let any = if server.is_ipv4() { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { IpAddr::V6(Ipv6Addr::UNSPECIFIED) };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(SocketAddr::new(server, PORT)).await?;
    socket.send(query).await?;
    let mut bytes = vec![0; LARGEST_ANSWER];
    loop {
        let length = socket.recv(&mut bytes).await?;
        // A late answer to an earlier question is not this one's.
        if bytes[..length].starts_with(&query[..2]) {
            bytes.truncate(length);
            return Ok(bytes);
        }
    }
}

/// A recursive question; `None` if the name is no host name.
fn query(id: u16, name: &str, kind: Kind) -> Option<Vec<u8>> {
    const RECURSION: u16 = 0x0100;
    let mut out = Vec::with_capacity(HEADER + name.len() + 6);
    for number in [id, RECURSION, 1, 0, 0, 0] {
        out.extend(number.to_be_bytes());
    }
    out.extend(names::encode(name)?);
    out.extend((kind as u16).to_be_bytes());
    out.extend(INTERNET.to_be_bytes());
    Some(out)
}

/// The records of this kind in an answer; empty if the name does not exist, `None` if the server failed or what it
/// sent is no answer to this question.
fn answer(bytes: &[u8], id: u16, kind: Kind) -> Option<Vec<Record>> {
    const RESPONSE: u16 = 0x8000;
    const NO_SUCH_NAME: u16 = 3;
    let flags = number(bytes, 2)?;
    if number(bytes, 0)? != id || flags & RESPONSE == 0 {
        return None;
    }
    match flags & 15 {
        0 => {}
        NO_SUCH_NAME => return Some(Vec::new()),
        _ => return None,
    }
    let mut at = HEADER;
    for _ in 0..number(bytes, 4)? {
        at = names::decode(bytes, at)?.1 + 4;
    }
    let mut records = Vec::new();
    for _ in 0..number(bytes, 6)? {
        let start = names::decode(bytes, at)?.1;
        let data = start + 10;
        at = data + usize::from(number(bytes, start + 8)?);
        if number(bytes, start)? == kind as u16 && number(bytes, start + 2)? == INTERNET {
            records.extend(record(bytes, data, at, kind));
        }
    }
    Some(records)
}

/// The record whose data are these bytes of the message.
fn record(bytes: &[u8], start: usize, end: usize, kind: Kind) -> Option<Record> {
    let data = bytes.get(start..end)?;
    match kind {
        Kind::Address => Some(Record::Address(Ipv4Addr::from(<[u8; 4]>::try_from(data).ok()?))),
        Kind::Service => Some(Record::Service {
            priority: number(data, 0)?,
            weight: number(data, 2)?,
            port: number(data, 4)?,
            target: names::decode(bytes, start + 6)?.0,
        }),
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]))
}

/// For the fuzzer: whatever a name server answers, hosts come out that can be asked for.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(bytes: &[u8]) {
    let id = number(bytes, 0).unwrap_or(0);
    for kind in [Kind::Address, Kind::Service] {
        let records = answer(bytes, id, kind).unwrap_or_default();
        assert!(records.len() <= bytes.len());
        for record in services(records) {
            assert!(matches!(record, Record::Service { target, .. } if names::is_host_name(&target)));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An answer to `query` with these records, each as type and data; names point to the question.
    fn reply(query: &[u8], flags: u16, records: &[(u16, &[u8])]) -> Vec<u8> {
        let mut out = query.to_vec();
        out[2..4].copy_from_slice(&flags.to_be_bytes());
        out[6..8].copy_from_slice(&u16::try_from(records.len()).unwrap().to_be_bytes());
        for (kind, data) in records {
            out.extend([0xc0, 12]);
            out.extend(kind.to_be_bytes());
            out.extend([0, 1, 0, 0, 0, 60]);
            out.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
            out.extend(*data);
        }
        out
    }

    #[test]
    fn services_come_best_first() {
        let query = query(7, "_razor._tcp.example.com", Kind::Service).unwrap();
        let service = |priority: u8, weight: u8, target: &[u8]| [&[0, priority, 0, weight, 31, 214], target].concat();
        let records = [
            (33, service(20, 0, b"\x01c\xc0\x18")),
            (5, b"\x01x\x00".to_vec()),
            (33, service(10, 1, b"\x01b\x00")),
            (33, service(10, 9, b"\x01a\xc0\x18")),
            (33, service(5, 0, b"\x00")),
        ];
        let records: Vec<(u16, &[u8])> = records.iter().map(|(k, d)| (*k, d.as_slice())).collect();
        let found = services(answer(&reply(&query, 0x8180, &records), 7, Kind::Service).unwrap());
        let shown: Vec<String> = found
            .iter()
            .map(|r| match r {
                Record::Service { port, target, .. } => format!("{target}:{port}"),
                Record::Address(a) => a.to_string(),
            })
            .collect();
        assert_eq!(shown, ["a.example.com:8150", "b:8150", "c.example.com:8150"]);
    }

    #[test]
    fn addresses_and_refusals() {
        let query = query(9, "razor", Kind::Address).unwrap();
        let one = [(1, &[10, 0, 0, 1][..])];
        let good = Some(vec![Record::Address(Ipv4Addr::new(10, 0, 0, 1))]);
        assert_eq!(answer(&reply(&query, 0x8180, &one), 9, Kind::Address), good);
        assert_eq!(answer(&reply(&query, 0x8183, &[]), 9, Kind::Address), Some(Vec::new()), "no such name");
        assert_eq!(answer(&reply(&query, 0x8182, &[]), 9, Kind::Address), None, "the server failed");
        assert_eq!(answer(&reply(&query, 0x8180, &one), 8, Kind::Address), None, "another question's");
        assert_eq!(answer(&query, 9, Kind::Address), None, "no answer at all");
        assert_eq!(super::query(1, "not a name", Kind::Address), None);
    }

    #[tokio::test]
    async fn no_name_server_is_no_answer() {
        assert_eq!(look_up(&[], &["example.com".to_owned()]).await, []);
    }

    proptest! {
        #[test]
        fn any_bytes_are_no_panic(tail in proptest::collection::vec(any::<u8>(), 0..200), whole in any::<bool>()) {
            let start = reply(&query(1, "a.b", Kind::Service).unwrap(), 0x8180, &[]);
            let mut bytes = if whole { Vec::new() } else { start };
            if !whole {
                bytes[7] = 9;
            }
            bytes.extend(tail);
            for kind in [Kind::Address, Kind::Service] {
                let _ = answer(&bytes, 1, kind);
            }
        }
    }
}
