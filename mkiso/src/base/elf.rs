//! What kernel modules say of themselves: their `.modinfo` section. Pure functions over bytes.

use anyhow::{Context as _, Result};
use object::{Object as _, ObjectSection as _};

/// Fields of a kernel module's `.modinfo` section in their order, such as `depends` and `firmware`.
///
/// # Errors
/// The file is no ELF file.
pub fn modinfo(bytes: &[u8]) -> Result<Vec<(String, String)>> {
    let file = object::File::parse(bytes).context("no ELF file")?;
    let Some(section) = file.section_by_name(".modinfo") else { return Ok(Vec::new()) };
    Ok(parse_modinfo(section.data()?))
}

/// Parses `key=value` texts that end in a zero byte; what is not of this form is skipped.
fn parse_modinfo(section: &[u8]) -> Vec<(String, String)> {
    section
        .split(|b| *b == 0)
        .filter_map(|text| std::str::from_utf8(text).ok()?.split_once('='))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Read as _;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn fields_of_a_module() {
        let fields = parse_modinfo(b"license=GPL\0depends=mii,ptp\0\0firmware=a/b=c.bin\0junk\0");
        let text: Vec<String> = fields.iter().map(|(k, v)| format!("{k}:{v}")).collect();
        assert_eq!(text, ["license:GPL", "depends:mii,ptp", "firmware:a/b=c.bin"]);
    }

    proptest! {
        #[test]
        fn damaged_programs_never_panic(flips in proptest::collection::vec((0usize..4096, any::<u8>()), 1..20)) {
            let mut own = Vec::new();
            File::open("/proc/self/exe").unwrap().take(200_000).read_to_end(&mut own).unwrap();
            for (at, byte) in flips {
                own[at] = byte;
            }
            let _ = modinfo(&own);
        }

        #[test]
        fn any_bytes_are_refused_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..500)) {
            let _ = modinfo(&bytes);
            parse_modinfo(&bytes);
        }
    }
}
