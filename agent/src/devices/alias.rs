//! Index over `modules.alias`: which modules say that they serve a device of this modalias. The text of the file comes
//! in, module names come out. Rows are sorted by what stands before the first wildcard, so that a look-up costs one
//! binary search per distinct length of these beginnings (about 45), not a pass over thousands of patterns.

use std::collections::BTreeSet;

use super::pattern;

/// Patterns and the modules that they stand for.
#[derive(Debug, Default)]
pub(crate) struct AliasIndex {
    rows: Vec<Row>,
    /// Distinct lengths of the rows' literal beginnings.
    lengths: Vec<usize>,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    pattern: Box<[u8]>,
    literal: usize,
    module: Box<str>,
}

impl Row {
    fn literal(&self) -> &[u8] {
        &self.pattern[..self.literal]
    }
}

impl AliasIndex {
    /// Reads `modules.alias`. Lines of another form are skipped: the file's header is a comment.
    pub(crate) fn parse(text: &str) -> Self {
        let mut rows: Vec<Row> = text.lines().filter_map(row).collect();
        rows.sort_by(|a, b| a.literal().cmp(b.literal()));
        let lengths = rows.iter().map(|r| r.literal).collect::<BTreeSet<_>>().into_iter().collect();
        Self { rows, lengths }
    }

    /// Modules for a modalias, each once, in order of name.
    pub(crate) fn modules(&self, modalias: &str) -> Vec<&str> {
        let text = normal(modalias.as_bytes());
        let mut found = BTreeSet::new();
        for literal in self.lengths.iter().map_while(|&length| text.get(..length)) {
            let start = self.rows.partition_point(|r| r.literal() < literal);
            let same = self.rows[start..].iter().take_while(|r| r.literal() == literal);
            found.extend(same.filter(|r| pattern::matches(&r.pattern, &text)).map(|r| &*r.module));
        }
        found.into_iter().collect()
    }
}

fn row(line: &str) -> Option<Row> {
    let mut words = line.split_ascii_whitespace();
    let (Some("alias"), Some(pattern), Some(module), None) = (words.next(), words.next(), words.next(), words.next())
    else {
        return None;
    };
    let pattern = normal(pattern.as_bytes());
    Some(Row { literal: pattern::literal_len(&pattern), pattern: pattern.into(), module: module.into() })
}

/// `-` and `_` are the same in aliases, but within brackets a `-` makes a range.
fn normal(text: &[u8]) -> Vec<u8> {
    let mut inside = false;
    let byte = |&b: &u8| {
        inside = (inside || b == b'[') && b != b']';
        if b == b'-' && !inside { b'_' } else { b }
    };
    text.iter().map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TEXT: &str = "# Aliases extracted from modules themselves.\n\
        alias pci:v00008086d0000100Esv*sd*bc*sc*i* e1000\n\
        alias pci:v00001AF4d*sv*sd*bc*sc*i* virtio_pci\n\
        alias pci:v*d*sv*sd*bc01sc06i01* ahci\n\
        alias virtio:d00000001v* virtio_net\n\
        alias usb:v*p*d*dc*dsc*dp*ic08isc06ip50in* usb_storage\n\
        alias usb:v*p*d*dc*dsc*dp*ic08isc06ip50in* uas\n\
        alias platform:dmi-ipmi-si ipmi_si\n\
        alias broken\n";

    #[test]
    fn finds_what_serves_a_device() {
        let index = AliasIndex::parse(TEXT);
        assert_eq!(index.modules("pci:v00008086d0000100Esv00001AF4sd00001100bc02sc00i00"), ["e1000"]);
        assert_eq!(index.modules("pci:v00008086d00002922sv00001AF4sd00001100bc01sc06i01"), ["ahci"]);
        assert_eq!(index.modules("virtio:d00000001v00001AF4"), ["virtio_net"]);
        assert_eq!(index.modules("usb:v46F4p0001d0000dc00dsc00dp00ic08isc06ip50in00"), ["uas", "usb_storage"]);
        assert_eq!(index.modules("platform:dmi_ipmi_si"), ["ipmi_si"]);
        assert_eq!(index.modules("platform:dmi-ipmi-si"), ["ipmi_si"]);
        assert!(index.modules("acpi:PNP0303:").is_empty() && index.modules("").is_empty());
    }

    proptest! {
        /// The index finds exactly what a pass over all patterns finds.
        #[test]
        fn agrees_with_a_plain_pass(
            patterns in prop::collection::vec("[ab*?_-]{1,6}", 0..12), text in "[ab_-]{0,6}"
        ) {
            let file: String = patterns.iter().enumerate().map(|(i, p)| format!("alias {p} m{i:02}\n")).collect();
            let plain: Vec<String> = patterns.iter().enumerate()
                .filter(|(_, p)| pattern::matches(&normal(p.as_bytes()), &normal(text.as_bytes())))
                .map(|(i, _)| format!("m{i:02}")).collect();
            let index = AliasIndex::parse(&file);
            prop_assert_eq!(index.modules(&text), plain);
        }

        #[test]
        fn never_panics(file in "\\PC{0,200}", text in "\\PC{0,40}") {
            let _ = AliasIndex::parse(&file).modules(&text);
        }
    }
}
