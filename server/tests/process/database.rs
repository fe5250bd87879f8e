//! Where the servers of the tests keep what they know: in a file each or, where `MK_TEST_POSTGRES` is set, in a database each of a
//! private PostgreSQL server, one for each data folder. That server is on a socket in a temporary folder alone, runs as an
//! unprivileged user, and ends with the process that asked for it, however that ends.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::LazyLock;

/// Set where the tests are about PostgreSQL.
const WANTED: &str = "MK_TEST_POSTGRES";
/// Where Debian and Ubuntu have the programs, each version in a folder of its own.
const VERSIONS: &str = "/usr/lib/postgresql";
/// User and first database.
const NAME: &str = "mk";

/// That of most tests. What it writes need not outlast a loss of power: there is none.
static SHARED: LazyLock<Cluster> = LazyLock::new(Cluster::start);

/// True where the tests are about PostgreSQL.
pub(crate) fn is_postgres() -> bool {
    std::env::var_os(WANTED).is_some()
}

/// URL of the database that belongs to this data folder, made where there is none; nothing where that is a file.
pub(crate) fn of(data: &Path) -> Option<String> {
    is_postgres().then(|| SHARED.database(&name(data)))
}

/// Drops it.
pub(crate) fn remove(data: &Path) {
    if is_postgres() {
        SHARED.sql(NAME, &format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", name(data)));
    }
}

/// What a query gives in the database of this data folder, as text.
pub(crate) fn ask(data: &Path, query: &str) -> String {
    SHARED.sql(&name(data), query)
}

/// Name of the database of a data folder.
fn name(data: &Path) -> String {
    format!("mk_{}", &wire::digest::sha256_hex(data.to_str().unwrap().as_bytes())[..20])
}

/// A PostgreSQL server.
pub(crate) struct Cluster {
    folder: PathBuf,
    /// Waits until this process lets go of it, and ends the server then.
    _guard: Child,
}

impl Cluster {
    /// Starts one on an empty folder.
    pub(crate) fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("mk-pg-").tempdir().unwrap().keep();
        if is_root() {
            succeeded(Command::new("chown").arg("nobody").arg(&folder).output().unwrap());
        }
        let data = folder.join("data");
        let mut made = unprivileged("initdb");
        made.args(["-U", NAME, "-A", "trust", "--locale=C.UTF-8", "--no-sync", "-D"]);
        succeeded(made.arg(&data).output().unwrap());
        let mut stop = unprivileged("pg_ctl");
        stop.args(["stop", "-m", "immediate", "-D"]).arg(&data);
        let stop: Vec<_> = std::iter::once(stop.get_program()).chain(stop.get_args()).collect();
        let mut guard = Command::new("sh");
        guard.args(["-c", "read _; folder=$1; shift; \"$@\"; rm -rf \"$folder\"", "sh"]).arg(&folder).args(stop);
        let guard = guard.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let cluster = Self { folder, _guard: guard };
        cluster.control("start");
        cluster.sql("postgres", &format!("CREATE DATABASE {NAME}"));
        cluster
    }

    /// Kills it without any warning.
    pub(crate) fn kill(&self) {
        self.control("stop");
    }

    /// Starts it again on what it has written.
    pub(crate) fn start_again(&self) {
        self.control("start");
    }

    fn control(&self, what: &str) {
        let options = format!("-k {} -c listen_addresses= -c fsync=off -c max_connections=300", self.folder.display());
        let mut control = unprivileged("pg_ctl");
        control.args([what, "-w", "-D"]).arg(self.folder.join("data")).arg("-l").arg(self.folder.join("log"));
        match what {
            "stop" => control.args(["-m", "immediate"]),
            _ => control.args(["-o", &options]),
        };
        let done = control.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
        let log = std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        assert!(done.success(), "pg_ctl {what}: {log}");
    }

    /// URL of the database of this name, made where there is none.
    pub(crate) fn database(&self, name: &str) -> String {
        if self.sql(NAME, &format!("SELECT 1 FROM pg_database WHERE datname = '{name}'")).trim() != "1" {
            self.sql(NAME, &format!("CREATE DATABASE {name}"));
        }
        format!("postgres://{NAME}@localhost/{name}?host={}", self.folder.display())
    }

    /// What a statement gives, as text.
    fn sql(&self, database: &str, statement: &str) -> String {
        let mut psql = Command::new("psql");
        psql.args(["-X", "-q", "-t", "-A", "-v", "ON_ERROR_STOP=1", "-U", NAME, "-d", database, "-c", statement, "-h"]);
        String::from_utf8(succeeded(psql.arg(&self.folder).output().unwrap()).stdout).unwrap()
    }
}

/// A program of PostgreSQL, which refuses to run as root.
fn unprivileged(program: &str) -> Command {
    let versions = std::fs::read_dir(VERSIONS).into_iter().flatten().flatten();
    let newest = versions.map(|entry| entry.path().join("bin").join(program)).filter(|path| path.exists()).max();
    let program = newest.unwrap_or_else(|| program.into());
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups"]).arg(program).current_dir("/");
    command
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

fn succeeded(output: Output) -> Output {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output
}
