//! `mk-vm`: runs one QEMU guest from an image or the network and shows its console. Exit code 0: the text of `--until`
//! appeared, the guest switched itself off, or Ctrl-C; 1: anything else, with the reason on standard error.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::{Args, Parser, Subcommand};
use mk_tests::limits;
use mk_tests::vm::accel::{self, Choice};
use mk_tests::vm::{Accel, Boot, Firmware, Forward, Guest, Machine, Medium, Options};
use nix::sys::signal::{SigSet, Signal};

/// Runs QEMU guests for tests and for `cargo xtask boot`.
#[derive(Parser)]
#[command(name = "mk-vm", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Boot an image; the guest's serial port goes to standard output.
    Run(Box<Run>),
    /// Print the specification of the machine that `run` makes up, as a start for your own.
    Machine(Size),
}

/// Size of a made-up machine.
#[derive(Args)]
struct Size {
    /// Memory in MiB.
    #[arg(long, value_name = "MIB", default_value_t = 1024)]
    memory: u64,
    /// Hardware threads.
    #[arg(long, value_name = "N", default_value_t = 2)]
    cpus: u32,
}

#[derive(Args)]
struct Run {
    /// Image to boot. It is opened read-only.
    #[arg(long, value_name = "FILE", required_unless_present = "bootfile")]
    iso: Option<PathBuf>,
    /// What the image is to the guest.
    #[arg(long, value_enum, default_value_t = Media::Iso)]
    media: Media,
    /// Boot from the network: the URL that DHCP gives to iPXE. This machine is 10.0.2.2.
    #[arg(long, value_name = "URL", conflicts_with_all = ["iso", "media"])]
    bootfile: Option<String>,
    /// Firmware.
    #[arg(long, value_enum, default_value_t = Firmware::Bios)]
    firmware: Firmware,
    /// Memory in MiB [default: 1024, or as the machine's specification says].
    #[arg(long, value_name = "MIB")]
    memory: Option<u64>,
    /// Hardware threads [default: 2, or as the machine's specification says].
    #[arg(long, value_name = "N")]
    cpus: Option<u32>,
    /// Accelerator.
    #[arg(long, value_enum, default_value_t = Choice::Auto)]
    accel: Choice,
    /// Machine to be, as JSON [default: a small server with its own serials and MACs].
    #[arg(long, value_name = "SPEC.json")]
    machine: Option<PathBuf>,
    /// Write the serial port to this file too.
    #[arg(long, value_name = "FILE")]
    serial: Option<PathBuf>,
    /// Let a port of this machine's loopback lead to one of the guest, such as 2222:22; may be given more than once.
    #[arg(long, value_name = "HERE:GUEST", value_parser = forward)]
    forward: Vec<Forward>,
    /// When the guest has written PROMPT for the first time, type TEXT and Enter.
    #[arg(long, value_name = "PROMPT=TEXT", value_parser = answer)]
    answer: Option<Answer>,
    /// Offer QEMU's monitor on this socket.
    #[arg(long, value_name = "SOCK")]
    qmp: Option<PathBuf>,
    /// End, with success, when the guest has written this text.
    #[arg(long, value_name = "TEXT")]
    until: Option<String>,
    /// End, with an error, after this many seconds [default: never].
    #[arg(long, value_name = "S")]
    timeout: Option<u64>,
}

/// What an image is to the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Media {
    /// CD.
    Iso,
    /// USB stick.
    Usb,
}

impl Run {
    fn medium(&self) -> anyhow::Result<Medium> {
        Ok(match (&self.bootfile, &self.iso, self.media) {
            (Some(url), ..) => Medium::Network(url.clone()),
            (None, Some(image), Media::Iso) => Medium::Cd(image.clone()),
            (None, Some(image), Media::Usb) => Medium::Usb(image.clone()),
            (None, None, _) => bail!("give the image to boot with --iso, or the URL of a boot script with --bootfile"),
        })
    }
}

/// Reads `HERE:GUEST`.
fn forward(text: &str) -> anyhow::Result<Forward> {
    let (here, guest) = text.split_once(':').context("two ports with a colon between them are wanted")?;
    Ok(Forward { here: here.parse()?, guest: guest.parse()? })
}

/// What is typed into the guest's console, and after what.
#[derive(Debug, Clone)]
struct Answer {
    prompt: String,
    text: String,
}

/// Reads `PROMPT=TEXT`.
fn answer(text: &str) -> anyhow::Result<Answer> {
    let (prompt, text) = text.split_once('=').context("a prompt and a text with = between them are wanted")?;
    Ok(Answer { prompt: prompt.into(), text: text.into() })
}

/// Why a guest is no longer waited for.
enum End {
    /// `--until` was seen.
    Seen,
    /// The guest switched itself off.
    Off,
    /// A signal asked for it.
    Asked(Signal),
    /// The accelerator gave up.
    Accelerator(String),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Run(run) => self::run(&run),
        Command::Machine(size) => print_machine(&size),
    };
    let Err(error) = result else { return ExitCode::SUCCESS };
    eprintln!("mk-vm: {error:#}");
    ExitCode::FAILURE
}

fn print_machine(size: &Size) -> anyhow::Result<()> {
    let machine = Machine::random_example(size.memory, size.cpus)?;
    println!("{}", serde_json::to_string_pretty(&machine)?);
    Ok(())
}

fn run(run: &Run) -> anyhow::Result<()> {
    let signals = signals()?;
    let deadline = run.timeout.map(|s| Instant::now() + Duration::from_secs(s));
    let (accel, why) = accel::choose(run.accel)?;
    eprintln!("mk-vm: accelerator {}: {why}", accel.name());
    let mut options = Options {
        machine: machine(run)?,
        boot: Boot { medium: run.medium()?, firmware: run.firmware },
        accel,
        serial_log: run.serial.clone(),
        echo: true,
        qmp_socket: run.qmp.clone(),
        may_reboot: true,
        forwards: run.forward.clone(),
    };
    loop {
        let guest = Guest::start(&options)?;
        match watch(&guest, run, options.accel, &signals, deadline)? {
            End::Seen | End::Off => return guest.quit(),
            End::Asked(signal) => {
                eprintln!("mk-vm: {signal}: switching the guest off");
                return guest.quit();
            }
            End::Accelerator(fault) if options.accel == Accel::Kvm && run.accel == Choice::Auto => {
                eprintln!("mk-vm: the guest died under KVM ({fault}); starting it again under TCG");
                guest.quit()?;
                accel::distrust_kvm(&fault)?;
                options.accel = Accel::Tcg;
            }
            End::Accelerator(fault) => bail!("the guest died: {fault}"),
        }
    }
}

fn machine(run: &Run) -> anyhow::Result<Machine> {
    let Some(file) = &run.machine else {
        return Machine::random_example(run.memory.unwrap_or(1024), run.cpus.unwrap_or(2));
    };
    let mut machine = Machine::read(file)?;
    machine.memory_mib = run.memory.unwrap_or(machine.memory_mib);
    machine.cpus = run.cpus.unwrap_or(machine.cpus);
    Ok(machine)
}

/// Looks after a guest until there is a reason not to.
fn watch(
    guest: &Guest,
    run: &Run,
    accel: Accel,
    signals: &Receiver<Signal>,
    deadline: Option<Instant>,
) -> anyhow::Result<End> {
    let mut answer = run.answer.as_ref();
    loop {
        if let Some(Answer { text, .. }) = answer.take_if(|a| guest.console().find(&a.prompt, 0).is_some()) {
            guest.console().send(&format!("{text}\r"))?;
        }
        if let Some(text) = &run.until
            && guest.console().find(text, 0).is_some()
        {
            return Ok(End::Seen);
        }
        if let Some(status) = guest.ended()? {
            if !status.success() {
                bail!("QEMU ended with {status}: {}", guest.complaints());
            }
            return match &run.until {
                Some(text) if guest.console().wait_for(text, 0, limits::POLL).is_err() => {
                    bail!("the guest switched itself off without {text:?}")
                }
                Some(_) => Ok(End::Seen),
                None => Ok(End::Off),
            };
        }
        if deadline.is_some_and(|d| Instant::now() >= d) {
            let missing = run.until.as_ref().map(|t| format!(" without {t:?}")).unwrap_or_default();
            bail!("the guest ran for {} s{missing}", run.timeout.unwrap_or_default());
        }
        match signals.recv_timeout(limits::POLL) {
            Ok(signal) => return Ok(End::Asked(signal)),
            Err(RecvTimeoutError::Disconnected) => bail!("the thread that waits for signals has ended"),
            Err(RecvTimeoutError::Timeout) => {}
        }
        if accel == Accel::Kvm
            && let Ok(Some(fault)) = guest.internal_error()
        {
            return Ok(End::Accelerator(fault));
        }
    }
}

/// Ctrl-C and `kill` as messages. Blocked before any thread starts, so that no thread dies of them.
fn signals() -> anyhow::Result<Receiver<Signal>> {
    let set = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]);
    set.thread_block().context("cannot block signals")?;
    let (sender, receiver) = channel();
    let wait = move || while set.wait().is_ok_and(|signal| sender.send(signal).is_ok()) {};
    std::thread::Builder::new().name("signals".into()).spawn(wait).context("cannot start the signal thread")?;
    Ok(receiver)
}
