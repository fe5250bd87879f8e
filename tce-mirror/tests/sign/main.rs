//! `tce-mirror sign` and `verify` as processes, with keys of the real `minisign`, which judges the signatures too.

#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use mk_tests::web::{Answer, Server};
use tce_mirror::tcz::{self, Packing};
use tce_mirror::tree::Tree;

/// A mirror with a folder `17.x/x86_64/tcz`, and a pair of keys of `minisign`.
struct Place(tempfile::TempDir);

impl Place {
    /// `None` where there is no `minisign`.
    fn new() -> Option<Self> {
        if Command::new("minisign").arg("-v").output().is_err() {
            mk_tests::skip("there is no minisign (apt-get install minisign)");
            return None;
        }
        let place = Self(tempfile::tempdir().unwrap());
        fs::create_dir_all(place.folder()).unwrap();
        for name in ["a", "b"] {
            let mut tree = Tree::default();
            tree.file(&format!("usr/bin/{name}"), 0o755, name).unwrap();
            let bytes = tcz::write(&tree, Packing::TinyCore, 0).unwrap();
            fs::write(place.at(&format!("{name}.tcz")), bytes).unwrap();
        }
        fs::write(place.at("b.tcz.dep"), "a.tcz\nnet-KERNEL.tcz\n").unwrap();
        place.run("minisign", &["-G", "-W", "-p", "mk.pub", "-s", "mk.key"]);
        Some(place)
    }

    fn folder(&self) -> PathBuf {
        self.0.path().join("17.x/x86_64/tcz")
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }

    fn output(&self, program: &str, args: &[&str]) -> Output {
        Command::new(program).args(args).current_dir(self.0.path()).stdin(Stdio::null()).output().unwrap()
    }

    fn run(&self, program: &str, args: &[&str]) -> String {
        let output = self.output(program, args);
        assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn sign(&self, more: &[&str]) -> String {
        self.run(OWN, &[&["sign", "17.x/x86_64/tcz", "--key", "mk.key"], more].concat())
    }

    /// What `verify` says against this place.
    fn refused(&self, at: &str, key: &str, more: &[&str]) -> String {
        let output = self.output(OWN, &[&["verify", at, "--pubkey", key], more].concat());
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    }

    fn sequence(&self) -> u64 {
        let index: serde_json::Value = serde_json::from_slice(&fs::read(self.at("mk-index.json")).unwrap()).unwrap();
        index["sequence"].as_u64().unwrap()
    }
}

const OWN: &str = env!("CARGO_BIN_EXE_tce-mirror");
const FOLDER: &str = "17.x/x86_64/tcz";

#[test]
fn minisign_and_we_take_each_others_signatures() {
    let Some(place) = Place::new() else { return };
    let said = place.sign(&["--kernel", "6.1.0", "--days", "30"]);
    assert!(said.contains("signed 2 extensions") && said.contains("17.x/x86_64 and kernel 6.1.0"), "{said}");
    place.run("minisign", &["-V", "-H", "-p", "mk.pub", "-m", "17.x/x86_64/tcz/mk-index.json"]);
    let index = fs::read_to_string(place.at("mk-index.json")).unwrap();
    assert!(index.contains("\"net-KERNEL.tcz\"") && index.contains("\"expires\""), "{index}");
    assert!(place.at("a.tcz.md5.txt").exists(), "the lists are written too");
    // The same index, signed by the other program.
    place.run("minisign", &["-S", "-s", "mk.key", "-m", "17.x/x86_64/tcz/mk-index.json"]);
    place.run(OWN, &["verify", FOLDER, "--pubkey", "mk.pub", "--kernel", "6.1.0"]);
    // Numbers rise, also in the same second, and where all was lost.
    let first = place.sequence();
    place.sign(&[]);
    place.sign(&[]);
    assert!(place.sequence() >= first + 2);
    fs::remove_file(place.at("mk-index.json")).unwrap();
    std::thread::sleep(std::time::Duration::from_secs(2));
    place.sign(&[]);
    assert!(place.sequence() >= first + 2);
}

#[test]
fn what_is_not_as_it_was_signed_is_named() {
    let Some(place) = Place::new() else { return };
    let unsigned = place.refused(FOLDER, "mk.pub", &[]);
    assert!(unsigned.contains("is it signed?"), "{unsigned}");
    place.sign(&["--kernel", "6.1.0"]);
    let wrong = place.refused(FOLDER, "mk.pub", &["--kernel", "6.2.0"]);
    assert!(wrong.contains("is for the kernel 6.1.0, and 6.2.0"), "{wrong}");
    place.run("minisign", &["-G", "-W", "-p", "other.pub", "-s", "other.key"]);
    let unknown = place.refused(FOLDER, "other.pub", &[]);
    assert!(unknown.contains("signed by a key"), "{unknown}");
    fs::write(place.at("c.tcz"), "x").unwrap();
    let output = place.output(OWN, &["verify", FOLDER, "--pubkey", "mk.pub"]);
    assert!(output.status.success() && String::from_utf8_lossy(&output.stderr).contains("c.tcz is not in the index"));
    fs::write(place.at("a.tcz"), "swapped").unwrap();
    let swapped = place.refused(FOLDER, "mk.pub", &[]);
    assert!(swapped.contains("a.tcz has 7 bytes") && !swapped.contains("b.tcz"), "{swapped}");
    let bytes = fs::read_to_string(place.at("mk-index.json")).unwrap().replace("6.1.0", "6.2.0");
    fs::write(place.at("mk-index.json"), bytes).unwrap();
    let changed = place.refused(FOLDER, "mk.pub", &[]);
    assert!(changed.contains("changed after it was signed"), "{changed}");
}

#[test]
fn a_mirror_at_a_url_is_verified_too() {
    let Some(place) = Place::new() else { return };
    place.sign(&[]);
    let server = Server::start();
    for entry in fs::read_dir(place.folder()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        server.put(&format!("/{name}"), Answer::ok(fs::read(&path).unwrap()));
    }
    let said = place.run(OWN, &["verify", &server.url(), "--pubkey", "mk.pub"]);
    assert!(said.contains("2 extensions are as signed"), "{said}");
    let other = fs::read(place.at("a.tcz")).unwrap();
    let md5 = fs::read_to_string(place.at("a.tcz.md5.txt")).unwrap().replace("a.tcz", "b.tcz");
    server.put("/b.tcz", Answer::ok(other));
    server.put("/b.tcz.md5.txt", Answer::ok(md5));
    let swapped = place.refused(&server.url(), "mk.pub", &[]);
    assert!(swapped.contains("b.tcz has ") && swapped.contains("the index says"), "{swapped}");
}

#[test]
fn a_key_or_a_folder_that_will_not_do_is_named() {
    let Some(place) = Place::new() else { return };
    let fails = |args: &[&str]| {
        let output = place.output(OWN, args);
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    let public = fails(&["sign", FOLDER, "--key", "mk.pub"]);
    assert!(public.contains("mk.pub is no secret key of minisign"), "{public}");
    let whole = fs::read_to_string(place.0.path().join("mk.key")).unwrap();
    // A letter within the secret half.
    let at = whole.find('\n').unwrap() + 90;
    let other = if whole[at..].starts_with('A') { "B" } else { "A" };
    fs::write(place.0.path().join("damaged.key"), format!("{}{other}{}", &whole[..at], &whole[at + 1..])).unwrap();
    let damaged = fails(&["sign", FOLDER, "--key", "damaged.key"]);
    assert!(damaged.contains("the secret key is damaged") && !place.at("mk-index.json").exists(), "{damaged}");
    fs::create_dir(place.0.path().join("flat")).unwrap();
    fs::copy(place.at("a.tcz"), place.0.path().join("flat/a.tcz")).unwrap();
    let flat = fails(&["sign", "flat", "--key", "mk.key"]);
    assert!(flat.contains("does not end in RELEASE/ARCH/tcz"), "{flat}");
    place.run(OWN, &["sign", "flat", "--key", "mk.key", "--repository", "17.x/x86"]);
    place.run(OWN, &["verify", "flat", "--pubkey", "mk.pub"]);
    fs::write(place.at("b.tcz.dep"), [0xff, b'\n']).unwrap();
    let unread = fails(&["sign", FOLDER, "--key", "mk.key"]);
    assert!(unread.contains("b.tcz.dep; mend it") && !place.at("mk-index.json").exists(), "{unread}");
    fs::remove_file(place.at("b.tcz.dep")).unwrap();
    fs::create_dir(place.at("mk-index.json")).unwrap();
    let former = fails(&["sign", FOLDER, "--key", "mk.key"]);
    assert!(former.contains("cannot read 17.x/x86_64/tcz/mk-index.json"), "{former}");
}
