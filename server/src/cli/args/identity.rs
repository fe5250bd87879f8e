//! `mk-server conflicts` and `explain`.

use clap::{Args as ClapArgs, Subcommand};

use super::How;

/// Show whose identity is disputed, and end a dispute. Without a remedy: the list.
#[derive(Debug, ClapArgs)]
pub struct Conflicts {
    /// How.
    #[command(flatten)]
    pub how: How,
    /// What is to be done.
    #[command(subcommand)]
    pub remedy: Option<Remedy>,
}

/// What ends a dispute. Nodes are named as in `nodes list`, values as `kind=value`.
#[derive(Debug, Subcommand)]
pub enum Remedy {
    /// Say that two nodes are one machine, or two.
    Resolve {
        /// The held node.
        node: String,
        /// What they are.
        #[arg(value_parser = ["same", "different"])]
        verdict: String,
        /// The node that it is in dispute with.
        with: String,
    },
    /// Make a node an alias of another one.
    Merge {
        /// The node that ends.
        from: String,
        /// The node that stays.
        into: String,
    },
    /// Take a merge back.
    Split {
        /// The alias.
        name: String,
    },
    /// Take back resolve different, forget or move-hardware.
    Undo {
        /// Number of the event, as the command and the node's log gave it.
        event: i64,
    },
    /// Take a hardware value from a node that no longer has it.
    Forget {
        /// The node.
        name: String,
        /// The value, such as mac=00-11-22-33-44-55.
        key: String,
    },
    /// Say that hardware went from one node to another.
    MoveHardware {
        /// The node that it was at.
        from: String,
        /// The node that it is at now.
        to: String,
        /// The values, such as mac=00-11-22-33-44-55.
        #[arg(required = true)]
        keys: Vec<String>,
    },
}

/// Say which node a machine is, or would be, by which evidence, and why not another. Changes nothing.
#[derive(Debug, ClapArgs)]
pub struct ExplainArgs {
    /// A node, for the last decision about it; or values such as mac=00-11-22-33-44-55 serial=S1, for what a boot of such a
    /// machine would lead to.
    #[arg(required = true, value_name = "NODE|KIND=VALUE")]
    pub what: Vec<String>,
    /// What would become of the node's machine with this change, at its next boot and check-in; may be given several times.
    /// +mac=00-11-22-33-44-55: the part goes in; -disk=SERIAL: it comes out; board=new: replaced; serial=none: gone. Kinds:
    /// mac, uuid, serial, board, chassis, tpm, dimm, disk.
    #[arg(long, value_name = "CHANGE", allow_hyphen_values = true)]
    pub what_if: Vec<String>,
    /// Print the API's JSON instead.
    #[arg(long)]
    pub json: bool,
}
