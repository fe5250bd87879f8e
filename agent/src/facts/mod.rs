//! Takes stock of a machine: reads `/sys`, `/proc`, SMBIOS, ethtool and CPUID, and gives the typed inventory.
//!
//! Input is a [`Tree`], so that the same readers run on a recorded machine; what no file can tell (ioctls, CPUID,
//! addresses) is asked of the running kernel only when the tree is the live one. Each file below reads one kind of
//! component and parses by pure functions; [`site`] has the operator's own facts. Sizes are bytes, speeds in the unit of the field's name. Strings stay as the
//! firmware gives them, placeholders too: only the server judges them. Nothing is written, no disk is opened.

mod boot;
mod collector;
mod cpu;
mod dimm;
mod disk;
mod edac;
mod ethtool;
mod memory;
mod network;
mod numa;
mod pci;
mod place;
mod record;
mod site;
mod smbios;
mod system;
mod tpm;
mod usb;
mod virtualization;

#[cfg(test)]
mod recorded;
mod vpd;

use std::collections::BTreeMap;
use std::time::Instant;

use serde_json::Value;
use wire::inventory::{Inventory, Volatile};

use crate::limits::COLLECTOR_DEADLINE;
use crate::settings::Settings;
use crate::state::{Devices, Published as _};
use crate::tree::Tree;

use collector::Collector;
pub(crate) use record::record;

/// All collectors. Each runs in its own thread, so that one which hangs harms none of the others.
const COLLECTORS: [Collector; 14] = [
    Collector { name: "boot", read: boot::collect },
    Collector { name: "cpu", read: cpu::collect },
    Collector { name: "dimms", read: dimm::collect },
    Collector { name: "disks", read: disk::collect },
    Collector { name: "edac", read: edac::collect },
    Collector { name: "memory", read: memory::collect },
    Collector { name: "network", read: network::collect },
    Collector { name: "numa", read: numa::collect },
    Collector { name: "pci", read: pci::collect },
    Collector { name: "site", read: site::collect },
    Collector { name: "system", read: system::collect },
    Collector { name: "tpm", read: tpm::collect },
    Collector { name: "usb", read: usb::collect },
    Collector { name: "virtualization", read: virtualization::collect },
];

/// Takes stock of the machine below `tree`. Collectors that fail or take longer than [`COLLECTOR_DEADLINE`] are named
/// in `volatile.failures`; everything else is complete.
pub(crate) fn collect(tree: &Tree) -> Inventory {
    let mut inventory = Inventory::default();
    let mut volatile = Volatile::default();
    for outcome in collector::run_all(&COLLECTORS, tree, Instant::now() + COLLECTOR_DEADLINE) {
        if let Some(took) = outcome.took {
            volatile.took_ms.insert(outcome.name.to_owned(), u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
        }
        match outcome.result {
            Ok(found) => found.put(&mut inventory.stable, &mut volatile),
            Err(reason) => {
                volatile.failures.insert(outcome.name.to_owned(), reason);
            }
        }
    }
    inventory.volatile = Some(volatile);
    // The kernel line is the machine's own, and has the last word.
    inventory.stable.site.extend(kernel_line(tree));
    if tree.is_live() {
        inventory.stable.findings.extend(Devices::read().map(|devices| devices.findings).unwrap_or_default());
    }
    inventory
}

/// Facts of the kernel line, `razor.fact.NAME=VALUE`.
fn kernel_line(tree: &Tree) -> BTreeMap<String, Value> {
    Settings::from(tree).line.facts.into_iter().map(|(name, value)| (name, Value::String(value))).collect()
}
