//! `cargo xtask test`: format, lints, unit, property and process tests; then images, the tests of what is in them, and
//! the tests that boot them in QEMU. `--fast` leaves the second half out and installs nothing.

use std::num::NonZero;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use xshell::{Shell, cmd};

use crate::images::{self, Image, Variant};
use crate::packages::{self, Job};
use crate::report::Report;
use crate::{elsewhere, limits, place, programs};

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
const IMAGE_TESTS: [&str; 5] = ["mk_vm", "base", "artefacts", "guide", "boot"];

/// Others' work that a test needs, a file or a folder, where it could be had, and the variable by which the test finds it.
type Other = (&'static str, Option<PathBuf>);

/// The step that runs what each crate tests by itself.
const CRATES: &str = "unit, property and process tests";

/// Of the server's process tests those that are about what it keeps; the others would be the same on either database.
const ON_POSTGRES: [&str; 22] = [
    "adopt::",
    "card::",
    "checkin::",
    "collect::",
    "commands::",
    "config::",
    "conflicts::",
    "durability::",
    "enrolment::",
    "explain::",
    "extensions::",
    "history::",
    "identity::",
    "installed::",
    "log::",
    "matrix",
    "outliers::",
    "rack::",
    "servers::",
    "tokens::",
    "undo::",
    "wait::",
];

/// The base that the images stand on, beside them.
const BASE: &str = "base.iso";

/// `cargo xtask test`.
pub(crate) fn run(args: &Args, install: bool) -> anyhow::Result<()> {
    let _alone = if args.fast { None } else { Some(place::alone("test")?) };
    let mut report = Report::new();
    let mut lacking = Vec::new();
    if !args.fast {
        lacking = report.step("packages", || packages::ensure(Job::Test, install))?;
    }
    if args.filter.is_empty() {
        packages::ensure_toolchain()?;
        report.step("format", format)?;
        report.step("lints", lints)?;
    }
    if args.fast {
        report.step(CRATES, || unit_tests(args, false, &[]))?;
    } else {
        let others = report.step("tools of others", || {
            Ok([
                ("MK_SPDX_TOOLS", packages::spdx_tools(install)),
                ("MK_GUIDE_PACKAGES", packages::guide_packages(install)),
                ("MK_SCHEMATHESIS", packages::schemathesis(install)),
                ("MK_AXE", packages::axe(install)),
            ])
        })?;
        with_images(args, lacking.is_empty(), &others, &mut report)?;
    }
    report.close();
    eprintln!("all tests passed");
    Ok(())
}

/// Everything but format and lints; `complete` when no package is missing.
fn with_images(args: &Args, complete: bool, others: &[Other], report: &mut Report) -> anyhow::Result<()> {
    let dist = place::target().join("test");
    place::clear(&dist)?;
    report.step("programs", programs::host)?;
    // Compiled twice costs minutes, so not where somebody wants a few tests.
    let twice = args.filter.is_empty();
    let (agent, again) = std::thread::scope(|scope| {
        // The agent's link-time optimisation keeps one core busy for minutes, and the tests spend most of theirs waiting.
        let made = scope.spawn(|| {
            images::base(None, &dist.join(BASE))?;
            let agent = programs::agent_quietly()?;
            anyhow::Ok((agent, twice.then(elsewhere::agent).transpose()?))
        });
        let tested = report.step(CRATES, || unit_tests(args, complete, others));
        if tested.is_err() && !made.is_finished() {
            eprintln!("    base and agent, begun beside these tests, are still made; Ctrl-C ends that too");
        }
        let tested = tested.and_then(|()| report.step("the server on PostgreSQL", || on_postgres(args)));
        tested?;
        let made = || made.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        report.step("base and agent, begun before these tests", made)
    })?;
    if let Some(again) = again {
        report.step("agent, compiled elsewhere too, is the same", || elsewhere::same(&agent, &again))?;
    }
    for variant in Variant::ALL {
        report.step(&format!("{} image", variant.name()), || image(variant, &agent, &dist))?;
    }
    for name in IMAGE_TESTS {
        report.step(&format!("{name} tests"), || image_tests(name, &dist, &agent, others, &args.filter))?;
    }
    Ok(())
}

fn format() -> anyhow::Result<()> {
    let check = programs::cargo(&programs::shell()?).args(["fmt", "--all", "--check"]).run();
    check.context("the code is not formatted; run: cargo fmt --all")
}

fn lints() -> anyhow::Result<()> {
    let sh = programs::shell()?;
    let clippy = || programs::cargo(&sh).args(["clippy", "--workspace"]);
    let strictly = ["--", "-D", "warnings"];
    let all = clippy().arg("--all-targets").args(strictly).run();
    all.context("clippy has complaints; see them with: cargo clippy --workspace --all-targets")?;
    // Targets that `cargo test` leaves alone are in none of the groups above.
    let image_tests = clippy().args(IMAGE_TESTS.iter().flat_map(|name| ["--test", name])).args(strictly).run();
    image_tests.context("clippy has complaints")
}

fn unit_tests(args: &Args, complete: bool, others: &[Other]) -> anyhow::Result<()> {
    let sh = shell_with(others)?;
    if complete && may_all_run(&sh) {
        sh.set_var("MK_NO_SKIP", "1");
    }
    let tests = programs::cargo(&sh).args(["test", "--workspace", "--no-fail-fast", "--"]).args(&args.filter);
    tests.run().context("tests failed")
}

fn shell_with(others: &[Other]) -> anyhow::Result<Shell> {
    let sh = programs::shell()?;
    for (variable, place) in others {
        if let Some(place) = place {
            sh.set_var(variable, place);
        }
    }
    Ok(sh)
}

/// The server's tests on PostgreSQL, which they start themselves. With a filter, all that fit.
fn on_postgres(args: &Args) -> anyhow::Result<()> {
    let sh = programs::shell()?;
    sh.set_var("MK_TEST_POSTGRES", "1");
    let tests = programs::cargo(&sh).args(["test", "-p", "mk-server", "--test", "process", "--no-fail-fast", "--"]);
    let tests = if args.filter.is_empty() { tests.args(ON_POSTGRES) } else { tests.args(&args.filter) };
    tests.run().context("tests on PostgreSQL failed")
}

/// Whether no test has a reason to skip: the packages are here, and we may make namespaces and mount, as root may
/// outside a locked-down container.
fn may_all_run(sh: &Shell) -> bool {
    let probe = "mount -t tmpfs none /mnt && test -e /dev/loop-control";
    cmd!(sh, "unshare --mount --net --pid --fork sh -c {probe}").quiet().ignore_stderr().run().is_ok()
}

fn image(variant: Variant, agent: &Path, dist: &Path) -> anyhow::Result<PathBuf> {
    let key = variant.has_ssh().then(|| images::throw_away_key(dist)).transpose()?;
    let image = Image { variant, base: "auto", agent, out: dist, server: None, ca: None, ssh_key: key.as_deref() };
    images::build(&image)
}

fn image_tests(name: &str, dist: &Path, agent: &Path, others: &[Other], filter: &[String]) -> anyhow::Result<()> {
    let sh = shell_with(others)?;
    sh.set_var("MK_DIST", dist);
    sh.set_var("MK_BASE", dist.join(BASE));
    sh.set_var("MK_SERVER_BIN", place::program("mk-server"));
    sh.set_var("MKISO_BIN", place::program("mkiso"));
    sh.set_var("MK_AGENT", agent);
    // By its path: what runs here may have been replaced by a build since, and then its own name leads nowhere.
    sh.set_var("MK_XTASK", place::program("xtask"));
    // A guest keeps a core busy, and its server, its media and the emulator's threads want another: starved of time, an
    // emulated machine's own clocks run apart, and its kernel stops with a panic about its timer.
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let threads = (cores / 2).clamp(1, limits::GUESTS).to_string();
    let tests = programs::cargo(&sh).args(["test", "--workspace", "--test", name, "--no-fail-fast", "--"]);
    let tests = tests.args(["--nocapture", "--test-threads", &threads]).args(filter);
    tests.run().with_context(|| format!("{name} tests failed; images and logs are in {}", place::shown(dist)))
}
