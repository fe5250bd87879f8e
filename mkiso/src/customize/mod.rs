//! `mkiso customize`: fits a built image to a site by filling its slot and extending its boot lines. The image says where they
//! are and what it honours (`mk/embed.json`); nothing else of it is touched, and what was put in can be taken out again.

mod checksums;
pub mod settings;
pub mod units;

use std::fs::OpenOptions;
use std::io::IsTerminal as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use self::checksums::Checksums;
use self::settings::Settings;
use crate::image::Image;
use crate::input;
use crate::limits::MAX_INPUT;
use crate::output::{full_or, publish, temp_beside};
use crate::patch::{self, Patch, patches};

/// In place of a file: standard input or output.
const STDIO: &str = "-";

/// Arguments of `mkiso customize`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// The image: an ISO, or the initrd for PXE with its descriptor beside it.
    pub image: PathBuf,
    /// URL of the server that the image checks in to.
    #[arg(long)]
    pub server: Option<String>,
    /// CA certificates in PEM: with them the image speaks to no other server, nor plain HTTP.
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// Public key of minisign: mirrors whose index it signed are believed; may be given again.
    #[arg(long, value_name = "FILE")]
    pub mirror_key: Vec<PathBuf>,
    /// File with an enrolment token, by which the server lets the image's machines in; `-` is standard input.
    #[arg(long, value_name = "FILE")]
    pub enrolment_token: Option<PathBuf>,
    /// OpenSSH public key that may log in; development and debug images only.
    #[arg(long)]
    pub ssh_key: Option<PathBuf>,
    /// A fact of this site; may be given again.
    #[arg(long, value_name = "NAME=VALUE")]
    pub fact: Vec<String>,
    /// Argument of the microkernel, such as razor.ip=10.0.0.5/24; may be given again.
    #[arg(long, value_name = "razor.KEY=VALUE")]
    pub arg: Vec<String>,
    /// Argument of the kernel, such as console=ttyS1,115200n8; ISOs only; may be given again.
    #[arg(long, value_name = "ARGUMENT")]
    pub kernel_arg: Vec<String>,
    /// Unit file of a program that the agent shall start and supervise; may be given again.
    #[arg(long, value_name = "FILE")]
    pub unit: Vec<PathBuf>,
    /// Take out all that was put in since it was built.
    #[arg(long)]
    pub reset: bool,
    /// Where to write the result; `-` is standard output [default: change the image itself].
    #[arg(long)]
    pub out: Option<PathBuf>,
}

/// Runs `mkiso customize`.
///
/// # Errors
/// What failed, on what, and what to do. All checks come before the first byte is written.
pub fn run(args: &Args) -> Result<()> {
    let settings = settings(args)?;
    ensure!(
        args.reset || settings != Settings::default(),
        "nothing to do: say what is to be set, such as --server URL, or take out what is in it with --reset"
    );
    let image = Image::open(&args.image)?;
    let own = if args.reset { image.as_built() } else { image.own.clone() };
    let own = settings
        .apply(own, image.embed.features, image.kernel_line())
        .with_context(|| format!("{} is a {} image", args.image.display(), image.embed.variant))?;
    if !args.unit.is_empty() {
        units::fit(&own.content.units, &units::built_in(image.manifest()?))?;
    }
    if settings.enrolment.is_some() && own.content.site.ca_pem.is_none() {
        eprintln!(
            "note: without a CA (--ca FILE) the enrolment token goes over the network for everybody there to read"
        );
    }
    let patches = patches(&image, &own)?;
    match &args.out {
        Some(out) if out.as_os_str() == STDIO => stream(&image.path, &patches),
        out => replace(&image.path, out.as_ref().unwrap_or(&image.path), &patches),
    }
}

fn settings(args: &Args) -> Result<Settings> {
    let checked =
        |bytes, path: &Path| String::from_utf8(bytes).with_context(|| format!("{} is no text", path.display()));
    let read = |path: &PathBuf, what| checked(input::read(path, what)?, path);
    let text = |path: &Option<PathBuf>, what| path.as_ref().map(|path| read(path, what)).transpose();
    Ok(Settings {
        server: args.server.clone(),
        ca: text(&args.ca, "CA certificate")?,
        enrolment: args.enrolment_token.as_ref().map(|path| checked(token(path)?, path)).transpose()?,
        ssh_key: text(&args.ssh_key, "public key")?,
        mirror_keys: args.mirror_key.iter().map(|path| read(path, "key of mirrors")).collect::<Result<_>>()?,
        facts: args.fact.clone(),
        args: args.arg.clone(),
        kernel_args: args.kernel_arg.clone(),
        units: args.unit.iter().map(|path| read(path, "unit file")).collect::<Result<_>>()?,
    })
}

/// The enrolment token, the one secret among the inputs: a program may hand it over without a file.
fn token(path: &Path) -> Result<Vec<u8>> {
    match path.as_os_str() == STDIO {
        true => input::all_of(std::io::stdin(), MAX_INPUT).context("cannot read the enrolment token"),
        false => input::read(path, "enrolment token"),
    }
}

/// Puts the changed image in the place of `out`. In place too: a copy that replaces the image whole, since half a slot would be
/// read by the kernel.
fn replace(image: &Path, out: &Path, patches: &[Patch]) -> Result<()> {
    let copy = |to: &Path| {
        std::fs::copy(image, to).map_err(|error| full_or(error, out))?;
        patches.iter().try_for_each(|patch| write(to, patch))
    };
    match Checksums::beside(out)? {
        Some(checksums) => checksums.replace(copy)?,
        None => {
            let temp = temp_beside(out)?;
            copy(temp.path())?;
            publish(temp, out)?;
        }
    }
    eprintln!("customized {}", out.display());
    Ok(())
}

/// Writes one change, makes it durable and reads it back.
fn write(path: &Path, Patch { span, bytes }: &Patch) -> Result<()> {
    let change = || -> std::io::Result<bool> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        file.write_all_at(bytes, span.offset)?;
        file.sync_all()?;
        let mut back = vec![0; bytes.len()];
        file.read_exact_at(&mut back, span.offset)?;
        Ok(back == *bytes)
    };
    let same = change().map_err(|error| full_or(error, path))?;
    ensure!(same, "{} does not hold what was written to it; check the disk", path.display());
    Ok(())
}

/// Sends the changed image to standard output.
fn stream(image: &Path, patches: &[Patch]) -> Result<()> {
    let mut out = std::io::stdout().lock();
    ensure!(
        !out.is_terminal(),
        "an image is no text for a terminal: send it to a file or a program, such as `> FILE.iso`"
    );
    patch::send(image, patches, &mut out)
}
