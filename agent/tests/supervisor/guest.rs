//! `mk-agent` as PID 1 of namespaces of its own: a machine small enough to start in a tenth of a second. A user
//! namespace keeps it from the host's modules, clock and settings, and makes the tests work without root. A terminal
//! stands in for the kernel's log: what is written to it comes out here, and whoever reads from it waits, as for the log.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
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
mount -t cgroup2 none /sys/fs/cgroup || true
eval "$4"
"#;
/// PID 1 is the agent.
const AS_INIT: &str = r#"exec "$3""#;
/// The same, and nothing is open.
const AS_BARE_INIT: &str = r#"exec "$3" <&- >&- 2>&-"#;
/// PID 1 is another program, which starts the agent.
const AS_DAEMON: &str = r#""$3" daemon; while :; do sleep 0.1; done"#;

/// The running machine.
pub(crate) struct Guest {
    unshare: Child,
    /// Process id of the guest's PID 1, as the host sees it.
    init: u32,
    log: Arc<Mutex<Vec<String>>>,
    group: Option<Group>,
    _files: tempfile::TempDir,
}

impl Guest {
    /// Starts a machine with these unit files, by name and text. `None`, said loudly, where namespaces are not to be had.
    pub(crate) fn start(units: &[(&str, &str)]) -> Option<Self> {
        Self::boot(units, AS_INIT, &[])
    }

    /// The same with standard input, output and error closed.
    pub(crate) fn start_bare(units: &[(&str, &str)]) -> Option<Self> {
        Self::boot(units, AS_BARE_INIT, &[])
    }

    /// The same by way of another program, which then becomes the one that is given to it.
    pub(crate) fn start_by(units: &[(&str, &str)], way: &[&str]) -> Option<Self> {
        Self::boot(units, AS_INIT, way)
    }

    /// The same with the agent as a daemon under another init.
    pub(crate) fn start_daemon(units: &[(&str, &str)]) -> Option<Self> {
        Self::boot(units, AS_DAEMON, &[])
    }

    fn boot(units: &[(&str, &str)], init: &str, way: &[&str]) -> Option<Self> {
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
        let group = Group::new();
        let entered = group.iter().flat_map(Group::way);
        let way: Vec<String> = entered.chain(way.iter().map(|&word| word.to_owned())).collect();
        let unshare = Command::new("env")
            .args(way)
            .args([
                "unshare",
                "--user",
                "--map-root-user",
                "--pid",
                "--fork",
                "--kill-child",
                "--mount",
                "--mount-proc",
            ])
            .args(["--cgroup", "--uts", "--net", "--ipc", "sh", "-c", PREPARE, "sh"])
            .args([files.path(), terminal.as_path(), AGENT.as_ref(), init.as_ref()])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let init = eventually("the guest's PID 1", || first_inside(unshare.id()));
        let guest = Self { unshare, init, log, group, _files: files };
        eventually("the first state file", || guest.state());
        Some(guest)
    }

    /// Whether units have control groups inside; where not, it says that a test has to do without them.
    pub(crate) fn has_groups(&self) -> bool {
        if self.group.is_none() {
            mk_tests::skip_even_there("control groups of version 2 may not be made here");
        }
        self.group.is_some()
    }

    /// Runs a command of the host where it sees the guest's surroundings: what the guest's way has mounted.
    pub(crate) fn beside(&self, command: &[&str]) -> bool {
        let target = self.unshare.id().to_string();
        Command::new("nsenter").args(["--target", &target, "--mount"]).args(command).status().unwrap().success()
    }

    /// Process id of the guest's PID 1 outside.
    pub(crate) fn init(&self) -> u32 {
        self.init
    }

    /// Lines of the log so far that contain `text`.
    pub(crate) fn lines_with(&self, text: &str) -> usize {
        self.log.lock().unwrap().iter().filter(|line| line.contains(text)).count()
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
            .args(["--mount", "--pid", "--net", "--uts", "--ipc", "--cgroup"])
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

    /// What the first problem of that code in the state file says.
    pub(crate) fn problem(&self, code: &str) -> Option<String> {
        let state = self.state().unwrap();
        let problems = state["problems"].as_array().unwrap();
        problems.iter().find(|p| p["code"] == code).map(|p| p["error"].as_str().unwrap().to_owned())
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

/// The host's control group of one machine, which sees it as the root of all.
struct Group(PathBuf);

impl Group {
    /// `None` where the host has none of version 2, or does not let us.
    fn new() -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
        let root = mounts.lines().find_map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            (words.get(2) == Some(&"cgroup2")).then(|| PathBuf::from(words[1]))
        })?;
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = root.join(format!("mk-agent-test-{}-{count}", std::process::id()));
        fs::create_dir(&path).ok()?;
        Some(Self(path))
    }

    /// The words of a command that enters it before it becomes another.
    fn way(&self) -> [String; 5] {
        let procs = self.0.join("cgroup.procs").display().to_string();
        ["sh", "-c", r#"echo $$ > "$0" && exec "$@""#, &procs, "env"].map(str::to_owned)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _: Result<(), _> = fs::write(self.0.join("cgroup.kill"), "1");
        let deadline = Instant::now() + PATIENCE;
        while !remove_tree(&self.0) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Control groups have files that cannot be removed, and go with their folder.
fn remove_tree(group: &Path) -> bool {
    for inner in fs::read_dir(group).into_iter().flatten().flatten().filter(|e| e.path().is_dir()) {
        remove_tree(&inner.path());
    }
    fs::remove_dir(group).is_ok()
}

/// The child of that process that is the first one in a namespace of its own.
fn first_inside(parent: u32) -> Option<u32> {
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).ok()?;
    children.split_whitespace().filter_map(|pid| pid.parse().ok()).find(|pid: &u32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let inside = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
        inside.is_some_and(|pids| pids.split_whitespace().count() > 1 && pids.ends_with("\t1"))
    })
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
