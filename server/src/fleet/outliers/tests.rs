//! Fleets of made-up machines, and who is odd among them.

use proptest::prelude::*;
use serde_json::{Value, json};
use wire::inventory::Stable;

use super::*;
use crate::fleet::makeup;

/// A machine with eight memory modules, a card on PCI, a disk.
fn machine() -> Value {
    let dimms: Vec<Value> = (0..8)
        .map(|n| json!({"slot": format!("B{n}"), "size_bytes": 32u64 << 30, "configured_mts": 2666, "part": "M393", "serial": format!("x{n}")}))
        .collect();
    json!({
        "system": {"manufacturer": "Dell Inc.", "product": "R650", "serial": "S", "uuid": "U"},
        "bios": {"vendor": "Dell Inc.", "version": "1.6.5"},
        "memory": {"slots": 16, "dimms": dimms},
        "pci": [{"address": "0000:31:00.0", "id": "8086:1572", "class": "020000", "link_width": 8, "max_link_width": 8}],
        "nics": [{"key": "0000:31:00.0", "mac": "00:1b:21:00:00:01", "pci_id": "8086:1572", "firmware": "8.30",
            "lldp": {"neighbours": [{"chassis": "c", "port": "p"}]}}],
        "disks": [{"key": "k", "path": "0000:00:17.0/ata1", "model": "MZ7", "size_bytes": 480_103_981_056u64, "serial": "D", "firmware": "F1"}],
        "bmc": {"ipv4": "10.0.0.1", "mac": "00:1b:21:00:00:02", "firmware": "5.10"}
    })
}

fn areas(machine: &Value) -> Vec<Area> {
    let stable: Stable = serde_json::from_value(machine.clone()).unwrap();
    let makeup = makeup::of(&stable).unwrap().unwrap();
    makeup.areas.iter().map(|packed| serde_json::from_str(&packed.json).unwrap()).collect()
}

/// What is odd at each machine of one product, in sentences, and where nothing is common.
fn look(fleet: &[Value]) -> (Vec<Vec<String>>, Vec<String>) {
    let fleet: Vec<Vec<Area>> = fleet.iter().map(areas).collect();
    let mut odd: Vec<Vec<String>> = vec![Vec::new(); fleet.len()];
    let mut split = Vec::new();
    for name in ["disks", "firmware", "memory", "network", "pci", "system", "usb"] {
        let here = fleet.iter().enumerate().filter_map(|(i, areas)| Some((i, areas.iter().find(|a| a.area == name)?)));
        let here: Vec<(usize, &Area)> = here.collect();
        let judged = judge(&here.iter().map(|(_, area)| (*area, 1)).collect::<Vec<_>>());
        for ((i, _), found) in here.iter().zip(&judged.odd) {
            odd[*i].extend(found.iter().map(sentence));
        }
        split.extend(judged.split.iter().map(split_sentence));
    }
    (odd, split)
}

#[test]
fn the_odd_module_firmware_and_link_width_are_named_with_what_the_others_have() {
    let mut fleet = vec![machine(); 42];
    fleet[17]["memory"]["dimms"][2]["configured_mts"] = json!(2400);
    fleet[18]["bmc"]["firmware"] = json!("4.00");
    fleet[19]["pci"][0]["link_width"] = json!(4);
    fleet[20]["disks"][0]["firmware"] = json!("F0");
    fleet[21]["memory"]["dimms"].as_array_mut().unwrap().remove(7);
    fleet[22]["usb"] = json!([{"path": "1-2", "id": "0781:5567"}]);
    let (odd, split) = look(&fleet);
    assert_eq!(odd[17], ["DIMM B2: speed 2400 MT/s; 41 of 41 others: 2666 MT/s"]);
    assert_eq!(odd[18], ["BMC: firmware 4.00; 41 of 41 others: 5.10"]);
    assert_eq!(odd[19], ["PCI 0000:31:00.0: link width x4 of x8; 41 of 41 others: x8"]);
    assert_eq!(odd[20], ["disk 0000:00:17.0/ata1: firmware F0; 41 of 41 others: F1"]);
    let missing = ["DIMM B7 is not there; 41 of 41 others have it", "memory: modules 7; 41 of 41 others: 8"];
    assert_eq!(odd[21], missing);
    assert_eq!(odd[22], ["USB 1-2 is there; 41 of 41 others have none"]);
    assert!(odd.iter().enumerate().all(|(i, odd)| (17..=22).contains(&i) || odd.is_empty()), "{odd:?}");
    assert_eq!(split, Vec::<String>::new());
}

#[test]
fn where_nothing_is_common_nobody_is_odd() {
    let mut fleet = vec![machine(); 4];
    fleet[0]["bios"]["version"] = json!("1.7");
    fleet[1]["bios"]["version"] = json!("1.7");
    let (odd, split) = look(&fleet);
    assert!(odd.iter().all(Vec::is_empty), "{odd:?}");
    assert_eq!(split, ["BIOS: version: 1.6.5 at 2, 1.7 at 2"]);
    let (odd, split) = look(&fleet[1..3]);
    assert!(odd.iter().all(Vec::is_empty) && split.is_empty(), "two machines are no fleet: {odd:?} {split:?}");
    let (odd, _) = look(&fleet[1..4]);
    assert_eq!(odd[0], ["BIOS: version 1.7; 2 of 2 others: 1.6.5"]);
}

#[test]
fn what_nobody_could_read_is_not_odd() {
    let mut fleet = vec![machine(); 5];
    fleet[0]["bmc"]["firmware"] = Value::Null;
    fleet[1].as_object_mut().unwrap().remove("memory");
    fleet[2]["nics"] = json!([]);
    let (odd, split) = look(&fleet);
    assert!(odd.iter().all(Vec::is_empty) && split.is_empty(), "{odd:?} {split:?}");
}

#[test]
fn numbers_of_single_machines_make_no_difference() {
    let mut other = machine();
    other["system"]["serial"] = json!("T");
    other["system"]["uuid"] = json!("V");
    other["memory"]["dimms"][0]["serial"] = json!("y");
    other["nics"][0]["mac"] = json!("00:1b:21:00:00:09");
    other["nics"][0]["lldp"]["neighbours"][0]["port"] = json!("q");
    other["disks"][0]["serial"] = json!("E");
    other["disks"][0]["key"] = json!("l");
    other["bmc"] = json!({"ipv4": "10.0.0.2", "mac": "00:1b:21:00:00:03", "firmware": "5.10"});
    let digest = |machine: &Value| {
        let stable: Stable = serde_json::from_value(machine.clone()).unwrap();
        makeup::of(&stable).unwrap().unwrap().digest
    };
    assert_eq!(digest(&machine()), digest(&other));
    other["bmc"]["firmware"] = json!("5.11");
    assert_ne!(digest(&machine()), digest(&other));
}

#[test]
fn a_product_is_named_by_its_board_where_the_system_has_no_name() {
    let product = |stable: Value| {
        let stable: Stable = serde_json::from_value(stable).unwrap();
        makeup::of(&stable).unwrap().map(|m| m.product)
    };
    assert_eq!(product(machine()).as_deref(), Some("Dell Inc. R650"));
    let blank = json!({"system": {"manufacturer": "To Be Filled By O.E.M.", "product": "To Be Filled By O.E.M."},
        "board": {"manufacturer": "ASRock", "product": "X570D4U"}});
    assert_eq!(product(blank).as_deref(), Some("ASRock X570D4U"));
    assert_eq!(product(json!({"system": {"product": "Default string"}})), None);
}

proptest! {
    /// Small fleets of machines with a few values each.
    #[test]
    fn whoever_is_odd_differs_from_what_two_thirds_have(values in proptest::collection::vec(0u8..4, 1..12)) {
        let area = |n: u8| Area {
            area: "x".into(),
            alike: vec![makeup::Alike { parts: vec!["p".into()], known: [("v".to_owned(), n.to_string())].into() }],
        };
        let all: Vec<Area> = values.iter().map(|n| area(*n)).collect();
        let judged = judge(&all.iter().map(|a| (a, 1)).collect::<Vec<_>>());
        let n = values.len();
        let most = (0u8..4).map(|v| values.iter().filter(|x| **x == v).count()).max().unwrap();
        let is_common = n >= 3 && most * 3 >= n * 2;
        let odd = judged.odd.iter().filter(|odd| !odd.is_empty()).count();
        prop_assert_eq!(odd, if is_common { n - most } else { 0 });
        prop_assert_eq!(judged.split.len(), usize::from(!is_common && n >= 3));
        for odd in judged.odd.iter().flatten() {
            prop_assert!(odd.has != odd.common && odd.others == i64::try_from(n).unwrap() - 1);
        }
        // The same machines counted together are as odd as one by one.
        let mut counted: BTreeMap<u8, i64> = BTreeMap::new();
        for n in &values {
            *counted.entry(*n).or_default() += 1;
        }
        let kinds: Vec<(Area, i64)> = counted.iter().map(|(v, n)| (area(*v), *n)).collect();
        let together = judge(&kinds.iter().map(|(a, n)| (a, *n)).collect::<Vec<_>>());
        prop_assert_eq!(&together.split, &judged.split);
        for (i, value) in values.iter().enumerate() {
            let kind = counted.keys().position(|v| v == value).unwrap();
            prop_assert_eq!(&judged.odd[i], &together.odd[kind]);
        }
    }
}
