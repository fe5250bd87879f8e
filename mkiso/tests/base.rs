//! A built base, looked at with outside tools. Run with `MK_BASE` naming the ISO:
//! `MK_BASE=base.iso cargo test -p mkiso --test base`. Needs xorriso, cpio, gzip, squashfs-tools and coreutils.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail loudly")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The base, unpacked.
struct Base {
    folder: tempfile::TempDir,
    iso: PathBuf,
}

impl Base {
    fn open() -> Self {
        let iso = PathBuf::from(std::env::var_os("MK_BASE").expect("MK_BASE names a base ISO"));
        let folder = tempfile::tempdir().unwrap();
        run(folder.path(), &format!("xorriso -osirrox on -indev {} -extract / iso", iso.display()));
        run(
            folder.path(),
            "mkdir core && cd core && zcat ../iso/boot/corepure64.gz | cpio -idm --no-absolute-filenames",
        );
        Self { folder, iso }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn run(&self, command: &str) -> String {
        run(self.folder.path(), command)
    }

    fn extensions(&self) -> Vec<String> {
        std::fs::read_to_string(self.at("iso/cde/onboot.lst")).unwrap().lines().map(str::to_owned).collect()
    }

    fn release(&self) -> String {
        self.run("ls core/usr/lib/modules").trim().to_owned()
    }
}

fn run(folder: &Path, command: &str) -> String {
    let output =
        std::process::Command::new("bash").args(["-euo", "pipefail", "-c", command]).current_dir(folder).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn laid_out_as_tiny_core() {
    let base = Base::open();
    for path in [
        "boot/vmlinuz64",
        "boot/corepure64.gz",
        "boot/isolinux/isolinux.bin",
        "boot/isolinux/ldlinux.c32",
        "boot/isolinux/isohdpfx.bin",
        "boot/efi/BOOTX64.EFI",
        "boot/efi/grubx64.efi",
        "mk-base.json",
    ] {
        assert!(base.at("iso").join(path).is_file(), "{path}");
    }
    let report = base.run(&format!("xorriso -indev {} -report_el_torito plain 2>&1", base.iso.display()));
    assert!(report.contains("/boot/isolinux/isolinux.bin") && report.contains("isohybrid-suitable"), "{report}");
}

#[test]
fn the_initrd_keeps_the_kernels_rules() {
    let base = Base::open();
    let list = base.run("zcat iso/boot/corepure64.gz | cpio -itv --numeric-uid-gid 2>/dev/null");
    assert!(list.lines().all(|line| line.split_whitespace().nth(2) == Some("0")), "all is root's");
    let names = base.run("zcat iso/boot/corepure64.gz | cpio -it 2>/dev/null");
    let mut seen = BTreeSet::new();
    for name in names.lines() {
        if let Some((folder, _)) = name.rsplit_once('/') {
            assert!(seen.contains(folder), "{name} comes before its folder");
        }
        assert!(seen.insert(name), "{name} is there twice");
    }
    for link in ["bin", "sbin", "lib", "lib64"] {
        assert!(base.at("core").join(link).is_symlink(), "/{link}");
    }
    assert_eq!(base.run("grep -v ':[*]:' core/etc/shadow || true"), "", "every account is locked");
    let loader = base.at("core/usr/lib64/ld-linux-x86-64.so.2");
    assert!(loader.exists(), "programs find their loader");
}

#[test]
fn every_module_is_indexed_and_every_indexed_one_is_there() {
    let base = Base::open();
    let release = base.release();
    let early = base.run(&format!("cd core/usr/lib/modules/{release} && find . -name '*.ko' | sed 's,^./,,'"));
    for module in ["kernel/drivers/block/loop.ko", "kernel/fs/squashfs/squashfs.ko"] {
        assert!(early.lines().any(|line| line == module), "{module} is in the initrd");
    }
    let drivers = base.run(&format!("unsquashfs -l -d '' iso/cde/optional/drivers-{release}.tcz"));
    let prefix = format!("/usr/lib/modules/{release}/");
    let there: BTreeSet<&str> = drivers
        .lines()
        .filter_map(|l| l.strip_prefix(&prefix))
        .chain(early.lines())
        .filter(|l| l.ends_with(".ko"))
        .collect();
    let dep = std::fs::read_to_string(base.at(&format!("core/usr/lib/modules/{release}/modules.dep"))).unwrap();
    let indexed: BTreeSet<&str> = dep.lines().filter_map(|line| line.split(':').next()).collect();
    assert_eq!(there, indexed);
    for line in dep.lines() {
        for needed in line.split([':', ' ']).filter(|w| !w.is_empty()) {
            assert!(there.contains(needed), "{needed} of {line}");
        }
    }
    for driver in
        ["e1000e", "virtio_net", "vmxnet3", "bnx2", "megaraid_sas", "mpt3sas", "nvme", "hpsa", "ahci", "usb-storage"]
    {
        assert!(there.iter().any(|path| path.ends_with(&format!("/{driver}.ko"))), "{driver}");
    }
}

#[test]
fn extensions_are_squashfs_with_their_checksums() {
    let base = Base::open();
    let extensions = base.extensions();
    assert!(extensions.iter().any(|name| name == "firmware-server.tcz") && extensions.len() >= 5, "{extensions:?}");
    for name in extensions {
        let said = base.run(&format!("cd iso/cde/optional && md5sum -c {name}.md5.txt && unsquashfs -s {name}"));
        assert!(said.contains("SQUASHFS 4:0"), "{name}: {said}");
        assert!(base.at(&format!("iso/cde/optional/{name}.info")).is_file(), "{name}");
    }
    let firmware = base.run("unsquashfs -l -d '' iso/cde/optional/firmware-server.tcz");
    assert!(firmware.contains("/usr/lib/firmware/bnx2/bnx2-mips-09-6.2.1b.fw"), "{firmware}");
    for (name, packing) in [("bash", "zstd"), ("open-vm-tools", "xz")] {
        let said = base.run(&format!("unsquashfs -s iso/cde/optional/{name}.tcz"));
        assert!(said.contains(&format!("Compression {packing}")), "{name}: {said}");
    }
}

#[test]
fn programs_of_the_extensions_find_all_their_libraries() {
    let base = Base::open();
    for (name, program) in [
        ("bash", "/usr/bin/bash --version"),
        ("dmidecode", "/usr/sbin/dmidecode --version"),
        ("lshw", "/usr/bin/lshw -version"),
        ("openssh", "/usr/bin/ssh-keygen -A -f /tmp"),
        ("open-vm-tools", "/usr/bin/vmtoolsd --version"),
        ("open-vm-tools", "/usr/lib/x86_64-linux-gnu/open-vm-tools/plugins/vmsvc/libguestInfo.so"),
    ] {
        let root = format!("root-{name}");
        base.run(&format!(
            "rm -rf {root} && cp -a core {root} && unsquashfs -q -n -f -d {root} iso/cde/optional/{name}.tcz"
        ));
        let binary = program.split(' ').next().unwrap();
        let said = base.run(&format!(
            "{root}/usr/lib64/ld-linux-x86-64.so.2 --library-path {root}/usr/lib/x86_64-linux-gnu --list {root}{binary}"
        ));
        assert!(!said.contains("not found"), "{name}: {said}");
    }
}
