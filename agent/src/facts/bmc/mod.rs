//! Baseboard management controller: asked by the kernel's IPMI device for firmware, GUID, and the address and MAC of its
//! network port. Nothing is set. Each answer takes its time, so that answers are kept for a while.

mod device;
mod message;

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context as _, ensure};
use wire::inventory::Bmc;

use self::device::Device;
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

/// What BMCs said, by device.
static KEPT: Kept<Bmc> = Kept::new();

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
    if let Some(bmc) = KEPT.fresh(&name, HARDWARE_KEPT, now) {
        return Ok(found(bmc, None));
    }
    let mut bmc = Bmc::default();
    let path = PathBuf::from("/dev").join(&name);
    let asked = Device::open(&path, now + BMC_WHOLE)
        .and_then(|mut device| ask(&mut |request| device.ask(request), &mut bmc))
        .with_context(|| format!("not all of the BMC at {} is known", path.display()));
    match asked {
        Ok(()) => {
            KEPT.keep(&name, bmc.clone(), now);
            Ok(found(bmc, None))
        }
        // One that is busy now has not gone: what it said before stays.
        Err(why) => Ok(found(KEPT.last(&name).unwrap_or(bmc), Some(format!("{why:#}")))),
    }
}

/// A BMC, and why not all of it is known.
fn found(bmc: Bmc, failure: Option<String>) -> Found {
    Found::new(move |stable, volatile| {
        stable.bmc = (bmc != Bmc::default()).then_some(bmc);
        volatile.failures.extend(failure.map(|why| ("bmc".to_owned(), why)));
    })
}

/// Sends a request and gives the answer with its completion code.
type Talk<'a> = dyn FnMut(&Request) -> anyhow::Result<Vec<u8>> + 'a;

/// Asks everything; what was learned before a failure stays.
fn ask(talk: &mut Talk, bmc: &mut Bmc) -> anyhow::Result<()> {
    bmc.firmware = get(talk, &Request::device_id())?.and_then(|data| message::firmware(&data));
    let lan = lan_channel(talk, bmc)?;
    bmc.guid = get(talk, &Request::system_guid())?.and_then(|data| message::guid(&data));
    if bmc.guid.is_none() {
        bmc.guid = get(talk, &Request::device_guid())?.and_then(|data| message::guid(&data));
    }
    lan.map_or(Ok(()), |channel| ipv6(talk, channel, bmc))
}

/// Data of an answer; `None` where the BMC refuses.
fn get(talk: &mut Talk, request: &Request) -> anyhow::Result<Option<Vec<u8>>> {
    let answer = talk(request)?;
    Ok(message::data(&answer)?.map(<[u8]>::to_vec))
}

/// Value of a LAN parameter.
fn parameter(talk: &mut Talk, channel: u8, which: Lan, set: u8) -> anyhow::Result<Option<Vec<u8>>> {
    Ok(get(talk, &Request::lan(channel, which, set))?.map(|data| message::value(&data).to_vec()))
}

/// Finds the network port, the first that has an address before the first of all, and stores its MAC and IPv4 address.
fn lan_channel(talk: &mut Talk, bmc: &mut Bmc) -> anyhow::Result<Option<u8>> {
    let mut first = None;
    for channel in CHANNELS {
        let info = get(talk, &Request::channel_info(channel))?;
        if !info.is_some_and(|data| message::is_lan(&data)) {
            continue;
        }
        let address = parameter(talk, channel, Lan::Ipv4, 0)?.and_then(|value| message::ipv4(&value));
        if first.is_some() && address.is_none() {
            continue;
        }
        bmc.ipv4 = address.map(|address| address.to_string());
        bmc.mac = parameter(talk, channel, Lan::Mac, 0)?.and_then(|value| message::mac(&value));
        let source = parameter(talk, channel, Lan::Source, 0)?.and_then(|value| message::source(&value));
        bmc.source = source.map(str::to_owned);
        first = Some(channel);
        if address.is_some() {
            break;
        }
    }
    Ok(first)
}

/// Stores the IPv6 addresses in use, where the BMC has any.
fn ipv6(talk: &mut Talk, channel: u8, bmc: &mut Bmc) -> anyhow::Result<()> {
    let enabled = parameter(talk, channel, Lan::Enabled, 0)?;
    if !enabled.is_some_and(|value| message::uses_ipv6(&value)) {
        return Ok(());
    }
    let status = parameter(talk, channel, Lan::Ipv6Status, 0)?.unwrap_or_default();
    let (fixed, dynamic) = message::ipv6_counts(&status);
    for (which, count) in [(Lan::Ipv6Static, fixed), (Lan::Ipv6Dynamic, dynamic)] {
        for set in 0..count.min(BMC_ADDRESSES) {
            let address = parameter(talk, channel, which, set)?.and_then(|value| message::ipv6(&value));
            bmc.ipv6.extend(address.map(|address| address.to_string()));
        }
    }
    bmc.ipv6.sort();
    bmc.ipv6.dedup();
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

    #[test]
    fn everything_is_asked() {
        let fixed = [&[0, 0x11, 0, 0x80][..], &"2001:db8::7".parse::<std::net::Ipv6Addr>().unwrap().octets(), &[64, 0]];
        let dynamic = [&[0, 0x11, 1, 1][..], &"fe80::1".parse::<std::net::Ipv6Addr>().unwrap().octets(), &[64, 0]];
        let mut talk = bmc(&[
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
        ]);
        let mut found = Bmc::default();
        ask(&mut talk, &mut found).unwrap();
        let some = |text: &str| Some(text.to_owned());
        let expected = Bmc {
            mac: some("d0:94:66:00:00:0f"),
            ipv4: some("10.0.1.7"),
            ipv6: vec!["2001:db8::7".to_owned(), "fe80::1".to_owned()],
            source: some("dhcp"),
            firmware: some("5.10"),
            guid: some("4c4c4544-004b-5410-804c-b4c04f563133"),
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn a_bmc_that_knows_little_is_no_failure() {
        let mut talk = bmc(&[
            (Request::device_id(), &[0, 0x20, 0, 0, 0, 2]),
            (Request::device_guid(), &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]),
            (Request::channel_info(1), &[0, 1, 4, 1]),
            (lan(1, Lan::Mac), &[0, 0x11, 1, 2, 3, 4, 5, 6]),
        ]);
        let mut found = Bmc::default();
        ask(&mut talk, &mut found).unwrap();
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
        let mut found = Bmc::default();
        assert_eq!(ask(&mut talk, &mut found).unwrap_err().to_string(), "no answer in time");
        assert_eq!((found.firmware.as_deref(), found.ipv4.as_deref()), (Some("5.10"), Some("10.0.1.7")));
    }
}
