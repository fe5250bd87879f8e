//! The supervised units: those that are built in, and those that unit files add.

mod file;

use std::path::Path;

use wire::error::Problem;
pub(crate) use wire::unit::Restart;

use crate::{checkin, console, control, devices, ext, gems, mirror, net};

/// The image's unit files.
const IMAGE_DIR: &str = "/etc/razor-mk/units.d";

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
}

/// All built-in units in order of start.
pub(crate) const BUILT_IN: [BuiltIn; 8] = [
    BuiltIn { notifies: true, ..service("devices", devices::run) },
    service("net", net::run),
    BuiltIn { restart: Restart::OnFailure, after: &["devices"], notifies: true, ..service("ext", ext::run) },
    service("checkin", checkin::run),
    service("mirror", mirror::run),
    BuiltIn { restart: Restart::OnFailure, after: &["ext"], ..service("gems", gems::run) },
    service("control", control::run),
    service("console", console::run),
];

const fn service(name: &'static str, run: fn() -> anyhow::Result<()>) -> BuiltIn {
    BuiltIn { name, run, restart: Restart::Always, after: &[], notifies: false }
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
    /// It says itself when it is ready; others are as soon as they run.
    pub(crate) notifies: bool,
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
        notifies: u.notifies,
    };
    let mut units: Vec<Unit> = BUILT_IN.iter().map(own).collect();
    let mut problems = file::add(&mut units, Path::new(IMAGE_DIR), "Correct the file in the image and build it again");
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
