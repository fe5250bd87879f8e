//! The lists at the top of a repository's folder, from the extensions in it, so that Tiny Core's own tools can search and
//! update from it: `info.lst` (names), `provides.db` (files of each), `dep.db` (dependencies of each), `md5.db` and
//! `tags.db`, each plain and as `.gz`; beside each extension its `.md5.txt` and its `.list`.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufReader, Write as _};
use std::path::Path;

use anyhow::{Context as _, Result, anyhow, ensure};
use backhand::{FilesystemReader, InnerNode};
use flate2::{Compression, GzBuilder};

use crate::checksum;
use crate::fetch;
use crate::plan::{self, SUFFIX};

/// Writes the lists of a folder; gives the number of extensions.
///
/// # Errors
/// The folder cannot be read or written, or an extension in it is no squashfs image or differs from its checksum.
pub fn write(folder: &Path) -> Result<usize> {
    let mut names = Vec::new();
    let shown = || format!("cannot read the folder {}", folder.display());
    for entry in fs::read_dir(folder).with_context(shown)? {
        let name = entry.with_context(shown)?.file_name().to_string_lossy().into_owned();
        // No release of a kernel: `KERNEL` stays as it is where a file's name has it.
        if name.ends_with(SUFFIX) && plan::name(&name, "KERNEL").as_ref() == Some(&name) {
            names.push(name);
        }
    }
    names.sort();
    ensure!(!names.is_empty(), "{} has no {SUFFIX} in it", folder.display());
    let mut lists: BTreeMap<&str, String> = BTreeMap::new();
    for name in &names {
        let files = one(folder, name).with_context(|| folder.join(name).display().to_string())?;
        let dep = fs::read_to_string(folder.join(format!("{name}.dep"))).unwrap_or_default();
        let block =
            |lines: &[String]| format!("{name}\n{}\n", lines.iter().map(|l| format!("{l}\n")).collect::<String>());
        *lists.entry("info.lst").or_default() += &format!("{name}\n");
        *lists.entry("tags.db").or_default() += &format!("{name}\n");
        *lists.entry("md5.db").or_default() += &format!("{}  {name}\n", files.md5);
        *lists.entry("provides.db").or_default() += &block(&files.paths);
        // As the `.dep` writes them, `KERNEL` and all.
        *lists.entry("dep.db").or_default() += &block(&plan::names(&dep, "KERNEL"));
    }
    for (list, text) in lists {
        fetch::place(&folder.join(list), text.as_bytes())?;
        // Without time and name: the same list makes the same bytes.
        let mut gz = GzBuilder::new().mtime(0).write(Vec::new(), Compression::best());
        gz.write_all(text.as_bytes())?;
        fetch::place(&folder.join(format!("{list}.gz")), &gz.finish()?)?;
    }
    Ok(names.len())
}

/// What an extension's lists say of it.
struct Files {
    md5: String,
    paths: Vec<String>,
}

/// Reads one extension and writes what stands beside it, where it is missing.
fn one(folder: &Path, name: &str) -> Result<Files> {
    let bytes = fs::read(folder.join(name)).context("cannot be read")?;
    let (sum, beside) = (checksum::md5(&bytes), folder.join(format!("{name}.md5.txt")));
    let md5 = checksum::hex(&sum);
    match fs::read_to_string(&beside) {
        Ok(text) => {
            let said = checksum::parse(&text, name).with_context(|| beside.display().to_string())?;
            ensure!(
                said == sum,
                "its MD5 is {md5}, {name}.md5.txt says {}: one of them is damaged",
                checksum::hex(&said)
            );
        }
        Err(_) => fetch::place(&beside, format!("{md5}  {name}\n").as_bytes())?,
    }
    let reader = FilesystemReader::from_reader(BufReader::new(std::io::Cursor::new(&bytes)))
        .map_err(|error| anyhow!("it is no squashfs image: {error}"))?;
    let mut paths = Vec::new();
    for node in reader.files().filter(|node| !matches!(node.inner, InnerNode::Dir(_))) {
        paths.push(node.fullpath.to_string_lossy().trim_start_matches('/').to_owned());
    }
    let list = folder.join(format!("{name}.list"));
    if !list.exists() {
        fetch::place(&list, paths.iter().map(|path| format!("{path}\n")).collect::<String>().as_bytes())?;
    }
    Ok(Files { md5, paths })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tcz::{self, Packing};
    use crate::tree::Tree;

    fn put(folder: &Path, name: &str) {
        let mut tree = Tree::default();
        tree.file(&format!("usr/bin/{name}"), 0o755, name).unwrap();
        fs::write(folder.join(format!("{name}.tcz")), tcz::write(&tree, Packing::TinyCore, 0).unwrap()).unwrap();
    }

    #[test]
    fn lists_of_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        put(folder.path(), "a");
        put(folder.path(), "b");
        fs::write(at("b.tcz.dep"), "a.tcz\r\n\r\nnet-KERNEL.tcz\n").unwrap();
        assert_eq!(write(folder.path()).unwrap(), 2);
        let text = |name: &str| fs::read_to_string(at(name)).unwrap();
        assert_eq!(text("info.lst"), "a.tcz\nb.tcz\n");
        assert_eq!(text("provides.db"), "a.tcz\nusr/bin/a\n\nb.tcz\nusr/bin/b\n\n");
        assert_eq!(text("dep.db"), "a.tcz\n\nb.tcz\na.tcz\nnet-KERNEL.tcz\n\n");
        assert_eq!(text("a.tcz.list"), "usr/bin/a\n");
        assert!(text("md5.db").contains(text("b.tcz.md5.txt").trim()));
        let before = fs::read(at("provides.db.gz")).unwrap();
        write(folder.path()).unwrap();
        assert_eq!(fs::read(at("provides.db.gz")).unwrap(), before, "the same folder makes the same lists");
        fs::write(at("a.tcz"), "other").unwrap();
        let error = format!("{:#}", write(folder.path()).unwrap_err());
        assert!(error.contains("a.tcz") && error.contains("damaged"), "{error}");
    }
}
