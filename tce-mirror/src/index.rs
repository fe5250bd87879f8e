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

/// Stands for the release of a kernel, which is not known here.
const KERNEL: &str = "KERNEL";

/// What a folder has, and lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// Number of extensions.
    pub count: usize,
    /// Extensions that are not there, each behind the one that needs it. Names with `KERNEL` are not looked for.
    pub missing: Vec<(String, String)>,
}

/// Writes the lists of a folder.
///
/// # Errors
/// The folder cannot be read or written, or an extension in it is no squashfs image or differs from its checksum.
pub fn write(folder: &Path) -> Result<Index> {
    let mut names = Vec::new();
    let shown = || format!("cannot read the folder {}", folder.display());
    for entry in fs::read_dir(folder).with_context(shown)? {
        let name = entry.with_context(shown)?.file_name().to_string_lossy().into_owned();
        // No release of a kernel: `KERNEL` stays as it is where a file's name has it.
        if name.ends_with(SUFFIX) && plan::name(&name, KERNEL).as_ref() == Some(&name) {
            names.push(name);
        }
    }
    names.sort();
    ensure!(!names.is_empty(), "{} has no {SUFFIX} in it", folder.display());
    let mut lists: BTreeMap<&str, String> = BTreeMap::new();
    let mut missing = Vec::new();
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
        let needs = plan::names(&dep, KERNEL);
        *lists.entry("dep.db").or_default() += &block(&needs);
        let lacking = needs.into_iter().filter(|need| !need.contains(KERNEL) && names.binary_search(need).is_err());
        missing.extend(lacking.map(|need| (name.clone(), need)));
    }
    for (list, text) in lists {
        fetch::place(&folder.join(list), text.as_bytes())?;
        // Without time and name: the same list makes the same bytes.
        let mut gz = GzBuilder::new().mtime(0).write(Vec::new(), Compression::best());
        gz.write_all(text.as_bytes())?;
        fetch::place(&folder.join(format!("{list}.gz")), &gz.finish()?)?;
    }
    Ok(Index { count: names.len(), missing })
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
        fs::write(at("b.tcz.dep"), "a.tcz\r\n\r\nnet-KERNEL.tcz\ngone.tcz\n").unwrap();
        let gone = ("b.tcz".to_owned(), "gone.tcz".to_owned());
        assert_eq!(write(folder.path()).unwrap(), Index { count: 2, missing: vec![gone] });
        let text = |name: &str| fs::read_to_string(at(name)).unwrap();
        assert_eq!(text("info.lst"), "a.tcz\nb.tcz\n");
        assert_eq!(text("provides.db"), "a.tcz\nusr/bin/a\n\nb.tcz\nusr/bin/b\n\n");
        assert_eq!(text("dep.db"), "a.tcz\n\nb.tcz\na.tcz\nnet-KERNEL.tcz\ngone.tcz\n\n");
        assert_eq!(text("a.tcz.list"), "usr/bin/a\n");
        assert!(text("md5.db").contains(text("b.tcz.md5.txt").trim()));
        fs::write(at("b.tcz.info"), "Description:\tThe b\r\n").unwrap();
        let found = crate::find::file(folder.path().to_str().unwrap(), "bin/b").unwrap();
        let paths = vec!["usr/bin/b".to_owned()];
        assert_eq!(found, [crate::find::Found { name: "b.tcz".into(), description: "The b".into(), paths }]);
        let before = fs::read(at("provides.db.gz")).unwrap();
        write(folder.path()).unwrap();
        assert_eq!(fs::read(at("provides.db.gz")).unwrap(), before, "the same folder makes the same lists");
        fs::write(at("a.tcz"), "other").unwrap();
        let error = format!("{:#}", write(folder.path()).unwrap_err());
        assert!(error.contains("a.tcz") && error.contains("damaged"), "{error}");
    }
}
