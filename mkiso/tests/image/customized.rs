//! `mkiso customize`, `inspect` and `verify` as programs: what is changed and what is not, by each way to change it, and what is
//! found out about an image that is not what it says.

use std::fs;
use std::path::Path;

use mkiso::cpio::write::Archive;
use mkiso::iso::Iso;
use mkiso::slot::Content;
use serde_json::Value;

use crate::synthetic::{Bench, KEY, Ran, TOKEN};

fn mkiso(bench: &Bench, command: &str, args: &[&str]) -> Ran {
    Ran::new(bench.mkiso().arg(command).args(args))
}

/// What there is to set on any image, each as a site might.
const SETTINGS: [&str; 10] = [
    "--server",
    "http://10.0.0.1:8150/",
    "--enrolment-token",
    "token",
    "--fact",
    "rack=B12",
    "--arg",
    "razor.ip=10.0.0.5/24",
    "--arg",
    "razor.gw=10.0.0.1",
];

/// A unit of a site.
const UNIT: &str = "name = \"tool\"\ncommand = [\"/usr/local/bin/tool\"]\nafter = [\"ext\"]\nmemory_max = \"32M\"\n";

/// Where the file `name` lies in an ISO.
fn place(iso: &Path, name: &str) -> std::ops::Range<usize> {
    let extent = Iso::open(iso).unwrap().extent(name).unwrap().unwrap();
    usize::try_from(extent.offset()).unwrap()..usize::try_from(extent.end()).unwrap()
}

#[test]
fn customize_changes_slot_and_boot_lines_and_nothing_else() {
    let Some(bench) = Bench::new() else { return };
    let path = bench.build("base.iso", "debug", "out", &["--ssh-key", "key.pub"]).ok();
    let before = fs::read(&path).unwrap();
    let iso = path.to_str().unwrap();
    let line = ["--kernel-arg", "console=ttyS1,115200n8 nomodeset"];
    mkiso(&bench, "customize", &[&[iso][..], &SETTINGS, &line, &["--out", "copy.iso"]].concat()).ok();
    assert!(fs::read(iso).unwrap() == before, "with --out the image itself stays");
    let copy = fs::read(bench.path("copy.iso")).unwrap();
    assert_eq!(copy.len(), before.len());
    let files = ["boot/site.img", "boot/isolinux/isolinux.cfg", "boot/grub/grub.cfg"].map(|name| place(&path, name));
    let differ = (0..copy.len()).filter(|at| copy[*at] != before[*at]);
    assert!({ differ }.all(|at| files.iter().any(|file| file.contains(&at))), "another file was changed");
    let content = Content::from_slot(&copy[files[0].clone()]).unwrap();
    assert_eq!(content.site.server.as_deref(), Some("http://10.0.0.1:8150"));
    assert_eq!((content.site.facts["rack"].as_str(), content.site.args.len()), ("B12", 2));
    assert_eq!(content.site.enrolment.as_deref(), Some(TOKEN));
    assert_eq!(content.authorized_keys, KEY, "what was there before stays");
    for (file, word) in [(&files[1], "append "), (&files[2], "linux ")] {
        let text = String::from_utf8(copy[file.clone()].to_vec()).unwrap();
        let lines: Vec<_> = text.lines().filter(|line| line.trim_start().starts_with(word)).collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert!(lines.iter().all(|line| line.ends_with(" console=ttyS1,115200n8 nomodeset")), "{lines:?}");
    }
    mkiso(&bench, "customize", &[&[iso][..], &SETTINGS, &line].concat()).ok();
    assert!(fs::read(iso).unwrap() == copy, "in place the same");
    let mut streamed = bench.mkiso();
    streamed.args(["customize", "copy.iso", "--enrolment-token", "-", "--out", "-"]);
    streamed.stdin(fs::File::open(bench.path("token")).unwrap());
    let streamed = streamed.output().unwrap();
    assert!(streamed.status.success() && streamed.stdout == copy, "and from standard input to standard output");
}

#[test]
fn what_was_put_in_can_be_taken_out_of_iso_and_initrd() {
    let Some(bench) = Bench::new() else { return };
    let bare = bench.build("base.iso", "production", "out", &[]).ok();
    let own = bench.build("base.iso", "debug", "out", &["--ssh-key", "key.pub", "--server", "http://10.9.9.9"]).ok();
    let line = &["--kernel-arg", "quiet"][..];
    for (file, line) in [
        (bare.clone(), line),
        (bare.with_extension("initrd"), &[]),
        (own.clone(), line),
        (own.with_extension("initrd"), &[]),
    ] {
        let iso = file.with_extension("iso");
        let name = file.to_str().unwrap();
        let (before, sums) = (fs::read(&file).unwrap(), fs::read(iso.with_extension("sha256")).unwrap());
        bench.put("tool.toml", UNIT.as_bytes());
        let all = [&[name][..], &SETTINGS, &["--unit", "tool.toml"], line].concat();
        let streamed = bench.mkiso().arg("customize").args(&all).args(["--out", "-"]).output().unwrap();
        mkiso(&bench, "customize", &all).ok();
        assert!(fs::read(&file).unwrap() != before);
        assert!(
            streamed.status.success() && streamed.stdout == fs::read(&file).unwrap(),
            "{name} is streamed the same"
        );
        assert!(fs::read(iso.with_extension("sha256")).unwrap() != sums, "the checksum beside it stays true");
        let shown = mkiso(&bench, "inspect", &[name]).ok();
        let shown = shown.to_str().unwrap();
        for words in [
            "http://10.0.0.1:8150",
            "enrolment token   there is one",
            "rack=B12",
            "razor.ip=10.0.0.5/24",
            "unit              tool",
        ] {
            assert!(shown.contains(words), "{shown}");
        }
        let json = mkiso(&bench, "inspect", &["--json", name]).ok();
        assert!(!shown.contains(TOKEN) && !json.to_str().unwrap().contains(TOKEN), "whether there is one, not which");
        let json: Value = serde_json::from_str(json.to_str().unwrap()).unwrap();
        assert_eq!(json["units"]["tool"], UNIT);
        assert_eq!(json["has_enrolment_token"], true);
        assert_eq!(json["kernel_arguments"], line.last().copied().unwrap_or_default());
        mkiso(&bench, "verify", &[name]).ok();
        mkiso(&bench, "customize", &[name, "--reset"]).ok();
        assert!(fs::read(&file).unwrap() == before, "{name} is what it was");
        assert!(fs::read(iso.with_extension("sha256")).unwrap() == sums);
        let verified = mkiso(&bench, "verify", &[name]).ok();
        assert!(verified.to_str().unwrap().contains("nothing was put into it"), "{verified:?}");
    }
}

#[test]
fn customize_refuses_what_an_image_cannot_honour() {
    let Some(bench) = Bench::new() else { return };
    let path = bench.build("base.iso", "production", "out", &[]).ok();
    let (iso, initrd) = (path.to_str().unwrap(), path.with_extension("initrd"));
    let before = (fs::read(iso).unwrap(), fs::read(&initrd).unwrap());
    let (initrd, moved) = (initrd.to_str().unwrap(), bench.path("moved.initrd"));
    fs::copy(initrd, &moved).unwrap();
    let fact = format!("big={}", "x".repeat(70_000));
    let (long, moved) = ("quiet ".repeat(200) + &"x".repeat(1100), moved.to_str().unwrap());
    bench.put("net.toml", UNIT.replace("\"tool\"\n", "\"net\"\n").as_bytes());
    for (args, words) in [
        (vec![iso, "--ssh-key", "key.pub"], "production image: an image without sshd"),
        (vec![iso, "--server", "10.0.0.1"], "no server URL"),
        (vec![iso, "--fact", "rack"], "no value"),
        (vec![iso, "--fact", &fact], "the site's settings need "),
        (vec![iso, "--fact", &fact], " bytes, the image's slot has 65536; leave something out"),
        (vec![iso, "--arg", "razor.ip=10.0.0.5"], "razor.ip=10.0.0.5 is not understood. Correct it: write razor.ip="),
        (
            vec![iso, "--arg", "razor.vlan=5", "--arg", "razor.bond=lacp,eth0"],
            "write razor.bond=MODE,PORT,PORT with MODE one",
        ),
        (vec![iso, "--unit", "key.pub"], "the unit file cannot be used: line 1 is not understood"),
        (vec![iso, "--unit", "net.toml"], "a unit net of its own"),
        (vec![iso, "--arg", "razor.vlans=4"], "razor.vlans is no argument"),
        (vec![iso, "--kernel-arg", &long], "boot lines have 1024"),
        (vec![iso, "--kernel-arg", "a=$b"], "do not hand on"),
        (vec![initrd, "--kernel-arg", "quiet"], "microkernel.kernel_args"),
        (vec![iso, "--unit", "-"], "cannot open the unit file -:"),
        (vec![iso], "nothing to do"),
        (vec!["base.iso", "--server", "http://a"], "mk/embed.json"),
        (vec!["agent", "--server", "http://a"], "is no ISO image"),
        (vec![moved, "--server", "http://a"], "keep both together"),
    ] {
        let refusal = mkiso(&bench, "customize", &args).refusal();
        assert!(refusal.contains(words), "{args:.100?}: {refusal:.500}");
    }
    assert!((fs::read(iso).unwrap(), fs::read(initrd).unwrap()) == before);
    let manifest = path.with_extension("manifest.json");
    fs::remove_file(&manifest).unwrap();
    bench.put("tool.toml", UNIT.as_bytes());
    let refusal = mkiso(&bench, "customize", &[initrd, "--unit", "tool.toml"]).refusal();
    assert!(refusal.contains(&format!("{} is missing", manifest.display())), "{refusal}");
    mkiso(&bench, "customize", &[initrd, "--server", "http://a"]).ok();
    bench.put("many.pub", format!("{}\n", KEY.trim()).repeat(1000).as_bytes());
    let debug = bench.build("base.iso", "debug", "out", &["--ssh-key", "key.pub"]).ok();
    let refusal = mkiso(&bench, "customize", &[debug.to_str().unwrap(), "--ssh-key", "many.pub"]).refusal();
    assert!(refusal.contains("has 65536"), "{refusal}");
}

#[test]
fn verify_finds_a_changed_byte_in_each_file_and_what_does_not_belong() {
    let Some(bench) = Bench::new() else { return };
    let path = bench.build("base.iso", "production", "out", &[]).ok();
    let (iso, released) = (path.to_str().unwrap(), path.with_extension("manifest.json"));
    let whole = ["--manifest", released.to_str().unwrap(), "--base", "base.iso"];
    let verified = mkiso(&bench, "verify", &[&[iso][..], &whole].concat()).ok();
    let verified = verified.to_str().unwrap();
    for words in ["right: boot/vmlinuz64", "right: agent", "right: tool.tcz", "right: the base base.iso"] {
        assert!(verified.contains(words), "{verified}");
    }
    assert!(verified.contains("not compared: the base with its maker's checksum"), "{verified}");
    let digest =
        std::process::Command::new("md5sum").arg("base.iso").current_dir(bench.path("")).output().unwrap().stdout;
    for (text, is_right) in [(digest.as_slice(), true), (b"0123456789abcdef0123456789abcdef  base.iso\n", false)] {
        bench.put("base.iso.md5.txt", text);
        let compared = mkiso(&bench, "verify", &[&[iso][..], &whole].concat());
        let said = if is_right { compared.ok().display().to_string() } else { compared.refusal() };
        assert!(said.contains("the base with its maker's base.iso.md5.txt"), "{said}");
    }
    let bytes = fs::read(iso).unwrap();
    let manifest: Value = serde_json::from_slice(&fs::read(&released).unwrap()).unwrap();
    let names: Vec<&str> =
        manifest["members"].as_array().unwrap().iter().map(|m| m["name"].as_str().unwrap()).collect();
    assert!(names.len() > 8, "{names:?}");
    for name in names.iter().filter(|name| !["boot/site.img", "mk/embed.json"].contains(name)) {
        let mut changed = bytes.clone();
        changed[place(&path, name).start] ^= 1;
        bench.put("changed.iso", &changed);
        let refusal = mkiso(&bench, "verify", &["changed.iso"]).refusal();
        assert!(refusal.contains(name), "{name}: {refusal}");
    }
    let mut changed = bytes.clone();
    changed[place(&path, "boot/isolinux/boot.cat").start] ^= 1;
    bench.put("changed.iso", &changed);
    mkiso(&bench, "verify", &["changed.iso"]).ok();
    let refusal = mkiso(&bench, "verify", &["changed.iso", "--manifest", whole[1]]).refusal();
    assert!(refusal.contains("the whole of"), "what no file holds is found with the released manifest: {refusal}");
    let other = bench.build("base.iso", "debug", "other", &["--ssh-key", "key.pub"]).ok();
    let refusal = mkiso(&bench, "verify", &[other.to_str().unwrap(), "--manifest", whole[1]]).refusal();
    assert!(refusal.contains("with the one that was released"), "{refusal}");
    bench.base("another.iso", |tree| fs::write(tree.join("boot/vmlinuz64"), "another").unwrap());
    let refusal = mkiso(&bench, "verify", &[iso, "--base", "another.iso"]).refusal();
    assert!(refusal.contains("the base another.iso") && refusal.contains("boot/vmlinuz64 as in"), "{refusal}");
}

#[test]
fn verify_finds_what_is_put_into_an_initrd_and_beside_it() {
    let Some(bench) = Bench::new() else { return };
    let path = bench.build("base.iso", "production", "out", &[]).ok().with_extension("initrd");
    let (initrd, descriptor, kernel) =
        (path.to_str().unwrap(), path.with_extension("embed.json"), path.with_extension("vmlinuz"));
    mkiso(&bench, "verify", &[initrd]).ok();
    let bytes = fs::read(&path).unwrap();
    let mut changed = bytes.clone();
    changed[100] ^= 1;
    fs::write(&path, changed).unwrap();
    assert!(mkiso(&bench, "verify", &[initrd]).refusal().contains("boot/corepure64.gz"));

    // A program in the slot, and a descriptor that looks elsewhere.
    let embed: Value = serde_json::from_slice(&fs::read(&descriptor).unwrap()).unwrap();
    let mut archive = Archive::new(0);
    archive.file("sbin/mk-agent", 0o755, b"another agent").unwrap();
    let (archive, mut changed) = (archive.finish(), bytes.clone());
    let at = usize::try_from(embed["site"]["offset"].as_u64().unwrap()).unwrap();
    changed[at..at + archive.len()].copy_from_slice(&archive);
    fs::write(&path, changed).unwrap();
    assert!(mkiso(&bench, "verify", &[initrd]).refusal().contains("which this version of mkiso does not know"));
    let mut lying = embed.clone();
    lying["site"]["length"] = 0.into();
    fs::write(&descriptor, lying.to_string()).unwrap();
    let refusal = mkiso(&bench, "verify", &[initrd]).refusal();
    assert!(refusal.contains("boot/site.img is where the descriptor says"), "{refusal}");

    fs::write(&path, &bytes).unwrap();
    fs::write(&descriptor, embed.to_string()).unwrap();
    fs::write(&kernel, "another kernel").unwrap();
    assert!(mkiso(&bench, "verify", &[initrd]).refusal().contains("boot/vmlinuz64"));
    fs::remove_file(&kernel).unwrap();
    assert!(mkiso(&bench, "verify", &[initrd]).refusal().contains("is missing"));
}

#[test]
fn a_descriptor_that_names_bytes_twice_is_refused_before_anything_is_written() {
    let Some(bench) = Bench::new() else { return };
    let path = bench.build("base.iso", "debug", "out", &["--ssh-key", "key.pub"]).ok();
    let mut bytes = fs::read(&path).unwrap();
    let place = place(&path, "mk/embed.json");
    let text = String::from_utf8(bytes[place.clone()].to_vec()).unwrap();
    let offsets: Vec<u64> = serde_json::from_str::<Value>(&text).unwrap()["boot_lines"]
        .as_array()
        .unwrap()
        .iter()
        .map(|l| l["offset"].as_u64().unwrap())
        .collect();
    let twice = text.replacen(
        &format!("\"offset\": {}", offsets[1]),
        &format!("\"offset\": {:<width$}", offsets[0], width = offsets[1].to_string().len()),
        1,
    );
    assert_eq!(twice.len(), text.len());
    bytes[place].copy_from_slice(twice.as_bytes());
    bench.put("twice.iso", &bytes);
    let refusal = mkiso(&bench, "customize", &["twice.iso", "--fact", "rack=1"]).refusal();
    assert!(refusal.contains("twice"), "{refusal}");
    assert!(fs::read(bench.path("twice.iso")).unwrap() == bytes);
}
