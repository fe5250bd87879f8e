//! Power cuts under load: the server in a guest on a real journalling file system, on a drive that forgets what was not flushed. The
//! guest is killed while a fleet checks in; the fleet says whether the server still knows what it acknowledged.
//!
//! `MK_POWER_CUTS` says how many cuts; without it, as many as a test run has time for.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::{Duration, Instant};

use duct::cmd;
use mk_tests::drive::Drive;
use mk_tests::limits;
use mk_tests::process::die_with_parent;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::lab::tool;

/// Cuts in a usual run.
const CUTS: u64 = 2;
/// Machines that check in.
const MACHINES: u64 = 12;
/// Bytes of the drive.
const DRIVE: u64 = 1 << 30;
/// Shortest time between the server's start and a cut; it differs from cut to cut.
const LOAD: Duration = Duration::from_secs(5);

/// Modules of Debian's kernel for the drive, its file system and the network, each after what it needs.
const MODULES: [&str; 15] = [
    "crc16",
    "mbcache",
    "crc32c_generic",
    "libcrc32c",
    "jbd2",
    "ext4",
    "virtio_ring",
    "virtio",
    "virtio_pci_legacy_dev",
    "virtio_pci_modern_dev",
    "virtio_pci",
    "virtio_blk",
    "failover",
    "net_failover",
    "virtio_net",
];

/// What the guest does: its drive, its network, the server.
const INIT: &str = "#!/bin/busybox sh
b=/bin/busybox
$b mkdir -p /proc /sys /dev /data
$b mount -t proc none /proc; $b mount -t sysfs none /sys; $b mount -t devtmpfs none /dev
while read m; do $b insmod /modules/$m.ko || echo \"no $m\"; done < /modules/order
$b ifconfig lo 127.0.0.1 up; $b ifconfig eth0 10.0.2.15 netmask 255.255.255.0 up
$b mount -t ext4 /dev/vda /data || { echo 'the file system is broken'; $b poweroff -f; }
exec /bin/mk-server serve --listen 0.0.0.0:8150 --data /data/mk
";

/// Where the guest's files are.
struct Place {
    dir: tempfile::TempDir,
    port: u16,
}

impl Place {
    /// With an empty drive.
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let place = Self { dir, port };
        fs::File::create(place.path("drive")).unwrap().set_len(DRIVE).unwrap();
        cmd!("mkfs.ext4", "-q", "-F", place.path("drive")).run().expect("a file system");
        place.lay();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Kernel and initrd: busybox, the modules, the server and its libraries.
    fn lay(&self) {
        let (debian, root) = (self.path("debian"), self.path("root"));
        for package in ["linux-image-", "busybox"] {
            cmd!("dpkg-deb", "-x", package_file(package), &debian).run().unwrap();
        }
        let all = walkdir::WalkDir::new(&debian).into_iter().map(|entry| entry.unwrap().into_path());
        let found: Vec<PathBuf> = all.filter(|path| path.is_file()).collect();
        let named = |test: &dyn Fn(&str) -> bool| {
            let file = found.iter().find(|path| path.file_name().and_then(|n| n.to_str()).is_some_and(test));
            file.expect("a file of Debian's packages")
        };
        fs::create_dir_all(root.join("modules")).unwrap();
        fs::create_dir_all(root.join("bin")).unwrap();
        fs::copy(named(&|name| name.starts_with("vmlinuz-")), self.path("vmlinuz")).unwrap();
        let busybox = found.iter().find(|path| path.ends_with("bin/busybox")).expect("busybox");
        fs::copy(busybox, root.join("bin/busybox")).unwrap();
        for module in MODULES {
            let file = format!("{module}.ko");
            fs::copy(named(&|name| name == file), root.join("modules").join(&file)).unwrap();
        }
        fs::write(root.join("modules/order"), MODULES.map(|module| format!("{module}\n")).concat()).unwrap();
        cmd!("strip", "-o", root.join("bin/mk-server"), tool("MK_SERVER_BIN")).run().unwrap();
        for program in ["bin/busybox", "bin/mk-server"] {
            let said = cmd!("ldd", root.join(program)).read().unwrap();
            for library in said.split_whitespace().filter(|word| word.starts_with('/')) {
                let copy = root.join(library.trim_start_matches('/'));
                fs::create_dir_all(copy.parent().unwrap()).unwrap();
                fs::copy(library, copy).unwrap();
            }
        }
        fs::write(root.join("init"), INIT).unwrap();
        fs::set_permissions(root.join("init"), fs::Permissions::from_mode(0o755)).unwrap();
        let pack = "cd \"$0\" && find . | cpio --quiet -o -H newc > \"$1\"";
        cmd!("sh", "-c", pack, &root, self.path("initrd")).run().unwrap();
    }

    /// Switches the machine on, and waits until its server listens.
    fn start(&self) -> Child {
        let console = self.path("console");
        let mut command = Command::new("qemu-system-x86_64");
        let drive = format!("driver=nbd,server.type=unix,server.path={},if=none,id=d", self.path("socket").display());
        let network = format!("user,id=n,hostfwd=tcp:127.0.0.1:{}-10.0.2.15:8150", self.port);
        command.args(["-accel", "tcg", "-m", "768", "-display", "none", "-no-reboot", "-nodefaults"]);
        command.arg("-kernel").arg(self.path("vmlinuz")).arg("-initrd").arg(self.path("initrd"));
        command.args(["-append", "console=ttyS0 quiet panic=-1 mitigations=off"]);
        command.arg("-serial").arg(format!("file:{}", console.display()));
        command.args(["-drive", &drive, "-device", "virtio-blk-pci,drive=d"]);
        command.args(["-netdev", &network, "-device", "virtio-net-pci,netdev=n,romfile="]);
        die_with_parent(&mut command, Vec::new());
        let _ = fs::remove_file(&console);
        let mut machine = command.stdin(Stdio::null()).spawn().expect("QEMU starts");
        let end = Instant::now() + limits::CHECK_IN;
        loop {
            let said = fs::read(&console).map(|said| String::from_utf8_lossy(&said).into_owned()).unwrap_or_default();
            if said.contains("listening on") {
                return machine;
            }
            let ended = machine.try_wait().unwrap();
            assert!(ended.is_none() && Instant::now() < end, "the server does not start: {ended:?}\n{said}");
            std::thread::sleep(limits::POLL);
        }
    }
}

/// One of the packages that bases are made of, from the cache of `mkiso`.
fn package_file(name: &str) -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = cache.unwrap_or_else(|| Path::new(&std::env::var_os("HOME").expect("a home")).join(".cache"));
    let packages = cache.join("razor-mk/deb");
    let files = fs::read_dir(&packages).unwrap().map(|entry| entry.unwrap().path());
    let mut files = files.filter(|path| path.extension().is_some_and(|end| end == "deb"));
    let is_it =
        |file: &PathBuf| cmd!("dpkg-deb", "-f", file, "Package").read().is_ok_and(|said| said.starts_with(name));
    files
        .find(is_it)
        .unwrap_or_else(|| panic!("no package {name}… in {}; make it with `mkiso base`", packages.display()))
}

/// Machines that check in as fast as they are answered, half of them with changes.
struct Fleet {
    process: Child,
    said: BufReader<ChildStderr>,
}

impl Fleet {
    /// All of them are in once it returns.
    fn start(port: u16) -> Self {
        let mut command = Command::new(tool("MK_SERVER_BIN"));
        let machines = MACHINES.to_string();
        command.args(["--server", &format!("http://127.0.0.1:{port}"), "simulate", "--nodes", &machines]);
        command.args(["--connections", &machines, "--interval", "0", "--changed", "50", "--duration", "1000000"]);
        command.args(["--among-real-nodes", "--json"]);
        die_with_parent(&mut command, Vec::new());
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(process.stderr.take().unwrap());
        let mut line = String::new();
        said.read_line(&mut line).unwrap();
        assert!(line.starts_with("arrival"), "{line}");
        Self { process, said }
    }

    /// Has each machine ask once more for what was acknowledged; tells whether all was there, and what came of it.
    fn end(mut self) -> (bool, Value) {
        kill(Pid::from_raw(i32::try_from(self.process.id()).unwrap()), Signal::SIGINT).unwrap();
        let output = self.process.wait_with_output().unwrap();
        let mut errors = String::new();
        self.said.read_to_string(&mut errors).unwrap();
        let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|why| panic!("{why}: {errors}"));
        (output.status.success(), report)
    }
}

/// The sum of a figure over all phases.
fn sum(report: &Value, figure: impl Fn(&Value) -> u64) -> u64 {
    report["phases"].as_array().unwrap().iter().map(figure).sum()
}

#[test]
fn no_acknowledged_report_is_lost_when_the_power_is_cut() {
    let cuts = std::env::var("MK_POWER_CUTS").map_or(CUTS, |cuts| cuts.parse().expect("MK_POWER_CUTS is a number"));
    let place = Place::new();
    let drive = Drive::serve(&place.path("drive"), &place.path("socket")).unwrap();
    let mut machine = place.start();
    let cut = |mut machine: Child, number: u64| {
        machine.kill().unwrap();
        machine.wait().unwrap();
        let mut bits = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let any = move || {
            bits ^= bits << 13;
            bits ^= bits >> 7;
            bits ^= bits << 17;
            bits & 1 == 0
        };
        drive.cut(any).unwrap()
    };
    let fleet = Fleet::start(place.port);
    let mut lost = 0;
    for number in 0..cuts {
        std::thread::sleep(LOAD + Duration::from_millis(number * 700 % 3000));
        assert!(drive.fails_at_a_flush(limits::REACTION), "the guest writes nothing");
        let done = cut(machine, number + 1);
        eprintln!("cut {}: {done:?}", number + 1);
        lost += done.lost;
        machine = place.start();
    }
    let (sound, report) = fleet.end();
    machine.kill().unwrap();
    machine.wait().unwrap();
    assert!(sound, "{report:#}");
    let reports = sum(&report, |phase| phase["reports"].as_u64().unwrap());
    eprintln!("{cuts} power cuts, {lost} sectors lost, {reports} reports acknowledged, none of them lost");
    assert!(lost > 0 && reports > MACHINES, "there was no load: {lost} sectors, {reports} reports");
}
