//! The agent's binary: it must run where there is no dynamic loader and before any extension is mounted.

use anyhow::{Result, bail, ensure};
use object::Endianness;
use object::elf::{EM_X86_64, ET_DYN, ET_EXEC, FileHeader64, PT_DYNAMIC, PT_INTERP};
use object::read::elf::{FileHeader as _, ProgramHeader as _};

/// What to do about a binary that is not static.
const REMEDY: &str = "build it with -C target-feature=+crt-static -C relocation-model=static";

/// Checks that `bytes` are a static x86_64 program: no interpreter, no dynamic section.
///
/// # Errors
/// What the program is instead, and how to build it.
pub fn check_static(bytes: &[u8]) -> Result<()> {
    let Ok(header) = FileHeader64::<Endianness>::parse(bytes) else {
        bail!("it is no 64-bit ELF program");
    };
    let Ok(endian) = header.endian() else { bail!("it is no ELF program of a known byte order") };
    ensure!(header.e_machine(endian) == EM_X86_64, "it is built for another machine than x86_64");
    ensure!(matches!(header.e_type(endian), ET_EXEC | ET_DYN), "it is an ELF file, but no program");
    let Ok(segments) = header.program_headers(endian, bytes) else { bail!("its program headers are damaged") };
    let has = |kind| segments.iter().any(|segment| segment.p_type(endian) == kind);
    ensure!(!has(PT_INTERP), "it is linked dynamically (it asks for an interpreter); {REMEDY}");
    ensure!(!has(PT_DYNAMIC), "it has a dynamic section; {REMEDY}");
    ensure!(!segments.is_empty(), "it has no program headers");
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A minimal x86_64 program with segments of these types.
    pub(crate) fn program(segments: &[u32]) -> Vec<u8> {
        let mut bytes = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        for half in [ET_EXEC, EM_X86_64] {
            bytes.extend(half.to_le_bytes());
        }
        bytes.extend(1u32.to_le_bytes());
        for word in [0x40_0000u64, 64, 0] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend(0u32.to_le_bytes());
        for half in [64, 56, u16::try_from(segments.len()).unwrap(), 0, 0, 0] {
            bytes.extend(half.to_le_bytes());
        }
        for kind in segments {
            bytes.extend(kind.to_le_bytes());
            bytes.extend([0; 52]);
        }
        bytes
    }

    const PT_LOAD: u32 = 1;

    fn refusal(bytes: &[u8]) -> String {
        check_static(bytes).unwrap_err().to_string()
    }

    #[test]
    fn a_static_program_is_taken() {
        check_static(&program(&[PT_LOAD])).unwrap();
    }

    #[test]
    fn dynamic_programs_are_refused_with_the_remedy() {
        assert!(refusal(&program(&[PT_LOAD, PT_INTERP])).contains("crt-static"));
        assert!(refusal(&program(&[PT_LOAD, PT_DYNAMIC])).contains("relocation-model=static"));
    }

    #[test]
    fn other_files_are_refused() {
        assert!(refusal(b"#!/bin/sh\n").contains("no 64-bit ELF"));
        let mut arm = program(&[PT_LOAD]);
        arm[18] = 183;
        assert!(refusal(&arm).contains("x86_64"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_judged_without_panic(at in 0usize..176, with in any::<u8>(), cut in 0usize..200) {
            let mut bytes = program(&[PT_LOAD, PT_LOAD]);
            bytes[at] = with;
            bytes.truncate(cut);
            let _ = check_static(&bytes);
        }
    }
}
