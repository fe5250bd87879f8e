//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand};

/// The server of the Razor Microkernel, and the command line to it.
#[derive(Debug, Parser)]
#[command(name = "mk-server", version, arg_required_else_help = true)]
pub struct Args {
    /// Where the server is, for all commands but `serve`.
    #[arg(long, global = true, env = "MK_SERVER", value_name = "URL", default_value = "http://127.0.0.1:8150")]
    pub server: String,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the server.
    Serve(Serve),
    /// Show the machines that were discovered.
    Nodes {
        /// Which of them.
        #[command(subcommand)]
        command: Nodes,
    },
    /// Show what happened to all nodes, newest last.
    Log(LogOptions),
    /// Show whose identity is disputed, and end a dispute.
    Conflicts(Conflicts),
    /// Say which node a machine is, or would be, by which evidence, and why not another. Changes nothing.
    Explain(ExplainArgs),
    /// Manage the images that machines boot.
    Image {
        /// What to do with them.
        #[command(subcommand)]
        command: Image,
    },
}

/// Run the server.
#[derive(Debug, ClapArgs)]
pub struct Serve {
    /// Folder for everything that the server keeps; made where there is none.
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// Settings; without this, config.toml in the data folder where there is one.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Address and port to listen on; port 0 takes a free one and prints it. Without this, port 8150 on all addresses, IPv4
    /// and IPv6.
    #[arg(long, value_name = "ADDR:PORT")]
    pub listen: Option<SocketAddr>,
    /// Listen here too, for images of Razor 0.x and Hanlon: the port that is built into them is 8026.
    #[arg(long, value_name = "PORT")]
    pub legacy_port: Option<u16>,
}

/// Show the machines that were discovered.
#[derive(Debug, Subcommand)]
pub enum Nodes {
    /// One line for each node.
    List {
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
}

/// Which part of a log, and how it is shown.
#[derive(Debug, ClapArgs)]
pub struct LogOptions {
    /// Everything since a time (2026-11-22T01:02:03Z) or an age (90s, 15m, 2h, 3d); without this, the newest 100 entries.
    #[arg(long, value_name = "WHEN")]
    pub since: Option<String>,
    /// Go on showing what happens, until Ctrl-C.
    #[arg(long, short)]
    pub follow: bool,
    /// Print the API's JSON instead; with --follow, one object a line.
    #[arg(long)]
    pub json: bool,
}

/// Show whose identity is disputed, and end a dispute. Without a remedy: the list.
#[derive(Debug, ClapArgs)]
pub struct Conflicts {
    /// Print the API's JSON instead.
    #[arg(long, global = true)]
    pub json: bool,
    /// Only say what would come of it.
    #[arg(long, global = true)]
    pub dry_run: bool,
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

/// Manage the images that machines boot.
#[derive(Debug, Subcommand)]
pub enum Image {
    /// Check an ISO and keep its kernel and initrds for booting by PXE.
    Add {
        /// The ISO that `mkiso build` made.
        file: PathBuf,
    },
    /// The images that the server has.
    List {
        /// Print the API's JSON instead.
        #[arg(long)]
        json: bool,
    },
    /// Boot this one from now on.
    Use {
        /// Name of the image, or as much of its beginning as tells it apart.
        version: String,
    },
}
