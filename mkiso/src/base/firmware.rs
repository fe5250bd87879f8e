//! The firmware files that the chosen modules name, looked up in the firmware packages.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use tce_mirror::tree::{Node, Tree};

use super::modules::Modinfos;

/// Where firmware lies, in packages and in the image.
pub const FOLDER: &str = "usr/lib/firmware";

/// The firmware of the image.
#[derive(Debug, Clone, Default)]
pub struct Firmware {
    /// The files, in their places.
    pub tree: Tree,
    /// Which package each comes from, by name below [`FOLDER`].
    pub packages: BTreeMap<String, String>,
    /// Names that no package has. Drivers name files that were never published, or older ones that they fall back to.
    pub absent: Vec<String>,
}

/// Collects the firmware of `chosen` modules from `packages` with their names, first hit first. Links are resolved, since the files
/// are linked into the running system one by one; equal content is stored once all the same.
///
/// # Errors
/// A package has a path that no tree can have.
pub fn collect(modules: &Modinfos, chosen: &BTreeSet<String>, packages: &[(&str, &Tree)]) -> Result<Firmware> {
    let names: BTreeSet<&String> =
        chosen.iter().filter_map(|path| modules.get(path)).flat_map(|m| &m.firmware).collect();
    let mut firmware = Firmware::default();
    for name in names {
        let path = format!("{FOLDER}/{name}");
        match packages.iter().find_map(|(package, tree)| Some((package, tree.resolve(&path)?.1))) {
            Some((package, node)) => {
                firmware.tree.insert(&path, Node { kind: node.kind.clone(), mode: 0o644 })?;
                firmware.packages.insert(name.clone(), (*package).to_owned());
            }
            None => firmware.absent.push(name.clone()),
        }
    }
    Ok(firmware)
}

#[cfg(test)]
mod tests {
    use super::super::modules::Module;
    use super::*;

    #[test]
    fn named_files_are_taken_once_and_links_resolved() {
        let mut first = Tree::default();
        first.file("usr/lib/firmware/bnx2/rv2p.fw", 0o600, "new").unwrap();
        first.link("usr/lib/firmware/bnx2/alias.fw", "rv2p.fw").unwrap();
        first.file("usr/lib/firmware/other.fw", 0o644, "unused").unwrap();
        let mut second = Tree::default();
        second.file("usr/lib/firmware/bnx2/rv2p.fw", 0o644, "old").unwrap();
        let names = ["bnx2/alias.fw", "bnx2/gone.fw", "bnx2/rv2p.fw"].map(str::to_owned).to_vec();
        let module = Module { firmware: names, ..Module::default() };
        let modules = Modinfos::from([("d/bnx2".to_owned(), module)]);
        let chosen = BTreeSet::from(["d/bnx2".to_owned()]);
        let firmware = collect(&modules, &chosen, &[("one", &first), ("two", &second)]).unwrap();
        assert_eq!(firmware.tree.content("usr/lib/firmware/bnx2/alias.fw").unwrap(), b"new");
        assert_eq!(firmware.tree.get("usr/lib/firmware/bnx2/rv2p.fw").unwrap().mode, 0o644);
        assert!(firmware.tree.get("usr/lib/firmware/other.fw").is_none());
        assert_eq!(firmware.absent, ["bnx2/gone.fw"]);
        let from = ["bnx2/alias.fw", "bnx2/rv2p.fw"].map(|name| (name.to_owned(), "one".to_owned()));
        assert_eq!(firmware.packages, BTreeMap::from(from));
    }
}
