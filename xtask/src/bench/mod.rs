//! `cargo xtask bench [ROW…]`: the figures of `docs/BENCHMARKS.md`, each against its goal and its peer in one run.
//!
//! Standard output carries the tables (or the JSON) alone; steps go to standard error. What is made on the way stays in
//! `target/bench`. The base is the one of Debian packages, or, where `MK_TINYCORE_ROOTFS` names a root file system of Tiny
//! Core, one of that; only then is there a stock boot to compare with.

mod ancestor;
mod boot;
mod build;
mod durability;
mod environment;
mod guest;
mod inventory;
mod memory;
mod server;
mod size;
mod stock;
mod table;
mod timing;

use std::path::{Path, PathBuf};

use clap::ValueEnum as _;
use serde_json::{Map, Value, json};

use self::environment::Environment;
use self::table::Findings;
use crate::images::{self, Image, Variant};
use crate::packages::{self, Job};
use crate::report::Report;
use crate::{place, programs};

/// Environment variable with a root file system of Tiny Core.
const ROOTFS: &str = "MK_TINYCORE_ROOTFS";
/// Bytes in a MiB.
const MIB: f64 = 1_048_576.0;

/// Arguments of `bench`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only these rows [default: all].
    #[arg(value_enum, value_name = "ROW")]
    rows: Vec<Row>,
    /// Measure with this agent in place of the one that is built for release.
    #[arg(long, value_name = "FILE")]
    agent: Option<PathBuf>,
    /// Print JSON in place of tables.
    #[arg(long)]
    json: bool,
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Row {
    /// Image build against the ancestor's pipeline.
    Build,
    /// ISO sizes and what fills them.
    Size,
    /// Kernel start to check-in.
    Boot,
    /// RAM floor, and PSS of the agent.
    Memory,
    /// Inventory against facter plus lshw.
    Inventory,
    /// Check-ins of fleets, against `/healthz`.
    Server,
    /// Kills and power cuts under load.
    Durability,
}

impl Row {
    const ALL: [Self; 7] =
        [Self::Build, Self::Size, Self::Boot, Self::Memory, Self::Inventory, Self::Server, Self::Durability];

    /// Those that are named, each once; all where none is.
    fn chosen(named: &[Self]) -> Vec<Self> {
        let mut rows = Vec::new();
        for row in if named.is_empty() { &Self::ALL[..] } else { named } {
            if !rows.contains(row) {
                rows.push(*row);
            }
        }
        rows
    }

    fn title(self) -> &'static str {
        match self {
            Self::Build => "Image build",
            Self::Size => "ISO sizes",
            Self::Boot => "Boot",
            Self::Memory => "Memory",
            Self::Inventory => "Inventory",
            Self::Server => "Server",
            Self::Durability => "Durability",
        }
    }

    /// As on the command line.
    fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    fn measure(self, inputs: &Inputs) -> anyhow::Result<Findings> {
        match self {
            Self::Build => build::run(inputs),
            Self::Size => size::run(inputs),
            Self::Boot => boot::run(inputs),
            Self::Memory => memory::run(inputs),
            Self::Inventory => inventory::run(inputs),
            Self::Server => server::run(inputs),
            Self::Durability => durability::run(),
        }
    }
}

/// What the rows measure.
struct Inputs<'a> {
    /// The base ISO.
    base: &'a Path,
    /// Whether it has Tiny Core's root file system.
    tinycore: bool,
    /// The agent.
    agent: &'a Path,
    /// Folder of the run.
    dir: &'a Path,
}

impl Inputs<'_> {
    /// The goal for this base, of one for Debian's and one for Tiny Core's.
    fn goal(&self, (debian, tinycore): (f64, f64)) -> f64 {
        if self.tinycore { tinycore } else { debian }
    }

    /// Images of all variants with their ISOs, built when first asked for.
    fn images(&self) -> anyhow::Result<Vec<(Variant, PathBuf)>> {
        Variant::ALL.into_iter().map(|variant| Ok((variant, self.image(variant)?))).collect()
    }

    /// The ISO of a variant.
    fn image(&self, variant: Variant) -> anyhow::Result<PathBuf> {
        let out = self.dir.join(variant.name());
        place::clear(&out)?;
        let key = variant.has_ssh().then(|| images::throw_away_key(self.dir)).transpose()?;
        let base = self.base.to_string_lossy();
        let image = Image {
            variant,
            base: &base,
            agent: self.agent,
            out: &out,
            server: None,
            ca: None,
            ssh_key: key.as_deref(),
        };
        images::build(&image)
    }
}

/// `cargo xtask bench`.
pub(crate) fn run(args: &Args, install: bool) -> anyhow::Result<()> {
    let given = args.agent.as_ref().map(|file| place::named("--agent", file)).transpose()?;
    let rootfs = std::env::var_os(ROOTFS).map(|file| place::named(ROOTFS, file.as_ref())).transpose()?;
    let _alone = place::alone("bench")?;
    let mut report = Report::new();
    report.step("packages", || packages::ensure(Job::Bench, install))?;
    report.step("programs", programs::host)?;
    let agent = given.map_or_else(|| report.step("agent", programs::agent), Ok)?;
    let dir = place::target().join("bench");
    place::clear(&dir)?;
    let base = dir.join("base.iso");
    report.step("base", || images::base(rootfs.as_deref(), &base))?;
    let environment = Environment::look();
    if !args.json {
        println!("{}", environment.markdown());
    }
    let inputs = Inputs { base: &base, tinycore: rootfs.is_some(), agent: &agent, dir: &dir };
    let mut all = Map::new();
    for row in Row::chosen(&args.rows) {
        let findings = report.step(&row.name(), || row.measure(&inputs))?;
        if args.json {
            all.insert(row.name(), findings.json());
        } else {
            println!("{}", findings.markdown(row.title()));
        }
    }
    report.close();
    if args.json {
        println!("{:#}", json!({"environment": environment.json(), "rows": Value::Object(all)}));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_measured_once_however_often_it_is_named() {
        assert_eq!(Row::chosen(&[]), Row::ALL);
        assert_eq!(Row::chosen(&[Row::Size, Row::Boot, Row::Size]), [Row::Size, Row::Boot]);
    }
}
