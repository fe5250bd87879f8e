//! Gives the program a digest of the sources that decide what a base looks like, so that a base in the cache is used
//! as long as the same code would make it, and no longer.

use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

/// Sources whose change may change a base.
const SOURCES: [&str; 4] = ["src/base", "src/cpio", "../tce-mirror/src", "build.rs"];

fn main() {
    let mut files = Vec::new();
    for source in SOURCES {
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
    println!("cargo::rustc-env=BASE_SOURCES={hex}");
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) {
    match std::fs::read_dir(path) {
        Ok(entries) => entries.flatten().for_each(|entry| collect(&entry.path(), files)),
        Err(_) => files.push(path.to_owned()),
    }
}
