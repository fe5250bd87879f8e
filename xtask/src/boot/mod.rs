//! `cargo xtask boot`: programs, image, server, guest, and then the node that appears on the server.
//!
//! Standard output carries the result alone (the node, and last `checked in: node<id> <url>`); steps and the guest's
//! console go to standard error. Logs stay in `target/boot`.

mod guest;
mod machine;
mod node;
mod screen;

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;

use self::guest::Guest;
use self::machine::Start;
pub(crate) use self::machine::{guests_url, serve};
use crate::images::{self, Choice, Image};
use crate::packages::{self, Job};
use crate::report::Report;
use crate::{limits, place, programs};

/// Arguments of `boot`.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    choice: Choice,
    /// Firmware of the guest.
    #[arg(long, value_enum, default_value_t = Firmware::Bios)]
    firmware: Firmware,
    /// How the guest comes by the image.
    #[arg(long, value_enum, default_value_t = Media::Iso)]
    media: Media,
    /// Memory of the guest in MiB.
    #[arg(long, value_name = "MIB", default_value_t = 1024)]
    memory: u64,
    /// Accelerator; `auto` tries KVM and falls back.
    #[arg(long, value_enum, default_value_t = Accel::Auto)]
    accel: Accel,
    /// Who is PID 1 in the guest.
    #[arg(long, value_enum, default_value_t = Init::Agent)]
    init: Init,
    /// End when this has happened [default: stay until Ctrl-C].
    #[arg(long, value_enum)]
    until: Option<Until>,
    /// Seconds in which the guest must have checked in.
    #[arg(long, value_name = "S", default_value_t = limits::CHECK_IN.as_secs())]
    timeout: u64,
    /// Print the node as JSON in place of tables and the closing line.
    #[arg(long)]
    json: bool,
}

/// Firmware of the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Firmware {
    Bios,
    Uefi,
}

/// How the guest comes by the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Media {
    /// CD.
    Iso,
    /// USB stick.
    Usb,
    /// Network: iPXE against the server.
    Pxe,
}

/// Accelerator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Accel {
    Auto,
    Kvm,
    Tcg,
}

/// Who is PID 1 in the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Init {
    /// `mk-agent`.
    Agent,
    /// The base's own (development, debug).
    Core,
}

/// What ends a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Until {
    /// The node has checked in.
    Checkin,
}

/// `cargo xtask boot`.
pub(crate) fn run(args: &Args, install: bool) -> anyhow::Result<()> {
    let variant = args.choice.variant;
    guest::check(variant, args.media, args.init)?;
    let mut report = Report::new();
    report.step("packages", || packages::ensure(Job::Boot, install))?;
    report.step("programs", programs::host)?;
    let agent = report.step("agent", programs::agent)?;
    let dir = place::target().join("boot");
    let _alone = place::alone("boot")?;
    place::clear(&dir.join("data"))?;
    place::clear(&dir.join("image"))?;
    let iso = report.step("image", || image(args, &agent, &dir))?;
    let guest = Guest {
        firmware: args.firmware,
        init: args.init,
        memory_mib: args.memory,
        accel: match args.accel {
            Accel::Auto => "auto",
            Accel::Kvm => "kvm",
            Accel::Tcg => "tcg",
        },
        ssh: variant.has_ssh().then(free_port).transpose()?,
        log: dir.join("console.log"),
    };
    let start = Start {
        iso: &iso,
        dir: &dir,
        media: args.media,
        guest,
        timeout: Duration::from_secs(args.timeout),
        stay: args.until.is_none(),
        json: args.json,
    };
    machine::run(&start, &mut report)
}

/// A port of this machine that nobody listens on.
///
/// # Errors
/// There is none.
pub(crate) fn free_port() -> anyhow::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no port of this machine is free")?;
    Ok(listener.local_addr()?.port())
}

fn image(args: &Args, agent: &Path, dir: &Path) -> anyhow::Result<PathBuf> {
    let variant = args.choice.variant;
    let key = variant.has_ssh().then(|| images::throw_away_key(dir)).transpose()?;
    images::build(&Image {
        variant,
        base: &args.choice.base()?,
        agent,
        out: &dir.join("image"),
        server: None,
        ca: None,
        ssh_key: key.as_deref(),
    })
}
