//! Takes stock of a machine: reads `/sys`, `/proc`, SMBIOS, ethtool and CPUID, and gives the typed inventory.
//!
//! Input is a [`Tree`], so that the same readers run on a recorded machine; what no file can tell (ioctls, CPUID,
//! addresses) is asked of the running kernel only when the tree is the live one. Each file below reads one kind of
//! component and parses by pure functions; [`site`] has the operator's own facts. Sizes are bytes, speeds in the unit of
//! the field's name. Strings stay as the firmware gives them, placeholders too: only the server judges them. Nothing is
//! written: disks are opened for reading, and only to be asked how they are.

pub(crate) mod bmc;
mod boot;
mod collector;
pub(crate) mod cpu;
mod dimm;
mod disk;
mod edac;
pub(crate) mod ethtool;
pub(crate) mod gpu;
pub(crate) mod health;
mod kept;
mod memory;
mod network;
mod numa;
pub(crate) mod pci;
pub(crate) mod place;
pub(crate) mod record;
mod site;
mod smbios;
mod system;
mod temperature;
pub(crate) mod tpm;
pub(crate) mod transceiver;
mod usb;
mod virtualization;
pub(crate) mod vpd;

#[cfg(test)]
mod recorded;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use wire::inventory::{Inventory, Volatile};

use crate::limits::{CHECKIN_LOOK, COLLECTOR_DEADLINE, TELLING_DEADLINE};
use crate::settings::Settings;
use crate::state::{Devices, Published as _};
use crate::tree::Tree;

pub(crate) use bmc::light as bmc_light;
use collector::{Collector, Found};
pub(crate) use ethtool::{light as port_light, permanent_address};
use kept::Kept;
pub(crate) use record::record;
pub(crate) use site::{Asker, PUSHED_DIR, Told};

/// Name under which a collector's failure is reported, and its reader.
type Reader = (&'static str, fn(&Tree) -> anyhow::Result<Found>);

/// The collectors that depend on no other, but the site's own. Each runs in its own thread, so that one which hangs harms
/// none of the others.
const READERS: [Reader; 15] = [
    ("bmc", bmc::collect),
    ("boot", boot::collect),
    ("cpu", cpu::collect),
    ("dimms", dimm::collect),
    ("disks", disk::collect),
    ("edac", edac::collect),
    ("health", health::collect),
    ("memory", memory::collect),
    ("numa", numa::collect),
    ("pci", pci::collect),
    ("system", system::collect),
    ("temperatures", temperature::collect),
    ("tpm", tpm::collect),
    ("usb", usb::collect),
    ("virtualization", virtualization::collect),
];

/// Collectors without which a machine cannot be told from others.
const TELLING: [&str; 2] = ["network", "system"];

/// Those of what differs from time to time.
const VOLATILE: [&str; 4] = ["edac", "health", "memory", "temperatures"];

/// Ends the reason why a collector failed whose former finds are used.
const STANDS: &str = "; what is known of it stands";

/// What each collector found last, by tree and name. What comes too late for its collection is here for the next one.
static LAST: Kept<Found> = Kept::new();

/// Takes stock of the machine below `tree`. Collectors that fail or take longer than [`COLLECTOR_DEADLINE`] are named
/// in `volatile.failures`, and what they found before in this boot stands; everything else is complete. Where nothing is
/// known yet of what tells the machine from others, that is waited for longer, up to [`TELLING_DEADLINE`]. Who asks tells
/// whether the site's programs are run.
pub(crate) fn collect(tree: &Tree, asker: Asker) -> Inventory {
    collect_within(tree, asker, COLLECTOR_DEADLINE, TELLING_DEADLINE)
}

/// As [`collect`], with so much time for each collector, and for a telling one of which nothing is known.
fn collect_within(tree: &Tree, asker: Asker, each: Duration, telling: Duration) -> Inventory {
    let mut inventory = Inventory::default();
    let mut volatile = Volatile::default();
    let programs = site::programs(tree, asker);
    let started = Instant::now();
    for outcome in collector::run_all(collectors(tree, programs), tree, started + each) {
        if let Some(took) = outcome.took {
            volatile.took_ms.insert(outcome.name.clone(), u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
        }
        match outcome.result {
            Ok(found) => found.put(&mut inventory.stable, &mut volatile),
            Err(mut reason) => {
                let may_come = outcome.took.is_none() && TELLING.contains(&outcome.name.as_str());
                let until = if may_come { started + telling } else { started };
                // What does not answer has not gone: the server takes what is missing for removed.
                if let Some(found) = last(&place(tree, &outcome.name), until) {
                    found.put(&mut inventory.stable, &mut volatile);
                    reason.push_str(STANDS);
                }
                volatile.failures.insert(outcome.name, reason);
            }
        }
    }
    // The kernel line is the machine's own, and comes before the image; what the server pushes comes before both.
    inventory.stable.site.extend(kernel_line(tree));
    let (pushed, wrong) = site::pushed(tree);
    inventory.stable.site.extend(pushed);
    volatile.failures.extend(wrong);
    inventory.volatile = Some(volatile);
    if tree.is_live() {
        inventory.stable.findings.extend(Devices::read().map(|devices| devices.findings).unwrap_or_default());
    }
    inventory
}

/// What of a machine is not known since it could not be read, or not wholly, by collector; `None` if it was not looked at.
/// Parts that differ from time to time do not count, nor do the site's programs, which are named by their paths and whose
/// words outlive this process.
pub(crate) fn unread(inventory: &Inventory) -> Option<Vec<String>> {
    let counts = |name: &str| {
        let is_volatile = VOLATILE.iter().any(|word| name == *word || name.starts_with(&format!("{word} of ")));
        !is_volatile && !name.starts_with('/')
    };
    let failures = &inventory.volatile.as_ref()?.failures;
    let unread = failures.iter().filter(|(name, why)| counts(name) && !why.ends_with(STANDS));
    Some(unread.map(|(name, _)| name.clone()).collect())
}

/// All collectors. What they find is stored in this order: modules in cages belong to the ports that `network` finds. They
/// are read once the ports are, since the kernel holds its lock of all ports for a second where a cage is empty.
fn collectors(tree: &Tree, programs: site::Programs) -> Vec<Collector<Found>> {
    let mut all: Vec<_> = READERS.iter().map(|(name, read)| keeping(tree, name, *read)).collect();
    all.push(keeping(tree, "site", |tree| site::collect(tree, programs)));
    let (ended, network) = mpsc::channel();
    let ports = move |tree: &Tree| {
        let found = network::collect(tree)?;
        // Nobody waits any more where the other's thread could not be started.
        let _ = ended.send(());
        Ok(found)
    };
    all.push(keeping(tree, "network", ports));
    all.push(keeping(tree, "transceivers", move |tree| transceiver::collect(tree, &network)));
    all
}

/// A collector that leaves what it finds in [`LAST`].
fn keeping(
    tree: &Tree,
    name: &str,
    read: impl FnOnce(&Tree) -> anyhow::Result<Found> + Send + 'static,
) -> Collector<Found> {
    let (tree, place) = (tree.clone(), place(tree, name));
    let read = move || {
        let found = read(&tree)?;
        // It stands in for a newer one only, and so is never fresh.
        LAST.keep(&place, found.clone(), Instant::now());
        Ok(found)
    };
    Collector { name: name.to_owned(), read: Box::new(read) }
}

/// Under which a collector's finds are in [`LAST`].
fn place(tree: &Tree, name: &str) -> String {
    format!("{} {name}", tree.path("/").display())
}

/// What was found last, if there is anything before this time.
fn last(place: &str, until: Instant) -> Option<Found> {
    loop {
        let found = LAST.last(place);
        if found.is_some() || Instant::now() >= until {
            return found;
        }
        thread::sleep(CHECKIN_LOOK);
    }
}

/// Facts of the kernel line, `razor.fact.NAME=VALUE`.
fn kernel_line(tree: &Tree) -> BTreeMap<String, Value> {
    Settings::from(tree).line.facts.into_iter().map(|(name, value)| (name, Value::String(value))).collect()
}
