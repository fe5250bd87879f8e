//! Which extension has a firmware file that a driver did not get: one of this image, by the list that the builder wrote, or
//! one of Tiny Core's mirrors, by the folder that the file belongs to.

use std::collections::BTreeMap;
use std::fs;

/// The builder's list: a file's name below `/lib/firmware`, a blank, the extension's file name.
const LIST: &str = "/etc/razor-mk/firmware.lst";
/// Beginnings of names, and the extension of Tiny Core's mirrors that has such files.
const TINY_CORE: [(&str, &str); 12] = [
    ("bnx2/", "firmware-broadcom_bnx2.tcz"),
    ("bnx2x", "firmware-broadcom_bnx2x.tcz"),
    ("cxgb3/", "firmware-chelsio.tcz"),
    ("cxgb4/", "firmware-chelsio.tcz"),
    ("liquidio/", "firmware-cavium_nic.tcz"),
    ("mellanox/", "firmware-mellanox.tcz"),
    ("myri10ge", "firmware-myri10ge.tcz"),
    ("netronome/", "firmware-netronome.tcz"),
    ("phanfw.bin", "firmware-netxen.tcz"),
    ("qed/", "firmware-qed.tcz"),
    ("rtl_nic/", "firmware-rtl_nic.tcz"),
    ("tigon/", "firmware-tigon.tcz"),
];

/// Which extensions have which files.
#[derive(Debug, Default)]
pub(crate) struct Owners(BTreeMap<String, String>);

/// An extension with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner<'a> {
    /// It is in this image, so that it was not loaded, or is damaged.
    Image(&'a str),
    /// Tiny Core has it.
    TinyCore(&'a str),
}

impl<'a> Owner<'a> {
    /// The extension's file name.
    pub(crate) fn name(&self) -> &'a str {
        match self {
            Self::Image(name) | Self::TinyCore(name) => name,
        }
    }
}

impl Owners {
    /// This image's; an image without the list knows none of its own.
    pub(crate) fn load() -> Self {
        Self::parse(&fs::read_to_string(LIST).unwrap_or_default())
    }

    /// Reads the list; lines of another form are passed over.
    pub(crate) fn parse(list: &str) -> Self {
        let pairs = list.lines().filter_map(|line| line.rsplit_once(' '));
        Self(pairs.map(|(file, extension)| (file.to_owned(), extension.to_owned())).collect())
    }

    /// Who has a file, by its name below `/lib/firmware`.
    pub(crate) fn of(&self, file: &str) -> Option<Owner<'_>> {
        let own = self.0.get(file).map(|name| Owner::Image(name));
        own.or_else(|| {
            TINY_CORE.iter().find(|(begin, _)| file.starts_with(begin)).map(|(_, name)| Owner::TinyCore(name))
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_images_own_extension_comes_before_tiny_cores() {
        let owners = Owners::parse("bnx2/a b.fw firmware-server.tcz\nrubbish\n\n");
        assert_eq!(owners.of("bnx2/a b.fw"), Some(Owner::Image("firmware-server.tcz")));
        assert_eq!(owners.of("bnx2/x.fw"), Some(Owner::TinyCore("firmware-broadcom_bnx2.tcz")));
        assert_eq!(owners.of("bnx2x/bnx2x-e2-7.13.21.0.fw").unwrap().name(), "firmware-broadcom_bnx2x.tcz");
        assert_eq!(owners.of("regulatory.db"), None);
    }

    proptest! {
        #[test]
        fn any_list_is_read_without_panic(list in "\\PC{0,80}", file in "\\PC{0,20}") {
            let _ = Owners::parse(&list).of(&file);
        }
    }
}
