//! Takes stock of a machine: reads `/sys`, `/proc`, SMBIOS, ethtool and CPUID, and gives the typed inventory.
//!
//! Input is a [`Tree`], so that the same readers run on a recorded machine; what no file can tell (ioctls, CPUID,
//! addresses) is asked of the running kernel only when the tree is the live one. Each file below reads one kind of
//! component and parses by pure functions; [`site`] has the operator's own facts. Sizes are bytes, speeds in the unit of
//! the field's name. Strings stay as the firmware gives them, placeholders too: only the server judges them. Nothing is
//! written: disks are opened for reading, and only to be asked how they are.

mod bmc;
mod boot;
mod collector;
mod cpu;
mod dimm;
mod disk;
mod edac;
mod ethtool;
mod health;
mod kept;
mod memory;
mod network;
mod numa;
mod pci;
mod place;
mod record;
mod site;
mod smbios;
mod system;
mod temperature;
mod tpm;
mod transceiver;
mod usb;
mod virtualization;
mod vpd;

#[cfg(test)]
mod recorded;

use std::collections::BTreeMap;
use std::time::Instant;

use serde_json::Value;
use wire::inventory::{Inventory, Volatile};

use crate::limits::COLLECTOR_DEADLINE;
use crate::settings::Settings;
use crate::state::{Devices, Published as _};
use crate::tree::Tree;

use collector::{Collector, Found};
pub(crate) use record::record;

/// Name under which a collector's failure is reported, and its reader.
type Reader = (&'static str, fn(&Tree) -> anyhow::Result<Found>);

/// All collectors. Each runs in its own thread, so that one which hangs harms none of the others. What they found is
/// stored in this order: transceivers belong to the ports that `network` finds.
const READERS: [Reader; 18] = [
    ("bmc", bmc::collect),
    ("boot", boot::collect),
    ("cpu", cpu::collect),
    ("dimms", dimm::collect),
    ("disks", disk::collect),
    ("edac", edac::collect),
    ("health", health::collect),
    ("memory", memory::collect),
    ("network", network::collect),
    ("numa", numa::collect),
    ("pci", pci::collect),
    ("site", site::collect),
    ("system", system::collect),
    ("temperatures", temperature::collect),
    ("tpm", tpm::collect),
    ("transceivers", transceiver::collect),
    ("usb", usb::collect),
    ("virtualization", virtualization::collect),
];

/// Takes stock of the machine below `tree`. Collectors that fail or take longer than [`COLLECTOR_DEADLINE`] are named
/// in `volatile.failures`; everything else is complete.
pub(crate) fn collect(tree: &Tree) -> Inventory {
    let mut inventory = Inventory::default();
    let mut volatile = Volatile::default();
    let collectors = READERS.map(|(name, read)| {
        let tree = tree.clone();
        Collector { name: name.to_owned(), read: Box::new(move || read(&tree)) }
    });
    for outcome in collector::run_all(collectors.into(), tree, Instant::now() + COLLECTOR_DEADLINE) {
        if let Some(took) = outcome.took {
            volatile.took_ms.insert(outcome.name.clone(), u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
        }
        match outcome.result {
            Ok(found) => found.put(&mut inventory.stable, &mut volatile),
            Err(reason) => {
                volatile.failures.insert(outcome.name, reason);
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
