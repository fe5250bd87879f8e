//! ATA disks, also behind SAS controllers, by the translation of SAT: power mode, SMART status and data, and for solid
//! state disks the page of device statistics that tells their wear. A disk that sleeps is not woken, and SMART is not
//! switched on where it is off.

use wire::inventory::Health;

use super::sg::{Disk, Reply};

/// ATA PASS-THROUGH (16).
const PASS_THROUGH: u8 = 0x85;
/// Protocols.
const NO_DATA: u8 = 3;
const PIO_IN: u8 = 4;
/// Flags of the third byte: give the registers back; one block of 512 bytes from the disk.
const GIVE_REGISTERS: u8 = 0x20;
const ONE_BLOCK_IN: u8 = 0x0e;
/// Length of a block in bytes.
const BLOCK: usize = 512;

const CHECK_POWER_MODE: u8 = 0xe5;
const SMART: u8 = 0xb0;
const READ_LOG: u8 = 0x2f;
/// SMART's own commands.
const READ_DATA: u8 = 0xd0;
const RETURN_STATUS: u8 = 0xda;
/// Signature of SMART in the middle and high byte of the block number, and what a failing disk makes of it.
const SIGNATURE: (u8, u8) = (0x4f, 0xc2);
const FAILING: (u8, u8) = (0xf4, 0x2c);
/// Log of device statistics, and its page on solid state disks.
const STATISTICS: u8 = 0x04;
const SOLID_STATE: u8 = 7;

/// What a disk says of itself in its IDENTIFY data.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Abilities {
    /// SMART is there but off.
    smart_off: bool,
    /// It has logs.
    logs: bool,
    /// It does not spin.
    solid: bool,
}

impl Abilities {
    /// From the words of the IDENTIFY data; without them nothing is known to be off, and no log is asked for.
    pub(super) fn of(word: impl Fn(usize) -> Option<u16>) -> Self {
        // Words that say something have the two highest bits as 01.
        let marked = |n: usize| word(n).filter(|w| w >> 14 == 1);
        let smart_off = word(82).zip(word(85)).is_some_and(|(has, on)| has & 1 == 1 && on & 1 == 0);
        Self { smart_off, logs: marked(84).is_some_and(|w| w & 0x20 != 0), solid: word(217) == Some(1) }
    }
}

/// Health of a disk; `None` if it sleeps or does not tell whether it does.
///
/// # Errors
/// The disk does not answer.
pub(super) fn read(disk: &Disk, abilities: Abilities) -> anyhow::Result<Option<Health>> {
    let power = registers(&disk.ask(&command(NO_DATA, GIVE_REGISTERS, CHECK_POWER_MODE, 0, [0; 3]), 0)?);
    if abilities.smart_off || !power.is_some_and(|r| is_awake(r.count)) {
        return Ok(None);
    }
    let smart = |protocol, flags, feature, length| {
        disk.ask(&command(protocol, flags, SMART, feature, [0, SIGNATURE.0, SIGNATURE.1]), length)
    };
    let mut health =
        Health { passed: verdict(&smart(NO_DATA, GIVE_REGISTERS, RETURN_STATUS, 0)?), ..Health::default() };
    let data = smart(PIO_IN, ONE_BLOCK_IN, READ_DATA, BLOCK)?;
    if data.good {
        attributes(&data.data, &mut health);
    }
    if abilities.logs && abilities.solid {
        let page = disk.ask(&command(PIO_IN, ONE_BLOCK_IN, READ_LOG, 0, [STATISTICS, SOLID_STATE, 0]), BLOCK)?;
        health.used_percent = page.good.then(|| used(&page.data)).flatten();
    }
    Ok(Some(health))
}

/// Command block. `lba` is the low, middle and high byte of the block number. READ LOG is a command of 48 bits.
fn command(protocol: u8, flags: u8, command: u8, feature: u8, lba: [u8; 3]) -> [u8; 16] {
    let wide = u8::from(command == READ_LOG);
    let count = u8::from(protocol == PIO_IN);
    let [low, middle, high] = lba;
    [PASS_THROUGH, protocol << 1 | wide, flags, 0, feature, 0, count, 0, low, 0, middle, 0, high, 0, command, 0]
}

/// Registers of the disk after a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Registers {
    status: u8,
    count: u8,
    middle: u8,
    high: u8,
}

/// The registers in the sense data, in either of its two forms; `None` if there are none or the command failed.
fn registers(reply: &Reply) -> Option<Registers> {
    let sense = &reply.sense;
    let found = match sense.first()? & 0x7f {
        // Descriptors follow the header of 8 bytes; that of ATA has code 9 and 14 bytes.
        0x72 => {
            let mut rest = sense.get(8..)?;
            loop {
                let length = usize::from(*rest.get(1)?) + 2;
                if rest[0] == 0x09 {
                    break;
                }
                rest = rest.get(length..)?;
            }
            Registers { status: *rest.get(13)?, count: *rest.get(5)?, middle: *rest.get(9)?, high: *rest.get(11)? }
        }
        // Additional sense 00/1D says that the fixed fields are registers.
        0x70 if sense.get(12..14)? == [0x00, 0x1d] => {
            Registers { status: *sense.get(4)?, count: *sense.get(6)?, middle: *sense.get(10)?, high: *sense.get(11)? }
        }
        _ => return None,
    };
    // Lowest bit: error.
    (found.status & 1 == 0).then_some(found)
}

/// Power modes: all but the two of standby. A disk that sleeps deeper does not answer at all.
fn is_awake(mode: u8) -> bool {
    !matches!(mode, 0x00 | 0x01)
}

fn verdict(reply: &Reply) -> Option<bool> {
    match registers(reply).map(|r| (r.middle, r.high)) {
        Some(SIGNATURE) => Some(true),
        Some(FAILING) => Some(false),
        _ => None,
    }
}

/// Fills in what the table of attributes says: hours (9), reallocated sectors (5), temperature (194, else 190).
fn attributes(page: &[u8], health: &mut Health) {
    let sum = page.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
    if page.len() != BLOCK || sum != 0 {
        return;
    }
    // 30 entries of 12 bytes: id, two of flags, value, worst value, six of raw value.
    let raw = |id: u8| {
        let entry = page.get(2..362)?.chunks_exact(12).find(|entry| entry[0] == id)?;
        Some([entry[5], entry[6], entry[7], entry[8]])
    };
    // Makers pack other things into the upper bytes: minutes into those of the hours, extremes into those of the heat.
    health.hours = raw(9).map(|[a, b, c, _]| u64::from(u32::from_le_bytes([a, b, c, 0])));
    health.media_errors = raw(5).map(|bytes| u64::from(u32::from_le_bytes(bytes)));
    let degrees = |[low, ..]: [u8; 4]| i32::from(i8::from_le_bytes([low]));
    health.temperature_c = raw(194).or_else(|| raw(190)).map(degrees).filter(|c| *c != 0);
}

/// Per cent of the rated endurance used.
fn used(page: &[u8]) -> Option<u32> {
    // Version of the page in two bytes, its number, then values of eight bytes of which the last has flags: 0x80 there is
    // such a value, 0x40 it is valid.
    let valid = *page.get(2)? == SOLID_STATE && page.get(15)? & 0xc0 == 0xc0;
    valid.then(|| u32::from(page[8]))
}

/// For the fuzzer: sense data, a page, or words of identification.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(bytes: &[u8]) {
    let reply = Reply { good: true, data: bytes.to_vec(), sense: bytes.to_vec() };
    let _ = (registers(&reply).map(|r| is_awake(r.count)), verdict(&reply), used(bytes));
    let _ = Abilities::of(|n| Some(u16::from_le_bytes([*bytes.get(2 * n)?, *bytes.get(2 * n + 1)?])));
    let mut health = Health::default();
    attributes(bytes, &mut health);
    if let Some(page) = bytes.first_chunk::<BLOCK>() {
        // No fuzzer guesses a sum.
        let mut page = *page;
        page[BLOCK - 1] = page[..BLOCK - 1].iter().fold(0_u8, |sum, byte| sum.wrapping_sub(*byte));
        attributes(&page, &mut health);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Sense data with descriptors, as libata gives them after CHECK POWER MODE of an idle disk.
    const IDLE: [u8; 22] = [0x72, 0x01, 0, 0x1d, 0, 0, 0, 14, 0x09, 0x0c, 0, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0x40, 0x50];

    fn reply(sense: &[u8]) -> Reply {
        Reply { sense: sense.to_vec(), ..Reply::default() }
    }

    #[test]
    fn commands_as_the_standard_writes_them() {
        let check = command(NO_DATA, GIVE_REGISTERS, CHECK_POWER_MODE, 0, [0; 3]);
        assert_eq!(check, [0x85, 0x06, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xe5, 0]);
        let data = command(PIO_IN, ONE_BLOCK_IN, SMART, READ_DATA, [0, 0x4f, 0xc2]);
        assert_eq!(data, [0x85, 0x08, 0x0e, 0, 0xd0, 0, 1, 0, 0, 0, 0x4f, 0, 0xc2, 0, 0xb0, 0]);
        let log = command(PIO_IN, ONE_BLOCK_IN, READ_LOG, 0, [STATISTICS, SOLID_STATE, 0]);
        assert_eq!(log, [0x85, 0x09, 0x0e, 0, 0, 0, 1, 0, 4, 0, 7, 0, 0, 0, 0x2f, 0]);
    }

    #[test]
    fn power_modes_in_both_forms() {
        assert!(is_awake(registers(&reply(&IDLE)).unwrap().count));
        let mut asleep = IDLE;
        asleep[13] = 0;
        assert!(!is_awake(registers(&reply(&asleep)).unwrap().count));
        let mut failed = IDLE;
        failed[21] = 0x51;
        assert_eq!(registers(&reply(&failed)), None);
        let fixed = [0x70, 0, 1, 0, 0x50, 0x40, 0xff, 10, 0, 0, 0, 0, 0, 0x1d, 0, 0, 0, 0];
        assert!(is_awake(registers(&reply(&fixed)).unwrap().count));
        // A refusal (illegal request) has no registers.
        assert_eq!(registers(&reply(&[0x70, 0, 5, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x20, 0, 0, 0, 0, 0])), None);
        assert_eq!(registers(&reply(&[])), None);
    }

    #[test]
    fn verdicts() {
        let mut sense = IDLE;
        (sense[17], sense[19]) = SIGNATURE;
        assert_eq!(verdict(&reply(&sense)), Some(true));
        (sense[17], sense[19]) = FAILING;
        assert_eq!(verdict(&reply(&sense)), Some(false));
        assert_eq!(verdict(&reply(&IDLE)), None);
    }

    /// A page of SMART data with these attributes: id and raw value.
    fn page(raw: &[(u8, [u8; 6])]) -> Vec<u8> {
        let mut page = vec![0; BLOCK];
        page[0] = 0x10;
        for (n, (id, raw)) in raw.iter().enumerate() {
            let at = 2 + n * 12;
            page[at] = *id;
            page[at + 3..at + 5].copy_from_slice(&[100, 99]);
            page[at + 5..at + 11].copy_from_slice(raw);
        }
        page[511] = page.iter().fold(0_u8, |sum, byte| sum.wrapping_sub(*byte));
        page
    }

    #[test]
    fn attributes_of_a_disk_in_service() {
        // Minutes above the hours, lowest and highest temperature above the present one.
        let table = page(&[
            (5, [16, 0, 0, 0, 0, 0]),
            (9, [0x23, 0x47, 0, 0x1f, 0x2e, 0]),
            (190, [99, 0, 0, 0, 0, 0]),
            (194, [38, 0, 12, 0, 51, 0]),
        ]);
        let mut health = Health::default();
        attributes(&table, &mut health);
        let expected =
            Health { hours: Some(0x4723), temperature_c: Some(38), media_errors: Some(16), ..Health::default() };
        assert_eq!(health, expected);
        let mut health = Health::default();
        attributes(&page(&[(190, [31, 0, 0, 0, 0, 0])]), &mut health);
        assert_eq!((health.temperature_c, health.hours), (Some(31), None));
        let mut broken = table;
        broken[20] ^= 1;
        let mut health = Health::default();
        attributes(&broken, &mut health);
        assert_eq!(health, Health::default(), "its sum is wrong");
    }

    #[test]
    fn wear_by_device_statistics() {
        let mut page = vec![0; BLOCK];
        page[..3].copy_from_slice(&[1, 0, 7]);
        page[8] = 12;
        assert_eq!(used(&page), None, "not supported");
        page[15] = 0xc0;
        assert_eq!(used(&page), Some(12));
        page[2] = 1;
        assert_eq!(used(&page), None, "another page");
    }

    #[test]
    fn abilities_by_identify_data() {
        let words = |w82, w84, w85, w217| {
            move |n: usize| match n {
                82 => Some(w82),
                84 => Some(w84),
                85 => Some(w85),
                217 => Some(w217),
                _ => None,
            }
        };
        let all = Abilities { smart_off: false, logs: true, solid: true };
        assert_eq!(Abilities::of(words(1, 0x4020, 1, 1)), all);
        assert!(Abilities::of(words(1, 0x4020, 0, 1)).smart_off);
        // A word whose mark is missing says nothing.
        assert_eq!(Abilities::of(words(0, 0x0020, 0, 7200)), Abilities::default());
        assert_eq!(Abilities::of(|_| None), Abilities::default());
    }

    proptest! {
        #[test]
        fn any_answer_is_read(sense in prop::collection::vec(any::<u8>(), 0..64), page in prop::collection::vec(any::<u8>(), 0..600)) {
            let descriptors = [&[0x72, 1, 0, 0x1d, 0, 0, 0, 14][..], &sense].concat();
            registers(&reply(&descriptors));
            verdict(&reply(&sense));
            attributes(&page, &mut Health::default());
            used(&page);
        }
    }
}
