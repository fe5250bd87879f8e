//! SMBIOS tables as the kernel exports them: `/sys/firmware/dmi/tables`. Parsed from bytes; a short or malformed table
//! gives what stands before its fault.

use smbioslib::{
    BoardType, SMBiosBaseboardInformation, SMBiosData, SMBiosInformation, SMBiosIpmiDeviceInformation,
    SMBiosProcessorInformation, SMBiosString, SMBiosStruct, SMBiosSystemChassisInformation, SMBiosSystemInformation,
};
use wire::inventory::{Bios, Board, Chassis, System};

use crate::tree::Tree;

const TABLES: &str = "/sys/firmware/dmi/tables";
/// From this version on the first three fields of a UUID are little-endian.
const UUID_LITTLE_ENDIAN: (u8, u8) = (2, 6);
/// Highest bit of the chassis type: a lock is present.
const CHASSIS_LOCK: u8 = 0x80;
/// Place of the maximum speed (MHz, 16 bits) in a processor's structure, and of its status.
const PROCESSOR_MAX_SPEED: usize = 0x14;
/// What firmware writes into a release number that it does not support.
const NO_RELEASE: u8 = 0xff;

/// A machine's SMBIOS structures.
pub(super) struct Table {
    /// The structures.
    pub(super) data: SMBiosData,
    /// Version of the standard that the firmware claims.
    version: (u8, u8),
}

impl Table {
    /// The table that the firmware gave to the kernel; `None` where there is none.
    pub(super) fn read(tree: &Tree) -> Option<Self> {
        let entry = tree.bytes(format!("{TABLES}/smbios_entry_point")).unwrap_or_default();
        Some(Self::parse(&entry, tree.bytes(format!("{TABLES}/DMI"))?))
    }

    /// Parses the entry point and the table that it points to.
    pub(super) fn parse(entry: &[u8], table: Vec<u8>) -> Self {
        Self { data: SMBiosData::from_vec_and_version(table, None), version: version(entry).unwrap_or((3, 0)) }
    }

    fn first<'a, T: SMBiosStruct<'a> + 'a>(&'a self) -> Option<T> {
        self.data.defined_struct_iter::<T>().next()
    }

    /// Type 1.
    pub(super) fn system(&self) -> Option<System> {
        let found: SMBiosSystemInformation<'_> = self.first()?;
        let uuid = found.parts().get_field_data(0x08, 0x18).and_then(|raw| raw.try_into().ok());
        Some(System {
            manufacturer: text(&found.manufacturer()),
            product: text(&found.product_name()),
            version: text(&found.version()),
            serial: text(&found.serial_number()),
            uuid: uuid.map(|raw| uuid_text(raw, self.version >= UUID_LITTLE_ENDIAN)),
            sku: text(&found.sku_number()),
            family: text(&found.family()),
        })
    }

    /// Type 2: the main board, where a machine has several boards.
    pub(super) fn board(&self) -> Option<Board> {
        let boards: Vec<SMBiosBaseboardInformation<'_>> = self.data.defined_struct_iter().collect();
        let main = boards.iter().find(|b| b.board_type().is_some_and(|t| t.value == BoardType::Motherboard));
        let found = main.or_else(|| boards.first())?;
        Some(Board {
            manufacturer: text(&found.manufacturer()),
            product: text(&found.product()),
            version: text(&found.version()),
            serial: text(&found.serial_number()),
            asset: text(&found.asset_tag()),
        })
    }

    /// Type 38: the machine has a BMC.
    pub(super) fn names_bmc(&self) -> bool {
        self.first::<SMBiosIpmiDeviceInformation<'_>>().is_some()
    }

    /// Type 3.
    pub(super) fn chassis(&self) -> Option<Chassis> {
        let found: SMBiosSystemChassisInformation<'_> = self.first()?;
        Some(Chassis {
            manufacturer: text(&found.manufacturer()),
            kind: found.parts().get_field_byte(0x05).map(|raw| raw & !CHASSIS_LOCK),
            version: text(&found.version()),
            serial: text(&found.serial_number()),
            asset: text(&found.asset_tag_number()),
        })
    }

    /// Type 0.
    pub(super) fn bios(&self) -> Option<Bios> {
        let found: SMBiosInformation<'_> = self.first()?;
        let release = match (found.system_bios_major_release(), found.system_bios_minor_release()) {
            (Some(major), Some(minor)) if major != NO_RELEASE && minor != NO_RELEASE => {
                Some(format!("{major}.{minor}"))
            }
            _ => None,
        };
        Some(Bios {
            vendor: text(&found.vendor()),
            version: text(&found.version()),
            date: text(&found.release_date()),
            release,
        })
    }

    /// Type 4: highest speed of any processor in MHz.
    pub(super) fn processor_max_mhz(&self) -> Option<u32> {
        let speed = |p: SMBiosProcessorInformation<'_>| p.parts().get_field_word(PROCESSOR_MAX_SPEED);
        self.data.defined_struct_iter().filter_map(speed).map(u32::from).filter(|mhz| *mhz > 0).max()
    }
}

/// Trimmed text; `None` if there is none. Bytes that are no UTF-8 are replaced.
pub(super) fn text(string: &SMBiosString) -> Option<String> {
    let text = string.to_utf8_lossy()?;
    let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\0');
    (!text.is_empty()).then(|| text.to_owned())
}

/// Version of the standard in an entry point, 64 bits or 32 bits wide.
fn version(entry: &[u8]) -> Option<(u8, u8)> {
    let at = if entry.starts_with(b"_SM3_") {
        7
    } else if entry.starts_with(b"_SM_") {
        6
    } else {
        return None;
    };
    Some((*entry.get(at)?, *entry.get(at + 1)?))
}

/// A UUID as dmidecode and the kernel print it, in lower case.
pub(super) fn uuid_text(mut raw: [u8; 16], little_endian: bool) -> String {
    if little_endian {
        raw[0..4].reverse();
        raw[4..6].reverse();
        raw[6..8].reverse();
    }
    let hex: String = raw.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::facts::dimm;

    /// One structure: kind, handle, fields after the header, strings.
    pub(crate) fn structure(kind: u8, handle: u16, fields: &[u8], strings: &[&str]) -> Vec<u8> {
        let mut bytes = vec![kind, u8::try_from(fields.len() + 4).unwrap()];
        bytes.extend(handle.to_le_bytes());
        bytes.extend(fields);
        for string in strings {
            bytes.extend(string.as_bytes());
            bytes.push(0);
        }
        bytes.extend(if strings.is_empty() { &[0, 0][..] } else { &[0][..] });
        bytes
    }

    const ENTRY: &[u8] = b"_SM3_\x00\x18\x03\x02\x00\x01\x00";

    fn system() -> Vec<u8> {
        let mut fields = vec![1, 2, 0, 3];
        fields.extend((0..16_u8).map(|n| n * 0x11));
        fields.extend([6, 0, 0]);
        structure(1, 0x100, &fields, &["ACME ", "Box 9000", "SN-1"])
    }

    #[test]
    fn system_and_its_uuid() {
        let table = Table::parse(ENTRY, system());
        let found = table.system().unwrap();
        assert_eq!(found.manufacturer.as_deref(), Some("ACME"));
        assert_eq!(found.product.as_deref(), Some("Box 9000"));
        assert_eq!(found.version, None);
        assert_eq!(found.serial.as_deref(), Some("SN-1"));
        assert_eq!(found.uuid.as_deref(), Some("33221100-5544-7766-8899-aabbccddeeff"));
        let old = Table::parse(b"_SM_\x00\x1f\x02\x04", system());
        assert_eq!(old.system().unwrap().uuid.as_deref(), Some("00112233-4455-6677-8899-aabbccddeeff"));
    }

    #[test]
    fn placeholders_stay() {
        let mut fields = vec![1, 1, 1, 1];
        fields.extend([0xff; 16]);
        let table = Table::parse(ENTRY, structure(1, 1, &fields, &["To be filled by O.E.M."]));
        let found = table.system().unwrap();
        assert_eq!(found.serial.as_deref(), Some("To be filled by O.E.M."));
        assert_eq!(found.uuid.as_deref(), Some("ffffffff-ffff-ffff-ffff-ffffffffffff"));
    }

    #[test]
    fn the_main_board_of_several() {
        let board = |handle, kind, name| structure(2, handle, &[1, 0, 0, 0, 0, 0, 0, 0, 0, kind, 0], &[name]);
        let bytes = [board(1, 0x07, "riser"), board(2, 0x0a, "main")].concat();
        assert_eq!(Table::parse(ENTRY, bytes).board().unwrap().manufacturer.as_deref(), Some("main"));
    }

    #[test]
    fn chassis_without_its_lock_bit() {
        let table = Table::parse(ENTRY, structure(3, 1, &[0, 0x97, 0, 1, 2], &["C1", "A1"]));
        let found = table.chassis().unwrap();
        assert_eq!((found.kind, found.serial.as_deref(), found.asset.as_deref()), (Some(23), Some("C1"), Some("A1")));
    }

    #[test]
    fn what_firmware_gets_wrong_costs_only_that() {
        // A serial number in Latin-1; a version whose text is not there; as short as SMBIOS 2.0 has it, without uuid.
        let mut bytes = vec![1, 8, 0, 1, 1, 2, 9, 3];
        bytes.extend(b"ACME\0 Box\t\0S\xe9rie-7\0\0");
        // An array that claims more slots than there can be, one module of the largest size twice, one of unknown size.
        bytes.extend(structure(16, 0x1000, &[3, 3, 6, 0, 0, 0, 1, 0xfe, 0xff, 0xff, 0xff], &[]));
        bytes.extend(dimm::tests::sized(0x7fff, u32::MAX).repeat(2));
        bytes.extend(dimm::tests::sized(0xffff, 0));
        // Shorter than its own header: what follows cannot be found any more.
        bytes.extend([2, 3, 0, 2]);
        bytes.extend(structure(3, 3, &[1, 0x17, 0, 0, 0], &["C1"]));
        let table = Table::parse(ENTRY, bytes);
        let system = table.system().unwrap();
        let some = |text: &str| Some(text.to_owned());
        assert_eq!((system.manufacturer, system.product), (some("ACME"), some("Box")));
        assert_eq!((system.version, system.serial, system.uuid), (None, some("S\u{fffd}rie-7"), None));
        let memory = dimm::memory(&table);
        let sizes: Vec<_> = memory.dimms.iter().map(|module| module.size_bytes).collect();
        let largest = u64::from(u32::MAX >> 1) << 20;
        assert_eq!((memory.slots, sizes), (Some(3), vec![Some(largest), Some(largest), None]));
        assert_eq!(memory.installed_bytes, Some(2 * largest));
        assert_eq!((table.board(), table.chassis()), (None, None));
    }

    /// Reads all that is read of any table.
    fn read_all(table: &Table) {
        table.system();
        table.board();
        table.chassis();
        table.bios();
        table.processor_max_mhz();
        dimm::memory(table);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(entry in prop::collection::vec(any::<u8>(), 0..40),
                              table in prop::collection::vec(any::<u8>(), 0..400)) {
            read_all(&Table::parse(&entry, table));
        }

        /// Right structures with some bytes changed and the end cut: nearer to what firmware gets wrong.
        #[test]
        fn damaged_tables_are_read(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..12),
                                   cut in any::<prop::sample::Index>(), kind in 0..18_u8) {
            let fields: Vec<u8> = (0..90).map(|n| n % 5).collect();
            let mut bytes = [system(), dimm::tests::module(), structure(kind, 7, &fields, &["x", "y"])].concat();
            for (at, value) in changes {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
            bytes.truncate(cut.index(bytes.len() + 1));
            read_all(&Table::parse(ENTRY, bytes));
        }
    }
}
