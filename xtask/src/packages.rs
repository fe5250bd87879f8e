//! What this machine must have besides Rust and a C compiler, by job: one table, with the reason for each entry.
//!
//! As root on Debian and Ubuntu the missing ones are installed, after one line that says so; otherwise, and with
//! `--no-install`, the error carries the command that does it. What apt does not know ends the run, unless only tests need
//! it that can be skipped.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use nix::unistd::geteuid;
use xshell::{Shell, cmd};

use crate::place;

/// What is going to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Job {
    /// `build-iso`.
    Build,
    /// `boot`.
    Boot,
    /// `test` with QEMU.
    Test,
    /// `bench`.
    Bench,
}

/// A Debian package and how to see that it is there.
struct Package {
    name: &'static str,
    /// A program on `PATH`, or a file when it begins with `/`.
    proof: &'static str,
    why: &'static str,
    jobs: &'static [Job],
}

const ALL: &[Job] = &[Job::Build, Job::Boot, Job::Test, Job::Bench];
const GUESTS: &[Job] = &[Job::Boot, Job::Test, Job::Bench];
const TESTS: &[Job] = &[Job::Test];
const COMPARED: &[Job] = &[Job::Test, Job::Bench];
const BENCH: &[Job] = &[Job::Bench];

const PACKAGES: &[Package] = &[
    Package { name: "xorriso", proof: "xorriso", why: "writes ISO images", jobs: ALL },
    Package { name: "kmod", proof: "depmod", why: "indexes kernel modules", jobs: ALL },
    Package {
        name: "debian-archive-keyring",
        proof: "/usr/share/keyrings/debian-archive-keyring.gpg",
        why: "proves the packages of the Debian base",
        jobs: ALL,
    },
    Package {
        name: "openssh-client",
        proof: "ssh",
        why: "makes throw-away keys, and logs in to development images",
        jobs: GUESTS,
    },
    Package { name: "qemu-system-x86", proof: "qemu-system-x86_64", why: "runs the guests", jobs: GUESTS },
    Package { name: "ovmf", proof: "/usr/share/OVMF", why: "UEFI firmware of the guests", jobs: GUESTS },
    Package { name: "ipxe-qemu", proof: "/usr/lib/ipxe/qemu", why: "network boot of the guests", jobs: GUESTS },
    Package { name: "swtpm", proof: "swtpm", why: "emulates a TPM", jobs: TESTS },
    Package { name: "cpio", proof: "cpio", why: "reads our initrds", jobs: COMPARED },
    Package { name: "xz-utils", proof: "xz", why: "packs a root file system as Tiny Core's are packed", jobs: TESTS },
    Package { name: "squashfs-tools", proof: "unsquashfs", why: "reads our extensions", jobs: TESTS },
    Package { name: "mtools", proof: "mdir", why: "reads our EFI partition", jobs: TESTS },
    Package { name: "facter", proof: "facter", why: "a second opinion on facts", jobs: COMPARED },
    Package { name: "lshw", proof: "lshw", why: "a second opinion on hardware", jobs: COMPARED },
    Package { name: "dmidecode", proof: "dmidecode", why: "a second opinion on firmware tables", jobs: TESTS },
    Package { name: "pciutils", proof: "lspci", why: "a second opinion on PCI functions", jobs: TESTS },
    Package { name: "ethtool", proof: "ethtool", why: "a second opinion on network ports", jobs: TESTS },
    Package { name: "advancecomp", proof: "advdef", why: "the ancestor's pipeline compresses with it", jobs: BENCH },
    Package { name: "iproute2", proof: "ip", why: "lays cables between network namespaces", jobs: TESTS },
    Package { name: "dnsmasq-base", proof: "dnsmasq", why: "DHCP and DNS server for the agent's network", jobs: TESTS },
    Package { name: "postgresql", proof: "/usr/lib/postgresql", why: "the other database of the server", jobs: TESTS },
    Package { name: "strace", proof: "strace", why: "watches what is on the disk before what", jobs: TESTS },
    Package { name: "faketime", proof: "faketime", why: "puts the server's clock forward and back", jobs: TESTS },
    Package { name: "ruby", proof: "gem", why: "makes gems and installs them from our mirror", jobs: TESTS },
    Package { name: "binutils", proof: "readelf", why: "proves that the agent is static", jobs: TESTS },
    Package {
        name: "python3-pip",
        proof: "pip3",
        why: "installs SPDX's own reader, axe-core and schemathesis",
        jobs: TESTS,
    },
    Package { name: "minisign", proof: "minisign", why: "judges our signatures of mirrors", jobs: TESTS },
    Package { name: "chromium", proof: "chromium", why: "looks at the server's pages", jobs: TESTS },
];

/// Packages that tests do without where apt has none, as on Ubuntu, which has Chromium as a snap only: the tests that need
/// them say `SKIPPED`.
const SPARED: [&str; 11] = [
    "chromium",
    "minisign",
    "python3-pip",
    "facter",
    "faketime",
    "strace",
    "lshw",
    "dmidecode",
    "iproute2",
    "dnsmasq-base",
    "swtpm",
];

/// What reads bills of materials as SPDX's own project does.
const SPDX_TOOLS: &str = "spdx-tools==0.8.5";
/// What that needs, so that the same reader judges wherever it is fetched.
const SPDX_NEEDS: [&str; 11] = [
    "beartype==0.23.1",
    "boolean.py==5.0",
    "click==8.5.1",
    "license-expression==30.4.4",
    "ply==3.11",
    "pyparsing==3.3.3",
    "PyYAML==6.0.3",
    "rdflib==7.6.0",
    "semantic-version==2.10.0",
    "uritools==6.1.4",
    "xmltodict==1.0.4",
];

/// A package that has axe-core as one file, of which nothing else is used.
const AXE: &str = "axe-playwright-python==0.1.8";
/// What the guide to the first rack installs, and busybox.
const GUIDE_PACKAGES: [&str; 5] = ["ipxe", "dnsmasq", "isc-dhcp-server", "kea-dhcp4-server", "busybox"];
/// What holds the running API against its own description.
const SCHEMATHESIS: &str = "schemathesis==4.32.5";
/// What that needs.
const SCHEMATHESIS_NEEDS: [&str; 26] = [
    "anyio==4.16.0",
    "certifi==2026.10.18",
    "charset-normalizer==3.5.2",
    "click==8.5.1",
    "graphql-core==3.3.2",
    "harfile==0.6.0",
    "hypothesis==6.170.15",
    "hypothesis-graphql==0.13.5",
    "idna==3.20",
    "iniconfig==2.3.1",
    "jsonschema_rs==0.60.3",
    "markdown-it-py==4.3.0",
    "MarkupSafe==3.0.4",
    "mdurl==0.1.2",
    "packaging==26.3",
    "pluggy==1.7.0",
    "Pygments==2.21.0",
    "pyrate-limiter==4.5.1",
    "pytest==9.2.0",
    "PyYAML==6.0.3",
    "requests==2.34.2",
    "rich==15.0.0",
    "sortedcontainers==2.4.0",
    "typing_extensions==4.16.0",
    "urllib3==2.8.0",
    "Werkzeug==3.1.9",
];

/// Makes sure that everything for a job is here; gives the names of what it must do without, having said so of each.
///
/// # Errors
/// Names what is missing and the command that installs it.
pub(crate) fn ensure(job: Job, install: bool) -> anyhow::Result<Vec<&'static str>> {
    let missing = missing(job, is_there);
    if missing.is_empty() {
        return Ok(Vec::new());
    }
    let debian = is_debian(&std::fs::read_to_string("/etc/os-release").unwrap_or_default());
    if !(install && debian && geteuid().is_root()) {
        let names: Vec<&str> = missing.iter().map(|p| p.name).collect();
        bail!("this machine lacks {}; {}", list(&missing), remedy(&names, debian));
    }
    let sh = Shell::new()?;
    sh.set_var("DEBIAN_FRONTEND", "noninteractive");
    cmd!(sh, "apt-get update -q").quiet().ignore_stdout().run().context("apt-get cannot fetch its lists")?;
    let (there, unknown) = split(job, missing, |name| is_installable(&sh, name))?;
    for package in &unknown {
        eprintln!(
            "SKIPPED: {} ({}): apt has no such package here; tests that need it are left out",
            package.name, package.why
        );
    }
    let names: Vec<&str> = there.iter().map(|p| p.name).collect();
    if !names.is_empty() {
        eprintln!("installing {}: apt-get install {}", list(&there), names.join(" "));
        let wanted = &names;
        cmd!(sh, "apt-get install -q -y --no-install-recommends {wanted...}")
            .quiet()
            .ignore_stdout()
            .run()
            .with_context(|| format!("cannot install {}; {}", names.join(", "), remedy(&names, debian)))?;
    }
    Ok(unknown.iter().map(|p| p.name).collect())
}

/// What apt can install of what is missing, and what may be done without because it cannot.
///
/// # Errors
/// Names a package that apt does not know and nothing goes without.
fn split(
    job: Job,
    missing: Vec<&'static Package>,
    is_installable: impl Fn(&str) -> bool,
) -> anyhow::Result<(Vec<&'static Package>, Vec<&'static Package>)> {
    let (there, unknown): (Vec<_>, Vec<_>) = missing.into_iter().partition(|p| is_installable(p.name));
    let spared = |p: &Package| job == Job::Test && SPARED.contains(&p.name);
    if let Some(package) = unknown.iter().find(|p| !spared(p)) {
        bail!("apt has no package {} ({}); install {:?} by other means", package.name, package.why, package.proof);
    }
    Ok((there, unknown))
}

fn list(packages: &[&Package]) -> String {
    packages.iter().map(|p| format!("{} ({})", p.name, p.why)).collect::<Vec<_>>().join(", ")
}

/// Whether apt has a version of a package to install. Ubuntu's lists name Chromium without one.
fn is_installable(sh: &Shell, name: &str) -> bool {
    cmd!(sh, "apt-cache policy {name}").quiet().ignore_stderr().read().is_ok_and(|policy| has_candidate(&policy))
}

fn has_candidate(policy: &str) -> bool {
    policy.lines().filter_map(|line| line.trim().strip_prefix("Candidate:")).any(|version| version.trim() != "(none)")
}

/// SPDX's own reader of bills of materials, in a folder of ours; nothing, with a word about it, where it cannot be had.
pub(crate) fn spdx_tools(install: bool) -> Option<PathBuf> {
    from_pypi(SPDX_TOOLS, &SPDX_NEEDS, install)
}

/// axe-core, which judges whether everybody can use a page; likewise.
pub(crate) fn axe(install: bool) -> Option<PathBuf> {
    Some(from_pypi(AXE, &[], install)?.join("axe_playwright_python/axe.min.js"))
}

/// What holds the API against its description; likewise.
pub(crate) fn schemathesis(install: bool) -> Option<PathBuf> {
    from_pypi(SCHEMATHESIS, &SCHEMATHESIS_NEEDS, install)
}

/// A package of PyPI that apt does not have, with what it needs.
fn from_pypi(package: &str, needs: &[&str], install: bool) -> Option<PathBuf> {
    let folder = place::target().join(package.replace("==", "-"));
    if folder.exists() {
        return Some(folder);
    }
    let fetch = || -> anyhow::Result<()> {
        ensure!(install, "--no-install says so");
        let (sh, half) = (Shell::new()?, folder.with_extension("half"));
        place::clear(&half)?;
        let how = ["--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary", ":all:"];
        cmd!(sh, "python3 -m pip install {how...} --target {half} {package} {needs...}").quiet().run()?;
        Ok(std::fs::rename(&half, &folder)?)
    };
    match fetch() {
        Ok(()) => Some(folder),
        Err(error) => {
            eprintln!("SKIPPED: {package} of PyPI is not here ({error:#}); the test that needs it is left out");
            None
        }
    }
}

/// Packages of Debian that the guide to the first rack installs, with busybox, which asks its DHCP servers, and all that they need
/// beyond what is here: in a folder of ours, since the services in them would start if they were installed. Nothing, with a word about it,
/// where they cannot be had.
pub(crate) fn guide_packages(install: bool) -> Option<PathBuf> {
    let folder = place::target().join("guide-packages");
    if folder.exists() {
        return Some(folder);
    }
    let fetch = || -> anyhow::Result<()> {
        ensure!(install, "--no-install says so");
        let (sh, half) = (Shell::new()?, folder.with_extension("half"));
        place::clear(&half)?;
        sh.create_dir(half.join("partial"))?;
        let cache = format!("Dir::Cache::archives={}", half.display());
        let how = ["--download-only", "--no-install-recommends", "-q", "-y", "-o", "Debug::NoLocking=1", "-o", &cache];
        cmd!(sh, "apt-get install {how...} {GUIDE_PACKAGES...}").quiet().ignore_stdout().run()?;
        Ok(std::fs::rename(&half, &folder)?)
    };
    match fetch() {
        Ok(()) => Some(folder),
        Err(error) => {
            eprintln!(
                "SKIPPED: {} are not here ({error:#}); the test that needs them is left out",
                GUIDE_PACKAGES.join(", ")
            );
            None
        }
    }
}

/// Makes sure that the toolchain has what checks the code.
///
/// # Errors
/// Names the component and the command that installs it.
pub(crate) fn ensure_toolchain() -> anyhow::Result<()> {
    for (program, component) in [("cargo-fmt", "rustfmt"), ("cargo-clippy", "clippy")] {
        let sh = Shell::new()?;
        let works = cmd!(sh, "{program} --version").quiet().ignore_stdout().ignore_stderr().run().is_ok();
        if !works {
            bail!("the Rust toolchain lacks {component}; install it with: rustup component add {component}");
        }
    }
    Ok(())
}

fn missing(job: Job, is_there: impl Fn(&str) -> bool) -> Vec<&'static Package> {
    PACKAGES.iter().filter(|p| p.jobs.contains(&job) && !is_there(p.proof)).collect()
}

fn is_there(proof: &str) -> bool {
    if proof.starts_with('/') {
        return Path::new(proof).exists();
    }
    // Some distributions leave the folders of administration programs out of other people's PATH.
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    folders.into_iter().any(|folder| folder.join(proof).is_file())
}

fn is_debian(os_release: &str) -> bool {
    os_release.lines().any(|line| match line.split_once('=') {
        Some(("ID" | "ID_LIKE", ids)) => ids.trim_matches('"').split(' ').any(|id| id == "debian" || id == "ubuntu"),
        _ => false,
    })
}

fn remedy(names: &[&str], debian: bool) -> String {
    let names = names.join(" ");
    if debian {
        let sudo = if geteuid().is_root() { "" } else { "sudo " };
        format!("install it with: {sudo}apt-get update && {sudo}apt-get install {names}")
    } else {
        format!("install what Debian calls: {names}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_job_needs_its_own_and_only_that() {
        let names = |job| missing(job, |_| false).iter().map(|p| p.name).collect::<Vec<_>>();
        assert!(names(Job::Build).contains(&"xorriso"));
        assert!(!names(Job::Build).contains(&"qemu-system-x86"));
        assert!(names(Job::Boot).contains(&"qemu-system-x86"));
        assert!(!names(Job::Boot).contains(&"mtools"));
        assert!(names(Job::Test).contains(&"mtools"));
        assert!(missing(Job::Test, |_| true).is_empty());
        let distinct = PACKAGES.iter().map(|p| p.name).collect::<std::collections::BTreeSet<_>>();
        assert_eq!(distinct.len(), PACKAGES.len(), "a package stands twice");
    }

    #[test]
    fn a_package_that_apt_does_not_know_costs_its_tests_and_not_the_run() {
        let all = || missing(Job::Test, |_| false);
        let (there, unknown) = split(Job::Test, all(), |name| name != "chromium").unwrap();
        assert_eq!(unknown.iter().map(|p| p.name).collect::<Vec<_>>(), ["chromium"]);
        assert_eq!(there.len() + 1, all().len());
        let error = split(Job::Test, all(), |name| name != "ovmf").map(drop).unwrap_err().to_string();
        assert!(error.contains("ovmf (UEFI firmware of the guests)"), "{error}");
        let bench = split(Job::Bench, missing(Job::Bench, |_| false), |name| name != "facter");
        assert!(bench.is_err(), "a comparison needs both sides");
        assert!(SPARED.iter().all(|name| all().iter().any(|p| p.name == *name)), "the table has each of {SPARED:?}");
    }

    #[test]
    fn a_package_without_a_candidate_cannot_be_installed() {
        assert!(has_candidate("cpio:\n  Installed: (none)\n  Candidate: 2.13+dfsg-7.1\n  Version table:\n"));
        assert!(!has_candidate("chromium:\n  Installed: (none)\n  Candidate: (none)\n  Version table:\n"));
        assert!(!has_candidate(""));
    }

    #[test]
    fn relatives_of_debian_are_known() {
        assert!(is_debian("ID=debian\n"));
        assert!(is_debian("NAME=x\nID=linuxmint\nID_LIKE=\"ubuntu debian\"\n"));
        assert!(!is_debian("ID=fedora\nID_LIKE=\"rhel\"\nHOME=debian\n"));
        assert!(!is_debian(""));
    }

    #[test]
    fn the_remedy_is_one_command_where_one_is_known() {
        assert!(remedy(&["a", "b"], true).contains("apt-get install a b"));
        assert!(remedy(&["a"], false).contains("Debian calls: a"));
    }
}
