//! The microkernel on Tiny Core's own root file systems, 64-bit and 32-bit, with the agent as PID 1 and under their own init.
//! Only where `MK_TINYCORE_ROOTFS` names some (`docs/TESTING.md` says how to come by them), since nothing of them is in
//! this project.

use std::env;
use std::path::{Path, PathBuf};

use duct::cmd;
use mk_tests::limits;
use mk_tests::vm::spec::NicModel;
use mk_tests::vm::{Firmware, Guest, Machine};
use wire::inventory::Stable;

use super::command;
use super::lab::{Lab, Server, stable, tool, wait, written};
use super::lure;
use super::shell::Shell;
use super::units;

/// Names the root file systems, as `PATH` names folders.
const ROOTFS: &str = "MK_TINYCORE_ROOTFS";
/// Extensions whose programs are tried.
const TOOLS: [&str; 3] = ["bash", "dmidecode", "lshw"];

#[test]
fn an_image_on_tiny_core_checks_in() {
    for base in bases() {
        base.agent_is_pid_1();
        base.own_init_is_pid_1();
    }
}

#[test]
fn cargo_xtask_boots_tiny_core_with_either_init() {
    for base in bases() {
        command::either_init_checks_in_on(base.iso.to_str().unwrap());
    }
}

/// A base of each root file system that is named; none where none is.
fn bases() -> impl Iterator<Item = Base> {
    let given = env::var_os(ROOTFS);
    if given.is_none() {
        mk_tests::skip_even_there(&format!("{ROOTFS} names no root file system of Tiny Core"));
    }
    let paths: Vec<PathBuf> = given.iter().flat_map(|given| env::split_paths(given)).collect();
    paths.into_iter().map(|rootfs| {
        println!("{}", rootfs.display());
        Base::new(&rootfs)
    })
}

/// A base of a root file system, with a server and a place for its images.
struct Base {
    lab: Lab,
    server: Server,
    iso: PathBuf,
}

impl Base {
    fn new(rootfs: &Path) -> Self {
        let lab = Lab::new();
        let (iso, (config, lock)) = (lab.path("base.iso"), description());
        let made =
            cmd!(tool("MKISO_BIN"), "base", "--rootfs", rootfs, "--config", config, "--lock", lock, "--out", &iso);
        made.stdout_null().run().expect("a base is made of the root file system");
        let server = lab.serve(0);
        Self { lab, server, iso }
    }

    /// An image on the base for the server. One with shells is for a key that nobody has.
    fn image(&self, variant: &str) -> PathBuf {
        let (out, (config, _)) = (self.lab.path(variant), description());
        let server = format!("http://10.0.2.2:{}", self.server.port);
        let mut arguments: Vec<_> = ["build", "--server", &server, "--variant", variant].map(Into::into).into();
        for (option, path) in [("--base", &self.iso), ("--config", &config), ("--out", &out)] {
            arguments.extend([option.into(), path.clone().into_os_string()]);
        }
        arguments.extend(["--agent".into(), tool("MK_AGENT").into_os_string()]);
        if variant != "production" {
            let key = self.lab.path("key");
            cmd!("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", &key).run().unwrap();
            arguments.extend(["--ssh-key".into(), key.with_extension("pub").into_os_string()]);
        }
        let built = cmd(tool("MKISO_BIN"), arguments);
        PathBuf::from(built.read().expect("an image is built on the base"))
    }

    fn agent_is_pid_1(&self) {
        let machine = Machine::example(0x5a, 1024, 2);
        let guest = self.lab.boot(&machine, &self.image("production"), Firmware::Bios);
        self.server.await_node(&guest);
        guest.console().wait_for("ext is done", 0, limits::REACTION).unwrap();
        self.shows_its_disks(&machine, &guest);
        all_is_well(&guest);
        guest.quit().unwrap();
    }

    /// Slow link, a disk that invites to use it, the programs of the extensions, one more from the image's own mirror and one from
    /// the server's.
    fn own_init_is_pid_1(&self) {
        let mut machine = Machine::example(0x5b, 1024, 2);
        machine.nics.truncate(1);
        machine.nics[0].model = NicModel::E1000;
        let lure = lure::disk(&self.lab.path(""));
        machine.disks[1].content = Some(lure.clone());
        let guest = self.lab.boot(&machine, &self.image("debug"), Firmware::Bios);
        let prompt = guest.console().wait_for("boot:", 0, limits::REACTION).unwrap();
        guest.console().send("core\r").unwrap();
        wait("the second machine checks in", limits::CHECK_IN, &guest, || self.server.nodes().get(1).cloned());
        guest.console().wait_for("ext is done", prompt, limits::REACTION).unwrap();
        let shell = Shell::open(&guest);
        assert_eq!(shell.run("cat /proc/1/comm"), "init");
        has_its_programs(&shell, &machine);
        units::loads_from_the_image(&shell);
        units::loads_from_a_mirror(&self.lab, &self.server, &guest, &shell, "node2");
        self.shows_its_disks(&machine, &guest);
        assert_eq!(shell.run(&lure::used()), "");
        all_is_well(&guest);
        lure::is_untouched(&guest, 1, &lure);
        guest.quit().unwrap();
    }

    /// Each disk has found its driver, and nothing that is none is among them: no RAM disk, loop device or compressed swap.
    fn shows_its_disks(&self, machine: &Machine, guest: &Guest) {
        let mut given: Vec<_> = machine.disks.iter().map(|disk| Some(disk.serial.clone())).collect();
        given.sort();
        wait("the machine shows its disks and no others", limits::INVENTORY, guest, || {
            let serial = |shown: &Stable| shown.system.as_ref().and_then(|system| system.serial.clone());
            let mut all = self.server.nodes().into_iter().map(|node| stable(&node));
            let node = all.find(|shown| serial(shown) == machine.system.serial)?;
            let mut shown: Vec<_> = node.disks.into_iter().map(|disk| disk.serial).collect();
            shown.sort();
            (shown == given).then_some(())
        });
    }
}

/// `image.toml` and `image.lock`.
fn description() -> (PathBuf, PathBuf) {
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("../image.toml");
    let lock = config.with_file_name("image.lock");
    (config, lock)
}

/// The programs of the extensions run beside a userland that has other libraries, or those of another word size.
fn has_its_programs(shell: &Shell, machine: &Machine) {
    let serial = machine.system.serial.as_deref().unwrap();
    for (command, want) in [
        ("bash -c 'echo bash $((6 * 7)) ${BASH_VERSION%%.*}'", "bash 42 5"),
        ("dmidecode -s system-serial-number", serial),
        ("lshw -quiet -class network", &machine.nics[0].mac),
    ] {
        let said = shell.run(command);
        assert!(said.contains(want), "{command}: {said}");
    }
    // Tiny Core's own program sees them as loaded, and its loader does not load them again.
    let loaded = shell.run("su tc -c 'tce-status -i'");
    assert!(TOOLS.iter().all(|name| loaded.lines().any(|line| line.trim() == *name)), "{loaded}");
    let again = shell.run("su tc -c 'tce-load -i bash'");
    assert!(again.contains("already installed"), "{again}");
}

fn all_is_well(guest: &Guest) {
    assert!(guest.console().find("linked, but what follows failed", 0).is_none(), "{}", guest.console().text(0));
    assert_eq!(written(guest), 0, "something was written to the disks");
}
