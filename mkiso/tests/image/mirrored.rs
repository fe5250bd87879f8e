//! Images on Tiny Core's own ISO: from a mirror that behaves, and from mirrors that lie, over real connections. The ISO is a
//! small one, made here, with the marks of Tiny Core's: nothing in it boots.

use std::fs;
use std::path::Path;
use std::time::Duration;

use mk_tests::web::{Answer, Server};
use mkiso::cache::hex;
use mkiso::cpio::initrd;
use mkiso::cpio::write::Archive;
use mkiso::iso::Iso;
use tce_mirror::checksum::md5;

use super::synthetic::{Bench, RELEASE, Ran, gzip, squashfs, squashfs_of};

const ISO: &str = "/17.x/x86_64/release/CorePure64-17.0.iso";
const NEWEST: &str = "/17.x/x86_64/release/CorePure64-current.iso.md5.txt";
const EXTENSIONS: &str = "/17.x/x86_64/tcz";

/// A mirror and a folder to build in.
struct Site {
    bench: Bench,
    server: Server,
    iso: Vec<u8>,
}

impl Site {
    /// A mirror with all that an image needs; `None` where images cannot be made.
    fn new() -> Option<Self> {
        let bench = Bench::new()?;
        if std::process::Command::new("/sbin/depmod").arg("--version").output().is_err() {
            mk_tests::skip("there is no depmod");
            return None;
        }
        bench.base("CorePure64.iso", |tree| {
            fs::remove_dir_all(tree.join("cde")).unwrap();
            fs::write(tree.join("boot/corepure64.gz"), core()).unwrap();
        });
        let site = Self { iso: fs::read(bench.path("CorePure64.iso")).unwrap(), server: Server::start(), bench };
        site.describe(&[&site.server], "hpsa");
        site.put(ISO, &site.iso);
        site.server.put(NEWEST, Answer::ok(checksum(ISO, &site.iso)));
        let module: &'static [u8] = gzip(&module("hpsa", "pci:v0000103Cd0000323Asv*sd*bc*sc*i*")).leak();
        let local = format!("usr/local/lib/modules/{RELEASE}/kernel/drivers/scsi/hpsa.ko.gz");
        site.extension(&format!("scsi-{RELEASE}.tcz"), "", &squashfs_of(&local, module));
        site.extension("tool.tcz", "library.tcz\n", &squashfs("usr/local/bin/tool"));
        site.extension("library.tcz", "", &squashfs("usr/local/lib/library.so"));
        site.extension("guest.tcz", "library.tcz\n", &squashfs("usr/local/bin/guest"));
        Some(site)
    }

    /// Writes `image.toml` for these mirrors, with a module that the image requires.
    fn describe(&self, mirrors: &[&Server], required: &str) {
        let urls: Vec<String> = mirrors.iter().map(|server| format!("{:?}", server.url())).collect();
        let text = format!(
            "[image]\nearly = []\nextensions = []\nremote = []\nmirror = [\"of-debian.tcz\"]\nsite_slot = 65536\n\
             required_modules = [\"af_packet\", {required:?}, \"hv_netvsc\"]\n\
             [tinycore]\nversion = \"17.x\"\nmirrors = [{}]\nearly = [\"scsi-KERNEL.tcz\"]\n\
             extensions = [\"tool.tcz\"]\nremote = []\nmirror = [\"guest.tcz\"]\nwithout = {{ hv_netvsc = \"it has none\" }}\n",
            urls.join(", ")
        );
        self.bench.put("image.toml", text.as_bytes());
    }

    /// A file with its checksum.
    fn put(&self, path: &str, bytes: &[u8]) {
        self.server.put(path, Answer::ok(bytes));
        self.server.put(&format!("{path}.md5.txt"), Answer::ok(checksum(path, bytes)));
    }

    fn extension(&self, name: &str, needs: &str, bytes: &[u8]) {
        let path = format!("{EXTENSIONS}/{name}");
        self.put(&path, bytes);
        self.server.put(&format!("{path}.dep"), Answer::ok(needs));
    }

    fn build(&self, base: &str) -> Ran {
        let mut command = self.bench.mkiso();
        command.args(["build", "--config", "image.toml", "--cache", "cache", "--agent", "agent"]);
        Ran::new(command.args(["--out", "out", "--base", base]))
    }

    /// `mkiso base` of Tiny Core, taken anew.
    fn update(&self) -> Ran {
        let mut command = self.bench.mkiso();
        command.args([
            "base",
            "--config",
            "image.toml",
            "--lock",
            "image.lock",
            "--cache",
            "cache",
            "--out",
            "base.iso",
        ]);
        Ran::new(command.args(["--update-lock", "--base", "tinycore"]))
    }

    fn lock(&self) -> String {
        fs::read_to_string(self.bench.path("image.lock")).unwrap_or_default()
    }

    /// Everything of the mirror fails from now on.
    fn go_away(&self) {
        for path in [ISO.to_owned(), format!("{ISO}.md5.txt"), NEWEST.to_owned()] {
            self.server.put(&path, Answer::status(503));
        }
        for name in ["tool.tcz", "library.tcz", "guest.tcz", &format!("scsi-{RELEASE}.tcz")] {
            for ending in ["", ".md5.txt", ".dep", ".info", ".list"] {
                self.server.put(&format!("{EXTENSIONS}/{name}{ending}"), Answer::status(503));
            }
        }
    }
}

fn checksum(path: &str, bytes: &[u8]) -> String {
    format!("{}  {}\n", hex(&md5(bytes)), path.rsplit('/').next().unwrap())
}

/// An initrd with the marks of Tiny Core's.
fn core() -> Vec<u8> {
    let modules = format!("lib/modules/{RELEASE}");
    let mut archive = Archive::new(0);
    let folders = ["etc", "etc/init.d", "lib", "lib/modules", &modules, &format!("{modules}/kernel"), "root", "sbin"];
    for folder in folders.into_iter().chain(["tmp", "usr", "usr/local", "usr/local/lib", "usr/local/lib/modules"]) {
        archive.dir(folder, 0o755).unwrap();
    }
    archive.file("etc/init.d/tc-config", 0o755, b"#!/bin/busybox ash\n").unwrap();
    archive.file("etc/os-release", 0o644, b"NAME=TinyCore\nVERSION_ID=17.0\n").unwrap();
    for name in ["loop", "squashfs"] {
        archive.file(&format!("{modules}/kernel/{name}.ko.gz"), 0o644, &gzip(&module(name, "none"))).unwrap();
    }
    archive.link(&format!("{modules}/kernel.tclocal"), &format!("/usr/local/{modules}/kernel/")).unwrap();
    archive.file(&format!("{modules}/modules.dep"), 0o644, b"kernel/loop.ko.gz:\nkernel/squashfs.ko.gz:\n").unwrap();
    archive.file(&format!("{modules}/modules.builtin"), 0o644, b"kernel/net/packet/af_packet.ko\n").unwrap();
    gzip(&archive.finish())
}

/// A kernel module that says nothing but its name and its alias.
fn module(name: &str, alias: &str) -> Vec<u8> {
    let info = format!("alias={alias}\0depends=\0name={name}\0").into_bytes();
    let names = b"\0.modinfo\0.shstrtab\0";
    let (at, sections) = (64, 64 + (info.len() + names.len()).next_multiple_of(8));
    let mut bytes = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x01\0\x3e\0\x01\0\0\0".to_vec();
    for word in [0, 0, sections as u64] {
        bytes.extend(word.to_le_bytes());
    }
    bytes.extend(0_u32.to_le_bytes());
    for half in [64, 0, 0, 64, 3, 2_u16] {
        bytes.extend(half.to_le_bytes());
    }
    bytes.extend([&info[..], names].concat());
    bytes.resize(sections + 64, 0);
    for (name, kind, from, size) in [(1, 1, at, info.len()), (10, 3, at + info.len(), names.len())] {
        bytes.extend([name, kind].map(u32::to_le_bytes).concat());
        bytes.extend([0, 0, from as u64, size as u64].map(u64::to_le_bytes).concat());
        bytes.extend([0; 8]);
        bytes.extend([1, 0_u64].map(u64::to_le_bytes).concat());
    }
    bytes
}

/// A file of the image's own initrd.
fn member(iso: &Path, path: &str) -> String {
    let segment = Iso::open(iso).unwrap().read("boot/mk.gz").unwrap().unwrap();
    let mut found = None;
    let each = |member: mkiso::cpio::newc::Member<'_>| {
        if member.name == path.as_bytes() {
            found = Some(String::from_utf8(member.data.to_vec()).unwrap());
        }
    };
    initrd::for_each(&segment, 1 << 24, each).unwrap();
    found.unwrap()
}

#[test]
fn an_image_stands_on_the_newest_release_with_its_extensions_and_their_modules() {
    let Some(site) = Site::new() else { return };
    let built = site.build("tinycore");
    let said = built.words.clone();
    let iso = site.bench.path(built.ok().to_str().unwrap());
    assert!(said.contains("base: tinycore (--base says so)"), "{said}");
    assert_eq!(Iso::open(&iso).unwrap().read("boot/corepure64.gz").unwrap().unwrap(), core(), "bit for bit");
    let list = format!("scsi-{RELEASE}.tcz\nlibrary.tcz\ntool.tcz\n");
    assert_eq!(member(&iso, "tmp/builtin/onboot.lst"), list);
    assert_eq!(member(&iso, "tmp/builtin/optional/guest.tcz.dep"), "library.tcz\n", "in the mirror, not at boot");
    let index = |name: &str| member(&iso, &format!("lib/modules/{RELEASE}/modules.{name}"));
    let mut dep: Vec<String> = index("dep").lines().map(str::to_owned).collect();
    dep.sort();
    assert_eq!(dep, ["kernel.tclocal/drivers/scsi/hpsa.ko.gz:", "kernel/loop.ko.gz:", "kernel/squashfs.ko.gz:"]);
    assert!(index("alias").contains("alias pci:v0000103Cd0000323Asv*sd*bc*sc*i* hpsa"));
    let lock = site.lock();
    for path in [ISO, "/17.x/x86_64/tcz/tool.tcz", "/17.x/x86_64/tcz/library.tcz", "/17.x/x86_64/tcz/guest.tcz"] {
        assert!(lock.contains(&format!("{:?}", &path[1..])), "{path} in {lock}");
    }
    // What is pinned and in the cache needs no mirror, whatever way the ISO is named.
    site.go_away();
    let requests = site.server.requests(ISO);
    for base in ["tinycore", "tinycore=17.0", "tinycore=17.x", "CorePure64.iso"] {
        site.build(base).ok();
    }
    assert_eq!((site.server.requests(ISO), site.lock()), (requests, lock));
}

#[test]
fn downloads_go_on_where_they_stopped_and_outlive_what_passes() {
    let Some(site) = Site::new() else { return };
    site.server.once(ISO, Answer::ok(&*site.iso).cut_at(100_000));
    site.server.once(&format!("{ISO}.md5.txt"), Answer::status(502));
    site.server.once(NEWEST, Answer::ok(checksum(ISO, &site.iso)).after(Duration::from_millis(300)));
    let tool = format!("{EXTENSIONS}/tool.tcz");
    site.server.put("/elsewhere", Answer::ok(squashfs("usr/local/bin/tool")).after(Duration::from_millis(300)));
    site.server.put(&tool, Answer::redirect("/elsewhere"));
    // Changed between the checksum and the file.
    site.server.once(&format!("{EXTENSIONS}/library.tcz.md5.txt"), Answer::ok(checksum("library.tcz", b"older")));
    site.build("tinycore").ok();
    assert_eq!(site.server.ranges(ISO), ["", "bytes=100000-"]);
}

#[test]
fn a_mirror_that_lies_is_named_and_another_one_helps() {
    let Some(site) = Site::new() else { return };
    let (liar, good) = (Server::start(), &site.server);
    site.describe(&[&liar], "hpsa");
    let sums = format!("{ISO}.md5.txt");
    for (name, sum, file, says) in [
        ("wrong sum", Answer::ok(checksum(ISO, b"other")), Answer::ok(&*site.iso), "damaged or being updated"),
        ("truncated", Answer::ok(checksum(ISO, &site.iso)), Answer::ok(&site.iso[..9]), "9 bytes with MD5"),
        ("no file", Answer::ok(checksum(ISO, &site.iso)), Answer::status(404), "not the file"),
        ("nothing", Answer::status(404), Answer::status(404), "has 17.x/x86_64/release/CorePure64-17.0.iso"),
        ("circle", Answer::ok(checksum(ISO, &site.iso)), Answer::redirect(ISO), "redirect"),
        ("portal", Answer::ok("<html>Log in</html>"), Answer::ok("<html>Log in</html>"), "web page"),
    ] {
        liar.put(&sums, sum);
        liar.put(ISO, file);
        let refusal = site.build("tinycore=17.0").refusal();
        assert!(refusal.contains(says) && refusal.contains(&liar.url()), "{name}: {refusal}");
        assert!(site.lock().is_empty() && site.bench.names("out").is_empty(), "{name}");
    }
    liar.put(&sums, Answer::ok(checksum(ISO, b"other")));
    liar.put(ISO, Answer::ok(&*site.iso));
    site.describe(&[&liar, good], "hpsa");
    let built = site.build("tinycore=17.0");
    let said = built.words.clone();
    built.ok();
    let warning = said.lines().find(|line| line.starts_with("warning: ") && line.contains(&liar.url())).unwrap();
    assert!(warning.contains("MD5"), "{warning}");
}

#[test]
fn what_a_mirror_exchanged_is_refused_until_it_is_taken_anew() {
    let Some(site) = Site::new() else { return };
    site.build("tinycore").ok();
    let before = site.lock();
    let other = [&*site.iso, &[0; 2048]].concat();
    site.put(ISO, &other);
    site.extension("tool.tcz", "", &squashfs("usr/local/bin/another-tool"));
    let in_cache = site.bench.path("cache/tinycore").join(&ISO[1..]);
    fs::write(&in_cache, "damaged").unwrap();
    let refusal = site.build("tinycore").refusal();
    assert!(refusal.contains("is not the pinned") && refusal.contains("--update-lock"), "{refusal}");
    fs::write(&in_cache, &site.iso).unwrap();
    fs::remove_file(site.bench.path("cache/tinycore/17.x/x86_64/tcz/tool.tcz")).unwrap();
    let refusal = site.build("tinycore").refusal();
    assert!(refusal.contains("tool.tcz has SHA-256") && refusal.contains("--base tinycore=17.0"), "{refusal}");
    assert_eq!(site.lock(), before, "nothing was pinned anew");

    assert_eq!(fs::read(site.bench.path(site.update().ok().to_str().unwrap())).unwrap(), other);
    let after = site.lock();
    let pin = |lock: &str, path: &str| lock.split("[[").find(|pin| pin.contains(path)).map(str::to_owned);
    for (path, is_new) in [("CorePure64-17.0.iso", true), ("tcz/tool.tcz", true), ("tcz/library.tcz", false)] {
        assert_eq!(pin(&after, path) != pin(&before, path), is_new, "{path} in {after}");
    }
    site.go_away();
    site.build("tinycore").ok();
    assert_eq!(site.lock(), after, "all of it was there");
}

#[test]
fn what_is_pinned_stays_until_all_of_it_could_be_taken_anew() {
    let Some(site) = Site::new() else { return };
    site.build("auto").ok();
    let before = site.lock();
    // A newer release, of which an extension cannot be had.
    let (path, iso) = (ISO.replace("17.0", "17.1"), [&*site.iso, &[0; 2048]].concat());
    site.put(&path, &iso);
    site.server.put(NEWEST, Answer::ok(checksum(&path, &iso)));
    site.extension("tool.tcz", "", &squashfs("usr/local/bin/another-tool"));
    let guest = format!("{EXTENSIONS}/guest.tcz");
    site.server.put(&format!("{guest}.md5.txt"), Answer::status(503));
    let refusal = site.update().refusal();
    assert!(refusal.contains("guest.tcz") && refusal.contains("image.lock pins stays"), "{refusal}");
    let kept = |site: &Site| {
        assert_eq!(site.lock(), before);
        site.build("auto").ok();
        assert_eq!(site.lock(), before);
    };
    kept(&site);

    site.put(&guest, &squashfs("usr/local/bin/guest"));
    site.update().ok();
    let after = site.lock();
    assert!(after.contains("base = \"tinycore=17.1\"") && !after.contains("CorePure64-17.0"), "{after}");
    site.build("auto").ok();
    assert_eq!(site.lock(), after);

    site.go_away();
    site.update().refusal();
    assert_eq!(site.lock(), after);
    site.build("auto").ok();
}

#[test]
fn a_driver_or_an_extension_that_cannot_be_had_is_named() {
    let Some(site) = Site::new() else { return };
    site.describe(&[&site.server], "megaraid_sas");
    let refusal = site.build("tinycore").refusal();
    assert!(refusal.contains("megaraid_sas") && !refusal.contains("hpsa") && !refusal.contains("hv_"), "{refusal}");
    let path = format!("{EXTENSIONS}/library.tcz");
    for path in [&path, &format!("{path}.md5.txt")] {
        site.server.put(path, Answer::status(404));
    }
    let _ = fs::remove_dir_all(site.bench.path("cache"));
    let refusal = site.build("tinycore").refusal();
    assert!(refusal.contains("library.tcz, which tool.tcz needs"), "{refusal}");
    let refusal = site.build("tinycore=17").refusal();
    assert!(refusal.contains("17.x"), "{refusal}");
}

#[test]
fn auto_takes_tiny_core_where_it_can_be_had_and_keeps_to_it() {
    let Some(site) = Site::new() else { return };
    let choice = |site: &Site| {
        let words = site.build("auto").words;
        words.lines().find(|line| line.starts_with("base: ")).unwrap_or(&words).to_owned()
    };
    let said = choice(&site);
    assert!(said.starts_with("base: tinycore=17.0 (") && said.contains("can be reached"), "{said}");
    assert!(site.lock().contains("base = \"tinycore=17.0\""), "{}", site.lock());
    site.go_away();
    assert!(choice(&site).ends_with("image.lock says so)"));

    fs::remove_file(site.bench.path("image.lock")).unwrap();
    assert!(choice(&site).contains("it is in the cache"));
    assert_eq!(site.bench.names("out").len(), 7, "the image is whole");

    let (Some(lonely), nobody) = (Site::new(), Server::start()) else { return };
    lonely.describe(&[&nobody], "hpsa");
    let said = choice(&lonely);
    assert!(said.starts_with("base: debian (no Tiny Core is in the cache") && said.contains("has 17.x"), "{said}");
    assert!(!lonely.lock().contains("base ="), "no Debian can be had here: {}", lonely.lock());
}

#[test]
fn auto_keeps_to_no_base_that_it_could_not_have() {
    let Some(site) = Site::new() else { return };
    // What lets checksums through and not the file, and what lacks a driver. Debian, which comes next, cannot be had here.
    let passes_over = |why: &str| {
        let words = site.build("auto").refusal();
        let said = words.lines().filter(|line| line.starts_with("base: ")).nth(1).unwrap_or(&words);
        assert!(said.starts_with("base: debian (tinycore=17.0 cannot be used: ") && said.contains(why), "{words}");
        assert!(!site.lock().contains("base ="), "{}", site.lock());
    };
    site.server.put(ISO, Answer::status(503));
    passes_over("CorePure64-17.0.iso (3 tries): the mirror answers 503");
    site.put(ISO, &site.iso);
    site.describe(&[&site.server], "megaraid_sas");
    passes_over("megaraid_sas");

    site.bench.put("image.lock", b"format = 1\nbase = \"tinycore=17.3\"\n");
    let refusal = site.build("auto").refusal();
    assert!(refusal.contains("the line `base = \"tinycore=17.3\"` of image.lock"), "{refusal}");
    assert!(refusal.contains("none of") && refusal.contains("17.3.iso"), "{refusal}");
}

#[test]
fn auto_takes_no_other_base_for_faults_of_this_machine_or_of_the_description() {
    let Some(site) = Site::new() else { return };
    let refused = |why: &str| {
        let words = site.build("auto").refusal();
        assert!(words.contains(why) && !words.contains("base: debian"), "{words}");
        assert!(!site.lock().contains("base ="), "{}", site.lock());
    };
    // A folder where the ISO, or an extension, is to be written.
    let cache = site.bench.path("cache/tinycore");
    let in_the_way = ["x86_64/release/.CorePure64-17.0.iso.part", "x86_64/tcz/.tool.tcz.part"];
    for path in in_the_way.map(|path| cache.join("17.x").join(path)) {
        fs::create_dir_all(&path).unwrap();
        refused(path.file_name().unwrap().to_str().unwrap());
        fs::remove_dir(&path).unwrap();
    }
    // An extension that no mirror has, which each of them says.
    let described = fs::read_to_string(site.bench.path("image.toml")).unwrap();
    site.bench.put("image.toml", described.replace("\"tool.tcz\"", "\"tol.tcz\"").as_bytes());
    refused("no mirror of Tiny Core has tol.tcz");
    site.bench.put("image.toml", described.as_bytes());
    // One that no mirror answers for.
    let tool = format!("{EXTENSIONS}/tool.tcz.md5.txt");
    site.server.put(&tool, Answer::status(503));
    let words = site.build("auto").refusal();
    assert!(words.contains("base: debian (tinycore=17.0 cannot be used: ") && words.contains(&tool), "{words}");
}
