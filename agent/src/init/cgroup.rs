//! Control groups of version 2: each start of a unit gets one of its own, `razor-mk/NAME.N`, which holds its limits and all
//! that it starts, even what leaves its process group. A new one for each start: what is left of a former start, stuck in the
//! kernel, then neither counts against the limits of its successor nor is the reason of its end. The name says whether what
//! is left in it stays, `razor-mk/NAME.N.stays`, so that the next supervisor knows too.
//!
//! The kernel wants no processes beside groups that have limits, the root group excepted, which may not be ours: so the
//! supervisor itself moves to a group beside the units'. Where there are no such groups, units run without.

use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use nix::mount::mount;
use nix::sys::signal::{Signal, kill};
use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, SYSFS_MAGIC, statfs};
use nix::unistd::Pid;
use wire::error::Problem;

use super::boot::STRICT;
use crate::exec::Group;
use crate::units::{KillMode, Limits, Unit};

/// Where the kernel's groups are, and where distributions put those of version 2 that have version 1 beside them.
const PLACES: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];
/// Ours, in either.
const HOME: &str = "razor-mk";
/// The supervisor's own, in ours; no unit's has such a name.
const SUPERVISOR: &str = "supervisor";
/// Ends the names of groups whose unit's kill mode leaves them alone.
const STAYS: &str = "stays";

/// Which limits the kernel can enforce for us.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Controllers {
    pub(super) memory: bool,
    pub(super) pids: bool,
    pub(super) cpu: bool,
}

impl Controllers {
    /// Those of a unit's limits that are in force: it must not run without them.
    pub(super) fn enforced(self, limits: &Limits) -> Limits {
        Limits {
            memory_max: limits.memory_max.filter(|_| self.memory),
            pids_max: limits.pids_max.filter(|_| self.pids),
            cpu_weight: limits.cpu_weight.filter(|_| self.cpu),
        }
    }

    /// Says which of a unit's limits are not in force, if any.
    pub(super) fn lacking(self, unit: &Unit) -> Option<Problem> {
        let (limits, enforced) = (&unit.limits, self.enforced(&unit.limits));
        let keys = [
            ("memory_max", limits.memory_max != enforced.memory_max),
            ("pids_max", limits.pids_max != enforced.pids_max),
            ("cpu_weight", limits.cpu_weight != enforced.cpu_weight),
        ];
        let keys: Vec<&str> = keys.into_iter().filter(|(_, lacks)| *lacks).map(|(key, _)| key).collect();
        if keys.is_empty() {
            return None;
        }
        let (name, keys) = (&unit.name, keys.join(" and "));
        let error =
            format!("unit {name} runs without {keys}: the kernel's control groups of version 2 do not offer it here");
        let remedy =
            "Use a kernel that has them, with nothing else that takes them as version 1 does, or leave the keys out.";
        Some(Problem::new("limit_not_in_force", error, remedy))
    }
}

/// Makes the units' groups.
#[derive(Debug, Default)]
pub(super) struct Cgroups {
    home: Option<PathBuf>,
    controllers: Controllers,
    made: u64,
    /// Those of a supervisor before this one that are not empty yet.
    former: Vec<Cgroup>,
}

impl Cgroups {
    /// Finds or mounts them, and kills what a supervisor before this one has left there, where the kill mode says so.
    pub(super) fn set_up() -> Self {
        let claimed = root().and_then(|root| claim(&root));
        claimed.unwrap_or_else(|error| {
            tracing::info!("units run without control groups: {error:#}");
            Self::default()
        })
    }

    pub(super) fn controllers(&self) -> Controllers {
        self.controllers
    }

    /// Groups that are to be removed once they are empty.
    pub(super) fn take_former(&mut self) -> Vec<Cgroup> {
        std::mem::take(&mut self.former)
    }

    /// A group for one start of a unit; `None` where there are none.
    ///
    /// # Errors
    /// The kernel refuses it, a limit of it, or the way into it.
    pub(super) fn make(&mut self, unit: &Unit) -> anyhow::Result<Option<(Cgroup, Group)>> {
        let Some(home) = &self.home else { return Ok(None) };
        let path = create(home, unit, &mut self.made)?;
        let limits = self.controllers.enforced(&unit.limits);
        let group = Cgroup { path, kill_mode: unit.kill_mode, memory_max: unit.limits.memory_max };
        let entrance = group.limit(&limits).and_then(|()| group.entrance());
        match entrance {
            Ok(entrance) => Ok(Some((group, Group { entrance, required: limits != Limits::default() }))),
            Err(error) => {
                group.remove();
                Err(error)
            }
        }
    }

    /// What to do without a group that could not be made: the unit must not run without limits that are in force otherwise.
    ///
    /// # Errors
    /// It must not run.
    pub(super) fn do_without(&self, unit: &Unit, why: &anyhow::Error) -> anyhow::Result<Problem> {
        let limits = self.controllers.enforced(&unit.limits);
        ensure!(limits == Limits::default(), "its limits cannot be set: {why:#}");
        let name = &unit.name;
        let error =
            format!("unit {name} runs without a control group, and what leaves its process group outlives it: {why:#}");
        let remedy = format!("Remove what hinders it, then `mk-agent unit restart {name}`.");
        Ok(Problem::new("no_control_group", error, remedy))
    }
}

/// The group of one start of a unit.
#[derive(Debug)]
pub(super) struct Cgroup {
    path: PathBuf,
    kill_mode: KillMode,
    memory_max: Option<u64>,
}

impl Cgroup {
    /// One of a supervisor before this one.
    fn former(path: PathBuf) -> Self {
        let stays = path.extension().is_some_and(|end| end == STAYS);
        let kill_mode = if stays { KillMode::ProcessGroup } else { KillMode::ControlGroup };
        Self { path, kill_mode, memory_max: None }
    }

    fn limit(&self, limits: &Limits) -> anyhow::Result<()> {
        let put = |file: &str, value: &dyn ToString| {
            let path = self.path.join(file);
            fs::write(&path, value.to_string()).with_context(|| format!("cannot write {}", path.display()))
        };
        if let Some(bytes) = limits.memory_max {
            put("memory.max", &bytes)?;
            // The whole unit ends then, and is started again, instead of going on without one of its processes.
            put("memory.oom.group", &1)?;
            // Kernels without swap have no such file.
            let _: anyhow::Result<()> = put("memory.swap.max", &0);
        }
        if let Some(count) = limits.pids_max {
            put("pids.max", &count)?;
        }
        if let Some(weight) = limits.cpu_weight {
            put("cpu.weight", &weight)?;
        }
        Ok(())
    }

    /// A process that writes `0` to it is in the group from then on.
    fn entrance(&self) -> anyhow::Result<File> {
        let path = self.path.join("cgroup.procs");
        OpenOptions::new().write(true).open(&path).with_context(|| format!("cannot open {}", path.display()))
    }

    /// Kills all in it, where the unit's kill mode says so.
    pub(super) fn kill(&self) {
        if self.kill_mode == KillMode::ControlGroup {
            kill_all(&self.path);
        }
    }

    /// Whether the kernel has killed one of its processes for want of memory: the limit, if it had one.
    pub(super) fn out_of_memory(&self) -> Option<Option<u64>> {
        let events = fs::read_to_string(self.path.join("memory.events")).ok()?;
        let killed = events.lines().any(|line| line.strip_prefix("oom_kill ").is_some_and(|count| count != "0"));
        killed.then_some(self.memory_max)
    }

    /// Whether there is still somebody in it, whom this kills where the unit's kill mode says so; else it is removed.
    pub(super) fn is_left(&self) -> bool {
        self.kill();
        !self.remove()
    }

    /// Removes it; false while there is somebody in it.
    pub(super) fn remove(&self) -> bool {
        remove_tree(&self.path)
    }
}

/// The place of groups of version 2, which is mounted where nothing is: a base's own init may not need it.
fn root() -> anyhow::Result<PathBuf> {
    let kind = |place: &str| statfs(place).map(|about| about.filesystem_type());
    if kind(PLACES[0]).is_ok_and(|kind| kind == SYSFS_MAGIC) {
        mount(Some("cgroup2"), PLACES[0], Some("cgroup2"), STRICT, None::<&str>)
            .with_context(|| format!("cannot mount cgroup2 at {}", PLACES[0]))?;
    }
    let found = PLACES.into_iter().find(|place| kind(place).is_ok_and(|kind| kind == CGROUP2_SUPER_MAGIC));
    found.map(PathBuf::from).with_context(|| format!("there is no cgroup2 at {}", PLACES.join(" or ")))
}

/// Makes the folder by the next number that is free: what a supervisor before this one has left there may have one.
fn create(home: &Path, unit: &Unit, made: &mut u64) -> anyhow::Result<PathBuf> {
    loop {
        *made += 1;
        let path = home.join(group_name(unit, *made));
        match fs::create_dir(&path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            result => return result.map(|()| path.clone()).with_context(|| format!("cannot make {}", path.display())),
        }
    }
}

fn group_name(unit: &Unit, number: u64) -> String {
    match unit.kill_mode {
        KillMode::ControlGroup => format!("{}.{number}", unit.name),
        KillMode::ProcessGroup => format!("{}.{number}.{STAYS}", unit.name),
    }
}

/// The supervisor leaves the group of who has started it first: that may be a unit of the one before.
fn claim(root: &Path) -> anyhow::Result<Cgroups> {
    let home = root.join(HOME);
    fs::create_dir_all(home.join(SUPERVISOR)).with_context(|| format!("cannot make {}", home.display()))?;
    let procs = home.join(SUPERVISOR).join("cgroup.procs");
    fs::write(&procs, std::process::id().to_string()).with_context(|| format!("cannot enter {}", procs.display()))?;
    let mut former: Vec<Cgroup> =
        folders(&home).filter(|path| !path.ends_with(SUPERVISOR)).map(Cgroup::former).collect();
    former.retain(Cgroup::is_left);
    let enable = |controller: &str| {
        let enabled = [root, &home].into_iter().try_for_each(|group| -> anyhow::Result<()> {
            let offered = fs::read_to_string(group.join("cgroup.controllers"))?;
            ensure!(offered.split_whitespace().any(|c| c == controller), "the kernel does not offer it");
            Ok(fs::write(group.join("cgroup.subtree_control"), format!("+{controller}"))?)
        });
        enabled.inspect_err(|error| tracing::debug!("no unit can be limited by {controller}: {error:#}")).is_ok()
    };
    let controllers = Controllers { memory: enable("memory"), pids: enable("pids"), cpu: enable("cpu") };
    Ok(Cgroups { home: Some(home), controllers, made: 0, former })
}

/// Kernels before 5.14 have no switch for it: there each process is killed by itself, which what forks may outrun.
fn kill_all(group: &Path) {
    let switched = fs::write(group.join("cgroup.kill"), "1");
    if switched.is_err_and(|error| error.kind() == ErrorKind::NotFound) {
        let pids = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
        for pid in pids.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid > 0) {
            let _: nix::Result<()> = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

/// Groups within groups are those that a unit has made for itself.
fn remove_tree(group: &Path) -> bool {
    for inner in folders(group) {
        remove_tree(&inner);
    }
    fs::remove_dir(group).map_or_else(|error| error.kind() == ErrorKind::NotFound, |()| true)
}

fn folders(path: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units;

    const ALL: Controllers = Controllers { memory: true, pids: true, cpu: true };

    fn limited() -> Unit {
        let limits = Limits { memory_max: None, pids_max: Some(5), cpu_weight: None };
        Unit { limits, ..units::read("mk-agent").units.remove(0) }
    }

    #[test]
    fn a_number_that_is_taken_is_passed_over() {
        let home = tempfile::tempdir().unwrap();
        let (unit, mut made) = (limited(), 0);
        fs::create_dir(home.path().join("devices.1")).unwrap();
        assert_eq!(create(home.path(), &unit, &mut made).unwrap(), home.path().join("devices.2"));
        let stays = Unit { kill_mode: KillMode::ProcessGroup, ..unit };
        assert_eq!(create(home.path(), &stays, &mut made).unwrap(), home.path().join("devices.3.stays"));
        assert_eq!(Cgroup::former(home.path().join("devices.3.stays")).kill_mode, KillMode::ProcessGroup);
        assert_eq!(Cgroup::former(home.path().join("devices.2")).kill_mode, KillMode::ControlGroup);
    }

    #[test]
    fn without_limits_that_could_be_in_force_no_unit_runs() {
        let home = Some(PathBuf::from("/nonexistent"));
        let mut groups = Cgroups { home, controllers: ALL, ..Cgroups::default() };
        let unit = limited();
        let why = groups.make(&unit).unwrap_err();
        let refused = groups.do_without(&unit, &why).unwrap_err().to_string();
        assert!(
            refused.starts_with("its limits cannot be set: cannot make /nonexistent/devices.1: No such"),
            "{refused}"
        );
        groups.controllers.pids = false;
        let problem = groups.do_without(&unit, &why).unwrap();
        assert!(problem.error.contains("runs without a control group"), "{problem}");
    }

    #[test]
    fn limits_that_are_not_in_force_are_told_with_their_keys() {
        let mut unit = units::read("mk-agent").units.remove(0);
        assert_eq!(Controllers::default().lacking(&unit), None, "it asks for none");
        unit.limits = Limits { memory_max: Some(1 << 20), pids_max: Some(5), cpu_weight: None };
        assert_eq!(ALL.lacking(&unit), None);
        let problem = Controllers { memory: true, ..Controllers::default() }.lacking(&unit).unwrap();
        assert!(problem.error.contains("devices runs without pids_max:"), "{problem}");
        let problem = Controllers::default().lacking(&unit).unwrap();
        assert!(problem.error.contains("without memory_max and pids_max:"), "{problem}");
    }
}
