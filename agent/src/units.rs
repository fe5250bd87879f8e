//! The supervised units: those that are built in, and those that unit files add.

pub(crate) mod file;

use std::path::{Path, PathBuf};
use std::time::Duration;

use wire::error::Problem;
use wire::unit::UNITS_PATH;
pub(crate) use wire::unit::{KillMode, Limits, Restart};

use crate::limits::{START_TIMEOUT, STOP_TIMEOUT};
use crate::{checkin, console, control, devices, ext, gems, mirror, net};

/// The unit files that the server has pushed: written by `checkin`, read here after the image's.
pub(crate) const PUSHED_DIR: &str = "/run/razor-mk/units.d";

/// A unit whose code is in this program.
pub(crate) struct BuiltIn {
    /// Name.
    pub(crate) name: &'static str,
    /// Runs it to its end in this process.
    pub(crate) run: fn() -> anyhow::Result<()>,
    restart: Restart,
    after: &'static [&'static str],
    notifies: bool,
    kill_mode: KillMode,
}

/// All built-in units in order of start.
pub(crate) const BUILT_IN: [BuiltIn; 8] = [
    BuiltIn { notifies: true, ..service("devices", devices::run) },
    service("net", net::run),
    BuiltIn {
        restart: Restart::OnFailure,
        after: &["devices"],
        notifies: true,
        // What an extension's script has started stays.
        kill_mode: KillMode::ProcessGroup,
        ..service("ext", ext::run)
    },
    // What the script of an extension that a command loads has started stays.
    BuiltIn { kill_mode: KillMode::ProcessGroup, ..service("checkin", checkin::run) },
    service("mirror", mirror::run),
    BuiltIn { restart: Restart::OnFailure, after: &["ext"], ..service("gems", gems::run) },
    service("control", control::run),
    service("console", console::run),
];

const fn service(name: &'static str, run: fn() -> anyhow::Result<()>) -> BuiltIn {
    BuiltIn { name, run, restart: Restart::Always, after: &[], notifies: false, kill_mode: KillMode::ControlGroup }
}

/// When a unit that was started is ready.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Readiness {
    /// As soon as it runs.
    #[default]
    Running,
    /// When it says so itself, however late.
    Told,
    /// When it has made or changed this file, before its start deadline.
    File(PathBuf),
}

/// What the supervisor needs to know of a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unit {
    /// Name.
    pub(crate) name: String,
    /// Program and arguments.
    pub(crate) command: Vec<String>,
    /// Commands that must succeed, one after the other, before each start.
    pub(crate) pre: Vec<Vec<String>>,
    /// Terminal that becomes its standard streams and controlling terminal.
    pub(crate) tty: Option<String>,
    /// When it is started again.
    pub(crate) restart: Restart,
    /// Units that must be ready, or have ended, before its first start.
    pub(crate) after: Vec<String>,
    /// When those that come after it may start.
    pub(crate) ready: Readiness,
    /// Time for each preparatory command, and for the unit to be ready by its file.
    pub(crate) start_timeout: Duration,
    /// From TERM to KILL.
    pub(crate) stop_timeout: Duration,
    /// What goes with its process.
    pub(crate) kill_mode: KillMode,
    /// What it may use.
    pub(crate) limits: Limits,
}

/// The built-in unit of that name.
pub(crate) fn built_in(name: &str) -> Option<&'static BuiltIn> {
    BUILT_IN.iter().find(|u| u.name == name)
}

/// What the units of this machine are to be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Definitions {
    /// In order of start; no two have one name.
    pub(crate) units: Vec<Unit>,
    /// Unit files that are skipped, and why.
    pub(crate) problems: Vec<Problem>,
}

/// All units of this machine as its files say now; `exe` is this program. What is wrong with a unit file is reported and
/// the file skipped.
pub(crate) fn read(exe: &str) -> Definitions {
    let own = |u: &BuiltIn| Unit {
        name: u.name.to_owned(),
        command: vec![exe.to_owned(), "run".to_owned(), u.name.to_owned()],
        pre: Vec::new(),
        tty: None,
        restart: u.restart,
        after: u.after.iter().map(|&name| name.to_owned()).collect(),
        ready: if u.notifies { Readiness::Told } else { Readiness::Running },
        start_timeout: START_TIMEOUT,
        stop_timeout: STOP_TIMEOUT,
        kill_mode: u.kill_mode,
        limits: Limits::default(),
    };
    let mut units: Vec<Unit> = BUILT_IN.iter().map(own).collect();
    let mut problems = file::add(&mut units, Path::new(UNITS_PATH), "Correct the file in the image and build it again");
    let remedy = "Correct the unit in the configuration that the server pushes";
    problems.extend(file::add(&mut units, Path::new(PUSHED_DIR), remedy));
    Definitions { units, problems }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// No pushed unit may have their names.
    #[test]
    fn the_names_of_the_built_in_units_are_taken() {
        assert_eq!(BUILT_IN.map(|unit| unit.name), wire::unit::BUILT_IN);
    }
}
