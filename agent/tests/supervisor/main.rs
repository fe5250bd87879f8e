//! The supervisor as PID 1: real processes, real signals, real time.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail loudly")]
#![allow(clippy::disallowed_methods, reason = "tests start programs where the agent may not")]

mod guest;
mod harm;
mod pushed;

use std::os::unix::process::ExitStatusExt as _;
use std::time::{Duration, Instant};

use guest::{Guest, eventually};

const SLEEPER: &str = r#"
name = "sleeper"
command = ["/bin/sh", "-c", "echo 'I sleep'; exec sleep 1000"]
"#;

#[test]
fn a_killed_unit_is_restarted_and_its_lines_are_kept() {
    let Some(guest) = Guest::start(&[("sleeper", SLEEPER)]) else { return };
    assert_eq!(guest.logged("I sleep"), "<5>mk-agent: sleeper: I sleep");
    for unit in ["sleeper", "mirror"] {
        let mut pid = guest.successor(unit, None);
        for (restarts, signal) in ["KILL", "SEGV"].into_iter().enumerate() {
            guest.shell(&format!("kill -{signal} {pid}"));
            pid = guest.successor(unit, Some(pid));
            assert_eq!(guest.unit(unit)["restarts"], restarts + 1);
            assert_eq!(guest.unit(unit)["last_exit"], format!("killed by SIG{signal}"));
        }
    }
    let lines = eventually("three lines", || {
        let lines = String::from_utf8(guest.agent(&["logs", "sleeper"]).stdout).unwrap();
        (lines.lines().count() == 3).then_some(lines)
    });
    assert_eq!(lines, "I sleep\n".repeat(3));
}

#[test]
fn orphans_are_collected() {
    let orphans = r#"
name = "orphans"
command = ["/bin/sh", "-c", "for i in 1 2 3 4 5; do setsid sleep 0.2 & done; exec sleep 1000"]
"#;
    let Some(guest) = Guest::start(&[("orphans", orphans)]) else { return };
    let pid = guest.successor("orphans", None);
    guest.shell(&format!("kill -KILL {pid}"));
    guest.successor("orphans", Some(pid));
    let states = || guest.shell("cat /proc/[0-9]*/stat 2>/dev/null | sed 's/.*) //' | cut -c1");
    eventually("end of all zombies", || (!states().contains('Z')).then_some(()));
}

#[test]
fn a_crash_loop_is_called_that_and_still_retried() {
    let broken = r#"
name = "broken"
command = ["/bin/sh", "-c", "echo '<3>nothing works'; exit 4"]
"#;
    let Some(guest) = Guest::start(&[("broken", broken)]) else { return };
    guest.logged("broken ended 5 times in a row");
    let unit = eventually("state failed", || Some(guest.unit("broken")).filter(|u| u["state"] == "failed"));
    assert_eq!(unit["last_exit"], "exit status 4");
    assert!(guest.logged("nothing works").starts_with("<3>"));
    let restarts = unit["restarts"].as_u64().unwrap();
    eventually("another try", || guest.unit("broken")["restarts"].as_u64().filter(|r| *r > restarts));
}

#[test]
fn a_unit_that_heeds_term_is_not_killed() {
    let Some(guest) = Guest::start(&[("sleeper", SLEEPER)]) else { return };
    let pid = guest.successor("sleeper", None);
    assert!(guest.agent(&["unit", "restart", "sleeper"]).status.success());
    let pid = guest.successor("sleeper", Some(pid));
    assert_eq!(guest.unit("sleeper")["last_exit"], "killed by SIGTERM");
    assert_eq!(guest.shell(&format!("grep SigBlk /proc/{pid}/status")), "SigBlk:\t0000000000000000");
}

#[test]
fn a_stubborn_unit_is_killed_with_all_it_started() {
    let stubborn = r#"
name = "stubborn"
command = ["/bin/sh", "-c", "trap '' TERM; sleep 7777 & while :; do sleep 1; done"]
"#;
    let Some(guest) = Guest::start(&[("stubborn", stubborn)]) else { return };
    let pid = guest.successor("stubborn", None);
    let count = || guest.shell("grep -l 7777 /proc/[0-9]*/cmdline 2>/dev/null | wc -l");
    eventually("the unit's child", || (count() != "0").then_some(()));
    let asked = Instant::now();
    assert!(guest.agent(&["unit", "stop", "stubborn"]).status.success());
    guest.logged("did not stop when asked and is killed");
    eventually("its end", || (guest.unit("stubborn")["state"] == "done").then_some(()));
    assert!(asked.elapsed() >= Duration::from_secs(5), "TERM comes first, and time to heed it");
    assert_eq!(guest.pid("stubborn"), None);
    assert!(!guest.shell("ls /proc").lines().any(|name| name == pid.to_string()));
}

#[test]
fn a_bad_unit_file_is_reported_and_the_others_run() {
    let Some(guest) = Guest::start(&[("bad", "name = 7"), ("sleeper", SLEEPER)]) else { return };
    assert!(guest.logged("bad.toml is skipped").starts_with("<4>mk-agent: "));
    guest.successor("sleeper", None);
    assert!(guest.shell("mk=/proc/1/root/run/razor-mk/init.sock; stat -c %a $mk").ends_with("600"));
    let refused = guest.agent(&["unit", "stop", "nonesuch"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("there is no unit nonesuch"), "{refused:?}");
}

#[test]
fn rubbish_on_the_socket_does_no_harm() {
    let Some(guest) = Guest::start(&[("sleeper", SLEEPER)]) else { return };
    let pid = guest.successor("sleeper", None);
    guest.shell(
        "python3 - <<'EOF' 2>/dev/null || exit 0
import socket
for rubbish in (b'', b'\\n', b'{\"reboot\"', b'\\xff' * 1000000, b'{\"start\":7}\\n'):
    s = socket.socket(socket.AF_UNIX)
    s.connect('/run/razor-mk/init.sock')
    try:
        s.sendall(rubbish)
    except BrokenPipeError:
        pass
    s.close()
EOF",
    );
    assert!(guest.agent(&["unit", "restart", "sleeper"]).status.success());
    guest.successor("sleeper", Some(pid));
}

#[test]
fn the_machine_goes_down_in_order() {
    // In a PID namespace, the kernel reports a reboot of the inner machine as these ends of its PID 1.
    for (command, signal) in [("reboot", 1), ("poweroff", 2)] {
        let Some(guest) = Guest::start(&[("sleeper", SLEEPER)]) else { return };
        guest.successor("sleeper", None);
        // Its exit code says nothing: the command goes down with the machine.
        guest.agent(&[command]);
        guest.logged("asked for on the command line");
        let status = guest.ended();
        let ended_by = status.signal().or(status.code().map(|c| c - 128));
        assert_eq!(ended_by, Some(signal), "{command}: {status:?}");
    }
}

#[test]
fn a_daemon_supervises_under_another_init() {
    let Some(guest) = Guest::start_daemon(&[("sleeper", SLEEPER)]) else { return };
    let pid = guest.successor("sleeper", None);
    guest.shell(&format!("kill -KILL {pid}"));
    let pid = guest.successor("sleeper", Some(pid));
    guest.shell("kill -TERM $(cat /run/mk-agent.pid)");
    guest.logged("end of the supervisor: a signal asks for it");
    let gone = || guest.shell(&format!("test -d /proc/{pid} || echo gone")) == "gone";
    eventually("the unit's end", || gone().then_some(()));
    assert_eq!(guest.shell("cat /proc/1/comm"), "sh", "the base's own init is left alone");
}

#[test]
fn pushed_unit_files_are_taken_up() {
    let greeter = |text: &str| {
        format!("name = \"greeter\"\ncommand = [\"/bin/sh\", \"-c\", \"echo 'I say {text}'; exec sleep 1000\"]")
    };
    let Some(guest) = Guest::start(&[("sleeper", SLEEPER)]) else { return };
    let [sleeper, mirror] = ["sleeper", "mirror"].map(|name| guest.successor(name, None));
    let reload = |files: &[(&str, &str)]| {
        guest.shell("rm -rf /run/razor-mk/units.d; mkdir -p /run/razor-mk/units.d");
        for (name, text) in files {
            guest.shell(&format!("cat > /run/razor-mk/units.d/{name}.toml <<'EOF'\n{text}\nEOF"));
        }
        guest.agent(&["unit", "reload"])
    };
    assert!(reload(&[("greeter", &greeter("hello"))]).status.success());
    guest.logged("greeter: I say hello");
    let first = guest.successor("greeter", None);

    assert!(reload(&[("greeter", &greeter("goodbye"))]).status.success());
    guest.logged("greeter: I say goodbye");
    let second = guest.successor("greeter", Some(first));

    let named = |name: &str| format!("name = \"{name}\"\ncommand = [\"/bin/true\"]");
    let files = [named("net"), named("sleeper"), greeter("goodbye")];
    let refused = reload(&[("1", &files[0]), ("2", &files[1]), ("3", &files[2])]);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1));
    assert!(said.contains("there is a unit net already") && said.contains("there is a unit sleeper already"), "{said}");
    assert!(said.contains("Correct the unit in the configuration that the server pushes"), "{said}");
    assert_eq!(guest.successor("greeter", None), second, "one of the same definition is not touched");

    assert!(reload(&[]).status.success());
    eventually("the end of the unit", || (!guest.names().contains(&"greeter".to_owned())).then_some(()));
    assert!(!guest.shell("ls /proc").lines().any(|name| name == second.to_string()));
    assert_eq!(["sleeper", "mirror"].map(|name| guest.successor(name, None)), [sleeper, mirror], "not touched");
}

#[test]
fn a_daemon_that_died_comes_back_with_pushed_units() {
    let Some(guest) = Guest::start_daemon(&[]) else { return };
    guest.shell("mkdir -p /run/razor-mk/units.d");
    guest.shell(&format!("cat > /run/razor-mk/units.d/sleeper.toml <<'EOF'{SLEEPER}EOF"));
    assert!(guest.agent(&["unit", "reload"]).status.success());
    let pid = guest.successor("sleeper", None);
    let second = guest.agent(&["daemon", "--foreground"]);
    let said = String::from_utf8_lossy(&second.stderr);
    assert!(second.status.code() == Some(1) && said.contains("a supervisor runs already"), "{second:?}");
    guest.shell("kill -KILL $(cat /run/mk-agent.pid); rm /run/razor-mk/units.json");
    assert!(guest.agent(&["daemon"]).status.success());
    guest.successor("sleeper", Some(pid));
    let sleepers = || guest.shell("grep -l '100[0]' /proc/[0-9]*/cmdline 2>/dev/null | wc -l");
    eventually("the end of the former one", || (sleepers() == "1").then_some(()));
    guest.shell("rm /run/razor-mk/units.d/*; kill -HUP $(cat /run/mk-agent.pid)");
    eventually("the end of the unit", || (!guest.names().contains(&"sleeper".to_owned())).then_some(()));
}

/// As when an operator who is logged in by ssh starts the supervisor again.
#[test]
fn a_daemon_that_a_session_of_a_unit_starts_spares_itself_and_the_session() {
    let session = format!(
        "while ! test -e /run/go; do sleep 0.1; done; rm /run/go /run/razor-mk/units.json; {} daemon; exec sleep 7777",
        env!("CARGO_BIN_EXE_mk-agent")
    );
    let unit = |name: &str, mode: &str, child: &str| {
        format!(
            "name = \"{name}\"\nkill_mode = \"{mode}\"
            command = [\"/bin/sh\", \"-c\", \"setsid sh -c '{child}' & exec sleep 1000\"]"
        )
    };
    let parent = unit("parent", "process-group", &session);
    let other = unit("other", "control-group", "exec sleep 8888");
    let Some(guest) = Guest::start_daemon(&[("other", &other), ("parent", &parent)]) else { return };
    if !guest.has_groups() {
        return;
    }
    let [parent, other] = ["parent", "other"].map(|name| (name, guest.successor(name, None)));
    let with = |word: &str| guest.shell(&format!("grep -l '{word}' /proc/[0-9]*/cmdline 2>/dev/null | cut -d/ -f3"));
    let only = |word: &str| eventually("one child", || with(word).parse::<i64>().ok());
    let [session, victim] = ["777[7]", "888[8]"].map(only);
    guest.shell("kill -KILL $(cat /run/mk-agent.pid); touch /run/go");
    eventually("the next state file", || guest.pid("parent").filter(|pid| *pid != parent.1));
    let [parent, _] = [parent, other].map(|(name, pid)| guest.successor(name, Some(pid)));

    let group = |pid: &str| guest.shell(&format!("grep ^0: /proc/{pid}/cgroup | cut -d: -f3"));
    assert_eq!(group("$(cat /run/mk-agent.pid)"), "/razor-mk/supervisor");
    let comm = || guest.shell(&format!("cat /proc/{session}/comm"));
    eventually("what the session does next", || (comm() == "sleep").then_some(()));
    let [former, present] = [session, parent].map(|pid| group(&pid.to_string()));
    assert!([&former, &present].iter().all(|name| name.starts_with("/razor-mk/parent.")), "{former} {present}");
    assert_ne!(former, present, "what is left of a former start has a group of its own");
    let gone = |path: &str| guest.shell(&format!("test -e {path} || echo gone")) == "gone";
    eventually("the end of what is not spared", || gone(&format!("/proc/{victim}")).then_some(()));

    guest.shell(&format!("kill {session}"));
    eventually("the end of the session's group", || {
        // Groups are looked at when a unit's process has ended.
        assert!(guest.agent(&["unit", "restart", "other"]).status.success());
        gone(&format!("/sys/fs/cgroup{former}")).then_some(())
    });
}

/// The kernel refuses groups beyond a number.
#[test]
fn a_unit_without_its_control_group_is_told_as_a_problem() {
    let Some(guest) = Guest::start(&[("sleeper", SLEEPER)]) else { return };
    if !guest.has_groups() {
        return;
    }
    let mut pid = guest.successor("sleeper", None);
    let limit = |count: &str| guest.shell(&format!("echo {count} > /sys/fs/cgroup/razor-mk/cgroup.max.descendants"));
    limit("0");
    assert!(guest.agent(&["unit", "restart", "sleeper"]).status.success());
    pid = guest.successor("sleeper", Some(pid));
    let problem = guest.problem("no_control_group").unwrap();
    assert!(problem.contains("unit sleeper runs without a control group"), "{problem}");
    limit("max");
    assert!(guest.agent(&["unit", "restart", "sleeper"]).status.success());
    guest.successor("sleeper", Some(pid));
    assert_eq!(guest.problem("no_control_group"), None);
}

#[test]
fn a_unit_is_ready_when_it_has_made_its_file() {
    let slow = r#"
name = "slow"
command = ["/bin/sh", "-c", "while ! test -e /run/go; do sleep 0.1; done; echo x > /run/slow.pid; exec sleep 1000"]
ready = "/run/slow.pid"
"#;
    let late = r#"
name = "late"
command = ["/bin/sh", "-c", "exec sleep 1000"]
ready = "/run/never.pid"
start_timeout = 1
"#;
    let after = "name = \"waits\"\ncommand = [\"/bin/sh\", \"-c\", \"exec sleep 1000\"]\nafter = [\"slow\"]";
    let Some(guest) = Guest::start(&[("late", late), ("slow", slow), ("waits", after)]) else { return };
    let state = |name: &str| guest.unit(name)["state"].as_str().unwrap().to_owned();
    guest.logged("late: /run/never.pid was not made within 1 s");
    eventually("its next start", || guest.unit("late")["restarts"].as_u64().filter(|restarts| *restarts > 0));
    assert_eq!(guest.unit("late")["last_exit"], "/run/never.pid was not made within 1 s");
    assert_eq!((state("slow").as_str(), state("waits").as_str()), ("starting", "waiting"));
    guest.shell("touch /run/go");
    let pid = guest.successor("slow", None);
    let waits = guest.successor("waits", None);
    // The file of its former run is there, and does not count.
    guest.shell(&format!("rm /run/go; kill -KILL {pid}"));
    eventually("its next start", || (state("slow") == "starting").then_some(()));
    guest.shell("touch /run/go");
    guest.successor("slow", Some(pid));
    assert_eq!(guest.pid("waits"), Some(waits));
}
