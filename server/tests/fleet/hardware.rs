//! Machines as they stand in a rack, and what firmware, iPXE and agent say of them. Nothing here knows how the server
//! decides.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use wire::inventory::Stable;

use crate::random::Random;

/// SMBIOS chassis type of a server of its own.
const RACK: u8 = 23;
/// SMBIOS chassis type of a blade.
const BLADE: u8 = 28;

/// A network port.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Port {
    pub(crate) mac: String,
    /// Soldered to the main board.
    pub(crate) onboard: bool,
}

/// What a machine is made of, as its firmware names it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Hardware {
    pub(crate) uuid: String,
    pub(crate) serial: String,
    pub(crate) board: String,
    pub(crate) chassis: String,
    pub(crate) chassis_kind: u8,
    pub(crate) tpm: Option<String>,
    pub(crate) dimms: Vec<String>,
    pub(crate) disks: Vec<String>,
    pub(crate) ports: Vec<Port>,
    pub(crate) bmc: String,
    /// A USB port that goes from machine to machine.
    pub(crate) dongle: Option<String>,
    /// A virtual machine: its firmware shows numbers of its host, or of nobody.
    pub(crate) virtual_one: bool,
}

/// How the machines of a fleet are made: what their vendor left blank, copied or shared.
#[derive(Debug, Clone)]
pub(crate) struct Model {
    /// Value of all system serials, where they are not the machine's own.
    pub(crate) serial: Option<String>,
    /// Value of all UUIDs.
    pub(crate) uuid: Option<String>,
    /// Value of all board serials.
    pub(crate) board: Option<String>,
    /// Value of all chassis serials.
    pub(crate) chassis: Option<String>,
    /// Machines per chassis; all of them show its serial.
    pub(crate) per_chassis: usize,
    /// Machines of one chassis show one system serial.
    pub(crate) serial_of_chassis: bool,
    /// Memory modules show serial numbers.
    pub(crate) dimm_serials: bool,
    pub(crate) disks: usize,
    pub(crate) onboard: usize,
    pub(crate) cards: usize,
    pub(crate) tpm: bool,
    /// These are virtual machines; a chassis is their host.
    pub(crate) virtual_one: bool,
}

/// First byte of a manufacturer's MACs: even, and not locally administered.
const MANUFACTURER: u8 = 0x3c;
/// First byte of the MACs that QEMU makes up.
const MADE_UP: u8 = 0x52;

/// Numbers that no two parts have.
pub(crate) struct Factory {
    fleet: u64,
    next: u64,
    mac_prefix: u8,
}

impl Factory {
    pub(crate) fn new(fleet: u64) -> Self {
        Self { fleet, next: 0, mac_prefix: MANUFACTURER }
    }

    pub(crate) fn number(&mut self, kind: &str) -> String {
        self.next += 1;
        format!("{kind}{:05x}{:05x}", self.fleet, self.next)
    }

    pub(crate) fn mac(&mut self) -> String {
        self.next += 1;
        let [.., a, b, c] = self.fleet.to_be_bytes();
        let [.., d, e] = self.next.to_be_bytes();
        format!("{:02x}:{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}", self.mac_prefix)
    }

    pub(crate) fn uuid(&mut self) -> String {
        self.next += 1;
        format!("{:08x}-{:04x}-4a5b-8c6d-{:012x}", self.fleet, self.next & 0xffff, self.next * 7 + 1)
    }

    fn list(&mut self, kind: &str, count: usize) -> Vec<String> {
        (0..count).map(|_| self.number(kind)).collect()
    }

    pub(crate) fn port(&mut self, onboard: bool) -> Port {
        Port { mac: self.mac(), onboard }
    }
}

impl Model {
    /// A model with the faults that vendors make: each on its own, or all of them, as of boards that are sold without a
    /// system. `tpm`: half of all models show a TPM key.
    pub(crate) fn any(random: &mut Random, factory: &mut Factory, tpm: bool) -> Self {
        let junk = |random: &mut Random| {
            let words =
                ["", "To Be Filled By O.E.M.", "0123456789", "Default string", "Not Specified", "........", "None"];
            (*random.pick(&words)).to_owned()
        };
        let serial = match random.below(10) {
            0 => Some(junk(random)),
            1 => Some(factory.number("CLONE")),
            _ => None,
        };
        let virtual_one = random.percent(15);
        let uuid = match random.below(10) {
            // Hypervisors leave none out.
            0 if !virtual_one => Some("03000200-0400-0500-0006-000700080009".to_owned()),
            1 => Some(factory.uuid()),
            _ => None,
        };
        let bare = !virtual_one && random.percent(10);
        let or_bare = |value: Option<String>, junk: &str| if bare { Some(junk.to_owned()) } else { value };
        if virtual_one && random.percent(60) {
            factory.mac_prefix = MADE_UP;
        }
        Self {
            virtual_one,
            serial: or_bare(serial, "Default string"),
            uuid: or_bare(uuid, "03000200-0400-0500-0006-000700080009"),
            board: or_bare(random.percent(20).then(|| junk(random)), "Default string"),
            chassis: or_bare((!virtual_one && random.percent(30)).then(|| junk(random)), "Default string"),
            per_chassis: if virtual_one || random.percent(25) { 4 } else { 1 },
            serial_of_chassis: random.percent(30),
            dimm_serials: random.percent(85),
            disks: *random.pick(&[0, 1, 2, 2, 4, 8]),
            onboard: *random.pick(&[1, 2, 2, 4]),
            cards: *random.pick(&[0, 0, 1, 2]),
            tpm: tpm && !bare && random.percent(50),
        }
    }

    /// One machine; `chassis` is where it is built in.
    pub(crate) fn build(&self, chassis: &str, random: &mut Random, factory: &mut Factory) -> Hardware {
        if self.virtual_one {
            return self.define(chassis, factory);
        }
        let shared = self.per_chassis > 1;
        let own_serial = if shared && self.serial_of_chassis { format!("S{chassis}") } else { factory.number("SYS") };
        let dimms = 2 * (1 + random.below(4));
        Hardware {
            uuid: self.uuid.clone().unwrap_or_else(|| factory.uuid()),
            serial: self.serial.clone().unwrap_or(own_serial),
            board: self.board.clone().unwrap_or_else(|| factory.number("BRD")),
            chassis: self.chassis.clone().unwrap_or_else(|| chassis.to_owned()),
            chassis_kind: if shared && random.percent(50) { BLADE } else { RACK },
            tpm: self.tpm.then(|| factory.number("ek")),
            dimms: if self.dimm_serials { factory.list("DIMM", dimms) } else { vec!["00000000".to_owned(); dimms] },
            disks: factory.list("DISK", self.disks),
            ports: (0..self.onboard + self.cards).map(|n| factory.port(n < self.onboard)).collect(),
            bmc: factory.mac(),
            dongle: None,
            virtual_one: false,
        }
    }

    /// One virtual machine; it shows the numbers of its host, and disks as all of its hypervisor's are numbered.
    fn define(&self, host: &str, factory: &mut Factory) -> Hardware {
        let number = |kind: &str| self.serial.clone().unwrap_or_else(|| format!("{kind}{host}"));
        Hardware {
            uuid: self.uuid.clone().unwrap_or_else(|| factory.uuid()),
            serial: number("S"),
            board: self.board.clone().unwrap_or_else(|| number("B")),
            chassis: host.to_owned(),
            chassis_kind: RACK,
            tpm: self.tpm.then(|| factory.number("ek")),
            dimms: vec!["Not Specified".to_owned(); 1],
            disks: (1..=self.disks).map(|n| format!("QM{n:05}")).collect(),
            ports: (0..self.onboard).map(|n| factory.port(n == 0)).collect(),
            bmc: String::new(),
            dongle: None,
            virtual_one: true,
        }
    }
}

impl Hardware {
    /// The stable inventory that the agent sends.
    pub(crate) fn inventory(&self) -> Stable {
        let keyed = |list: &[String], key: &str| -> Vec<Value> {
            list.iter().enumerate().map(|(n, s)| json!({key: format!("{n}"), "serial": s})).collect()
        };
        let ports = self.ports.iter().enumerate();
        let mut nics: Vec<Value> =
            ports.map(|(n, p)| json!({"key": format!("0000:{n:02x}:00.0"), "mac": p.mac, "bus": "pci"})).collect();
        // The BMC's own port on the host's USB bus has one MAC in all machines of its maker.
        let has_bmc = !self.virtual_one;
        nics.extend(has_bmc.then(|| json!({"key": "1-14", "mac": "02:00:00:00:00:01", "bus": "usb"})));
        nics.extend(self.dongle.iter().map(|mac| json!({"key": "1-2", "mac": mac, "bus": "usb"})));
        let stable = json!({
            "system": {"serial": self.serial, "uuid": self.uuid},
            "board": {"serial": self.board},
            "chassis": {"serial": self.chassis, "kind": self.chassis_kind},
            "memory": {"dimms": keyed(&self.dimms, "slot")},
            "disks": keyed(&self.disks, "key"),
            "nics": nics,
            "bmc": has_bmc.then(|| json!({"mac": self.bmc})),
            "tpm": self.tpm.as_ref().map(|key| json!({"ek_sha256": key})),
            "virtualization": {"is_virtual": self.virtual_one},
        });
        serde_json::from_value(stable).unwrap()
    }

    /// What an original client's Facter says, virtual interfaces and the BMC's port among it.
    pub(crate) fn facts(&self) -> Map<String, Value> {
        let mut facts = Map::new();
        for (n, port) in self.ports.iter().enumerate() {
            facts.insert(format!("macaddress_eth{n}"), port.mac.clone().into());
        }
        facts.insert("macaddress".into(), self.ports[0].mac.clone().into());
        facts.insert("macaddress_usb0".into(), "02:00:00:00:00:01".into());
        facts.insert("macaddress_docker0".into(), "02:42:ac:11:00:01".into());
        facts.insert("macaddress_virbr0".into(), "52:54:00:ab:cd:ef".into());
        facts.insert("serialnumber".into(), self.serial.clone().into());
        facts.insert("boardserialnumber".into(), self.board.clone().into());
        facts.insert("uuid".into(), self.uuid.clone().into());
        facts.insert("is_virtual".into(), self.virtual_one.to_string().into());
        facts
    }

    /// What iPXE sends: all ports, or only the one that it boots from; strings of the firmware, or none.
    pub(crate) fn query(&self, random: &mut Random) -> Vec<(String, String)> {
        let mut macs: Vec<&String> = self.ports.iter().map(|p| &p.mac).collect();
        macs.extend(&self.dongle);
        random.shuffle(&mut macs);
        if random.percent(30) {
            macs.truncate(1);
        }
        let mut pairs: Vec<(String, String)> =
            macs.iter().enumerate().map(|(n, mac)| (format!("net{n}"), (*mac).clone())).collect();
        pairs.push(("dhcp_mac".into(), macs[0].clone()));
        if random.percent(90) {
            let uuid = if random.percent(20) { swapped(&self.uuid) } else { self.uuid.clone() };
            pairs.push(("uuid".into(), uuid));
            pairs.push(("serial".into(), self.serial.clone()));
        }
        pairs
    }

    /// Its firmware says a serial number of its own or of a copy, not a placeholder.
    pub(crate) fn shows_serial(&self) -> bool {
        !is_junk(&self.serial)
    }

    /// Its chassis has a serial number, and not one of many machines by its very kind.
    pub(crate) fn shows_chassis(&self) -> bool {
        self.chassis_kind != BLADE && !is_junk(&self.chassis)
    }

    /// What can be seen of it and is its own, by kind.
    pub(crate) fn values(&self) -> BTreeMap<&'static str, Vec<String>> {
        let one = |s: &String| vec![s.clone()];
        let hosts = |list: Vec<String>| if self.virtual_one { Vec::new() } else { list };
        let list: [(&str, Vec<String>); 8] = [
            ("uuid", one(&self.uuid)),
            ("serial", hosts(one(&self.serial))),
            ("board", hosts(one(&self.board))),
            ("chassis", hosts(if self.shows_chassis() { one(&self.chassis) } else { Vec::new() })),
            ("tpm", self.tpm.iter().cloned().collect()),
            ("dimm", hosts(self.dimms.clone())),
            ("disk", hosts(self.disks.clone())),
            ("mac", self.ports.iter().map(|p| p.mac.clone()).collect()),
        ];
        list.into()
    }
}

/// A UUID as firmware before SMBIOS 2.6 orders its bytes.
fn swapped(uuid: &str) -> String {
    let fields: Vec<String> = uuid.split('-').map(str::to_owned).collect();
    let [a, b, c, rest @ ..] = fields.as_slice() else { return uuid.to_owned() };
    let turn =
        |f: &String| -> String { f.as_bytes().chunks(2).rev().map(|b| std::str::from_utf8(b).unwrap()).collect() };
    format!("{}-{}-{}-{}", turn(a), turn(b), turn(c), rest.join("-"))
}

/// What this test's own generator puts where a vendor has no value.
pub(crate) fn is_junk(value: &str) -> bool {
    let known = [
        "",
        "To Be Filled By O.E.M.",
        "To be filled by O.E.M.",
        "0123456789",
        "Default string",
        "Not Specified",
        "........",
        "None",
        "System Serial Number",
        "Base Board Serial Number",
        "00000000",
        "00000000-0000-0000-0000-000000000000",
        "03000200-0400-0500-0006-000700080009",
    ];
    known.contains(&value)
}
