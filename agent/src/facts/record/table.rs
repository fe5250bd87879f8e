//! What a recording has of the SMBIOS table. Structures that no reader reads may hold anything: network addresses and
//! users of the BMC, licences, texts of owners. Their contents are blanked; lengths, kinds and handles stay, so that
//! all else is found where it was. Pure.

use std::mem;

/// Bytes of a structure's header: kind, length, handle.
const HEADER: usize = 4;
/// Place of the length of header and fields.
const LENGTH: usize = 1;
/// Kind of the last structure.
const END_OF_TABLE: u8 = 127;
/// What stands for a byte of a text.
const BLANK: u8 = b'x';

/// The table without the contents of structures whose kind is not read, and without what follows the last structure or the
/// first malformed one.
pub(super) fn blanked(mut table: Vec<u8>, is_read: impl Fn(u8) -> bool) -> Vec<u8> {
    let mut rest = &mut table[..];
    let mut is_last = false;
    while let Some((fields, strings)) = lengths(rest).filter(|_| !is_last) {
        let (structure, next) = mem::take(&mut rest).split_at_mut(fields + strings);
        let kind = structure[0];
        if !is_read(kind) {
            let (fields, strings) = structure.split_at_mut(fields);
            fields[HEADER..].fill(0);
            blank(strings);
        }
        (rest, is_last) = (next, kind == END_OF_TABLE);
    }
    // Of a malformed structure the header tells what is wrong.
    blank(rest.get_mut(HEADER..).unwrap_or_default());
    table
}

/// The ends of strings stay.
fn blank(strings: &mut [u8]) {
    strings.iter_mut().filter(|byte| **byte != 0).for_each(|byte| *byte = BLANK);
}

/// Lengths of the first structure's fields, with its header, and of its strings, with their end.
fn lengths(table: &[u8]) -> Option<(usize, usize)> {
    let fields = usize::from(*table.get(LENGTH)?);
    let strings = table.get(fields..).filter(|_| fields >= HEADER)?;
    let end = strings.windows(2).position(|pair| pair == [0, 0])?;
    Some((fields, end + 2))
}

/// For the fuzzer: the first byte is the length of the entry point, which is followed by the table. A recording of a table tells
/// the same of the machine as the table itself.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(bytes: &[u8]) {
    use crate::facts::{dimm, smbios};

    let Some((length, rest)) = bytes.split_first() else { return };
    let (entry, table) = rest.split_at(rest.len().min(usize::from(*length)));
    let all = |table: Vec<u8>| {
        let table = smbios::Table::parse(entry, table);
        let memory = dimm::memory(&table);
        let board = (table.system(), table.board(), table.chassis(), table.bios());
        format!("{:?}", (board, table.names_bmc(), table.processor_max_mhz(), memory))
    };
    assert_eq!(all(table.to_vec()), all(blanked(table.to_vec(), super::secrets::is_read)));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::super::smbios::tests::structure;
    use super::*;

    fn is_read(kind: u8) -> bool {
        kind == 1
    }

    #[test]
    fn what_no_reader_reads_is_blank_and_all_else_where_it_was() {
        let read = structure(1, 7, &[1, 2, 3], &["ACME", "Box"]);
        let last = structure(END_OF_TABLE, 9, &[], &[]);
        let table = [
            structure(42, 8, &[0x3c, 0xec, 0xef, 1], &["bmc.example"]),
            read.clone(),
            last.clone(),
            b"left behind".to_vec(),
        ];
        let want = [structure(42, 8, &[0; 4], &["xxxxxxxxxxx"]), read, last, b"leftxxxxxxx".to_vec()];
        assert_eq!(blanked(table.concat(), is_read), want.concat());
    }

    proptest! {
        #[test]
        fn any_bytes_keep_their_length_and_what_is_read(table in prop::collection::vec(0..6_u8, 0..300)) {
            let blanked = blanked(table.clone(), is_read);
            prop_assert_eq!(blanked.len(), table.len());
            let read = |table: Vec<u8>| -> Vec<_> {
                let data = smbioslib::SMBiosData::from_vec_and_version(table, None);
                data.iter().filter(|found| is_read(found.header.struct_type())).map(|found| found.fields.clone()).collect()
            };
            prop_assert_eq!(read(blanked), read(table));
        }
    }
}
