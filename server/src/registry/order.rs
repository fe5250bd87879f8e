//! What a node can be told by a click. Pure.

use crate::registry::kind::Kind;
use crate::registry::operate::Operation;

/// A command to a node that needs nothing but its name.
#[derive(Debug, Clone, Copy)]
pub struct Order {
    /// Its word after `mk-server nodes`.
    pub word: &'static str,
    /// Its word on a button.
    pub title: &'static str,
    /// What the node is told.
    pub kind: Kind,
    /// The command, to the node of that name.
    pub operation: fn(String) -> Operation,
}

/// All of them, what only asks first.
pub const ORDERS: [Order; 6] = [
    Order {
        word: "refresh",
        title: "Take stock",
        kind: Kind::Refresh,
        operation: |name| Operation::RefreshNode { name },
    },
    Order { word: "doctor", title: "Doctor", kind: Kind::Doctor, operation: |name| Operation::DoctorNode { name } },
    Order {
        word: "collect",
        title: "Collect logs",
        kind: Kind::CollectLogs,
        operation: |name| Operation::CollectLogs { name },
    },
    Order {
        word: "identify",
        title: "Blink",
        kind: Kind::Identify,
        operation: |name| Operation::IdentifyNode { name, seconds: None },
    },
    Order { word: "reboot", title: "Reboot", kind: Kind::Reboot, operation: |name| Operation::RebootNode { name } },
    Order {
        word: "poweroff",
        title: "Switch off",
        kind: Kind::Poweroff,
        operation: |name| Operation::PoweroffNode { name },
    },
];

impl PartialEq for Order {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind
    }
}

impl Eq for Order {}

impl Order {
    /// The one with this word.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        ORDERS.into_iter().find(|order| order.word == word)
    }
}
