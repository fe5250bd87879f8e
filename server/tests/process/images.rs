//! Images: adding an ISO, booting it, and refusing what is none.

use std::path::{Path, PathBuf};

use hadris_fs::{Content, Node, Tree};
use hadris_iso::{IsoOptions, plan};
use hadris_storage::{BlockSize, MemDevice};
use serde_json::json;

use crate::support::Server;

/// Writes an ISO as `mkiso build` lays it out, with this `mk.gz`; `wrong` is what the metadata says of the kernel instead.
fn iso(folder: &Path, name: &str, segment: &[u8], wrong: Option<&str>) -> PathBuf {
    let digest = wire::digest::sha256_hex;
    let metadata = format!(
        "---\niso_version: \"0.1.0\"\nkernel: boot/vmlinuz64\ninitrd: boot/corepure64.gz\nhash_description:\n  type: \
         Digest::SHA2\n  bitlen: 256\nkernel_hash: {}\ninitrd_hash: {}\nmk_variant: production\nmk_initrd: boot/mk.gz\n\
         mk_initrd_hash: {}\nmk_site: boot/site.img\n",
        wrong.map_or_else(|| digest(b"the kernel"), str::to_owned),
        digest(b"base"),
        digest(segment),
    );
    let mut tree = Tree::new();
    for (path, bytes) in [
        ("iso-metadata.yaml", metadata.as_bytes()),
        ("boot/vmlinuz64", b"the kernel"),
        ("boot/corepure64.gz", b"base"),
        ("boot/mk.gz", segment),
        ("boot/site.img", &[0u8; 8]),
        ("boot/isolinux/isolinux.cfg", b"label mk\n  append rdinit=/sbin/mk-agent loglevel=4\n"),
    ] {
        tree.insert(path, Node::file(Content::bytes(bytes.to_vec()))).unwrap();
    }
    let options = IsoOptions::default().with_rock_ridge();
    let size = usize::try_from(plan(&tree, &options).unwrap().size()).unwrap();
    let mut device = MemDevice::new(vec![0; size], BlockSize::new(2048).unwrap());
    hadris_iso::sync::write(&mut device, &tree, &options).unwrap();
    let file = folder.join(name);
    std::fs::write(&file, device.into_inner()).unwrap();
    file
}

fn run(server: &Server, args: &[&str]) -> (bool, String) {
    let output = server.cli(args);
    (output.status.success(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
}

/// Gives the server an image to boot.
pub(crate) fn put_in_use(server: &Server) {
    add(server, b"agent 1");
}

/// Gives the server an image with this `mk.gz`.
pub(crate) fn add(server: &Server, segment: &[u8]) {
    let folder = tempfile::tempdir().unwrap();
    let (ok, said) = run(server, &["image", "add", iso(folder.path(), "a.iso", segment, None).to_str().unwrap()]);
    assert!(ok, "{said}");
}

#[tokio::test]
async fn an_image_is_added_booted_and_served() {
    let server = Server::start("[microkernel]\nkernel_args = \"console=ttyS0\"\ndebug_level = \"quiet\"\n");
    let (_, script) = server.text("/svc/boot?net0=00-11-22-33-44-aa").await;
    assert!(script.contains("no_image") && script.contains("mk-server image add"), "{script}");
    let folder = tempfile::tempdir().unwrap();
    let file = iso(folder.path(), "a.iso", b"agent 1", None);
    let (ok, said) = run(&server, &["image", "add", file.to_str().unwrap()]);
    assert!(ok && said.contains("Added 0.1.0-production-") && said.contains("It is in use"), "{said}");

    let (_, script) = server.text("/svc/boot?net0=00-11-22-33-44-aa").await;
    let kernel = script.lines().find(|l| l.starts_with("kernel ")).unwrap();
    let checkin = format!("razor.checkin={}/svc/checkin/1", server.url);
    let port = "BOOTIF=01-${netX/mac:hexhyp}";
    let words = ["initrd=initrd", "rdinit=/sbin/mk-agent", "loglevel=4", "quiet", &checkin, port, "console=ttyS0"];
    assert!(words.iter().all(|w| kernel.split(' ').any(|k| k == *w)), "{kernel}");
    let errors: Vec<_> = server.log(1).await.iter().map(|e| e["error"].clone()).collect();
    assert_eq!(errors, [json!(null), json!("no_image")], "the log tells what was booted, newest first");
    let url = kernel.split(' ').nth(1).unwrap().strip_prefix(&server.url).unwrap().to_owned();
    assert_eq!(server.text(&url).await, (200, "the kernel\0\0".to_owned()), "padded to 4 bytes");

    let initrd = url.replace("vmlinuz", "initrd");
    let get = |header: &'static str, value: String| {
        server.request(reqwest::Method::GET, &initrd).header(header, value).send()
    };
    let whole = get("accept", "*/*".to_owned()).await.unwrap();
    assert_eq!(whole.headers()["content-length"], "20");
    let tag = whole.headers()["etag"].to_str().unwrap().to_owned();
    assert_eq!(&whole.bytes().await.unwrap()[..], b"baseagent 1\0\0\0\0\0\0\0\0\0", "joined, each padded");
    let part = get("range", "bytes=4-10".to_owned()).await.unwrap();
    assert_eq!((part.status().as_u16(), &part.bytes().await.unwrap()[..]), (206, &b"agent 1"[..]));
    assert_eq!(get("if-none-match", tag).await.unwrap().status().as_u16(), 304);
    for path in
        ["/svc/repo/microkernel/x/vmlinuz", "/svc/repo/microkernel/..%2f..%2fconfig.toml/vmlinuz", "/svc/repo/x"]
    {
        assert_eq!(server.get(path).await.0, 404, "{path}");
    }
}

#[tokio::test]
async fn the_image_in_use_is_chosen() {
    let server = Server::start("");
    let folder = tempfile::tempdir().unwrap();
    let first = iso(folder.path(), "a.iso", b"agent 1", None);
    let second = iso(folder.path(), "b.iso", b"agent 2", None);
    run(&server, &["image", "add", first.to_str().unwrap()]);
    let (ok, said) = run(&server, &["image", "add", second.to_str().unwrap()]);
    assert!(ok && said.contains("is still in use"), "{said}");
    assert!(run(&server, &["image", "add", second.to_str().unwrap()]).0, "the same once more is no error");
    let (ok, said) = run(&server, &["image", "use", "0.1.0"]);
    assert!(!ok && said.contains("may be any of"), "{said}");
    let (_, images) = server.get("/api/collections/images").await;
    assert_eq!(images["total"], 2);
    let unused = images["items"].as_array().unwrap().iter().find(|i| i["name"] != images["current"]).unwrap();
    let name = unused["name"].as_str().unwrap();
    assert!(run(&server, &["image", "use", name]).0);
    assert_eq!(server.get("/api/collections/images").await.1["current"], json!(name));
    let (_, list) = run(&server, &["image", "list"]);
    let line = list.lines().find(|l| l.contains(name)).unwrap();
    assert!(line.ends_with("in use"), "{list}");
}

#[tokio::test]
async fn what_is_no_image_of_ours_is_refused_and_leaves_nothing() {
    let server = Server::start("");
    let folder = tempfile::tempdir().unwrap();
    let (ok, said) = run(&server, &["image", "use", "1"]);
    assert!(!ok && said.contains("image add"), "{said}");
    let wrong = iso(folder.path(), "w.iso", b"agent", Some("00"));
    let (ok, said) = run(&server, &["image", "add", wrong.to_str().unwrap()]);
    assert!(!ok && said.contains("boot/vmlinuz64") && said.contains("digest"), "{said}");
    let whole = std::fs::read(iso(folder.path(), "c.iso", b"agent", None)).unwrap();
    for (name, bytes) in [("text", &b"no image"[..]), ("empty", &[]), ("cut", &whole[..38 * 1024])] {
        let file = folder.path().join(name);
        std::fs::write(&file, bytes).unwrap();
        let (ok, said) = run(&server, &["image", "add", file.to_str().unwrap()]);
        assert!(!ok && said.contains("image"), "{name}: {said}");
    }
    let (ok, said) = run(&server, &["image", "add", "/no/such.iso"]);
    assert!(!ok && said.contains("/no/such.iso"), "{said}");
    assert_eq!(server.get("/api/collections/images").await.1["total"], 0);
    let left: Vec<_> = std::fs::read_dir(server.data().join("images")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}
