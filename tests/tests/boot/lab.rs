//! What a test needs to boot a machine: a server with a fresh data folder, an image that knows it, a guest, and the
//! server's own command line to see what became of it.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use duct::{ReaderHandle, cmd};
use mk_tests::process::die_with_parent;
use mk_tests::vm::{Accel, Boot, Firmware, Guest, Machine, Medium, Options};
use mk_tests::{built, limits};
use serde_json::{Value, json};
use tempfile::TempDir;
use wire::inventory::Stable;

/// Seconds between check-ins, so that tests need not wait for long.
const INTERVAL_S: u32 = 2;

/// QEMU's counters of what changes a drive, failed and impossible tries included. Flushes are not among them: firmware
/// flushes disks to which nobody has written.
const COUNTERS: [&str; 7] = [
    "wr_bytes",
    "wr_operations",
    "failed_wr_operations",
    "invalid_wr_operations",
    "unmap_operations",
    "failed_unmap_operations",
    "invalid_unmap_operations",
];

/// A place for one test.
pub(crate) struct Lab {
    dir: TempDir,
}

/// A running server, killed on drop.
pub(crate) struct Server {
    pub(crate) port: u16,
    url: String,
    output: ReaderHandle,
}

impl Lab {
    /// An empty folder.
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    /// A file's path in the lab's own folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Starts the server on a port, or on any with 0.
    pub(crate) fn serve(&self, port: u16) -> Server {
        self.serve_with(port, "")
    }

    /// Starts the server with TLS and further settings, by a CA that is made now. Gives its https URL as guests reach it, and the CA.
    pub(crate) fn serve_secured(&self, settings: &str) -> (Server, String, PathBuf) {
        let data = self.path("data");
        let name = ["--name", "10.0.2.2"];
        let arguments =
            [&["tls".as_ref(), "init".as_ref(), "--data".as_ref(), data.as_os_str()], &name.map(OsStr::new)[..]];
        cmd(tool("MK_SERVER_BIN"), arguments.concat()).stdin_null().stdout_null().run().expect("a CA is made");
        let server = self.serve_with(0, settings);
        let log = fs::read_to_string(self.path("server.log")).unwrap();
        let port = log.split("https://127.0.0.1:").nth(1).and_then(|rest| rest.lines().next());
        let url = format!("https://10.0.2.2:{}", port.expect("the server says where it listens with TLS").trim());
        (server, url, data.join("tls/ca.pem"))
    }

    /// Starts the server with further settings.
    pub(crate) fn serve_with(&self, port: u16, settings: &str) -> Server {
        let config = self.dir.path().join("config.toml");
        fs::write(&config, format!("checkin_interval = {INTERVAL_S}\n{settings}")).unwrap();
        let (data, listen) = (self.dir.path().join("data"), format!("127.0.0.1:{port}"));
        let log = self.dir.path().join("server.log");
        let arguments =
            ["serve".as_ref(), "--listen".as_ref(), listen.as_ref(), "--config".as_ref(), config.as_os_str()];
        let rest = ["--https-port".as_ref(), "0".as_ref(), "--data".as_ref(), data.as_os_str()];
        let arguments = arguments.into_iter().chain(rest);
        let expression = cmd(tool("MK_SERVER_BIN"), arguments).stdin_null().stderr_path(&log).unchecked();
        let expression = expression.before_spawn(|command| {
            die_with_parent(command, Vec::new());
            Ok(())
        });
        let output = expression.reader().expect("the server starts");
        let mut line = String::new();
        BufReader::new(&output).read_line(&mut line).unwrap();
        let logged = || fs::read_to_string(&log).unwrap_or_default();
        let url =
            line.trim().strip_prefix("listening on ").unwrap_or_else(|| panic!("{line:?} {}", logged())).to_owned();
        let port = url.rsplit_once(':').unwrap().1.parse().unwrap();
        Server { port, url, output }
    }

    /// A copy of a built image whose machines check in to a port of this machine.
    pub(crate) fn image(&self, variant: &str, port: u16) -> PathBuf {
        self.customized(variant, &format!("http://10.0.2.2:{port}"), &[])
    }

    /// A copy of a built image for this server, with further settings of `mkiso customize`.
    pub(crate) fn customized(&self, variant: &str, server: &str, more: &[&Path]) -> PathBuf {
        let (built, copy) = (built::image(variant).unwrap(), self.path(&format!("{variant}.iso")));
        let fixed = ["customize".as_ref(), built.as_path(), "--server".as_ref(), server.as_ref()];
        let arguments = [&fixed, more, &["--out".as_ref(), copy.as_path()]].concat();
        cmd(tool("MKISO_BIN"), arguments).stdin_null().run().expect("the image takes its settings");
        copy
    }

    /// Starts a guest from a CD; its first reboot would end it.
    pub(crate) fn boot(&self, machine: &Machine, image: &Path, firmware: Firmware) -> Guest {
        Guest::start(&options(machine, Medium::Cd(image.to_owned()), firmware)).expect("the guest starts")
    }
}

/// How a guest is started unless a test has other wishes.
pub(crate) fn options(machine: &Machine, medium: Medium, firmware: Firmware) -> Options {
    Options {
        machine: machine.clone(),
        boot: Boot { medium, firmware },
        accel: Accel::Tcg,
        serial_log: None,
        echo: false,
        qmp_socket: None,
        may_reboot: false,
        forwards: Vec::new(),
    }
}

impl Server {
    /// What a command of the server's own command line prints.
    pub(crate) fn ask(&self, arguments: &[&str]) -> String {
        cmd(tool("MK_SERVER_BIN"), [&["--server", &self.url], arguments].concat()).stdin_null().read().unwrap()
    }

    /// What machines boot from to get their script from this server.
    pub(crate) fn network(&self) -> Medium {
        Medium::Network(format!("http://10.0.2.2:{}/api/microkernel/bootstrap", self.port))
    }

    /// Machines that boot from the network get this image.
    pub(crate) fn offer(&self, variant: &str) {
        self.ask(&["image", "add", built::image(variant).unwrap().to_str().unwrap()]);
        let images = self.ask(&["image", "list"]);
        let name = images.split_whitespace().find(|word| word.contains(variant)).expect("the image is listed");
        self.ask(&["image", "use", name]);
    }

    /// Sends a command of the API.
    pub(crate) fn command(&self, name: &str, body: &Value) {
        let (body, host) = (body.to_string(), format!("127.0.0.1:{}", self.port));
        let head = format!("POST /api/commands/{name} HTTP/1.1\r\nHost: {host}\r\nConnection: close");
        let mut stream = TcpStream::connect(host).unwrap();
        write!(stream, "{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 20"), "{name}: {answer}");
    }

    /// All nodes as the command line lists them.
    pub(crate) fn nodes(&self) -> Vec<Value> {
        let list = self.ask(&["nodes", "list", "--json"]);
        let list: Value = serde_json::from_str(&list).unwrap();
        list["items"].as_array().expect("a list of nodes").clone()
    }

    /// The first node with all that the server knows of it.
    pub(crate) fn show(&self) -> Value {
        serde_json::from_str(&self.ask(&["nodes", "show", "node1", "--json"])).unwrap()
    }

    /// The only node, when it has checked in.
    pub(crate) fn node(&self) -> Option<Value> {
        let nodes = self.nodes();
        assert!(nodes.len() < 2, "one machine has become several nodes: {nodes:#?}");
        nodes.into_iter().find(|node| !node["last_checkin"].is_null())
    }

    /// Waits for the only node's check-in.
    pub(crate) fn await_node(&self, guest: &Guest) -> Value {
        wait("the machine checks in", limits::CHECK_IN, guest, || self.node())
    }

    /// Waits until the node has spoken again.
    pub(crate) fn await_next(&self, guest: &Guest) {
        let last = |node: Value| node["last_checkin"].clone();
        let before = self.node().map(last);
        wait("the node goes on checking in", limits::REACTION, guest, || {
            self.node().map(last).filter(|now| Some(now) != before.as_ref())
        });
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It dies with us anyway.
        let _ = self.output.kill();
    }
}

/// Typed part of a node's inventory.
pub(crate) fn stable(node: &Value) -> Stable {
    serde_json::from_value(node["inventory"]["stable"].clone()).unwrap_or_default()
}

/// Asks again and again until there is an answer; fails with the guest's console when there is none in time.
pub(crate) fn wait<T>(what: &str, timeout: Duration, guest: &Guest, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + timeout;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        let console = || guest.console().text(0);
        if let Some(how) = guest.ended().unwrap() {
            // A signal is QEMU's own fault; an orderly end is a reset or a power-off by the guest.
            panic!("the guest ended or rebooted ({how}) before: {what}\n{}\n{}", guest.complaints(), console());
        }
        assert!(Instant::now() < deadline, "not in {} s: {what}\n{}", timeout.as_secs(), console());
        std::thread::sleep(limits::POLL * 4);
    }
}

/// What the guest has done, or has tried to do, to its drives by QEMU's counters, and to its disks by the trap below
/// them: bytes, and operations that write, give back, or flush what was written.
pub(crate) fn written(guest: &Guest) -> u64 {
    let drives = guest.qmp("query-blockstats", json!({})).unwrap();
    let drives = drives.as_array().unwrap().clone();
    // The firmware's variables are a drive too, and its own to write.
    let drives: Vec<_> = drives.iter().filter(|d| d["qdev"].as_str().is_some_and(|name| !name.is_empty())).collect();
    assert!(!drives.is_empty(), "drives are missing");
    let counts = drives.iter().flat_map(|drive| COUNTERS.map(|what| (drive["qdev"].to_string(), what, drive)));
    let counted = counts.map(|(name, what, drive)| (name, what, drive["stats"][what].as_u64().unwrap()));
    let counted: Vec<_> = counted.filter(|(_, _, count)| *count > 0).collect();
    let trapped = guest.trapped().unwrap();
    if !counted.is_empty() || !trapped.is_empty() {
        println!("counted by QEMU: {counted:?}; trapped below the disks: {trapped:?}");
    }
    counted.iter().map(|(_, _, count)| count).sum::<u64>() + trapped.len() as u64
}

/// Records the traffic of a guest's first network port from now on; gives the recording's path.
pub(crate) fn record(guest: &Guest, lab: &Lab) -> PathBuf {
    let traffic = lab.path("traffic.pcap");
    let dump = json!({"qom-type": "filter-dump", "id": "dump", "netdev": "net0", "file": traffic});
    guest.qmp("object-add", dump).unwrap();
    traffic
}

/// A file that `cargo xtask test` has made, by the environment variable that names it.
pub(crate) fn tool(variable: &str) -> PathBuf {
    std::env::var_os(variable).unwrap_or_else(|| panic!("{variable} is not set; run: cargo xtask test")).into()
}
