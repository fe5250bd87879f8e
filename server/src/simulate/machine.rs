//! What made-up machines report: inventories of recorded machines, with parts repeated until a report is as long as that of a large
//! server, and with serial numbers, MACs and UUIDs of each machine's own. Texts are made once for each model, with marks of fixed
//! length where machines differ, so that a report costs a copy.

use anyhow::Context as _;
use serde::Serialize;
use wire::digest::sha256_hex;
use wire::inventory::{Disk, Inventory, PciDevice, Stable, Volatile};

/// As `mk-agent facts` read them of the machines in `agent/src/facts/recorded`: q35-server, epyc-numa, many-ports, uefi-tpm.
const RECORDED: &str = include_str!("recorded.json");

/// Stands for a machine's number in six hex digits.
const NUMBER: &str = "@@@@@@";
/// The same within a MAC.
const MAC: &str = "@@:@@:@@";
/// Stands for what changes in a changed report, in eight hex digits.
const REVISION: &str = "########";
/// How serial numbers begin.
pub(super) const SERIAL: &str = "SIMULATED-";
/// How MACs begin; the number of the port follows.
const MAC_START: &str = "b4:96";
/// How UUIDs begin.
const UUID_START: &str = "51a70000-0000-4000-8000-000000";

/// Most memory modules and disks that are made of recorded ones; PCI functions make up the rest.
const MOST_DIMMS: usize = 32;
const MOST_DISKS: usize = 24;
/// Most PCI functions that can have an address of their own beside the recorded ones.
const MOST_FUNCTIONS: usize = 4096;

/// A text with marks.
#[derive(Debug)]
struct Text {
    bytes: Vec<u8>,
    /// Where marks are, and which.
    marks: Vec<(usize, &'static str)>,
}

impl Text {
    fn of(value: &impl Serialize) -> anyhow::Result<Self> {
        let text = serde_json::to_string(value).context("a recorded machine has no JSON form")?;
        let mut marks: Vec<(usize, &'static str)> = Vec::new();
        for mark in [NUMBER, MAC, REVISION] {
            marks.extend(text.match_indices(mark).map(|(at, _)| (at, mark)));
        }
        Ok(Self { bytes: text.into_bytes(), marks })
    }

    /// The text of one machine.
    fn fill(&self, number: u32, revision: u32) -> Vec<u8> {
        let number = format!("{number:06x}");
        let mac = format!("{}:{}:{}", &number[..2], &number[2..4], &number[4..]);
        let revision = format!("{revision:08x}");
        let mut bytes = self.bytes.clone();
        for (at, mark) in &self.marks {
            let value = match *mark {
                MAC => &mac,
                NUMBER => &number,
                _ => &revision,
            };
            bytes[*at..at + mark.len()].copy_from_slice(value.as_bytes());
        }
        bytes
    }
}

/// A kind of machine.
#[derive(Debug)]
pub(super) struct Model {
    hw_id: Text,
    facts: Text,
    stable: Text,
    volatile: Text,
    boot: Text,
}

/// Parts of a check-in with a whole report.
pub(super) struct Whole {
    /// `"facts":…,"inventory":…`.
    pub(super) members: Vec<u8>,
    /// Digest of the stable inventory.
    pub(super) digest: String,
}

/// All kinds, with check-ins of at least so many bytes.
///
/// # Errors
/// When the recorded machines cannot be read.
pub(super) fn models(bytes: usize) -> anyhow::Result<Vec<Model>> {
    let recorded: Vec<Inventory> = serde_json::from_str(RECORDED).context("the recorded machines cannot be read")?;
    recorded.into_iter().map(|inventory| Model::grown(inventory, bytes)).collect()
}

impl Model {
    /// A model of this machine, with parts repeated.
    fn grown(mut inventory: Inventory, bytes: usize) -> anyhow::Result<Self> {
        let recorded = inventory.stable.clone();
        let mut extra = 0;
        loop {
            let mut distinct = inventory.clone();
            mark(&mut distinct);
            let model = Self::of(&distinct)?;
            if model.bytes() >= bytes || extra == MOST_FUNCTIONS {
                return Ok(model);
            }
            grow(&mut inventory.stable, &recorded, extra);
            extra += 1;
        }
    }

    fn of(inventory: &Inventory) -> anyhow::Result<Self> {
        let nics = wire::facts::identifying_nics(&inventory.stable);
        let macs = nics.iter().filter_map(|nic| nic.mac.as_ref()).enumerate();
        let boot: String = macs.map(|(i, mac)| format!("net{i}={}&", mac.replace("@@:@@:@@", "@@@@@@"))).collect();
        Ok(Self {
            hw_id: Text::of(&wire::facts::hw_id(&inventory.stable))?,
            facts: Text::of(&wire::facts::flatten(inventory))?,
            stable: Text::of(&inventory.stable)?,
            volatile: Text::of(&inventory.volatile)?,
            boot: Text::of(&format!("{boot}serial={SERIAL}{NUMBER}&uuid={UUID_START}{NUMBER}"))?,
        })
    }

    /// About the length of a check-in with a whole report.
    pub(super) fn bytes(&self) -> usize {
        self.facts.bytes.len() + self.stable.bytes.len()
    }

    /// The original's name of a machine, as a JSON string.
    pub(super) fn hw_id(&self, number: u32) -> String {
        String::from_utf8_lossy(&self.hw_id.fill(number, 0)).trim_matches('"').to_owned()
    }

    /// What iPXE asks with.
    pub(super) fn boot_query(&self, number: u32) -> String {
        String::from_utf8_lossy(&self.boot.fill(number, 0)).trim_matches('"').to_owned()
    }

    /// A whole report; the volatile parts go with the first one of a boot.
    pub(super) fn whole(&self, number: u32, revision: u32) -> Whole {
        let stable = self.stable.fill(number, revision);
        let mut members = b"\"facts\":".to_vec();
        members.append(&mut self.facts.fill(number, revision));
        members.extend_from_slice(b",\"inventory\":{\"stable\":");
        members.extend_from_slice(&stable);
        if revision == 0 {
            members.extend_from_slice(b",\"volatile\":");
            members.append(&mut self.volatile.fill(number, revision));
        }
        members.push(b'}');
        Whole { members, digest: sha256_hex(&stable) }
    }
}

/// Adds a memory module, a disk or a PCI function like the recorded ones.
fn grow(stable: &mut Stable, recorded: &Stable, extra: usize) {
    let pick = |count: usize| extra.checked_rem(count);
    if let Some(memory) = stable.memory.as_mut().filter(|m| m.dimms.len() < MOST_DIMMS && !m.dimms.is_empty()) {
        let mut dimm = memory.dimms[extra % memory.dimms.len()].clone();
        dimm.slot = format!("DIMM {}", memory.dimms.len());
        memory.dimms.push(dimm);
        memory.slots = memory.slots.max(u32::try_from(memory.dimms.len()).ok());
    }
    if let Some(disk) = pick(recorded.disks.len()).filter(|_| stable.disks.len() < MOST_DISKS) {
        stable.disks.push(recorded.disks[disk].clone());
    }
    if let Some(function) = pick(recorded.pci.len()) {
        let address = format!("0000:{:02x}:{:02x}.{}", 0x40 + extra / 256, extra / 8 % 32, extra % 8);
        stable.pci.push(PciDevice { address, ..recorded.pci[function].clone() });
    }
}

/// Puts marks where machines differ. All of it counts as hardware, since of virtual machines only MAC and UUID say anything.
fn mark(inventory: &mut Inventory) {
    let Inventory { stable, volatile } = inventory;
    let own = |text: &str| Some(format!("{text}{NUMBER}"));
    let system = stable.system.get_or_insert_default();
    system.serial = own(SERIAL);
    system.uuid = own(UUID_START);
    system.product = system.product.take().map(|product| format!("{product} (simulated)"));
    stable.board.get_or_insert_default().serial = own("SIMB");
    stable.board.get_or_insert_default().asset = own("SIMA");
    stable.chassis.get_or_insert_default().serial = own("SIMC");
    stable.chassis.get_or_insert_default().asset = own("SIMT");
    stable.bios.get_or_insert_default().version = Some(format!("1.{REVISION}"));
    let virtualization = stable.virtualization.get_or_insert_default();
    (virtualization.is_virtual, virtualization.kind) = (false, Some("physical".to_owned()));
    for (i, nic) in stable.nics.iter_mut().enumerate() {
        nic.mac = Some(format!("{MAC_START}:{i:02x}:{MAC}"));
    }
    if let Some(boot) = &mut stable.boot {
        boot.interface = boot.interface.as_ref().and_then(|_| stable.nics.first()?.mac.clone());
    }
    for (i, dimm) in stable.memory.iter_mut().flat_map(|memory| &mut memory.dimms).enumerate() {
        dimm.serial = own(&format!("{i:02x}"));
    }
    if let Some(tpm) = &mut stable.tpm {
        tpm.ek_sha256 = own(&"e".repeat(58));
    }
    if let Some(bmc) = &mut stable.bmc {
        bmc.mac = bmc.mac.as_ref().map(|_| format!("{MAC_START}:ff:{MAC}"));
        bmc.guid = bmc.guid.as_ref().and_then(|_| own("51a7bbbb-0000-4000-8000-000000"));
    }
    stable.disks.iter_mut().enumerate().for_each(mark_disk);
    let volatile = volatile.get_or_insert_default();
    name(volatile, &stable.disks);
}

fn mark_disk((i, disk): (usize, &mut Disk)) {
    disk.serial = Some(format!("SIMD{i:02x}{NUMBER}"));
    let wwn = format!("naa.5000c5{i:02x}00{NUMBER}");
    disk.wwn = disk.wwn.as_ref().map(|_| wwn.clone());
    disk.key = disk.wwn.clone().unwrap_or_else(|| format!("{}/{i}", disk.key));
}

/// Kernel names of the disks, by which facts about them go.
fn name(volatile: &mut Volatile, disks: &[Disk]) {
    volatile.names = disks.iter().enumerate().map(|(i, disk)| (disk.key.clone(), format!("disk{i}"))).collect();
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use wire::checkin::CheckinRequest;

    use super::*;

    fn request(model: &Model, number: u32, revision: u32) -> (CheckinRequest, String) {
        let whole = model.whole(number, revision);
        let text = format!("{{{}}}", String::from_utf8(whole.members).unwrap());
        (serde_json::from_str(&text).unwrap(), whole.digest)
    }

    #[test]
    fn a_report_is_one_that_an_agent_would_make_of_its_inventory() {
        for model in models(40_000).unwrap() {
            assert!((40_000..50_000).contains(&model.bytes()), "{}", model.bytes());
            let (request, digest) = request(&model, 0x00ab_cdef, 0);
            let inventory = request.inventory.unwrap();
            assert_eq!(digest, wire::digest::stable(&inventory.stable));
            assert_eq!(request.facts.unwrap(), wire::facts::flatten(&inventory));
            assert_eq!(model.hw_id(0x00ab_cdef), wire::facts::hw_id(&inventory.stable));
            let text = serde_json::to_string(&inventory).unwrap();
            assert!(!text.contains('@') && !text.contains('#') && text.contains("SIMULATED-abcdef"), "{text}");
            let addresses: BTreeSet<_> = inventory.stable.pci.iter().map(|p| &p.address).collect();
            let disks: BTreeSet<_> = inventory.stable.disks.iter().map(|d| &d.key).collect();
            assert_eq!((addresses.len(), disks.len()), (inventory.stable.pci.len(), inventory.stable.disks.len()));
        }
    }

    #[test]
    fn machines_share_no_number_and_a_change_is_of_one_value() {
        for model in models(0).unwrap() {
            let (one, former) = request(&model, 1, 1);
            let (other, _) = request(&model, 2, 1);
            let (later, digest) = request(&model, 1, 2);
            let stable = |r: &CheckinRequest| r.inventory.clone().unwrap().stable;
            let (one, other, mut later) = (stable(&one), stable(&other), stable(&later));
            let disks = |s: &Stable| s.disks.iter().map(|d| d.serial.clone()).collect::<BTreeSet<_>>();
            let macs = |s: &Stable| s.nics.iter().map(|n| n.mac.clone()).collect::<BTreeSet<_>>();
            assert!(disks(&one).is_disjoint(&disks(&other)) && macs(&one).is_disjoint(&macs(&other)));
            assert_ne!(digest, former);
            later.bios = one.bios.clone();
            assert_eq!(one, later);
        }
    }
}
