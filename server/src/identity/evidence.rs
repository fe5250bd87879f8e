//! Everything that tells two machines apart, in groups that are judged as wholes, whether or not a match key is among it.
//!
//! A match key leads to the nodes that a machine might be; evidence says which of them it is (see
//! [`crate::identity::comparison`]). Values are comparable text: lower case, placeholders left out.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use wire::checkin::Facts;
use wire::inventory::{Chassis, Dimm, Disk, Stable};

use crate::identity::canonical::HwInfo;
use crate::identity::keys;
use crate::identity::length::kept;
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
        let mut values = values.into_iter().map(|value| kept(&value)).peekable();
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

    /// True when it shows memory and disks where the other one does. Numbers that are gone were blanked, and do not
    /// come late.
    #[must_use]
    pub fn has_parts_of(&self, other: &Self) -> bool {
        [Group::Dimm, Group::Disk].iter().all(|group| self.0.contains_key(group) || !other.0.contains_key(group))
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
