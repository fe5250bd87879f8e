//! A unit in namespaces of its own: `/run` and `/etc` are folders of the test, `/sys` shows one port, and the network
//! is a cable to a second namespace. Where the network is the machine's, so is `/sys`, but for its BMCs. `/dev` has no hardware
//! in it, so that nothing on the tests' machine can be told anything. Needs root; without it the tests say so and pass.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Tests wait so long for something that should take a second.
const PATIENCE: Duration = Duration::from_secs(60);

/// All that a unit sees of `/dev`: no BMC, no disk, no TPM.
const DEVICES: &str = "null zero full random urandom tty kmsg loop-control loop[0-9]*";

/// Waits until there is a value.
pub(crate) fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "no {what} within {PATIENCE:?}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Output of a command that must succeed.
pub(crate) fn must(line: &str) -> String {
    let output = Command::new("sh").args(["-ec", line]).output().unwrap();
    assert!(output.status.success(), "`{line}`: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Whether this test can run here; says why not.
pub(crate) fn possible(programs: &[&str]) -> bool {
    if !nix::unistd::geteuid().is_root() {
        mk_tests::skip("its namespaces need root");
        return false;
    }
    let missing: Vec<&&str> = programs
        .iter()
        .filter(|p| !["/usr/sbin", "/usr/bin", "/sbin", "/bin"].iter().any(|d| Path::new(d).join(p).exists()))
        .collect();
    if !missing.is_empty() {
        mk_tests::skip(&format!("it needs {missing:?}"));
    }
    missing.is_empty()
}

/// The folders that a unit sees.
pub(crate) struct Place {
    dir: TempDir,
    netns: Option<String>,
    /// Further folders of `/` that are the test's own.
    folders: Vec<&'static str>,
    /// Keeps what is mounted from one command to the next.
    keeper: Option<Unit>,
}

impl Place {
    /// With an empty `/run/razor-mk`, this kernel line, a serial console that is a file, and the network of the test
    /// itself.
    pub(crate) fn new(line: &str) -> Self {
        let place = Self { dir: tempfile::tempdir().unwrap(), netns: None, folders: Vec::new(), keeper: None };
        for folder in ["run/razor-mk", "etc", "console", "dev", "empty"] {
            fs::create_dir_all(place.path(folder)).unwrap();
        }
        fs::write(place.path("cmdline"), line).unwrap();
        fs::write(place.path("serial"), "").unwrap();
        fs::write(place.path("console/active"), format!("..{}\n", place.path("serial").display())).unwrap();
        place
    }

    /// In the network namespace of these cables, each with a port that is described as a PCI device.
    pub(crate) fn with_ports(line: &str, cables: &[&Cable]) -> Self {
        let mut place = Self::new(line);
        place.netns = Some(cables[0].node.clone());
        fs::create_dir_all(place.path("sys/class/tty/console")).unwrap();
        for (slot, cable) in (3..).zip(cables) {
            let class = place.path("sys/class/net").join(cable.port);
            let device = format!("devices/pci0000:00/0000:00:0{slot}.0");
            fs::create_dir_all(&class).unwrap();
            fs::create_dir_all(place.path("sys").join(&device).join("net").join(cable.port)).unwrap();
            std::os::unix::fs::symlink(format!("../../../{device}"), class.join("device")).unwrap();
            for (file, text) in [("type", "1"), ("ifindex", &cable.index), ("address", cable.mac), ("carrier", "1")] {
                fs::write(class.join(file), text).unwrap();
            }
        }
        place.publish(
            "devices",
            &json!({"settled": true, "loaded": [], "failed": {}, "findings": [], "extensions": []}),
        );
        place.publish("units", &json!({"units": [], "pids": {}, "problems": []}));
        place
    }

    /// With these folders of `/` besides, such as `opt`.
    pub(crate) fn with_folders(mut self, folders: &[&'static str]) -> Self {
        for folder in folders {
            fs::create_dir_all(self.path(folder)).unwrap();
        }
        self.folders.extend(folders);
        self
    }

    /// From the next start on, who reads this file of `/` waits until the test has written to it.
    pub(crate) fn silence(&mut self, file: &'static str) -> std::path::PathBuf {
        let pipe = self.path(file);
        fs::create_dir_all(pipe.parent().unwrap()).unwrap();
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        self.folders.push(file);
        pipe
    }

    /// What is mounted here stays until the end of the test, as on a machine.
    pub(crate) fn with_lasting_mounts(mut self) -> Self {
        let keeper = self.enter("sh -c ': > /run/mounted; exec sleep 100000'").stdin(Stdio::null()).spawn().unwrap();
        self.keeper = Some(Unit(keeper));
        eventually("mounts", || self.path("run/mounted").exists().then_some(()));
        self
    }

    /// A path below the folders.
    pub(crate) fn path(&self, path: &str) -> std::path::PathBuf {
        self.dir.path().join(path)
    }

    /// Writes a state file as another unit would: whole, by rename.
    pub(crate) fn publish(&self, unit: &str, state: &Value) {
        let temp = self.path("run/razor-mk/.test");
        fs::write(&temp, state.to_string()).unwrap();
        fs::rename(temp, self.path(&format!("run/razor-mk/{unit}.json"))).unwrap();
    }

    /// What a unit published last; null before the first time.
    pub(crate) fn state(&self, unit: &str) -> Value {
        let text = fs::read(self.path(&format!("run/razor-mk/{unit}.json"))).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or(Value::Null)
    }

    /// Starts a unit here. What it logs is in [`Self::log`].
    pub(crate) fn start(&self, unit: &str) -> Unit {
        let log = fs::File::options().create(true).append(true).open(self.path(&format!("{unit}.log"))).unwrap();
        Unit(self.agent(&["run", unit]).stdin(Stdio::null()).stderr(log).spawn().unwrap())
    }

    /// What a unit logged.
    pub(crate) fn log(&self, unit: &str) -> String {
        fs::read_to_string(self.path(&format!("{unit}.log"))).unwrap_or_default()
    }

    /// What the unit `console` wrote to the serial line.
    pub(crate) fn serial(&self) -> String {
        fs::read_to_string(self.path("serial")).unwrap()
    }

    /// The devices that a unit sees.
    pub(crate) fn devices(&self) -> Vec<String> {
        self.prints_of("ls /dev /sys/class/ipmi").split_whitespace().map(str::to_owned).collect()
    }

    /// What a program among these folders prints.
    pub(crate) fn prints_of(&self, program: &str) -> String {
        let output = self.within(program).stderr(Stdio::null()).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    /// What `mk-agent status` or `mk-agent doctor` prints.
    pub(crate) fn prints(&self, command: &str) -> String {
        let output = self.agent(&[command]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    /// What the agent's command line says when it refuses this command.
    pub(crate) fn complains(&self, command: &str) -> String {
        let output = self.agent(&[command]).output().unwrap();
        assert!(!output.status.success(), "{command}: {output:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    /// The agent with these words, among these folders.
    fn agent(&self, words: &[&str]) -> Command {
        self.within(&format!("/run/mk-agent {}", words.join(" ")))
    }

    /// A program among these folders, and with what is mounted there for long.
    fn within(&self, program: &str) -> Command {
        let Some(Unit(keeper)) = &self.keeper else { return self.enter(program) };
        let mut command = Command::new("nsenter");
        command.args(["--mount", "--target", &keeper.id().to_string(), "sh", "-ec", &format!("exec {program}")]);
        command
    }

    /// The same with mounts of its own.
    fn enter(&self, program: &str) -> Command {
        let dir = self.dir.path().display();
        // One of the folders may be the one that all this is in.
        let folders: String = self.folders.iter().map(|f| format!("mount --bind {dir}/{f} /{f}; ")).collect();
        let sys = if self.netns.is_some() { format!("mount --bind {dir}/sys /sys") } else { "true".to_owned() };
        let script = format!(
            "mount -t tmpfs -o mode=755 dev {dir}/dev; cd /dev; cp -a null {dir}/dev/tty1; \
             for device in {DEVICES}; do [ ! -e $device ] || cp -a $device {dir}/dev/; done; \
             cd /; mount --bind {dir}/dev /dev; \
             ! [ -d /sys/class/ipmi ] || mount --bind {dir}/empty /sys/class/ipmi; \
             active=/sys/class/tty/console; {sys}; \
             ! [ -d $active ] || mount --bind {dir}/console $active; \
             mount --bind {dir}/cmdline /proc/cmdline; mount --bind {dir}/run /run; mount --bind {dir}/etc /etc; \
             : > /run/mk-agent; mount --bind {} /run/mk-agent; {folders} exec {program}",
            env!("CARGO_BIN_EXE_mk-agent"),
        );
        let mut line: Vec<&str> = match &self.netns {
            Some(netns) => vec!["ip", "netns", "exec", netns],
            None => Vec::new(),
        };
        line.extend(["unshare", "--mount", "sh", "-ec", &script]);
        let mut command = Command::new(line[0]);
        // An image has no certificates but its site's, whatever the tests' machine has.
        command.args(&line[1..]).env_remove("SSL_CERT_FILE").env_remove("SSL_CERT_DIR");
        command
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if thread::panicking() {
            for unit in ["net", "checkin", "console"] {
                eprintln!("--- log of {unit}:\n{}", self.log(unit));
            }
            eprintln!("--- serial console:\n{}", self.serial());
        }
    }
}

/// A running unit; it is killed, as a crash would, when this is dropped.
pub(crate) struct Unit(Child);

impl Unit {
    /// What it has taken of the processor so far.
    pub(crate) fn processor_time(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0.id())).unwrap();
        // Behind the name, which may hold anything: user and system time are the twelfth and thirteenth, in hundredths.
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        let ticks = |at: usize| fields[at].parse::<u64>().unwrap();
        Duration::from_millis(10 * (ticks(11) + ticks(12)))
    }

    /// What it has of the memory, in KiB.
    pub(crate) fn memory_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }
}

impl Drop for Unit {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Two network namespaces and a cable between them: `srv0` in the first has an address, the port in the second none.
pub(crate) struct Cable {
    pub(crate) server: String,
    pub(crate) node: String,
    /// Name, number and MAC of the node's port.
    pub(crate) port: &'static str,
    pub(crate) index: String,
    pub(crate) mac: &'static str,
}

impl Cable {
    pub(crate) const MAC: &str = "52:54:00:12:34:56";

    /// A cable for the test of this name, between 10.9.0.1 and `eth0`.
    pub(crate) fn new(test: &str) -> Self {
        /// Tests may be given the same name.
        static CABLES: AtomicUsize = AtomicUsize::new(0);
        let id = format!("{test}{}-{}", std::process::id(), CABLES.fetch_add(1, Ordering::Relaxed));
        let (server, node) = (format!("mks-{id}"), format!("mkn-{id}"));
        must(&format!("ip netns add {node}"));
        Self::lay(server, node, "10.9.0.1", "eth0", Self::MAC)
    }

    /// A second cable to the same node, between 10.8.0.1 in a namespace of its own and `eth1`.
    pub(crate) fn second(&self) -> Self {
        Self::lay(format!("{}b", self.server), self.node.clone(), "10.8.0.1", "eth1", "52:54:00:12:34:57")
    }

    fn lay(server: String, node: String, own: &str, port: &'static str, mac: &'static str) -> Self {
        must(&format!(
            "ip netns add {server}; \
             ip -n {node} link add {port} address {mac} type veth peer name srv0 netns {server}; \
             ip -n {server} addr add {own}/24 dev srv0; ip -n {server} link set srv0 up"
        ));
        let index = index(&node, port);
        Self { server, node, port, index, mac }
    }

    /// A DHCP and DNS server at the other end, with these further options.
    pub(crate) fn dnsmasq(&self, leases: &Path, options: &[&str]) -> Unit {
        let child = Command::new("ip")
            .args(["netns", "exec", &self.server, "dnsmasq", "--keep-in-foreground", "--no-resolv", "--no-hosts"])
            .args(["--no-ping", "--pid-file=", "--conf-file=/dev/null", "--interface=srv0", "--bind-interfaces"])
            .arg(format!("--dhcp-leasefile={}", leases.display()))
            .args(options)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Unit(child.unwrap())
    }

    /// Opens something at the other end: a socket stays in the namespace in which it was made.
    pub(crate) fn at_server<T: Send>(&self, open: impl FnOnce() -> T + Send) -> T {
        at(&self.server, open)
    }

    /// Opens something at the node's end.
    pub(crate) fn at_node<T: Send>(&self, open: impl FnOnce() -> T + Send) -> T {
        at(&self.node, open)
    }

    /// Number of the port at the other end.
    pub(crate) fn server_index(&self) -> String {
        index(&self.server, "srv0")
    }

    /// Puts another port in the place of the node's end of the cable, by this script of `ip` commands.
    pub(crate) fn replace_port(&mut self, script: &str) {
        must(script);
        self.index = index(&self.node, self.port);
    }

    /// Output of `ip` in the node's namespace.
    pub(crate) fn ip(&self, words: &str) -> String {
        let output = Command::new("ip").args(["-n", &self.node]).args(words.split(' ')).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }
}

fn at<T: Send>(netns: &str, open: impl FnOnce() -> T + Send) -> T {
    let there = fs::File::open(format!("/run/netns/{netns}")).unwrap();
    // In a thread of its own, which alone goes there.
    let opened = || {
        setns(there, CloneFlags::CLONE_NEWNET).unwrap();
        open()
    };
    thread::scope(|scope| scope.spawn(opened).join().unwrap())
}

/// Number of a port in a namespace.
fn index(netns: &str, port: &str) -> String {
    let show = must(&format!("ip -n {netns} -o link show {port}"));
    show.split(':').next().unwrap().trim().to_owned()
}

impl Drop for Cable {
    fn drop(&mut self) {
        for netns in [&self.server, &self.node] {
            let _ = Command::new("ip").args(["netns", "del", netns]).stderr(Stdio::null()).status();
        }
    }
}
