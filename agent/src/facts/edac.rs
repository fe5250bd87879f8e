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
    use super::*;

    #[test]
    fn names_with_a_number() {
        assert!(numbered("dimm12", "dimm"));
        assert!(!numbered("dimm", "dimm"));
        assert!(!numbered("dimm_label", "dimm"));
        assert!(!numbered("mc0", "dimm"));
    }
}
