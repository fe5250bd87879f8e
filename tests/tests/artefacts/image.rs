//! A built image, looked into with outside tools only: xorriso, cpio, gzip, unsquashfs, mtools, sha256sum. Nothing that
//! wrote the image reads it here.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use duct::cmd;

/// All variants.
pub(crate) const VARIANTS: [&str; 3] = ["production", "development", "debug"];
/// First bytes of a plain archive's first member.
const FIRST_MEMBER: &[u8] = b"07070100000001";

/// One line of `cpio -itv`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Such as `drwxr-xr-x`.
    pub(crate) mode: String,
    /// Owner and group.
    pub(crate) owner: String,
    /// Path; a link's without its target.
    pub(crate) path: String,
}

/// An image and what was taken out of it.
pub(crate) struct Image {
    /// `production`, `development` or `debug`.
    pub(crate) variant: &'static str,
    /// The ISO.
    pub(crate) iso: PathBuf,
    folder: PathBuf,
}

/// Images that were taken apart already, in the order of [`VARIANTS`].
static OPEN: [OnceLock<Image>; 3] = [const { OnceLock::new() }; 3];

impl Image {
    /// The image of a variant in the folder `MK_DIST`, taken apart once for all tests.
    pub(crate) fn open(variant: &'static str) -> &'static Self {
        let at = VARIANTS.iter().position(|name| *name == variant).unwrap();
        OPEN[at].get_or_init(|| Self::take_apart(variant))
    }

    fn take_apart(variant: &'static str) -> Self {
        let iso = mk_tests::built::image(variant).unwrap();
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("artefacts").join(variant);
        if folder.exists() {
            fs::remove_dir_all(&folder).unwrap();
        }
        fs::create_dir_all(&folder).unwrap();
        let image = Self { variant, iso, folder };
        let tree = image.path("iso");
        cmd!("xorriso", "-osirrox", "on", "-indev", &image.iso, "-extract", "/", &tree)
            .stderr_capture()
            .stdout_null()
            .run()
            .unwrap();
        cmd!("chmod", "-R", "u+w", &tree).run().unwrap();
        image.unpack();
        image
    }

    /// Whether the variant has log-in.
    pub(crate) fn has_ssh(&self) -> bool {
        self.variant != "production"
    }

    /// A path in the folder in which the image was taken apart: `iso/…`, `root/…` (our files as they will be in the
    /// running image), `tcz/NAME/…`.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// A file of the folder as text.
    pub(crate) fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// A file of the folder as JSON.
    pub(crate) fn json(&self, name: &str) -> serde_json::Value {
        serde_json::from_str(&self.text(name)).unwrap()
    }

    /// A file beside the ISO.
    pub(crate) fn beside(&self, suffix: &str) -> PathBuf {
        self.iso.with_file_name(format!("{}.{suffix}", self.iso.file_stem().unwrap().to_str().unwrap()))
    }

    /// Writes each archive of the image to a file of its own, and unpacks ours.
    fn unpack(&self) {
        let gunzip = |from: &str, to: &str| {
            // Behind the gzip member of mk.gz more follows, which gzip reports and leaves alone: status 2.
            let run = cmd!("gzip", "-dc", self.path(from)).stdout_path(self.path(to)).stderr_null().unchecked().run();
            assert!(matches!(run.unwrap().status.code(), Some(0 | 2)), "{from}");
        };
        gunzip("iso/boot/corepure64.gz", "base.cpio");
        gunzip("iso/boot/mk.gz", "first.cpio");
        let segment = fs::read(self.path("iso/boot/mk.gz")).unwrap();
        let at = segment.windows(FIRST_MEMBER.len()).position(|bytes| bytes == FIRST_MEMBER).unwrap();
        assert_eq!(at % 4, 0, "the kernel takes a plain archive on a 4 byte boundary only");
        fs::write(self.path("second.cpio"), &segment[at..]).unwrap();
        fs::copy(self.path("iso/boot/site.img"), self.path("site.cpio")).unwrap();
        fs::create_dir(self.path("root")).unwrap();
        for archive in ["first.cpio", "second.cpio"] {
            let unpack = cmd!("cpio", "-idm", "--quiet", "--no-absolute-filenames", "-F", self.path(archive));
            unpack.dir(self.path("root")).run().unwrap();
        }
        for name in self.extensions() {
            let (file, to) = (self.path(&format!("root/tmp/builtin/optional/{name}")), self.path("tcz").join(&name));
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            cmd!("unsquashfs", "-q", "-n", "-d", to, file).stdout_null().run().unwrap();
        }
    }

    /// Names of the built-in extensions in order of loading.
    pub(crate) fn extensions(&self) -> Vec<String> {
        self.text("root/tmp/builtin/onboot.lst").lines().map(str::to_owned).collect()
    }

    /// Members of an archive: `base`, `first`, `second` or `site`.
    pub(crate) fn members(&self, archive: &str) -> Vec<Entry> {
        let file = self.path(&format!("{archive}.cpio"));
        // The kernel skips zeros; cpio wants an archive.
        if fs::read(&file).unwrap().iter().all(|byte| *byte == 0) {
            return Vec::new();
        }
        let list = cmd!("cpio", "-itv", "--quiet", "-F", file).env("LC_ALL", "C").read().unwrap();
        let entry = |line: &str| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let (mode, owner) = (words[0].to_owned(), format!("{}:{}", words[2], words[3]));
            Entry { mode, owner, path: words[8].to_owned() }
        };
        list.lines().map(entry).collect()
    }

    /// Everything that is in the image, by path: what the base and we unpack, and what is in the extensions.
    pub(crate) fn everything(&self) -> Vec<String> {
        let mut paths = Vec::new();
        for archive in ["base", "first", "second"] {
            paths.extend(self.members(archive).into_iter().map(|entry| entry.path));
        }
        for entry in walkdir::WalkDir::new(self.path("tcz")) {
            paths.push(entry.unwrap().path().to_string_lossy().into_owned());
        }
        paths
    }

    /// The kernel lines of the boot entries: isolinux' and GRUB's, each without loader's own words.
    pub(crate) fn kernel_lines(&self) -> (Vec<String>, Vec<String>) {
        let lines = |file: &str, word: &str| -> Vec<String> {
            let text = self.text(file);
            let lines = text.lines().filter_map(|line| line.trim().strip_prefix(word));
            lines.map(|line| line.trim().trim_start_matches("/boot/vmlinuz64").trim().to_owned()).collect()
        };
        (lines("iso/boot/isolinux/isolinux.cfg", "append "), lines("iso/boot/grub/grub.cfg", "linux "))
    }

    /// Digests that `sha256sum` gives, by path below the folder.
    pub(crate) fn sha256(&self, names: &[&str]) -> BTreeMap<String, String> {
        let digest = |name: &&str| {
            let line = cmd!("sha256sum", self.path(name)).read().unwrap();
            ((*name).to_owned(), line.split_whitespace().next().unwrap().to_owned())
        };
        names.iter().map(digest).collect()
    }
}
