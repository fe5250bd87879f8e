//! This machine as `mk-agent facts` sees it, compared value by value with what other programs see. A program that is not
//! installed is skipped, and the skip is printed.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail loudly")]

mod tools;

use serde_json::Value;
use tools::{agent, json, skip, text};

/// A value as text, whichever kind of JSON it is.
fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[test]
fn agrees_with_facter() {
    let Some(theirs) = json(&["facter", "--json", "--show-legacy"]) else { return skip("facter") };
    let ours = agent(&["facts", "--flat"]);
    // Facter 4 writes GiB where Facter 2, whose forms are ours, wrote GB; and it names no hardware that it cannot read.
    let names = [
        "hardwaremodel",
        "kernel",
        "kernelrelease",
        "physicalprocessorcount",
        "processor0",
        "processorcount",
        "serialnumber",
        "manufacturer",
        "productname",
        "uuid",
        "bios_vendor",
        "bios_version",
        "bios_release_date",
    ];
    let by_prefix = |name: &str| name.starts_with("blockdevice_") && !name.contains("_zram");
    let mut compared = 0;
    for (name, value) in theirs.as_object().unwrap() {
        if names.contains(&name.as_str()) || by_prefix(name) {
            assert_eq!(shown(&ours[name]).to_lowercase(), shown(value).to_lowercase(), "{name}");
            compared += 1;
        }
    }
    assert!(compared >= 5, "only {compared} facts compared");
    let mib = |facts: &Value| shown(&facts["memorysize_mb"]).parse::<f64>().unwrap();
    assert!((mib(&ours) - mib(&theirs)).abs() < 0.01);
    if let Some(kind) = theirs.get("virtual") {
        assert_eq!(&ours["virtual"], kind);
    }
}

#[test]
fn agrees_with_lscpu() {
    let Some(theirs) = json(&["lscpu", "-J"]) else { return skip("lscpu") };
    let ours = agent(&["facts"])["stable"]["cpu"].clone();
    let rows = theirs["lscpu"].as_array().unwrap();
    let field = |name: &str| rows.iter().find(|r| r["field"] == format!("{name}:")).map(|r| shown(&r["data"]));
    let number = |name: &str| field(name).and_then(|n| n.parse::<u64>().ok());
    assert_eq!(ours["threads"].as_u64(), number("CPU(s)"));
    assert_eq!(ours["packages"].as_u64(), number("Socket(s)"));
    let cores = number("Core(s) per socket").zip(number("Socket(s)")).map(|(cores, sockets)| cores * sockets);
    assert_eq!(ours["cores"].as_u64(), cores);
    assert_eq!(ours["vendor"].as_str().map(str::to_owned), field("Vendor ID"));
    assert_eq!(ours["model"].as_str().map(str::to_owned), field("Model name"));
    let signature = ["CPU family", "Model", "Stepping"].map(|name| field(name).unwrap()).join("/");
    assert_eq!(ours["signature"], signature);
    let mut flags: Vec<String> = field("Flags").unwrap().split(' ').map(str::to_owned).collect();
    flags.sort();
    assert_eq!(ours["flags"], Value::from(flags));
}

#[test]
fn agrees_with_lsblk() {
    let columns = "NAME,SIZE,TYPE,RM,ROTA,LOG-SEC,PHY-SEC,MAJ:MIN";
    let Some(theirs) = json(&["lsblk", "-J", "-b", "-d", "-o", columns]) else { return skip("lsblk") };
    let ours = agent(&["facts"]);
    // Major numbers of RAM disks, compressed RAM, loop devices and device mapper differ; their names do not.
    let is_disk = |row: &&Value| {
        let name = row["name"].as_str().unwrap();
        row["type"] == "disk" && !["zram", "ram", "loop", "dm-", "md", "nbd"].iter().any(|p| name.starts_with(p))
    };
    let rows: Vec<&Value> = theirs["blockdevices"].as_array().unwrap().iter().filter(is_disk).collect();
    let disks = ours["stable"]["disks"].as_array().cloned().unwrap_or_default();
    assert_eq!(disks.len(), rows.len());
    for disk in &disks {
        let name = &ours["volatile"]["names"][disk["key"].as_str().unwrap()];
        let row = rows.iter().find(|r| r["name"] == *name).unwrap_or_else(|| panic!("lsblk has no {name}"));
        assert_eq!(disk["size_bytes"], row["size"], "{name}");
        assert_eq!(disk["rotational"], row["rota"], "{name}");
        assert_eq!(disk["removable"].as_bool().unwrap_or(false), row["rm"], "{name}");
        assert_eq!(disk["logical_sector_bytes"], row["log-sec"], "{name}");
        assert_eq!(disk["physical_sector_bytes"], row["phy-sec"], "{name}");
    }
}

#[test]
fn agrees_with_ip() {
    let Some(links) = json(&["ip", "-j", "address"]) else { return skip("ip") };
    let ours = agent(&["facts"]);
    let nics = ours["stable"]["nics"].as_array().cloned().unwrap_or_default();
    for nic in &nics {
        let key = nic["key"].as_str().unwrap();
        let name = &ours["volatile"]["names"][key];
        let link = links.as_array().unwrap().iter().find(|l| l["ifname"] == *name).unwrap();
        let current = if nic["current_mac"].is_null() { &nic["mac"] } else { &nic["current_mac"] };
        assert_eq!(*current, link["address"], "{name}");
        if let Some(permanent) = link.get("permaddr") {
            assert_eq!(nic["mac"], *permanent, "{name}");
        }
        let carrier = link["flags"].as_array().unwrap().iter().any(|flag| flag == "LOWER_UP");
        assert_eq!(ours["volatile"]["links"][key]["up"].as_bool().unwrap_or(false), carrier, "{name}");
        let mut theirs: Vec<String> = link["addr_info"]
            .as_array()
            .unwrap()
            .iter()
            .map(|a| format!("{}/{}", a["local"].as_str().unwrap(), a["prefixlen"]))
            .collect();
        let mut seen: Vec<String> =
            serde_json::from_value(ours["volatile"]["addresses"][key].clone()).unwrap_or_default();
        theirs.sort();
        seen.sort();
        assert_eq!(seen, theirs, "{name}");
    }
}

#[test]
fn agrees_with_ethtool() {
    let ours = agent(&["facts"]);
    let nics = ours["stable"]["nics"].as_array().cloned().unwrap_or_default();
    for nic in &nics {
        let name = ours["volatile"]["names"][nic["key"].as_str().unwrap()].as_str().unwrap();
        let Some(driver) = text(&["ethtool", "-i", name]) else { return skip("ethtool") };
        let field = |key: &str| driver.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(": "));
        assert_eq!(nic["driver"].as_str(), field("driver"), "{name}");
        let firmware = field("firmware-version").map(str::trim).filter(|version| !["", "N/A"].contains(version));
        assert_eq!(nic["firmware"].as_str(), firmware, "{name}");
        let permanent = text(&["ethtool", "-P", name]).unwrap_or_default();
        let permanent = permanent.trim().trim_start_matches("Permanent address: ");
        if !["", "not set", "00:00:00:00:00:00"].contains(&permanent) {
            assert_eq!(nic["mac"], permanent, "{name}");
        }
    }
}

#[test]
fn agrees_with_lspci() {
    let Some(theirs) = text(&["lspci", "-D", "-n", "-vmm", "-k"]) else { return skip("lspci") };
    let ours = agent(&["facts"])["stable"]["pci"].as_array().cloned().unwrap_or_default();
    let of_theirs: Vec<_> = theirs.split("\n\n").filter(|device| !device.trim().is_empty()).collect();
    assert_eq!(ours.len(), of_theirs.len());
    for device in of_theirs {
        let field = |key: &str| device.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(":\t"));
        let pair = |one: &str, other: &str| Some(format!("{}:{}", field(one)?, field(other)?));
        let address = field("Slot").unwrap();
        let of_ours = ours.iter().find(|d| d["address"] == address).unwrap_or_else(|| panic!("we have no {address}"));
        let text = |key: &str| of_ours[key].as_str().map(str::to_owned);
        assert_eq!(text("id"), pair("Vendor", "Device"), "{address}");
        assert_eq!(text("subsystem"), pair("SVendor", "SDevice"), "{address}");
        // The last two digits of ours are the programming interface.
        assert_eq!(text("class").map(|class| class[..4].to_owned()).as_deref(), field("Class"), "{address}");
        assert_eq!(text("revision").unwrap_or_default(), field("Rev").unwrap_or("00"), "{address}");
        assert_eq!(text("driver").as_deref(), field("Driver"), "{address}");
        assert_eq!(of_ours["numa"].as_u64(), field("NUMANode").and_then(|node| node.parse().ok()), "{address}");
    }
}

#[test]
fn agrees_with_dmidecode() {
    let Some(product) = text(&["dmidecode", "-s", "system-product-name"]) else { return skip("dmidecode") };
    let ours = agent(&["facts"])["stable"].clone();
    let same = |ours: &Value, keyword: &str| {
        // What is not set, dmidecode writes in words of its own.
        let theirs = text(&["dmidecode", "-s", keyword]).unwrap_or_default();
        if !theirs.is_empty() && !theirs.starts_with("Not ") {
            assert_eq!(shown(ours).to_lowercase(), theirs.trim().to_lowercase(), "{keyword}");
        }
    };
    assert_eq!(shown(&ours["system"]["product"]), product.trim());
    same(&ours["system"]["manufacturer"], "system-manufacturer");
    same(&ours["system"]["serial"], "system-serial-number");
    same(&ours["system"]["uuid"], "system-uuid");
    same(&ours["board"]["serial"], "baseboard-serial-number");
    same(&ours["chassis"]["serial"], "chassis-serial-number");
    same(&ours["bios"]["version"], "bios-version");
}

#[test]
fn agrees_with_lshw() {
    let Some(theirs) = json(&["lshw", "-json", "-quiet"]) else { return skip("lshw") };
    let ours = agent(&["facts", "--flat"]);
    let mut devices = Vec::new();
    tools::flatten(&theirs, &mut devices);
    let of_class = |class: &str| devices.iter().filter(|d| d["class"] == class).collect::<Vec<_>>();
    for processor in of_class("processor").iter().filter(|p| p["disabled"].is_null()).take(1) {
        assert_eq!(ours["mk_hw_cpu0_vendor"], processor["vendor"]);
        assert_eq!(ours["mk_hw_cpu0_version"], processor["version"]);
        assert_eq!(ours["mk_hw_cpu0_product"], processor["product"]);
    }
    let macs: Vec<String> =
        of_class("network").iter().filter_map(|n| n["serial"].as_str().map(str::to_owned)).collect();
    let seen = |i: u64| ours[format!("macaddress_eth{i}")].as_str().unwrap().to_owned();
    for i in 0..ours["mk_hw_nic_count"].as_u64().unwrap() {
        assert!(macs.contains(&seen(i)), "{} is none of lshw's {macs:?}", seen(i));
    }
}
