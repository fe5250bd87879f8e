//! SCSI and SAS disks: log pages (SPC, SBC). Asking for them reads no medium and wakes no disk. Only pages that the disk
//! lists are asked for.

use wire::inventory::Health;

use super::sg::Disk;

/// Command LOG SENSE, with the cumulative values (the second bit pair of the third byte is 01).
const LOG_SENSE: u8 = 0x4d;
const CUMULATIVE: u8 = 0x40;
/// Room for a page: larger than any of those asked for.
const ROOM: u16 = 1024;

/// Pages by their numbers.
const SUPPORTED: u8 = 0x00;
const WRITE_ERRORS: u8 = 0x02;
const READ_ERRORS: u8 = 0x03;
const VERIFY_ERRORS: u8 = 0x05;
const TEMPERATURE: u8 = 0x0d;
const SOLID_STATE: u8 = 0x11;
const BACKGROUND_SCAN: u8 = 0x15;
const EXCEPTIONS: u8 = 0x2f;

/// Health of a disk; `None` if it keeps no log.
///
/// # Errors
/// The disk does not answer.
pub(super) fn read(disk: &Disk) -> anyhow::Result<Option<Health>> {
    let Some(list) = page(disk, SUPPORTED)? else { return Ok(None) };
    let mut health = Health::default();
    for number in supported(&list) {
        if READERS.iter().any(|(known, _)| *known == number)
            && let Some(page) = page(disk, number)?
        {
            add(number, &page, &mut health);
        }
    }
    Ok(Some(health))
}

/// A page, if the disk gives it.
fn page(disk: &Disk, number: u8) -> anyhow::Result<Option<Vec<u8>>> {
    let [high, low] = ROOM.to_be_bytes();
    let reply = disk.ask(&[LOG_SENSE, 0, CUMULATIVE | number, 0, 0, 0, 0, high, low, 0], usize::from(ROOM))?;
    // The first byte repeats the page's number.
    Ok((reply.good && reply.data.first().is_some_and(|code| code & 0x3f == number)).then_some(reply.data))
}

/// Numbers in the list of supported pages.
fn supported(list: &[u8]) -> Vec<u8> {
    body(list).iter().map(|number| number & 0x3f).collect()
}

/// What follows a page's header, as long as the header says.
fn body(page: &[u8]) -> &[u8] {
    let Some((header, rest)) = page.split_at_checked(4) else { return &[] };
    rest.get(..usize::from(u16::from_be_bytes([header[2], header[3]]))).unwrap_or(rest)
}

/// Value of a parameter of a page.
fn parameter(page: &[u8], wanted: u16) -> Option<&[u8]> {
    let mut rest = body(page);
    loop {
        let (header, more) = rest.split_at_checked(4)?;
        let (value, next) = more.split_at_checked(usize::from(header[3]))?;
        if u16::from_be_bytes([header[0], header[1]]) == wanted {
            return Some(value);
        }
        rest = next;
    }
}

/// Stores what a page says.
type Reader = fn(&[u8], &mut Health);

const READERS: [(u8, Reader); 7] = [
    (WRITE_ERRORS, errors),
    (READ_ERRORS, errors),
    (VERIFY_ERRORS, errors),
    (TEMPERATURE, temperature),
    (SOLID_STATE, endurance),
    (BACKGROUND_SCAN, hours),
    (EXCEPTIONS, verdict),
];

fn add(number: u8, page: &[u8], health: &mut Health) {
    if let Some((_, reader)) = READERS.iter().find(|(known, _)| *known == number) {
        reader(page, health);
    }
}

/// Errors that could not be corrected (parameter 6), of reading, writing and verifying together.
fn errors(page: &[u8], health: &mut Health) {
    let count = parameter(page, 6).filter(|value| value.len() <= 8);
    let count = count.map(|value| value.iter().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte)));
    if let Some(count) = count {
        health.media_errors = Some(health.media_errors.unwrap_or(0).saturating_add(count));
    }
}

/// Parameter 0: a reserved byte and degrees; 255 is unknown.
fn temperature(page: &[u8], health: &mut Health) {
    let degrees = parameter(page, 0).and_then(|value| value.get(1)).filter(|c| **c != 0xff);
    health.temperature_c = degrees.map(|c| i32::from(*c)).or(health.temperature_c);
}

/// Parameter 1: per cent of the rated endurance in the last of four bytes.
fn endurance(page: &[u8], health: &mut Health) {
    health.used_percent = parameter(page, 1).and_then(|value| value.get(3)).map(|used| u32::from(*used));
}

/// Parameter 0: minutes under power.
fn hours(page: &[u8], health: &mut Health) {
    let minutes = parameter(page, 0).and_then(|value| value.get(..4)?.try_into().ok()).map(u32::from_be_bytes);
    health.hours = minutes.map(|minutes| u64::from(minutes) / 60);
}

/// Parameter 0: additional sense code; 5D is a failure that is to be expected, 0B a warning, 00 neither.
fn verdict(page: &[u8], health: &mut Health) {
    let Some(value) = parameter(page, 0) else { return };
    health.passed = match value.first() {
        Some(0x00) => Some(true),
        Some(0x0b | 0x5d) => Some(false),
        _ => None,
    };
    // Third byte: degrees, where the page of temperatures is missing; 0 and 255 are unknown.
    let degrees = value.get(2).filter(|c| !matches!(c, 0 | 0xff)).map(|c| i32::from(*c));
    health.temperature_c = health.temperature_c.or(degrees);
}

/// For the fuzzer: a page under every number, and twice, since counts of several pages are added up.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(bytes: &[u8]) {
    assert!(supported(bytes).len() <= bytes.len());
    let mut health = Health::default();
    for (number, _) in READERS.into_iter().chain(READERS) {
        add(number, bytes, &mut health);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A page with these parameters.
    fn made(number: u8, parameters: &[(u16, &[u8])]) -> Vec<u8> {
        let body: Vec<u8> = parameters
            .iter()
            .flat_map(|(code, value)| {
                let length = u8::try_from(value.len()).unwrap();
                [&code.to_be_bytes()[..], &[0x03, length], value].concat()
            })
            .collect();
        [&[number, 0][..], &u16::try_from(body.len()).unwrap().to_be_bytes(), &body].concat()
    }

    fn health(pages: &[(u8, Vec<u8>)]) -> Health {
        let mut health = Health::default();
        pages.iter().for_each(|(number, page)| add(*number, page, &mut health));
        health
    }

    #[test]
    fn a_disk_that_tells_all() {
        let counters = |uncorrected: &[u8]| made(0, &[(0, &[0; 4]), (3, &[0, 0, 1, 0]), (6, uncorrected)]);
        let found = health(&[
            (WRITE_ERRORS, counters(&[0, 0, 0, 0, 0, 0, 0, 1])),
            (READ_ERRORS, counters(&[0, 0, 1, 0])),
            (TEMPERATURE, made(TEMPERATURE, &[(0, &[0, 34]), (1, &[0, 68])])),
            (SOLID_STATE, made(SOLID_STATE, &[(1, &[0, 0, 0, 3])])),
            (BACKGROUND_SCAN, made(BACKGROUND_SCAN, &[(0, &[0, 0x10, 0xb0, 0x7c, 0, 8, 0, 0, 0, 0, 0, 0])])),
            (EXCEPTIONS, made(EXCEPTIONS, &[(0, &[0x5d, 0x10, 35])])),
        ]);
        let expected = Health {
            passed: Some(false),
            hours: Some(0x0010_b07c / 60),
            temperature_c: Some(34),
            used_percent: Some(3),
            media_errors: Some(257),
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn a_disk_that_tells_little() {
        let found = health(&[(EXCEPTIONS, made(EXCEPTIONS, &[(0, &[0, 0, 29])]))]);
        let expected = Health { passed: Some(true), temperature_c: Some(29), ..Health::default() };
        assert_eq!(found, expected);
        assert_eq!(health(&[(TEMPERATURE, made(TEMPERATURE, &[(0, &[0, 0xff])]))]), Health::default());
    }

    #[test]
    fn the_list_of_pages() {
        assert_eq!(supported(&[0, 0, 0, 3, 0x00, 0x0d, 0x2f, 0xff]), [0x00, 0x0d, 0x2f]);
        assert_eq!(supported(&[0, 0, 0]), [0; 0]);
    }

    proptest! {
        #[test]
        fn any_page_is_read(page in prop::collection::vec(any::<u8>(), 0..200)) {
            supported(&page);
            for (number, _) in READERS {
                add(number, &page, &mut Health::default());
            }
        }
    }
}
