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

/// Write everything that the server keeps into one archive.
#[derive(Debug, ClapArgs)]
pub struct Backup {
    /// The server's data folder.
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// The archive, which must not be there yet; `-` is standard output.
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}

/// Make a data folder of a backup.
#[derive(Debug, ClapArgs)]
pub struct Restore {
    /// The archive; `-` is standard input.
    pub archive: PathBuf,
    /// The data folder, which must be empty, or not there yet.
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
}

/// Make and revoke enrolment tokens.
#[derive(Debug, Subcommand)]
pub enum Enrolment {
    /// Make a token and print it, this once: the server keeps only its digest. Into an image: mkiso customize --enrolment-token.
    Create {
        /// Machines that it lets in.
        #[arg(long, value_name = "N", default_value_t = 1)]
        uses: u32,
        /// How long it is good, such as 90s, 15m, 2h or 7d.
        #[arg(long, value_name = "TIME", default_value = "1d")]
        expires: String,
        /// What it is for.
        #[arg(long, default_value = "")]
        note: String,
        /// How.
        #[command(flatten)]
        how: How,
    },
    /// All tokens, with what is left of each.
    List {
        /// Print the API's JSON instead.
        #[arg(long)]
        json: bool,
    },
    /// Take a token back; machines that it has let in stay.
    Revoke {
        /// Its number, as in the list.
        id: i64,
        /// How.
        #[command(flatten)]
        how: How,
    },
}

/// Make and renew the server's CA and certificate.
#[derive(Debug, Subcommand)]
pub enum Tls {
    /// Make a CA, and a certificate by it for this server.
    Init(Certificate),
    /// Make a new certificate by the same CA; a running server takes it up by itself.
    Renew(Certificate),
}

/// A certificate that is to be made.
#[derive(Debug, ClapArgs)]
pub struct Certificate {
    /// The server's data folder.
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// Name or address under which machines reach the server; may be given again [default for renew: those of before].
    #[arg(long, value_name = "NAME")]
    pub name: Vec<String>,
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

/// Show the machines that were discovered, and tell the server about them.
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

/// What `config set` says of values that are no single word.
const SETTING_HELP: &str = "\
A value from a file or a folder:
  mk_facts_d=@DIR    files with facts: NAME.json, NAME.toml, NAME.txt
  mk_units=@DIR      unit files: NAME.toml
  KEY=@FILE          the value itself; of mk_facts_d, mk_units and mk_tce_sha256 a JSON object

Each takes the place of the whole value before. docs/OPERATORS.md has all keys.";

/// Show and change the configuration that nodes are sent.
#[derive(Debug, Subcommand)]
#[command(after_help = format!("Keys: {}.", wire::config::APPLIED.join(", ")))]
pub enum Config {
    /// What is set for all nodes; with a name, what that node should have, and what it says of it.
    Show {
        /// Name of a node, such as node1.
        name: Option<String>,
        /// Print the API's JSON instead.
        #[arg(long)]
        json: bool,
    },
    /// Set keys for all nodes, or for one.
    #[command(after_help = SETTING_HELP)]
    Set {
        /// For this node alone; its keys come before those of all nodes.
        #[arg(long, value_name = "NAME")]
        node: Option<String>,
        /// Keys and values, such as mk_checkin_interval=30; KEY=@PATH takes the value from a file.
        #[arg(required = true, value_name = "KEY=VALUE")]
        values: Vec<String>,
        /// How.
        #[command(flatten)]
        how: How,
    },
    /// Take keys back, so that nodes do as their image says.
    Unset {
        /// For this node alone, so that the keys of all nodes count for it again.
        #[arg(long, value_name = "NAME")]
        node: Option<String>,
        /// Keys, such as mk_checkin_interval.
        #[arg(required = true, value_name = "KEY")]
        keys: Vec<String>,
        /// How.
        #[command(flatten)]
        how: How,
    },
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
