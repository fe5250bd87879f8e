//! PID 1, and the same supervisor as a daemon under another init.
//!
//! | thread | what it does | says to the loop |
//! |---|---|---|
//! | main | the loop: decides, acts, reaps | - |
//! | signals | waits for signals | [`Message::ChildEnded`], shutdown |
//! | socket | one request after the other | [`Message::Asked`] |
//! | output | one per process, reads its lines | - |
//! | background | one system call that may hang | its outcome |
//!
//! Deciding ([`decide`]) is pure; only the executor touches the system. Nothing here reads from the network.

pub(crate) mod client;

mod boot;
mod cgroup;
mod decide;
mod event;
mod executor;
pub(crate) mod output;
mod signals;
mod socket;
mod supervisor;

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc::{Sender, channel};

use anyhow::Context as _;
use wire::card::Span;
use wire::error::Problem;

use self::client::{Reply, Request};
use self::event::{Event, Mode};
use crate::limits::PANIC_PAUSE;
use crate::settings::Settings;
use crate::state::{Published as _, Start, Units, uptime_ms};
use crate::{log, units};

/// Process id of the daemon, for the base's own scripts.
const PID_FILE: &str = "/run/mk-agent.pid";

/// Where the agent is in every image.
const AGENT: &str = "/sbin/mk-agent";

/// What the loop is told.
enum Message {
    /// Something happened.
    Event(Event),
    /// A child has ended, or several.
    ChildEnded,
    /// Somebody asks and waits for the reply.
    Asked {
        /// Process id of the asker.
        sender: i32,
        /// What is asked for.
        request: Request,
        /// Where the reply goes.
        reply_to: Sender<Reply>,
    },
}

/// Brings the machine up and supervises for ever: the kernel panics when PID 1 ends.
pub(crate) fn as_pid_1() -> ! {
    let start = Start::Kernel(Span::between(0, uptime_ms()));
    let mut failed = boot::mount_all();
    let settings = Settings::load();
    log::to_kernel(settings.level());
    failed.extend(boot::set_up(&settings));
    tracing::info!("Razor Microkernel {} ({})", env!("CARGO_PKG_VERSION"), settings.image.variant);
    for error in failed {
        tracing::error!("{error:#}");
    }
    loop {
        if let Err(error) = supervise(Mode::Init, start, &settings) {
            tracing::error!("{error:#}");
        }
        std::thread::sleep(PANIC_PAUSE);
    }
}

/// Supervises under another init, in the background unless told otherwise.
///
/// # Errors
/// It cannot go to the background, or cannot listen for signals and requests.
pub(crate) fn as_daemon(foreground: bool) -> anyhow::Result<ExitCode> {
    // One that was started again tells of the first.
    let start = Units::read().and_then(|units| units.start);
    let start = start.unwrap_or_else(|| Start::Base(Span::between(0, uptime_ms())));
    if !foreground {
        // Before any thread: a fork copies only the one that calls it.
        let daemon = daemonize::Daemonize::new().pid_file(PID_FILE).umask(0o022);
        daemon.start().context("cannot go to the background")?;
    }
    if UnixStream::connect(client::SOCKET).is_ok() {
        anyhow::bail!("a supervisor runs already: it answers at {}", client::SOCKET);
    }
    // What a unit leaves behind comes to this process instead of PID 1, and is collected here.
    nix::sys::prctl::set_child_subreaper(true).context("cannot adopt orphans")?;
    let settings = Settings::load();
    if foreground {
        log::to_stderr(settings.level());
    } else {
        log::to_kernel(settings.level());
    }
    supervise(Mode::Daemon, start, &settings)?;
    Ok(ExitCode::SUCCESS)
}

fn supervise(mode: Mode, start: Start, settings: &Settings) -> anyhow::Result<()> {
    let exe = std::env::current_exe().unwrap_or_else(|_| PathBuf::from(AGENT)).to_string_lossy().into_owned();
    let found = units::read(&exe);
    protect_from_want_of_memory();
    let cgroups = cgroup::Cgroups::set_up();
    let controllers = cgroups.controllers();
    let lacking: Vec<Problem> = found.units.iter().filter_map(|unit| controllers.lacking(unit)).collect();
    for problem in found.problems.iter().chain(&settings.problems).chain(&lacking) {
        tracing::warn!("{problem}");
    }
    let (outbox, inbox) = channel();
    signals::listen(mode, outbox.clone()).context("cannot listen for signals")?;
    if let Err(error) = socket::listen(Path::new(client::SOCKET), outbox.clone()) {
        tracing::error!("{error:#}: this node can be neither asked nor told anything locally");
    }
    let state = decide::State::new(mode, found, settings.problems.clone(), controllers, seed());
    let executor = executor::Executor::new(mode, start, exe, cgroups, outbox);
    supervisor::Supervisor::new(state, executor, inbox).run();
    Ok(())
}

/// The kernel looks for another victim then. It spares PID 1 anyway; the daemon needs the right to ask for it.
fn protect_from_want_of_memory() {
    if let Err(error) = std::fs::write("/proc/self/oom_score_adj", "-1000") {
        tracing::info!("the supervisor may be killed when memory runs out: {error}");
    }
}

/// Differs between machines and boots; without a source of it, all machines have the same jitter, which is no harm.
fn seed() -> u64 {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.bytes().fold(0, |seed, byte| seed.rotate_left(7) ^ u64::from(byte))
}
