//! Memory modules: SMBIOS types 16 and 17. Without SMBIOS nobody knows; what the kernel can use is read by `memory`.

use smbioslib::{SMBiosMemoryDevice, SMBiosPhysicalMemoryArray, SMBiosStruct};
use wire::inventory::{Dimm, Memory};

use super::collector::Found;
use super::smbios::{Table, text};
use crate::tree::Tree;

/// Use of a memory array: system memory. Others are the firmware's flash, video memory, caches.
const SYSTEM_MEMORY: u8 = 0x03;
/// A size of which nothing is known.
const UNKNOWN_SIZE: u16 = 0xffff;
/// The size stands in the extended field.
const EXTENDED_SIZE: u16 = 0x7fff;
/// The size is in KiB, not MiB.
const SIZE_IN_KIB: u16 = 0x8000;
/// The speed stands in the extended field.
const EXTENDED_SPEED: u16 = 0xffff;
/// Bits of the extended speeds that count.
const SPEED_MASK: u32 = 0x7fff_ffff;
const KIB: u64 = 1024;
const MIB: u64 = 1024 * 1024;

pub(super) fn collect(tree: &Tree) -> anyhow::Result<Found> {
    let memory = Table::read(tree).map(|table| memory(&table));
    Ok(Found::new(|stable, _| stable.memory = memory))
}

/// All slots for system memory and what is in them, in the firmware's order of slots.
pub(super) fn memory(table: &Table) -> Memory {
    let other_use = |array: &SMBiosPhysicalMemoryArray<'_>| {
        array.parts().get_field_byte(0x05).is_some_and(|usage| usage != SYSTEM_MEMORY)
    };
    let arrays = table.data.defined_struct_iter::<SMBiosPhysicalMemoryArray<'_>>();
    let others: Vec<_> = arrays.filter(other_use).map(|array| array.parts().header.handle().0).collect();
    let in_system = |slot: &SMBiosMemoryDevice<'_>| {
        slot.physical_memory_array_handle().is_none_or(|handle| !others.contains(&handle.0))
    };
    let slots: Vec<SMBiosMemoryDevice<'_>> = table.data.defined_struct_iter().filter(in_system).collect();
    let dimms: Vec<Dimm> = slots.iter().filter_map(dimm).collect();
    let installed = dimms.iter().filter_map(|d| d.size_bytes).fold(0, u64::saturating_add);
    Memory { installed_bytes: (installed > 0).then_some(installed), slots: u32::try_from(slots.len()).ok(), dimms }
}

/// A populated slot; `None` for an empty one.
fn dimm(slot: &SMBiosMemoryDevice<'_>) -> Option<Dimm> {
    let parts = slot.parts();
    let (word, dword) = (|at| parts.get_field_word(at), |at| parts.get_field_dword(at));
    let size = word(0x0c)?;
    if size == 0 {
        return None;
    }
    Some(Dimm {
        slot: text(&slot.device_locator()).unwrap_or_default(),
        bank: text(&slot.bank_locator()),
        size_bytes: size_bytes(size, dword(0x1c)),
        kind: parts.get_field_byte(0x12).and_then(kind).map(str::to_owned),
        form_factor: parts.get_field_byte(0x0e).and_then(form_factor).map(str::to_owned),
        speed_mts: speed(word(0x15), dword(0x54)),
        configured_mts: speed(word(0x20), dword(0x58)),
        manufacturer: text(&slot.manufacturer()),
        part: text(&slot.part_number()),
        serial: text(&slot.serial_number()),
        // The low four bits; 0 is unknown.
        ranks: slot.attributes().map(|attributes| attributes & 0x0f).filter(|ranks| *ranks > 0),
    })
}

fn size_bytes(size: u16, extended_mib: Option<u32>) -> Option<u64> {
    match size {
        UNKNOWN_SIZE => None,
        EXTENDED_SIZE => extended_mib.map(|mib| u64::from(mib & SPEED_MASK) * MIB),
        kib if kib & SIZE_IN_KIB != 0 => Some(u64::from(kib & !SIZE_IN_KIB) * KIB),
        mib => Some(u64::from(mib) * MIB),
    }
}

/// Mega-transfers per second; 0 is unknown.
fn speed(speed: Option<u16>, extended: Option<u32>) -> Option<u32> {
    let speed = match speed? {
        EXTENDED_SPEED => extended? & SPEED_MASK,
        speed => u32::from(speed),
    };
    (speed > 0).then_some(speed)
}

/// SMBIOS 3.7, table 78, as dmidecode prints it; `None` for other and unknown.
fn kind(raw: u8) -> Option<&'static str> {
    Some(match raw {
        0x03 => "DRAM",
        0x04 => "EDRAM",
        0x05 => "VRAM",
        0x06 => "SRAM",
        0x07 => "RAM",
        0x08 => "ROM",
        0x09 => "Flash",
        0x0f => "SDRAM",
        0x11 => "RDRAM",
        0x12 => "DDR",
        0x13 => "DDR2",
        0x14 => "DDR2 FB-DIMM",
        0x18 => "DDR3",
        0x19 => "FBD2",
        0x1a => "DDR4",
        0x1b => "LPDDR",
        0x1c => "LPDDR2",
        0x1d => "LPDDR3",
        0x1e => "LPDDR4",
        0x1f => "Logical non-volatile device",
        0x20 => "HBM",
        0x21 => "HBM2",
        0x22 => "DDR5",
        0x23 => "LPDDR5",
        0x24 => "HBM3",
        0x25 => "MRDIMM",
        _ => return None,
    })
}

/// SMBIOS 3.7, table 77, as dmidecode prints it; `None` for other and unknown.
fn form_factor(raw: u8) -> Option<&'static str> {
    Some(match raw {
        0x03 => "SIMM",
        0x04 => "SIP",
        0x05 => "Chip",
        0x06 => "DIP",
        0x07 => "ZIP",
        0x08 => "Proprietary Card",
        0x09 => "DIMM",
        0x0a => "TSOP",
        0x0b => "Row Of Chips",
        0x0c => "RIMM",
        0x0d => "SODIMM",
        0x0e => "SRIMM",
        0x0f => "FB-DIMM",
        0x10 => "Die",
        0x11 => "CAMM",
        0x12 => "CUDIMM",
        0x13 => "CSODIMM",
        _ => return None,
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::facts::smbios::tests::structure;

    /// Fields of a memory device in array `array`; `size` as the firmware encodes it.
    fn fields(array: u16, size: u16, extended: u32) -> Vec<u8> {
        let mut bytes = array.to_le_bytes().to_vec();
        bytes.extend([0xfe, 0xff, 72, 0, 64, 0]);
        bytes.extend(size.to_le_bytes());
        bytes.extend([0x09, 0, 1, 2, 0x1a, 0x80, 0]);
        bytes.extend(3200_u16.to_le_bytes());
        bytes.extend([3, 4, 0, 5, 0x02]);
        bytes.extend(extended.to_le_bytes());
        bytes.extend(2933_u16.to_le_bytes());
        bytes
    }

    pub(crate) fn module() -> Vec<u8> {
        sized(0x7fff, 65_536)
    }

    /// A module with these fields for its size.
    pub(crate) fn sized(size: u16, extended: u32) -> Vec<u8> {
        structure(17, 0x1100, &fields(0x1000, size, extended), &["DIMM A1", "Bank 0", "ACME", "SN1", "PN1 "])
    }

    #[test]
    fn modules_slots_and_flash() {
        let array = |handle, usage| structure(16, handle, &[3, usage, 6, 0, 0, 0, 1, 0xfe, 0xff, 2, 0], &[]);
        let slot = |handle, size| structure(17, handle, &fields(0x1000, size, 0), &["A2", "B", "M", "S", "P"]);
        let flash = structure(17, 0x1105, &fields(0x1001, 16, 0), &["ROM", "B", "M", "S", "P"]);
        let bytes =
            [array(0x1000, 3), array(0x1001, 5), module(), slot(0x1101, 0), slot(0x1102, 0x8200), flash].concat();
        let memory = memory(&Table::parse(b"", bytes));
        assert_eq!(memory.slots, Some(3));
        assert_eq!(memory.installed_bytes, Some(65_536 * MIB + 512 * KIB));
        let expected = Dimm {
            slot: "DIMM A1".into(),
            bank: Some("Bank 0".into()),
            size_bytes: Some(65_536 * MIB),
            kind: Some("DDR4".into()),
            form_factor: Some("DIMM".into()),
            speed_mts: Some(3200),
            configured_mts: Some(2933),
            manufacturer: Some("ACME".into()),
            part: Some("PN1".into()),
            serial: Some("SN1".into()),
            ranks: Some(2),
        };
        assert_eq!(memory.dimms.len(), 2);
        assert_eq!(memory.dimms[0], expected);
    }

    #[test]
    fn sizes_and_speeds() {
        assert_eq!(size_bytes(0xffff, Some(1)), None);
        assert_eq!(size_bytes(0x7fff, None), None);
        assert_eq!(size_bytes(16_384, None), Some(16_384 * MIB));
        assert_eq!(speed(Some(0), None), None);
        assert_eq!(speed(Some(0xffff), Some(70_000)), Some(70_000));
    }
}
