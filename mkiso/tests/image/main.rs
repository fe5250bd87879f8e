//! `mkiso build` and `mkiso customize` as programs, on a small base: what they refuse, what they leave behind, and that
//! the same inputs make the same bytes.

#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

mod customized;
mod interrupted;
mod mirrored;
mod synthetic;

use std::fs;
use std::path::Path;
use std::process::Command;

use mkiso::cpio::initrd;
use mkiso::iso::Iso;
use synthetic::{Bench, Ran};

/// Endings of the files of one image.
const FILES: [&str; 7] = ["embed.json", "initrd", "iso", "manifest.json", "sha256", "spdx.json", "vmlinuz"];

fn stem(variant: &str) -> String {
    format!("razor-mk-{}-{variant}", env!("CARGO_PKG_VERSION"))
}

#[test]
fn the_same_inputs_make_the_same_bytes_in_another_folder() {
    let Some(bench) = Bench::new() else { return };
    let first = bench.build("base.iso", "production", "one", &[]).ok();
    fs::remove_dir_all(bench.path("cache")).unwrap();
    bench.put("elsewhere/agent", &fs::read(bench.path("agent")).unwrap());
    bench.build("base.iso", "production", "deep/er/two", &["--agent", "elsewhere/agent"]).ok();
    assert_eq!(first, bench.path("one").join(format!("{}.iso", stem("production"))));
    let names: Vec<String> = FILES.iter().map(|suffix| format!("{}.{suffix}", stem("production"))).collect();
    assert_eq!(bench.names("one"), names);
    assert_eq!(bench.names("deep/er/two"), names);
    for name in names {
        let read = |folder: &str| fs::read(bench.path(folder).join(&name)).unwrap();
        assert!(read("one") == read("deep/er/two"), "{name} differs");
    }
}

#[test]
fn the_bases_initrd_stays_and_ours_come_behind_it() {
    let Some(bench) = Bench::new() else { return };
    let iso = bench.build("base.iso", "development", "out", &["--ssh-key", "key.pub"]).ok();
    let mut iso = Iso::open(&iso).unwrap();
    let mut file = |name: &str| iso.read(name).unwrap().unwrap();
    let base = fs::read(bench.path("base-tree/boot/corepure64.gz")).unwrap();
    assert!(file("boot/corepure64.gz") == base);
    let (segment, slot) = (file("boot/mk.gz"), file("boot/site.img"));
    let joined = fs::read(bench.path("out").join(format!("{}.initrd", stem("development")))).unwrap();
    let mut expected = base;
    expected.resize(expected.len().next_multiple_of(4), 0);
    expected.extend([segment.clone(), slot].concat());
    assert!(joined == expected);
    let mut names = Vec::new();
    initrd::for_each(&segment, 1 << 20, |member| names.push(String::from_utf8(member.name.to_vec()).unwrap())).unwrap();
    for name in ["usr/sbin/mk-agent", "etc/razor-mk/image.json", "etc/shadow", "tmp/builtin/optional/openssh.tcz"] {
        assert!(names.iter().any(|have| have == name), "{name} in {names:?}");
    }
}

#[test]
fn extensions_are_listed_behind_what_they_depend_on() {
    let Some(bench) = Bench::new() else { return };
    let iso = bench.build("base.iso", "production", "out", &[]).ok();
    assert_eq!(listed_and_there(&iso).0, "drivers-6.1.0-test.tcz\nlibrary.tcz\ntool.tcz\n");
}

#[test]
fn extensions_of_the_mirror_are_there_with_what_they_need_and_not_loaded() {
    let Some(bench) = Bench::new() else { return };
    let config = synthetic::CONFIG.replace("extensions = [\"tool.tcz\"]", "extensions = []\nmirror = [\"tool.tcz\"]");
    bench.put("image.toml", config.as_bytes());
    let (list, there) = listed_and_there(&bench.build("base.iso", "production", "out", &[]).ok());
    assert_eq!(list, "drivers-6.1.0-test.tcz\n");
    assert!(
        ["library.tcz", "tool.tcz", "tool.tcz.dep"].iter().all(|name| there.iter().any(|t| t == name)),
        "{there:?}"
    );
    bench.put("image.toml", config.replace("\"tool.tcz\"", "\"openssh.tcz\"").as_bytes());
    let refusal = bench.build("base.iso", "production", "other", &[]).refusal();
    assert!(refusal.contains("openssh.tcz is for remote log-in"), "{refusal}");
}

/// The list of the extensions that an image loads at boot, and the names of all that it has.
fn listed_and_there(iso: &Path) -> (String, Vec<String>) {
    let segment = Iso::open(iso).unwrap().read("boot/mk.gz").unwrap().unwrap();
    let (mut list, mut there) = (String::new(), Vec::new());
    initrd::for_each(&segment, 1 << 20, |member| {
        let name = String::from_utf8_lossy(member.name);
        if name.ends_with("onboot.lst") {
            list = String::from_utf8(member.data.to_vec()).unwrap();
        }
        there.extend(name.strip_prefix("tmp/builtin/optional/").map(str::to_owned));
    })
    .unwrap();
    (list, there)
}

#[test]
fn what_is_no_core_iso_is_refused_with_the_reason() {
    let Some(bench) = Bench::new() else { return };
    bench.put("text.iso", &[b'x'; 100_000]);
    bench.base("other.iso", |tree| fs::remove_file(tree.join("boot/vmlinuz64")).unwrap());
    bench.base("core.iso", |tree| fs::rename(tree.join("boot/vmlinuz64"), tree.join("boot/vmlinuz")).unwrap());
    let whole = fs::read(bench.path("base.iso")).unwrap();
    bench.put("cut.iso", &whole[..whole.len() / 2]);
    for (base, words) in [
        ("missing.iso", "there is no base"),
        ("text.iso", "is no ISO image"),
        ("other.iso", "is no Core ISO"),
        ("core.iso", "32-bit"),
        ("cut.iso", "download it again"),
    ] {
        let refusal = bench.build(base, "production", "out", &[]).refusal();
        assert!(refusal.contains(base) && refusal.contains(words), "{base}: {refusal}");
    }
    assert!(bench.names("out").is_empty());
}

#[test]
fn a_base_without_a_required_module_is_refused_by_its_name() {
    let Some(bench) = Bench::new() else { return };
    let config = synthetic::CONFIG.replace("\"e1000\"", "\"e1000\", \"ixgbe\"");
    bench.put("image.toml", config.as_bytes());
    let refusal = bench.build("base.iso", "production", "out", &[]).refusal();
    assert!(refusal.contains("ixgbe") && !refusal.contains("e1000 "), "{refusal}");
}

#[test]
fn a_missing_extension_is_named_with_who_wants_it() {
    let Some(bench) = Bench::new() else { return };
    bench.base("base.iso", |tree| fs::remove_file(tree.join("cde/optional/library.tcz")).unwrap());
    let refusal = bench.build("base.iso", "production", "out", &[]).refusal();
    assert!(refusal.contains("tool.tcz.dep asks for library.tcz"), "{refusal}");
}

#[test]
fn a_dynamic_agent_is_refused() {
    let Some(bench) = Bench::new() else { return };
    let refusal = bench.build("base.iso", "production", "out", &["--agent", "/bin/sh"]).refusal();
    assert!(refusal.contains("crt-static"), "{refusal}");
    assert!(bench.names("out").is_empty());
}

#[test]
fn a_production_image_never_has_sshd() {
    let Some(bench) = Bench::new() else { return };
    let refusal = bench.build("base.iso", "production", "out", &["--ssh-key", "key.pub"]).refusal();
    assert!(refusal.contains("no sshd"), "{refusal}");
    let refusal = bench.build("base.iso", "debug", "out", &[]).refusal();
    assert!(refusal.contains("--ssh-key"), "{refusal}");
    let by_dependency = |tree: &Path| fs::write(tree.join("cde/optional/tool.tcz.dep"), "openssh\n").unwrap();
    bench.base("base.iso", by_dependency);
    let refusal = bench.build("base.iso", "production", "out", &[]).refusal();
    assert!(refusal.contains("openssh.tcz"), "{refusal}");
}

#[test]
fn a_full_disk_leaves_nothing_behind_and_says_so() {
    let Some(bench) = Bench::new() else { return };
    // First 16 KiB, where the first file does not fit; then as much as all files but the ISO need.
    for blocks in ["32", "700"] {
        let mut build = bench.mkiso();
        build.args(["build", "--config", "image.toml", "--base", "base.iso", "--cache", "cache", "--agent", "agent"]);
        build.args(["--variant", "production", "--out", "out"]);
        let mut command = Command::new("sh");
        command.arg("-c").arg(format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$@\"")).arg("sh");
        command.arg(build.get_program()).args(build.get_args()).current_dir(bench.path(""));
        let refusal = Ran::new(&mut command).refusal();
        assert!(refusal.contains("free some space"), "{blocks}: {refusal}");
        assert!(bench.names("out").is_empty(), "{blocks}: {:?}", bench.names("out"));
    }
}
