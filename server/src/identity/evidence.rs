//! Everything that tells two machines apart, in groups that are judged as wholes, whether or not a match key is among it.
//!
//! A match key leads to the nodes that a machine might be; evidence says which of them it cannot be (veto), and which one
//! it is although every match key has changed (rejoin). Values are comparable text: lower case, placeholders left out.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use wire::checkin::Facts;
use wire::inventory::{Chassis, Dimm, Disk, Stable};

use crate::identity::canonical::HwInfo;
use crate::identity::keys;
use crate::identity::mac::Worth;
use crate::identity::placeholders::is_placeholder;
use crate::identity::report::Context;

/// What is compared as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Group {
    /// SMBIOS system UUID.
    Uuid,
    /// System serial number.
    Serial,
    /// Serial number of the main board.
    Board,
    /// Serial number of the chassis, where it holds one machine.
    Chassis,
    /// Endorsement key of the TPM.
    Tpm,
    /// Serial numbers of the memory modules.
    Dimm,
    /// Serial numbers of the disks.
    Disk,
    /// MACs of the network ports.
    Nic,
}

/// Groups of many parts, of which some may be replaced: half of the smaller set is enough to agree.
pub const SETS: [Group; 3] = [Group::Dimm, Group::Disk, Group::Nic];
/// Groups that a virtual machine can be told by; the rest is its host's or its template's.
const ON_VIRTUAL: [Group; 3] = [Group::Uuid, Group::Tpm, Group::Nic];
/// SMBIOS chassis types whose serial number is shared: multi-system chassis, blade, blade enclosure.
const SHARED_CHASSIS: [u8; 3] = [25, 28, 29];

impl Group {
    /// All groups, in order.
    pub const ALL: [Self; 8] =
        [Self::Uuid, Self::Serial, Self::Board, Self::Chassis, Self::Tpm, Self::Dimm, Self::Disk, Self::Nic];

    /// How it is written in the database and the API.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Uuid => "uuid",
            Self::Serial => "serial",
            Self::Board => "board",
            Self::Chassis => "chassis",
            Self::Tpm => "tpm",
            Self::Dimm => "dimm",
            Self::Disk => "disk",
            Self::Nic => "nic",
        }
    }

    /// How it is called on a page.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Uuid => "System UUID",
            Self::Serial => "System serial",
            Self::Board => "Board serial",
            Self::Chassis => "Chassis serial",
            Self::Tpm => "TPM key",
            Self::Dimm => "Memory modules",
            Self::Disk => "Disks",
            Self::Nic => "Network ports",
        }
    }

    /// The group with this word.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|group| group.word() == word)
    }

    /// True for a group of many parts.
    #[must_use]
    pub fn is_set(self) -> bool {
        SETS.contains(&self)
    }
}

/// Values by group; a group that nothing is known of is absent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Evidence(BTreeMap<Group, BTreeSet<String>>);

impl Evidence {
    /// What iPXE or an original client tells: uuid, system serial, ports, and from facts the board.
    #[must_use]
    pub fn of_info(info: &HwInfo, facts: Option<&Facts>, context: &Context) -> Self {
        let mut evidence = Self::default();
        let (mut strong, mut weak) = (Vec::new(), Vec::new());
        for (key, worth) in keys::judged(info, context) {
            match (key.kind.as_str(), worth) {
                (_, Worth::None) => {}
                ("uuid", _) => evidence.add(Group::Uuid, [key.value]),
                ("serial", _) => evidence.add(Group::Serial, [key.value]),
                ("mac", Worth::Strong) => strong.push(key.value),
                ("mac", Worth::Weak) => weak.push(key.value),
                _ => {}
            }
        }
        evidence.add(Group::Nic, if strong.is_empty() { weak } else { strong });
        let board = facts.and_then(|f| f.get("boardserialnumber")).and_then(|v| v.as_str());
        evidence.add(Group::Board, board.and_then(number));
        evidence.fit(context)
    }

    /// What a typed inventory tells; `info` is what the check-in's facts say.
    #[must_use]
    pub fn of_inventory(stable: &Stable, info: &HwInfo, context: &Context) -> Self {
        let mut evidence = Self::of_info(info, None, context);
        evidence.add(Group::Board, stable.board.as_ref().and_then(|b| text(b.serial.as_ref())));
        evidence.add(Group::Chassis, stable.chassis.as_ref().and_then(chassis));
        evidence.add(Group::Tpm, stable.tpm.as_ref().and_then(|t| text(t.ek_sha256.as_ref())));
        evidence.add(Group::Dimm, modules(stable.memory.iter().flat_map(|m| &m.dimms)));
        evidence.add(Group::Disk, stable.disks.iter().filter_map(disk));
        evidence.fit(context)
    }

    /// Adds values to a group.
    pub fn add(&mut self, group: Group, values: impl IntoIterator<Item = String>) {
        let mut values = values.into_iter().peekable();
        if values.peek().is_some() {
            self.0.entry(group).or_default().extend(values);
        }
    }

    /// The values of a group; none when nothing is known of it.
    #[must_use]
    pub fn values(&self, group: Group) -> Option<&BTreeSet<String>> {
        self.0.get(&group)
    }

    /// All values with their groups, in order.
    pub fn iter(&self) -> impl Iterator<Item = (Group, &str)> {
        self.0.iter().flat_map(|(group, values)| values.iter().map(|v| (*group, v.as_str())))
    }

    /// True when nothing is known but what virtual machines have.
    #[must_use]
    pub fn is_of_virtual(&self) -> bool {
        self.0.keys().all(|group| ON_VIRTUAL.contains(group))
    }

    /// Without what is not a virtual machine's own, where it is one.
    #[must_use]
    pub fn fit(mut self, context: &Context) -> Self {
        if context.is_virtual {
            self.0.retain(|group, _| ON_VIRTUAL.contains(group));
        }
        self
    }
}

/// What became of the groups between a node and a machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Comparison {
    /// Groups with the same value, or sets that share at least half of the smaller one.
    pub agree: Vec<Group>,
    /// Groups with another value, or sets that share nothing.
    pub differ: Vec<Group>,
    /// Sets without any difference.
    pub same: Vec<Group>,
}

impl Comparison {
    /// Compares what is known of a node with what a machine says.
    #[must_use]
    pub fn of(node: &Evidence, machine: &Evidence) -> Self {
        let mut result = Self::default();
        for group in Group::ALL {
            let (Some(old), Some(new)) = (node.values(group), machine.values(group)) else { continue };
            let shared = old.intersection(new).count();
            if group.is_set() && old == new {
                result.same.push(group);
            }
            if 2 * shared >= old.len().min(new.len()) && shared > 0 {
                result.agree.push(group);
            } else if shared == 0 {
                result.differ.push(group);
            }
        }
        result
    }

    /// True when these cannot be one machine, unless it was rebuilt around its old parts. `nics_changed`: the sets of
    /// ports are not the same.
    #[must_use]
    pub fn vetoes(&self, nics_changed: bool) -> bool {
        let parts = [Group::Board, Group::Dimm, Group::Disk].iter().filter(|g| self.differ.contains(g)).count();
        let kept = [Group::Dimm, Group::Disk].iter().any(|g| self.agree.contains(g));
        // Numbers may all be copies of the vendor's; two parts are not replaced at once along with the ports.
        (self.differ.len() >= 2 && self.differ.len() > self.agree.len()) || (parts >= 2 && !kept && nics_changed)
    }

    /// True when all that speaks for this node speaks for the other one too, and more speaks against it, not ports alone.
    #[must_use]
    pub fn is_outdone_by(&self, other: &Self) -> bool {
        let within = |few: &[Group], many: &[Group]| few.iter().all(|g| many.contains(g));
        self.differ.iter().any(|g| *g != Group::Nic)
            && within(&self.agree, &other.agree)
            && within(&other.differ, &self.differ)
            && other.differ.len() < self.differ.len()
    }

    /// True when this node has only numbers in common with the machine, and other ports, while all that is known of the other
    /// node is in it, parts and these numbers included: they are copies.
    #[must_use]
    pub fn is_copied_from(&self, other: &Self) -> bool {
        let has_parts =
            |one: &Self| [Group::Dimm, Group::Disk, Group::Tpm].iter().any(|group| one.agree.contains(group));
        self.differ == [Group::Nic]
            && other.differ.is_empty()
            && has_parts(other)
            && !has_parts(self)
            && self.agree.iter().all(|group| other.agree.contains(group))
    }

    /// True when two groups beside the ports agree, and more agree than differ. Of a virtual machine little more than uuid
    /// and ports is known: these two are enough where nothing differs.
    #[must_use]
    pub fn is_clear(&self) -> bool {
        let beside_ports = self.agree.iter().filter(|g| **g != Group::Nic).count();
        let all_that_is_virtual =
            self.differ.is_empty() && [Group::Uuid, Group::Nic].iter().all(|g| self.agree.contains(g));
        (beside_ports >= 2 && self.agree.len() > self.differ.len()) || all_that_is_virtual
    }

    /// True when the machine is the node with a part replaced: its parts are there, and its enclosure or its numbers say
    /// so too.
    #[must_use]
    pub fn rejoins(&self) -> bool {
        let agrees = |group| self.agree.contains(&group);
        let sets = self.agree.iter().filter(|g| g.is_set()).count();
        let numbers = self.agree.iter().filter(|g| !g.is_set()).count();
        let enclosure = agrees(Group::Chassis) || agrees(Group::Serial);
        // What is not on a board: nothing of it is another, and memory or disks are one and all the same.
        let whole = self.same.iter().any(|g| *g != Group::Nic);
        let beside_board = [Group::Chassis, Group::Dimm, Group::Disk];
        let untouched = whole && beside_board.iter().all(|g| !self.differ.contains(g));
        let board_replaced = enclosure && (sets >= 2 || untouched);
        // Vendors copy uuid and serial alike, but seldom the board's serial too.
        let enough = sets + numbers >= 3 && numbers >= 1 && (sets >= 1 || agrees(Group::Board));
        // A TPM's key is no copy: with the uuid it proves the board, and is all that a virtual machine has beside its ports.
        let proven = agrees(Group::Uuid) && agrees(Group::Tpm);
        let ports_replaced = (enough || proven) && self.differ.iter().all(|g| *g == Group::Nic);
        // Memory or disks alone are others; the rest of what can be replaced is there.
        let set_replaced =
            numbers >= 1 && sets >= 2 && self.differ.iter().all(|g| g.is_set()) && self.differ.len() <= 1;
        board_replaced || ports_replaced || set_replaced
    }
}

/// A firmware's number in comparable form, unless it is nobody's.
fn number(value: &str) -> Option<String> {
    let value = value.trim().to_lowercase().replace(':', "-");
    (!is_placeholder(&value)).then_some(value)
}

fn text(value: Option<&String>) -> Option<String> {
    value.and_then(|v| number(v))
}

fn chassis(chassis: &Chassis) -> Option<String> {
    let shared = chassis.kind.is_some_and(|kind| SHARED_CHASSIS.contains(&kind));
    text(chassis.serial.as_ref()).filter(|_| !shared)
}

/// Serial numbers of memory modules. One that several modules of a machine have is nobody's.
fn modules<'a>(dimms: impl Iterator<Item = &'a Dimm>) -> Vec<String> {
    let mut count: BTreeMap<String, usize> = BTreeMap::new();
    for dimm in dimms {
        if let Some(serial) = text(dimm.serial.as_ref()) {
            let part = text(dimm.part.as_ref()).unwrap_or_default();
            *count.entry(format!("{part} {serial}").trim().to_owned()).or_default() += 1;
        }
    }
    count.into_iter().filter(|(_, n)| *n == 1).map(|(value, _)| value).collect()
}

/// What a disk is known by wherever it is plugged in; nothing for media that come and go.
fn disk(disk: &Disk) -> Option<String> {
    if disk.removable || disk.transport.as_deref() == Some("usb") {
        return None;
    }
    text(disk.serial.as_ref()).or_else(|| text(disk.wwn.as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evidence(values: &[(Group, &[&str])]) -> Evidence {
        let mut evidence = Evidence::default();
        for (group, list) in values {
            evidence.add(*group, list.iter().map(|v| (*v).to_owned()));
        }
        evidence
    }

    #[test]
    fn sets_agree_by_half_of_the_smaller_and_differ_when_disjoint() {
        let compare =
            |a: &[&str], b: &[&str]| Comparison::of(&evidence(&[(Group::Disk, a)]), &evidence(&[(Group::Disk, b)]));
        assert_eq!(compare(&["a", "b", "c", "d"], &["a", "x"]).agree, [Group::Disk]);
        assert_eq!(compare(&["a", "b", "c"], &["a", "x", "y"]), Comparison::default(), "one of three: unknown");
        assert_eq!(compare(&["a"], &["b"]).differ, [Group::Disk]);
        assert_eq!(compare(&[], &["b"]), Comparison::default(), "no disk seen yet says nothing");
    }

    #[test]
    fn veto_needs_two_groups_and_a_majority() {
        use Group::{Board, Chassis, Dimm, Disk, Nic, Serial, Uuid};
        let compared = |agree: &[Group], differ: &[Group]| Comparison {
            agree: agree.into(),
            differ: differ.into(),
            same: Vec::new(),
        };
        assert!(!compared(&[], &[Uuid]).vetoes(true), "one alone");
        assert!(compared(&[Nic], &[Uuid, Serial]).vetoes(true));
        assert!(!compared(&[Serial, Chassis], &[Uuid, Board]).vetoes(true), "a tie");
        assert!(compared(&[Uuid, Serial, Board, Chassis], &[Dimm, Disk]).vetoes(true), "a clone of all numbers");
        assert!(!compared(&[Uuid, Serial, Board, Chassis], &[Dimm, Disk]).vetoes(false), "the same ports");
        assert!(
            compared(&[Uuid, Serial, Chassis], &[Board, Disk, Nic]).vetoes(true),
            "a neighbour with the same numbers"
        );
        assert!(!compared(&[Serial, Chassis, Disk], &[Uuid, Board, Nic]).vetoes(true), "a new board");
    }

    #[test]
    fn uuid_and_ports_are_clear_only_where_nothing_differs() {
        use Group::{Nic, Serial, Uuid};
        let compared = |agree: &[Group], differ: &[Group]| Comparison {
            agree: agree.into(),
            differ: differ.into(),
            same: Vec::new(),
        };
        let (own, donor) = (compared(&[Uuid, Nic], &[]), compared(&[Nic], &[Uuid]));
        assert!(own.is_clear() && donor.is_outdone_by(&own), "a port of another virtual machine");
        assert!(!compared(&[Uuid, Nic], &[Serial]).is_clear());
        assert!(!compared(&[Nic], &[]).is_clear());
    }

    #[test]
    fn ports_alone_count_against_a_copied_number_where_parts_show_the_other_node() {
        use Group::{Disk, Nic, Serial, Tpm, Uuid};
        let compared = |agree: &[Group], differ: &[Group]| Comparison {
            agree: agree.into(),
            differ: differ.into(),
            same: Vec::new(),
        };
        let copy = compared(&[Uuid], &[Nic]);
        assert!(
            copy.is_copied_from(&compared(&[Uuid, Tpm, Disk, Nic], &[])),
            "all of the other node is in the machine"
        );
        assert!(!copy.is_copied_from(&compared(&[Uuid, Serial, Nic], &[])), "it may be this one with the other's port");
        assert!(!copy.is_copied_from(&compared(&[Uuid, Disk, Nic], &[Serial])), "the other one's disks may be in it");
        assert!(!compared(&[Uuid, Disk], &[Nic]).is_copied_from(&compared(&[Uuid, Disk, Nic], &[])), "parts of both");
    }

    #[test]
    fn rejoin_needs_parts_and_numbers() {
        use Group::{Board, Chassis, Dimm, Disk, Nic, Serial, Tpm, Uuid};
        let compared = |agree: &[Group], differ: &[Group]| Comparison {
            agree: agree.into(),
            differ: differ.into(),
            same: Vec::new(),
        };
        assert!(compared(&[Chassis, Dimm, Disk], &[Uuid, Serial, Board, Tpm, Nic]).rejoins(), "board replaced");
        assert!(!compared(&[Dimm, Disk], &[Uuid, Serial, Board, Nic]).rejoins(), "parts went to another machine");
        assert!(compared(&[Uuid, Board, Dimm], &[Nic]).rejoins(), "the only port replaced");
        let diskless = compared(&[Serial, Dimm], &[Uuid, Board, Nic]);
        assert!(!diskless.rejoins(), "half of its memory may be in a neighbour that shows the same serial number");
        assert!(Comparison { same: vec![Dimm], ..diskless.clone() }.rejoins(), "all of its memory");
        let other_disks = compared(&[Serial, Dimm], &[Uuid, Board, Nic, Disk]);
        assert!(!Comparison { same: vec![Dimm], ..other_disks }.rejoins(), "but other disks");
        assert!(!compared(&[Uuid, Serial], &[Nic]).rejoins(), "cloned numbers alone");
        assert!(compared(&[Uuid, Board, Dimm, Nic], &[Disk]).rejoins(), "the only disk replaced");
        assert!(!compared(&[Uuid, Board, Nic], &[Disk]).rejoins(), "a board with its ports in another machine");
        assert!(compared(&[Uuid, Tpm], &[Nic]).rejoins(), "a virtual machine's only port replaced");
        assert!(!compared(&[Uuid, Tpm], &[Nic, Dimm]).rejoins(), "the board is in another machine now");
        assert!(compared(&[Uuid, Serial, Board], &[Nic]).rejoins(), "the board itself");
        assert!(!compared(&[Uuid, Serial, Dimm], &[Nic, Disk]).rejoins(), "more than the ports differs");
    }

    #[test]
    fn an_inventory_is_read_without_what_proves_nothing() {
        let stable: Stable = serde_json::from_value(serde_json::json!({
            "board": {"serial": "To be filled by O.E.M."}, "chassis": {"serial": "C1", "kind": 28},
            "memory": {"dimms": [{"slot": "1", "serial": "00000000"}, {"slot": "2", "serial": "AB12CD34"},
                {"slot": "3", "serial": "SAME1"}, {"slot": "4", "serial": "SAME1"}]},
            "disks": [{"key": "a", "serial": "D1"}, {"key": "b", "serial": "U1", "transport": "usb"},
                {"key": "c", "wwn": "naa.5000"}, {"key": "d"}]
        }))
        .unwrap();
        let info =
            HwInfo::canonicalize([("serial", "S1"), ("net0", "00:11:22:33:44:55"), ("net1", "52:54:00:00:00:01")]);
        let read = Evidence::of_inventory(&stable, &info, &Context::default());
        let want = [
            (Group::Serial, "s1"),
            (Group::Dimm, "ab12cd34"),
            (Group::Disk, "d1"),
            (Group::Disk, "naa.5000"),
            (Group::Nic, "00-11-22-33-44-55"),
        ];
        assert_eq!(read.iter().collect::<Vec<_>>(), want);
        let context = Context { is_virtual: true, ..Context::default() };
        let virtual_one = Evidence::of_inventory(&stable, &info, &context);
        assert_eq!(virtual_one.iter().collect::<Vec<_>>(), [(Group::Nic, "00-11-22-33-44-55")]);
    }

    #[test]
    fn words_read_back() {
        for group in Group::ALL {
            assert_eq!(Group::of_word(group.word()), Some(group));
            assert_eq!(serde_json::to_value(group).unwrap(), group.word());
        }
        assert_eq!(Group::of_word("fan"), None);
    }
}
