//! What happens when a machine boots or checks in: identity's decisions carried out on the database, each in one
//! transaction of the writer, so that two first boots of one machine cannot make two nodes.

pub mod action;
pub mod adopt;
pub mod caller;
mod changes;
pub mod checkin;
pub mod configs;
pub mod disputes;
pub mod enrolment;
pub mod explain;
pub mod kind;
pub mod legacy;
pub mod lookup;
pub mod makeups;
pub mod noted;
pub mod offers;
pub mod operate;
pub mod order;
pub mod outliers;
pub mod queue;
pub mod racks;
pub mod reason;
pub mod reindex;
pub mod remedy;
pub mod rival;
pub mod said;
pub mod settle;
pub mod signed;
pub mod unchanged;
pub mod unheard;

use wire::error::Problem;

/// A request that is not granted. What it left in the logs is stored all the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    /// Why, and what to do.
    pub problem: Problem,
}

impl Refusal {
    /// A refusal with this status.
    pub fn new(status: u16, code: &str, error: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { status, problem: Problem::new(code, error, remedy) }
    }

    /// Row 1: nothing that could tell which machine it is.
    #[must_use]
    pub fn no_match_value(match_on: &[String]) -> Self {
        let error = format!(
            "the request has no usable value of {} (match_nodes_on), so it cannot be told which machine it is about; \
             blank, placeholder and all-zero values do not count",
            match_on.join(", ")
        );
        let remedy = "Send one of these values, or name a key that this machine has (mac, serial, asset, uuid) in \
                      match_nodes_on of config.toml and restart the server.";
        Self::new(400, "no_match_value", error, remedy)
    }

    /// Several nodes claim the machine.
    #[must_use]
    pub fn ambiguous(nodes: &[i64], keys: &[String]) -> Self {
        Self { status: 400, problem: reason::duplicate(nodes, keys) }
    }
}
