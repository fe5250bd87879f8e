//! Network ports, and what they are plugged into.

use wire::inventory::{Neighbour, Nic, Stable, Transceiver, Volatile};

use crate::describe::{Column, Section, code, join, text, word};
use crate::human;

/// Columns of [`nics`].
const NIC: [Column; 10] = [
    code("NIC"),
    code("MAC"),
    text("Link"),
    code("Addresses"),
    text("Driver"),
    code("Place"),
    text("Switch port"),
    text("Fastest").detail(),
    text("Module").detail(),
    code("Firmware").detail(),
];

/// Ports in order of their place.
pub(super) fn nics(stable: &Stable, volatile: &Volatile) -> Section {
    let cells = |n: &Nic| {
        let heard = n.lldp.iter().flat_map(|l| &l.neighbours).next();
        let module = |t: &Transceiver| join(&[t.kind.as_ref(), t.vendor.as_ref(), t.part.as_ref(), t.serial.as_ref()]);
        vec![
            name(n, volatile),
            word(n.mac.as_ref()),
            link(n, volatile),
            volatile.addresses.get(&n.key).map(|a| a.join(" ")).unwrap_or_default(),
            word(n.driver.as_ref()),
            n.key.clone(),
            heard.map(|p| format!("{} {}", word(p.system_name.as_ref()), p.port)).unwrap_or_default(),
            n.max_mbps.map(human::speed).unwrap_or_default(),
            n.transceiver.as_ref().map(module).unwrap_or_default(),
            word(n.firmware.as_ref()),
        ]
    };
    Section {
        id: "nics",
        title: "Network",
        noun: "Port",
        columns: NIC.to_vec(),
        rows: stable.nics.iter().map(cells).collect(),
        detail: false,
    }
}

fn name(nic: &Nic, volatile: &Volatile) -> String {
    volatile.names.get(&nic.key).or(nic.label.as_ref()).cloned().unwrap_or_default()
}

fn link(nic: &Nic, volatile: &Volatile) -> String {
    match volatile.links.get(&nic.key).map(|l| (l.up, l.mbps)) {
        Some((true, Some(mbps))) => human::speed(mbps),
        Some((true, None)) => "up".to_owned(),
        Some((false, _)) => "no link".to_owned(),
        None => String::new(),
    }
}

/// Columns of [`neighbours`].
const NEIGHBOUR: [Column; 7] = [
    code("Heard on"),
    text("Switch"),
    code("Port"),
    text("Port name"),
    text("VLAN"),
    code("Management"),
    text("About it").detail(),
];

/// What was heard by LLDP, and where nobody spoke.
pub(super) fn neighbours(stable: &Stable, volatile: &Volatile) -> Section {
    let mut rows = Vec::new();
    for nic in &stable.nics {
        let Some(lldp) = &nic.lldp else { continue };
        let port = name(nic, volatile);
        let port = if port.is_empty() { nic.key.clone() } else { port };
        if let (true, Some(seconds)) = (lldp.neighbours.is_empty(), lldp.silent_s) {
            let mut row = vec![port.clone(), format!("nobody spoke LLDP for {seconds} s")];
            row.resize(NEIGHBOUR.len(), String::new());
            rows.push(row);
        }
        rows.extend(lldp.neighbours.iter().map(|neighbour| heard(port.clone(), neighbour)));
    }
    Section { id: "lldp", title: "Switches (LLDP)", noun: "Port", columns: NEIGHBOUR.to_vec(), rows, detail: false }
}

fn heard(port: String, neighbour: &Neighbour) -> Vec<String> {
    vec![
        port,
        neighbour.system_name.clone().unwrap_or_else(|| neighbour.chassis.clone()),
        neighbour.port.clone(),
        word(neighbour.port_description.as_ref()),
        neighbour.vlan.or(neighbour.tagged).map(|v| v.to_string()).unwrap_or_default(),
        neighbour.management.join(" "),
        word(neighbour.system_description.as_ref()),
    ]
}
