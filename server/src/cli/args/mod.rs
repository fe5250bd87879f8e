//! The command line, a file for each group of commands.

mod adopt;
mod config;
mod fleet;
mod identity;
mod nodes;
mod remote;
mod simulate;
mod token;
mod upkeep;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};

pub use adopt::Adopt;
pub use config::Config;
pub use fleet::{Outliers, Rack};
pub use identity::{Conflicts, ExplainArgs, Remedy};
pub use nodes::Nodes;
pub use remote::Remote;
pub use simulate::Simulate;
pub use token::Token;
pub use upkeep::{Backup, Certificate, Enrolment, Image, Restore, Tls};

use crate::logging;

/// The server of the Razor Microkernel, and the command line to it.
#[derive(Debug, Parser)]
#[command(name = "mk-server", version, arg_required_else_help = true)]
pub struct Args {
    /// Where the server is, and by what it knows who asks.
    #[command(flatten)]
    pub server: Remote,
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
    /// Show who is told what happens, as config.toml has it, and how that goes.
    Webhooks {
        /// Print the API's JSON instead.
        #[arg(long)]
        json: bool,
    },
    /// Take over the nodes of a razor-server, with their ids.
    Adopt(Adopt),
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
    /// Make and revoke tokens by which operators on other machines are let in.
    Token {
        /// What to do with them.
        #[command(subcommand)]
        command: Token,
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
    /// Let made-up machines boot and check in, as agents do, and say how fast the server answers and what it gets wrong. Fills
    /// its database.
    Simulate(Simulate),
    /// Print what a shell reads to complete the arguments of mk-server.
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Write manual pages, one for each command.
    Man {
        /// The folder, which is made where there is none.
        #[arg(value_name = "DIR")]
        folder: PathBuf,
    },
}

/// Shells whose completion is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    /// GNU bash.
    Bash,
    /// zsh.
    Zsh,
    /// fish.
    Fish,
}

/// Run the server.
#[derive(Debug, ClapArgs)]
pub struct Serve {
    /// Folder for everything that the server keeps; made where there is none.
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// PostgreSQL database that takes the place of the file in the data folder, and that several servers may share:
    /// postgres://user@host/database.
    #[arg(long, env = "MK_DATABASE", hide_env_values = true, value_name = "URL")]
    pub database: Option<String>,
    /// Settings; without this, config.toml in the data folder where there is one.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Address and port to listen on; port 0 takes a free one and prints it. Without this, port 8150 on all addresses, IPv4
    /// and IPv6. At one address that others reach, the same port of 127.0.0.1 is there for operators too.
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
    /// How lines of the log look, on standard error.
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = logging::Format::Text)]
    pub log_format: logging::Format,
    /// How much the log says.
    #[arg(long, value_name = "LEVEL", value_enum, default_value_t = logging::Level::Info)]
    pub log_level: logging::Level,
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
