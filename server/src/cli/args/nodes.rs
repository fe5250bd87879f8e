//! `mk-server nodes`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand};

use super::{How, LogOptions};

/// Show the machines that were discovered, and tell the server about them.
#[derive(Debug, Subcommand)]
pub enum Nodes {
    /// One line for each node that fits all of these.
    List {
        /// Which nodes.
        #[command(flatten)]
        filter: Filter,
        /// Print the API's JSON instead.
        #[arg(long)]
        json: bool,
    },
    /// Everything about one node.
    Show {
        /// Its name, such as node1.
        name: String,
        /// Print the API's JSON instead, with exact sizes in bytes.
        #[arg(long)]
        json: bool,
    },
    /// What happened to one node, newest last.
    Log {
        /// Its name, such as node1.
        name: String,
        /// Which part, and how.
        #[command(flatten)]
        options: LogOptions,
    },
    /// The reports of one node, newest first, each with what changed by it.
    History {
        /// Its name, such as node1.
        name: String,
        /// Print the API's JSON instead.
        #[arg(long)]
        json: bool,
    },
    /// What changed of a node last, or what differs between two reports or two nodes.
    Diff {
        /// A node, or one of its reports: node1, node1@17. By itself, it is compared with the report before.
        #[arg(value_name = "NAME[@REPORT]")]
        one: String,
        /// Another report of the node, or another node.
        #[arg(value_name = "NAME[@REPORT]")]
        other: Option<String>,
        /// Print the API's JSON instead.
        #[arg(long)]
        json: bool,
    },
    /// Make a node before its machine was ever seen, or say whether a known one is installed.
    Register {
        /// Hardware values, such as mac=00:11:22:33:44:55 serial=S1.
        #[arg(required = true, value_name = "KIND=VALUE")]
        values: Vec<String>,
        /// It boots from its own disk. Without this, it boots the microkernel.
        #[arg(long)]
        installed: bool,
        /// How.
        #[command(flatten)]
        how: How,
    },
    /// Let a machine in that waits to be accepted.
    Approve {
        /// Its name, such as node1.
        name: String,
        /// Only if its key has this fingerprint, as on the machine's own screen.
        #[arg(long, value_name = "KEY")]
        fingerprint: Option<String>,
        /// How.
        #[command(flatten)]
        how: How,
    },
    /// Do not let a machine in, or not any more: it is told nothing until it is approved.
    Refuse {
        /// Its name, such as node1.
        name: String,
        /// How.
        #[command(flatten)]
        how: How,
    },
    /// Say that a node no longer counts as installed: it boots the microkernel and stays there.
    Reinstall {
        /// Its name, such as node1.
        name: String,
        /// How.
        #[command(flatten)]
        how: How,
    },
    /// Tell a node to boot anew.
    Reboot {
        /// Its name, such as node1.
        name: String,
        /// How.
        #[command(flatten)]
        how: How,
    },
    /// Tell a node to switch off.
    Poweroff {
        /// Its name, such as node1.
        name: String,
        /// How.
        #[command(flatten)]
        how: How,
    },
    /// Have a node take stock of its machine again and report everything.
    Refresh {
        /// Its name, such as node1.
        name: String,
        /// How.
        #[command(flatten)]
        how: How,
    },
    /// Have a node examine its way to the server, step by step; what it found comes into its log.
    Doctor {
        /// Its name, such as node1.
        name: String,
        /// How.
        #[command(flatten)]
        how: How,
    },
    /// Have a light of a node's machine blink: that of its BMC, else that of a network port.
    Identify {
        /// Its name, such as node1.
        name: String,
        /// For so long; 0 switches the light off.
        #[arg(long, value_name = "S", default_value_t = wire::limits::DEFAULT_IDENTIFY_S)]
        seconds: u32,
        /// How.
        #[command(flatten)]
        how: How,
    },
    /// Have a node load an extension of its image, or of the mirror that it was told.
    LoadExtension {
        /// Its name, such as node1.
        name: String,
        /// Name of the extension, such as htop.
        extension: String,
        /// How.
        #[command(flatten)]
        how: How,
    },
    /// Have a node send a bundle of its logs and state.
    Collect {
        /// Its name, such as node1.
        name: String,
        /// How.
        #[command(flatten)]
        how: How,
    },
    /// The bundles of logs and state that a node sent, newest first.
    Bundles {
        /// Its name, such as node1.
        name: String,
        /// Print the API's JSON instead.
        #[arg(long)]
        json: bool,
    },
    /// Save a bundle of a node's logs and state as a file.
    Bundle {
        /// Its name, such as node1.
        name: String,
        /// The command that asked for it; without this, the newest.
        command: Option<u64>,
        /// Where to; without this, NAME-COMMAND.tar.gz in the current folder.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Replace all hardware values of a node.
    SetHwInfo {
        /// Its name, such as node1.
        name: String,
        /// Hardware values, such as mac=00:11:22:33:44:55 serial=S1.
        #[arg(required = true, value_name = "KIND=VALUE")]
        values: Vec<String>,
        /// How.
        #[command(flatten)]
        how: How,
    },
    /// Delete a node with its history. Its machine becomes a new node when it is seen again.
    Delete {
        /// Its name, such as node1.
        name: String,
        /// How.
        #[command(flatten)]
        how: How,
    },
}

/// Which nodes are listed.
#[derive(Debug, ClapArgs)]
pub struct Filter {
    /// Only those whose state is this: normal, held (in dispute), pending (to be approved) or silent.
    #[arg(long, value_name = "STATE", value_parser = ["normal", "held", "pending", "silent"])]
    pub state: Option<String>,
    /// Only those with this product name, in whatever case.
    #[arg(long, value_name = "NAME")]
    pub product: Option<String>,
    /// Only those with all these words somewhere in their names, hardware values and addresses.
    #[arg(long, value_name = "TEXT")]
    pub search: Option<String>,
    /// Only those with this MAC, or one of the other values that are given.
    #[arg(long)]
    pub mac: Option<String>,
    /// The same for a serial number.
    #[arg(long)]
    pub serial: Option<String>,
    /// The same for an asset tag.
    #[arg(long)]
    pub asset: Option<String>,
    /// The same for a UUID.
    #[arg(long)]
    pub uuid: Option<String>,
    /// Only those whose host name of a razor-server fits this regular expression.
    #[arg(long, value_name = "REGEX")]
    pub hostname: Option<String>,
}

impl Filter {
    /// As the query of a URL.
    #[must_use]
    pub fn query(&self) -> String {
        let pairs = [
            ("state", &self.state),
            ("product", &self.product),
            ("search", &self.search),
            ("mac", &self.mac),
            ("serial", &self.serial),
            ("asset", &self.asset),
            ("uuid", &self.uuid),
            ("hostname", &self.hostname),
        ];
        let given = pairs.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?)));
        form_urlencoded::Serializer::new(String::new()).extend_pairs(given).finish()
    }
}
