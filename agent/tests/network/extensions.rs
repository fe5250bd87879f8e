//! A pushed mirror: the check-in takes it up, the unit `ext` loads from it and from the image, and whatever is wrong
//! with it is told by name while the check-ins go on. Real squashfs on real loop devices; the test stands in for the
//! supervisor.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::path::Path;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tce_mirror::checksum::{hex, md5};

use crate::sandbox::{Place, eventually, must, possible};
use crate::server::{Seen, Server, machine, none, say};

pub(crate) const TCZ: &str = "/tc/17.x/x86_64/tcz";

pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex(ring::digest::digest(&ring::digest::SHA256, bytes).as_ref())
}

/// An extension with a program that says its name, and a script that has it say so and then ends with `status`.
pub(crate) fn extension(name: &str, status: u8) -> Vec<u8> {
    scripted(name, &format!("say-{name} >> /run/said\nexit {status}"))
}

/// An extension with a program that says its name, and this script.
fn scripted(name: &str, script: &str) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let put = |path: &str, text: &str| {
        let path = dir.path().join("tree").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    put(&format!("usr/local/bin/say-{name}"), &format!("#!/bin/sh\necho {name}\n"));
    put(&format!("usr/local/tce.installed/{name}"), &format!("#!/bin/sh\n{script}\n"));
    let at = dir.path().display();
    must(&format!("chmod -R 755 {at}/tree; mksquashfs {at}/tree {at}/x.tcz -all-root -b 4096 -quiet -no-progress"));
    fs::read(dir.path().join("x.tcz")).unwrap()
}

/// What a file has that never ends.
pub(crate) const ENDLESS: &[u8] = b"and so on";

/// Files of a mirror by path, served on loopback.
#[derive(Clone, Default)]
pub(crate) struct Mirror(Arc<Mutex<BTreeMap<String, Vec<u8>>>>);

impl Mirror {
    pub(crate) fn put(&self, path: &str, bytes: &[u8]) {
        self.0.lock().unwrap().insert(path.to_owned(), bytes.to_owned());
    }

    /// Bytes that are sent once, and then those that are there.
    pub(crate) fn put_once(&self, path: &str, bytes: &[u8]) {
        self.put(&once(path), bytes);
    }

    /// An extension as mirrors have it.
    pub(crate) fn add(&self, name: &str, bytes: &[u8], dep: &str) {
        self.put(&format!("{TCZ}/{name}"), bytes);
        self.put(&format!("{TCZ}/{name}.md5.txt"), format!("{}  {name}\n", hex(&md5(bytes))).as_bytes());
        if !dep.is_empty() {
            self.put(&format!("{TCZ}/{name}.dep"), dep.as_bytes());
        }
    }

    pub(crate) fn serve(&self) -> String {
        let files = self.clone();
        let server = Server::answering(TcpListener::bind("127.0.0.1:0").unwrap(), move |request, mut stream| {
            let path = request.line.split(' ').nth(1).unwrap();
            let mut all = files.0.lock().unwrap();
            let found = all.remove(&once(path)).or_else(|| all.get(path).cloned());
            drop(all);
            if found.as_deref() == Some(ENDLESS) {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
                while stream.write_all(&[b'x'; 65536]).is_ok() {}
                return;
            }
            let (status, body) = found.map_or(("404 Not Found", Vec::new()), |body| ("200 OK", body));
            let head = format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
            let _ = stream.write_all(&[head.as_bytes(), &body].concat());
        });
        format!("{}/tc", server.url())
    }
}

/// The key of what is sent once, which no path is.
fn once(path: &str) -> String {
    format!("once {path}")
}

/// A machine, and a server that pushes what it is told to.
pub(crate) struct Node {
    pub(crate) place: Place,
    pub(crate) server: Server,
    pub(crate) push: Arc<Mutex<Value>>,
}

impl Node {
    /// With these built-in extensions, of which none is loaded at boot.
    pub(crate) fn new(built_in: &[(&str, &[u8])]) -> Self {
        let push = Arc::new(Mutex::new(json!({})));
        let pushed = Arc::clone(&push);
        let server = Server::answering(TcpListener::bind("127.0.0.1:0").unwrap(), move |_, stream| {
            say(stream, &none(&pushed.lock().unwrap()).to_string());
        });
        let place = machine(&[(&server.url(), false)]).with_folders(&["opt", "usr/local", "tmp"]);
        let put = |path: &str, bytes: &[u8]| {
            let path = place.path(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        };
        for (name, bytes) in built_in {
            put(&format!("tmp/builtin/optional/{name}"), bytes);
        }
        let digests: BTreeMap<&str, String> = built_in.iter().map(|(name, bytes)| (*name, sha256(bytes))).collect();
        put("etc/razor-mk/image.json", json!({"kernel": "6.1.0", "extensions": digests}).to_string().as_bytes());
        Self { place: place.with_lasting_mounts(), server, push }
    }

    /// Pushes a configuration and waits until it is a candidate.
    fn offer(&self, version: u64, config: &Value) {
        *self.push.lock().unwrap() = json!({"config_version": version, "config": config});
        eventually("candidate", || (self.place.state("config")["candidate"]["version"] == version).then_some(()));
    }

    /// Pushes a configuration and lets the unit `ext` run once that waits for it; gives the state of the configuration
    /// as the server is told it then.
    pub(crate) fn push(&self, version: u64, config: &Value) -> Value {
        self.offer(version, config);
        self.place.prints("run ext");
        self.told(|state| state["version"] == version || state["refused"]["version"] == version)
    }

    /// The state of the configuration once the server is told one like this.
    pub(crate) fn told(&self, like: impl Fn(&Value) -> bool) -> Value {
        eventually("configuration's state", || {
            let seen = self.server.seen.lock().unwrap();
            seen.iter().rev().take(3).map(|s| s.json()["config"].clone()).find(&like)
        })
    }

    /// Names of the files that were fetched and kept, in order.
    pub(crate) fn downloads(&self) -> Vec<String> {
        let files = fs::read_dir(self.place.path("tmp/tce/optional")).unwrap();
        let mut names: Vec<String> = files.map(|f| f.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// What was said by the scripts of extensions.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(self.place.path("run/said")).unwrap_or_default()
    }

    pub(crate) fn is_marked(&self, name: &str) -> bool {
        self.place.path(&format!("usr/local/tce.installed/{name}")).symlink_metadata().is_ok()
    }
}

pub(crate) fn can_mount() -> bool {
    let there = Path::new("/dev/loop-control").exists();
    if !there {
        mk_tests::skip("extensions are mounted by loop devices");
    }
    there && possible(&["unshare", "mksquashfs"])
}

#[test]
fn a_pushed_mirror_is_loaded_from_and_so_is_the_image() {
    if !can_mount() {
        return;
    }
    let [inside, outside, below] = ["inside", "outside", "below"].map(|name| extension(name, 0));
    let node = Node::new(&[("inside.tcz", &inside)]);
    let mirror = Mirror::default();
    mirror.add("outside.tcz", &outside, "inside.tcz\r\n\r\nbelow-KERNEL.tcz\r\n");
    mirror.add("below-6.1.0.tcz", &extension("below-6.1.0", 0), "outside.tcz\n");
    mirror.add("unasked.tcz", &below, "");
    mirror.put("/tc/tce-install-list", br#"["outside.tcz"]"#);
    let url = mirror.serve();
    let digests: BTreeMap<String, String> = ["outside.tcz", "below-6.1.0.tcz"]
        .map(|name| (name.to_owned(), sha256(&mirror.0.lock().unwrap()[&format!("{TCZ}/{name}")])))
        .into();
    let _unit = node.place.start("checkin");
    let config = json!({"mk_tce_mirror_uri": url, "mk_tce_sha256": digests, "mk_checkin_interval": 1});
    let state = node.push(1, &config);
    assert_eq!(state, json!({"version": 1}));
    assert_eq!(node.said(), "inside\nbelow-6.1.0\noutside\n", "in order of need");
    assert!(["inside", "outside", "below-6.1.0"].iter().all(|name| node.is_marked(name)) && !node.is_marked("unasked"));
    assert_eq!(fs::read_to_string(node.place.path("opt/tcemirror")).unwrap(), format!("{url}\n"));
    assert_eq!(fs::read_link(node.place.path("etc/sysconfig/tcedir")).unwrap(), Path::new("/tmp/tce"));
    let told = eventually("extensions", || {
        let last = node.server.seen.lock().unwrap().last().map(|s| s.json()["agent"]["extensions"].clone())?;
        (last.as_array()?.len() == 3).then_some(last)
    });
    assert!(
        told.as_array().unwrap().iter().all(|e| e["error"].is_null() && e["sha256"].as_str().unwrap().len() == 64),
        "{told}"
    );

    node.place.prints("run ext");
    assert_eq!(node.said(), "inside\nbelow-6.1.0\noutside\n", "nothing is done twice");
    // Back to the mirror within the image.
    let state = node.push(2, &json!({}));
    assert_eq!(state, json!({"version": 2}));
    let internal = fs::read_to_string(node.place.path("opt/tcemirror")).unwrap();
    assert_eq!(internal, "http://localhost:2157/tinycorelinux\n");
}

#[test]
fn both_lists_are_read_before_anything_is_loaded() {
    if !can_mount() {
        return;
    }
    let (node, mirror, good) = (Node::new(&[]), Mirror::default(), extension("good", 0));
    mirror.add("good.tcz", &good, "");
    mirror.put("/tc/tce-install-list", b"good.tcz\n");
    mirror.put("/tc/kmod-install-list", b"<html>log in</html>");
    let config = json!({"mk_tce_mirror_uri": mirror.serve(), "mk_tce_sha256": {"good.tcz": sha256(&good)}});
    let _unit = node.place.start("checkin");
    let state = node.push(1, &config);
    let problem = state["refused"]["problem"]["error"].as_str().unwrap();
    assert!(problem.contains("kmod-install-list") && problem.contains("web page"), "{problem}");
    assert!(node.said().is_empty() && !node.is_marked("good"), "the machine is as it was before");
    mirror.put("/tc/kmod-install-list", b"");
    assert_eq!(node.push(2, &config), json!({"version": 2}));
    assert_eq!(node.said(), "good\n");
}

#[test]
fn an_extension_of_the_image_is_loaded_by_hand() {
    if !can_mount() {
        return;
    }
    let node = Node::new(&[("inside.tcz", &extension("inside", 0)), ("cut.tcz", &extension("cut", 0)[..200])]);
    assert_eq!(node.place.prints("tce load inside"), "loaded inside.tcz\n");
    assert_eq!(node.said(), "inside\n");
    for (name, words) in [
        ("cut", "it is cut"),
        ("other", "other.tcz is refused: the image does not have it"),
        ("../x", "no extension's name"),
    ] {
        let complaint = node.place.complains(&format!("tce load {name}"));
        assert!(complaint.contains(words), "{name}: {complaint}");
    }
}

#[test]
fn an_early_extension_that_is_not_the_manifests_is_reported() {
    if !can_mount() {
        return;
    }
    let (early, whole) = (extension("early", 0), extension("whole", 0));
    let node = Node::new(&[("early.tcz", &early), ("whole.tcz", &whole)]);
    let digests = json!({"early.tcz": "0".repeat(64), "whole.tcz": sha256(&whole)});
    let image = json!({"kernel": "6.1.0", "early": ["early.tcz", "whole.tcz"], "extensions": digests});
    fs::write(node.place.path("etc/razor-mk/image.json"), image.to_string()).unwrap();
    let mounted = |name: &str| json!({"name": name, "sha256": digests[name]});
    let devices = json!({"settled": true, "loaded": [], "failed": {}, "findings": [],
        "extensions": [mounted("early.tcz"), mounted("whole.tcz")]});
    node.place.publish("devices", &devices);
    node.place.prints("run ext");
    let found = node.place.state("ext")["extensions"].clone();
    // As it is when there is a configuration.
    node.place.prints("run ext");
    assert_eq!(node.place.state("ext")["extensions"], found, "it is reported for as long as the machine runs");
    assert_eq!((&found[0]["sha256"], &found[1]["sha256"]), (&json!(sha256(&early)), &json!(sha256(&whole))), "{found}");
    let why = found[0]["error"].as_str().unwrap();
    assert!(why.contains("early.tcz is loaded") && why.contains(&"0".repeat(64)), "{why}");
    assert_eq!(found[1]["error"], Value::Null);
}

#[test]
fn an_operators_command_loads_an_extension_once_or_says_why_not() {
    if !can_mount() {
        return;
    }
    let slow = scripted("slow", "say-slow >> /run/said; while [ ! -e /run/go ]; do sleep 0.1; done");
    let node = Node::new(&[("inside.tcz", &extension("inside", 0)), ("slow.tcz", &slow)]);
    let tell = |commands: Value| *node.push.lock().unwrap() = json!({"commands": commands});
    let load = |id: u64, name: &str| json!({"id": id, "kind": "load-extension", "args": {"extension": name}});
    let result = |id: u64| {
        eventually("the result", || {
            let seen = node.server.seen.lock().unwrap();
            let bodies = seen.iter().rev().filter(|s| s.line.starts_with("POST ")).map(Seen::json);
            bodies.flat_map(|body| body["results"].as_array().cloned().unwrap_or_default()).find(|r| r["id"] == id)
        })
    };
    let unit = node.place.start("checkin");
    tell(json!([load(1, "inside")]));
    assert_eq!(result(1), json!({"id": 1, "outcome": "done", "detail": "loaded inside.tcz"}));
    assert_eq!((node.said().as_str(), node.is_marked("inside")), ("inside\n", true));
    let mounts = || node.place.prints_of("cat /proc/mounts");
    assert!(mounts().contains("/tmp/tcloop/inside squashfs ro"), "{}", mounts());
    tell(json!([load(2, "other")]));
    assert_eq!(result(2)["outcome"], "failed");
    assert!(result(2)["detail"].as_str().unwrap().contains("the image does not have it"), "{}", result(2));
    assert!(!mounts().contains("other") && !node.is_marked("other"));

    // The unit dies while the script runs; the server goes on telling the command.
    tell(json!([load(3, "slow")]));
    eventually("the script", || node.said().ends_with("slow\n").then_some(()));
    drop(unit);
    let _unit = node.place.start("checkin");
    assert!(result(3)["detail"].as_str().unwrap().starts_with("it was interrupted"), "{}", result(3));
    fs::write(node.place.path("run/go"), "").unwrap();
    std::thread::sleep(std::time::Duration::from_secs(3));
    assert_eq!(node.said(), "inside\nslow\n", "it is not loaded a second time");
    // The operator gives it again.
    tell(json!([load(4, "slow")]));
    assert_eq!(result(4), json!({"id": 4, "outcome": "done", "detail": "loaded slow.tcz"}));
    assert_eq!(node.said(), "inside\nslow\nslow\n");
}

/// A mirror of which only `good.tcz` can be loaded, and the digests that a server would have taken of it before it went
/// wrong.
fn bad_mirror() -> (Mirror, BTreeMap<&'static str, String>) {
    let mirror = Mirror::default();
    let (good, bad) = (extension("good", 0), extension("ends", 3));
    let mut digests: BTreeMap<&str, String> = BTreeMap::new();
    for (name, bytes, dep) in [
        ("good.tcz", &good[..], ""),
        ("changed.tcz", &good, ""),
        ("needy.tcz", &good, "missing.tcz\n"),
        ("asks.tcz", &good, "unlisted.tcz\n"),
        ("unlisted.tcz", &good, ""),
        ("damaged.tcz", &good, ""),
        ("cut.tcz", &good[..200], ""),
        ("rubbish.tcz", &[b'x'; 4096], ""),
        ("ends.tcz", &bad, ""),
    ] {
        mirror.add(name, bytes, dep);
        digests.insert(name, sha256(bytes));
    }
    digests.remove("unlisted.tcz");
    digests.insert("missing.tcz", sha256(b"missing"));
    mirror.add("changed.tcz", &bad, "");
    mirror.put(&format!("{TCZ}/damaged.tcz"), &bad);
    mirror.put("/tc/empty", b"");
    (mirror, digests)
}

#[test]
fn what_is_wrong_with_a_mirror_is_told_by_name_and_the_one_before_stays() {
    if !can_mount() {
        return;
    }
    let node = Node::new(&[]);
    let (mirror, digests) = bad_mirror();
    let url = mirror.serve();
    let away = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let _unit = node.place.start("checkin");
    node.push(1, &json!({"mk_tce_install_list_uri": format!("{url}/empty")}));
    let with = |uri: &str| json!({"mk_tce_mirror_uri": uri, "mk_tce_sha256": digests, "mk_checkin_interval": 7});
    for (version, (list, uri, words)) in (2..).zip([
        (r#"["good.tcz", "changed.tcz"]"#, url.as_str(), vec!["changed.tcz is refused", "SHA-256"]),
        ("unlisted.tcz\n", &url, vec!["unlisted.tcz is refused", "digests"]),
        ("asks.tcz\n", &url, vec!["unlisted.tcz (needed by asks.tcz) is refused"]),
        ("needy.tcz\n", &url, vec!["missing.tcz (needed by needy.tcz) is refused", "is not there"]),
        ("damaged.tcz\n", &url, vec!["damaged.tcz is refused", "MD5"]),
        ("cut.tcz\n", &url, vec!["cut.tcz", "it is cut"]),
        ("rubbish.tcz\n", &url, vec!["rubbish.tcz", "no squashfs"]),
        ("ends.tcz\n", &url, vec!["ends.tcz", "exit status: 3"]),
        ("../../good\n", &url, vec!["no extension's name"]),
        ("<html>log in</html>", &url, vec!["web page", &url]),
        ("", &format!("http://{away}/tc"), vec![&away.to_string(), "cannot be used"]),
        ("ends.tcz\n", &url, vec!["ends.tcz", "exit status: 3"]),
    ]) {
        mirror.put("/tc/tce-install-list", list.as_bytes());
        let state = node.push(version, &with(uri));
        let problem = &state["refused"]["problem"];
        let text = problem["error"].as_str().unwrap_or_default();
        assert!(words.iter().all(|word| text.contains(word)), "{list}: {words:?}: {state}");
        assert!(problem["remedy"].as_str().unwrap().contains("config set"), "{state}");
        assert_eq!(state["version"], 1, "{list}: the one before stays: {state}");
        assert_eq!(node.place.state("config")["config"]["mk_checkin_interval"], Value::Null, "as a whole");
        let internal = fs::read_to_string(node.place.path("opt/tcemirror")).unwrap();
        assert_eq!(internal, "http://localhost:2157/tinycorelinux\n", "{list}");
    }
    assert!(!node.is_marked("good"), "none is loaded where one is refused");
    assert_eq!(node.downloads(), ["ends.tcz", "ends.tcz.dep", "ends.tcz.md5.txt"], "only what is mounted takes memory");
    assert!(node.place.log("checkin").contains("is refused"), "{}", node.place.log("checkin"));

    mirror.put("/tc/tce-install-list", b"good.tcz\n");
    assert_eq!(node.push(99, &with(&url)), json!({"version": 99}), "a mended mirror is taken");
    assert_eq!(node.said(), "ends\nends\ngood\n", "a failed one is tried again, with all steps");
    let extensions = node.place.state("ext")["extensions"].clone();
    assert!(extensions.as_array().unwrap().iter().all(|e| e["error"].is_null()), "old trouble is over: {extensions}");
}

#[test]
fn a_loader_that_dies_half_way_begins_that_extension_again() {
    if !can_mount() {
        return;
    }
    let script = "say-half >> /run/said; [ -e /run/died ] && exit 0; : > /run/died; kill -KILL $PPID";
    let (half, bad, mended) = (scripted("half", script), extension("ends", 3), extension("ends", 0));
    let (node, mirror) = (Node::new(&[]), Mirror::default());
    mirror.add("half.tcz", &half, "");
    mirror.add("ends.tcz", &bad, "");
    mirror.put("/tc/tce-install-list", b"half.tcz\nends.tcz\n");
    let url = mirror.serve();
    let with = |ends: &[u8]| json!({"mk_tce_mirror_uri": url, "mk_tce_sha256": {"half.tcz": sha256(&half), "ends.tcz": sha256(ends)}});
    let _unit = node.place.start("checkin");
    node.offer(1, &with(&bad));
    node.place.prints("run ext");
    assert_eq!(
        (node.said().as_str(), node.is_marked("half")),
        ("half\n", true),
        "it is marked, and its script is cut off"
    );
    let state = node.push(1, &with(&bad));
    assert!(state["refused"]["problem"]["error"].as_str().unwrap().contains("ends.tcz"), "{state}");
    assert_eq!(node.said(), "half\nhalf\nends\n", "the mark alone does not say that it is loaded");

    // The operator mends the one that failed: it is the new one that counts, not the one that is mounted still.
    mirror.add("ends.tcz", &mended, "");
    assert_eq!(node.push(2, &with(&mended)), json!({"version": 2}));
    assert_eq!(node.said(), "half\nhalf\nends\nends\n", "and what is loaded is left alone");
}

#[test]
fn a_configuration_that_kills_the_loader_is_refused_by_name_after_two_starts() {
    if !can_mount() {
        return;
    }
    let kills = scripted("kills", "say-kills >> /run/said; kill -KILL $PPID");
    let (node, mirror) = (Node::new(&[]), Mirror::default());
    mirror.add("kills.tcz", &kills, "");
    mirror.put("/tc/tce-install-list", b"kills.tcz\n");
    let config = json!({"mk_tce_mirror_uri": mirror.serve(), "mk_tce_sha256": {"kills.tcz": sha256(&kills)}});
    let _unit = node.place.start("checkin");
    node.offer(3, &config);
    for starts in 1..=2 {
        node.place.prints("run ext");
        assert_eq!(node.said(), "kills\n".repeat(starts));
    }
    let state = node.push(3, &config);
    let problem = state["refused"]["problem"]["error"].as_str().unwrap();
    assert!(
        problem.contains("began configuration 3 2 times") && problem.contains("kills.tcz was being loaded"),
        "{problem}"
    );
    assert_eq!(node.said(), "kills\n".repeat(2), "it is not begun a third time");
    // Said again by the operator, it is tried again.
    node.offer(4, &config);
    node.place.prints("run ext");
    assert_eq!(node.said(), "kills\n".repeat(3));
}
