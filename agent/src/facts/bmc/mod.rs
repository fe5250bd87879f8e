//! Baseboard management controller: asked by the kernel's IPMI device for firmware, GUID, and the address and MAC of its
//! network port. For facts nothing is set; an operator may have its identify light blink. Each answer takes its time, so
//! that answers are kept for a while, and those of a round that did not come to its end are not asked for again. What is
//! known is not taken back because a BMC is silent.

mod device;
mod inquiry;
pub(crate) mod message;

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context as _, ensure};
use wire::inventory::Bmc;

use self::device::Device;
use self::inquiry::{Answers, Talk};
use self::message::{Lan, Request};
use super::collector::Found;
use super::kept::Kept;
use super::smbios::Table;
use crate::limits::{BMC_ADDRESSES, BMC_WHOLE, HARDWARE_KEPT};
use crate::tree::Tree;

/// Devices of the module `ipmi_devintf`.
const CLASS: &str = "/sys/class/ipmi";
/// Channels that may be a network port.
const CHANNELS: std::ops::RangeInclusive<u8> = 1..=11;

/// What is known of a BMC.
#[derive(Debug, Clone, Default)]
struct Known {
    bmc: Bmc,
    /// When the round of questions began that has not come to its end, and its answers.
    round: Option<(Instant, Answers)>,
}

/// What is known of BMCs, by device.
static KEPT: Kept<Known> = Kept::new();

pub(super) fn collect(tree: &Tree) -> anyhow::Result<Found> {
    let nothing = Found::new(|_, _| ());
    if !tree.is_live() {
        return Ok(nothing);
    }
    let Some(name) = tree.names(CLASS).into_iter().next() else {
        let named = Table::read(tree).is_some_and(|table| table.names_bmc());
        ensure!(
            !named,
            "the firmware names a BMC (SMBIOS type 38), but the kernel has no device for it; see the kernel's log for ipmi_si"
        );
        return Ok(nothing);
    };
    let now = Instant::now();
    if let Some(known) = KEPT.fresh(&name, now) {
        return Ok(found(known.bmc, None));
    }
    let path = PathBuf::from("/dev").join(&name);
    let uuid = Table::read(tree).and_then(|table| table.system()?.uuid);
    let before = KEPT.last(&name).unwrap_or_default();
    let (known, asked) = match Device::open(&path, now + BMC_WHOLE) {
        Ok(mut device) => inquire(&mut |request| device.ask(request), before, uuid.as_deref(), now),
        Err(why) => (before, Err(why)),
    };
    KEPT.keep(&name, known.clone(), if asked.is_ok() { now + HARDWARE_KEPT } else { now });
    let failure = asked.with_context(|| format!("not all of the BMC at {} is known", path.display())).err();
    Ok(found(known.bmc, failure.map(|why| format!("{why:#}"))))
}

/// Has the identify light blink for so many seconds, or go out for 0. False where there is none.
///
/// # Errors
/// The BMC does not answer.
pub(crate) fn light(seconds: u8) -> anyhow::Result<bool> {
    let Some(name) = Tree::live().names(CLASS).into_iter().next() else { return Ok(false) };
    let path = PathBuf::from("/dev").join(&name);
    let answer = Device::open(&path, Instant::now() + BMC_WHOLE)
        .and_then(|mut device| device.ask(&Request::identify(seconds)))
        .with_context(|| format!("the BMC at {} was not told about its light", path.display()))?;
    Ok(message::data(&answer)?.is_some())
}

/// A BMC, and why not all of it is known.
fn found(bmc: Bmc, failure: Option<String>) -> Found {
    Found::new(move |stable, volatile| {
        stable.bmc = (bmc != Bmc::default()).then_some(bmc);
        volatile.failures.extend(failure.map(|why| ("bmc".to_owned(), why)));
    })
}

/// Asks what is not known yet, and gives what is known now and whether that is all.
fn inquire(talk: &mut Talk, before: Known, uuid: Option<&str>, now: Instant) -> (Known, anyhow::Result<()>) {
    let is_young = |(begun, _): &(Instant, Answers)| now.saturating_duration_since(*begun) < HARDWARE_KEPT;
    let (begun, mut answers) = before.round.filter(is_young).unwrap_or_else(|| (now, Answers::default()));
    let mut bmc = Bmc::default();
    let asked = ask(&mut |request| answers.get(talk, request), uuid, &mut bmc);
    if asked.is_err() || !answers.silent.is_empty() {
        bmc = over(bmc, before.bmc);
    }
    let round = asked.is_err().then_some((begun, answers));
    (Known { bmc, round }, asked)
}

/// What was learned now over what was known before: of one that is silent nothing is taken back. A port without an address
/// takes no other's place, since that may be in use and silent.
fn over(new: Bmc, known: Bmc) -> Bmc {
    let is_other = new.ipv4.is_none() && known.mac.is_some();
    let (mac, ipv4, source) = if is_other { (None, None, None) } else { (new.mac, new.ipv4, new.source) };
    Bmc {
        mac: mac.or(known.mac),
        ipv4: ipv4.or(known.ipv4),
        ipv6: if new.ipv6.is_empty() { known.ipv6 } else { new.ipv6 },
        source: source.or(known.source),
        firmware: new.firmware.or(known.firmware),
        guid: new.guid.or(known.guid),
    }
}

/// Gives the data of the answer to a request; `None` where there is none.
type Get<'a> = dyn FnMut(&Request) -> anyhow::Result<Option<Vec<u8>>> + 'a;

/// Asks everything; what was learned before a failure stays. The GUIDs come last, since a BMC that has none may be silent.
fn ask(get: &mut Get, uuid: Option<&str>, bmc: &mut Bmc) -> anyhow::Result<()> {
    bmc.firmware = get(&Request::device_id())?.and_then(|data| message::firmware(&data));
    if let Some(channel) = lan_channel(get, bmc)? {
        ipv6(get, channel, bmc)?;
    }
    bmc.guid = get(&Request::system_guid())?.and_then(|data| message::guid(&data, uuid));
    if bmc.guid.is_none() {
        bmc.guid = get(&Request::device_guid())?.and_then(|data| message::guid(&data, None));
    }
    Ok(())
}

/// Value of a LAN parameter.
fn parameter(get: &mut Get, channel: u8, which: Lan, set: u8) -> anyhow::Result<Option<Vec<u8>>> {
    Ok(get(&Request::lan(channel, which, set))?.map(|data| message::value(&data).to_vec()))
}

/// Finds the network port, the first that has an address before the first of all, and stores its MAC and IPv4 address.
fn lan_channel(get: &mut Get, bmc: &mut Bmc) -> anyhow::Result<Option<u8>> {
    let mut first = None;
    for channel in CHANNELS {
        let info = get(&Request::channel_info(channel))?;
        if !info.is_some_and(|data| message::is_lan(&data)) {
            continue;
        }
        let address = parameter(get, channel, Lan::Ipv4, 0)?.and_then(|value| message::ipv4(&value));
        if first.is_some() && address.is_none() {
            continue;
        }
        let mac = parameter(get, channel, Lan::Mac, 0)?.and_then(|value| message::mac(&value));
        let source = parameter(get, channel, Lan::Source, 0)?.and_then(|value| message::source(&value));
        first = Some((channel, mac, address, source));
        if address.is_some() {
            break;
        }
    }
    // Not before all were looked at: a later one may be the one in use.
    Ok(first.map(|(channel, mac, address, source)| {
        bmc.mac = mac;
        bmc.ipv4 = address.map(|address| address.to_string());
        bmc.source = source.map(str::to_owned);
        channel
    }))
}

/// Stores the IPv6 addresses in use, where the BMC has any.
fn ipv6(get: &mut Get, channel: u8, bmc: &mut Bmc) -> anyhow::Result<()> {
    let enabled = parameter(get, channel, Lan::Enabled, 0)?;
    if !enabled.is_some_and(|value| message::uses_ipv6(&value)) {
        return Ok(());
    }
    let status = parameter(get, channel, Lan::Ipv6Status, 0)?.unwrap_or_default();
    let (fixed, dynamic) = message::ipv6_counts(&status);
    let mut addresses = Vec::new();
    for (which, count) in [(Lan::Ipv6Static, fixed), (Lan::Ipv6Dynamic, dynamic)] {
        for set in 0..count.min(BMC_ADDRESSES) {
            let address = parameter(get, channel, which, set)?.and_then(|value| message::ipv6(&value));
            addresses.extend(address.map(|address| address.to_string()));
        }
    }
    addresses.sort();
    addresses.dedup();
    bmc.ipv6 = addresses;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// A BMC that gives these answers (with completion code) to these requests, and refuses all others.
    fn bmc(answers: &[(Request, &[u8])]) -> impl FnMut(&Request) -> anyhow::Result<Vec<u8>> + use<> {
        let known = |r: &Request| (r.function, r.command, r.data.clone());
        let table: BTreeMap<_, Vec<u8>> = answers.iter().map(|(r, bytes)| (known(r), bytes.to_vec())).collect();
        move |request| Ok(table.get(&known(request)).cloned().unwrap_or(vec![0xc1]))
    }

    fn lan(channel: u8, which: Lan) -> Request {
        Request::lan(channel, which, 0)
    }

    /// What is known after one round that began with nothing.
    fn first(talk: &mut Talk) -> (Bmc, anyhow::Result<()>) {
        let (known, asked) = inquire(talk, Known::default(), None, Instant::now());
        (known.bmc, asked)
    }

    /// A BMC with a network port in use as channel 8 and one without an address as channel 1.
    fn two_ports() -> impl FnMut(&Request) -> anyhow::Result<Vec<u8>> {
        let fixed = [&[0, 0x11, 0, 0x80][..], &"2001:db8::7".parse::<std::net::Ipv6Addr>().unwrap().octets(), &[64, 0]];
        let dynamic = [&[0, 0x11, 1, 1][..], &"fe80::1".parse::<std::net::Ipv6Addr>().unwrap().octets(), &[64, 0]];
        bmc(&[
            (Request::device_id(), &[0, 0x20, 0x81, 0x05, 0x10, 0x02]),
            (Request::system_guid(), b"\0DELL\x4b\x00\x10\x54\x80\x4c\xb4\xc0\x4f\x56\x31\x33"),
            // Channel 1 is a network port without an address, 2 a serial line, 8 the port in use.
            (Request::channel_info(1), &[0, 1, 4, 1]),
            (lan(1, Lan::Ipv4), &[0, 0x11, 0, 0, 0, 0]),
            (lan(1, Lan::Mac), &[0, 0x11, 1, 2, 3, 4, 5, 6]),
            (Request::channel_info(2), &[0, 2, 5, 1]),
            (Request::channel_info(8), &[0, 8, 4, 1]),
            (lan(8, Lan::Ipv4), &[0, 0x11, 10, 0, 1, 7]),
            (lan(8, Lan::Mac), &[0, 0x11, 0xd0, 0x94, 0x66, 0, 0, 0x0f]),
            (lan(8, Lan::Source), &[0, 0x11, 2]),
            (lan(8, Lan::Enabled), &[0, 0x11, 2]),
            (lan(8, Lan::Ipv6Status), &[0, 0x11, 1, 255, 3]),
            (lan(8, Lan::Ipv6Static), &fixed.concat()),
            (Request::lan(8, Lan::Ipv6Dynamic, 1), &dynamic.concat()),
        ])
    }

    /// All of it.
    fn all_of_two_ports() -> Bmc {
        let some = |text: &str| Some(text.to_owned());
        Bmc {
            mac: some("d0:94:66:00:00:0f"),
            ipv4: some("10.0.1.7"),
            ipv6: vec!["2001:db8::7".to_owned(), "fe80::1".to_owned()],
            source: some("dhcp"),
            firmware: some("5.10"),
            guid: some("4c4c4544-004b-5410-804c-b4c04f563133"),
        }
    }

    #[test]
    fn everything_is_asked() {
        let (found, asked) = first(&mut two_ports());
        asked.unwrap();
        assert_eq!(found, all_of_two_ports());
    }

    /// Fields that are known.
    fn count(bmc: &Bmc) -> usize {
        let some = [&bmc.mac, &bmc.ipv4, &bmc.source, &bmc.firmware, &bmc.guid];
        some.iter().filter(|field| field.is_some()).count() + bmc.ipv6.len()
    }

    #[test]
    fn a_slow_bmc_is_asked_each_question_once_and_what_is_known_only_grows() {
        let (mut inner, mut sent) = (two_ports(), Vec::new());
        let (mut known, now) = (Known::default(), Instant::now());
        let mut rounds = 0;
        loop {
            let mut left = 5;
            let mut talk = |request: &Request| {
                ensure!(left > 0, "no answer in time");
                left -= 1;
                sent.push(request.clone());
                inner(request)
            };
            let before = known.bmc.clone();
            let (now_known, asked) = inquire(&mut talk, known, None, now);
            known = now_known;
            assert_eq!(over(known.bmc.clone(), before.clone()), known.bmc, "nothing is taken back");
            assert!(count(&known.bmc) >= count(&before));
            rounds += 1;
            assert!(rounds < 100, "it never comes to its end");
            if asked.is_ok() {
                break;
            }
        }
        assert_eq!(known.bmc, all_of_two_ports());
        assert!(rounds > 2 && known.round.is_none(), "{rounds}");
        let asked = sent.len();
        sent.sort();
        sent.dedup();
        assert_eq!(sent.len(), asked);
    }

    #[test]
    fn a_channel_that_is_silent_ends_nothing_else() {
        for silence in [0xc3, 0xff] {
            let mut inner = two_ports();
            let mut talk = |request: &Request| match request.channel() {
                Some(3) => Ok(vec![silence]),
                _ => inner(request),
            };
            let (found, asked) = first(&mut talk);
            asked.unwrap();
            assert_eq!(found, all_of_two_ports());
        }
    }

    #[test]
    fn what_was_known_of_a_silent_port_stays_and_what_changed_is_taken() {
        let now = Instant::now();
        let (known, _) = inquire(&mut two_ports(), Known::default(), None, now);
        let (mut inner, mut asked_it) = (two_ports(), 0);
        let mut talk = |request: &Request| match (request.channel(), request) {
            (Some(8), _) => {
                asked_it += 1;
                Ok(vec![0xc3])
            }
            (_, request) if *request == Request::device_id() => Ok(vec![0, 0x20, 0x81, 0x06, 0x00, 0x02]),
            _ => inner(request),
        };
        let (later, asked) = inquire(&mut talk, known, None, now + HARDWARE_KEPT);
        asked.unwrap();
        let expected = Bmc { firmware: Some("6.00".to_owned()), ..all_of_two_ports() };
        assert_eq!((later.bmc, asked_it), (expected, 1));
    }

    #[test]
    fn a_bmc_that_knows_little_is_no_failure() {
        let mut talk = bmc(&[
            (Request::device_id(), &[0, 0x20, 0, 0, 0, 2]),
            (Request::device_guid(), &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]),
            (Request::channel_info(1), &[0, 1, 4, 1]),
            (lan(1, Lan::Mac), &[0, 0x11, 1, 2, 3, 4, 5, 6]),
        ]);
        let (found, asked) = first(&mut talk);
        asked.unwrap();
        assert_eq!(found.firmware.as_deref(), Some("0.00"));
        assert_eq!(found.guid.as_deref(), Some("04030201-0605-0807-090a-0b0c0d0e0f10"));
        assert_eq!((found.mac.as_deref(), found.ipv4), (Some("01:02:03:04:05:06"), None));
        assert!(found.ipv6.is_empty());
    }

    #[test]
    fn what_was_learned_before_a_failure_stays() {
        let mut inner = bmc(&[
            (Request::device_id(), &[0, 0x20, 0x81, 0x05, 0x10, 0x02]),
            (Request::channel_info(1), &[0, 1, 4, 1]),
            (lan(1, Lan::Ipv4), &[0, 0x11, 10, 0, 1, 7]),
        ]);
        let mut talk = |request: &Request| {
            ensure!(*request != Request::system_guid(), "no answer in time");
            inner(request)
        };
        let (found, asked) = first(&mut talk);
        assert_eq!(asked.unwrap_err().to_string(), "no answer in time");
        assert_eq!((found.firmware.as_deref(), found.ipv4.as_deref()), (Some("5.10"), Some("10.0.1.7")));
    }
}
