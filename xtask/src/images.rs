//! `cargo xtask build-iso`, and the images that `boot` and `test` need.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use xshell::cmd;

use crate::packages::{self, Job};
use crate::report::Report;
use crate::{parts, place, programs};

/// Which image it shall be.
#[derive(clap::Args)]
pub(crate) struct Choice {
    /// Variant of the image.
    #[arg(long, value_enum, default_value_t = Variant::Production)]
    pub(crate) variant: Variant,
    /// Base: `auto`, `debian`, `tinycore[=VERSION]`, or a Core ISO's file name.
    #[arg(long, default_value = "auto")]
    base: String,
}

impl Choice {
    /// The base as `mkiso` understands it from the work tree: paths are the caller's.
    pub(crate) fn base(&self) -> anyhow::Result<String> {
        let file = here()?.join(&self.base);
        Ok(if file.is_file() { file.to_string_lossy().into_owned() } else { self.base.clone() })
    }
}

/// The caller's folder; the programs run in the work tree.
fn here() -> anyhow::Result<PathBuf> {
    std::env::current_dir().context("cannot tell the current folder")
}

/// Arguments of `build-iso`.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    choice: Choice,
    /// Folder for the image and what belongs to it.
    #[arg(long, value_name = "DIR", default_value = "dist")]
    out: PathBuf,
    /// Server that the image checks in to [default: found on the network].
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// CA certificates: the image speaks to a server that they vouch for, and to no other.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Public key that may log in (development, debug).
    #[arg(long, value_name = "FILE")]
    ssh_key: Option<PathBuf>,
}

/// Variant of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Variant {
    /// No log-in, no shell, nothing listens.
    Production,
    /// Log-in by ssh key.
    Development,
    /// Root shells on the consoles besides.
    Debug,
}

impl Variant {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::Production, Self::Development, Self::Debug];

    /// As `mkiso` knows it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Production => "production",
            Self::Development => "development",
            Self::Debug => "debug",
        }
    }

    /// Whether an ssh key may log in.
    pub(crate) fn has_ssh(self) -> bool {
        self != Self::Production
    }
}

/// What to build.
pub(crate) struct Image<'a> {
    pub(crate) variant: Variant,
    pub(crate) base: &'a str,
    pub(crate) agent: &'a Path,
    pub(crate) out: &'a Path,
    pub(crate) server: Option<&'a str>,
    pub(crate) ca: Option<&'a Path>,
    pub(crate) ssh_key: Option<&'a Path>,
}

/// `cargo xtask build-iso`.
pub(crate) fn run(args: &Args, install: bool) -> anyhow::Result<()> {
    let mut report = Report::new();
    let variant = args.choice.variant;
    if variant.has_ssh() && args.ssh_key.is_none() {
        let variant = variant.name();
        bail!("a {variant} image lets its operator log in by key: give your public key with --ssh-key FILE");
    }
    let here = here()?;
    let given = |file: &Option<PathBuf>| file.as_ref().map(|file| here.join(file));
    let (out, ca, key) = (here.join(&args.out), given(&args.ca), given(&args.ssh_key));
    let base = args.choice.base()?;
    report.step("packages", || packages::ensure(Job::Build, install))?;
    report.step("programs", programs::host)?;
    let agent = report.step("agent", programs::agent)?;
    let image = Image {
        variant,
        base: &base,
        agent: &agent,
        out: &out,
        server: args.server.as_deref(),
        ca: ca.as_deref(),
        ssh_key: key.as_deref(),
    };
    let iso = report.step("image", || build(&image))?;
    report.close();
    println!("{}", place::shown(&iso));
    Ok(())
}

/// Builds an image; gives its ISO.
pub(crate) fn build(image: &Image) -> anyhow::Result<PathBuf> {
    let (sh, mkiso) = (programs::shell()?, place::program("mkiso"));
    let (base, agent, out, variant) = (image.base, image.agent, image.out, image.variant.name());
    let server = image.server.map(|url| ["--server", url]).into_iter().flatten();
    let parts = parts::beside(agent);
    let files = [("--ca", image.ca), ("--ssh-key", image.ssh_key), ("--agent-parts", parts.as_deref())];
    let files = files.into_iter().filter_map(|(option, file)| Some([OsStr::new(option), file?.as_os_str()])).flatten();
    let fixed = ["--base", base, "--variant", variant];
    let iso = cmd!(sh, "{mkiso} build {fixed...} --agent {agent} --out {out} {server...} {files...}");
    let iso = iso.quiet().read().with_context(|| format!("cannot build the {variant} image"))?;
    Ok(iso.into())
}

/// Puts a base ISO without our parts into a file: of Debian packages, or of a root file system of Tiny Core.
pub(crate) fn base(rootfs: Option<&Path>, iso: &Path) -> anyhow::Result<()> {
    let (sh, mkiso) = (programs::shell()?, place::program("mkiso"));
    let kind = rootfs.map_or(["--base".as_ref(), "debian".as_ref()], |file| ["--rootfs".as_ref(), file.as_os_str()]);
    cmd!(sh, "{mkiso} base {kind...} --out {iso}").quiet().run().context("cannot build the base")
}

/// Makes a copy of an image that knows its server.
pub(crate) fn customize(iso: &Path, server: &str, copy: &Path) -> anyhow::Result<()> {
    let (sh, mkiso) = (programs::shell()?, place::program("mkiso"));
    cmd!(sh, "{mkiso} customize {iso} --server {server} --out {copy}")
        .quiet()
        .run()
        .with_context(|| format!("cannot tell the image {} its server", place::shown(iso)))
}

/// Makes a key pair that nobody keeps; gives the public key.
pub(crate) fn throw_away_key(dir: &Path) -> anyhow::Result<PathBuf> {
    let (sh, key) = (programs::shell()?, dir.join("ssh-key"));
    let public = dir.join("ssh-key.pub");
    if !public.is_file() {
        sh.create_dir(dir)?;
        cmd!(sh, "ssh-keygen -q -t ed25519 -N '' -C throw-away -f {key}").quiet().run()?;
    }
    Ok(public)
}
