//! The machine as a whole: system, board, chassis and BIOS, from SMBIOS or, without its tables, from `/sys/class/dmi/id`.

use wire::inventory::{Bios, Board, Chassis, System};

use super::collector::Found;
use super::smbios::Table;
use crate::tree::Tree;

const DMI: &str = "/sys/class/dmi/id";

pub(super) fn collect(tree: &Tree) -> anyhow::Result<Found> {
    let table = Table::read(tree);
    let (system, board, chassis, bios) = match &table {
        Some(table) => (table.system(), table.board(), table.chassis(), table.bios()),
        None => (None, None, None, None),
    };
    let parts = (
        system.or_else(|| kernel_system(tree)),
        board.or_else(|| kernel_board(tree)),
        chassis.or_else(|| kernel_chassis(tree)),
        bios.or_else(|| kernel_bios(tree)),
    );
    Ok(Found::new(|stable, _| (stable.system, stable.board, stable.chassis, stable.bios) = parts))
}

fn text(tree: &Tree, name: &str) -> Option<String> {
    tree.text(format!("{DMI}/{name}"))
}

/// `None` where every field is absent, so that a machine without SMBIOS has no empty parts.
fn unless_empty<T: Default + PartialEq>(part: T) -> Option<T> {
    (part != T::default()).then_some(part)
}

fn kernel_system(tree: &Tree) -> Option<System> {
    unless_empty(System {
        manufacturer: text(tree, "sys_vendor"),
        product: text(tree, "product_name"),
        version: text(tree, "product_version"),
        serial: text(tree, "product_serial"),
        uuid: text(tree, "product_uuid").map(|uuid| uuid.to_ascii_lowercase()),
        sku: text(tree, "product_sku"),
        family: text(tree, "product_family"),
    })
}

fn kernel_board(tree: &Tree) -> Option<Board> {
    unless_empty(Board {
        manufacturer: text(tree, "board_vendor"),
        product: text(tree, "board_name"),
        version: text(tree, "board_version"),
        serial: text(tree, "board_serial"),
        asset: text(tree, "board_asset_tag"),
    })
}

fn kernel_chassis(tree: &Tree) -> Option<Chassis> {
    unless_empty(Chassis {
        manufacturer: text(tree, "chassis_vendor"),
        kind: text(tree, "chassis_type").and_then(|kind| kind.parse().ok()),
        version: text(tree, "chassis_version"),
        serial: text(tree, "chassis_serial"),
        asset: text(tree, "chassis_asset_tag"),
    })
}

fn kernel_bios(tree: &Tree) -> Option<Bios> {
    unless_empty(Bios {
        vendor: text(tree, "bios_vendor"),
        version: text(tree, "bios_version"),
        date: text(tree, "bios_date"),
        release: text(tree, "bios_release"),
    })
}
