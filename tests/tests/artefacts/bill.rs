//! The bill of materials beside each image: valid to SPDX's own reader, and true of what outside tools find in the image. All
//! that it names is there, and all that is there is named.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use duct::cmd;
use serde_json::Value;
use walkdir::WalkDir;

use super::image::{Image, VARIANTS};

/// Folder of firmware, wherever an extension has it.
const FIRMWARE: &str = "lib/firmware/";
/// How the agent names source files of crates.
const CRATES: &str = "/cargo/registry/src/";

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// A bill of materials.
struct Bill(Value);

impl Bill {
    fn of(image: &Image) -> Self {
        Self(serde_json::from_slice(&fs::read(image.beside("spdx.json")).unwrap()).unwrap())
    }

    fn all(&self, key: &str) -> &[Value] {
        self.0[key].as_array().unwrap()
    }

    /// The packages of a kind, with their digests.
    fn packages(&self, kind: &str) -> BTreeMap<String, (String, String)> {
        let ours =
            self.all("packages").iter().filter(|one| text(one, "SPDXID").starts_with(&format!("SPDXRef-{kind}-")));
        let digest = |one: &Value| text(&one["checksums"][0], "checksumValue").to_owned();
        ours.map(|one| (text(one, "name").to_owned(), (text(one, "versionInfo").to_owned(), digest(one)))).collect()
    }

    /// What elements of that identifier have that relationship to.
    fn related(&self, id: &str, how: &str) -> Vec<&str> {
        let its = |r: &&Value| text(r, "spdxElementId") == id && text(r, "relationshipType") == how;
        self.all("relationships").iter().filter(its).map(|r| text(r, "relatedSpdxElement")).collect()
    }
}

/// Digests that a program such as `sha256sum` gives.
fn sums(program: &str, files: &[PathBuf]) -> Vec<String> {
    let lines = cmd(program, files).read().unwrap();
    lines.lines().map(|line| line.split_whitespace().next().unwrap().to_owned()).collect()
}

/// Files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = WalkDir::new(folder).sort_by_file_name().into_iter().map(Result::unwrap);
    entries.filter(|entry| entry.file_type().is_file()).map(walkdir::DirEntry::into_path).collect()
}

#[test]
fn each_bill_is_valid_to_spdxs_own_reader() {
    let Some(reader) = std::env::var_os("MK_SPDX_TOOLS") else {
        return mk_tests::skip("MK_SPDX_TOOLS names no folder with spdx-tools for Python; use cargo xtask test");
    };
    for variant in VARIANTS {
        let bill = Image::open(variant).beside("spdx.json");
        let check = |file: &Path| {
            let read = cmd!("python3", "-m", "spdx_tools.spdx.clitools.pyspdxtools", "-i", file);
            read.env("PYTHONPATH", &reader).unchecked().stderr_to_stdout().stdout_capture().run().unwrap()
        };
        let ran = check(&bill);
        assert!(ran.status.success(), "{variant}: {:.4000}", String::from_utf8_lossy(&ran.stdout));
        // It would say so if something were wrong.
        let wrong = Image::open(variant).path("wrong.spdx.json");
        fs::write(&wrong, fs::read_to_string(&bill).unwrap().replacen("\"SHA1\"", "\"SHA9\"", 1)).unwrap();
        assert!(!check(&wrong).status.success(), "the reader takes anything");
    }
}

#[test]
fn extensions_and_firmware_of_an_image_are_those_of_its_bill() {
    for variant in VARIANTS {
        let (image, bill) = (Image::open(variant), Bill::of(Image::open(variant)));
        let folder = image.path("root/tmp/builtin/optional");
        let tcz: Vec<PathBuf> =
            files(&folder).into_iter().filter(|path| path.extension().is_some_and(|e| e == "tcz")).collect();
        let digests = sums("sha256sum", &tcz);
        let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
        let there: BTreeMap<String, String> = tcz.iter().map(name).zip(digests).collect();
        let mut said = bill.packages("Extension");
        let initrd = said.remove("boot/corepure64.gz").unwrap().1;
        let own = image.sha256(&["iso/boot/corepure64.gz"]);
        assert_eq!(initrd, own["iso/boot/corepure64.gz"]);
        assert_eq!(said.into_iter().map(|(name, (_, digest))| (name, digest)).collect::<BTreeMap<_, _>>(), there);

        // Those that are not loaded at boot too, into a folder of their own.
        let mirror = image.path("mirror");
        for path in tcz.iter().filter(|path| !image.path("tcz").join(name(path)).exists()) {
            fs::create_dir_all(&mirror).unwrap();
            cmd!("unsquashfs", "-q", "-n", "-d", mirror.join(name(path)), path).stdout_null().run().unwrap();
        }
        let unpacked = [image.path("tcz"), mirror]
            .iter()
            .filter(|folder| folder.exists())
            .flat_map(|f| files(f))
            .collect::<Vec<_>>();
        let firmware: Vec<PathBuf> =
            unpacked.into_iter().filter(|path| path.to_str().unwrap().contains(FIRMWARE)).collect();
        let paths = firmware.iter().map(|path| {
            let path = path.to_str().unwrap();
            format!("./{}", path.split_once(".tcz/").unwrap().1)
        });
        let there: BTreeSet<(String, String, String)> = paths
            .zip(sums("sha1sum", &firmware).into_iter().zip(sums("sha256sum", &firmware)))
            .map(|(path, (sha1, sha256))| (path, sha1, sha256))
            .collect();
        let said = bill.all("files").iter().map(|file| {
            let sum = |at: usize| text(&file["checksums"][at], "checksumValue").to_owned();
            (text(file, "fileName").to_owned(), sum(0), sum(1))
        });
        assert_eq!(said.collect::<BTreeSet<_>>(), there, "{variant}");
        assert!(there.len() > 50, "only {} firmware files: this test looks in the wrong place", there.len());
        assert!(
            image.members("base").iter().all(|entry| !entry.path.contains(FIRMWARE)),
            "the initrd has firmware too"
        );
    }
}

#[test]
fn firmware_modules_and_packages_are_traced_to_debian() {
    let (image, lock) = (Image::open("production"), concat!(env!("CARGO_MANIFEST_DIR"), "/../image.lock"));
    let bill = Bill::of(image);
    let lock: toml::Table = toml::from_str(&fs::read_to_string(lock).unwrap()).unwrap();
    let word = |package: &toml::Value, key: &str| package[key].as_str().unwrap().to_owned();
    let locked: BTreeMap<String, (String, String)> = lock["debian"]["package"]
        .as_array()
        .unwrap()
        .iter()
        .map(|package| (word(package, "name"), (word(package, "version"), word(package, "sha256"))))
        .collect();
    assert_eq!(bill.packages("Debian"), locked);
    for file in bill.all("files") {
        let from = bill.related(text(file, "SPDXID"), "GENERATED_FROM");
        assert!(matches!(from[..], [one] if one.starts_with("SPDXRef-Debian-firmware-")), "{file}: {from:?}");
        if text(file, "fileName").contains("/bnx2/") {
            assert!(from[0].starts_with("SPDXRef-Debian-firmware-bnx2-"), "{file}: {from:?}");
        }
    }
    let kernel = format!("SPDXRef-Debian-{}-", lock["debian"]["kernel"].as_str().unwrap());
    let modules: Vec<&Value> =
        bill.all("packages").iter().filter(|package| text(package, "name") == "kernel-modules").collect();
    assert_eq!(modules.len(), 2, "those of the initrd and those of the extension");
    for set in modules {
        let from = bill.related(text(set, "SPDXID"), "GENERATED_FROM");
        assert!(matches!(from[..], [one] if one.starts_with(&kernel)), "{set}: {from:?}");
    }
    let is_module = |path: &String| Path::new(path).extension().is_some_and(|ending| ending == "ko");
    let count = image.everything().into_iter().filter(is_module).count();
    let said = bill
        .all("packages")
        .iter()
        .filter_map(|set| text(set, "comment").split_once(" modules in ")?.0.parse::<usize>().ok());
    assert_eq!(said.sum::<usize>(), count);
}

#[test]
fn every_crate_whose_source_the_agent_names_is_in_the_bill() {
    let (image, bill) = (Image::open("production"), Bill::of(Image::open("production")));
    let agent = std::env::var_os("MK_AGENT").expect("MK_AGENT names the program; use cargo xtask test");
    let (agent, crates) = (PathBuf::from(agent), bill.packages("Crate"));
    let bytes = fs::read(&agent).unwrap();
    let strings = String::from_utf8_lossy(&bytes);
    // `/index…/NAME-VERSION/src/…` follows.
    let named: BTreeSet<&str> = strings.split(CRATES).skip(1).filter_map(|rest| rest.split('/').nth(1)).collect();
    assert!(named.len() > 10, "the agent names {named:?} only");
    let packages = bill.all("packages").iter();
    let said: BTreeSet<String> =
        packages.map(|one| format!("{}-{}", text(one, "name"), text(one, "versionInfo"))).collect();
    let missing: Vec<&&str> = named.iter().filter(|one| !said.contains(**one)).collect();
    assert!(missing.is_empty(), "not in the bill: {missing:?}");
    assert!(
        ["wire", "tce-mirror", "ring", "rust-std", "glibc"].iter().all(|name| crates.contains_key(*name)),
        "{crates:?}"
    );
    assert_eq!(bill.packages("Agent")["mk-agent"].1, sums("sha256sum", &[agent])[0]);
    let checksums = fs::read_to_string(image.beside("sha256")).unwrap();
    assert!(checksums.lines().any(|line| line.ends_with(".spdx.json")), "{checksums}");
}
