//! Copies from a mirror that behaves, and from mirrors that do not: over real connections.

#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

use std::fs;
use std::net::TcpListener;
use std::path::Path;

use mk_tests::web::{Answer, Server};
use tce_mirror::checksum::{hex, md5};
use tce_mirror::fetch::{Mirror, first};
use tce_mirror::sync::{self, Copy, Missing, Repository};

const FOLDER: &str = "/17.x/x86_64/tcz";
const KERNEL: &str = "6.18.2-tinycore64";

fn repository() -> Repository {
    Repository { release: "17.x".into(), arch: "x86_64".into(), kernel: KERNEL.into() }
}

fn content(name: &str) -> Vec<u8> {
    // Long enough to be cut in the middle.
    format!("squashfs of {name} ").repeat(20_000).into_bytes()
}

fn checksum(name: &str) -> String {
    format!("{}  {name}\n", hex(&md5(&content(name))))
}

/// Puts an extension as Tiny Core's mirrors have it.
fn put(server: &Server, name: &str, depends: Option<&str>) {
    let path = format!("{FOLDER}/{name}");
    server.put(&path, Answer::ok(content(name)));
    server.put(&format!("{path}.md5.txt"), Answer::ok(checksum(name)));
    server.put(&format!("{path}.info"), Answer::ok(format!("Title: {name}\n")));
    if let Some(text) = depends {
        server.put(&format!("{path}.dep"), Answer::ok(text));
    }
}

fn run(servers: &[&Server], wanted: &[&str], out: &Path) -> anyhow::Result<Copy> {
    run_saying(servers, wanted, out, |_| ())
}

fn run_saying(servers: &[&Server], wanted: &[&str], out: &Path, said: impl FnMut(&str)) -> anyhow::Result<Copy> {
    let mirrors: Vec<Mirror> = servers.iter().map(|s| Mirror::new(&s.url()).unwrap()).collect();
    let wanted: Vec<String> = wanted.iter().map(|&w| w.to_owned()).collect();
    sync::run(&mirrors, &repository(), &wanted, out, said)
}

fn read(out: &Path, name: &str) -> Vec<u8> {
    fs::read(out.join(FOLDER.trim_start_matches('/')).join(name)).unwrap()
}

/// Everything in the copy's folder, hidden files too.
fn names(out: &Path) -> Vec<String> {
    let entries = fs::read_dir(out.join(FOLDER.trim_start_matches('/'))).unwrap();
    let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn the_closure_comes_in_order_with_its_files_and_only_once() {
    let (server, out) = (Server::start(), tempfile::tempdir().unwrap());
    put(&server, "bash.tcz", Some("readline.tcz\r\n\r\nscsi-KERNEL.tcz\r\n"));
    put(&server, "readline.tcz", Some("ncurses.tcz\n"));
    // A ring, as there are some on the real mirrors.
    put(&server, "ncurses.tcz", Some("readline.tcz\n"));
    put(&server, "scsi-6.18.2-tinycore64.tcz", None);
    let copy = run(&[&server], &["bash.tcz"], out.path()).unwrap();
    assert_eq!(copy.order, ["ncurses.tcz", "readline.tcz", "scsi-6.18.2-tinycore64.tcz", "bash.tcz"]);
    assert!(copy.missing.is_empty() && copy.files.values().all(|f| f.fetched));
    assert_eq!(read(out.path(), "bash.tcz"), content("bash.tcz"));
    assert_eq!(read(out.path(), "bash.tcz.md5.txt"), checksum("bash.tcz").into_bytes());
    assert!(!names(out.path()).iter().any(|n| n.starts_with('.') || n == "scsi-6.18.2-tinycore64.tcz.dep"));

    let before = server.requests(&format!("{FOLDER}/bash.tcz"));
    let again = run(&[&server], &["bash.tcz"], out.path()).unwrap();
    assert!(again.files.values().all(|f| !f.fetched), "what is there is not fetched again");
    assert_eq!(server.requests(&format!("{FOLDER}/bash.tcz")), before);
}

#[test]
fn what_no_mirror_has_is_told_with_who_needs_it() {
    let (server, out) = (Server::start(), tempfile::tempdir().unwrap());
    put(&server, "a.tcz", Some("gone.tcz\nb.tcz\n"));
    put(&server, "b.tcz", None);
    let copy = run(&[&server], &["a.tcz"], out.path()).unwrap();
    assert_eq!(copy.order, ["b.tcz", "a.tcz"]);
    let missing = Missing { needed_by: Some("a.tcz".to_owned()), unsure: Vec::new() };
    assert_eq!(copy.missing.into_iter().collect::<Vec<_>>(), [("gone.tcz".to_owned(), missing)]);
}

#[test]
fn a_mirror_that_fails_is_named_although_another_says_that_it_has_nothing() {
    let (broken, empty, out) = (Server::start(), Server::start(), tempfile::tempdir().unwrap());
    put(&broken, "a.tcz", None);
    broken.put(&format!("{FOLDER}/a.tcz"), Answer::status(503));
    let copy = run(&[&broken, &empty], &["a.tcz"], out.path()).unwrap();
    let [unsure] = copy.missing["a.tcz"].unsure.as_slice() else { panic!("{:?}", copy.missing) };
    assert!(unsure.contains(&broken.url()) && unsure.contains("503"), "{unsure}");
    let command = std::process::Command::new(env!("CARGO_BIN_EXE_tce-mirror"))
        .args(["sync", "--from", &broken.url(), "--from", &empty.url(), "--kernel", KERNEL, "a.tcz", "--out"])
        .arg(out.path())
        .output()
        .unwrap();
    let error = String::from_utf8(command.stderr).unwrap();
    assert!(!command.status.success() && error.contains("503") && error.contains(&broken.url()), "{error}");
    assert!(!error.contains("release"), "the release is not what is wrong: {error}");
}

#[test]
fn a_download_that_breaks_off_goes_on_where_it_stopped() {
    let (server, out) = (Server::start(), tempfile::tempdir().unwrap());
    put(&server, "a.tcz", None);
    let path = format!("{FOLDER}/a.tcz");
    server.once(&path, Answer::ok(content("a.tcz")).cut_at(100_000));
    run(&[&server], &["a.tcz"], out.path()).unwrap();
    assert_eq!(read(out.path(), "a.tcz"), content("a.tcz"));
    let ranges = server.ranges(&path);
    assert_eq!(ranges.len(), 2, "{ranges:?}");
    assert!(ranges[1].starts_with("bytes=") && ranges[1] != "bytes=0-", "{ranges:?}");
}

#[test]
fn a_mirror_that_ignores_ranges_sends_the_file_anew() {
    let (server, out) = (Server::start(), tempfile::tempdir().unwrap());
    put(&server, "a.tcz", None);
    let path = format!("{FOLDER}/a.tcz");
    server.put(&path, Answer::ok(content("a.tcz")).without_ranges());
    server.once(&path, Answer::ok(content("a.tcz")).cut_at(100_000));
    run(&[&server], &["a.tcz"], out.path()).unwrap();
    assert_eq!(read(out.path(), "a.tcz"), content("a.tcz"));
}

#[test]
fn the_part_of_an_older_file_is_not_mixed_into_the_new_one() {
    let (server, out) = (Server::start(), tempfile::tempdir().unwrap());
    put(&server, "a.tcz", None);
    let place = out.path().join(FOLDER.trim_start_matches('/'));
    fs::create_dir_all(&place).unwrap();
    fs::write(place.join(".a.tcz.part"), "the beginning of another file").unwrap();
    run(&[&server], &["a.tcz"], out.path()).unwrap();
    assert_eq!(read(out.path(), "a.tcz"), content("a.tcz"));
    // One that is longer than the file: the mirror refuses the range.
    fs::write(place.join(".a.tcz.part"), vec![0; 1_000_000]).unwrap();
    fs::remove_file(place.join("a.tcz")).unwrap();
    run(&[&server], &["a.tcz"], out.path()).unwrap();
    assert_eq!(read(out.path(), "a.tcz"), content("a.tcz"));
}

#[test]
fn a_mirror_that_was_updated_between_checksum_and_file_is_asked_again() {
    let (server, out) = (Server::start(), tempfile::tempdir().unwrap());
    put(&server, "a.tcz", None);
    server.once(&format!("{FOLDER}/a.tcz.md5.txt"), Answer::ok("0123456789abcdef0123456789abcdef  a.tcz\n"));
    run(&[&server], &["a.tcz"], out.path()).unwrap();
    assert_eq!(read(out.path(), "a.tcz"), content("a.tcz"));
}

/// A mirror's lie and what the message must say.
fn refused(lie: impl FnOnce(&Server), says: &[&str]) {
    let (server, out) = (Server::start(), tempfile::tempdir().unwrap());
    put(&server, "a.tcz", Some("b.tcz\n"));
    put(&server, "b.tcz", None);
    lie(&server);
    let error = format!("{:#}", run(&[&server], &["a.tcz"], out.path()).unwrap_err());
    for word in says.iter().copied().chain([server.url().as_str()]) {
        assert!(error.contains(word), "{word:?} is not in: {error}");
    }
    assert!(!names(out.path()).contains(&"b.tcz".to_owned()), "nothing unverified is at its place");
    // Another mirror that is right saves the copy.
    let good = Server::start();
    put(&good, "a.tcz", Some("b.tcz\n"));
    put(&good, "b.tcz", None);
    let mut said = String::new();
    let copy = run_saying(&[&server, &good], &["a.tcz"], out.path(), |line| said += &format!("{line}\n")).unwrap();
    assert_eq!(copy.order, ["b.tcz", "a.tcz"]);
    assert_eq!(read(out.path(), "b.tcz"), content("b.tcz"));
    // It is named all the same, with what is wrong with it.
    let warning = said.lines().find(|l| l.starts_with("warning: ") && l.contains(&server.url())).unwrap();
    assert!(says.iter().all(|word| warning.contains(word)), "{says:?}: {warning}");
}

#[test]
fn lies_are_named_and_another_mirror_helps() {
    let at = |name: &str| format!("{FOLDER}/{name}");
    let wrong = "0123456789abcdef0123456789abcdef  b.tcz\n";
    refused(|s| s.put(&at("b.tcz.md5.txt"), Answer::ok(wrong)), &["b.tcz: ", "MD5", "another mirror"]);
    refused(|s| s.put(&at("b.tcz"), Answer::ok("<html>")), &["6 bytes with MD5"]);
    refused(|s| s.put(&at("b.tcz"), Answer::ok(content("b.tcz")).cut_at(1000).without_ranges()), &["3 tries"]);
    refused(
        |s| s.put(&at("b.tcz.md5.txt"), Answer::ok("<!DOCTYPE html><title>Log in</title>")),
        &["web page", "portal"],
    );
    refused(
        |s| s.put(&at("b.tcz.md5.txt"), Answer::ok("no digest here")),
        &["no MD5 digest of b.tcz", "no digest here"],
    );
    refused(|s| s.put(&at("b.tcz.md5.txt"), Answer::status(404)), &["no checksum"]);
    refused(|s| s.put(&at("b.tcz"), Answer::status(404)), &["the checksum, but not the file"]);
    refused(|s| s.put(&at("b.tcz"), Answer::status(503)), &["503", "3 tries"]);
    refused(|s| s.put(&at("b.tcz"), Answer::status(403)), &["403"]);
    refused(|s| s.put(&at("b.tcz.dep"), Answer::ok("c.tcz\n../../etc/passwd\n")), &["b.tcz.dep", "line 2"]);
    refused(|s| s.put(&at("b.tcz"), Answer::redirect(&at("b.tcz"))), &["redirect"]);
}

#[test]
fn a_redirection_is_followed_and_a_passing_error_outlived() {
    let (server, out) = (Server::start(), tempfile::tempdir().unwrap());
    put(&server, "a.tcz", None);
    server.put("/elsewhere/a.tcz", Answer::ok(content("a.tcz")));
    server.put(&format!("{FOLDER}/a.tcz"), Answer::redirect("/elsewhere/a.tcz"));
    server.once(&format!("{FOLDER}/a.tcz.md5.txt"), Answer::status(502));
    run(&[&server], &["a.tcz"], out.path()).unwrap();
    assert_eq!(read(out.path(), "a.tcz"), content("a.tcz"));
}

#[test]
fn who_trusts_one_ca_is_led_to_nobody_by_plain_http() {
    // Of the CA only that there is one counts here: nothing is asked by HTTPS.
    const CA: &str = include_str!("ca.pem");
    let server = Server::start();
    server.put("/list", Answer::redirect("/elsewhere"));
    server.put("/elsewhere", Answer::ok("bash.tcz\n"));
    let mirror = Mirror::trusting(&server.url(), Some(CA)).unwrap();
    assert_eq!(mirror.text("list").unwrap().unwrap(), "bash.tcz\n", "its own machine may lead it on");
    // Another machine, as far as addresses tell.
    let stranger = TcpListener::bind("127.0.0.2:0").unwrap();
    stranger.set_nonblocking(true).unwrap();
    server.put("/list", Answer::redirect(&format!("http://{}/list", stranger.local_addr().unwrap())));
    let error = format!("{:#}", mirror.text("list").unwrap_err());
    assert!(error.contains("leave HTTPS") && error.contains("http://127.0.0.2"), "{error}");
    assert_eq!(server.requests("/list"), 2, "it would lead there again");
    assert!(stranger.accept().is_err(), "the other machine was asked");
}

#[test]
fn a_pin_binds_and_a_size_is_a_limit() {
    let (server, out) = (Server::start(), tempfile::tempdir().unwrap());
    put(&server, "a.tcz", None);
    let (mirror, to) = (Mirror::new(&server.url()).unwrap(), out.path().join("a.tcz"));
    let path = "17.x/x86_64/tcz/a.tcz";
    let error = format!("{:#}", mirror.file(path, Some([7; 32]), 1 << 20, &to).unwrap_err());
    assert!(error.contains("is not the pinned 0707") && !to.exists(), "{error}");
    let error = format!("{:#}", mirror.file(path, None, 1000, &to).unwrap_err());
    assert!(error.contains("longer than 1000 bytes") && !to.exists(), "{error}");
    let free = mirror.file(path, None, 1 << 20, &to).unwrap().unwrap();
    let again = mirror.file(path, Some(free.sha256), 1 << 20, &to).unwrap().unwrap();
    assert!(free.fetched && !again.fetched);
}

#[test]
fn no_mirror_at_all_is_said() {
    let error = first(&[], |_| Ok(Some(()))).unwrap_err().to_string();
    assert!(error.contains("no mirror"), "{error}");
    for bad in ["ftp://mirror/", "mirror", ""] {
        assert!(Mirror::new(bad).is_err(), "{bad:?}");
    }
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    let error = format!("{:#}", Mirror::new(&closed).unwrap().text("x.dep").unwrap_err());
    assert!(error.contains("refused") && error.contains(&closed), "{error}");
}
