//! `cargo xtask test`: format, lints, unit, property and process tests; then images, the tests of what is in them, and
//! the tests that boot them in QEMU. `--fast` leaves the second half out and installs nothing.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use xshell::{Shell, cmd};

use crate::images::{self, Image, Variant};
use crate::packages::{self, Job};
use crate::report::Report;
use crate::{place, programs};

/// Arguments of `test`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only what needs no QEMU and nothing installed.
    #[arg(long)]
    fast: bool,
    /// Only tests with one of these texts in their names, and no format and lint checks.
    filter: Vec<String>,
}

/// Tests that need QEMU or built images, in order.
const IMAGE_TESTS: [&str; 4] = ["mk_vm", "base", "artefacts", "boot"];

/// The base that the images stand on, beside them.
const BASE: &str = "base.iso";

/// `cargo xtask test`.
pub(crate) fn run(args: &Args, install: bool) -> anyhow::Result<()> {
    let mut report = Report::new();
    if !args.fast {
        report.step("packages", || packages::ensure(Job::Test, install))?;
    }
    if args.filter.is_empty() {
        packages::ensure_toolchain()?;
        report.step("format", format)?;
        report.step("lints", lints)?;
    }
    report.step("unit, property and process tests", || unit_tests(args))?;
    if !args.fast {
        report.step("programs", programs::host)?;
        let agent = report.step("agent", programs::agent)?;
        let dist = place::target().join("test");
        place::clear(&dist)?;
        report.step("base", || images::base(None, &dist.join(BASE)))?;
        for variant in Variant::ALL {
            report.step(&format!("{} image", variant.name()), || image(variant, &agent, &dist))?;
        }
        for name in IMAGE_TESTS {
            report.step(&format!("{name} tests"), || image_tests(name, &dist, &agent, &args.filter))?;
        }
    }
    report.close();
    eprintln!("all tests passed");
    Ok(())
}

fn format() -> anyhow::Result<()> {
    let (sh, cargo) = (programs::shell()?, programs::cargo());
    cmd!(sh, "{cargo} fmt --all --check").quiet().run().context("the code is not formatted; run: cargo fmt --all")
}

fn lints() -> anyhow::Result<()> {
    let (sh, cargo) = (programs::shell()?, programs::cargo());
    cmd!(sh, "{cargo} clippy --workspace --all-targets -- -D warnings")
        .quiet()
        .run()
        .context("clippy has complaints; see them with: cargo clippy --workspace --all-targets")?;
    // Targets that `cargo test` leaves alone are in none of the groups above.
    let image_tests = IMAGE_TESTS.iter().flat_map(|name| ["--test", name]);
    cmd!(sh, "{cargo} clippy --workspace {image_tests...} -- -D warnings")
        .quiet()
        .run()
        .context("clippy has complaints")
}

fn unit_tests(args: &Args) -> anyhow::Result<()> {
    let (sh, cargo, filter) = (programs::shell()?, programs::cargo(), &args.filter);
    if !args.fast && may_all_run(&sh) {
        sh.set_var("MK_NO_SKIP", "1");
    }
    cmd!(sh, "{cargo} test --workspace --no-fail-fast -- {filter...}").quiet().run().context("tests failed")
}

/// Whether no test has a reason to skip: the packages are here, and we may make namespaces and mount, as root may
/// outside a locked-down container.
fn may_all_run(sh: &Shell) -> bool {
    let probe = "mount -t tmpfs none /mnt && test -e /dev/loop-control";
    cmd!(sh, "unshare --mount --net --pid --fork sh -c {probe}").quiet().ignore_stderr().run().is_ok()
}

fn image(variant: Variant, agent: &Path, dist: &Path) -> anyhow::Result<PathBuf> {
    let key = variant.has_ssh().then(|| images::throw_away_key(dist)).transpose()?;
    let image = Image { variant, base: "auto", agent, out: dist, server: None, ssh_key: key.as_deref() };
    images::build(&image)
}

fn image_tests(name: &str, dist: &Path, agent: &Path, filter: &[String]) -> anyhow::Result<()> {
    let (sh, cargo) = (programs::shell()?, programs::cargo());
    sh.set_var("MK_DIST", dist);
    sh.set_var("MK_BASE", dist.join(BASE));
    sh.set_var("MK_SERVER_BIN", place::program("mk-server"));
    sh.set_var("MKISO_BIN", place::program("mkiso"));
    sh.set_var("MK_AGENT", agent);
    cmd!(sh, "{cargo} test --workspace --test {name} --no-fail-fast -- --nocapture {filter...}")
        .quiet()
        .run()
        .with_context(|| format!("{name} tests failed; images and logs are in {}", place::shown(dist)))
}
