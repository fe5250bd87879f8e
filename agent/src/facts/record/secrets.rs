//! Which values of a recording tell whose machine it is: serial numbers, UUIDs, asset tags, MACs, WWNs, InfiniBand's
//! port numbers and numbers of display controllers.

use std::sync::LazyLock;

use regex_lite::Regex;
use smbioslib::SMBiosData;

use super::super::{gpu, vpd};
use super::entry::Entry;
use super::mask::Mask;

/// Files of the firmware whose text is a serial number or asset tag.
const TAGS: [&str; 5] = ["product_serial", "board_serial", "chassis_serial", "board_asset_tag", "chassis_asset_tag"];
/// Files whose text is a hexadecimal number of a machine or a part, with the number of digits that name its maker.
const NUMBERS: [(&str, usize); 6] = [
    ("product_uuid", 0),
    ("uuid", 0),
    ("nguid", 6),
    ("eui", 6),
    ("wwid", MAKER_OF_A_WWN),
    ("sas_address", MAKER_OF_A_WWN),
];
/// Digits of a WWN that name its maker: its kind, and a maker's number of 24 bits.
const MAKER_OF_A_WWN: usize = 7;
/// Digits of a MAC that name its maker.
const MAKER_OF_A_MAC: usize = 6;
/// Kinds of SMBIOS structure that facts are read from, and the places of their serial numbers and asset tags.
const STRUCTURES: [(u8, &[usize]); 8] = [
    (0, &[]),
    (1, &[0x07]),
    (2, &[0x07, 0x08]),
    (3, &[0x07, 0x08]),
    (4, &[0x20, 0x21]),
    (16, &[]),
    (17, &[0x18, 0x19]),
    (38, &[]),
];

/// What stands before the MAC that a boot loader names: Ethernet's hardware type.
const BOOT_LOADERS: &str = "BOOTIF=01-";

/// An address as the kernel writes it: Ethernet's of 6 bytes, or InfiniBand's of 20.
static ADDRESS: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new("(?i)\\b[0-9a-f]{2}(:[0-9a-f]{2}){5,}\\b").ok());
/// Letters of an InfiniBand address.
const INFINIBAND: usize = 59;
/// Letters of such an address before the port's own number of 8 bytes: queue pair and subnet.
const BEFORE_A_PORT: usize = 36;

/// Whether facts are read from SMBIOS structures of this kind.
pub(super) fn is_read(kind: u8) -> bool {
    STRUCTURES.iter().any(|(of, _)| *of == kind)
}

/// Hides what tells machines apart.
pub(super) fn find(entries: &[Entry], mask: &mut Mask) {
    for entry in entries {
        let Some(bytes) = entry.bytes() else { continue };
        let (name, text) = (entry.name(), String::from_utf8_lossy(bytes));
        match name {
            "DMI" => smbios(bytes, mask),
            "vpd_pg80" => vpd::serial(bytes).iter().for_each(|serial| mask.hide(serial)),
            "vpd_pg89" => {
                let serial = vpd::ata_identity(bytes).and_then(|identity| identity.serial);
                serial.iter().for_each(|serial| mask.hide(serial));
            }
            "cmdline" => {
                let of_the_port = text.trim().strip_prefix(BOOT_LOADERS);
                of_the_port.iter().for_each(|mac| mask.hide_number(mac, MAKER_OF_A_MAC));
            }
            "serial" if is_on_path(text.trim(), entry) => {}
            "serial" | "serial_number" | "unique_id" => mask.hide(&text),
            "information" => {
                let uuid = gpu::uuid(&text);
                uuid.iter().for_each(|uuid| number(uuid.trim_start_matches("GPU-"), 0, mask));
            }
            _ if TAGS.contains(&name) => mask.hide_tag(&text),
            _ => {}
        }
        if let Some((_, keep)) = NUMBERS.iter().find(|(file, _)| *file == name) {
            number(text.trim(), *keep, mask);
        }
        for address in ADDRESS.iter().flat_map(|address| address.find_iter(&text)).map(|found| found.as_str()) {
            let own = if address.len() == INFINIBAND { &address[BEFORE_A_PORT..] } else { address };
            mask.hide_number(own, MAKER_OF_A_MAC);
        }
    }
}

/// A USB root hub gives its controller's address on the PCI bus as its serial number: a folder above it.
fn is_on_path(serial: &str, entry: &Entry) -> bool {
    entry.path.split('/').any(|folder| folder == serial)
}

/// A number with the word of its kind before it, such as `naa.` or `0x`. Names that contain serial numbers are none.
fn number(text: &str, keep: usize, mask: &mut Mask) {
    let digits = text.rsplit_once('.').map_or(text, |(_, digits)| digits).trim_start_matches("0x");
    if digits.chars().all(|letter| letter.is_ascii_hexdigit() || letter == '-') {
        mask.hide_number(digits, keep);
    }
}

fn smbios(table: &[u8], mask: &mut Mask) {
    let data = SMBiosData::from_vec_and_version(table.to_vec(), None);
    for structure in data.iter() {
        let kind = structure.header.struct_type();
        for place in STRUCTURES.iter().filter(|(of, _)| *of == kind).flat_map(|(_, places)| *places) {
            if let Some(text) = super::super::smbios::text(&structure.get_field_string(*place)) {
                mask.hide_tag(&text);
            }
        }
    }
}
