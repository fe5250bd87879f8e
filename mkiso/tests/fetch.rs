//! Packages are fetched by the real downloader from a real HTTP server on loopback that is healthy, lies, cuts short
//! or has nothing.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail loudly")]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use mkiso::base::fetch::Store;
use mkiso::base::lock::Package;
use mkiso::cache::sha256;
use tce_mirror::apt::{Apt, Archive, Sources};

const UPDATE: &str = "mkiso base --update-lock --out base.iso";

const GOOD: &[u8] = b"the package as the archive has it";

/// Serves on loopback until the test ends. `/good` is right, `/evil` has other bytes of the same length, `/short` is a
/// shorter file, `/cut` ends before its announced length; everything else is not found.
fn archive() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 2048];
            let length = stream.read(&mut request).unwrap_or(0);
            let path = String::from_utf8_lossy(&request[..length]).split(' ').nth(1).unwrap_or("/").to_owned();
            let (status, body, announced) = match path.as_str() {
                "/good" => ("200 OK", GOOD.to_vec(), GOOD.len()),
                "/evil" => ("200 OK", GOOD.to_ascii_uppercase(), GOOD.len()),
                "/short" => ("200 OK", GOOD[..9].to_vec(), 9),
                "/cut" => ("200 OK", GOOD[..9].to_vec(), GOOD.len()),
                _ => ("404 Not Found", Vec::new(), 0),
            };
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: {announced}\r\nConnection: close\r\n\r\n");
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
        }
    });
    address
}

fn package(uri: String) -> Package {
    Package { name: "tool".to_owned(), version: "1.0".to_owned(), size: GOOD.len() as u64, sha256: sha256(GOOD), uri }
}

fn apt(cache: &Path) -> anyhow::Result<Apt> {
    let keyring = cache.join("keyring.gpg");
    std::fs::write(&keyring, "")?;
    let sources = Sources {
        architecture: "amd64".to_owned(),
        keyring,
        archives: vec![Archive { uri: "http://127.0.0.1:9/debian".to_owned(), suites: vec!["test".to_owned()] }],
        components: vec!["main".to_owned()],
        without: std::collections::BTreeMap::new(),
    };
    Apt::new(&cache.join("apt"), &sources)
}

/// Fetches one package; its bytes, or what was said.
fn fetch(cache: &Path, package: &Package) -> Result<Vec<u8>, String> {
    let store = Store::new(cache);
    store
        .fetch(|| apt(cache), std::slice::from_ref(package), UPDATE)
        .and_then(|()| store.read(package))
        .map_err(|error| format!("{error:#}"))
}

/// Names of what is in the store.
fn stored(cache: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(cache.join("deb")).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn a_good_package_is_kept_and_needs_no_network_again() {
    let cache = tempfile::tempdir().unwrap();
    let mut package = package(format!("http://{}/good", archive()));
    assert_eq!(fetch(cache.path(), &package).unwrap(), GOOD);
    package.uri = "http://127.0.0.1:9/gone".to_owned();
    assert_eq!(fetch(cache.path(), &package).unwrap(), GOOD);
}

#[test]
fn a_damaged_package_in_the_cache_is_fetched_again() {
    let cache = tempfile::tempdir().unwrap();
    let package = package(format!("http://{}/good", archive()));
    fetch(cache.path(), &package).unwrap();
    let file = cache.path().join("deb").join(format!("{}.deb", package.sha256));
    std::fs::write(&file, &GOOD[..5]).unwrap();
    assert_eq!(fetch(cache.path(), &package).unwrap(), GOOD);
}

#[test]
fn other_bytes_and_short_files_are_refused_by_name_and_not_kept() {
    let address = archive();
    for path in ["evil", "short", "cut"] {
        let cache = tempfile::tempdir().unwrap();
        let said = fetch(cache.path(), &package(format!("http://{address}/{path}"))).unwrap_err();
        assert!(said.contains("tool 1.0") && said.contains(path), "{path}: {said}");
        assert!(stored(cache.path()).is_empty(), "{path}: {:?}", stored(cache.path()));
    }
}

#[test]
fn a_version_that_has_gone_is_said_with_the_remedy() {
    let cache = tempfile::tempdir().unwrap();
    let said = fetch(cache.path(), &package(format!("http://{}/gone", archive()))).unwrap_err();
    assert!(said.contains("tool 1.0") && said.contains(UPDATE), "{said}");
}

#[test]
fn an_archive_that_cannot_be_reached_is_said() {
    let cache = tempfile::tempdir().unwrap();
    let said = fetch(cache.path(), &package("http://127.0.0.1:9/tool.deb".to_owned())).unwrap_err();
    assert!(said.contains("127.0.0.1:9") && said.contains("check the network"), "{said}");
    let said = format!("{:#}", apt(cache.path()).unwrap().update().unwrap_err());
    assert!(said.contains("lists of packages") && said.contains("127.0.0.1"), "{said}");
}
