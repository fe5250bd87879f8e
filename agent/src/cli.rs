//! The command line: reads the words, does what they say, and turns the outcome into an exit code.

mod args;
mod show;

use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;

use nix::sys::signal::{SigHandler, Signal};

use self::args::{Command, Facts, UnitCommand};
use self::show::Snapshot;
use crate::init::client::{self, Reply, Request};
use crate::settings::Settings;
use crate::state::Published as _;
use crate::tree::Tree;
use crate::{checkin, ext, facts, init, log, units};

/// The command failed.
const FAILED: u8 = 1;
/// The words were not understood.
const USAGE: u8 = 2;
/// `status` or `doctor`: something is wrong with this node.
const UNWELL: u8 = 3;

/// Runs the command that the words after the program's name make.
pub(crate) fn run(words: impl Iterator<Item = OsString>) -> ExitCode {
    let command = match args::parse(words) {
        Ok(command) => command,
        Err(error) => {
            eprintln!("mk-agent: {error}\n\n{}", args::HELP);
            return ExitCode::from(USAGE);
        }
    };
    match carry_out(command) {
        Ok(code) => code,
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mk-agent: {error:#}");
            ExitCode::from(FAILED)
        }
    }
}

/// The node's state as `mk-agent status` prints it.
///
/// # Errors
/// No supervisor runs.
pub(crate) fn status_text() -> anyhow::Result<String> {
    Ok(Snapshot::read()?.status())
}

fn carry_out(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Help => print(args::HELP)?,
        Command::Version => print(&format!("mk-agent {}\n", env!("CARGO_PKG_VERSION")))?,
        Command::Run(unit) => return run_unit(&unit),
        Command::Daemon { foreground } => return init::as_daemon(foreground),
        Command::Status => {
            let snapshot = Snapshot::read()?;
            print(&snapshot.status())?;
            return Ok(ExitCode::from(if snapshot.is_well() { 0 } else { UNWELL }));
        }
        Command::Doctor => {
            let report = checkin::doctor()?;
            print(&report.text)?;
            return Ok(ExitCode::from(if report.is_well { 0 } else { UNWELL }));
        }
        Command::Facts(how) => {
            let inventory = || facts::collect(&Tree::live(), facts::Asker::Command);
            let text = match how {
                Facts::Inventory => serde_json::to_string_pretty(&inventory())?,
                Facts::Flat => serde_json::to_string_pretty(&wire::facts::flatten(&inventory()))?,
                Facts::Recording => facts::record(&Tree::live()),
            };
            print(&format!("{}\n", text.trim_end()))?;
        }
        Command::Units => print(&Snapshot::read()?.units())?,
        Command::Unit(command) => ask(&match command {
            UnitCommand::Start(name) => Request::Start(name),
            UnitCommand::Stop(name) => Request::Stop(name),
            UnitCommand::Restart(name) => Request::Restart(name),
            UnitCommand::Reload => Request::Reload,
        })?,
        Command::Logs(unit) => ask(&Request::Logs(unit))?,
        Command::LoadExtension(name) => print(&format!("{}\n", ext::load_by_hand(&name)?))?,
        Command::Reboot => ask(&Request::Reboot { reason: "asked for on the command line".to_owned() })?,
        Command::Poweroff => ask(&Request::Poweroff { reason: "asked for on the command line".to_owned() })?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs a built-in unit in this process, under the supervisor or by hand.
fn run_unit(name: &str) -> anyhow::Result<ExitCode> {
    let unit = units::built_in(name).ok_or_else(|| {
        let known: Vec<&str> = units::BUILT_IN.iter().map(|u| u.name).collect();
        anyhow::anyhow!("there is no built-in unit {name}; there are {}", known.join(", "))
    })?;
    die_of_faults()?;
    let pushed = checkin::Pushed::read().and_then(|pushed| pushed.level());
    log::to_stderr(pushed.unwrap_or_else(|| Settings::load().level()));
    if let Err(error) = (unit.run)() {
        tracing::error!("{error:#}");
        return Ok(ExitCode::from(FAILED));
    }
    Ok(ExitCode::SUCCESS)
}

/// A unit that is sent SEGV or BUS ends by it. The standard library's handler, which is there to name a stack overflow,
/// would let the first one pass.
fn die_of_faults() -> anyhow::Result<()> {
    for signal in [Signal::SIGSEGV, Signal::SIGBUS] {
        // SAFETY: the default action runs no code of ours.
        unsafe { nix::sys::signal::signal(signal, SigHandler::SigDfl)? };
    }
    Ok(())
}

fn ask(request: &Request) -> anyhow::Result<()> {
    match client::request(request)? {
        Reply::Lines(lines) => print(&format!("{}\n", lines.join("\n"))),
        Reply::Skipped(problems) => {
            let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
            anyhow::bail!("the other units are as their files say, but {}", problems.join("\nand "))
        }
        Reply::Accepted | Reply::Refused(_) => Ok(()),
    }
}

fn print(text: &str) -> anyhow::Result<()> {
    Ok(std::io::stdout().lock().write_all(text.as_bytes())?)
}

/// The reader went away, as `head` does: that is no failure of ours.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe)
}
