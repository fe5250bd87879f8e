//! A small Core ISO, made here: nothing in it boots, but its layout is a real one, usr-merged as Debian's.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use backhand::{FilesystemWriter, NodeHeader};
use mkiso::cpio::write::Archive;

/// Release of the kernel that the base claims.
pub(crate) const RELEASE: &str = "6.1.0-test";
/// `image.toml` for it.
pub(crate) const CONFIG: &str = r#"
[image]
early = ["drivers-KERNEL.tcz"]
extensions = ["tool.tcz"]
remote = ["openssh.tcz"]
required_modules = ["af_packet", "e1000"]
site_slot = 65536

[modules.deny]
mei = "resets the machine"
"#;
/// An enrolment token.
pub(crate) const TOKEN: &str = "mke-0123456789abcdef0123456789abcdef";
/// A public key that nobody has.
pub(crate) const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIE1NRkFCQ0RFRkdISUpLTE1OT1BRUlNUVVZXWFla nobody@nowhere\n";

/// A folder with all that a build needs.
pub(crate) struct Bench {
    folder: tempfile::TempDir,
}

impl Bench {
    /// Makes the inputs; `None`, said on stderr, where xorriso is missing.
    pub(crate) fn new() -> Option<Self> {
        if Command::new("xorriso").arg("-version").output().is_err() {
            mk_tests::skip("there is no xorriso");
            return None;
        }
        let bench = Self { folder: tempfile::tempdir().unwrap() };
        bench.put("image.toml", CONFIG.as_bytes());
        bench.put("rootfs-overlay/MANIFEST.toml", b"[path.\"etc/shadow\"]\nmode = \"0600\"\n");
        bench.put("rootfs-overlay/etc/shadow", b"root:*:0:0:99999:7:::\n");
        bench.put("key.pub", KEY.as_bytes());
        bench.put("token", format!("{TOKEN}\n").as_bytes());
        bench.put("agent", &static_program());
        bench.base("base.iso", |_| {});
        Some(bench)
    }

    /// A path within the folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file within the folder.
    pub(crate) fn put(&self, name: &str, bytes: &[u8]) {
        put(self.folder.path(), name, bytes);
    }

    /// Makes a base ISO; `change` may change its tree before.
    pub(crate) fn base(&self, name: &str, change: impl FnOnce(&Path)) {
        let tree = self.path("base-tree");
        let _ = fs::remove_dir_all(&tree);
        put(&tree, "boot/vmlinuz64", b"kernel");
        put(&tree, "boot/corepure64.gz", &initrd());
        let mut isolinux = vec![0; 4096];
        // What tells xorriso that this loader can start from a disk.
        isolinux[64..68].copy_from_slice(&[0xfb, 0xc0, 0x78, 0x70]);
        put(&tree, "boot/isolinux/isolinux.bin", &isolinux);
        put(&tree, "boot/isolinux/ldlinux.c32", b"library");
        put(&tree, "boot/isolinux/isohdpfx.bin", &[0x90; 432]);
        put(&tree, "boot/efi/BOOTX64.EFI", b"shim");
        put(&tree, "boot/efi/grubx64.efi", b"grub");
        let module = format!("usr/local/lib/modules/{RELEASE}/kernel/drivers/net/e1000.ko");
        put(&tree, &format!("cde/optional/drivers-{RELEASE}.tcz"), &squashfs(&module));
        put(&tree, "cde/optional/tool.tcz", &squashfs("usr/local/bin/tool"));
        put(&tree, "cde/optional/tool.tcz.dep", b"library.tcz\n");
        put(&tree, "cde/optional/library.tcz", &squashfs("usr/local/lib/library.so"));
        put(&tree, "cde/optional/openssh.tcz", &squashfs("usr/local/sbin/sshd"));
        change(&tree);
        let args = ["-as", "mkisofs", "-quiet", "-R", "-J", "-o"];
        let run = Command::new("xorriso").args(args).arg(self.path(name)).arg(&tree).output().unwrap();
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    }

    /// `mkiso build` with `args` behind what every build here needs; later options win where clap lets them.
    pub(crate) fn build(&self, base: &str, variant: &str, out: &str, args: &[&str]) -> Ran {
        Ran::new(&mut self.building(base, variant, out, args))
    }

    /// The same, not yet started.
    pub(crate) fn building(&self, base: &str, variant: &str, out: &str, args: &[&str]) -> Command {
        let mut command = self.mkiso();
        command.args(["build", "--config"]).arg(self.path("image.toml"));
        command.arg("--base").arg(self.path(base)).arg("--cache").arg(self.path("cache"));
        command.args(["--variant", variant, "--out"]).arg(self.path(out)).args(args);
        if !args.contains(&"--agent") {
            command.arg("--agent").arg(self.path("agent"));
        }
        command
    }

    /// `mkiso`, not yet started, in the folder.
    pub(crate) fn mkiso(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mkiso"));
        command.current_dir(self.folder.path()).env("SOURCE_DATE_EPOCH", "1700000000");
        command
    }

    /// Names in a folder, sorted; none where there is no such folder.
    pub(crate) fn names(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(folder)).into_iter().flatten().flatten();
        let mut names: Vec<String> = entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

/// What a run of `mkiso` left.
pub(crate) struct Ran {
    /// Whether it succeeded.
    pub(crate) success: bool,
    /// What it wrote to stderr.
    pub(crate) words: String,
    /// What it wrote to stdout, without the line feed.
    pub(crate) result: String,
}

impl Ran {
    /// Runs a command to its end.
    pub(crate) fn new(command: &mut Command) -> Self {
        let output = command.output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        Self { success: output.status.success(), words: text(&output.stderr), result: text(&output.stdout) }
    }

    /// The words of a run that must have failed.
    pub(crate) fn refusal(self) -> String {
        assert!(!self.success, "it should have failed: {}", self.words);
        self.words
    }

    /// The result of a run that must have succeeded.
    pub(crate) fn ok(self) -> PathBuf {
        assert!(self.success, "{}", self.words);
        PathBuf::from(self.result)
    }
}

fn put(folder: &Path, name: &str, bytes: &[u8]) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

fn initrd() -> Vec<u8> {
    let modules = format!("usr/lib/modules/{RELEASE}");
    let mut archive = Archive::new(0);
    for folder in ["etc", "root", "tmp", "usr", "usr/bin", "usr/lib", "usr/lib/modules", "usr/sbin", &modules] {
        archive.dir(folder, 0o755).unwrap();
    }
    archive.link("lib", "usr/lib").unwrap();
    archive.link("sbin", "usr/sbin").unwrap();
    let kernel = format!("{modules}/kernel");
    archive.dir(&kernel, 0o755).unwrap();
    for module in ["loop", "squashfs"] {
        archive.file(&format!("{kernel}/{module}.ko"), 0o644, b"module").unwrap();
    }
    let dep = "kernel/loop.ko:\nkernel/squashfs.ko:\nkernel/drivers/net/e1000.ko:\n";
    archive.file(&format!("{modules}/modules.dep"), 0o644, dep.as_bytes()).unwrap();
    archive.file(&format!("{modules}/modules.builtin"), 0o644, b"kernel/net/packet/af_packet.ko\n").unwrap();
    gzip(&archive.finish())
}

/// One gzip member.
pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut compressor = libdeflater::Compressor::new(libdeflater::CompressionLvl::fastest());
    let mut gzip = vec![0; compressor.gzip_compress_bound(bytes.len())];
    let len = compressor.gzip_compress(bytes, &mut gzip).unwrap();
    gzip.truncate(len);
    gzip
}

/// A squashfs image with one file.
pub(crate) fn squashfs(path: &str) -> Vec<u8> {
    squashfs_of(path, b"content")
}

/// The same with this content.
pub(crate) fn squashfs_of(path: &str, content: &'static [u8]) -> Vec<u8> {
    let mut writer = FilesystemWriter::default();
    let header = NodeHeader { permissions: 0o755, ..NodeHeader::default() };
    writer.push_dir_all(Path::new(path).parent().unwrap(), header).unwrap();
    writer.push_file(content, path, header).unwrap();
    let mut bytes = std::io::Cursor::new(Vec::new());
    writer.write(&mut bytes).unwrap();
    bytes.into_inner()
}

/// The smallest file that is a static x86_64 program in form: a header and one segment.
fn static_program() -> Vec<u8> {
    let mut bytes = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3e\0\x01\0\0\0".to_vec();
    for word in [0x40_0000_u64, 64, 0] {
        bytes.extend(word.to_le_bytes());
    }
    for half in [0, 0, 64, 56, 1, 0, 0, 0_u16] {
        bytes.extend(half.to_le_bytes());
    }
    bytes.extend(1_u32.to_le_bytes());
    bytes.resize(64 + 56, 0);
    bytes
}
