//! The short form of fuzzing: each target of a crate's table over its corpus, its examples, and changes of both. The
//! changes are the same in every run. Guided by coverage, and for longer, `cargo xtask fuzz` does it.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::time::Instant;

use walkdir::WalkDir;

use crate::limits::{FUZZ_CHANGES, FUZZ_INPUT, FUZZ_LONGEST};

/// Name, what is checked of any bytes, and folders or files of the work tree that have examples.
type Target = (&'static str, fn(&[u8]), &'static [&'static str]);

/// Letters and numbers that formats are made of, beside what stands in the inputs.
const PIECES: [&[u8]; 14] = [
    b"\0",
    b"\n",
    b"\xff\xff\xff\xff",
    b"\0\0\0\0",
    b"\x7f\xff",
    b"\x80\0",
    b"-",
    b"=",
    b":",
    b"\"",
    b"../",
    b"{",
    b"[",
    b"99999999999999999999",
];

/// Runs all targets; stops at the first input that one of them does not stand, and says which.
///
/// # Panics
/// As the target does, or when it takes too long.
pub fn check(targets: &[Target]) {
    for (name, target, examples) in targets {
        let seeds = seeds(name, examples);
        for (path, bytes) in &seeds {
            run(name, *target, bytes, &path.display().to_string());
        }
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        for change in 0..FUZZ_CHANGES {
            let bytes = changed(&seeds, &mut random);
            run(name, *target, &bytes, &format!("change {change}: {bytes:02x?}"));
        }
    }
}

/// The corpus and the examples, in order of their paths.
fn seeds(name: &str, examples: &[&str]) -> Vec<(PathBuf, Vec<u8>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."));
    let corpus = root.join("fuzz/corpus").join(name);
    let folders = [corpus].into_iter().chain(examples.iter().map(|example| root.join(example)));
    let files = folders.flat_map(|folder| WalkDir::new(folder).sort_by_file_name()).filter_map(Result::ok);
    let files = files.filter(|entry| entry.file_type().is_file()).map(walkdir::DirEntry::into_path);
    let mut seeds: Vec<_> = files.filter_map(|path| Some((path.clone(), fs::read(&path).ok()?))).collect();
    seeds.retain(|(_, bytes)| bytes.len() <= FUZZ_LONGEST);
    assert!(!seeds.is_empty(), "{name} has neither corpus nor examples; make a corpus with: cargo xtask fuzz {name}");
    seeds
}

/// Runs one input, and says which it was where that ends badly.
fn run(name: &str, target: fn(&[u8]), bytes: &[u8], what: &str) {
    let begun = Instant::now();
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| target(bytes))) {
        eprintln!("the target {name} does not stand {what}");
        resume_unwind(panic);
    }
    let taken = begun.elapsed();
    assert!(taken < FUZZ_INPUT, "the target {name} takes {taken:?} for {what}");
}

/// One of the inputs with a few changes.
fn changed(seeds: &[(PathBuf, Vec<u8>)], random: &mut Random) -> Vec<u8> {
    let mut bytes = seeds[random.below(seeds.len())].1.clone();
    for _ in 0..=random.below(6) {
        let at = random.below(bytes.len() + 1);
        let until = (at + random.below(16)).min(bytes.len());
        match random.below(6) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(at..until)),
            2 => drop(bytes.splice(at..at, PIECES[random.below(PIECES.len())].iter().copied())),
            3 => {
                let piece = bytes[at..until].to_vec();
                let to = random.below(bytes.len() + 1);
                drop(bytes.splice(to..to, piece));
            }
            4 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            _ => bytes.insert(at, u8::try_from(random.below(256)).unwrap_or(0)),
        }
    }
    bytes
}

/// The same numbers in every run (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % end as u64).unwrap_or(0)
    }
}
