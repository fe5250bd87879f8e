//! The command line, a file for each group of commands.

mod config;
mod fleet;
mod identity;
mod nodes;
mod upkeep;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand};

pub use config::Config;
pub use fleet::{Outliers, Rack};
pub use identity::{Conflicts, ExplainArgs, Remedy};
pub use nodes::Nodes;
pub use upkeep::{Backup, Certificate, Enrolment, Image, Restore, Tls};

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
    /// Show the machines that were discovered, and tell the server about them.
    Nodes {
        /// Which of them.
        #[command(subcommand)]
        command: Nodes,
    },
    /// Show and change the configuration that nodes are sent.
    Config {
        /// What to do with it.
        #[command(subcommand)]
        command: Config,
    },
    /// Show what happened to all nodes, newest last.
    Log(LogOptions),
    /// Show whose identity is disputed, and end a dispute.
    Conflicts(Conflicts),
    /// Name the machines that differ from the others of their product, and what the others have.
    Outliers(Outliers),
    /// Say which machines are expected in the racks, and which of them were found.
    Rack {
        /// What to do.
        #[command(subcommand)]
        command: Rack,
    },
    /// Say which node a machine is, or would be, by which evidence, and why not another. Changes nothing.
    Explain(ExplainArgs),
    /// Write everything that the server keeps into one archive, on the server's own machine. The server may be running.
    Backup(Backup),
    /// Make a data folder of a backup.
    Restore(Restore),
    /// Make and revoke tokens that let machines in, where config.toml has enrolment = "token".
    Enrolment {
        /// What to do with them.
        #[command(subcommand)]
        command: Enrolment,
    },
    /// Make and renew the server's CA and certificate, on the server's own machine.
    Tls {
        /// Which.
        #[command(subcommand)]
        command: Tls,
    },
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
    /// Port for TLS at the same address, where `tls init` has made a certificate; 0 takes a free one.
    #[arg(long, value_name = "PORT", default_value_t = wire::routes::HTTPS_PORT)]
    pub https_port: u16,
    /// Mirror of Tiny Core extensions that nodes get as /svc/repo/tce/, with files at RELEASE/ARCH/tcz/NAME.tcz. Without this,
    /// the folder tce in the data folder.
    #[arg(long, value_name = "DIR")]
    pub tce_mirror: Option<PathBuf>,
}

/// How a command is given, and how its answer is shown.
#[derive(Debug, Clone, Copy, ClapArgs)]
pub struct How {
    /// Only say what would come of it.
    #[arg(long, global = true)]
    pub dry_run: bool,
    /// Print the API's JSON instead.
    #[arg(long, global = true)]
    pub json: bool,
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
