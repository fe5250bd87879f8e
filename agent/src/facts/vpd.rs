//! Vital product data pages of SCSI disks, as sysfs gives them: the serial number (page 0x80) and, for ATA disks behind
//! the kernel's translation, the IDENTIFY data (page 0x89), whose model is not cut to SCSI's 16 letters.

/// Length of a page's header in bytes.
const HEADER: usize = 4;
/// Page code of the unit serial number.
const SERIAL_PAGE: u8 = 0x80;
/// Page code of the ATA information.
const ATA_PAGE: u8 = 0x89;
/// Place of the IDENTIFY data within the ATA page.
const IDENTIFY: usize = 60;

/// What an ATA disk says of itself.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct AtaIdentity {
    /// Serial number.
    pub(super) serial: Option<String>,
    /// Firmware revision.
    pub(super) firmware: Option<String>,
    /// Model.
    pub(super) model: Option<String>,
}

/// Serial number of page 0x80.
pub(super) fn serial(page: &[u8]) -> Option<String> {
    trimmed(page_body(page, SERIAL_PAGE)?)
}

/// Strings of page 0x89.
pub(super) fn ata_identity(page: &[u8]) -> Option<AtaIdentity> {
    page_body(page, ATA_PAGE)?;
    let words = |first: usize, last: usize| {
        let bytes = page.get(IDENTIFY + first * 2..IDENTIFY + (last + 1) * 2)?;
        // ATA strings have the two letters of each word swapped.
        let swapped: Vec<u8> = bytes.chunks_exact(2).flat_map(|pair| [pair[1], pair[0]]).collect();
        trimmed(&swapped)
    };
    Some(AtaIdentity { serial: words(10, 19), firmware: words(23, 26), model: words(27, 46) })
}

/// Word `n` of the IDENTIFY data in page 0x89.
pub(super) fn identify_word(page: &[u8], n: usize) -> Option<u16> {
    page_body(page, ATA_PAGE)?;
    let bytes = page.get(IDENTIFY + n * 2..IDENTIFY + n * 2 + 2)?;
    Some(u16::from_le_bytes(bytes.try_into().ok()?))
}

/// What follows the header of a page with this code.
fn page_body(page: &[u8], code: u8) -> Option<&[u8]> {
    let (header, body) = page.split_at_checked(HEADER)?;
    let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
    (header[1] == code).then(|| body.get(..length).unwrap_or(body))
}

fn trimmed(bytes: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\0');
    (!text.is_empty()).then(|| text.to_owned())
}

/// For the fuzzer.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(bytes: &[u8]) {
    let identity = ata_identity(bytes).unwrap_or_default();
    let texts = [serial(bytes), identity.serial, identity.firmware, identity.model];
    assert!(texts.iter().flatten().all(|text| !text.is_empty() && text.trim() == text), "{texts:?}");
    let _ = (0..300).filter_map(|word| identify_word(bytes, word)).count();
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn serial_page() {
        assert_eq!(serial(b"\x00\x80\x00\x08  SER-1 rest").as_deref(), Some("SER-1"));
        assert_eq!(serial(b"\x00\x80\x00\xffSER-1").as_deref(), Some("SER-1"));
        assert_eq!(serial(b"\x00\x83\x00\x05SER-1"), None);
        assert_eq!(serial(b"\x00\x80\x00\x03   "), None);
    }

    #[test]
    fn ata_strings_are_swapped_back() {
        let mut page = vec![0; IDENTIFY + 512];
        page[..4].copy_from_slice(&[0, ATA_PAGE, 2, 0x38]);
        page[IDENTIFY + 20..IDENTIFY + 24].copy_from_slice(b"MQ01");
        page[IDENTIFY + 54..IDENTIFY + 60].copy_from_slice(b"EQUMH ");
        let found = ata_identity(&page).unwrap();
        assert_eq!(found.serial.as_deref(), Some("QM10"));
        assert_eq!(found.model.as_deref(), Some("QEMU H"));
        assert_eq!(found.firmware, None);
        page[IDENTIFY + 434] = 1;
        assert_eq!((identify_word(&page, 217), identify_word(&page, 256)), (Some(1), None));
    }

    proptest! {
        #[test]
        fn any_page_is_read(mut page in prop::collection::vec(any::<u8>(), 0..600), ata in any::<bool>()) {
            if page.len() > 1 {
                page[1] = if ata { ATA_PAGE } else { SERIAL_PAGE };
            }
            serial(&page);
            ata_identity(&page);
            identify_word(&page, 217);
        }
    }
}
