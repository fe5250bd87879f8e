//! A server in a process of its own on a folder of its own, and requests to it. It ends with the value.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::database;

/// Longest wait for a server to start on a busy machine.
const START: Duration = Duration::from_secs(60);

/// The server's log within its data folder.
const LOG: &str = "stderr.log";

/// Names the database of servers that have none of their own.
const DATABASE: &str = "MK_DATABASE";

/// The server's program.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_mk-server");

/// Arguments before the data folder.
pub(crate) const SERVE: [&str; 4] = ["serve", "--listen", "127.0.0.1:0", "--data"];

/// All four keys, as the original's test-suite sets them.
pub(crate) const FOUR_KEYS: &str = "match_nodes_on = [\"mac\", \"serial\", \"asset\", \"uuid\"]\n";

/// A running server.
pub(crate) struct Server {
    child: Child,
    data: PathBuf,
    folder: Option<tempfile::TempDir>,
    /// `http://127.0.0.1:PORT`.
    pub(crate) url: String,
    http: reqwest::Client,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("{}", std::fs::read_to_string(self.data.join(LOG)).unwrap_or_default());
        }
        if self.folder.is_some() {
            database::remove(&self.data);
        }
    }
}

/// Status and JSON body of an answer (null for an empty one).
pub(crate) type Answer = (u16, Value);

impl Server {
    /// A server with this configuration on an empty folder.
    pub(crate) fn start(config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let mut server = Self::start_on(&data, config);
        server.folder = Some(folder);
        server
    }

    /// A server on an empty folder and this database.
    pub(crate) fn sharing(url: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        std::fs::create_dir_all(&data).unwrap();
        let mut command = Command::new(PROGRAM);
        command.args(SERVE).arg(&data).env(DATABASE, url);
        let mut server = Self::spawn(&data, command);
        server.folder = Some(folder);
        server
    }

    /// A server with this configuration on `data`.
    pub(crate) fn start_on(data: &Path, config: &str) -> Self {
        std::fs::create_dir_all(data).unwrap();
        std::fs::write(data.join("config.toml"), config).unwrap();
        let mut command = Command::new(PROGRAM);
        command.args(SERVE).arg(data);
        Self::spawn(data, command)
    }

    /// Starts a server on `data` by a command that becomes it.
    pub(crate) fn spawn(data: &Path, mut command: Command) -> Self {
        let log = std::fs::File::create(data.join(LOG)).unwrap();
        if !command.get_envs().any(|(name, _)| name == DATABASE) {
            command.envs(database::of(data).map(|url| (DATABASE, url)));
        }
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let (send, line) = std::sync::mpsc::channel();
        let stdout = child.stdout.take().unwrap();
        std::thread::spawn(move || {
            let mut text = String::new();
            let _ = BufReader::new(stdout).read_line(&mut text);
            let _ = send.send(text);
        });
        let line = line.recv_timeout(START).unwrap();
        let url =
            line.trim().strip_prefix("listening on ").unwrap_or_else(|| panic!("first line: {line:?}")).to_owned();
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().tls_certs_only([]).build().unwrap();
        Self { child, data: data.to_owned(), folder: None, url, http }
    }

    /// Kills the server without any warning, and starts it again on the same folder.
    pub(crate) fn restart(&mut self, config: &str) {
        self.stop();
        let mut next = Self::start_on(&self.data, config);
        std::mem::swap(self, &mut next);
        self.folder = next.folder.take();
    }

    /// Stops the server; its folder stays.
    pub(crate) fn stop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks the server to end; tells whether it did within [`START`].
    pub(crate) fn ends(&mut self) -> bool {
        let asked = Command::new("kill").args(["-TERM", &self.pid().to_string()]).status().unwrap();
        assert!(asked.success());
        let end = Instant::now() + START;
        while Instant::now() < end {
            if self.child.try_wait().unwrap().is_some() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        false
    }

    /// Starts a stopped server on the same folder at this address.
    pub(crate) fn start_again(&mut self, address: &str) {
        let mut command = Command::new(PROGRAM);
        command.args(["serve", "--listen", address, "--data"]).arg(&self.data);
        let mut next = Self::spawn(&self.data, command);
        std::mem::swap(self, &mut next);
        self.folder = next.folder.take();
    }

    /// The data folder.
    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    /// Process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// `GET path` as text.
    pub(crate) async fn text(&self, path: &str) -> (u16, String) {
        let response = self.http.get(format!("{}{path}", self.url)).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    /// `GET path` as JSON.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        let (status, text) = self.text(path).await;
        (status, serde_json::from_str(&text).unwrap_or(Value::Null))
    }

    /// `GET /svc/boot` with this query; gives the id in the script's check-in URL.
    pub(crate) async fn boot(&self, query: &str) -> Result<i64, Answer> {
        let (status, text) = self.text(&format!("/svc/boot?{query}")).await;
        if status != 200 {
            return Err((status, serde_json::from_str(&text).unwrap()));
        }
        assert!(text.starts_with("#!ipxe\n"), "{text}");
        let title = text.lines().find_map(|l| l.strip_prefix("echo node")).unwrap();
        Ok(title.split(':').next().unwrap().parse().unwrap())
    }

    /// A request of any kind.
    pub(crate) fn request(&self, method: reqwest::Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url))
    }

    /// Sends a body to the check-in of node `id`, or to the one without id.
    pub(crate) async fn post(&self, id: Option<i64>, body: &[u8], headers: &[(&str, String)]) -> Answer {
        let path = id.map_or("/svc/checkin".to_owned(), |id| format!("/svc/checkin/{id}"));
        let mut request = self.request(reqwest::Method::POST, &path).header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let response = request.body(body.to_vec()).send().await.unwrap();
        let status = response.status().as_u16();
        (status, serde_json::from_slice(&response.bytes().await.unwrap()).unwrap_or(Value::Null))
    }

    /// A check-in of an original client.
    pub(crate) async fn legacy(&self, id: i64, facts: Value) -> Answer {
        self.post(Some(id), json!({"hw_id": "x", "facts": facts}).to_string().as_bytes(), &[]).await
    }

    /// A node's document.
    pub(crate) async fn node(&self, id: i64) -> Value {
        let (status, document) = self.get(&format!("/api/collections/nodes/node{id}")).await;
        assert_eq!(status, 200, "{document}");
        document
    }

    /// Canonical hardware information of a node.
    pub(crate) async fn hw_info(&self, id: i64) -> Value {
        self.node(id).await["hw_info"].clone()
    }

    /// Number of nodes.
    pub(crate) async fn count(&self) -> i64 {
        self.get("/api/collections/nodes").await.1["total"].as_i64().unwrap()
    }

    /// A node's log, newest first.
    pub(crate) async fn log(&self, id: i64) -> Vec<Value> {
        let (_, log) = self.get(&format!("/api/collections/nodes/node{id}/log")).await;
        log["items"].as_array().unwrap().clone()
    }

    /// Runs the command line against this server.
    pub(crate) fn cli(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// The command line for this server.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.args(["--server", &self.url]).args(args);
        command
    }
}

/// What a server that cannot start says.
pub(crate) fn refused_start(data: &Path, extra: &[&str]) -> String {
    let mut command = Command::new(PROGRAM);
    command.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(data).args(extra);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut text = String::new();
    child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    assert!(!child.wait().unwrap().success(), "it started: {text}");
    text
}
