//! Machines that look like real ones, for what people see.

use serde_json::{Value, json};
use wire::inventory::Stable;

/// Makers, products and processors.
const MAKES: [(&str, &str, &str, u32); 4] = [
    ("Dell Inc.", "PowerEdge R650", "Intel(R) Xeon(R) Gold 6338 CPU @ 2.00GHz", 32),
    ("HPE", "ProLiant DL380 Gen10", "Intel(R) Xeon(R) Silver 4214R CPU @ 2.40GHz", 24),
    ("Supermicro", "SYS-6019P-WTR", "Intel(R) Xeon(R) Gold 5218 CPU @ 2.30GHz", 16),
    ("Lenovo", "ThinkSystem SR630 -[7X02CTO1WW]-", "AMD EPYC 7302P 16-Core Processor", 16),
];

const GIB: u64 = 1 << 30;

/// The first MAC of machine `n`.
pub(crate) fn mac(n: u8) -> String {
    format!("00:1b:21:3c:4d:{n:02x}")
}

/// What machine `n` sends at its first check-in.
pub(crate) fn machine(n: u8) -> Value {
    let stable: Stable = serde_json::from_value(stable(n)).unwrap();
    json!({
        "inventory_digest": wire::digest::stable(&stable),
        "inventory": {"stable": stable, "volatile": volatile(n)},
        "agent": agent(),
        "problems": [{"code": "dhcp_no_answer", "error": "No DHCP answer on eth1 in 30 s.", "remedy": "Check the cable and the VLAN of that port."}]
    })
}

fn stable(n: u8) -> Value {
    let (maker, product, processor, cores) = MAKES[usize::from(n) % MAKES.len()];
    let uefi = n.is_multiple_of(2);
    json!({
        "system": {"manufacturer": maker, "product": product, "serial": format!("SRV{n:05}"), "uuid": format!("4c4c4544-0042-4310-8031-b3c04f4e32{n:02x}")},
        "board": {"manufacturer": maker, "product": "0H1V9C", "serial": format!(".SRV{n:05}.CNFCP"), "asset": format!("B-{n}")},
        "chassis": {"manufacturer": maker, "kind": 23, "serial": format!("CH{n:05}"), "asset": format!("A-{n}")},
        "bios": {"vendor": maker, "version": "1.6.5", "date": "04/15/2022"},
        "boot": {"mode": if uefi { "uefi" } else { "bios" }, "secure_boot": uefi.then_some(true), "interface": mac(n)},
        "kernel": {"release": "6.1.0-50-amd64", "architecture": "x86_64"},
        "cpu": {"vendor": "GenuineIntel", "model": processor, "packages": 2, "cores": 2 * cores, "threads": 4 * cores, "microcode": "0xd000389",
            "vulnerabilities": {"mds": "Vulnerable: Clear CPU buffers attempted, no microcode", "meltdown": "Not affected"}},
        "memory": memory(n),
        "numa": [{"id": 0, "cpus": "0-31,64-95", "memory_bytes": 64 * GIB, "distances": [10, 20]}, {"id": 1, "cpus": "32-63,96-127", "memory_bytes": 64 * GIB, "distances": [20, 10]}],
        "disks": (0..=(n % 3)).map(|d| disk(n, d)).collect::<Vec<_>>(),
        "nics": nics(n),
        "pci": [
            {"address": "0000:17:00.0", "id": "1000:0014", "class": "010400", "driver": "megaraid_sas", "numa": 0, "link_width": 8, "max_link_width": 8},
            {"address": "0000:31:00.0", "id": "8086:1572", "class": "020000", "driver": "i40e", "numa": 0, "link_width": 4, "max_link_width": 8},
            {"address": "0000:31:00.1", "id": "8086:1572", "class": "020000", "driver": "i40e", "numa": 0, "link_width": 4, "max_link_width": 8},
            {"address": "0000:b1:00.0", "id": "10de:1eb8", "class": "030200", "numa": 1, "link_width": 16, "max_link_width": 16},
            {"address": "0000:00:1c.0", "id": "8086:a190", "class": "060400", "driver": "pcieport"}
        ],
        "usb": [{"path": "1-14.1", "id": "0624:0249", "manufacturer": "Avocent", "product": "Keyboard/Mouse Function", "class": "00"}],
        "bmc": {"mac": format!("d0:94:66:00:00:{n:02x}"), "ipv4": format!("10.9.0.{n}"), "source": "dhcp", "firmware": "5.10"},
        "tpm": {"version": "2.0", "manufacturer": "IFX", "firmware": "7.2"},
        "findings": [{"code": "no_driver", "component": "0000:b1:00.0", "text": "No driver for 10de:1eb8 (GPU): it is not in this image's driver set."}]
    })
}

fn memory(n: u8) -> Value {
    let modules: u8 = [4, 8, 12, 2][usize::from(n) % 4];
    let dimms: Vec<Value> = (0..modules)
        .map(|slot| {
            json!({"slot": format!("DIMM_A{}", slot + 1), "size_bytes": 32 * GIB, "kind": "DDR4", "form_factor": "DIMM",
                "speed_mts": 3200, "configured_mts": 2933, "manufacturer": "Samsung", "part": "M393A4K40DB3-CWE",
                "serial": format!("44D1A2{slot:02X}{n:02X}"), "ranks": 2})
        })
        .collect();
    json!({"installed_bytes": u64::from(modules) * 32 * GIB, "slots": 16, "dimms": dimms})
}

fn wwn(n: u8, disk: u8) -> String {
    format!("naa.5000c500a1b2{n:02x}{disk:02x}")
}

fn disk(n: u8, d: u8) -> Value {
    let size = if d == 0 { 480_103_981_056u64 } else { 7_681_501_126_656 };
    json!({"key": wwn(n, d), "size_bytes": size, "vendor": "SAMSUNG", "model": "MZ7LH480HAHQ0D3",
        "serial": format!("S45PNA0M{n:02X}{d:02X}"), "wwn": wwn(n, d), "firmware": "HXT7904Q", "rotational": false,
        "transport": "sata", "path": format!("0000:00:17.0/ata{}", d + 1)})
}

fn nics(n: u8) -> Value {
    json!([
        {"key": "0000:31:00.0", "mac": mac(n), "bus": "pci", "driver": "i40e", "firmware": "8.30 0x8000a49d 20.5.13", "pci_id": "8086:1572", "label": "eno1", "max_mbps": 10000,
            "transceiver": {"kind": "SFP", "vendor": "FINISAR CORP.", "part": "FTLX8571D3BCL", "serial": "A1B2C3"},
            "lldp": {"neighbours": [{"chassis": "44:38:39:00:00:17", "port": format!("Ethernet1/{n}"), "port_description": format!("rack 12 server {n}"), "system_name": "leaf-12a.dc1.example",
                "system_description": "Arista Networks EOS version 4.28.3M running on an Arista DCS-7050SX3", "management": ["10.1.0.12"], "vlan": 120, "raw": "0207"}]}},
        {"key": "0000:31:00.1", "mac": format!("00:1b:21:3c:4e:{n:02x}"), "bus": "pci", "driver": "i40e", "pci_id": "8086:1572", "label": "eno2", "max_mbps": 10000, "lldp": {"silent_s": 35}}
    ])
}

fn volatile(n: u8) -> Value {
    json!({
        "names": {"0000:31:00.0": "eth0", "0000:31:00.1": "eth1", (wwn(n, 0)): "sda", (wwn(n, 1)): "sdb", (wwn(n, 2)): "sdc"},
        "links": {"0000:31:00.0": {"up": true, "mbps": 10000, "full_duplex": true}, "0000:31:00.1": {"up": false}},
        "addresses": {"0000:31:00.0": [format!("10.20.0.{n}/24"), "fe80::21b:21ff:fe3c:4d01/64"]},
        "health": {(wwn(n, 0)): {"passed": true, "hours": 18211, "temperature_c": 31, "used_percent": 4}},
        "failures": {"bmc-sensors": "no answer in 2 s"}
    })
}

fn agent() -> Value {
    let unit = |name: &str| {
        let ended = (name == "net").then_some("killed by signal 9");
        json!({"name": name, "state": "running", "restarts": u8::from(ended.is_some()), "last_exit": ended})
    };
    let units = ["checkin", "console", "control", "devices", "mirror", "net"].map(unit);
    let extension = |(name, digit): (&str, &str)| json!({"name": name, "sha256": digit.repeat(64)});
    let extensions = [("bash.tcz", "a"), ("dmidecode.tcz", "b"), ("scsi-6.1.0-50-amd64.tcz", "c")].map(extension);
    json!({"version": "0.1.0", "variant": "production", "image": "0.1.0", "units": units, "extensions": extensions})
}

/// A machine whose firmware and switch say what nobody should believe.
pub(crate) fn hostile(n: u8) -> Value {
    let mut report = machine(n);
    let stable = &mut report["inventory"]["stable"];
    stable["system"]["serial"] = json!("<script>document.title='owned'</script>\u{1b}[2J\u{0}\u{7}\u{202e}");
    stable["system"]["product"] =
        json!(format!("\"><img src=x onerror=document.title='owned'>{}", "x".repeat(1 << 20)));
    stable["nics"][0]["lldp"]["neighbours"][0]["system_name"] = json!("<script>document.title='owned'</script>");
    stable["nics"][0]["lldp"]["neighbours"][0]["system_description"] = json!("y".repeat(1 << 20));
    stable["disks"][0]["serial"] = json!("</td></table><h1>owned</h1>");
    report["problems"][0]["error"] = json!("<script>document.title='owned'</script>");
    report["agent"]["units"][0]["last_exit"] = json!("' onmouseover='document.title=\"owned\"");
    let typed: Stable = serde_json::from_value(report["inventory"]["stable"].clone()).unwrap();
    report["inventory_digest"] = json!(wire::digest::stable(&typed));
    report
}
