//! What children do to PID 1, and what it makes of it: floods of zombies and of output, closed descriptors, sessions of
//! their own, signals, a process that nothing can kill.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::SLEEPER;
use crate::guest::{Guest, eventually};

const MIB: u64 = 1 << 20;

/// Processes that are in this state: the letter of `ps`.
fn count_in_state(guest: &Guest, letter: char) -> usize {
    let states = guest.shell("cat /proc/[0-9]*/stat 2>/dev/null | sed 's/.*) //' | cut -c1");
    states.matches(letter).count()
}

#[test]
fn thousands_of_zombies_at_once_are_collected() {
    let many = r#"
name = "many"
command = ["/bin/sh", "-c", "i=0; while [ $i -lt 2000 ]; do sleep 1000 & i=$((i+1)); done; echo 'all sleep'; wait"]
"#;
    let Some(guest) = Guest::start(&[("many", many), ("sleeper", SLEEPER)]) else { return };
    let sleeper = guest.successor("sleeper", None);
    let pid = guest.successor("many", None);
    guest.logged("all sleep");
    eventually("the sleep of all", || (count_in_state(&guest, 'S') >= 2000).then_some(()));
    assert!(guest.agent(&["unit", "stop", "many"]).status.success());
    eventually("the end of the unit", || (guest.unit("many")["state"] == "done").then_some(()));
    eventually("the end of all", || {
        (guest.shell("ls -d /proc/[0-9]* | wc -l").parse::<usize>().ok()? < 100).then_some(())
    });
    assert_eq!(count_in_state(&guest, 'Z'), 0);
    assert_eq!(guest.pid("sleeper"), Some(sleeper), "nobody else is the worse for it");
    assert!(guest.agent(&["unit", "start", "many"]).status.success());
    guest.successor("many", Some(pid));
}

#[test]
fn output_without_end_costs_little_and_drowns_nobody() {
    let flood = |name: &str, what: &str| {
        format!("name = \"{name}\"\nstop_timeout = 1\ncommand = [\"/bin/sh\", \"-c\", \"{what}\"]")
    };
    let units = [
        ("lines", flood("lines", "exec yes 'I print'")),
        ("endless", flood("endless", "exec cat /dev/zero")),
        ("binary", flood("binary", "exec cat /dev/urandom")),
    ];
    let units: Vec<(&str, &str)> = units.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let begun = Instant::now();
    let Some(guest) = Guest::start(&[&units[..], &[("sleeper", SLEEPER)]].concat()) else { return };
    guest.logged("sleeper: I sleep");
    guest.logged("lines are not shown: it writes more than 10 a second");
    // What comes at once, then some a second for as long as this takes.
    std::thread::sleep(Duration::from_secs(3));
    // The work is in what is read, whatever the machine: a mebibyte a second of each unit, and little besides.
    let io = std::fs::read_to_string(format!("/proc/{}/io", guest.init())).unwrap();
    let read: u64 = io.lines().find_map(|line| line.strip_prefix("rchar: ")).unwrap().parse().unwrap();
    let seconds = begun.elapsed().as_secs();
    println!("PID 1 has read {read} bytes in {seconds} s");
    let most = MIB * (3 * (seconds + 2) + 1);
    assert!((MIB..=most).contains(&read), "{read} bytes in {seconds} s, {most} at most");
    let status = std::fs::read_to_string(format!("/proc/{}/status", guest.init())).unwrap();
    let resident = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    let kib: u64 = resident.split_whitespace().nth(1).unwrap().parse().unwrap();
    println!("{resident}");
    assert!(kib < 64 * 1024, "PID 1 keeps {kib} KiB");
    let shown = guest.lines_with("lines: I print");
    let seconds = usize::try_from(begun.elapsed().as_secs()).unwrap();
    assert!((500..=500 + 10 * (seconds + 1)).contains(&shown), "{shown} lines are shown after {seconds} s");
    for unit in ["lines", "endless", "binary"] {
        assert!(guest.agent(&["unit", "stop", unit]).status.success());
        eventually("its end", || (guest.unit(unit)["state"] == "done").then_some(()));
    }
    let kept = String::from_utf8(guest.agent(&["logs", "lines"]).stdout).unwrap();
    assert_eq!(kept.lines().count(), 200);
}

#[test]
fn pid_1_needs_no_open_descriptors() {
    let Some(guest) = Guest::start_bare(&[("sleeper", SLEEPER)]) else { return };
    let pid = guest.successor("sleeper", None);
    assert_eq!(guest.logged("I sleep"), "<5>mk-agent: sleeper: I sleep");
    let open = guest.shell(&format!("readlink /proc/{pid}/fd/0; readlink /proc/{pid}/fd/1 | cut -d: -f1"));
    assert_eq!(open, "/dev/null\npipe");
    guest.shell(&format!("kill -KILL {pid}"));
    guest.successor("sleeper", Some(pid));
}

#[test]
fn an_end_by_a_signal_without_a_name_is_seen() {
    let Some(guest) = Guest::start(&[("sleeper", SLEEPER)]) else { return };
    let pid = guest.successor("sleeper", None);
    guest.shell(&format!("kill -40 {pid}"));
    guest.successor("sleeper", Some(pid));
    assert_eq!(guest.unit("sleeper")["last_exit"], "killed by signal 40");
}

#[test]
fn signals_that_mean_nothing_to_pid_1_do_nothing() {
    let Some(guest) = Guest::start(&[("sleeper", SLEEPER)]) else { return };
    let pid = guest.successor("sleeper", None);
    for signal in ["QUIT", "ALRM", "PIPE", "SEGV", "KILL", "STOP", "40", "64", "CHLD", "WINCH"] {
        guest.shell(&format!("kill -{signal} 1"));
    }
    assert!(guest.agent(&["unit", "restart", "sleeper"]).status.success());
    guest.successor("sleeper", Some(pid));
}

#[test]
fn a_session_of_its_own_does_not_save_a_child() {
    for (mode, survives) in [("control-group", false), ("process-group", true)] {
        let parent = format!(
            "name = \"parent\"\nkill_mode = \"{mode}\"
            command = [\"/bin/sh\", \"-c\", \"setsid sleep 7777 & exec sleep 1000\"]"
        );
        let Some(guest) = Guest::start(&[("parent", &parent)]) else { return };
        if !guest.has_groups() {
            return;
        }
        let count = || guest.shell("grep -l '777[7]' /proc/[0-9]*/cmdline 2>/dev/null | wc -l");
        let mut pid = guest.successor("parent", None);
        eventually("the child", || (count() == "1").then_some(()));
        // Of each start, whatever its end.
        guest.shell(&format!("kill -KILL {pid}"));
        pid = guest.successor("parent", Some(pid));
        eventually("the child", || (count() == if survives { "2" } else { "1" }).then_some(()));
        assert!(guest.agent(&["unit", "stop", "parent"]).status.success());
        eventually("its end", || (guest.unit("parent")["state"] == "done").then_some(()));
        eventually("what is left", || (count() == if survives { "2" } else { "0" }).then_some(()));
        let groups = || guest.shell("ls /sys/fs/cgroup/razor-mk | grep -c parent || true");
        eventually("no group without processes", || (groups() == if survives { "2" } else { "0" }).then_some(()));
        assert!(!guest.shell("ls -d /proc/[0-9]*").contains(&format!("/{pid}\n")));
    }
}

/// Mounts the file system in the file `$0`, in a place of its own, before the guest comes up. Should the test die, it thaws.
const WITH_DISK: &str = r#"
mount -o loop "$0" "$0.d"
( (sleep 200; fsfreeze -u "$0.d") & )
exec "$@"
"#;

/// Thaws in the end: what waits for it could not be killed otherwise.
struct Frozen<'a>(&'a Guest, &'a str);

impl<'a> Frozen<'a> {
    fn new(guest: &'a Guest, place: &'a str) -> Self {
        assert!(guest.beside(&["fsfreeze", "-f", place]));
        Self(guest, place)
    }
}

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        self.0.beside(&["fsfreeze", "-u", self.1]);
    }
}

#[test]
fn a_process_that_nothing_can_kill_is_left_behind() {
    let files = tempfile::tempdir().unwrap();
    let Some((image, place)) = disk(files.path()) else { return };
    let first_only = "test -e /run/first && exec sleep 1000; touch /run/first";
    let stuck = format!(
        "name = \"stuck\"\nstop_timeout = 1
        command = [\"/bin/sh\", \"-c\", \"{first_only}; while echo x > {place}/file; do sleep 0.1; done\"]"
    );
    let way = ["unshare", "--mount", "--propagation", "private", "sh", "-c", WITH_DISK, &image, "env"];
    let Some(guest) = Guest::start_by(&[("stuck", &stuck), ("sleeper", SLEEPER)], &way) else { return };
    let first = guest.successor("stuck", None);
    let sleeper = guest.successor("sleeper", None);
    let state = || guest.shell(&format!("sed 's/.*) //' /proc/{first}/stat | cut -c1"));
    let frozen = Frozen::new(&guest, &place);
    eventually("uninterruptible sleep", || (state() == "D").then_some(()));
    assert!(guest.agent(&["unit", "restart", "stuck"]).status.success());
    guest.logged(&format!("stuck ({first}) is stuck in the kernel and is left behind"));
    guest.successor("stuck", Some(first));
    assert_eq!((guest.unit("stuck")["last_exit"].as_str(), state().as_str()), (Some("stuck in the kernel"), "D"));
    assert!(guest.agent(&["unit", "restart", "sleeper"]).status.success());
    guest.successor("sleeper", Some(sleeper));
    drop(frozen);
    guest.logged(&format!("stuck ({first}), left behind before, has ended: killed by SIG"));
    if guest.has_groups() {
        let groups = || guest.shell("ls /sys/fs/cgroup/razor-mk | grep -c stuck");
        eventually("the end of the former group", || (groups() == "1").then_some(()));
    }
}

/// Makes a file with a file system in it, and the folder to mount it at. `None`, said loudly, without the rights for it.
fn disk(dir: &Path) -> Option<(String, String)> {
    let image = dir.join("disk").display().to_string();
    let place = format!("{image}.d");
    std::fs::create_dir(&place).unwrap();
    std::fs::File::create(&image).unwrap().set_len(16 << 20).unwrap();
    let made = Command::new("mkfs.ext4").args(["-q", &image]).status();
    let mounts = Command::new("unshare").args(["--mount", "mount", "-o", "loop", &image, &place]).status();
    if ![made, mounts].into_iter().all(|done| done.is_ok_and(|status| status.success())) {
        mk_tests::skip_even_there("no file system may be mounted here, so nothing can be frozen");
        return None;
    }
    Some((image, place))
}
