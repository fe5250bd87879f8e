//! What ELF files say of the shared libraries that they need. Pure functions over bytes.

use anyhow::{Context as _, Result, anyhow};
use object::Endianness;
use object::read::elf::{Dyn as _, FileHeader as _, ProgramHeader as _};

/// Whether bytes are an ELF file.
#[must_use]
pub fn is_elf(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\x7fELF")
}

/// Names of the shared libraries that a program or library of x86-64 asks for, in its order.
///
/// # Errors
/// The file is damaged.
pub fn needed(bytes: &[u8]) -> Result<Vec<String>> {
    let header = object::elf::FileHeader64::<Endianness>::parse(bytes).context("no 64-bit ELF file")?;
    let endian = header.endian()?;
    let segments = header.program_headers(endian, bytes)?;
    let mut names = Vec::new();
    let mut offsets = Vec::new();
    let mut strings_at = None;
    for segment in segments {
        let Some(entries) = segment.dynamic(endian, bytes)? else { continue };
        for entry in entries {
            match entry.tag32(endian) {
                Some(object::elf::DT_NEEDED) => offsets.push(entry.d_val(endian)),
                Some(object::elf::DT_STRTAB) => strings_at = Some(entry.d_val(endian)),
                _ => {}
            }
        }
    }
    for offset in offsets {
        let table = strings_at.ok_or_else(|| anyhow!("it has no table of names"))?;
        let address = table.checked_add(offset).ok_or_else(|| anyhow!("a name lies outside of the file"))?;
        let name = segments
            .iter()
            .find_map(|s| {
                let start = address.checked_sub(s.p_vaddr(endian))?;
                let data = s.data(endian, bytes).ok()?.get(usize::try_from(start).ok()?..)?;
                let end = data.iter().position(|b| *b == 0)?;
                String::from_utf8(data[..end].to_vec()).ok()
            })
            .ok_or_else(|| anyhow!("a name lies outside of the file"))?;
        names.push(name);
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Read as _;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn this_test_needs_the_c_library() {
        let own = std::fs::read("/proc/self/exe").unwrap();
        assert!(is_elf(&own));
        assert!(needed(&own).unwrap().iter().any(|n| n.starts_with("libc.so")));
    }

    proptest! {
        #[test]
        fn damaged_programs_never_panic(flips in proptest::collection::vec((0usize..4096, any::<u8>()), 1..20)) {
            let mut own = Vec::new();
            File::open("/proc/self/exe").unwrap().take(200_000).read_to_end(&mut own).unwrap();
            for (at, byte) in flips {
                own[at] = byte;
            }
            let _ = needed(&own);
        }

        #[test]
        fn any_bytes_are_refused_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..500)) {
            let _ = needed(&bytes);
        }
    }
}
