//! `/svc/repo/tce/`, and a mirror's way from the command line to what nodes are sent.

use std::fs;
use std::path::Path;

use reqwest::Method;
use serde_json::{Value, json};

use crate::agents::{Boot, inventory};
use crate::conflicts::said;
use crate::support::Server;

const FOLDER: &str = "17.x/x86_64/tcz";

/// Puts an extension with its checksum, and what it depends on, into a mirror's tree. Nothing here looks into it.
pub(crate) fn put(tree: &Path, name: &str, content: &str, dep: &str) {
    let folder = tree.join(FOLDER);
    fs::create_dir_all(&folder).unwrap();
    let md5 = tce_mirror::checksum::hex(&tce_mirror::checksum::md5(content.as_bytes()));
    for (suffix, text) in [("", content), (".md5.txt", &format!("{md5}  {name}\n")), (".dep", dep)] {
        fs::write(folder.join(format!("{name}{suffix}")), text).unwrap();
    }
}

/// What the first check-in of a machine's boot with this number is sent as its configuration.
async fn pushed(server: &Server, boot: u8) -> Value {
    let mut boot = Boot::new(boot);
    let first = boot.send(server, &inventory(&["00-11-22-33-44-aa"], "S1")).await;
    assert_eq!(first.0, 200, "{first:?}");
    first.1["config"].clone()
}

/// What a command that must fail says.
pub(crate) fn refused(server: &Server, args: &[&str]) -> String {
    let output = server.cli(args);
    assert!(!output.status.success(), "{args:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[tokio::test]
async fn files_have_tags_and_ranges_and_nothing_else_is_served() {
    let server = Server::start("");
    let tree = server.data().join("tce");
    put(&tree, "a.tcz", "squashfs", "");
    fs::write(server.data().join("secret"), "secret").unwrap();
    let path = format!("/svc/repo/tce/{FOLDER}/a.tcz");
    let answer = server.request(Method::GET, &path).send().await.unwrap();
    let tag = answer.headers()["etag"].to_str().unwrap().to_owned();
    assert_eq!((answer.status().as_u16(), &answer.headers()["content-length"]), (200, &"8".parse().unwrap()));
    for (header, value, status) in [
        ("if-none-match", tag.as_str(), 304),
        ("if-none-match", "*", 304),
        ("if-match", "\"other\"", 412),
        ("range", "bytes=-99", 206),
        ("range", "bytes=0-1,4-5", 200),
        ("range", "bytes=8-", 416),
    ] {
        let answer = server.request(Method::GET, &path).header(header, value).send().await.unwrap();
        assert_eq!((answer.status().as_u16(), &answer.headers()["etag"]), (status, &tag.parse().unwrap()), "{value}");
    }
    for (if_range, status, text) in [(tag.as_str(), 206, "uas"), ("\"other\"", 200, "squashfs")] {
        let part = server.request(Method::GET, &path).header("range", "bytes=2-4").header("if-range", if_range);
        let part = part.send().await.unwrap();
        assert_eq!((part.status().as_u16(), part.text().await.unwrap().as_str()), (status, text), "{if_range}");
    }
    for path in ["%2e%2e/secret", "..%2fsecret", "%2fetc%2fpasswd", "17.x", "17.x/", "17.x/..%2f..%2fsecret", "no.tcz"]
    {
        let (status, body) = server.text(&format!("/svc/repo/tce/{path}")).await;
        assert_eq!(status, 404, "{path}: {body}");
        assert!(!body.contains("root:") && body != "secret", "{path}: {body}");
    }
    // Changed: another tag.
    put(&tree, "a.tcz", "other squashfs", "");
    let changed = server.request(Method::GET, &path).header("if-none-match", &tag).send().await.unwrap();
    assert_eq!(changed.status(), 200);
}

#[tokio::test]
async fn one_command_hashes_the_closure_of_a_mirrors_list() {
    let server = Server::start("");
    let tree = server.data().join("tce");
    put(&tree, "a.tcz", "one", "b.tcz\r\n\r\nc-KERNEL.tcz\r\n");
    put(&tree, "b.tcz", "two", "a.tcz\n");
    put(&tree, "c-6.1.0.tcz", "three", "");
    put(&tree, "unasked.tcz", "four", "");
    let set = ["config", "set", "mk_tce_mirror_uri=/svc/repo/tce"];
    let no_list = refused(&server, &set);
    assert!(no_list.contains("/svc/repo/tce/tce-install-list is not there"), "{no_list}");
    fs::write(tree.join("tce-install-list"), r#"["a.tcz"]"#).unwrap();
    let no_kernel = refused(&server, &set);
    assert!(no_kernel.contains("c-KERNEL.tcz") && no_kernel.contains("mk_tce_kernel"), "{no_kernel}");
    assert!(said(&server, &["config", "show"]).starts_with("Nothing is set"), "nothing of it was kept");

    let done = said(&server, &["config", "set", "mk_tce_mirror_uri=/svc/repo/tce", "mk_tce_kernel=6.1.0"]);
    assert!(done.contains("mk_tce_sha256=3 extensions"), "{done}");
    let digest = |text: &str| wire::digest::sha256_hex(text.as_bytes());
    let hashes = json!({"a.tcz": digest("one"), "b.tcz": digest("two"), "c-6.1.0.tcz": digest("three")});
    let config = pushed(&server, 1).await;
    assert_eq!((&config["mk_tce_sha256"], &config["mk_tce_mirror_uri"]), (&hashes, &json!("/svc/repo/tce")));

    // Said again, it is hashed and sent again.
    put(&tree, "b.tcz", "newer", "");
    let again = said(&server, &set);
    assert!(again.starts_with("configuration 2 "), "{again}");
    assert_eq!(pushed(&server, 2).await["mk_tce_sha256"]["b.tcz"], digest("newer"));
    said(&server, &["config", "set", "mk_tce_mirror_uri=http://localhost:2157/tinycorelinux"]);
    assert_eq!(pushed(&server, 3).await.get("mk_tce_sha256"), None, "the image proves its own");
}

#[tokio::test]
async fn a_mirror_that_is_wrong_is_refused_by_name_and_changes_nothing() {
    let server = Server::start("");
    let tree = server.data().join("tce");
    put(&tree, "a.tcz", "one", "missing.tcz\n");
    put(&tree, "damaged.tcz", "one", "");
    fs::write(tree.join(FOLDER).join("damaged.tcz"), "not what was summed").unwrap();
    put(&tree, "unsummed.tcz", "one", "");
    fs::remove_file(tree.join(FOLDER).join("unsummed.tcz.md5.txt")).unwrap();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let away = format!("mk_tce_mirror_uri=http://{closed}/tc");
    let own = "mk_tce_mirror_uri=/svc/repo/tce";
    for (list, key, words) in [
        (r#"["a.tcz"]"#, own, vec!["missing.tcz", "a.tcz.dep"]),
        ("nothing.tcz\n", own, vec!["nothing.tcz", "the install list"]),
        ("damaged.tcz\n", own, vec!["damaged.tcz", "MD5"]),
        ("unsummed.tcz\n", own, vec!["unsummed.tcz.md5.txt"]),
        (r#"["../a.tcz"]"#, own, vec!["../a.tcz"]),
        ("<html>log in</html>", own, vec!["web page"]),
        ("", &away, vec!["tce-install-list", "3 tries"]),
        ("", "mk_tce_mirror_uri=ftp://m/", vec!["ftp://m/"]),
        ("", "mk_tce_repository=17.x", vec!["17.x/x86_64"]),
        ("", "mk_tce_sha256={\"a.tcz\": 1}", vec!["mk_tce_sha256"]),
    ] {
        fs::write(tree.join("tce-install-list"), list).unwrap();
        let text = refused(&server, &["config", "set", key]);
        for word in words {
            assert!(text.contains(word), "{key} {list}: {word} is missing: {text}");
        }
    }
    assert!(said(&server, &["config", "show"]).starts_with("Nothing is set"));
}

#[tokio::test]
async fn digests_of_ones_own_need_no_mirror_that_the_server_reaches() {
    let server = Server::start("");
    let digests = format!("mk_tce_sha256={{\"a.tcz\":\"{}\"}}", wire::digest::sha256_hex(b"one"));
    said(&server, &["config", "set", "mk_tce_mirror_uri=http://10.255.255.1/tc", &digests]);
    assert_eq!(pushed(&server, 4).await["mk_tce_sha256"]["a.tcz"], wire::digest::sha256_hex(b"one"));
}
