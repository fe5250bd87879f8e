//! Requests to a BMC and its answers, as bytes (IPMI 2.0). Pure. An answer starts with a completion code; what a BMC does
//! not know or refuses is absent, no error.

use std::net::{Ipv4Addr, Ipv6Addr};

use anyhow::{Context as _, bail};

use crate::facts::smbios::uuid_text;

/// Network functions.
const CHASSIS: u8 = 0x00;
const APPLICATION: u8 = 0x06;
const TRANSPORT: u8 = 0x0c;
/// Medium of a channel: Ethernet.
const MEDIUM_LAN: u8 = 0x04;
/// Command Get Channel Info.
const CHANNEL_INFO: u8 = 0x42;
/// Completion code: ran out of time. The kernel gives it too, for a BMC that says nothing.
pub(super) const OUT_OF_TIME: u8 = 0xc3;
/// Completion code: unspecified. What the kernel gives when the BMC gave it no answer.
const NO_ANSWER: u8 = 0xff;

/// One request.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Request {
    /// Network function.
    pub(super) function: u8,
    /// Command within the function.
    pub(super) command: u8,
    /// What follows.
    pub(super) data: Vec<u8>,
}

impl Request {
    fn new(function: u8, command: u8, data: &[u8]) -> Self {
        Self { function, command, data: data.to_vec() }
    }

    /// Get Device ID: the firmware's revision among others.
    pub(super) fn device_id() -> Self {
        Self::new(APPLICATION, 0x01, &[])
    }

    /// Get Device GUID: of the BMC itself.
    pub(super) fn device_guid() -> Self {
        Self::new(APPLICATION, 0x08, &[])
    }

    /// Get System GUID: of the machine that it manages.
    pub(super) fn system_guid() -> Self {
        Self::new(APPLICATION, 0x37, &[])
    }

    /// Chassis Identify: its light blinks for so many seconds, and not at all for 0.
    pub(super) fn identify(seconds: u8) -> Self {
        Self::new(CHASSIS, 0x04, &[seconds])
    }

    /// Get Channel Info.
    pub(super) fn channel_info(channel: u8) -> Self {
        Self::new(APPLICATION, CHANNEL_INFO, &[channel & 0x0f])
    }

    /// Get LAN Configuration Parameters; `set` selects one of several values.
    pub(super) fn lan(channel: u8, parameter: Lan, set: u8) -> Self {
        Self::new(TRANSPORT, 0x02, &[channel & 0x0f, parameter as u8, set, 0])
    }

    /// The channel that it asks about, if it is about one.
    pub(super) fn channel(&self) -> Option<u8> {
        let is_about_one = self.function == TRANSPORT || self.command == CHANNEL_INFO;
        self.data.first().copied().filter(|_| is_about_one)
    }

    /// For people.
    pub(super) fn name(&self) -> String {
        format!("command {:#04x} of function {:#04x}", self.command, self.function)
    }
}

/// LAN configuration parameters by their numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Lan {
    /// IPv4 address.
    Ipv4 = 3,
    /// Where the IPv4 address comes from.
    Source = 4,
    /// MAC.
    Mac = 5,
    /// Which protocols are in use.
    Enabled = 51,
    /// How many IPv6 addresses of each kind there may be.
    Ipv6Status = 55,
    /// An IPv6 address that was set.
    Ipv6Static = 56,
    /// An IPv6 address by DHCP or router.
    Ipv6Dynamic = 59,
}

/// Whether an answer says that none came: what was asked about may not be there, or is busy.
pub(super) fn is_silence(answer: &[u8]) -> bool {
    matches!(answer.first(), Some(&(OUT_OF_TIME | NO_ANSWER)))
}

/// Data of an answer; `None` where the BMC refuses the request.
///
/// # Errors
/// It is busy, did not answer in time or the kernel got no answer.
pub(super) fn data(answer: &[u8]) -> anyhow::Result<Option<&[u8]>> {
    let (code, data) = answer.split_first().context("the BMC's answer is empty")?;
    Ok(match *code {
        0x00 => Some(data),
        0xc0 => bail!("the BMC is busy (completion code 0xc0)"),
        OUT_OF_TIME => bail!("the BMC ran out of time (completion code 0xc3)"),
        0xd0..=0xd2 => bail!("the BMC is being started or updated (completion code {code:#04x})"),
        NO_ANSWER => bail!("the BMC gave no answer to the kernel (completion code 0xff)"),
        _ => None,
    })
}

/// Revision of the firmware, `major.minor`, as ipmitool shows it.
pub(super) fn firmware(device_id: &[u8]) -> Option<String> {
    let [major, minor] = device_id.get(2..4)?.try_into().ok()?;
    // The highest bit says that an update is going on; the minor number is in binary coded decimal.
    Some(format!("{}.{minor:02x}", major & 0x7f))
}

/// A GUID. Its bytes should come last one first; many BMCs give them as the firmware's tables do, and some in the order in
/// which they are written. The order is the one that makes it the machine's `uuid`, else one that makes it a UUID of a known
/// version, else the firmware's.
pub(super) fn guid(bytes: &[u8], uuid: Option<&str>) -> Option<String> {
    let raw: [u8; 16] = bytes.get(..16)?.try_into().ok()?;
    let mut reversed = raw;
    reversed.reverse();
    let texts = [uuid_text(raw, true), uuid_text(reversed, false), uuid_text(raw, false)];
    // Version and variant are the first digits of the third and the fourth group.
    let is_uuid = |text: &&String| {
        matches!(text.as_bytes().get(14), Some(b'1'..=b'5'))
            && matches!(text.as_bytes().get(19), Some(b'8' | b'9' | b'a' | b'b'))
    };
    let blank = [0x00, 0xff].iter().any(|b| raw.iter().all(|r| r == b));
    let is_machine = |text: &&String| uuid == Some(text.as_str());
    let text = texts.iter().find(is_machine).or_else(|| texts.iter().find(is_uuid)).or(texts.first())?;
    (!blank).then(|| text.clone())
}

/// Whether a channel is an Ethernet port.
pub(super) fn is_lan(channel_info: &[u8]) -> bool {
    channel_info.get(1).is_some_and(|medium| medium & 0x7f == MEDIUM_LAN)
}

/// A parameter's value: what follows its revision.
pub(super) fn value(parameter: &[u8]) -> &[u8] {
    parameter.get(1..).unwrap_or_default()
}

/// IPv4 address; zeros are none.
pub(super) fn ipv4(value: &[u8]) -> Option<Ipv4Addr> {
    let address = Ipv4Addr::from(<[u8; 4]>::try_from(value.get(..4)?).ok()?);
    (!address.is_unspecified()).then_some(address)
}

/// Where the IPv4 address comes from.
pub(super) fn source(value: &[u8]) -> Option<&'static str> {
    Some(match value.first()? & 0x0f {
        1 => "static",
        2 => "dhcp",
        3 => "bios",
        4 => "other",
        _ => return None,
    })
}

/// MAC in lower case with colons; zeros are none.
pub(super) fn mac(value: &[u8]) -> Option<String> {
    let mac = value.get(..6).filter(|mac| mac.iter().any(|b| *b != 0) && mac.iter().any(|b| *b != 0xff))?;
    Some(mac.iter().map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(":"))
}

/// Whether IPv6 is in use: alone or beside IPv4.
pub(super) fn uses_ipv6(value: &[u8]) -> bool {
    matches!(value.first(), Some(1 | 2))
}

/// How many static and dynamic IPv6 addresses there may be.
pub(super) fn ipv6_counts(value: &[u8]) -> (u8, u8) {
    (value.first().copied().unwrap_or(0), value.get(1).copied().unwrap_or(0))
}

/// An IPv6 address, static or dynamic, if it is in use: selector, source, address, prefix length, status.
pub(super) fn ipv6(value: &[u8]) -> Option<Ipv6Addr> {
    let address = Ipv6Addr::from(<[u8; 16]>::try_from(value.get(2..18)?).ok()?);
    let active = value.get(19).is_none_or(|status| *status == 0);
    (active && !address.is_unspecified()).then_some(address)
}

/// For the fuzzer: any answer of a service processor to any of the questions.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(bytes: &[u8]) {
    let _ = is_silence(bytes);
    for bytes in [bytes, data(bytes).ok().flatten().unwrap_or_default()] {
        let _ = (
            firmware(bytes),
            is_lan(bytes),
            guid(bytes, None),
            guid(bytes, Some("00112233-4455-6677-8899-aabbccddeeff")),
        );
        let value = value(bytes);
        let _ = (ipv4(value), source(value), uses_ipv6(value), ipv6_counts(value), ipv6(value));
        assert!(mac(value).is_none_or(|mac| mac.len() == 17));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn requests_as_the_standard_writes_them() {
        let bytes = |r: Request| [&[r.function, r.command], &r.data[..]].concat();
        assert_eq!(bytes(Request::device_id()), [0x06, 0x01]);
        assert_eq!(bytes(Request::channel_info(8)), [0x06, 0x42, 8]);
        assert_eq!(bytes(Request::identify(255)), [0x00, 0x04, 255]);
        assert_eq!(bytes(Request::lan(1, Lan::Mac, 0)), [0x0c, 0x02, 1, 5, 0, 0]);
        assert_eq!(bytes(Request::lan(1, Lan::Ipv6Dynamic, 3)), [0x0c, 0x02, 1, 0x3b, 3, 0]);
    }

    #[test]
    fn completion_codes() {
        assert_eq!(data(&[0, 1, 2]).unwrap(), Some(&[1, 2][..]));
        for refused in [0x80, 0xc1, 0xc9, 0xcc, 0xd4, 0xd5] {
            assert_eq!(data(&[refused]).unwrap(), None, "{refused:#x}");
        }
        for failed in [0xc0, 0xc3, 0xd2, 0xff] {
            assert!(data(&[failed]).unwrap_err().to_string().contains(&format!("{failed:#04x}")));
        }
        assert!(data(&[]).is_err());
    }

    #[test]
    fn device_ids() {
        // A Dell iDRAC 9 of firmware 5.10, and one that is just being updated.
        let idrac = [0x20, 0x81, 0x05, 0x10, 0x02, 0xdf, 0xa2, 0x02, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x00];
        assert_eq!(firmware(&idrac).as_deref(), Some("5.10"));
        assert_eq!(firmware(&[0x20, 0x01, 0x81, 0x03]).as_deref(), Some("1.03"));
        assert_eq!(firmware(&[0x20, 0x01, 0x81]), None);
    }

    #[test]
    fn guids() {
        let dell = *b"DELL\x4b\x00\x10\x54\x80\x4c\xb4\xc0\x4f\x56\x31\x33";
        assert_eq!(guid(&dell, None).as_deref(), Some("4c4c4544-004b-5410-804c-b4c04f563133"));
        // In each of the three orders; this one is no UUID in the others.
        let uuid = "6f9619ff-8b86-4c8e-b4ed-00c04fc964ff";
        let straight: [u8; 16] = u128::from_str_radix(&uuid.replace('-', ""), 16).unwrap().to_be_bytes();
        let mut reversed = straight;
        reversed.reverse();
        let mut firmware = straight;
        firmware[..4].reverse();
        firmware[4..6].reverse();
        firmware[6..8].reverse();
        for bytes in [straight, reversed, firmware] {
            assert_eq!(guid(&bytes, None).as_deref(), Some(uuid));
        }
        let guid = |bytes: &[u8]| guid(bytes, None);
        assert_eq!((guid(&[0; 16]), guid(&[0xff; 16]), guid(&dell[..15])), (None, None, None));
    }

    #[test]
    fn a_guid_has_the_order_that_makes_it_the_machine_s() {
        // In the order in which it is written; in the firmware's it would be a UUID too.
        let uuid = "6f9619ff-8b86-4c1e-b4ed-00c04fc964ff";
        let bytes = u128::from_str_radix(&uuid.replace('-', ""), 16).unwrap().to_be_bytes();
        let swapped = "ff19966f-868b-1e4c-b4ed-00c04fc964ff";
        assert_eq!(guid(&bytes, None).as_deref(), Some(swapped));
        assert_eq!(guid(&bytes, Some("4c4c4544-004b-5410-804c-b4c04f563133")).as_deref(), Some(swapped));
        assert_eq!(guid(&bytes, Some(uuid)).as_deref(), Some(uuid));
    }

    #[test]
    fn requests_about_channels() {
        assert_eq!((Request::channel_info(3).channel(), Request::lan(8, Lan::Mac, 0).channel()), (Some(3), Some(8)));
        assert_eq!((Request::device_id().channel(), Request::system_guid().channel()), (None, None));
        assert!(is_silence(&[0xc3]) && is_silence(&[0xff]) && !is_silence(&[0xc1]) && !is_silence(&[]));
    }

    #[test]
    fn lan_parameters() {
        assert!(is_lan(&[1, 0x04, 0x01, 0x80]) && !is_lan(&[0, 0x01]) && !is_lan(&[1]));
        assert_eq!(value(&[0x11, 10, 0, 1, 7]), [10, 0, 1, 7]);
        assert_eq!(ipv4(&[10, 0, 1, 7]).unwrap().to_string(), "10.0.1.7");
        assert_eq!((ipv4(&[0; 4]), ipv4(&[10, 0])), (None, None));
        assert_eq!(
            (source(&[0x02]), source(&[0xf1]), source(&[0]), source(&[])),
            (Some("dhcp"), Some("static"), None, None)
        );
        assert_eq!(mac(&[0xd0, 0x94, 0x66, 0, 0, 0x0f]).as_deref(), Some("d0:94:66:00:00:0f"));
        assert_eq!((mac(&[0; 6]), mac(&[0xff; 6]), mac(&[1; 5])), (None, None, None));
        assert!(uses_ipv6(&[2]) && uses_ipv6(&[1]) && !uses_ipv6(&[0]) && !uses_ipv6(&[]));
        assert_eq!((ipv6_counts(&[4, 15, 3]), ipv6_counts(&[])), ((4, 15), (0, 0)));
    }

    #[test]
    fn ipv6_addresses_in_use() {
        let address: Ipv6Addr = "fe80::d294:66ff:fe00:f".parse().unwrap();
        let mut value = [&[0, 0x80][..], &address.octets(), &[64, 0]].concat();
        assert_eq!(ipv6(&value), Some(address));
        value[19] = 1;
        assert_eq!(ipv6(&value), None, "it is disabled");
        assert_eq!(ipv6(&[0; 20]), None);
        assert_eq!(ipv6(&value[..10]), None);
    }

    proptest! {
        #[test]
        fn any_answer_is_read(answer in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = data(&answer);
            firmware(&answer);
            guid(&answer, None);
            is_lan(&answer);
            let value = value(&answer);
            ipv4(value);
            source(value);
            mac(value);
            uses_ipv6(value);
            ipv6_counts(value);
            ipv6(value);
        }
    }
}
