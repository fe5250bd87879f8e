//! `cargo xtask fuzz`: libFuzzer, guided by coverage, over each parser of bytes from outside; `docs/FUZZING.md` is about it.
//!
//! All code is compiled with the compiler's own pass for coverage, which stable Rust has; build scripts and macros are not,
//! since a target is named. What was found is merged into `fuzz/corpus`, which the plain tests of each crate run as well.

mod said;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use xshell::cmd;

use crate::{limits, place, programs};
use said::Said;

/// The one target that is tried: also what keeps build scripts out.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Tells the program its target.
const TARGET_VARIABLE: &str = "MK_FUZZ_TARGET";

/// Counters at each edge of the code, their places, and the two sides of each comparison.
const FLAGS: [&str; 7] = [
    "--cfg",
    "fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];

/// Arguments of `fuzz`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Targets; all of them without one.
    targets: Vec<String>,
    /// How long each of them is run.
    #[arg(long, default_value_t = limits::FUZZ_SECONDS)]
    seconds: u64,
    /// Leave the corpora in the work tree as they are.
    #[arg(long)]
    keep_corpus: bool,
}

/// Where one target's run has its files.
struct Run {
    program: PathBuf,
    name: String,
    /// Corpus in the work tree.
    corpus: PathBuf,
    /// Examples of the work tree, copied.
    examples: PathBuf,
    /// What adds coverage, from this run and those before.
    found: PathBuf,
    /// Inputs that a target did not stand.
    finds: PathBuf,
}

/// `cargo xtask fuzz`.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let _alone = place::alone("fuzz")?;
    let program = build()?;
    let sh = programs::shell()?;
    let list = cmd!(sh, "{program} list").quiet().read().context("the targets cannot be listed")?;
    let known: Vec<(&str, Vec<&str>)> = list.lines().filter_map(named).collect();
    for asked in &args.targets {
        ensure!(known.iter().any(|(name, _)| name == asked), "there is no target {asked}; there are:\n{list}");
    }
    let wanted = |name: &str| args.targets.is_empty() || args.targets.iter().any(|asked| asked == name);
    let mut broken = Vec::new();
    println!("{}", said::HEADS);
    for (name, examples) in known.into_iter().filter(|(name, _)| wanted(name)) {
        let run = Run::prepare(&program, name, &examples)?;
        let said = run.fuzz(args.seconds)?;
        if !args.keep_corpus {
            run.merge()?;
        }
        println!("{}", said.row(name, args.seconds, size(&run.corpus)?));
        if let Some(find) = said.find {
            broken.push(format!("{name}: {find}"));
        }
    }
    if broken.is_empty() {
        return Ok(());
    }
    bail!("inputs that a target does not stand; each goes into a test beside its parser:\n{}", broken.join("\n"))
}

fn build() -> anyhow::Result<PathBuf> {
    let (sh, dir) = (programs::shell()?, place::target().join("fuzz"));
    // Flags of the user's would be taken in place of those by target, and nothing would be counted.
    sh.set_var(programs::FLAGS_VARIABLE, FLAGS.join(programs::BETWEEN));
    let build = programs::cargo(&sh).args(["build", "--profile", "fuzz", "-p", "mk-fuzz", "--target", TARGET]);
    build.arg("--target-dir").arg(&dir).run().context("the fuzzer does not build; it needs a C++ compiler (g++)")?;
    Ok(dir.join(TARGET).join("fuzz/mk-fuzz"))
}

/// A line of the list: a name and places of examples.
fn named(line: &str) -> Option<(&str, Vec<&str>)> {
    let mut words = line.split_whitespace();
    Some((words.next()?, words.collect()))
}

impl Run {
    fn prepare(program: &Path, name: &str, examples: &[&str]) -> anyhow::Result<Self> {
        let (own, corpus) =
            (place::target().join("fuzz-runs").join(name), place::root().join("fuzz/corpus").join(name));
        let (program, name) = (program.to_owned(), name.to_owned());
        let run = Self { program, name, corpus, examples: own.join("examples"), found: own.join("found"), finds: own };
        place::clear(&run.examples)?;
        for folder in [&run.corpus, &run.found] {
            fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        }
        for example in examples {
            copy(&place::root().join(example), &run.examples)?;
        }
        Ok(run)
    }

    /// Runs it, until its time is over or it finds something.
    fn fuzz(&self, seconds: u64) -> anyhow::Result<Said> {
        let sh = programs::shell()?;
        let Self { program, name, corpus, examples, found, finds } = self;
        let (most, memory, time) = (limits::FUZZ_INPUT_BYTES, limits::FUZZ_MEMORY_MIB, limits::FUZZ_INPUT_SECONDS);
        let bounds = [
            format!("-max_total_time={seconds}"),
            format!("-max_len={most}"),
            format!("-rss_limit_mb={memory}"),
            format!("-timeout={time}"),
            format!("-artifact_prefix={}/", finds.display()),
        ];
        let log = finds.join("log");
        let output = fs::File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let run = cmd!(sh, "{program} {found} {corpus} {examples} {bounds...} -print_final_stats=1")
            .env(TARGET_VARIABLE, name);
        let status = std::process::Command::from(run.quiet()).stderr(output).status();
        let status = status.with_context(|| format!("cannot start {}", program.display()))?;
        let text = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
        let said = Said::read(&text);
        ensure!(
            status.success() || said.find.is_some(),
            "{name} ended with {status}, and found nothing; see {}",
            place::shown(&log)
        );
        Ok(said)
    }

    /// Makes the corpus anew: few inputs that reach what was reached and the examples do not, the shortest first, as far as there is
    /// room for them. The former one is there until the new one is whole.
    fn merge(&self) -> anyhow::Result<()> {
        let sh = programs::shell()?;
        let Self { program, name, corpus, examples, found, finds } = self;
        let merged = finds.join("merged");
        place::clear(&merged)?;
        let copied = copy(examples, &merged)?;
        let most = limits::FUZZ_KEPT_BYTES;
        let rules = [format!("-max_len={most}"), "-use_counters=0".to_owned(), "-set_cover_merge=1".to_owned()];
        let merge = cmd!(sh, "{program} {rules...} {merged} {corpus} {found}")
            .env(TARGET_VARIABLE, name)
            .quiet()
            .ignore_stderr();
        merge.run().with_context(|| format!("what {name} has found cannot be merged"))?;
        copied.iter().try_for_each(fs::remove_file)?;
        keep(&merged, corpus)
    }
}

/// Puts the shortest files of a folder, as far as there is room, in the place of a corpus, which is as it was should that fail.
fn keep(merged: &Path, corpus: &Path) -> anyhow::Result<()> {
    // Beside it and so on one disk, where folders only change their names.
    let (new, former) = (corpus.with_extension("new"), corpus.with_extension("former"));
    place::clear(&new)?;
    let mut files = Vec::new();
    for entry in fs::read_dir(merged)? {
        let entry = entry?;
        files.push((entry.metadata()?.len(), entry.path()));
    }
    files.sort();
    let mut room = limits::FUZZ_CORPUS_BYTES;
    for (length, path) in files {
        room = room.saturating_sub(length);
        if room > 0 {
            copy(&path, &new)?;
        }
    }
    place::clear(&former)?;
    let swapped = fs::rename(corpus, &former).and_then(|()| fs::rename(&new, corpus));
    swapped.with_context(|| format!("cannot put {} in the place of {}", new.display(), corpus.display()))?;
    fs::remove_dir_all(&former).with_context(|| format!("cannot remove {}", former.display()))
}

/// Copies a file, or the files in and below a folder, into a folder; gives the copies.
fn copy(from: &Path, to: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut copies = Vec::new();
    if from.is_file() {
        let name = from.file_name().map(PathBuf::from).unwrap_or_default();
        fs::copy(from, to.join(&name)).with_context(|| format!("cannot copy {}", from.display()))?;
        return Ok(vec![to.join(name)]);
    }
    for entry in fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        copies.extend(copy(&entry?.path(), to)?);
    }
    Ok(copies)
}

/// Files in a folder, and their bytes.
fn size(folder: &Path) -> anyhow::Result<(usize, u64)> {
    let mut size = (0, 0);
    for entry in fs::read_dir(folder)? {
        size = (size.0 + 1, size.1 + entry?.metadata()?.len());
    }
    Ok(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_corpus_is_as_it_was_until_the_new_one_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let (merged, corpus) = (folder.path().join("merged"), folder.path().join("corpus"));
        fs::create_dir_all(&merged).unwrap();
        fs::create_dir_all(&corpus).unwrap();
        fs::write(corpus.join("old"), "old").unwrap();
        fs::write(merged.join("a"), "new").unwrap();
        let missing = merged.join("missing");
        std::os::unix::fs::symlink("nowhere", &missing).unwrap();
        keep(&merged, &corpus).unwrap_err();
        assert_eq!(fs::read(corpus.join("old")).unwrap(), b"old");
        fs::remove_file(&missing).unwrap();
        fs::write(merged.join("long"), vec![0; 1 << 20]).unwrap();
        keep(&merged, &corpus).unwrap();
        assert_eq!((size(&corpus).unwrap(), fs::read(corpus.join("a")).unwrap()), ((1, 3), b"new".to_vec()));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "nothing is left beside");
    }
}
