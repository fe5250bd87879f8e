//! What is fuzzed of the builder: each parser of bytes from outside by a name, with what must be true of it, and folders or files of the work
//! tree that have examples.
//!
//! `cargo xtask fuzz` runs them guided by coverage; the test below runs what that has found, and changes of it.

use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::path::PathBuf;

use nix::sys::memfd::{MFdFlags, memfd_create};

use crate::base::tinycore::{self, rootfs::Rootfs};
use crate::cpio::{initrd, newc, tree::Tree, write::Archive};
use crate::gems::{list, source, spec, version};
use crate::iso::Iso;
use crate::{base, bootline, build, image, input, mirrors, slot};

/// Name, what is checked of any bytes, and where examples are.
pub type Target = (&'static str, fn(&[u8]), &'static [&'static str]);

/// All of them.
pub const TARGETS: &[Target] = &[
    ("agent_elf", agent_elf, &[]),
    ("boot_line", boot_line, &[]),
    ("cpio", cpio, &[]),
    ("gem", gem, &[]),
    ("gem_index", gem_index, &[]),
    ("gem_metadata", spec::fuzz, &[]),
    ("gem_version", gem_version, &[]),
    ("image_descriptions", image::fuzz, &["wire/golden/v1"]),
    ("image_lock", image_lock, &[]),
    ("image_toml", image_toml, &[]),
    ("initrd", initrd, &[]),
    ("iso", iso, &[]),
    ("mirror_version", mirror_version, &[]),
    ("module_elf", module_elf, &[]),
    ("rootfs", rootfs, &[]),
    ("site_slot", site_slot, &[]),
    ("site_texts", site_texts, &[]),
];

/// Bytes of a sector of an ISO.
const SECTOR: usize = 2048;
/// Most bytes that an input may unpack to here.
const UNPACKED: u64 = 1 << 20;

fn agent_elf(bytes: &[u8]) {
    let _ = build::elf::check_static(bytes);
}

fn module_elf(bytes: &[u8]) {
    let fields = base::elf::modinfo(bytes).unwrap_or_default();
    assert!(fields.len() <= bytes.len());
}

/// The arguments of a span fill a span of the same length, if it has no odd characters.
fn boot_line(bytes: &[u8]) {
    let Ok(arguments) = bootline::read(bytes) else { return };
    if let Ok(span) = bootline::fill(&arguments, bytes.len() + 1) {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert!(bootline::read(&span).is_ok_and(|again| words(&again) == words(&arguments)));
    }
}

/// Members lie in the archive, and are read as the same once they are written.
fn cpio(bytes: &[u8]) {
    let mut archive = Archive::new(0);
    let mut written = Vec::new();
    let mut tree = Tree::default();
    for member in newc::members(bytes).map_while(Result::ok) {
        tree.apply(&member);
        let Ok(name) = std::str::from_utf8(member.name) else { continue };
        if archive.file(name, 0o644, member.data).is_ok() {
            written.push((member.name, member.data));
        }
        for result in [tree.follow(name), tree.place(name)] {
            assert!(result.ok().flatten().is_none_or(|path| path.split('/').all(|part| part != "..")), "{name:?}");
        }
    }
    let archive = archive.finish();
    let read: Vec<_> = newc::members(&archive).map_while(Result::ok).map(|member| (member.name, member.data)).collect();
    assert_eq!(read, written);
}

/// No more comes out than was allowed, however often something is packed.
fn initrd(bytes: &[u8]) {
    let mut seen = 0;
    let _ = initrd::for_each(bytes, UNPACKED, |member| seen += member.data.len() as u64);
    assert!(seen <= UNPACKED + bytes.len() as u64, "{seen} bytes of {}", bytes.len());
}

fn rootfs(bytes: &[u8]) {
    let Ok(root) = Rootfs::read(bytes) else { return };
    for path in root.paths() {
        assert!(!path.starts_with('/') && path.split('/').all(|part| part != ".."), "{path:?}");
        let _ = root.content(path);
    }
    let _ = (tinycore::release(&root), tinycore::own_modules(&root));
    if let Ok((archive, behind)) = root.archive(0, ".gz") {
        assert!(behind <= archive.len());
        assert!(Rootfs::read(&archive).is_ok_and(|again| again.paths().eq(root.paths())));
    }
}

/// What a slot holds fills a slot, from which it is read as the same.
fn site_slot(bytes: &[u8]) {
    let Ok(content) = slot::Content::from_slot(bytes) else { return };
    let Ok(again) = content.to_slot(UNPACKED) else { return };
    assert!(slot::Content::from_slot(&again).is_ok_and(|again| again == content), "{content:?}");
}

fn site_texts(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Ok(url) = input::server_url(&text, false) {
        assert!(input::server_url(&url, false).is_ok_and(|again| again == url), "{url:?}");
    }
    if let Ok(keys) = slot::public_keys(&text) {
        assert!(slot::public_keys(&keys).is_ok_and(|again| again == keys), "{keys:?}");
    }
    if let Ok(pem) = input::ca_certificates(&text) {
        assert!(input::ca_certificates(&pem).is_ok_and(|again| again == pem), "{pem:?}");
    }
}

fn gem(bytes: &[u8]) {
    if let Ok(spec) = spec::read(bytes) {
        assert!(!spec.full_name().contains('/'));
    }
}

fn gem_index(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let candidates = source::info(&text).unwrap_or_default();
    assert!(candidates.iter().all(|candidate| candidate.sha256.len() == 64));
    let _ = list::parse(&text);
}

/// Versions, one a line: they are in one order, and each meets a requirement of itself.
fn gem_version(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let versions: Vec<_> = text.lines().take(3).filter_map(|line| version::Version::parse(line).ok()).collect();
    for one in &versions {
        for operator in ["=", ">=", "<=", "~>"] {
            let requirement = version::Requirement::parse(&format!("{operator} {one}"));
            assert!(requirement.is_ok_and(|requirement| requirement.takes(one)), "{operator} {one}");
        }
    }
    if let [one, other, third] = &versions[..] {
        assert_eq!(one.cmp(other), other.cmp(one).reverse());
        assert!(!(one <= other && other <= third) || one <= third, "{versions:?}");
    }
    if let Ok(requirement) = version::Requirement::parse(&text) {
        let again = version::Requirement::parse(&requirement.to_string());
        assert!(again.is_ok_and(|again| again == requirement), "{requirement}");
    }
}

fn mirror_version(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Ok(version) = text.parse::<mirrors::version::Version>() {
        assert_eq!(version.to_string().parse::<mirrors::version::Version>().ok(), Some(version));
        let _ = version.newest(&text);
    }
    let _ = mirrors::version::Version::of_path(&text);
}

fn image_lock(bytes: &[u8]) {
    let _ = base::lock::Lock::parse(&String::from_utf8_lossy(bytes));
}

fn image_toml(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let _ = base::config::Config::parse(&text);
    build::config::fuzz(&text);
}

/// An image of sectors, each given by a length and so many bytes, behind the sixteen that no ISO uses. What is said of a file
/// lies in the image.
fn iso(mut bytes: &[u8]) {
    let mut sectors = vec![0; 16 * SECTOR];
    while let [length, rest @ ..] = bytes {
        let (start, next) = rest.split_at(rest.len().min(usize::from(*length)));
        sectors.extend(start);
        sectors.resize(sectors.len().next_multiple_of(SECTOR), 0);
        bytes = next;
    }
    let Ok(memory) = memfd_create("iso", MFdFlags::empty()) else { return };
    let mut file = std::fs::File::from(memory);
    if file.write_all(&sectors).is_err() {
        return;
    }
    let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    let Ok(mut image) = Iso::open(&path) else { return };
    for name in ["boot/mk.gz", "boot", "A", "boot/isolinux/isolinux.cfg"] {
        if let Ok(Some(extent)) = image.extent(name) {
            assert!(extent.offset() + extent.len() <= sectors.len() as u64, "{name}: {extent:?}");
        }
        let _ = image.read(name);
    }
    let names = ["", "boot"].into_iter().flat_map(|folder| image.list(folder).unwrap_or_default());
    assert!(names.count() <= sectors.len());
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_parser_keeps_its_promises_on_the_corpus_and_on_changes_of_it() {
        mk_tests::fuzz::check(super::TARGETS);
    }
}
