//! stub

use wire::inventory::Inventory;

use crate::tree::Tree;

/// Takes stock of the machine below `tree`.
pub(crate) fn collect(_tree: &Tree) -> Inventory {
    Inventory::default()
}
