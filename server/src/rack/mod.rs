//! Which machines an operator expects in the racks, and which nodes they turned out to be. Pure: the file as text in, rows and what
//! became of each out.

pub mod file;
pub mod matching;
pub mod words;

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::fleet::ports;
use crate::identity::canonical::HwInfo;
use crate::identity::keys::{self, Key};
use crate::identity::report::Context;

/// A machine that is expected.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// Where it stands in the file, from 1.
    pub line: u64,
    /// What the operator calls it; its slot where it has no name.
    pub name: String,
    /// Where it is, in the operator's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slot: Option<String>,
    /// Serial number of the system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// The switch that it is plugged into.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub switch: Option<String>,
    /// The port of that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<String>,
    /// MACs of its ports, with blanks between.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    /// UUID of the system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uuid: Option<String>,
    /// Asset tag of the chassis.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asset: Option<String>,
}

impl Row {
    /// The hardware values that say which machine it is, in comparable form. One that many machines have says nothing.
    #[must_use]
    pub fn keys(&self) -> Vec<Key> {
        let macs = self.mac.iter().flat_map(|macs| macs.split_whitespace()).map(|mac| ("mac", mac));
        let others = [("serial", &self.serial), ("uuid", &self.uuid), ("asset", &self.asset)];
        let others = others.into_iter().filter_map(|(kind, value)| Some((kind, value.as_deref()?)));
        let info = HwInfo::canonicalize(macs.chain(others));
        keys::claims(&info, &[], &Context::default()).into_iter().map(|claim| claim.key).collect()
    }

    /// The switch port that it is plugged into, in comparable form.
    #[must_use]
    pub fn place(&self) -> Option<String> {
        Some(ports::comparable(self.switch.as_deref()?, self.port.as_deref()?))
    }
}

/// All machines that are expected, with what leads to each.
#[derive(Debug, Default)]
pub struct Rack {
    /// Rises with each file.
    pub version: i64,
    /// When it was set, in milliseconds since 1970.
    pub at: i64,
    /// The machines in the order of the file.
    pub rows: Vec<Row>,
    keys: HashMap<String, HashMap<String, usize>>,
    places: HashMap<String, usize>,
    /// By row, whether it has hardware values and a place.
    leads: Vec<(bool, bool)>,
}

impl Rack {
    /// Rows that were read from a file, in which no two have the same value.
    #[must_use]
    pub fn new(version: i64, at: i64, rows: Vec<Row>) -> Self {
        let mut rack = Self { version, at, rows, ..Self::default() };
        for (index, row) in rack.rows.iter().enumerate() {
            let (keys, place) = (row.keys(), row.place());
            rack.leads.push((!keys.is_empty(), place.is_some()));
            for Key { kind, value } in keys {
                rack.keys.entry(kind).or_default().insert(value, index);
            }
            if let Some(place) = place {
                rack.places.insert(place, index);
            }
        }
        rack
    }

    /// The row with this hardware value.
    #[must_use]
    pub fn by_key(&self, kind: &str, value: &str) -> Option<usize> {
        self.keys.get(kind)?.get(value).copied()
    }

    /// Whether a row names its machine by hardware values.
    #[must_use]
    pub fn names_hardware(&self, row: usize) -> bool {
        self.leads.get(row).is_some_and(|(hardware, _)| *hardware)
    }

    /// Whether a row says where it is plugged in.
    #[must_use]
    pub fn names_place(&self, row: usize) -> bool {
        self.leads.get(row).is_some_and(|(_, place)| *place)
    }

    /// The row at this switch port.
    #[must_use]
    pub fn by_place(&self, place: &str) -> Option<usize> {
        self.places.get(place).copied()
    }
}
