//! A unit in namespaces of its own: `/run` and `/etc` are folders of the test, `/sys` shows one port, and the network
//! is a cable to a second namespace. Needs root; without it the tests say so and pass.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// Tests wait so long for something that should take a second.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until there is a value.
pub(crate) fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "no {what} within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(20));
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
}

impl Place {
    /// With an empty `/run/razor-mk`, this kernel line, and the network of the test itself.
    pub(crate) fn new(line: &str) -> Self {
        let place = Self { dir: tempfile::tempdir().unwrap(), netns: None };
        for folder in ["run/razor-mk", "etc"] {
            fs::create_dir_all(place.path(folder)).unwrap();
        }
        fs::write(place.path("cmdline"), line).unwrap();
        place
    }

    /// With one port `eth0`, described as a PCI device, in a network namespace of this name.
    pub(crate) fn with_port(line: &str, netns: &str, index: &str, mac: &str) -> Self {
        let place = Self { netns: Some(netns.to_owned()), ..Self::new(line) };
        let class = place.path("sys/class/net/eth0");
        fs::create_dir_all(&class).unwrap();
        fs::create_dir_all(place.path("sys/devices/pci0000:00/0000:00:03.0/net/eth0")).unwrap();
        std::os::unix::fs::symlink("../../../devices/pci0000:00/0000:00:03.0", class.join("device")).unwrap();
        for (file, text) in [("type", "1"), ("ifindex", index), ("address", mac), ("carrier", "1")] {
            fs::write(class.join(file), text).unwrap();
        }
        place
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

    /// Starts a unit here.
    pub(crate) fn start(&self, unit: &str) -> Unit {
        let dir = self.dir.path().display();
        let sys = if self.netns.is_some() { format!("mount --bind {dir}/sys /sys; ") } else { String::new() };
        let agent = env!("CARGO_BIN_EXE_mk-agent");
        let script = format!(
            "mount --bind {dir}/cmdline /proc/cmdline; {sys}mount --bind {dir}/run /run; mount --bind {dir}/etc /etc; \
             exec {agent} run {unit}"
        );
        let mut words: Vec<&str> = match &self.netns {
            Some(netns) => vec!["ip", "netns", "exec", netns],
            None => Vec::new(),
        };
        words.extend(["unshare", "--mount", "sh", "-ec", &script]);
        let child = Command::new(words[0]).args(&words[1..]).stdin(Stdio::null()).spawn().unwrap();
        Unit(child)
    }
}

/// A running unit; it is killed, as a crash would, when this is dropped.
pub(crate) struct Unit(Child);

impl Drop for Unit {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Two network namespaces and a cable between them; `srv0` in the first has 10.9.0.1/24, `eth0` in the second nothing.
pub(crate) struct Cable {
    pub(crate) server: String,
    pub(crate) node: String,
    pub(crate) index: String,
}

impl Cable {
    pub(crate) const MAC: &str = "52:54:00:12:34:56";

    /// A cable for the test of this name.
    pub(crate) fn new(test: &str) -> Self {
        let id = format!("{test}{}", std::process::id());
        let (server, node) = (format!("mks-{id}"), format!("mkn-{id}"));
        let mac = Self::MAC;
        must(&format!(
            "ip netns add {server}; ip netns add {node}; \
             ip -n {node} link add eth0 address {mac} type veth peer name srv0 netns {server}; \
             ip -n {server} addr add 10.9.0.1/24 dev srv0; ip -n {server} link set srv0 up"
        ));
        let index = index(&node);
        Self { server, node, index }
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

    /// Puts another port in the place of the node's end of the cable, by this script of `ip` commands.
    pub(crate) fn replace_port(&mut self, script: &str) {
        must(script);
        self.index = index(&self.node);
    }

    /// Output of `ip` in the node's namespace.
    pub(crate) fn ip(&self, words: &str) -> String {
        let output = Command::new("ip").args(["-n", &self.node]).args(words.split(' ')).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }
}

/// Number of `eth0` in a namespace.
fn index(netns: &str) -> String {
    let show = Command::new("ip").args(["-n", netns, "-o", "link", "show", "eth0"]).output().unwrap();
    String::from_utf8(show.stdout).unwrap().split(':').next().unwrap().trim().to_owned()
}

impl Drop for Cable {
    fn drop(&mut self) {
        for netns in [&self.server, &self.node] {
            let _ = Command::new("ip").args(["netns", "del", netns]).status();
        }
    }
}
