//! Memory errors since boot: `/sys/devices/system/edac/mc`.

use std::collections::BTreeMap;

use wire::inventory::EccErrors;

use super::collector::Found;
use crate::tree::Tree;

const CONTROLLERS: &str = "/sys/devices/system/edac/mc";

pub(super) fn collect(tree: &Tree) -> anyhow::Result<Found> {
    let mut errors = BTreeMap::new();
    for controller in tree.names(CONTROLLERS).iter().filter(|n| numbered(n, "mc")) {
        let dir = format!("{CONTROLLERS}/{controller}");
        // A module is `dimmN`, or `rankN` where the controller knows ranks only.
        for slot in tree.names(&dir).iter().filter(|n| numbered(n, "dimm") || numbered(n, "rank")) {
            let label = tree.text(format!("{dir}/{slot}/dimm_label"));
            let one = EccErrors {
                corrected: tree.number(format!("{dir}/{slot}/dimm_ce_count")),
                uncorrected: tree.number(format!("{dir}/{slot}/dimm_ue_count")),
            };
            errors.insert(label.unwrap_or_else(|| format!("{controller}/{slot}")), one);
        }
    }
    Ok(Found::new(|_, volatile| volatile.edac = errors))
}

/// Whether `name` is `prefix` and a number.
fn numbered(name: &str, prefix: &str) -> bool {
    name.strip_prefix(prefix).is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use wire::inventory::{Stable, Volatile};

    use super::*;

    #[test]
    fn errors_by_the_board_s_name_of_the_slot_or_the_kernel_s() {
        let dir = tempfile::tempdir().unwrap();
        for (slot, label, corrected, uncorrected) in [
            ("mc0/dimm0", "CPU1_DIMM_A1\n", "3\n", "0\n"),
            ("mc0/dimm1", "\n", "0\n", ""),
            ("mc1/rank2", "", "7\n", "1\n"),
        ] {
            let slot = dir.path().join(&CONTROLLERS[1..]).join(slot);
            fs::create_dir_all(&slot).unwrap();
            for (file, text) in [("dimm_label", label), ("dimm_ce_count", corrected), ("dimm_ue_count", uncorrected)] {
                fs::write(slot.join(file), text).unwrap();
            }
        }
        let mut volatile = Volatile::default();
        collect(&Tree::at(dir.path())).unwrap().put(&mut Stable::default(), &mut volatile);
        let found: Vec<_> =
            volatile.edac.iter().map(|(slot, errors)| (slot.as_str(), errors.corrected, errors.uncorrected)).collect();
        let expected =
            [("CPU1_DIMM_A1", Some(3), Some(0)), ("mc0/dimm1", Some(0), None), ("mc1/rank2", Some(7), Some(1))];
        assert_eq!(found, expected);
    }

    #[test]
    fn names_with_a_number() {
        assert!(numbered("dimm12", "dimm"));
        assert!(!numbered("dimm", "dimm"));
        assert!(!numbered("dimm_label", "dimm"));
        assert!(!numbered("mc0", "dimm"));
    }
}
