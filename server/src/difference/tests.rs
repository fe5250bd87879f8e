//! What changes look like, and what is true of any two inventories.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::told::{Phase, compare, known};
use super::*;

fn texts(from: &Value, to: &Value) -> Vec<String> {
    inventories(from, to, View::Time).into_iter().map(|change| change.text).collect()
}

/// A machine of two modules, two disks and two ports.
fn machine() -> Value {
    json!({
        "system": {"manufacturer": "Dell Inc.", "product": "PowerEdge R650", "serial": "SRV1"},
        "board": {"manufacturer": "Dell Inc.", "product": "0H1V9C", "serial": "B1"},
        "bios": {"vendor": "Dell Inc.", "version": "1.6.5"},
        "cpu": {"model": "Xeon", "cores": 8, "flags": ["aes", "avx"]},
        "memory": {"installed_bytes": 32_u64 << 30, "dimms": [
            {"slot": "A1", "size_bytes": 16_u64 << 30, "serial": "M1"}, {"slot": "A3", "size_bytes": 16_u64 << 30, "serial": "M2"}]},
        "disks": [
            {"key": "naa.1", "wwn": "naa.1", "serial": "S3X", "size_bytes": 480_103_981_056_u64, "model": "PM883", "path": "ata1", "firmware": "A1"},
            {"key": "naa.2", "wwn": "naa.2", "serial": "S3Y", "size_bytes": 480_103_981_056_u64, "model": "PM883", "path": "ata2", "firmware": "A1"}],
        "nics": [
            {"key": "0000:01:00.0", "mac": "aa:00:00:00:00:01", "label": "eno1", "firmware": "1.2", "transceiver": {"part": "P", "serial": "T1"},
                "lldp": {"neighbours": [{"chassis": "44:01", "port": "Eth3", "system_name": "sw1", "vlan": 10, "raw": "0207"}]}},
            {"key": "0000:01:00.1", "mac": "aa:00:00:00:00:02", "lldp": {"silent_s": 65}}],
        "pci": [{"address": "0000:b1:00.0", "id": "10de:1eb8", "class": "030200", "link_width": 16}],
        "site": {"rack": "12"}
    })
}

#[test]
fn a_change_is_a_sentence() {
    let changed = |pointer: &str, value: Value| {
        let mut machine = machine();
        *machine.pointer_mut(pointer).unwrap() = value;
        machine
    };
    for (after, words) in [
        (
            changed("/disks/0", json!({"key": "naa.9", "wwn": "naa.9", "serial": "N", "path": "ata9"})),
            "disk S3X (480.1 GB, PM883) is gone",
        ),
        (
            changed("/memory/dimms/1", json!({"slot": "A3", "size_bytes": 32_u64 << 30, "serial": "M9"})),
            "DIMM in A3 was replaced: 16 GiB serial M2 by 32 GiB serial M9",
        ),
        (changed("/memory/dimms/1/slot", json!("B1")), "DIMM 16 GiB serial M2 moved from A3 to B1"),
        (changed("/memory/dimms/1/serial", json!("Unknown")), "serial of DIMM in A3 went from M2 to Unknown"),
        (changed("/nics/0/firmware", json!("1.3")), "firmware of port eno1 at 0000:01:00.0 went from 1.2 to 1.3"),
        (
            changed("/nics/0/lldp/neighbours/0", json!({"chassis": "44:02", "port": "Eth7", "system_name": "sw2"})),
            "port 0000:01:00.0 is now plugged into switch sw2 port Eth7, before switch sw1 port Eth3",
        ),
        (
            changed("/nics/0/lldp", json!({"silent_s": 65})),
            "port 0000:01:00.0 hears no switch any more, before switch sw1 port Eth3",
        ),
        (
            changed("/nics/0/lldp", Value::Null),
            "port 0000:01:00.0 has not heard a switch yet, before switch sw1 port Eth3",
        ),
        (
            changed("/nics/0/lldp/neighbours/0/vlan", json!(20)),
            "VLAN of switch sw1 port Eth3 at port 0000:01:00.0 went from 10 to 20",
        ),
        (
            changed("/nics/0/transceiver/serial", json!("T2")),
            "module in port 0000:01:00.0 was replaced: P serial T1 by P serial T2",
        ),
        (changed("/disks/0/path", json!("ata5")), "disk S3X (480.1 GB, PM883) moved from ata1 to ata5"),
        (changed("/disks/0/firmware", json!("A2")), "firmware of disk at ata1 went from A1 to A2"),
        (changed("/pci/0/link_width", json!(8)), "link width of PCI device 0000:b1:00.0 went from x16 to x8"),
        (
            changed("/board/serial", json!("B2")),
            "main board was replaced: Dell Inc. 0H1V9C serial B1 by Dell Inc. 0H1V9C serial B2",
        ),
        (changed("/bios/version", json!("1.7.0")), "version of BIOS went from 1.6.5 to 1.7.0"),
        (changed("/cpu/flags", json!(["avx", "sse"])), "flags of processors: lost aes; gained sse"),
        (changed("/site/rack", json!("13")), "site fact rack went from 12 to 13"),
    ] {
        let said = texts(&machine(), &after);
        assert!(said.iter().any(|text| text == words), "{words} is not in {said:#?}");
        assert!(words.contains("is gone") || said.len() == 1, "{said:#?}");
    }
    let mut raw = machine();
    raw["nics"][0]["lldp"]["neighbours"][0]["raw"] = json!("0208");
    assert_eq!(texts(&machine(), &raw), Vec::<String>::new(), "counters of a switch are no change");
    let mut order = machine();
    order["cpu"]["flags"] = json!(["avx", "aes"]);
    assert_eq!(texts(&machine(), &order), Vec::<String>::new(), "the order of words says nothing");
}

#[test]
fn a_disk_that_took_anothers_place_replaced_it_and_the_other_is_found_where_it_is() {
    let mut after = machine();
    after["disks"][0] = json!({"key": "naa.3", "wwn": "naa.3", "serial": "S3Z", "path": "ata1"});
    assert_eq!(texts(&machine(), &after), ["disk at ata1 was replaced: S3X (480.1 GB, PM883) by S3Z"]);
    after["disks"].as_array_mut().unwrap().push(json!(
        {"key": "naa.1", "wwn": "naa.1", "serial": "S3X", "size_bytes": 480_103_981_056_u64, "model": "PM883", "path": "ata7", "firmware": "A1"}));
    assert_eq!(texts(&machine(), &after), ["disk S3X (480.1 GB, PM883) moved from ata1 to ata7", "disk S3Z is new"]);
    // Two modules change places.
    let mut swapped = machine();
    swapped["memory"]["dimms"][0]["slot"] = json!("A3");
    swapped["memory"]["dimms"][1]["slot"] = json!("A1");
    let want = ["DIMM 16 GiB serial M2 moved from A3 to A1", "DIMM 16 GiB serial M1 moved from A1 to A3"];
    assert_eq!(texts(&machine(), &swapped), want);
}

#[test]
fn of_two_machines_nothing_is_said_that_no_two_have_in_common() {
    let mut other = machine();
    other["system"]["serial"] = json!("SRV2");
    other["board"]["serial"] = json!("B2");
    for (place, disk) in other["disks"].as_array_mut().unwrap().iter_mut().enumerate() {
        disk["wwn"] = json!(format!("naa.{place}9"));
        disk["key"] = disk["wwn"].clone();
        disk["serial"] = json!(format!("T{place}"));
    }
    for (place, nic) in other["nics"].as_array_mut().unwrap().iter_mut().enumerate() {
        nic["mac"] = json!(format!("bb:00:00:00:00:0{place}"));
    }
    other["nics"][0]["lldp"]["neighbours"][0]["port"] = json!("Eth4");
    let view = View::Machines("node1", "node2");
    assert_eq!(inventories(&machine(), &other, view), []);
    other["memory"]["dimms"].as_array_mut().unwrap().pop();
    other["bios"]["version"] = json!("1.7.0");
    let said: Vec<String> = inventories(&machine(), &other, view).into_iter().map(|c| c.text).collect();
    assert_eq!(said, ["version of BIOS: node1 has 1.6.5, node2 has 1.7.0", "only node1 has DIMM in A3 (16 GiB)"]);
}

#[test]
fn facts_are_compared_by_name_and_with_an_inventory_by_those_that_both_have() {
    let (old, new) = (json!({"a": "1", "b": "2", "serialnumber": "SRV1"}), json!({"a": "1", "b": "3", "c": 4}));
    let report = |is_inventory, content| Report { is_inventory, content };
    let said = |from, to| between(from, to, View::Time).into_iter().map(|c| c.text).collect::<Vec<_>>();
    let want = ["fact b went from 2 to 3", "fact c: 4 is new", "fact serialnumber: SRV1 is gone"];
    assert_eq!(said(report(false, &old), report(false, &new)), want);
    let inventory = machine();
    assert_eq!(said(report(true, &inventory), report(false, &old)), Vec::<String>::new());
    let other = json!({"serialnumber": "SRV2"});
    assert_eq!(said(report(true, &inventory), report(false, &other)), ["fact serialnumber went from SRV1 to SRV2"]);
}

/// Kinds of the events that a report gives rise to.
fn events(before: &Value, after: &Value, phase: Phase) -> (Vec<String>, Vec<Part>, bool) {
    let outcome = compare(part::parts(before), part::parts(after), phase);
    let kinds = outcome.entries.iter().map(|(_, entry)| entry["event"].as_str().unwrap().to_owned()).collect();
    (kinds, outcome.missing, outcome.is_awaited)
}

#[test]
fn parts_that_come_late_in_a_boot_are_neither_gone_nor_new() {
    let mut early = machine();
    early["disks"] = json!([]);
    early["bios"]["version"] = json!("1.7.0");
    let (told, missing, is_awaited) = events(&machine(), &early, Phase::Starting);
    assert_eq!((told, missing.len(), is_awaited), (vec!["firmware-updated".to_owned()], 2, true));
    let mut late = machine();
    late["bios"]["version"] = json!("1.7.0");
    let outcome = compare(known(part::parts(&early), missing.clone()), part::parts(&late), Phase::Starting);
    assert!(outcome.entries.is_empty() && outcome.missing.is_empty() && !outcome.is_awaited, "{outcome:?}");
    // Or they do not come.
    let outcome = compare(known(part::parts(&early), missing), part::parts(&early), Phase::Settled);
    assert_eq!(outcome.entries.iter().map(|(_, e)| &e["event"]).collect::<Vec<_>>(), ["disk-gone", "disk-gone"]);
    assert!(!outcome.is_awaited && outcome.missing.is_empty());
    // In the first boot of all, what comes was there.
    let (told, _, is_awaited) = events(&early, &late, Phase::Young);
    assert_eq!((told, is_awaited), (Vec::new(), true));
    assert_eq!(events(&early, &late, Phase::Starting).0, ["disk-new", "disk-new"]);
}

#[test]
fn a_value_that_is_not_read_yet_is_remembered() {
    let mut early = machine();
    early["nics"][0].as_object_mut().unwrap().remove("firmware");
    let (told, missing, _) = events(&machine(), &early, Phase::Starting);
    assert!(told.is_empty());
    let mut late = machine();
    late["nics"][0]["firmware"] = json!("1.3");
    let outcome = compare(known(part::parts(&early), missing), part::parts(&late), Phase::Starting);
    assert_eq!(outcome.entries[0].1["msg"], "firmware of port eno1 at 0000:01:00.0 went from 1.2 to 1.3");
    assert_eq!(outcome.entries.len(), 1);
}

#[test]
fn a_cable_that_is_moved_is_told_although_the_port_is_silent_for_a_while() {
    let mut silent = machine();
    silent["nics"][0]["lldp"] = json!({"silent_s": 65});
    let (told, missing, is_awaited) = events(&machine(), &silent, Phase::Settled);
    assert_eq!((told, missing.len(), is_awaited), (Vec::new(), 1, false));
    let mut elsewhere = machine();
    elsewhere["nics"][0]["lldp"]["neighbours"][0] = json!({"chassis": "44:02", "port": "Eth7", "system_name": "sw2"});
    let outcome = compare(known(part::parts(&silent), missing.clone()), part::parts(&elsewhere), Phase::Settled);
    assert_eq!(outcome.entries[0].1["event"], "link-moved");
    assert!(outcome.entries.len() == 1 && outcome.missing.is_empty(), "{outcome:?}");
    let outcome = compare(known(part::parts(&silent), missing), part::parts(&machine()), Phase::Settled);
    assert!(outcome.entries.is_empty() && outcome.missing.is_empty(), "it came back: {outcome:?}");
}

#[test]
fn however_much_differs_the_log_gets_a_few_entries() {
    let disks = |letter: &str| -> Value {
        (0..500).map(|n| json!({"key": format!("naa.{letter}{n}"), "wwn": format!("naa.{letter}{n}")})).collect()
    };
    let outcome =
        compare(part::parts(&json!({"disks": disks("a")})), part::parts(&json!({"disks": disks("b")})), Phase::Settled);
    let (_, last) = outcome.entries.last().unwrap();
    assert_eq!((outcome.entries.len(), &last["more"]), (crate::limits::MAX_TOLD + 1, &json!(980)));
}

/// JSON of any form, often under the names that inventories have.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        prop_oneof![Just("A1".to_owned()), Just("naa.1".to_owned()), any::<String>()].prop_map(Value::from),
    ];
    let names = prop::sample::select(vec![
        "disks",
        "nics",
        "memory",
        "dimms",
        "pci",
        "usb",
        "lldp",
        "neighbours",
        "transceiver",
        "key",
        "slot",
        "serial",
        "wwn",
        "mac",
        "chassis",
        "port",
        "gpu",
        "site",
        "board",
        "value",
        "x",
        "address",
        "id",
        "path",
        "findings",
    ]);
    leaf.prop_recursive(5, 48, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map(names.clone().prop_map(str::to_owned), inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// An inventory in which every key is there once: modules, disks and ports of a few numbers in a few places.
fn any_inventory() -> impl Strategy<Value = Value> {
    let modules = prop::collection::btree_map(0_u8..6, (0_u8..8, 0_u8..2), 0..5);
    let disks = prop::collection::btree_map(0_u8..6, (0_u8..6, 0_u8..2), 0..5);
    let ports = prop::collection::btree_map(0_u8..4, (0_u8..6, 0_u8..3), 0..4);
    (modules, disks, ports, 0_u8..3).prop_map(|(modules, disks, ports, bios)| {
        let modules: Vec<Value> = modules
            .into_iter()
            .map(|(slot, (serial, size))| json!({"slot": format!("A{slot}"), "serial": format!("M{serial}"), "size_bytes": size}))
            .collect();
        let disks: Vec<Value> = disks
            .into_iter()
            .map(|(n, (path, firmware))| json!({"key": format!("naa.{n}"), "wwn": format!("naa.{n}"), "path": format!("ata{path}"), "firmware": firmware}))
            .collect();
        let ports: Vec<Value> = ports
            .into_iter()
            .map(|(n, (mac, switch))| {
                let neighbour = json!({"chassis": format!("sw{switch}"), "port": format!("Eth{n}")});
                json!({"key": format!("0000:0{n}:00.0"), "mac": format!("m{mac}"), "lldp": {"neighbours": [neighbour]}})
            })
            .collect();
        json!({"memory": {"dimms": modules}, "disks": disks, "nics": ports, "bios": {"version": bios}})
    })
}

type State = BTreeMap<(Component, String), Map<String, Value>>;

fn state(inventory: &Value) -> State {
    part::parts(inventory).into_iter().map(|p| ((p.component, p.key), p.fields.into_iter().collect())).collect()
}

/// Carries out changes: takes away first what has another key now, then puts it where it is.
fn apply(mut state: State, changes: &[Change]) -> State {
    let mut taken: State = BTreeMap::new();
    for change in changes.iter().filter(|change| change.what != What::New) {
        let former = change.former_key.as_ref().unwrap_or(&change.key);
        if let Some(part) = state.remove(&(change.component, former.clone()))
            && change.what != What::Gone
        {
            taken.insert((change.component, change.key.clone()), part);
        }
    }
    for change in changes {
        let place = (change.component, change.key.clone());
        match (&change.field, &change.after) {
            (None, Value::Object(part)) => drop(taken.insert(place, part.clone())),
            (None, _) => {}
            (Some(field), after) => {
                let part = taken.get_mut(&place).unwrap();
                part.insert(field.clone(), after.clone());
                part.retain(|_, value| !value.is_null());
            }
        }
    }
    state.extend(taken);
    state
}

fn reversed(value: &Value) -> Value {
    match value {
        // Only lists of components: the order of numbers counts.
        Value::Array(list) if list.iter().any(Value::is_object) => list.iter().rev().map(reversed).collect(),
        Value::Array(list) => list.clone().into(),
        Value::Object(map) => Value::Object(map.iter().map(|(name, value)| (name.clone(), reversed(value))).collect()),
        other => other.clone(),
    }
}

proptest! {
    #[test]
    fn nothing_differs_from_itself_in_whatever_order(value in any_json()) {
        for view in [View::Time, View::Machines("a", "b")] {
            prop_assert_eq!(inventories(&value, &value, view), vec![]);
        }
        let report = |is_inventory| Report { is_inventory, content: &value };
        prop_assert_eq!(between(report(false), report(false), View::Time), vec![]);
        let outcome = compare(part::parts(&value), part::parts(&value), Phase::Settled);
        prop_assert!(outcome.entries.is_empty() && outcome.missing.is_empty(), "{:?}", outcome);
    }

    #[test]
    fn any_two_are_compared_and_said_on_one_harmless_line(a in any_json(), b in any_json()) {
        let report = |is_inventory, content| Report { is_inventory, content };
        let (mixed, all) = (between(report(true, &a), report(false, &b), View::Time), inventories(&a, &b, View::Time));
        for change in mixed.into_iter().chain(all) {
            prop_assert!(!change.text.is_empty() && !change.text.contains(crate::human::is_harmful), "{:?}", change);
            prop_assert!(change.text.len() < 8000, "{}", change.text.len());
        }
    }

    #[test]
    fn the_changes_make_the_one_of_the_other(a in any_inventory(), b in any_inventory()) {
        let changes = inventories(&a, &b, View::Time);
        let mut made = apply(state(&a), &changes);
        // The key of a port or module is one of its values too.
        for ((component, key), part) in &mut made {
            if *component == Component::Nic {
                part.insert("key".to_owned(), key.clone().into());
            }
        }
        prop_assert_eq!(made, state(&b), "{:#?}", changes);
    }

    #[test]
    fn the_order_of_components_says_nothing(a in any_inventory(), b in any_inventory()) {
        let changes = inventories(&a, &b, View::Time);
        prop_assert_eq!(&inventories(&reversed(&a), &b, View::Time), &changes);
        prop_assert_eq!(&inventories(&a, &reversed(&b), View::Time), &changes);
        prop_assert_eq!(inventories(&a, &reversed(&a), View::Time), vec![]);
    }

    #[test]
    fn what_a_settled_machine_told_is_not_told_again(a in any_inventory(), b in any_inventory()) {
        for phase in [Phase::Settled, Phase::Starting] {
            let outcome = compare(part::parts(&a), part::parts(&b), phase);
            let again = compare(known(part::parts(&b), outcome.missing), part::parts(&b), phase);
            prop_assert!(again.entries.is_empty(), "{:?}: {:?}", phase, again);
        }
    }
}
