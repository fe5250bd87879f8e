//! `mk-agent` as PID 1 of namespaces of its own: a machine small enough to start in a tenth of a second. A user
//! namespace keeps it from the host's modules, clock and settings, and makes the tests work without root. A terminal
//! stands in for the kernel's log: what is written to it comes out here, and whoever reads from it waits, as for the log.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::pty::openpty;
use nix::sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr};
use nix::unistd::ttyname;
use serde_json::Value;

const AGENT: &str = env!("CARGO_BIN_EXE_mk-agent");
/// For anything that should happen at once, on a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(60);

/// Prepares the namespaces, then becomes PID 1. `$1` holds the unit files, `$2` is the terminal, `$3` the agent, `$4`
/// what PID 1 does.
const PREPARE: &str = r#"
set -e
mount --bind "$2" /dev/kmsg
mount -t tmpfs none /run
mount -t tmpfs none /etc
mkdir -p /etc/razor-mk
cp -r "$1/units.d" /etc/razor-mk/
eval "$4"
"#;
/// PID 1 is the agent.
const AS_INIT: &str = r#"exec "$3""#;
/// PID 1 is another program, which starts the agent.
const AS_DAEMON: &str = r#""$3" daemon; while :; do sleep 0.1; done"#;

/// The running machine.
pub(crate) struct Guest {
    unshare: Child,
    /// Process id of the guest's PID 1, as the host sees it.
    init: u32,
    log: Arc<Mutex<Vec<String>>>,
    _files: tempfile::TempDir,
}

impl Guest {
    /// Starts a machine with these unit files, by name and text. `None`, said loudly, where namespaces are not to be had.
    pub(crate) fn start(units: &[(&str, &str)]) -> Option<Self> {
        Self::boot(units, AS_INIT)
    }

    /// The same with the agent as a daemon under another init.
    pub(crate) fn start_daemon(units: &[(&str, &str)]) -> Option<Self> {
        Self::boot(units, AS_DAEMON)
    }

    fn boot(units: &[(&str, &str)], init: &str) -> Option<Self> {
        let allowed = Command::new("unshare").args(["--user", "--map-root-user", "--pid", "--fork", "true"]).status();
        if !allowed.is_ok_and(|s| s.success()) {
            mk_tests::skip("user namespaces are not allowed here, so PID 1 is not tested in one");
            return None;
        }
        let files = tempfile::tempdir().unwrap();
        fs::create_dir(files.path().join("units.d")).unwrap();
        for (name, text) in units {
            fs::write(files.path().join("units.d").join(format!("{name}.toml")), text).unwrap();
        }
        let (terminal, log) = follow();
        let unshare = Command::new("unshare")
            .args(["--user", "--map-root-user", "--pid", "--fork", "--kill-child", "--mount", "--mount-proc"])
            .args(["--uts", "--net", "--ipc", "sh", "-c", PREPARE, "sh"])
            .args([files.path(), terminal.as_path(), AGENT.as_ref(), init.as_ref()])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let children = format!("/proc/{0}/task/{0}/children", unshare.id());
        let init = eventually("the guest's PID 1", || fs::read_to_string(&children).ok()?.trim().parse().ok());
        let guest = Self { unshare, init, log, _files: files };
        eventually("the first state file", || guest.state());
        Some(guest)
    }

    /// Runs the agent's command line inside.
    pub(crate) fn agent(&self, words: &[&str]) -> Output {
        self.enter(&[&[AGENT], words].concat())
    }

    /// Runs a shell command inside.
    pub(crate) fn shell(&self, script: &str) -> String {
        let output = self.enter(&["sh", "-c", script]);
        assert!(output.status.success(), "{script}: {output:?}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    fn enter(&self, command: &[&str]) -> Output {
        Command::new("nsenter")
            .args(["--target", &self.init.to_string(), "--user", "--preserve-credentials"])
            .args(["--mount", "--pid", "--net", "--uts", "--ipc"])
            .args(command)
            .output()
            .unwrap()
    }

    fn state(&self) -> Option<Value> {
        let path = PathBuf::from(format!("/proc/{}/root/run/razor-mk/units.json", self.init));
        serde_json::from_slice(&fs::read(path).ok()?).ok()
    }

    /// A unit's entry in the state file.
    pub(crate) fn unit(&self, name: &str) -> Value {
        let state = self.state().unwrap();
        let units = state["units"].as_array().unwrap();
        units.iter().find(|u| u["name"] == name).unwrap_or_else(|| panic!("no unit {name} in {state}")).clone()
    }

    /// All units there are.
    pub(crate) fn names(&self) -> Vec<String> {
        let state = self.state().unwrap();
        state["units"].as_array().unwrap().iter().map(|u| u["name"].as_str().unwrap().to_owned()).collect()
    }

    /// A unit's process id inside.
    pub(crate) fn pid(&self, name: &str) -> Option<i64> {
        self.state()?["pids"][name].as_i64()
    }

    /// Waits until a unit runs as another process than `former`.
    pub(crate) fn successor(&self, name: &str, former: Option<i64>) -> i64 {
        eventually(&format!("another process of {name}"), || {
            self.pid(name).filter(|pid| Some(*pid) != former && self.unit(name)["state"] == "running")
        })
    }

    /// Waits for a line in the log that contains `text`.
    pub(crate) fn logged(&self, text: &str) -> String {
        let found = || self.log.lock().unwrap().iter().find(|l| l.contains(text)).cloned();
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(line) = found() {
                return line;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("no `{text}` in the log:\n{}", self.log.lock().unwrap().join("\n"));
    }

    /// Waits for the machine to end.
    pub(crate) fn ended(mut self) -> ExitStatus {
        eventually("the guest's end", || self.unshare.try_wait().unwrap())
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        // With --kill-child all of the guest goes with it.
        let _: Result<(), _> = self.unshare.kill();
        let _: Result<ExitStatus, _> = self.unshare.wait();
    }
}

/// Waits for something to come about.
pub(crate) fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "still no {what} after {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Makes a terminal and collects the lines that are written to it.
fn follow() -> (PathBuf, Arc<Mutex<Vec<String>>>) {
    let pair = openpty(None, None).unwrap();
    let mut plain = tcgetattr(&pair.slave).unwrap();
    cfmakeraw(&mut plain);
    tcsetattr(&pair.slave, SetArg::TCSANOW, &plain).unwrap();
    let path = ttyname(&pair.slave).unwrap();
    let log = Arc::new(Mutex::new(Vec::new()));
    let lines = Arc::clone(&log);
    std::thread::spawn(move || {
        // Kept open on this side too, so that it does not hang up while nobody else has it.
        let _open = pair.slave;
        for line in BufReader::new(File::from(pair.master)).lines().map_while(Result::ok) {
            lines.lock().unwrap().push(line);
        }
    });
    (path, log)
}
