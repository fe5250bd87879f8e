//! What this machine must have besides Rust and a C compiler, by job: one table, with the reason for each entry.
//!
//! As root on Debian and Ubuntu the missing ones are installed, after one line that says so; otherwise, and with
//! `--no-install`, the error carries the command that does it.

use std::path::Path;

use anyhow::{Context as _, bail};
use nix::unistd::geteuid;
use xshell::{Shell, cmd};

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
    Package { name: "cpio", proof: "cpio", why: "reads our initrds", jobs: COMPARED },
    Package { name: "squashfs-tools", proof: "unsquashfs", why: "reads our extensions", jobs: TESTS },
    Package { name: "mtools", proof: "mdir", why: "reads our EFI partition", jobs: TESTS },
    Package { name: "facter", proof: "facter", why: "a second opinion on facts", jobs: COMPARED },
    Package { name: "lshw", proof: "lshw", why: "a second opinion on hardware", jobs: COMPARED },
    Package { name: "dmidecode", proof: "dmidecode", why: "a second opinion on firmware tables", jobs: TESTS },
    Package { name: "advancecomp", proof: "advdef", why: "the ancestor's pipeline compresses with it", jobs: BENCH },
    Package { name: "iproute2", proof: "ip", why: "lays cables between network namespaces", jobs: TESTS },
    Package { name: "dnsmasq-base", proof: "dnsmasq", why: "DHCP and DNS server for the agent's network", jobs: TESTS },
    Package { name: "binutils", proof: "readelf", why: "proves that the agent is static", jobs: TESTS },
    Package { name: "chromium", proof: "chromium", why: "looks at the server's pages", jobs: TESTS },
];

/// Makes sure that everything for a job is here.
///
/// # Errors
/// Names what is missing and the command that installs it.
pub(crate) fn ensure(job: Job, install: bool) -> anyhow::Result<()> {
    let missing = missing(job, is_there);
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.iter().map(|p| format!("{} ({})", p.name, p.why)).collect::<Vec<_>>().join(", ");
    let names: Vec<&str> = missing.iter().map(|p| p.name).collect();
    let debian = is_debian(&std::fs::read_to_string("/etc/os-release").unwrap_or_default());
    if !(install && debian && geteuid().is_root()) {
        bail!("this machine lacks {list}; {}", remedy(&names, debian));
    }
    eprintln!("installing {list}: apt-get install {}", names.join(" "));
    apt_get(&names).with_context(|| format!("cannot install {}; {}", names.join(", "), remedy(&names, debian)))
}

fn apt_get(names: &[&str]) -> anyhow::Result<()> {
    let sh = Shell::new()?;
    sh.set_var("DEBIAN_FRONTEND", "noninteractive");
    cmd!(sh, "apt-get update -q").quiet().ignore_stdout().run()?;
    cmd!(sh, "apt-get install -q -y --no-install-recommends {names...}").quiet().ignore_stdout().run()?;
    Ok(())
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
