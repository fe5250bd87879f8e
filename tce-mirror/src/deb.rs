//! Reads Debian packages: an `ar` archive of `debian-binary`, `control.tar` and `data.tar`, each compressed with gzip,
//! xz, zstd or not at all. Input is a stream of bytes that nobody vouches for; sizes are bounded by the caller.

use std::collections::BTreeMap;
use std::io::Read;

use anyhow::{Context as _, Result, anyhow, bail, ensure};

use crate::tree::{Kind, Node, Tree, clean, stays_within};

/// Largest control archive in bytes, unpacked. Real ones are a few hundred kilobytes at most.
const MAX_CONTROL: u64 = 16 * 1024 * 1024;
/// What a package that is refused for its size unpacks to.
const TOO_MUCH: &str = "more than is allowed; it is damaged or made to harm";

/// A package: what it says of itself and the files that were asked for.
#[derive(Debug, Clone, Default)]
pub struct Deb {
    /// Fields of the control file, by name as written.
    pub control: BTreeMap<String, String>,
    /// The other members of the control archive that are text, such as `postinst`, by name. They are never run.
    pub scripts: BTreeMap<String, String>,
    /// When it was built, in seconds since 1970.
    pub built: u32,
    /// The files.
    pub tree: Tree,
}

impl Deb {
    /// A field of the control file, empty where it is missing.
    #[must_use]
    pub fn field(&self, name: &str) -> &str {
        self.control.get(name).map_or("", String::as_str)
    }
}

/// Reads a package, keeping the files that `place` has a place for, given their path (relative, cleaned). At most
/// `limit` bytes of the data archive are unpacked, and at most as many are kept again under further names of their files.
///
/// # Errors
/// Names the member of the package that cannot be read, and why.
pub fn read(package: impl Read, limit: u64, mut place: impl FnMut(&str) -> Option<String>) -> Result<Deb> {
    let mut deb = Deb::default();
    let mut archive = ar::Archive::new(package);
    let (mut have_control, mut have_data) = (false, false);
    while let Some(entry) = archive.next_entry() {
        let entry = entry.context("no Debian package: its outer archive is damaged or cut short")?;
        let name = String::from_utf8_lossy(entry.header().identifier()).into_owned();
        let (declared, time) = (entry.header().size(), entry.header().mtime());
        let mut counted = Counted { inner: entry, read: 0 };
        if let Some(suffix) = name.strip_prefix("control.tar") {
            (deb.control, deb.scripts) =
                read_control(decompress(suffix, &mut counted, MAX_CONTROL)?).context(name.clone())?;
            deb.built = u32::try_from(time).unwrap_or_default();
            have_control = true;
        } else if let Some(suffix) = name.strip_prefix("data.tar") {
            deb.tree = read_data(decompress(suffix, &mut counted, limit)?, limit, &mut place).context(name.clone())?;
            have_data = true;
        } else {
            continue;
        }
        std::io::copy(&mut counted, &mut std::io::sink()).with_context(|| format!("{name} cannot be read"))?;
        if counted.read != declared {
            bail!("{name} is cut short: {} of {declared} bytes are there", counted.read);
        }
    }
    match (have_control, have_data) {
        (true, true) => Ok(deb),
        (false, _) => bail!("no Debian package: it has no control archive"),
        (_, false) => bail!("no Debian package: it has no data archive"),
    }
}

/// Counts what is read, since the outer archive's reader takes its own end for the member's.
struct Counted<R> {
    inner: R,
    read: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.read += n as u64;
        Ok(n)
    }
}

fn decompress<'a>(suffix: &str, input: impl Read + 'a, limit: u64) -> Result<Box<dyn Read + 'a>> {
    let plain: Box<dyn Read + 'a> = match suffix {
        "" => Box::new(input),
        ".gz" => Box::new(flate2::read::GzDecoder::new(input)),
        ".xz" => Box::new(liblzma::read::XzDecoder::new(input)),
        ".zst" => Box::new(zstd::Decoder::new(input).context("zstd")?),
        other => bail!("unknown compression {other:?}; known are none, .gz, .xz and .zst"),
    };
    Ok(Box::new(Bounded { inner: plain, left: limit }))
}

/// Fails, rather than ends, when more than a number of bytes are read.
struct Bounded<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.left =
            self.left.checked_sub(n as u64).ok_or_else(|| std::io::Error::other(format!("unpacks to {TOO_MUCH}")))?;
        Ok(n)
    }
}

/// Fields of the control file, and the texts beside it.
type Control = (BTreeMap<String, String>, BTreeMap<String, String>);

fn read_control(tar: impl Read) -> Result<Control> {
    let mut archive = tar::Archive::new(tar);
    let mut texts = BTreeMap::new();
    for entry in archive.entries()? {
        let mut entry = entry?;
        let name = clean(&entry.path()?.to_string_lossy())?;
        if entry.header().entry_type().is_file() {
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes)?;
            texts.insert(name, String::from_utf8_lossy(&bytes).into_owned());
        }
    }
    let control = texts.remove("control").ok_or_else(|| anyhow!("no file named control in it"))?;
    Ok((parse_control(&control), texts))
}

/// Fields of the first paragraph of a control file. Lines that are no field are skipped; continuation lines are joined
/// by line feeds, without their leading blank.
#[must_use]
pub fn parse_control(text: &str) -> BTreeMap<String, String> {
    let mut fields: BTreeMap<String, String> = BTreeMap::new();
    let mut last: Option<String> = None;
    for line in text.lines() {
        if line.trim().is_empty() {
            if fields.is_empty() {
                continue;
            }
            break;
        }
        if let Some(more) = line.strip_prefix([' ', '\t']) {
            if let Some(value) = last.as_ref().and_then(|name| fields.get_mut(name)) {
                value.push('\n');
                value.push_str(more);
            }
        } else if let Some((name, value)) = line.split_once(':') {
            fields.insert(name.to_owned(), value.trim().to_owned());
            last = Some(name.to_owned());
        }
    }
    fields
}

fn read_data(tar: impl Read, limit: u64, place: &mut impl FnMut(&str) -> Option<String>) -> Result<Tree> {
    let mut tree = Tree::default();
    // What hard links may still bring: each is a copy here, and costs the archive next to nothing.
    let mut left = limit;
    let mut archive = tar::Archive::new(tar);
    for entry in archive.entries()? {
        let mut entry = entry?;
        let packed = {
            let raw = entry.path()?;
            let raw = raw.to_str().ok_or_else(|| anyhow!("{} is no UTF-8", raw.display()))?;
            ensure!(!raw.starts_with('/'), "{raw:?} is an absolute path, which no package should hold");
            ensure!(!raw.contains(char::is_control), "{raw:?} has a control character in its name");
            clean(raw)?
        };
        let Some(path) = place(&packed).filter(|path| !path.is_empty()) else { continue };
        let mode = u16::try_from(entry.header().mode()? & 0o7777).unwrap_or(0o644);
        let target = |entry: &tar::Entry<'_, _>| -> Result<String> {
            let target = entry.link_name()?.ok_or_else(|| anyhow!("{path} is a link without target"))?;
            Ok(target.to_str().ok_or_else(|| anyhow!("target of {path} is no UTF-8"))?.to_owned())
        };
        let kind = match entry.header().entry_type() {
            tar::EntryType::Directory => Kind::Dir,
            tar::EntryType::Regular | tar::EntryType::Continuous => {
                let mut content = Vec::new();
                entry.read_to_end(&mut content).with_context(|| path.clone())?;
                Kind::File(content)
            }
            tar::EntryType::Symlink => {
                let target = target(&entry)?;
                ensure!(stays_within(&packed, &target), "{path} is a link to {target:?}, which leads out of its root");
                Kind::Link(target)
            }
            tar::EntryType::Link => {
                let first = clean(&target(&entry)?)?;
                let node = place(&first)
                    .and_then(|at| tree.get(&at))
                    .ok_or_else(|| anyhow!("{path} is another name of {first}, which is not kept"))?;
                if let Kind::File(content) = &node.kind {
                    left = left.checked_sub(content.len() as u64).ok_or_else(|| {
                        anyhow!("{path} is another name of {first}, and with it the package unpacks to {TOO_MUCH}")
                    })?;
                }
                node.kind.clone()
            }
            other => bail!("{path} is of type {other:?}, which no package should hold"),
        };
        tree.insert(&path, Node { kind, mode })?;
    }
    Ok(tree)
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::Write as _;

    use proptest::prelude::*;

    use super::*;

    fn tar_of(files: &[(&str, &str)]) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        for (path, content) in files {
            let mut header = tar::Header::new_gnu();
            header.set_mode(0o755);
            header.set_size(content.len() as u64);
            tar.append_data(&mut header, path, content.as_bytes()).unwrap();
        }
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_mode(0o777);
        header.set_size(0);
        tar.append_link(&mut header, "./usr/bin/link", "tool").unwrap();
        tar.into_inner().unwrap()
    }

    fn deb(suffix: &str, files: &[(&str, &str)]) -> Vec<u8> {
        let control =
            tar_of(&[("./control", "Package: tool\nVersion: 1:2.0-3\nDescription: short\n long\n .\n end\n")]);
        let pack = |plain: Vec<u8>| match suffix {
            ".xz" => {
                let mut writer = liblzma::write::XzEncoder::new(Vec::new(), 1);
                writer.write_all(&plain).unwrap();
                writer.finish().unwrap()
            }
            ".zst" => zstd::encode_all(plain.as_slice(), 1).unwrap(),
            ".gz" => {
                let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                writer.write_all(&plain).unwrap();
                writer.finish().unwrap()
            }
            _ => plain,
        };
        let mut archive = ar::Builder::new(Vec::new());
        for (name, bytes) in [
            ("debian-binary".to_owned(), b"2.0\n".to_vec()),
            (format!("control.tar{suffix}"), pack(control)),
            (format!("data.tar{suffix}"), pack(tar_of(files))),
        ] {
            archive.append(&ar::Header::new(name.into_bytes(), bytes.len() as u64), bytes.as_slice()).unwrap();
        }
        archive.into_inner().unwrap()
    }

    fn whole(path: &str) -> Option<String> {
        Some(path.to_owned())
    }

    #[test]
    fn every_compression_is_read() {
        for suffix in ["", ".gz", ".xz", ".zst"] {
            let bytes = deb(suffix, &[("./usr/bin/tool", "binary"), ("./usr/share/doc/tool/copyright", "free")]);
            let deb = read(bytes.as_slice(), 1 << 20, |path| (!path.starts_with("usr/share")).then(|| path.to_owned()))
                .unwrap();
            assert_eq!(deb.field("Version"), "1:2.0-3", "{suffix}");
            assert_eq!(deb.field("Description"), "short\nlong\n.\nend");
            assert_eq!(deb.tree.content("usr/bin/tool").unwrap(), b"binary");
            assert_eq!(deb.tree.resolve("usr/bin/link").unwrap().0, "usr/bin/tool");
            assert!(deb.tree.get("usr/share").is_none());
        }
    }

    #[test]
    fn a_package_cut_short_is_refused_wherever_it_is_cut() {
        let bytes = deb(".xz", &[("./usr/bin/tool", "binary")]);
        for cut in 1..bytes.len() - 1 {
            assert!(read(&bytes[..cut], 1 << 20, whole).is_err(), "cut at {cut} of {}", bytes.len());
        }
    }

    #[test]
    fn a_bomb_is_refused() {
        let big = "0".repeat(1 << 20);
        let error = read(deb(".xz", &[("./x", &big)]).as_slice(), 1 << 16, whole).unwrap_err();
        assert!(format!("{error:#}").contains("more than is allowed"), "{error:#}");
    }

    #[test]
    fn so_is_one_of_hard_links_and_honest_ones_are_read() {
        const SIZE: u64 = 1 << 16;
        let linked = |links: usize| {
            let mut tar = tar::Builder::new(Vec::new());
            let mut header = tar::Header::new_gnu();
            header.set_mode(0o644);
            header.set_size(SIZE);
            tar.append_data(&mut header, "x", "0".repeat(1 << 16).as_bytes()).unwrap();
            header.set_size(0);
            header.set_entry_type(tar::EntryType::Link);
            for number in 0..links {
                tar.append_link(&mut header, format!("x{number}"), "x").unwrap();
            }
            read_data(tar.into_inner().unwrap().as_slice(), 4 * SIZE, &mut whole)
        };
        assert_eq!(linked(4).unwrap().content("x3").unwrap().len() as u64, SIZE);
        let error = linked(5).unwrap_err().to_string();
        assert!(error.contains("x4 is another name of x") && error.contains(TOO_MUCH), "{error}");
    }

    #[test]
    fn devices_are_refused_by_name() {
        for kind in [tar::EntryType::Char, tar::EntryType::Block, tar::EntryType::Fifo] {
            let mut tar = tar::Builder::new(Vec::new());
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(kind);
            header.set_mode(0o666);
            header.set_size(0);
            tar.append_data(&mut header, "dev/mem", &b""[..]).unwrap();
            let error = read_data(tar.into_inner().unwrap().as_slice(), 1 << 20, &mut whole).unwrap_err().to_string();
            assert!(error.contains("dev/mem is of type"), "{error}");
        }
    }

    #[test]
    fn what_is_no_package_is_said() {
        let error = read(&b"<html>not found</html>"[..], 1 << 20, whole).unwrap_err();
        assert!(format!("{error:#}").contains("no Debian package"), "{error:#}");
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_error_and_no_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
            let _ = read(bytes.as_slice(), 1 << 20, whole);
        }

        #[test]
        fn a_flipped_byte_never_panics(at in 0usize..400, bit in 0u8..8) {
            let mut bytes = deb("", &[("./usr/bin/tool", "binary")]);
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
            let _ = read(bytes.as_slice(), 1 << 20, whole);
        }

        #[test]
        fn any_control_file_is_parsed(text in "\\PC*") {
            let _ = parse_control(&text);
        }
    }
}
