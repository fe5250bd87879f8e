//! Row `build`: an image from a compiled agent, with an empty segment cache and with a full one, against the ancestor's
//! pipeline on the same inputs in the same run.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::Value;
use xshell::cmd;

use super::ancestor::{Ancestor, Built, bytes};
use super::table::{Detail, Findings, Goal, Line, Samples};
use super::timing::seconds;
use super::{Inputs, MIB};
use crate::{limits, place, programs};

/// Measures.
///
/// # Errors
/// A build fails.
pub(crate) fn run(inputs: &Inputs) -> anyhow::Result<Findings> {
    let dir = inputs.dir.join("build");
    place::clear(&dir)?;
    let (out, cache) = (dir.join("out"), dir.join("cache"));
    let manifest = manifest(inputs, &out, &cache)?;
    let ancestor = Ancestor { base: inputs.base, agent: inputs.agent, manifest: &manifest, dir: dir.join("ancestor") };
    let (mut cold, mut warm, mut plain) = (Vec::new(), Vec::new(), Vec::<Built>::new());
    // By turns, so that what else the machine does meets all of them.
    for _ in 0..limits::BENCH_BUILDS {
        place::clear(&cache)?;
        cold.push(build(inputs, &out, &cache)?);
        warm.push(build(inputs, &out, &cache)?);
        plain.push(ancestor.build(false)?);
    }
    let packed = ancestor.build(true)?;
    let last = plain.last().context("nothing was built")?;
    let times = |built: &[Built]| Samples::new(built.iter().map(Built::seconds).collect());
    let line = |what: &str, ours: &[f64], peer: (&str, Samples), goal| Line {
        what: what.to_owned(),
        unit: "s",
        ours: Samples::new(ours.to_vec()),
        peer: Some((peer.0.to_owned(), peer.1)),
        goal,
    };
    let size = |what: &str, ours: u64, (name, peer): (&str, u64)| Line {
        what: what.to_owned(),
        unit: "MiB",
        ours: Samples::one(ours as f64 / MIB),
        peer: Some((name.to_owned(), Samples::one(peer as f64 / MIB))),
        goal: Goal::ratio(1.0),
    };
    let (iso, initrd) = (bytes(&file(&out, ".iso")?)?, bytes(&file(&out, ".initrd")?)?);
    let goal = |at_most, ratio| Goal { at_most: Some(at_most), ratio: Some(ratio) };
    let (gzip, advdef) = ("ancestor", "ancestor with advdef");
    Ok(Findings {
        lines: vec![
            line("image build, empty segment cache", &cold, (gzip, times(&plain)), goal(1.5, 3.0)),
            line("image build, empty segment cache", &cold, (advdef, Samples::one(packed.seconds())), goal(1.5, 40.0)),
            line("image build, warm", &warm, (gzip, times(&plain)), Goal::at_most(0.5)),
            size("ISO, same inputs", iso, (gzip, last.iso)),
            size("ISO, same inputs", iso, (advdef, packed.iso)),
            size("initrd, same inputs", initrd, (gzip, last.initrd)),
            size("initrd, same inputs", initrd, (advdef, packed.initrd)),
        ],
        details: vec![steps(last, &packed)],
        notes: vec![
            "Our ISO boots BIOS and UEFI (signed shim and GRUB in an EFI partition) from CD and USB; the ancestor's boots \
             BIOS from CD. Our initrd has an empty slot of 1 MiB for the site's settings."
                .into()],
    })
}

/// Our image's manifest, for the names of what is in it.
fn manifest(inputs: &Inputs, out: &Path, cache: &Path) -> anyhow::Result<Value> {
    build(inputs, out, cache)?;
    let path = file(out, ".manifest.json")?;
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is no manifest", path.display()))
}

fn build(inputs: &Inputs, out: &Path, cache: &Path) -> anyhow::Result<f64> {
    let (sh, mkiso) = (programs::shell()?, place::program("mkiso"));
    let (base, agent) = (inputs.base, inputs.agent);
    seconds(cmd!(sh, "{mkiso} build --base {base} --agent {agent} --cache {cache} --out {out}"))
}

/// The file in `dir` whose name ends so.
fn file(dir: &Path, end: &str) -> anyhow::Result<PathBuf> {
    let entries = std::fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))?;
    let mut paths = entries.filter_map(Result::ok).map(|entry| entry.path());
    paths.find(|p| p.to_string_lossy().ends_with(end)).with_context(|| format!("no *{end} in {}", dir.display()))
}

fn steps(plain: &Built, packed: &Built) -> Detail {
    let time = |built: &Built, name: &str| {
        let found = built.steps.iter().find(|(step, _)| step == name);
        found.map(|(_, time)| format!("{time:.2} s")).unwrap_or_default()
    };
    let row = |(name, _): &(String, f64)| vec![name.clone(), time(plain, name), time(packed, name)];
    Detail {
        title: "The ancestor's steps on the same inputs".into(),
        head: ["step", "time", "time with advdef"].map(str::to_owned).into(),
        rows: packed.steps.iter().map(row).collect(),
    }
}
