//! The machine's first moments: what must be there before any other program can run. A straight line of small steps;
//! each that fails is reported and none stops the others, since a half-mounted machine can still tell what is wrong.
//!
//! `/` is the kernel's own ramfs and stays as it is, `/tmp` included: the built-in extensions lie there.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use anyhow::Context as _;
use nix::mount::{MsFlags, mount};
use nix::sys::reboot::set_cad_enabled;
use nix::sys::stat::{Mode, umask};

use crate::ifreq;
use crate::log::Level;
use crate::settings::Settings;

/// Name of the machine until it is known better.
const HOST_NAME: &str = "razor-mk";

/// A file system to mount.
struct Mount {
    kind: &'static str,
    target: &'static str,
    flags: MsFlags,
    options: &'static str,
    /// Where the kernel does not offer it, nothing is amiss.
    optional: bool,
}

/// For file systems of the kernel's own.
pub(super) const STRICT: MsFlags = MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV).union(MsFlags::MS_NOEXEC);

const MOUNTS: [Mount; 8] = [
    Mount { kind: "proc", target: "/proc", flags: STRICT, options: "", optional: false },
    Mount { kind: "sysfs", target: "/sys", flags: STRICT, options: "", optional: false },
    Mount { kind: "devtmpfs", target: "/dev", flags: MsFlags::MS_NOSUID, options: "mode=0755", optional: false },
    Mount {
        kind: "devpts",
        target: "/dev/pts",
        flags: STRICT,
        options: "gid=5,mode=620,ptmxmode=666",
        optional: false,
    },
    Mount { kind: "tmpfs", target: "/dev/shm", flags: STRICT, options: "mode=1777", optional: false },
    Mount { kind: "tmpfs", target: "/run", flags: STRICT, options: "mode=0755", optional: false },
    Mount { kind: "cgroup2", target: "/sys/fs/cgroup", flags: STRICT, options: "", optional: true },
    Mount {
        kind: "efivarfs",
        target: "/sys/firmware/efi/efivars",
        flags: STRICT.union(MsFlags::MS_RDONLY),
        options: "",
        optional: true,
    },
];

/// Mounts what every program needs. Gives what failed.
pub(super) fn mount_all() -> Vec<anyhow::Error> {
    umask(Mode::from_bits_truncate(0o022));
    MOUNTS.iter().filter_map(|m| mount_one(m).err()).collect()
}

fn mount_one(m: &Mount) -> anyhow::Result<()> {
    let target = Path::new(m.target);
    if is_mounted(target) || (m.optional && !target.exists()) {
        return Ok(());
    }
    let place = || -> anyhow::Result<()> {
        fs::create_dir_all(target)?;
        Ok(mount(Some(m.kind), target, Some(m.kind), m.flags, Some(m.options))?)
    };
    match place() {
        Err(_) if m.optional => Ok(()),
        placed => placed.with_context(|| format!("cannot mount {} at {}", m.kind, m.target)),
    }
}

/// True where another file system begins.
fn is_mounted(target: &Path) -> bool {
    let device = |path: &Path| fs::metadata(path).map(|m| m.dev()).ok();
    target.parent().is_some_and(|parent| device(target).is_some() && device(target) != device(parent))
}

/// The rest, which needs `/proc` and `/dev`. Gives what failed. Without an explicit level, the kernel line's own
/// `loglevel` decides what consoles show.
pub(super) fn set_up(settings: &Settings) -> Vec<anyhow::Error> {
    let console =
        settings.line.log.map_or(Ok(()), |level| write("/proc/sys/kernel/printk", &console_level(level).to_string()));
    let steps = [
        keep_all_lines(),
        console,
        close_magic_keys(&settings.image.variant),
        nix::unistd::sethostname(HOST_NAME).context("cannot set the host name"),
        // The kernel then gives it its address.
        ifreq::up("lo"),
        // Ctrl-Alt-Del then comes as a signal, and the machine is shut down in order.
        set_cad_enabled(false).context("cannot take over Ctrl-Alt-Del"),
    ];
    steps.into_iter().filter_map(Result::err).collect()
}

/// Otherwise the kernel drops lines of a unit that writes many at once. When the kernel line has settled this, it can
/// no longer be changed. The kernel wants the line's end.
fn keep_all_lines() -> anyhow::Result<()> {
    const SWITCH: &str = "/proc/sys/kernel/printk_devkmsg";
    if fs::read_to_string(SWITCH).is_ok_and(|now| now.trim() != "ratelimit") {
        return Ok(());
    }
    write(SWITCH, "on\n")
}

/// Alt-SysRq at the keyboard, and a break on the serial port, let anybody there restart the machine without order and have the
/// kernel tell of its memory. Whoever is at a debug image has a root shell anyway, and there they are of use.
fn close_magic_keys(variant: &str) -> anyhow::Result<()> {
    const SWITCH: &str = "/proc/sys/kernel/sysrq";
    // A kernel that was built without them has no such switch.
    if variant == "debug" || !Path::new(SWITCH).exists() { Ok(()) } else { write(SWITCH, "0") }
}

/// The kernel shows lines of a lower priority number than this on its consoles.
fn console_level(level: Level) -> u8 {
    level.priority() + 1
}

fn write(path: &str, text: &str) -> anyhow::Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {text} to {path}"))
}
