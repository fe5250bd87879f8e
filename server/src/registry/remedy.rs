//! What ends a dispute, or takes such a command back: a command with the sentence that an operator means by it. Pure.
//!
//! One line of words stands for a remedy in the API, on the command line after `mk-server conflicts`, and in the forms of
//! the page. What may hold blanks comes last. Who is let in, and what a node is told, is asked and answered in the same two steps.

use std::fmt;
use std::str::FromStr;

use crate::registry::operate::{Operation, Sameness};
use crate::registry::order::Order;

/// A remedy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remedy {
    /// Two nodes are one machine, or two.
    Resolve {
        /// Name of the node that is in dispute.
        node: String,
        /// What they are.
        verdict: Sameness,
        /// Name of the other one.
        with: String,
    },
    /// A part went from one node to another.
    Moved {
        /// Name of the node that had it.
        from: String,
        /// Name of the node that has it.
        to: String,
        /// The value, as `kind=value`.
        key: String,
    },
    /// A node does not have a value.
    Forget {
        /// Name of the node.
        node: String,
        /// The value, as `kind=value`.
        key: String,
    },
    /// A node that was merged is one of its own again.
    Split {
        /// Name that the node had.
        node: String,
    },
    /// A node that waits is accepted.
    Approve {
        /// Name of the node.
        node: String,
        /// The key that its machine had when that was asked.
        key: Option<String>,
    },
    /// A node is not accepted.
    Refuse {
        /// Name of the node.
        node: String,
    },
    /// A node is told something.
    Tell {
        /// Name of the node.
        node: String,
        /// What.
        order: Order,
    },
    /// A command is taken back.
    Undo {
        /// The event that it left.
        event: i64,
    },
}

impl Remedy {
    /// What an operator says by it.
    #[must_use]
    pub fn sentence(&self) -> String {
        match self {
            Self::Resolve { node, verdict: Sameness::Same, with } => format!("{node} and {with} are one machine"),
            Self::Resolve { node, verdict: Sameness::Different, with } => format!("{node} and {with} are two machines"),
            Self::Moved { from, to, key } => format!("{key} went from {from} to {to}"),
            Self::Forget { node, key } => format!("{key} is not in {node}"),
            Self::Split { node } => format!("{node} is a machine of its own again"),
            Self::Approve { node, .. } => format!("{node} is to be let in"),
            Self::Refuse { node } => format!("{node} is not to be let in"),
            Self::Tell { node, order } => format!("{node} is told {}", order.kind.verb()),
            Self::Undo { event } => format!("The command of event {event} is taken back"),
        }
    }

    /// The command that carries it out.
    #[must_use]
    pub fn operation(self) -> Operation {
        match self {
            Self::Resolve { node, verdict, with } => Operation::Resolve { node, with, verdict },
            Self::Moved { from, to, key } => Operation::MoveHardware { keys: vec![key], from, to },
            Self::Forget { node, key } => Operation::Forget { name: node, key },
            Self::Split { node } => Operation::Split { name: node },
            Self::Approve { node, key } => Operation::ApproveNode { name: node, fingerprint: key },
            Self::Refuse { node } => Operation::RefuseNode { name: node },
            Self::Tell { node, order } => (order.operation)(node),
            Self::Undo { event } => Operation::Undo { event },
        }
    }

    /// The node from whose page it is given, where it is no matter of a dispute.
    #[must_use]
    pub fn about(&self) -> Option<&str> {
        match self {
            Self::Approve { node, .. } | Self::Refuse { node } | Self::Tell { node, .. } => Some(node),
            _ => None,
        }
    }

    /// The whole command as a shell takes it.
    #[must_use]
    pub fn shell(&self) -> String {
        let words = match self {
            Self::Approve { node, key } => {
                let key = key.as_ref().map(|key| format!(" --fingerprint {}", quoted(key))).unwrap_or_default();
                return format!("mk-server nodes approve {node}{key}");
            }
            Self::Refuse { node } => return format!("mk-server nodes refuse {node}"),
            Self::Tell { node, order } => return format!("mk-server nodes {} {}", order.word, quoted(node)),
            Self::Resolve { .. } | Self::Split { .. } | Self::Undo { .. } => self.to_string(),
            Self::Moved { from, to, key } => format!("move-hardware {from} {to} {}", quoted(key)),
            Self::Forget { node, key } => format!("forget {node} {}", quoted(key)),
        };
        format!("mk-server conflicts {words}")
    }
}

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resolve { node, verdict, with } => write!(f, "resolve {node} {} {with}", verdict.word()),
            Self::Moved { from, to, key } => write!(f, "move-hardware {from} {to} {key}"),
            Self::Forget { node, key } => write!(f, "forget {node} {key}"),
            Self::Split { node } => write!(f, "split {node}"),
            Self::Approve { node, key: None } => write!(f, "approve {node}"),
            Self::Approve { node, key: Some(key) } => write!(f, "approve {node} {key}"),
            Self::Refuse { node } => write!(f, "refuse {node}"),
            Self::Tell { node, order } => write!(f, "{} {node}", order.word),
            Self::Undo { event } => write!(f, "undo {event}"),
        }
    }
}

impl FromStr for Remedy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (command, rest) = text.split_once(' ').unwrap_or((text, ""));
        let remedy = match command {
            "resolve" => match rest.split(' ').collect::<Vec<_>>().as_slice() {
                [node, verdict, with] => Sameness::of_word(verdict).map(|verdict| Self::Resolve {
                    node: (*node).to_owned(),
                    verdict,
                    with: (*with).to_owned(),
                }),
                _ => None,
            },
            "move-hardware" => match rest.splitn(3, ' ').collect::<Vec<_>>().as_slice() {
                [from, to, key] => {
                    Some(Self::Moved { from: (*from).to_owned(), to: (*to).to_owned(), key: (*key).to_owned() })
                }
                _ => None,
            },
            "forget" => {
                rest.split_once(' ').map(|(node, key)| Self::Forget { node: node.to_owned(), key: key.to_owned() })
            }
            "split" if !rest.is_empty() && !rest.contains(' ') => Some(Self::Split { node: rest.to_owned() }),
            "approve" => match rest.split(' ').collect::<Vec<_>>().as_slice() {
                [node] if !node.is_empty() => Some(Self::Approve { node: (*node).to_owned(), key: None }),
                [node, key] if !node.is_empty() => {
                    Some(Self::Approve { node: (*node).to_owned(), key: Some((*key).to_owned()) })
                }
                _ => None,
            },
            "refuse" if !rest.is_empty() && !rest.contains(' ') => Some(Self::Refuse { node: rest.to_owned() }),
            // In digits alone, so that the same words are written again.
            "undo" => {
                rest.parse().ok().filter(|event: &i64| event.to_string() == rest).map(|event| Self::Undo { event })
            }
            word => match Order::of_word(word) {
                Some(order) if !rest.is_empty() && !rest.contains(' ') => {
                    Some(Self::Tell { node: rest.to_owned(), order })
                }
                _ => None,
            },
        };
        remedy.ok_or_else(|| format!("{text:?} is no remedy"))
    }
}

/// A value that a shell would not take as one word stands in quotes.
fn quoted(value: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "=.,:_-+/@%".contains(c);
    if value.chars().all(plain) { value.to_owned() } else { format!("'{}'", value.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_remedies_are_the_same() {
        for (words, sentence) in [
            ("resolve node2 same node1", "node2 and node1 are one machine"),
            ("resolve node2 different node1", "node2 and node1 are two machines"),
            ("move-hardware node1 node2 mac=00-11-22-33-44-55", "mac=00-11-22-33-44-55 went from node1 to node2"),
            ("forget node1 serial=a b  c", "serial=a b  c is not in node1"),
            ("split node2", "node2 is a machine of its own again"),
            ("approve node2", "node2 is to be let in"),
            ("approve node2 0123-4567", "node2 is to be let in"),
            ("refuse node2", "node2 is not to be let in"),
            ("reboot node1", "node1 is told to reboot"),
            ("collect node1", "node1 is told to send its logs and state"),
            ("undo 17", "The command of event 17 is taken back"),
        ] {
            let remedy: Remedy = words.parse().unwrap();
            assert_eq!((remedy.to_string(), remedy.sentence()), (words.to_owned(), sentence.to_owned()));
        }
        for words in [
            "",
            "resolve",
            "resolve node2 perhaps node1",
            "forget node1",
            "delete-node node1",
            "move-hardware a b",
            "approve",
            "approve node1 a b",
            "refuse node1 x",
            "reboot",
            "doctor node1 now",
            "undo +1",
            "undo x",
            "split",
        ] {
            assert!(words.parse::<Remedy>().is_err(), "{words}");
        }
    }

    #[test]
    fn a_shell_takes_any_value_as_one_word() {
        let remedy = |key: &str| Remedy::Forget { node: "node1".to_owned(), key: key.to_owned() }.shell();
        assert_eq!(remedy("mac=00-11"), "mk-server conflicts forget node1 mac=00-11");
        assert_eq!(remedy("serial=it's; rm"), r"mk-server conflicts forget node1 'serial=it'\''s; rm'");
    }

    proptest::proptest! {
        #[test]
        fn any_words_are_read_or_refused(words in "\\PC*") {
            if let Ok(remedy) = words.parse::<Remedy>() {
                proptest::prop_assert_eq!(remedy.to_string(), words);
            }
        }
    }
}
