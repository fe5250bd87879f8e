//! Names and forms of the flat facts.

use proptest::prelude::*;

use super::*;
use crate::inventory::{
    Bios, Bmc, Board, Chassis, Cpu, Dimm, Disk, Kernel, Lldp, Memory, Neighbour, System, Virtualization,
};

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn nic(key: &str, mac: &str, bus: &str) -> Nic {
    Nic { key: key.into(), mac: some(mac), bus: some(bus), ..Nic::default() }
}

/// A server with all that the flat facts show.
fn server() -> Inventory {
    let mut inventory = Inventory::default();
    let stable = &mut inventory.stable;
    stable.system = Some(System {
        manufacturer: some("Dell Inc."),
        product: some("PowerEdge R640"),
        serial: some("ABC1234"),
        uuid: some("4c4c4544-0041-4210-8043-b1c04f313233"),
        ..System::default()
    });
    stable.board = Some(Board { manufacturer: some("Dell Inc."), serial: some(".ABC1234.CN"), ..Board::default() });
    stable.chassis =
        Some(Chassis { kind: Some(23), serial: some("ABC1234"), asset: some("A-7"), ..Chassis::default() });
    stable.bios = Some(Bios { vendor: some("Dell Inc."), version: some("2.10.2"), ..Bios::default() });
    stable.virtualization = Some(Virtualization { is_virtual: false, kind: some("physical") });
    stable.kernel = Some(Kernel { release: some("6.1.0-56-amd64"), architecture: some("x86_64") });
    stable.cpu = Some(Cpu {
        vendor: some("GenuineIntel"),
        model: some("Intel(R) Xeon(R) Gold 6230 CPU @ 2.10GHz"),
        signature: some("6/85/7"),
        packages: Some(2),
        cores: Some(40),
        threads: Some(80),
        ..Cpu::default()
    });
    stable.memory =
        Some(Memory { installed_bytes: Some(192 << 30), slots: Some(24), dimms: vec![Dimm::default(); 12] });
    stable.disks = vec![Disk {
        key: "naa.5000c50012345678".into(),
        size_bytes: Some(500_107_862_016),
        vendor: some("ATA"),
        model: some("SSD 500"),
        serial: some("S1"),
        ..Disk::default()
    }];
    stable.nics = vec![
        nic("0000:3b:00.0/10", "24:6e:96:00:00:0a", "pci"),
        nic("0000:3b:00.0/2", "24:6e:96:00:00:02", "pci"),
        nic("10000:01:00.0", "24:6e:96:00:00:ff", "pci"),
        nic("0000:1a:00.1", "24:6e:96:00:00:01", "pci"),
        nic("1-14.3", "02:00:00:00:00:01", "usb"),
    ];
    stable.bmc = Some(Bmc {
        mac: some("d0:94:66:00:00:0f"),
        ipv4: some("10.9.0.7"),
        source: some("dhcp"),
        firmware: some("5.10"),
        ..Bmc::default()
    });
    let mut volatile = Volatile { memory_usable_bytes: Some(201_863_462_912), ..Volatile::default() };
    volatile.names.insert("naa.5000c50012345678".into(), "sda".into());
    let addresses = ["10.1.2.130/25", "10.9.9.9/8", "2001:db8::5/64", "fe80::1/64"];
    volatile.addresses.insert("0000:1a:00.1".into(), addresses.map(str::to_owned).to_vec());
    inventory.volatile = Some(volatile);
    inventory
}

#[test]
fn names_and_forms_of_the_original() {
    let facts = flatten(&server());
    for (name, value) in [
        ("manufacturer", "Dell Inc."),
        ("productname", "PowerEdge R640"),
        ("serialnumber", "ABC1234"),
        ("uuid", "4c4c4544-0041-4210-8043-b1c04f313233"),
        ("boardserialnumber", ".ABC1234.CN"),
        ("chassistype", "Rack Mount Chassis"),
        ("chassisassettag", "A-7"),
        ("bios_version", "2.10.2"),
        ("virtual", "physical"),
        ("hardwaremodel", "x86_64"),
        ("processor79", "Intel(R) Xeon(R) Gold 6230 CPU @ 2.10GHz"),
        ("memorysize", "188.00 GB"),
        ("memorysize_mb", "192512.00"),
        ("blockdevices", "sda"),
        ("blockdevice_sda_vendor", "ATA"),
        ("interfaces", "eth0,eth1,eth2,eth3"),
        ("ipaddress", "10.1.2.130"),
        ("ipaddress_eth0", "10.1.2.130"),
        ("netmask_eth0", "255.255.255.128"),
        ("network_eth0", "10.1.2.128"),
        ("ipaddress6_eth0", "2001:db8::5"),
        ("macaddress", "24:6e:96:00:00:01"),
        ("mk_hw_bus_vendor", "Dell Inc."),
        ("mk_hw_fw_version", "2.10.2"),
        ("mk_hw_cpu1_vendor", "Intel Corp."),
        ("mk_hw_cpu1_version", "6.85.7"),
        ("mk_hw_lscpu_CPU_family", "6"),
        ("mk_hw_lscpu_Model", "85"),
        ("mk_hw_mem_size", "192GiB"),
        ("mk_hw_disk0_logical_name", "/dev/sda"),
        ("mk_hw_disk0_size", "465GiB (500GB)"),
        ("mk_hw_nic0_pci", "0000:1a:00.1"),
        ("mk_hw_nic0_serial", "24:6e:96:00:00:01"),
        ("mk_ipmi_ip_address", "10.9.0.7"),
        ("mk_ipmi_ip_address_source", "DHCP Address"),
        ("mk_ipmi_mac_address", "d0:94:66:00:00:0f"),
        ("mk_ipmi_firmware_revision", "5.10"),
    ] {
        assert_eq!(facts.get(name), Some(&Value::from(value)), "{name}");
    }
    for (name, value) in [
        ("processorcount", 80_u64),
        ("physicalprocessorcount", 2),
        ("mk_hw_cpu_count", 2),
        ("mk_hw_disk_count", 1),
        ("mk_hw_nic_count", 4),
        ("mk_hw_mem_dimm_count", 12),
        ("blockdevice_sda_size", 500_107_862_016),
    ] {
        assert_eq!(facts.get(name), Some(&Value::from(value)), "{name}");
    }
    assert_eq!(facts["is_virtual"], false);
}

#[test]
fn ports_are_numbered_by_the_numbers_of_their_slots() {
    let inventory = server();
    let facts = flatten(&inventory);
    let macs: Vec<_> = (0..4).map(|i| facts[&format!("macaddress_eth{i}")].as_str().unwrap()).collect();
    let expected = ["24:6e:96:00:00:01", "24:6e:96:00:00:02", "24:6e:96:00:00:0a", "24:6e:96:00:00:ff"];
    assert_eq!(macs, expected);
    assert_eq!(hw_id(&inventory.stable), "246e96000001_246e96000002_246e9600000a_246e960000ff");
}

#[test]
fn the_first_switch_of_each_port_is_told() {
    let mut inventory = server();
    let neighbour = |port: &str| Neighbour {
        chassis: "44:38:39:00:00:17".into(),
        port: port.into(),
        system_name: some("leaf-12a"),
        management: vec!["44:38:39:00:00:17".into(), "2001:db8::2".into(), "10.0.0.2".into(), "10.0.0.3".into()],
        vlan: Some(12),
        mtu: Some(9216),
        ..Neighbour::default()
    };
    let key = "0000:3b:00.0/2";
    let nic = inventory.stable.nics.iter_mut().find(|nic| nic.key == key).unwrap();
    nic.lldp = Some(Lldp { silent_s: None, neighbours: vec![neighbour("Ethernet1/7"), neighbour("Ethernet1/8")] });
    let facts = flatten(&inventory);
    let told: Vec<(&str, &Value)> =
        facts.iter().filter_map(|(name, value)| Some((name.strip_prefix("lldp_neighbor_")?, value))).collect();
    let expected = [
        ("chassisid_eth1", "44:38:39:00:00:17"),
        ("mngaddr_ipv4_eth1", "10.0.0.2"),
        ("mngaddr_ipv6_eth1", "2001:db8::2"),
        ("mtu_eth1", "9216"),
        ("portid_eth1", "Ethernet1/7"),
        ("pvid_eth1", "12"),
        ("sysname_eth1", "leaf-12a"),
    ]
    .map(|(name, value)| (name, Value::from(value)));
    assert_eq!(told, expected.iter().map(|(name, value)| (*name, value)).collect::<Vec<_>>());
}

#[test]
fn what_is_on_usb_is_no_macaddress() {
    let facts = flatten(&server());
    let shown: Vec<_> = facts.iter().filter(|(name, _)| name.starts_with("macaddress")).collect();
    assert_eq!(shown.len(), 5, "{shown:?}");
    assert!(shown.iter().all(|(_, mac)| *mac != "02:00:00:00:00:01"));
}

#[test]
fn an_empty_inventory_has_no_identity() {
    let facts = flatten(&Inventory::default());
    for name in ["macaddress", "uuid", "serialnumber", "processorcount", "memorysize"] {
        assert!(!facts.contains_key(name), "{name}");
    }
    assert_eq!(hw_id(&Stable::default()), "");
}

#[test]
fn site_facts_win() {
    let mut inventory = server();
    inventory.stable.site.insert("chassisassettag".into(), "B-1".into());
    assert_eq!(flatten(&inventory)["chassisassettag"], "B-1");
}

fn word() -> impl Strategy<Value = String> {
    prop_oneof!["[0-9a-f:./-]{0,20}", "[\\PC]{0,8}", Just("0000:00:1f.6".to_owned()), Just("10.0.0.1/99".to_owned())]
}

proptest! {
    #[test]
    fn any_inventory_has_flat_facts(
        keys in prop::collection::vec((word(), prop::option::of(word()), word()), 0..6),
        addresses in prop::collection::btree_map(word(), prop::collection::vec(word(), 0..3), 0..4),
        numbers in prop::collection::vec(prop::option::of(any::<u64>()), 3),
        threads in 0..300_u32,
        signature in prop::option::of(word()),
        kind in any::<u8>(),
    ) {
        let mut inventory = server();
        let stable = &mut inventory.stable;
        stable.chassis = Some(Chassis { kind: Some(kind), ..Chassis::default() });
        stable.cpu = Some(Cpu { threads: Some(threads), packages: Some(threads), signature, ..Cpu::default() });
        stable.memory = Some(Memory { installed_bytes: numbers[0], ..Memory::default() });
        stable.disks.push(Disk { key: String::new(), size_bytes: numbers[1], ..Disk::default() });
        stable.nics = keys.into_iter().map(|(key, mac, bus)| Nic { key, mac, bus: Some(bus), ..Nic::default() }).collect();
        let ports = identifying_nics(stable).len();
        inventory.volatile = Some(Volatile { addresses, memory_usable_bytes: numbers[2], ..Volatile::default() });
        let facts = flatten(&inventory);
        prop_assert_eq!(&facts["mk_hw_nic_count"], &Value::from(ports));
        prop_assert!(facts.values().all(|v| v.is_string() || v.is_number() || v.is_boolean()));
    }
}
