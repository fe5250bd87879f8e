//! Switch ports in a form in which what a switch says by LLDP and what people write are the same. Pure.

use std::collections::BTreeSet;

use wire::inventory::{Neighbour, Stable};

use crate::limits::{MAX_NODE_PORTS, MAX_PORT_TEXT};

/// All switch ports that a machine has heard.
#[must_use]
pub fn heard(stable: &Stable) -> BTreeSet<String> {
    let neighbours = stable.nics.iter().filter_map(|nic| nic.lldp.as_ref()).flat_map(|lldp| &lldp.neighbours);
    neighbours.flat_map(names).take(MAX_NODE_PORTS).collect()
}

/// The port by the switch's name, or its chassis id where it has none; and by its id and, where that is an address or a bare number,
/// by its description too.
fn names(neighbour: &Neighbour) -> Vec<String> {
    let switch = neighbour.system_name.as_deref().filter(|name| !name.trim().is_empty());
    let switch = switch.unwrap_or(&neighbour.chassis);
    let bare = !neighbour.port.contains(|c: char| c.is_ascii_alphabetic()) || neighbour.port.contains(':');
    let described = neighbour.port_description.as_deref().filter(|text| bare && !text.trim().is_empty());
    [Some(neighbour.port.as_str()), described].into_iter().flatten().map(|p| comparable(switch, p)).collect()
}

/// Switch and port: the switch without its domain, the port with two letters of its kind, since `Eth1/7` is `Ethernet1/7`.
#[must_use]
pub fn comparable(switch: &str, port: &str) -> String {
    let text = format!("{} {}", plain_switch(switch), plain_port(port));
    text.chars().take(MAX_PORT_TEXT).collect()
}

fn plain_switch(switch: &str) -> String {
    let switch = switch.trim().to_lowercase();
    let is_address = switch.contains(':') || !switch.contains(|c: char| c.is_ascii_alphabetic());
    if is_address { switch } else { switch.split('.').next().unwrap_or_default().to_owned() }
}

fn plain_port(port: &str) -> String {
    let port: String = port.trim().to_lowercase().split_whitespace().collect();
    if port.contains(':') {
        return port;
    }
    let letters = port.chars().take_while(|c| c.is_alphabetic()).count();
    match port.chars().nth(letters) {
        Some(c) if c.is_ascii_digit() => port.chars().take(letters.min(2)).chain(port.chars().skip(letters)).collect(),
        _ => port,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_switches_and_people_call_one_port_is_the_same() {
        for (one, other) in [
            (("leaf-12a.dc1.example", "Ethernet1/17"), ("LEAF-12A", "eth1/17")),
            (("sw1", "GigabitEthernet1/0/1"), ("sw1", "Gi 1/0/1")),
            (("10.1.0.12", "17"), (" 10.1.0.12 ", " 17")),
            (("44:38:39:00:00:17", "aa:bb:cc:00:00:01"), ("44:38:39:00:00:17", "AA:BB:CC:00:00:01")),
        ] {
            assert_eq!(comparable(one.0, one.1), comparable(other.0, other.1), "{one:?}");
        }
        for (one, other) in [
            (("leaf-1", "Ethernet1/17"), ("leaf-2", "Ethernet1/17")),
            (("leaf-1", "Ethernet1/17"), ("leaf-1", "Ethernet1/1")),
            (("leaf-1", "xe-0/0/1"), ("leaf-1", "ge-0/0/1")),
            (("10.1.0.12", "1"), ("10.1.0.13", "1")),
        ] {
            assert_ne!(comparable(one.0, one.1), comparable(other.0, other.1), "{one:?}");
        }
    }

    #[test]
    fn a_port_that_tells_an_address_or_a_number_alone_is_known_by_its_description_too() {
        let heard = |port: &str, name: Option<&str>| {
            let neighbour = Neighbour {
                chassis: "44:38:39:00:00:17".into(),
                port: port.into(),
                port_description: Some("Ethernet7".into()),
                system_name: name.map(str::to_owned),
                ..Neighbour::default()
            };
            names(&neighbour)
        };
        assert_eq!(heard("Ethernet1/7", Some("leaf.example")), ["leaf et1/7"], "what is written there is anything");
        assert_eq!(heard("44:38:39:00:00:18", Some("leaf")), ["leaf 44:38:39:00:00:18", "leaf et7"]);
        assert_eq!(heard("7", None), ["44:38:39:00:00:17 7", "44:38:39:00:00:17 et7"]);
    }

    proptest::proptest! {
        #[test]
        fn any_names_are_read(switch in ".*", port in ".*") {
            let once = comparable(&switch, &port);
            proptest::prop_assert!(once.chars().count() <= MAX_PORT_TEXT);
        }
    }
}
