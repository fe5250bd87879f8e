//! A real Chromium without a window, driven over the DevTools protocol. It ends with the value.
//!
//! The protocol goes over two pipes (file descriptors 3 and 4), one JSON text after the other with a NUL between them, so
//! that no port and no WebSocket is needed. Chromium refuses to run as root with its sandbox, and without it we refuse:
//! root hands it to `nobody` with a home of its own.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use base64::Engine as _;
use serde_json::{Value, json};

/// Longest wait for an answer of the browser on a busy machine.
const ANSWER: Duration = Duration::from_secs(60);
/// Longest wait for something to appear on a page.
const APPEAR: Duration = Duration::from_secs(60);
/// Who runs the browser in place of root.
const NOBODY: u32 = 65534;

/// A browser with one tab.
pub(crate) struct Browser {
    child: Child,
    requests: ChildStdin,
    answers: Receiver<Value>,
    last: u64,
    session: String,
    /// What the browser told unasked since the last page was opened.
    pub(crate) events: Vec<Value>,
    home: tempfile::TempDir,
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("{}", std::fs::read_to_string(self.home.path().join("stderr.log")).unwrap_or_default());
        }
    }
}

/// Colours that the person prefers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    Light,
    Dark,
}

impl Browser {
    /// Starts one; nothing, with a message, where Chromium is not installed.
    pub(crate) fn start() -> Option<Self> {
        let there = Command::new("sh").args(["-c", "command -v chromium"]).stdout(Stdio::null()).status().unwrap();
        if !there.success() {
            mk_tests::skip("it needs chromium");
            return None;
        }
        let home = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        let script = "exec 3<&0 4>&1 </dev/null >/dev/null 2>\"$HOME/stderr.log\"; exec \"$@\"";
        command.args(["-c", script, "sh"]).env("HOME", home.path());
        if nix::unistd::geteuid().is_root() {
            std::os::unix::fs::chown(home.path(), Some(NOBODY), Some(NOBODY)).unwrap();
            command.args(["setpriv", &format!("--reuid={NOBODY}"), &format!("--regid={NOBODY}"), "--clear-groups"]);
        }
        command.arg("chromium").arg(format!("--user-data-dir={}", home.path().join("profile").display()));
        command.args(["--headless", "--disable-gpu", "--no-first-run", "--disable-background-networking"]);
        command.args(["--disable-component-update", "--disable-sync", "--remote-debugging-pipe", "about:blank"]);
        Some(Self::connect(command, home))
    }

    fn connect(mut command: Command, home: tempfile::TempDir) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (requests, replies) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (send, answers) = channel();
        std::thread::spawn(move || {
            for message in BufReader::new(replies).split(0).map_while(Result::ok) {
                if send.send(serde_json::from_slice(&message).unwrap()).is_err() {
                    break;
                }
            }
        });
        let mut browser = Self { child, requests, answers, last: 0, session: String::new(), events: Vec::new(), home };
        let target = browser.call("Target.createTarget", json!({"url": "about:blank"}))["targetId"].clone();
        let session = browser.call("Target.attachToTarget", json!({"targetId": target, "flatten": true}));
        browser.session = session["sessionId"].as_str().unwrap().to_owned();
        for domain in ["Page.enable", "Runtime.enable", "Log.enable", "Network.enable"] {
            browser.call(domain, json!({}));
        }
        browser
    }

    /// One call of the protocol; gives its result.
    pub(crate) fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.last += 1;
        let mut message = json!({"id": self.last, "method": method, "params": parameters});
        if !self.session.is_empty() {
            message["sessionId"] = json!(self.session);
        }
        let mut bytes = serde_json::to_vec(&message).unwrap();
        bytes.push(0);
        self.requests.write_all(&bytes).unwrap();
        self.requests.flush().unwrap();
        loop {
            let answer = self.answers.recv_timeout(ANSWER).unwrap_or_else(|e| panic!("{method}: {e}"));
            if answer["id"] == self.last {
                assert!(answer.get("error").is_none(), "{method}: {}", answer["error"]);
                return answer["result"].clone();
            }
            self.events.push(answer);
        }
    }

    /// Shows pages in a window of this size, in these colours, with scripts or without.
    pub(crate) fn set(&mut self, width: u32, height: u32, scheme: Scheme, scripts: bool) {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600});
        self.call("Emulation.setDeviceMetricsOverride", size);
        let value = if scheme == Scheme::Dark { "dark" } else { "light" };
        let media = json!({"features": [{"name": "prefers-color-scheme", "value": value}]});
        self.call("Emulation.setEmulatedMedia", media);
        self.call("Emulation.setScriptExecutionDisabled", json!({"value": !scripts}));
    }

    /// Opens a page and waits until it is loaded.
    pub(crate) fn open(&mut self, url: &str) {
        self.events.clear();
        let opened = self.call("Page.navigate", json!({"url": url}));
        assert!(opened.get("errorText").is_none(), "{url}: {opened}");
        self.loaded(url);
    }

    /// Presses the mouse on the element that an expression gives, as a person does, and waits for the page that it leads to.
    pub(crate) fn click(&mut self, element: &str) {
        let place = format!(
            "(() => {{ const e = {element}; e.scrollIntoView({{block: 'center'}}); const r = e.getBoundingClientRect();
             return [r.x + r.width / 2, r.y + r.height / 2]; }})()"
        );
        let at = self.value(&place);
        self.events.clear();
        for kind in ["mousePressed", "mouseReleased"] {
            let mouse = json!({"type": kind, "x": at[0], "y": at[1], "button": "left", "clickCount": 1});
            self.call("Input.dispatchMouseEvent", mouse);
        }
        self.loaded(element);
    }

    fn loaded(&mut self, what: &str) {
        let deadline = Instant::now() + APPEAR;
        while !self.events.iter().any(|e| e["method"] == "Page.loadEventFired") {
            let left = deadline.saturating_duration_since(Instant::now());
            self.events.push(self.answers.recv_timeout(left).unwrap_or_else(|e| panic!("{what}: {e}")));
        }
    }

    /// Value of an expression within the page.
    pub(crate) fn value(&mut self, expression: &str) -> Value {
        let parameters = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let answer = self.call("Runtime.evaluate", parameters);
        assert!(answer.get("exceptionDetails").is_none(), "{expression}: {}", answer["exceptionDetails"]);
        answer["result"]["value"].clone()
    }

    /// Waits until an expression within the page is true.
    pub(crate) fn wait(&mut self, expression: &str) {
        let deadline = Instant::now() + APPEAR;
        while self.value(expression) != true {
            let text = self.value("document.body.innerText");
            assert!(Instant::now() < deadline, "never true: {expression}\n{}", text.as_str().unwrap_or_default());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Keeps a picture of the whole page.
    pub(crate) fn picture(&mut self, file: &Path) {
        let taken = self.call("Page.captureScreenshot", json!({"format": "png", "captureBeyondViewport": true}));
        let png = base64::engine::general_purpose::STANDARD.decode(taken["data"].as_str().unwrap()).unwrap();
        std::fs::write(file, png).unwrap();
    }

    /// What went wrong on the page: errors on the console, exceptions, what the page's policy forbade, failed requests.
    pub(crate) fn complaints(&mut self) -> Vec<String> {
        // An answer comes after all events before it.
        self.call("Runtime.getIsolateId", json!({}));
        let wrong = |event: &&Value| match event["method"].as_str() {
            Some("Runtime.exceptionThrown" | "Network.loadingFailed") => true,
            Some("Runtime.consoleAPICalled") => event["params"]["type"] == "error",
            Some("Log.entryAdded") => event["params"]["entry"]["level"] == "error",
            _ => false,
        };
        self.events.iter().filter(wrong).map(Value::to_string).collect()
    }
}
