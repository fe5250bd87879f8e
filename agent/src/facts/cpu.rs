//! Processors: `/proc/cpuinfo` for what they are, `/sys/devices/system/cpu` for how many, how fast and how vulnerable.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context as _;
use wire::inventory::Cpu;

use super::collector::Found;
use super::smbios;
use crate::tree::Tree;

const CPU: &str = "/sys/devices/system/cpu";

pub(super) fn collect(tree: &Tree) -> anyhow::Result<Found> {
    let text = tree.text("/proc/cpuinfo").context("cannot read /proc/cpuinfo: is /proc mounted?")?;
    let mut cpu = identity(&text);
    let count = topology(tree).unwrap_or_else(|| counts(&text));
    cpu.packages = Some(count.packages);
    cpu.cores = Some(count.cores);
    cpu.threads = Some(count.threads);
    cpu.max_mhz = max_mhz(tree);
    cpu.vulnerabilities = vulnerabilities(tree);
    Ok(Found::new(|stable, _| stable.cpu = Some(cpu)))
}

/// How many there are.
#[derive(Debug, PartialEq, Eq)]
struct Count {
    packages: u32,
    cores: u32,
    threads: u32,
}

impl Count {
    fn new(packages: usize, cores: usize, threads: usize) -> Self {
        let count = |n: usize| u32::try_from(n.max(1)).unwrap_or(u32::MAX);
        Self { packages: count(packages), cores: count(cores), threads: count(threads) }
    }
}

/// `key : value` pairs of the processors in `/proc/cpuinfo`, one map each.
fn processors(cpuinfo: &str) -> impl Iterator<Item = BTreeMap<&str, &str>> {
    cpuinfo.split("\n\n").map(|block| {
        block.lines().filter_map(|line| line.split_once(':')).map(|(key, value)| (key.trim(), value.trim())).collect()
    })
}

/// What the first processor says of itself: a machine's processors are alike.
fn identity(cpuinfo: &str) -> Cpu {
    let first = processors(cpuinfo).next().unwrap_or_default();
    let get = |key: &str| first.get(key).filter(|v| !v.is_empty()).map(|v| (*v).to_owned());
    let signature = match (first.get("cpu family"), first.get("model"), first.get("stepping")) {
        (Some(family), Some(model), Some(stepping)) => Some(format!("{family}/{model}/{stepping}")),
        _ => None,
    };
    let mut flags: Vec<String> =
        first.get("flags").map(|f| f.split_whitespace().map(str::to_owned).collect()).unwrap_or_default();
    flags.sort();
    flags.dedup();
    Cpu {
        vendor: get("vendor_id"),
        model: get("model name"),
        signature,
        microcode: get("microcode"),
        flags,
        ..Cpu::default()
    }
}

/// Counts from `/proc/cpuinfo` alone, which has no ids on machines with one thread.
fn counts(cpuinfo: &str) -> Count {
    let (mut packages, mut cores, mut threads) = (BTreeSet::new(), BTreeSet::new(), 0);
    for processor in processors(cpuinfo).filter(|p| p.contains_key("processor")) {
        let package = processor.get("physical id").copied().unwrap_or_default();
        let own = processor.get("processor").copied().unwrap_or_default();
        packages.insert(package);
        cores.insert((package, processor.get("core id").copied().unwrap_or(own)));
        threads += 1;
    }
    Count::new(packages.len(), cores.len(), threads)
}

/// Counts of the processors that are online; threads of one core name the same set of siblings.
fn topology(tree: &Tree) -> Option<Count> {
    let (mut packages, mut cores, mut threads) = (BTreeSet::new(), BTreeSet::new(), 0);
    for number in list(&tree.text(format!("{CPU}/online"))?) {
        let dir = format!("{CPU}/cpu{number}/topology");
        packages.insert(tree.text(format!("{dir}/physical_package_id"))?);
        cores.insert(tree.text(format!("{dir}/thread_siblings_list"))?);
        threads += 1;
    }
    (threads > 0).then(|| Count::new(packages.len(), cores.len(), threads))
}

/// Most processors that a kernel can have: guards against an absurd range.
const MAX_CPUS: u32 = 8192;

/// Numbers of a kernel list such as `0-3,8-11`; what is malformed is left out.
fn list(text: &str) -> Vec<u32> {
    let mut numbers = Vec::new();
    for part in text.trim().split(',') {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(from), Ok(to)) = (from.parse::<u32>(), to.parse::<u32>()) {
            numbers.extend(from..=to.min(MAX_CPUS));
        }
    }
    numbers
}

/// What the kernel's frequency driver says, else what the firmware does.
fn max_mhz(tree: &Tree) -> Option<u32> {
    let khz =
        tree.number(format!("{CPU}/cpu0/cpufreq/cpuinfo_max_freq")).and_then(|khz| u32::try_from(khz / 1000).ok());
    khz.or_else(|| smbios::Table::read(tree)?.processor_max_mhz())
}

fn vulnerabilities(tree: &Tree) -> BTreeMap<String, String> {
    let dir = format!("{CPU}/vulnerabilities");
    let verdict = |name: String| tree.text(format!("{dir}/{name}")).map(|text| (name, text));
    tree.names(&dir).into_iter().filter_map(verdict).collect()
}

/// For the fuzzer: the kernel's texts about processors.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let _ = (identity(&text), counts(&text));
    assert!(list(&text).iter().all(|number| *number <= MAX_CPUS));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TWO: &str = "processor\t: 0\nvendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: 85\n\
        model name\t: Xeon: Gold\nstepping\t: 7\nmicrocode\t: 0x5003604\nphysical id\t: 0\ncore id\t\t: 3\n\
        flags\t\t: vme fpu vme\n\nprocessor\t: 1\nphysical id\t: 1\ncore id\t\t: 3\n\n";

    #[test]
    fn identity_is_the_first_processors() {
        let cpu = identity(TWO);
        assert_eq!(cpu.vendor.as_deref(), Some("GenuineIntel"));
        assert_eq!(cpu.model.as_deref(), Some("Xeon: Gold"));
        assert_eq!(cpu.signature.as_deref(), Some("6/85/7"));
        assert_eq!(cpu.microcode.as_deref(), Some("0x5003604"));
        assert_eq!(cpu.flags, ["fpu", "vme"]);
    }

    #[test]
    fn counts_without_topology() {
        assert_eq!(counts(TWO), Count { packages: 2, cores: 2, threads: 2 });
        assert_eq!(counts("processor : 0\n\nprocessor : 1\n"), Count { packages: 1, cores: 2, threads: 2 });
    }

    #[test]
    fn threads_of_a_core_count_once() {
        let dir = tempfile::tempdir().unwrap();
        let cpu = dir.path().join("sys/devices/system/cpu");
        for (number, package, siblings) in [(0, 0, "0,2"), (1, 1, "1,3"), (2, 0, "0,2"), (3, 1, "1,3")] {
            let topology = cpu.join(format!("cpu{number}/topology"));
            std::fs::create_dir_all(&topology).unwrap();
            std::fs::write(topology.join("physical_package_id"), format!("{package}\n")).unwrap();
            std::fs::write(topology.join("thread_siblings_list"), format!("{siblings}\n")).unwrap();
        }
        std::fs::write(cpu.join("online"), "0-3\n").unwrap();
        assert_eq!(topology(&Tree::at(dir.path())), Some(Count { packages: 2, cores: 2, threads: 4 }));
    }

    #[test]
    fn kernel_lists() {
        assert_eq!(list("0-2,8,10-11\n"), [0, 1, 2, 8, 10, 11]);
        assert_eq!(list("3-1,x,-,"), [0_u32; 0]);
        assert!(list("0-4294967295").len() <= 8193);
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in "[\\PC\n\t:0-9,-]{0,200}") {
            identity(&text);
            counts(&text);
            list(&text);
        }
    }
}
