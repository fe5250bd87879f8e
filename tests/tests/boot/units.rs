//! Each unit of the agent is killed inside a running debug image; each comes back, and the node goes on checking in.
//! The same guest tells what the agent costs, takes up a configuration that an operator sets, sends its logs, and switches
//! itself off when told to.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use duct::cmd;
use mk_tests::limits;
use mk_tests::vm::trap::{Deed, Trapped};
use mk_tests::vm::{Firmware, Guest, Machine, Medium, Options};
use serde_json::Value;
use wire::inventory::Lldp;

use super::lab::{Lab, Server, options, stable, wait, written};
use super::shell::Shell;

/// Unit of the shell that this test types into: its end would take the test's own answers with it.
const OURS: &str = "shell-ttys0";

/// Units that must be there; further ones are killed as well.
const EXPECTED: [&str; 6] = ["checkin", "console", "control", "devices", "mirror", "net"];

/// Units that end by themselves, soon or late.
const ENDING: [&str; 2] = ["ext", "gems"];

/// Sum of PSS of the agent's processes that an image may have, in KiB: the goal is 12 MiB, and a test under a debug
/// shell with other processes beside it gets a quarter more.
const PSS_KIB: u64 = 15 * 1024;

/// Seconds within which the page is whole again; without a reason it is painted anew each minute.
const REPAINT_S: u64 = 15;

/// Kernel module that a pushed list names: a driver that every image has, for hardware that QEMU's machine has not.
const MODULE: &str = "igb";

/// Seconds between check-ins that are pushed to the running machine.
const PUSHED_INTERVAL_S: u64 = 8;

/// PSS in KiB and name of each process of the agent, one a line.
const PSS: &str = "for d in /proc/[0-9]*; do case $(readlink $d/exe) in */mk-agent) \
    echo $(sed -n 's/^Pss: *\\([0-9]*\\).*/\\1/p' $d/smaps_rollup) $(tr '\\0' ' ' < $d/cmdline);; esac; done";

/// Processes and restarts by unit, as PID 1 publishes them.
#[derive(Debug)]
struct Units(BTreeMap<String, (u64, u64)>);

impl Units {
    fn read(shell: &Shell) -> Option<Self> {
        let state: Value = serde_json::from_str(&shell.run("cat /run/razor-mk/units.json")).ok()?;
        let units = state["units"].as_array()?.iter().filter_map(|unit| {
            let name = unit["name"].as_str()?;
            let pid = state["pids"][name].as_u64()?;
            let running = unit["state"] == "running";
            running.then(|| (name.to_owned(), (pid, unit["restarts"].as_u64().unwrap_or_default())))
        });
        Some(Self(units.collect()))
    }
}

#[test]
fn each_killed_unit_comes_back_and_the_node_goes_on_checking_in() {
    let lab = Lab::new();
    let server = lab.serve(0);
    let machine = Machine::example(0x33, 1024, 2);
    let cd = options(&machine, Medium::Cd(lab.image("debug", server.port)), Firmware::Bios);
    let guest = Guest::start(&Options { may_reboot: true, ..cd }).unwrap();
    server.await_node(&guest);
    let shell = Shell::open(&guest);
    let units = wait("all units run", limits::REACTION, &guest, || {
        Units::read(&shell).filter(|u| EXPECTED.iter().all(|name| u.0.contains_key(*name)))
    });
    has_its_consoles(&shell, &units);
    print_costs(&shell);
    loads_from_the_image(&shell);
    loads_from_a_mirror(&lab, &server, &guest, &shell, "node1");
    what_is_written_to_a_disk_is_trapped(&guest, &shell);
    let victims = units.0.iter().filter(|(name, _)| *name != OURS && !ENDING.contains(&name.as_str()));
    for (name, (pid, restarts)) in victims.clone() {
        let mut former = *pid;
        for (killed, signal) in ["KILL", "SEGV"].into_iter().enumerate() {
            // A program that has only just begun has not yet taken back the standard library's handler, which lets the
            // first SEGV pass: so it is sent until the process is gone.
            let (new, count) = wait(&format!("unit {name} is restarted"), limits::REACTION, &guest, || {
                shell.run(&format!("kill -{signal} {former} 2>&1"));
                Units::read(&shell)?.0.get(name).copied().filter(|(now, _)| *now != former)
            });
            println!("unit {name}: process {former} was killed by SIG{signal}, process {new} took over");
            assert_eq!(count, restarts + 1 + u64::try_from(killed).unwrap(), "restarts of {name}");
            former = new;
        }
        server.await_next(&guest);
    }
    has_no_other_shell(&shell);
    wait("the server is told of every restart", limits::REACTION, &guest, || {
        let node = server.node()?;
        let reported = node["agent"]["units"].as_array()?;
        let told = reported.iter().filter(|u| u["restarts"].as_u64().unwrap_or_default() > 0).count();
        (told == victims.clone().count()).then_some(())
    });
    wait("ports that hear no switch say so", limits::REACTION, &guest, || {
        let nics = stable(&server.node()?).nics;
        let is_silent = |lldp: Lldp| lldp.neighbours.is_empty() && lldp.silent_s > Some(0);
        (nics.len() == machine.nics.len() && nics.into_iter().all(|nic| nic.lldp.is_some_and(is_silent))).then_some(())
    });
    keeps_units_within_their_limits(&server, &guest, &shell);
    takes_up_a_pushed_interval(&server, &guest, &shell);
    sends_its_logs_and_examines_itself(&lab, &server, &guest);
    switches_itself_off_when_told(&server, &guest);
}

/// What crashes leaves no shell in its place: there are the two that a debug image has on purpose.
fn has_no_other_shell(shell: &Shell<'_>) {
    let shells = "for d in /proc/[0-9]*; do case $(tr '\\0' ' ' < $d/cmdline) in *sh\\ *|*sh) \
        readlink $d/fd/0;; esac; done 2> /dev/null | sort -u | tr '\\n' ' '";
    assert_eq!(shell.run(shells), "/dev/tty2 /dev/ttyS0");
}

/// The other tests say that nothing was written; here something is, by three ways, and each is told.
fn what_is_written_to_a_disk_is_trapped(guest: &Guest, shell: &Shell) {
    assert_eq!(written(guest), 0, "something was written to the disks");
    for (command, deed, place) in [
        ("dd if=/dev/zero of=/dev/vda bs=4096 seek=16 count=1 conv=fsync", Deed::Write, (128, 8)),
        ("blkdiscard -o 1048576 -l 65536 /dev/vda", Deed::Discard, (2048, 128)),
        ("dd if=/dev/zero of=/dev/nvme0n1 bs=512 seek=3 count=1 oflag=direct", Deed::Write, (3, 1)),
    ] {
        let said = shell.run(&format!("{command} 2>&1"));
        let trapped = guest.trapped().unwrap();
        let is_it = |(_, t): &(usize, Trapped)| t.deed == deed && (t.sector, t.sectors) == place;
        assert!(trapped.iter().any(is_it), "{command}: {said}\n{trapped:?}");
    }
    assert!(written(guest) > 0);
}

/// Unit files with limits are taken up: one is killed when it takes more memory than it may have, one gets no more processes,
/// one goes with a child that is in a session of its own. The server is told why, and all is as before when they are gone.
fn keeps_units_within_their_limits(server: &Server, guest: &Guest, shell: &Shell) {
    let scores = shell.run("cat /proc/1/oom_score_adj /proc/self/oom_score_adj | tr '\\n' ' '");
    println!("standing of PID 1 and of a unit when memory runs out: {scores}");
    assert!(scores.starts_with("-1000 0"), "{scores}");
    let units = [
        ("greedy", "memory_max = \"32M\"", "dd if=/dev/zero of=/dev/null bs=64M; sleep 1000"),
        ("forks", "pids_max = 20", "while :; do sleep 1000 & done"),
        ("leaver", "cpu_weight = 10", "setsid sleep 7777 & sleep 1000"),
    ];
    shell.run("mkdir /run/razor-mk/units.d");
    for (name, key, command) in units {
        let text = format!(r#"name = "{name}"\n{key}\ncommand = ["/bin/sh", "-c", "{command}"]\n"#);
        shell.run(&format!("printf '{text}' > /run/razor-mk/units.d/{name}.toml"));
    }
    let said = shell.run("mk-agent unit reload 2>&1");
    assert_eq!(said, "", "all are taken up");
    wait("the server is told why a unit ended", limits::REACTION, guest, || {
        let node = server.node()?;
        let greedy = node["agent"]["units"].as_array()?.iter().find(|u| u["name"] == "greedy")?.clone();
        (greedy["last_exit"] == "out of memory: limit 32 MiB").then_some(())
    });
    wait("a unit gets no more processes", limits::REACTION, guest, || {
        shell.run("mk-agent logs forks").contains("fork").then_some(())
    });
    let sessions = || shell.run("ps | grep -c 'sleep 777[7]'");
    assert_eq!(sessions(), "1");
    println!("{}", shell.run("mk-agent unit list; cat /sys/fs/cgroup/razor-mk/*/cpu.weight | sort -n | head -1"));
    shell.run("rm -r /run/razor-mk/units.d; mk-agent unit reload");
    wait("the units and all that they have started are gone", limits::REACTION, guest, || {
        let gone = !shell.run("ls /sys/fs/cgroup/razor-mk").contains("leaver");
        (gone && sessions() == "0" && !Units::read(shell)?.0.contains_key("forks")).then_some(())
    });
}

/// One command of the operator changes how often a running machine checks in.
fn takes_up_a_pushed_interval(server: &Server, guest: &Guest, shell: &Shell) {
    server.ask(&["config", "set", &format!("mk_checkin_interval={PUSHED_INTERVAL_S}")]);
    wait("the node says that the configuration is in force", limits::REACTION, guest, || {
        let config = server.show()["config"].clone();
        (config["version"].as_u64() > Some(0) && config["version"] == config["reported"]["version"]).then_some(())
    });
    let config: Value = serde_json::from_str(&shell.run("cat /run/razor-mk/config.json")).unwrap();
    assert_eq!(config["config"]["mk_checkin_interval"], PUSHED_INTERVAL_S, "{config}");
    // Until then it was two seconds. A busy machine may see one check-in late and so one pause short.
    let pause = wait("the pauses are longer", limits::REACTION, guest, || {
        let begin = Instant::now();
        server.await_next(guest);
        Some(begin.elapsed()).filter(|pause| *pause > Duration::from_secs(PUSHED_INTERVAL_S / 2))
    });
    println!("the next check-in came {pause:.1?} after the last");
}

/// A bundle comes and can be opened; the doctor's verdict and what can blink are in the node's log.
fn sends_its_logs_and_examines_itself(lab: &Lab, server: &Server, guest: &Guest) {
    for command in ["doctor", "identify", "collect"] {
        server.ask(&["nodes", command, "node1"]);
    }
    let begun = Instant::now();
    wait("all commands have ended", limits::REACTION, guest, || server.show()["commands"].is_null().then_some(()));
    println!("doctor, identify and collect ended after {:.1?}", begun.elapsed());
    let log = server.ask(&["nodes", "log", "node1"]);
    println!("{}", log.lines().filter(|line| line.contains("Command ")).collect::<Vec<_>>().join("\n"));
    assert!(log.contains("(doctor) is done. verdict ok all is well"), "{log}");
    let said = log.contains("blinks for 300 s") || log.contains("nothing on this machine can blink");
    assert!(said && log.contains("(collect-logs) is done."), "{log}");
    let file = lab.path("bundle.tar.gz");
    println!("{}", server.ask(&["nodes", "bundle", "node1", "--out", file.to_str().unwrap()]));
    let names = cmd!("tar", "-tzf", &file).read().unwrap();
    for name in ["status.txt", "kernel.log", "logs/checkin.log", "logs/net.log", "state/net.json", "inventory.json"] {
        assert!(names.lines().any(|line| line == name), "{name} is not in it:\n{names}");
    }
    let kernel = cmd!("tar", "-xzOf", &file, "kernel.log").read().unwrap();
    // What the kernel keeps is a ring: its first lines may be gone.
    assert!(kernel.lines().count() > 10, "{kernel}");
}

/// The guest may reboot without end, so QEMU ends by itself only when the machine is switched off.
fn switches_itself_off_when_told(server: &Server, guest: &Guest) {
    server.ask(&["nodes", "poweroff", "node1"]);
    let deadline = Instant::now() + limits::REACTION;
    let status = loop {
        if let Some(status) = guest.ended().unwrap() {
            break status;
        }
        assert!(Instant::now() < deadline, "the machine is still on\n{}", guest.console().text(0));
        std::thread::sleep(limits::POLL);
    };
    assert!(status.success(), "{status}: {}", guest.complaints());
    let log = server.ask(&["nodes", "log", "node1"]);
    assert!(log.contains("(poweroff) is accepted"), "{log}");
    assert_eq!(server.show()["commands"], Value::Null, "the command is over");
}

/// What only the image's own mirror has is loaded by its name, and its programs run; they see that this is no VMware.
pub(super) fn loads_from_the_image(shell: &Shell) {
    let said = shell.run("mk-agent tce load open-vm-tools 2>&1");
    assert!(shell.run("ls /usr/local/tce.installed").contains("open-vm-tools"), "{said}");
    let checked = shell.run("vmware-checkvm 2>&1");
    assert!(checked.contains("must be run inside a virtual machine on a VMware hypervisor"), "{checked}");
}

/// An extension and a list of kernel modules that are put on the server are loaded by the running machine once its mirror is
/// pushed; the extension's program runs there.
pub(super) fn loads_from_a_mirror(lab: &Lab, server: &Server, guest: &Guest, shell: &Shell, node: &str) {
    let (tree, tcz) = (lab.path("extension"), lab.path("data/tce/17.x/x86_64/tcz"));
    fs::create_dir_all(tree.join("usr/local/bin")).unwrap();
    fs::create_dir_all(&tcz).unwrap();
    let program = tree.join("usr/local/bin/greet");
    fs::write(&program, "#!/bin/sh\necho greetings from a mirror\n").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let file = tcz.join("greet.tcz");
    cmd!("mksquashfs", &tree, &file, "-all-root", "-b", "4096", "-quiet", "-no-progress").stdout_null().run().unwrap();
    let sum = cmd!("md5sum", "greet.tcz").dir(&tcz).read().unwrap();
    fs::write(tcz.join("greet.tcz.md5.txt"), sum).unwrap();
    fs::write(lab.path("data/tce/tce-install-list"), r#"["greet.tcz"]"#).unwrap();
    fs::write(lab.path("data/tce/kmod-install-list"), format!("[\"{MODULE}\"]")).unwrap();
    let loaded = format!("grep -c '^{MODULE} ' /proc/modules");
    assert_eq!(shell.run(&loaded), "0", "the machine has no hardware for it");
    println!("{}", server.ask(&["config", "set", "mk_tce_mirror_uri=/svc/repo/tce"]));
    let said = wait("the extension is loaded", limits::REACTION, guest, || {
        Some(shell.run("/usr/local/bin/greet 2>&1")).filter(|said| said == "greetings from a mirror")
    });
    println!("{said}");
    assert!(shell.run("ls /usr/local/tce.installed").contains("greet"));
    assert!(shell.run("mk-agent tce load greet").contains("greet.tcz is loaded already"));
    wait("the server is told", limits::REACTION, guest, || {
        server.ask(&["config", "show", node]).contains("version 1 is in force").then_some(())
    });
    assert_eq!(shell.run(&loaded), "1", "the list of modules");
    let mirror = shell.run("cat /opt/tcemirror");
    assert_eq!(mirror, format!("http://10.0.2.2:{}/svc/repo/tce", server.port));
}

/// A debug image has a root shell on tty2 and its status on tty1; this test types into the one on ttyS0.
fn has_its_consoles(shell: &Shell, units: &Units) {
    let (pid, _) = units.0["shell-tty2"];
    let tty2 = shell.run(&format!("readlink /proc/{pid}/fd/0; tr '\\0' ' ' < /proc/{pid}/cmdline"));
    assert!(tty2.starts_with("/dev/tty2") && tty2.contains("sh -l"), "{tty2}");
    let tty1 = shell.run("cat /dev/vcs1");
    assert!(tty1.contains("node1"), "{tty1}");
    // What is written over the page while another terminal is in front is gone when it comes back.
    let seconds = || shell.run("cut -d. -f1 /proc/uptime").parse::<u64>().unwrap();
    let spoilt = shell.run("chvt 2; for i in $(seq 40); do echo rubbish $i; done > /dev/tty1; cat /dev/vcs1");
    assert!(spoilt.contains("rubbish 40"), "{spoilt}");
    let begun = seconds();
    shell.run("chvt 1");
    while shell.run("cat /dev/vcs1").contains("rubbish") {
        assert!(seconds() < begun + REPAINT_S, "the page is not painted anew");
    }
}

fn print_costs(shell: &Shell) {
    let processes = shell.run(PSS);
    println!("PSS in KiB of the agent's processes:\n{processes}");
    let sizes: Vec<u64> = processes.lines().filter_map(|l| l.split(' ').next()?.parse().ok()).collect();
    assert!(sizes.len() > EXPECTED.len(), "PID 1 and its units: {processes}");
    let sum: u64 = sizes.iter().sum();
    println!("sum: {sum} KiB");
    assert!(sum <= PSS_KIB, "the agent takes {sum} KiB");
    println!("{}", shell.run("head -3 /proc/meminfo; cat /proc/uptime"));
}
