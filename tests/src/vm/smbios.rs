//! Raw SMBIOS tables for `-smbios file=`, where QEMU's own options know only one memory module.
//!
//! Layout: SMBIOS 3.7, sections 7.17 (memory array, type 16) and 7.18 (memory device, type 17). Numbers are little-endian.

use super::spec::Dimm;

/// Handle of the memory array, where QEMU has it too.
const ARRAY: u16 = 0x1000;
/// Handle of the first memory device.
const DEVICES: u16 = 0x1100;
/// Sizes from here on do not fit the 15 bits of the old size field, in MiB.
const EXTENDED: u32 = 0x7fff;

/// Table of the memory array: how many slots there are and how much they hold.
#[must_use]
pub fn memory_array(dimms: &[Dimm]) -> Vec<u8> {
    let mut table = Table::new(16, ARRAY);
    let bytes: u64 = dimms.iter().map(|d| u64::from(d.size_mib) << 20).sum();
    table.u8(3); // location: system board
    table.u8(3); // use: system memory
    table.u8(6); // error correction: multi-bit ECC
    table.u32(0x8000_0000); // capacity is in the extended field
    table.u16(0xfffe); // no error information
    table.u16(u16::try_from(dimms.len()).unwrap_or(u16::MAX));
    table.u64(bytes);
    table.finish()
}

/// Table of one slot; `index` counts from 0.
#[must_use]
pub fn memory_device(index: u16, dimm: &Dimm) -> Vec<u8> {
    let mut table = Table::new(17, DEVICES.saturating_add(index));
    let empty = dimm.size_mib == 0;
    let small = u16::try_from(dimm.size_mib).ok().filter(|_| dimm.size_mib < EXTENDED);
    table.u16(ARRAY);
    table.u16(0xfffe); // no error information
    table.u16(if empty { 0 } else { 72 }); // total width in bits
    table.u16(if empty { 0 } else { 64 }); // data width in bits
    table.u16(small.unwrap_or(0x7fff));
    table.u8(9); // form factor: DIMM
    table.u8(0); // no set
    table.string(&dimm.slot);
    table.string(&dimm.bank);
    table.u8(if empty { 2 } else { 0x1a }); // unknown, DDR4
    table.u16(if empty { 0 } else { 0x2080 }); // synchronous, registered
    table.u16(dimm.speed_mts);
    table.string(&dimm.manufacturer);
    table.string(&dimm.serial);
    table.string(&dimm.asset);
    table.string(&dimm.part);
    table.u8(if empty { 0 } else { 2 }); // ranks
    table.u32(if small.is_some() { 0 } else { dimm.size_mib });
    table.u16(dimm.speed_mts); // configured
    table.u16(1200); // minimum, maximum, configured voltage in mV
    table.u16(1200);
    table.u16(1200);
    table.finish()
}

/// A structure that is being written: header and numbers, then strings.
struct Table {
    fixed: Vec<u8>,
    strings: Vec<u8>,
    count: u8,
}

impl Table {
    fn new(kind: u8, handle: u16) -> Self {
        let [low, high] = handle.to_le_bytes();
        Self { fixed: vec![kind, 0, low, high], strings: Vec::new(), count: 0 }
    }

    fn u8(&mut self, value: u8) {
        self.fixed.push(value);
    }

    fn u16(&mut self, value: u16) {
        self.fixed.extend(value.to_le_bytes());
    }

    fn u32(&mut self, value: u32) {
        self.fixed.extend(value.to_le_bytes());
    }

    fn u64(&mut self, value: u64) {
        self.fixed.extend(value.to_le_bytes());
    }

    /// Number of the string; 0 where there is none. A NUL would end it early and is dropped.
    fn string(&mut self, value: &str) {
        let text: Vec<u8> = value.bytes().filter(|b| *b != 0).collect();
        if text.is_empty() {
            return self.u8(0);
        }
        self.count += 1;
        self.strings.extend(text);
        self.strings.push(0);
        self.u8(self.count);
    }

    fn finish(mut self) -> Vec<u8> {
        self.fixed[1] = u8::try_from(self.fixed.len()).unwrap_or(u8::MAX);
        self.fixed.extend(self.strings);
        if self.count == 0 {
            self.fixed.push(0);
        }
        self.fixed.push(0);
        self.fixed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dimm(size_mib: u32) -> Dimm {
        Dimm {
            slot: "A1".into(),
            bank: String::new(),
            size_mib,
            speed_mts: 2933,
            manufacturer: "Micron".into(),
            part: "P".into(),
            serial: "S1".into(),
            asset: String::new(),
        }
    }

    #[test]
    fn device_has_the_layout_of_version_2_8() {
        let table = memory_device(1, &dimm(16384));
        assert_eq!(table[..4], [17, 0x28, 0x01, 0x11]);
        assert_eq!(u16::from_le_bytes([table[0x0c], table[0x0d]]), 16384);
        assert_eq!(table[0x10], 1, "device locator");
        assert_eq!(table[0x11], 0, "no bank locator");
        assert_eq!(u16::from_le_bytes([table[0x15], table[0x16]]), 2933);
        assert_eq!(table[0x28..], *b"A1\0Micron\0S1\0P\0\0");
    }

    #[test]
    fn large_modules_use_the_extended_size() {
        let table = memory_device(0, &dimm(65536));
        assert_eq!(table[0x0c..0x0e], [0xff, 0x7f]);
        assert_eq!(table[0x1c..0x20], 65536u32.to_le_bytes());
    }

    #[test]
    fn an_empty_slot_has_size_zero() {
        let table = memory_device(0, &dimm(0));
        assert_eq!(table[0x0c..0x0e], [0, 0]);
    }

    #[test]
    fn array_without_strings_ends_with_two_zeros() {
        let table = memory_array(&[dimm(1024), dimm(0)]);
        assert_eq!(table[..4], [16, 0x17, 0, 0x10]);
        assert_eq!(table[0x0d..0x0f], [2, 0]);
        assert_eq!(table[0x0f..0x17], (1u64 << 30).to_le_bytes());
        assert_eq!(table[0x17..], [0, 0]);
    }
}
