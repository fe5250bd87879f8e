//! The machine as a whole, in lines of a name and a value.

use std::collections::BTreeMap;

use serde_json::Value;
use wire::checkin::Agent;
use wire::facts::identifying_nics;
use wire::inventory::{Bmc, Disk, Stable, Tpm};

use crate::describe::{Brief, Node, join, labelled, word};
use crate::human;

/// From the inventory of an agent of ours.
pub(super) fn of_inventory(stable: &Stable) -> Vec<(&'static str, String)> {
    let mut lines = Vec::new();
    if let Some(s) = &stable.system {
        let serial = labelled("serial", s.serial.as_ref());
        let parts = [s.manufacturer.as_ref(), s.product.as_ref(), s.version.as_ref(), serial.as_ref()];
        lines.push(("System", join(&parts)));
        lines.push(("UUID", word(s.uuid.as_ref())));
    }
    if let Some(b) = &stable.board {
        let (serial, asset) = (labelled("serial", b.serial.as_ref()), labelled("asset", b.asset.as_ref()));
        lines.push(("Board", join(&[b.manufacturer.as_ref(), b.product.as_ref(), serial.as_ref(), asset.as_ref()])));
    }
    if let Some(c) = &stable.chassis {
        let (serial, asset) = (labelled("serial", c.serial.as_ref()), labelled("asset", c.asset.as_ref()));
        lines.push(("Chassis", join(&[c.manufacturer.as_ref(), serial.as_ref(), asset.as_ref()])));
    }
    if let Some(b) = &stable.bios {
        lines.push(("BIOS", join(&[b.vendor.as_ref(), b.version.as_ref(), b.date.as_ref()])));
    }
    lines.push(("Boot", boot(stable)));
    if let Some(v) = stable.virtualization.as_ref().filter(|v| v.is_virtual) {
        lines.push(("Virtual", v.kind.clone().unwrap_or_else(|| "yes".to_owned())));
    }
    if let Some(k) = &stable.kernel {
        lines.push(("Kernel", join(&[k.release.as_ref(), k.architecture.as_ref()])));
    }
    lines.push(("CPU", cpu(stable)));
    lines.push(("Vulnerable", vulnerable(stable)));
    lines.push(("Memory", memory(stable)));
    lines.push(("BMC", stable.bmc.as_ref().map(bmc).unwrap_or_default()));
    lines.push(("TPM", stable.tpm.as_ref().map(tpm).unwrap_or_default()));
    lines.extend(stable.site.iter().map(|(name, value)| ("Site fact", format!("{name} = {}", fact(value)))));
    lines
}

/// From the facts of an original client.
pub(super) fn of_facts(facts: &Value) -> Vec<(&'static str, String)> {
    let named = |name: &str| facts[name].as_str().map(str::to_owned);
    let serial = labelled("serial", named("serialnumber").as_ref());
    vec![
        ("System", join(&[named("manufacturer").as_ref(), named("productname").as_ref(), serial.as_ref()])),
        ("UUID", named("uuid").unwrap_or_default()),
        ("CPU", named("processor0").unwrap_or_default()),
        ("Memory", named("memorysize").unwrap_or_default()),
    ]
}

/// In a few words; where there is no inventory, from the facts, or from what iPXE said.
pub(super) fn brief(node: &Node) -> Brief {
    let none = Stable::default();
    let stable = node.inventory.as_ref().map_or(&none, |i| &i.stable);
    let facts = &node.document["facts"];
    let named = |name: &str| facts.get(name).map(fact);
    let system = stable.system.clone().unwrap_or_default();
    let maker = system.manufacturer.or_else(|| named("manufacturer"));
    let product = system.product.or_else(|| named("productname"));
    let threads = stable.cpu.as_ref().and_then(|c| c.threads).map(|n| n.to_string());
    let memory = stable.memory.as_ref().and_then(|m| m.installed_bytes).map(human::memory);
    let macs: Vec<String> = identifying_nics(stable).iter().filter_map(|n| n.mac.clone()).collect();
    let known = node.document["hw_info"]["mac"].as_array().into_iter().flatten().map(|m| fact(m).replace('-', ":"));
    let mode = stable.boot.as_ref().and_then(|b| b.mode.as_deref()).map(firmware_mode);
    let image = node.agent.as_ref().map(|a| [a.image.as_str(), a.variant.as_str()].join(" ").trim().to_owned());
    Brief {
        machine: maker.iter().chain(&product).map(|part| human::part(part)).collect::<Vec<_>>().join(" "),
        serial: system.serial.or_else(|| named("serialnumber")).unwrap_or_default(),
        cpus: threads.or_else(|| named("processorcount")).unwrap_or_default(),
        memory: memory.or_else(|| named("memorysize")).unwrap_or_default(),
        disks: disks(&stable.disks),
        macs: if macs.is_empty() { known.collect() } else { macs },
        booted: join(&[mode.map(str::to_owned).as_ref(), image.as_ref()]),
    }
}

fn firmware_mode(mode: &str) -> &str {
    match mode {
        "bios" => "BIOS",
        "uefi" => "UEFI",
        other => other,
    }
}

/// Disks of equal size together, largest first.
fn disks(disks: &[Disk]) -> Vec<String> {
    let mut sizes: BTreeMap<u64, usize> = BTreeMap::new();
    for disk in disks.iter().filter(|d| !d.removable) {
        *sizes.entry(disk.size_bytes.unwrap_or(0)).or_default() += 1;
    }
    let groups = sizes.iter().rev().map(|(bytes, count)| match count {
        1 => human::disk(*bytes),
        n => format!("{n} × {}", human::disk(*bytes)),
    });
    groups.collect()
}

/// The agent and its image.
pub(super) fn agent(agent: &Agent) -> String {
    let image = Some(format!("image {}", agent.image)).filter(|_| !agent.image.is_empty());
    join(&[Some(&agent.version), Some(&agent.variant), image.as_ref()])
}

fn boot(stable: &Stable) -> String {
    let Some(boot) = &stable.boot else { return String::new() };
    let secure = boot.secure_boot.map(|on| format!("Secure Boot {}", if on { "on" } else { "off" }));
    let from = labelled("from the network by", boot.interface.as_ref());
    let mode = boot.mode.as_deref().map(|m| firmware_mode(m).to_owned());
    join(&[mode.as_ref(), secure.as_ref(), from.as_ref()])
}

fn cpu(stable: &Stable) -> String {
    let Some(cpu) = &stable.cpu else { return String::new() };
    let count = |n: Option<u32>, one, many| n.map(|n| human::count(usize::try_from(n).unwrap_or(0), one, many));
    join(&[
        cpu.model.as_ref().or(cpu.vendor.as_ref()),
        count(cpu.packages, "package", "packages").as_ref(),
        count(cpu.cores, "core", "cores").as_ref(),
        count(cpu.threads, "thread", "threads").as_ref(),
        labelled("microcode", cpu.microcode.as_ref()).as_ref(),
    ])
}

/// Vulnerabilities of the processors that the kernel has no remedy for.
fn vulnerable(stable: &Stable) -> String {
    let verdicts = stable.cpu.iter().flat_map(|c| &c.vulnerabilities);
    let open = verdicts.filter(|(_, verdict)| verdict.starts_with("Vulnerable")).map(|(name, _)| name.as_str());
    open.collect::<Vec<_>>().join(", ")
}

fn memory(stable: &Stable) -> String {
    let Some(memory) = &stable.memory else { return String::new() };
    let modules = human::count(memory.dimms.len(), "module", "modules");
    let slots = memory.slots.map(|n| human::count(usize::try_from(n).unwrap_or(0), "slot", "slots"));
    join(&[memory.installed_bytes.map(human::memory).as_ref(), Some(&modules), slots.as_ref()])
}

fn bmc(bmc: &Bmc) -> String {
    let ipv6 = bmc.ipv6.iter().map(Some);
    let source = bmc.source.as_ref().map(|s| format!("address by {s}"));
    let firmware = labelled("firmware", bmc.firmware.as_ref());
    let parts = [bmc.ipv4.as_ref()].into_iter().chain(ipv6);
    join(&parts.chain([source.as_ref(), bmc.mac.as_ref(), firmware.as_ref()]).collect::<Vec<_>>())
}

fn tpm(tpm: &Tpm) -> String {
    let firmware = labelled("firmware", tpm.firmware.as_ref());
    let key = labelled("endorsement key", tpm.ek_sha256.as_ref());
    join(&[tpm.version.as_ref(), tpm.manufacturer.as_ref(), firmware.as_ref(), tpm.state.as_ref(), key.as_ref()])
}

fn fact(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
