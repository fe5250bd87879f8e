//! A boot sector that says something on the first serial port and does nothing else: proof that a machine has started
//! from a disk. BIOS only.

/// 16-bit code: writes the text behind it to the first serial port, then halts for ever.
const CODE: [u8; 21] = [
    0x31, 0xc0, // xor ax, ax
    0x8e, 0xd8, // mov ds, ax
    0xbe, 0x15, 0x7c, // mov si, 0x7c15: behind the code
    0xba, 0xf8, 0x03, // mov dx, 0x3f8
    0xac, // next: lodsb
    0x84, 0xc0, // test al, al
    0x74, 0x03, // jz sleep
    0xee, // out dx, al
    0xeb, 0xf8, // jmp next
    0xf4, // sleep: hlt
    0xeb, 0xfd, // jmp sleep
];

/// Size of a sector in bytes.
const SIZE: usize = 512;

/// A boot sector that says `text`, cut where the sector ends.
#[must_use]
pub fn saying(text: &str) -> Vec<u8> {
    // A zero ends the text; the last two bytes are the mark of a boot sector.
    let room = SIZE - CODE.len() - 3;
    let mut sector: Vec<u8> = CODE.into_iter().chain(text.bytes().take(room)).collect();
    sector.resize(SIZE - 2, 0);
    sector.extend([0x55, 0xaa]);
    sector
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_leaves_a_whole_sector() {
        for text in ["", "hello", &"x".repeat(1000)] {
            let sector = saying(text);
            assert_eq!((sector.len(), &sector[508..]), (SIZE, [sector[508], 0, 0x55, 0xaa].as_slice()), "{text}");
            assert_eq!(&sector[CODE.len()..][..text.len().min(5)], &text.as_bytes()[..text.len().min(5)]);
        }
    }
}
