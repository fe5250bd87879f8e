//! Memory modules, disks, USB devices, NUMA nodes, temperatures.

use wire::inventory::{Disk, Health, Stable, Volatile};

use crate::describe::{Column, Section, code, join, text, word};
use crate::human;

/// Columns of [`dimms`].
const DIMM: [Column; 9] = [
    code("DIMM"),
    text("Size"),
    text("Type"),
    text("Speed"),
    text("Maker"),
    code("Part"),
    code("Serial"),
    text("Ranks").detail(),
    text("Errors").detail(),
];

/// Memory modules in order of slot, and how many slots are empty.
pub(super) fn dimms(stable: &Stable, volatile: &Volatile) -> Section {
    let dimms = stable.memory.iter().flat_map(|m| &m.dimms);
    let mut rows: Vec<Vec<String>> = dimms
        .map(|d| {
            let errors = volatile.edac.get(&d.slot).map(|e| {
                format!("{} corrected, {} not", e.corrected.unwrap_or_default(), e.uncorrected.unwrap_or_default())
            });
            vec![
                d.slot.clone(),
                d.size_bytes.map(human::memory).unwrap_or_default(),
                join(&[d.kind.as_ref(), d.form_factor.as_ref()]),
                d.configured_mts.or(d.speed_mts).map(|s| format!("{s} MT/s")).unwrap_or_default(),
                word(d.manufacturer.as_ref()),
                word(d.part.as_ref()),
                word(d.serial.as_ref()),
                d.ranks.map(|r| r.to_string()).unwrap_or_default(),
                errors.unwrap_or_default(),
            ]
        })
        .collect();
    let slots = stable.memory.as_ref().and_then(|m| m.slots).and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
    let empty = slots.saturating_sub(rows.len());
    if empty > 0 {
        let mut row = vec![human::count(empty, "slot", "slots"), "empty".to_owned()];
        row.resize(DIMM.len(), String::new());
        rows.push(row);
    }
    Section { id: "memory", title: "Memory modules", noun: "Slot", columns: DIMM.to_vec(), rows, detail: false }
}

/// Columns of [`disks`].
const DISK: [Column; 10] = [
    code("Disk"),
    text("Size"),
    text("Bus"),
    text("Kind"),
    text("Model"),
    code("Serial"),
    code("WWN"),
    code("Firmware").detail(),
    code("Place").detail(),
    text("Health").detail(),
];

/// Disks.
pub(super) fn disks(stable: &Stable, volatile: &Volatile) -> Section {
    let cells = |d: &Disk| {
        vec![
            volatile.names.get(&d.key).cloned().unwrap_or_else(|| d.key.clone()),
            d.size_bytes.map(human::disk).unwrap_or_default(),
            word(d.transport.as_ref()),
            d.rotational.map(|r| if r { "spinning" } else { "solid" }.to_owned()).unwrap_or_default(),
            join(&[d.vendor.as_ref(), d.model.as_ref()]),
            word(d.serial.as_ref()),
            word(d.wwn.as_ref()),
            word(d.firmware.as_ref()),
            word(d.path.as_ref()),
            volatile.health.get(&d.key).map(health).unwrap_or_default(),
        ]
    };
    Section {
        id: "disks",
        title: "Disks",
        noun: "Disk",
        columns: DISK.to_vec(),
        rows: stable.disks.iter().map(cells).collect(),
        detail: false,
    }
}

fn health(health: &Health) -> String {
    let verdict = health.passed.map(|good| if good { "good" } else { "FAILING" }.to_owned());
    let hours = health.hours.map(|h| format!("{h} h in service"));
    let heat = health.temperature_c.map(|t| format!("{t} °C"));
    let used = health.used_percent.map(|p| format!("{p} % used"));
    let errors = health.media_errors.filter(|n| *n > 0).map(|n| format!("{n} media errors"));
    join(&[verdict.as_ref(), hours.as_ref(), heat.as_ref(), used.as_ref(), errors.as_ref()])
}

/// USB devices; hubs that only connect others are left out.
pub(super) fn usb(stable: &Stable) -> Section {
    let shown = stable.usb.iter().filter(|d| d.class.as_deref() != Some("09"));
    let cells = |d: &wire::inventory::UsbDevice| {
        let what = join(&[d.manufacturer.as_ref(), d.product.as_ref()]);
        vec![d.path.clone(), what, d.id.clone(), word(d.serial.as_ref())]
    };
    let columns = vec![code("USB"), text("What"), code("Id"), code("Serial")];
    Section { id: "usb", title: "USB devices", noun: "Port", columns, rows: shown.map(cells).collect(), detail: true }
}

/// Temperatures by sensor.
pub(super) fn temperatures(volatile: &Volatile) -> Section {
    let cells = |(sensor, degrees): (&String, &f64)| vec![sensor.clone(), format!("{degrees:.1} °C")];
    let columns = vec![text("Sensor"), text("Temperature")];
    let rows = volatile.temperatures.iter().map(cells).collect();
    Section { id: "temperatures", title: "Temperatures", noun: "Sensor", columns, rows, detail: true }
}

/// NUMA nodes, where there are several.
pub(super) fn numa(stable: &Stable) -> Section {
    let cells = |n: &wire::inventory::NumaNode| {
        let distances: Vec<String> = n.distances.iter().map(u32::to_string).collect();
        let memory = n.memory_bytes.map(human::memory).unwrap_or_default();
        vec![n.id.to_string(), n.cpus.clone(), memory, distances.join(" ")]
    };
    let columns = vec![text("NUMA node"), code("CPUs"), text("Memory"), code("Distances")];
    let several = stable.numa.len() > 1;
    let rows = stable.numa.iter().filter(|_| several).map(cells).collect();
    Section { id: "numa", title: "NUMA nodes", noun: "Node", columns, rows, detail: true }
}
