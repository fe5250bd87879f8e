//! Gives the program digests of the sources that decide what a base and an extension look like, so that one in the
//! cache is used as long as the same code would make it, and no longer.

use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

/// Names of the digests, and the sources that they cover.
const DIGESTS: [(&str, &[&str]); 2] = [
    (
        "BASE_SOURCES",
        &[
            "src/base",
            "src/cpio",
            "../tce-mirror/src/deb.rs",
            "../tce-mirror/src/elf.rs",
            "../tce-mirror/src/libraries.rs",
            "../tce-mirror/src/recipe.rs",
            "../tce-mirror/src/tcz.rs",
            "../tce-mirror/src/tree.rs",
        ],
    ),
    ("TCZ_SOURCES", &["../tce-mirror/src/tcz.rs"]),
];

fn main() {
    for (name, sources) in DIGESTS {
        let mut files = Vec::new();
        for source in sources {
            println!("cargo::rerun-if-changed={source}");
            collect(Path::new(source), &mut files);
        }
        files.sort();
        let mut digest = Sha256::new();
        for file in files {
            digest.update(file.to_string_lossy().as_bytes());
            digest.update(std::fs::read(&file).unwrap_or_default());
        }
        let hex: String = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        println!("cargo::rustc-env={name}={hex}");
    }
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) {
    match std::fs::read_dir(path) {
        Ok(entries) => entries.flatten().for_each(|entry| collect(&entry.path(), files)),
        Err(_) => files.push(path.to_owned()),
    }
}
