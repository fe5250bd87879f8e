//! `tce-mirror`: copies Tiny Core extensions from mirrors, makes them from Debian packages, writes a mirror's lists and signs it.
//! Parses the command line and calls the library. Exit code 0 on success, 1 on failure with the reason on stderr, 2 on a
//! wrong command line.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, ensure};
use clap::{Parser, Subcommand};
use tce_mirror::apt::Sources;
use tce_mirror::fetch::Mirror;
use tce_mirror::find::{self, Found};
use tce_mirror::import::{self, Request, have};
use tce_mirror::index::{self, Index};
use tce_mirror::plan;
use tce_mirror::recipe::{Present, Recipe};
use tce_mirror::sign::{self, Terms, Verified};
use tce_mirror::signed;
use tce_mirror::sync::{self, Missing, Repository};

/// Works with Tiny Core extensions and their mirrors.
#[derive(Parser)]
#[command(name = "tce-mirror", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Copy extensions with all that they depend on into a folder that can be served as a mirror.
    Sync(Sync),
    /// Make extensions of Debian packages and of all that they need and the base lacks.
    ImportDeb(ImportDeb),
    /// Write the lists of a folder of extensions (info.lst, provides.db, dep.db, md5.db, tags.db) and missing checksums.
    Index {
        /// Folder with the extensions, such as MIRROR/17.x/x86_64/tcz.
        folder: PathBuf,
    },
    /// Tell which extensions of a repository have a file.
    Find {
        /// URL or folder of the extensions, such as http://repo.tinycorelinux.net/17.x/x86_64/tcz.
        place: String,
        /// The file's name, or the end of its path, such as bnx2/bnx2-mips-09-6.2.1b.fw.
        file: String,
    },
    /// Write a signed index of a folder of extensions, by which nodes know them: mk-index.json and mk-index.json.minisig.
    Sign(Sign),
    /// Tell whether a folder of extensions is as its signed index says.
    Verify {
        /// Folder or URL of the extensions, such as http://mirror.example/tce/17.x/x86_64/tcz.
        place: String,
        /// Public key of minisign.
        #[arg(long, value_name = "FILE")]
        pubkey: PathBuf,
        /// Release of the kernel that it must be for.
        #[arg(long, value_name = "RELEASE")]
        kernel: Option<String>,
    },
}

#[derive(clap::Args)]
struct Sign {
    /// Folder with the extensions, such as MIRROR/17.x/x86_64/tcz. Its lists are written too.
    folder: PathBuf,
    /// Secret key of minisign (`minisign -G`).
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Release of the kernel that the extensions are for, if one of them has kernel modules.
    #[arg(long, value_name = "RELEASE")]
    kernel: Option<String>,
    /// Release and architecture that they are for [default: as the folder's path says].
    #[arg(long, value_name = "RELEASE/ARCH")]
    repository: Option<String>,
    /// For how many days the index is valid [default: for good].
    #[arg(long)]
    days: Option<u32>,
}

#[derive(clap::Args)]
struct Sync {
    /// Mirror; give it again for others that are asked when one fails.
    #[arg(long = "from", value_name = "URL", required = true)]
    from: Vec<String>,
    /// Tiny Core's release.
    #[arg(long, default_value = "17.x")]
    release: String,
    /// Architecture.
    #[arg(long, default_value = "x86_64")]
    arch: String,
    /// Release of the kernel, for names with `KERNEL`.
    #[arg(long, value_name = "RELEASE")]
    kernel: String,
    /// Folder for the copy.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Extensions, with or without `.tcz`.
    #[arg(required = true)]
    names: Vec<String>,
}

#[derive(clap::Args)]
struct ImportDeb {
    /// Folder for the extensions, such as MIRROR/17.x/x86_64/tcz. Its lists are written too.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Description with Debian's archives (`[debian]`) and of extensions (`[extension.NAME]`), such as image.toml. Without
    /// it, all packages must be given as files.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// List of what the base has: names of packages and paths of shared libraries, one a line.
    #[arg(long, value_name = "FILE")]
    have: Option<PathBuf>,
    /// Base made by `mkiso base`, whose shared libraries need not come along.
    #[arg(long, value_name = "ISO")]
    base: Option<PathBuf>,
    /// Packages: files (`./NAME.deb`), names in Debian's archives, or names of extensions that the description has.
    #[arg(required = true)]
    packages: Vec<String>,
}

/// What of the image's description is needed here.
#[derive(serde::Deserialize)]
struct Config {
    debian: Sources,
    #[serde(default, rename = "extension")]
    extensions: BTreeMap<String, Recipe>,
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Sync(args) => copy(&args),
        Command::ImportDeb(args) => import(&args),
        Command::Index { folder } => list(&folder),
        Command::Find { place, file } => look(&place, &file),
        Command::Sign(args) => sign(args),
        Command::Verify { place, pubkey, kernel } => verify(&place, &pubkey, kernel.as_deref()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tce-mirror: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn copy(args: &Sync) -> Result<()> {
    let mirrors = args.from.iter().map(|url| Mirror::new(url)).collect::<Result<Vec<_>>>()?;
    let repository = Repository { release: args.release.clone(), arch: args.arch.clone(), kernel: args.kernel.clone() };
    let mut wanted = Vec::new();
    for text in &args.names {
        let name = plan::name(text, &args.kernel);
        wanted.push(name.ok_or_else(|| anyhow::anyhow!("`{text}` cannot be the name of an extension"))?);
    }
    let copy = sync::run(&mirrors, &repository, &wanted, &args.out, |line| eprintln!("{line}"))?;
    let missing: Vec<String> = copy
        .missing
        .iter()
        .map(|(name, Missing { needed_by, .. })| match needed_by {
            Some(by) => format!("{name} (needed by {by})"),
            None => name.clone(),
        })
        .collect();
    let unsure: String = copy.missing.values().flat_map(|m| &m.unsure).map(|why| format!("\n{why}")).collect();
    ensure!(
        unsure.is_empty(),
        "no mirror that gives a right answer has {}; the other extensions are in {}. Mirrors that gave none:{unsure}",
        missing.join(", "),
        args.out.display()
    );
    ensure!(
        missing.is_empty(),
        "no mirror has {}. See whether release, architecture and kernel are right; the others are in {}",
        missing.join(", "),
        args.out.display()
    );
    println!("{} extensions in {}", copy.order.len(), args.out.join(repository.folder()).display());
    Ok(())
}

fn import(args: &ImportDeb) -> Result<()> {
    let (files, names) = args.packages.iter().cloned().partition::<Vec<_>, _>(|word| is_file(word));
    let config: Option<Config> =
        args.config.as_deref().map(|path| read(path, |text| Ok(toml::from_str(text)?))).transpose()?;
    let mut present = args.have.as_deref().map_or_else(|| Ok(Present::default()), |path| read(path, have::list))?;
    if let Some(iso) = &args.base {
        have::base(iso, &mut present)?;
    }
    let (sources, recipes) = config.map_or_else(Default::default, |config| (Some(config.debian), config.extensions));
    let files = files.into_iter().map(PathBuf::from).collect();
    let request = Request { names, files, recipes, sources, present };
    let made = import::run(&request, &args.out, |line| eprintln!("{line}"))?;
    warn(&index::write(&args.out)?);
    // In order of loading, as an install list has them.
    made.iter().for_each(|name| println!("{name}"));
    Ok(())
}

/// Whether a word of the command line is a package's file and no name.
fn is_file(word: &str) -> bool {
    word.contains('/') || word.ends_with(".deb")
}

fn read<T>(path: &Path, parse: impl FnOnce(&str) -> Result<T>) -> Result<T> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    parse(&text).with_context(|| format!("in {}", path.display()))
}

fn list(folder: &Path) -> Result<()> {
    let index = index::write(folder)?;
    warn(&index);
    println!("{} extensions in {}", index.count, folder.display());
    Ok(())
}

fn warn(index: &Index) {
    for (name, need) in &index.missing {
        eprintln!("warning: {name} needs {need}, which is not there");
    }
}

fn look(place: &str, file: &str) -> Result<()> {
    let found = find::file(place, file)?;
    ensure!(!found.is_empty(), "no extension of {place} has a file {file}");
    for Found { name, description, paths } in found {
        println!("{name}  {description}");
        paths.iter().for_each(|path| println!("    {path}"));
    }
    Ok(())
}

fn sign(args: Sign) -> Result<()> {
    let Sign { folder, key, kernel, repository, days } = args;
    warn(&index::write(&folder)?);
    let index = sign::sign(&folder, &key, &Terms { repository, kernel, days })?;
    println!(
        "signed {} extensions in {} for {}, number {}",
        index.extensions.len(),
        folder.display(),
        target(&index),
        index.sequence
    );
    Ok(())
}

fn verify(place: &str, pubkey: &Path, kernel: Option<&str>) -> Result<()> {
    let key = read(pubkey, |text| Ok(text.to_owned()))?;
    let Verified { index, wrong, unlisted } = sign::verify(place, &key, kernel)?;
    for name in unlisted {
        eprintln!("warning: {name} is not in the index: no node takes it by this signature");
    }
    ensure!(
        wrong.is_empty(),
        "{place} is not as it was signed:\n{}\nIf what it has is right, sign it again: tce-mirror sign",
        wrong.join("\n")
    );
    println!("{} extensions are as signed for {}, number {}", index.extensions.len(), target(&index), index.sequence);
    Ok(())
}

/// What an index is for, in words.
fn target(index: &signed::Index) -> String {
    let kernel = index.kernel.as_ref().map_or("any kernel".to_owned(), |kernel| format!("kernel {kernel}"));
    format!("{} and {kernel}", index.repository)
}
