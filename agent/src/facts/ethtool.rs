//! What only a port's driver knows: permanent MAC, firmware, fastest mode, memory of a plugged module, whether the firmware
//! listens to LLDP. By the kernel's ethtool ioctl, which asks the driver and changes nothing. Each question may go
//! unanswered: then the value is absent. Beside the facts: the light of a port, which an operator may have blink.

use std::os::fd::{AsRawFd as _, OwnedFd};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use crate::ifreq;

/// Number of the ioctl that takes all ethtool commands.
const SIOCETHTOOL: libc::Ioctl = 0x8946;
/// Command: driver, firmware and bus information.
const GET_DRIVER_INFO: u32 = 0x03;
/// Command: names of a set.
const GET_STRINGS: u32 = 0x1b;
/// Command: the driver's own flags.
const GET_PRIVATE_FLAGS: u32 = 0x27;
/// Command: the port's light blinks for so many seconds; the call returns after them.
const BLINK: u32 = 0x1c;
/// Command: sizes of sets of names.
const GET_SET_SIZES: u32 = 0x37;
/// The set of the names of the driver's own flags.
const PRIVATE_FLAGS: u32 = 2;
/// Length of each name of a set in bytes.
const NAME_LEN: usize = 32;
/// Place of the first name of a set.
const NAMES: usize = 12;
/// Command: permanent hardware address.
const GET_PERMANENT_ADDRESS: u32 = 0x20;
/// Command: which kind of memory the module in the port's cage has.
const GET_MODULE_INFO: u32 = 0x42;
/// Command: a part of that memory.
const GET_MODULE_MEMORY: u32 = 0x43;
/// Length of the header before the bytes of the memory.
const MEMORY_HEADER: usize = 16;
/// Command: link settings with masks of any length.
const GET_LINK_SETTINGS: u32 = 0x4c;
/// Size of the buffer for a command and its answer, in 32-bit words: larger than any answer asked for here.
const WORDS: usize = 256;
/// Length of an Ethernet address in bytes.
const MAC_LEN: usize = 6;
/// Place of the firmware's version in the driver information.
const FIRMWARE: std::ops::Range<usize> = 68..100;
/// Place of the number of words in each link mode mask.
const MASK_WORDS: usize = 15;
/// Place of the first mask: the supported modes.
const SUPPORTED: usize = 48;

/// A command on its way to the kernel, its answer on the way back.
type Buffer = [u32; WORDS];

/// Flags by which drivers say that their firmware listens to LLDP, and the value with which it does: i40e, ice.
const LLDP_FLAGS: [(&str, bool); 2] = [("disable-fw-lldp", false), ("fw-lldp-agent", true)];

/// An LLDP agent in a port's firmware. One that is on keeps all LLDP frames from us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FirmwareLldp {
    /// The driver's flag for it.
    pub(super) flag: &'static str,
    /// The flag's value that switches it off.
    pub(super) off: &'static str,
    /// Whether it is on.
    pub(super) on: bool,
}

/// A socket for ethtool commands.
pub(super) struct Ethtool(OwnedFd);

impl Ethtool {
    /// Opens the socket.
    pub(super) fn open() -> nix::Result<Self> {
        socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None).map(Self)
    }

    /// The address that the hardware was made with, lower case with colons.
    pub(super) fn permanent_mac(&self, interface: &str) -> Option<String> {
        let mut buffer = command(GET_PERMANENT_ADDRESS);
        buffer[1] = 32;
        permanent_mac(&self.call(interface, buffer)?)
    }

    /// Version of the port's firmware.
    pub(super) fn firmware(&self, interface: &str) -> Option<String> {
        firmware(&self.call(interface, command(GET_DRIVER_INFO))?)
    }

    /// Speed of the fastest mode that the port supports, in Mbit/s.
    pub(super) fn max_mbps(&self, interface: &str) -> Option<u32> {
        // Asked with no room for masks, the kernel answers with the negated number of words that it needs.
        let sizes = self.call(interface, command(GET_LINK_SETTINGS))?;
        let words = sizes.get(MASK_WORDS)?.wrapping_neg();
        let mut buffer = command(GET_LINK_SETTINGS);
        buffer[MASK_WORDS / 4] = u32::from_ne_bytes([0, 0, 0, words]);
        max_mbps(&self.call(interface, buffer)?)
    }

    /// The LLDP agent in the port's firmware, if its driver knows of one.
    pub(super) fn lldp_agent(&self, interface: &str) -> Option<FirmwareLldp> {
        let mut sizes = command(GET_SET_SIZES);
        sizes[2] = 1 << PRIVATE_FLAGS;
        let sizes = self.call(interface, sizes)?;
        let count = usize::try_from(word(&sizes, 16)?).ok()?;
        // The kernel writes all names, whatever room there is.
        if count == 0 || NAMES + count * NAME_LEN > WORDS * 4 {
            return None;
        }
        let mut names = command(GET_STRINGS);
        names[1] = PRIVATE_FLAGS;
        let names = self.call(interface, names)?;
        let flags = self.call(interface, command(GET_PRIVATE_FLAGS))?;
        lldp_agent(&names, count, word(&flags, 4)?)
    }

    /// Kind of memory of the module in the port's cage, as the kernel numbers them.
    pub(super) fn module_memory(&self, interface: &str) -> Option<u32> {
        let answer = self.call(interface, command(GET_MODULE_INFO))?;
        Some(u32::from_ne_bytes(answer.get(4..8)?.try_into().ok()?))
    }

    /// `length` bytes of that memory; at most as many as fit into a buffer behind the header.
    pub(super) fn module_bytes(&self, interface: &str, offset: u32, length: usize) -> Option<Vec<u8>> {
        let mut buffer = command(GET_MODULE_MEMORY);
        let length = length.min(size_of::<Buffer>() - MEMORY_HEADER);
        buffer[2] = offset;
        buffer[3] = u32::try_from(length).ok()?;
        self.call(interface, buffer)?.get(MEMORY_HEADER..MEMORY_HEADER + length).map(<[u8]>::to_vec)
    }

    /// Sends the command for an interface; the answer's bytes, or `None` if the driver refuses.
    fn call(&self, interface: &str, buffer: Buffer) -> Option<Vec<u8>> {
        self.try_call(interface, buffer).ok()
    }

    /// The same with the kernel's reason.
    fn try_call(&self, interface: &str, mut buffer: Buffer) -> anyhow::Result<Vec<u8>> {
        let mut request = ifreq::request(interface)?;
        request.ifr_ifru.ifru_data = buffer.as_mut_ptr().cast();
        // SAFETY: the socket is open; `request` names its interface with a final NUL and points to `buffer`, which is
        // larger than any answer to the commands above and outlives the call.
        let result = unsafe { libc::ioctl(self.0.as_raw_fd(), SIOCETHTOOL, &raw mut request) };
        if result != 0 {
            return Err(std::io::Error::last_os_error().into());
        }
        Ok(buffer.iter().flat_map(|word| word.to_ne_bytes()).collect())
    }
}

/// The address that a port's hardware was made with, lower case with colons: in a bond it speaks from another one.
pub(crate) fn permanent_address(interface: &str) -> Option<String> {
    Ethtool::open().ok()?.permanent_mac(interface)
}

/// Has the light of a port blink, and returns after so many seconds. False where the driver has no light.
///
/// # Errors
/// Names the port and the kernel's reason.
pub(crate) fn light(interface: &str, seconds: u8) -> anyhow::Result<bool> {
    let mut buffer = command(BLINK);
    buffer[1] = seconds.into();
    match Ethtool::open().map_err(anyhow::Error::new).and_then(|ethtool| ethtool.try_call(interface, buffer)) {
        Ok(_) => Ok(true),
        Err(why) if is_unsupported(&why) => Ok(false),
        Err(why) => Err(why.context(format!("the light of {interface} does not blink"))),
    }
}

fn is_unsupported(why: &anyhow::Error) -> bool {
    why.downcast_ref::<std::io::Error>().and_then(std::io::Error::raw_os_error) == Some(libc::EOPNOTSUPP)
}

fn command(number: u32) -> Buffer {
    let mut buffer = [0; WORDS];
    buffer[0] = number;
    buffer
}

fn word(answer: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(answer.get(at..at + 4)?.try_into().ok()?))
}

/// What these flags say of an LLDP agent, with so many names in the answer to [`GET_STRINGS`].
fn lldp_agent(names: &[u8], count: usize, flags: u32) -> Option<FirmwareLldp> {
    let names = names.get(NAMES..)?.chunks_exact(NAME_LEN).take(count.min(32)).enumerate();
    names.into_iter().find_map(|(bit, name)| {
        let name = name.split(|b| *b == 0).next()?;
        let (flag, means_on) = LLDP_FLAGS.into_iter().find(|(flag, _)| flag.as_bytes() == name)?;
        let on = (flags >> bit & 1 == 1) == means_on;
        Some(FirmwareLldp { flag, off: if means_on { "off" } else { "on" }, on })
    })
}

/// Address in the answer to [`GET_PERMANENT_ADDRESS`]; zeros are what drivers without one give.
fn permanent_mac(answer: &[u8]) -> Option<String> {
    let size = u32::from_ne_bytes(answer.get(4..8)?.try_into().ok()?);
    let mac = answer.get(8..8 + MAC_LEN).filter(|mac| size == 6 && mac.iter().any(|b| *b != 0))?;
    Some(mac.iter().map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(":"))
}

/// Firmware version in the answer to [`GET_DRIVER_INFO`].
fn firmware(answer: &[u8]) -> Option<String> {
    let text = answer.get(FIRMWARE)?.split(|b| *b == 0).next()?;
    let text = String::from_utf8_lossy(text).trim().to_owned();
    (!text.is_empty() && text != "N/A").then_some(text)
}

/// Fastest of the supported modes in the answer to [`GET_LINK_SETTINGS`].
fn max_mbps(answer: &[u8]) -> Option<u32> {
    let bytes = usize::from(*answer.get(MASK_WORDS)?) * 4;
    let supported = answer.get(SUPPORTED..SUPPORTED + bytes)?;
    let words = supported.chunks_exact(4).filter_map(|w| Some(u32::from_ne_bytes(w.try_into().ok()?)));
    let bits = words.enumerate().flat_map(|(n, word)| {
        (0..32).filter(move |bit| word >> bit & 1 == 1).map(move |bit| n * 32 + usize::try_from(bit).unwrap_or(0))
    });
    bits.filter_map(mode_mbps).max()
}

/// Speed of a link mode by its number in the kernel's `enum ethtool_link_mode_bit_indices`; `None` for what is no
/// speed, such as pause or error correction.
fn mode_mbps(bit: usize) -> Option<u32> {
    Some(match bit {
        0 | 1 | 92 | 99..=101 => 10,
        2 | 3 | 67 | 90 | 91 => 100,
        4 | 5 | 17 | 41 | 68 => 1_000,
        15 | 47 => 2_500,
        48 => 5_000,
        12 | 18..=20 | 42..=46 => 10_000,
        21 | 22 => 20_000,
        31..=33 => 25_000,
        23..=26 => 40_000,
        34 | 35 | 40 | 52..=56 => 50_000,
        27..=30 => 56_000,
        36..=39 | 57..=61 | 75..=79 => 100_000,
        62..=66 | 80..=84 => 200_000,
        69..=73 | 85..=89 => 400_000,
        93..=98 => 800_000,
        _ => return None,
    })
}

/// For the fuzzer: an answer to any of the questions; the first byte is how many names it should have.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(bytes: &[u8]) {
    let Some((count, answer)) = bytes.split_first() else { return };
    let _ = (word(answer, 0), firmware(answer), max_mbps(answer), lldp_agent(answer, usize::from(*count), u32::MAX));
    assert!(permanent_mac(answer).is_none_or(|mac| mac.len() == 17));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_port_that_cannot_blink_is_named() {
        let error = format!("{:#}", light("no-such-port", 1).unwrap_err());
        assert!(error.contains("no-such-port") && error.contains("No such device"), "{error}");
    }

    #[test]
    fn permanent_address() {
        let mut answer = [GET_PERMANENT_ADDRESS.to_ne_bytes(), 6_u32.to_ne_bytes(), [0; 4], [0; 4]].concat();
        assert_eq!(permanent_mac(&answer), None);
        answer[8..14].copy_from_slice(&[0x52, 0x54, 0, 0xab, 0xcd, 0xef]);
        assert_eq!(permanent_mac(&answer).as_deref(), Some("52:54:00:ab:cd:ef"));
    }

    #[test]
    fn firmware_version() {
        let mut answer = vec![0; 196];
        assert_eq!(firmware(&answer), None);
        answer[68..72].copy_from_slice(b"N/A\0");
        assert_eq!(firmware(&answer), None);
        answer[68..74].copy_from_slice(b"1.8-0\0");
        assert_eq!(firmware(&answer).as_deref(), Some("1.8-0"));
    }

    #[test]
    fn an_lldp_agent_is_known_by_its_driver_s_flag() {
        let names = |list: &[&str]| {
            let mut answer = vec![0; NAMES + list.len() * NAME_LEN];
            for (name, place) in list.iter().zip(answer[NAMES..].chunks_exact_mut(NAME_LEN)) {
                place[..name.len()].copy_from_slice(name.as_bytes());
            }
            answer
        };
        let i40e = names(&["MFP", "total-port-shutdown", "LinkPolling", "flow-director-atr", "disable-fw-lldp"]);
        let agent = |flag, off, on| Some(FirmwareLldp { flag, off, on });
        assert_eq!(lldp_agent(&i40e, 5, 0), agent("disable-fw-lldp", "on", true));
        assert_eq!(lldp_agent(&i40e, 5, 1 << 4), agent("disable-fw-lldp", "on", false));
        let ice = names(&["link-down-on-close", "fw-lldp-agent"]);
        assert_eq!(lldp_agent(&ice, 2, 1 << 1), agent("fw-lldp-agent", "off", true));
        assert_eq!(lldp_agent(&ice, 2, 1), agent("fw-lldp-agent", "off", false));
        assert_eq!(lldp_agent(&ice, 1, u32::MAX), None);
        assert_eq!(lldp_agent(&names(&["rx_cqe_moder"]), 1, u32::MAX), None);
    }

    #[test]
    fn the_fastest_mode_counts() {
        let mut answer = vec![0; SUPPORTED + 3 * 12];
        answer[MASK_WORDS] = 3;
        let mut set = |bit: usize| {
            let word = SUPPORTED + bit / 32 * 4;
            let mut value = u32::from_ne_bytes(answer[word..word + 4].try_into().unwrap());
            value |= 1 << (bit % 32);
            answer[word..word + 4].copy_from_slice(&value.to_ne_bytes());
        };
        set(5);
        set(6);
        set(33);
        set(51);
        assert_eq!(max_mbps(&answer), Some(25_000));
        answer[MASK_WORDS] = 0;
        assert_eq!(max_mbps(&answer), None);
    }

    proptest! {
        #[test]
        fn any_answer_is_read(answer in prop::collection::vec(any::<u8>(), 0..300)) {
            permanent_mac(&answer);
            firmware(&answer);
            max_mbps(&answer);
            lldp_agent(&answer, answer.len(), 1);
        }
    }
}
