//! `mkiso build`: a Core ISO and an agent in, a microkernel image out.
//!
//! The base's own initrd stays as it is; two more are loaded after it: `mk.gz` with all that is ours, and `site.img`,
//! an empty slot that `mkiso customize` fills. The same inputs make the same bytes.

pub mod author;
pub mod bootcfg;
pub mod choose;
pub mod config;
pub mod core;
pub mod elf;
pub mod esp;
pub mod extensions;
pub mod index;
pub mod loaders;
pub mod manifest;
pub mod modules;
pub mod outputs;
pub mod overlay;
pub mod place;
pub mod proved;
pub mod segment;
pub mod source;
pub mod tree;
pub mod variant;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Instant;

use anyhow::{Context as _, Result, anyhow, ensure};
use wire::embed::{Area, BootLine, Built, Embed, Features};
use wire::site::{AUTHORIZED_KEYS_PATH, IMAGE_PATH, Image, SITE_PATH, Site};
use wire::unit::UNITS_PATH;

use self::bootcfg::Boot;
use self::config::Config;
use self::core::Core;
use self::extensions::Extensions;
use self::loaders::Loaders;
use self::manifest::{Manifest, Part};
use self::outputs::Outputs;
use self::place::Item;
use self::proved::Proved;
use self::source::Source;
use self::tree::Tree;
pub use self::tree::{SEGMENT, SLOT};
pub use self::variant::Variant;
use crate::base::lock::Gem;
use crate::cache;
use crate::cpio;
use crate::gems;
use crate::input;
use crate::sbom::contents::Contents;
use crate::sbom::{self, contents};
use crate::slot::{Content, public_keys, relative};

/// Folder of files for the image, beside `image.toml`.
const OVERLAY: &str = "rootfs-overlay";

/// Arguments of `mkiso build`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Base: `auto`, `debian`, `tinycore[=VERSION]`, or a Core ISO.
    #[arg(long, default_value = "auto")]
    pub base: String,
    /// The agent: a static x86_64 program.
    #[arg(long)]
    pub agent: PathBuf,
    /// What the agent was compiled from, for the bill of materials: JSON that `cargo xtask build-iso` writes.
    #[arg(long, value_name = "FILE")]
    pub agent_parts: Option<PathBuf>,
    /// What kind of image.
    #[arg(long, value_enum, default_value = "production")]
    pub variant: Variant,
    /// What goes into the image; `rootfs-overlay` is found beside it.
    #[arg(long, default_value = "image.toml")]
    pub config: PathBuf,
    /// What was taken for the base [default: `image.lock` beside the configuration].
    #[arg(long)]
    pub lock: Option<PathBuf>,
    /// Folder for what is made once and used again [default: the user's cache folder].
    #[arg(long)]
    pub cache: Option<PathBuf>,
    /// OpenSSH public key that may log in to a development or debug image.
    #[arg(long)]
    pub ssh_key: Option<PathBuf>,
    /// URL of the server that the image checks in to.
    #[arg(long)]
    pub server: Option<String>,
    /// CA certificates in PEM: with them the image speaks to no other server, nor plain HTTP.
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// Gem server (URL) or folder that the gems of gem-list/gem.list come from [default: `source` of [gems] in the
    /// configuration].
    #[arg(long, value_name = "URL|DIR")]
    pub gem_source: Option<String>,
    /// Folder for the image.
    #[arg(long, default_value = "dist")]
    pub out: PathBuf,
}

impl Args {
    /// Where it is noted what was taken.
    fn lock_path(&self, config: &Config) -> PathBuf {
        self.lock.clone().unwrap_or_else(|| config.beside("image.lock"))
    }
}

/// Runs `mkiso build`. Prints the ISO's path on stdout.
///
/// # Errors
/// What failed, on what, and what to do. Nothing is left in the output folder then.
pub fn run(args: &Args) -> Result<()> {
    let start = Instant::now();
    let config = Config::read(&args.config)?;
    let content = content(args)?;
    let agent = input::read(&args.agent, "agent")?;
    elf::check_static(&agent).with_context(|| format!("the agent {} cannot run in the image", args.agent.display()))?;
    let source = Source::find(config.folder())?;
    let stem = format!("razor-mk-{}-{}", source.version, args.variant.name());
    let (base, digest) = choose::base(args, &config, |path| Proved::take(args, &config, path))?;
    let built = Build::prepare(args, base, source, agent)?;
    let slot = content.to_slot(config.site_slot())?;
    let as_built = Some(content).filter(|content| *content != Content::default()).map(Built::from);
    let built = Build { as_built, ..built };
    let iso = built.write(Outputs::new(&args.out, &stem)?, &slot, digest)?;
    eprintln!("built {} in {:.2} s", iso.display(), start.elapsed().as_secs_f32());
    println!("{}", iso.display());
    Ok(())
}

/// What the slot holds from the start.
fn content(args: &Args) -> Result<Content> {
    let authorized_keys = match &args.ssh_key {
        Some(path) => {
            ensure!(
                args.variant.has_ssh(),
                "a production image has no sshd, so that --ssh-key is of no use; build --variant development"
            );
            let text = String::from_utf8(input::read(path, "public key")?);
            let text = text.with_context(|| format!("{} is no text", path.display()))?;
            public_keys(&text).with_context(|| format!("{} cannot be used for log-in", path.display()))?
        }
        None => {
            ensure!(
                !args.variant.has_ssh(),
                "a {} image is logged in to by key only: name your public key with --ssh-key (such as \
                 ~/.ssh/id_ed25519.pub)",
                args.variant.name()
            );
            String::new()
        }
    };
    let ca_pem = args.ca.as_ref().map(|path| {
        let text = String::from_utf8(input::read(path, "CA certificate")?);
        let text = text.with_context(|| format!("{} is no text", path.display()))?;
        input::ca_certificates(&text).with_context(|| format!("{} cannot be pinned", path.display()))
    });
    let ca_pem = ca_pem.transpose()?;
    let server = args.server.as_deref().map(|url| input::server_url(url, ca_pem.is_some())).transpose()?;
    Ok(Content { site: Site { server, ca_pem, ..Site::default() }, authorized_keys, ..Content::default() })
}

/// An image of which all parts are in memory.
struct Build {
    variant: Variant,
    source: Source,
    core: Core,
    loaders: Loaders,
    segment: Vec<u8>,
    inputs: Vec<Part>,
    /// What of the image stands in the bill of materials only.
    listed: Listed,
    base_description: Option<serde_json::Value>,
    /// What is in the slot from the start.
    as_built: Option<Built>,
}

/// What of an image stands in the bill of materials only.
struct Listed {
    agent: Part,
    parts: Option<Vec<sbom::parts::Part>>,
    contents: Vec<Contents>,
    gems: Vec<Gem>,
}

impl Build {
    fn prepare(args: &Args, base: Proved, source: Source, agent: Vec<u8>) -> Result<Self> {
        let Proved { mut core, config, extensions, index } = base;
        let agent_part = Part::new("agent", "--agent", &agent);
        let parts = args.agent_parts.as_deref().map(sbom::parts::read).transpose()?;
        let mut inputs = vec![agent_part.clone()];
        for extension in extensions.all() {
            inputs.push(extension.part(&core.name));
        }
        let mut items = overlay::read(&config.beside(OVERLAY), args.variant)?;
        for item in &items {
            inputs.extend(item.part(OVERLAY));
        }
        items.push(Item::file(variant::AGENT, 0o755, agent));
        items.push(Item::file(IMAGE_PATH, 0o644, image(args.variant, &config, &core, &source, &extensions)?));
        items.extend(extensions.texts());
        items.push(extensions.firmware()?);
        items.extend(index);
        let shrinking = place::archive(&mut core.tree, items, source.epoch)?;
        slot_paths_are_plain(&core.tree, args.variant)?;
        let gems =
            gems::pins::take(&config, &args.config, &args.lock_path(&config), args.gem_source.as_deref(), false)?;
        inputs.extend(gems.parts);
        let contents = contents::read(&core, &extensions)?;
        let listed = Listed { agent: agent_part, parts, contents, gems: gems.taken };
        let compressed = extensions.into_images().into_iter().chain(gems.items).collect();
        let plain = place::archive(&mut core.tree, compressed, source.epoch)?;
        let segment = segment::join(&shrinking, &plain, &cache::folder(args.cache.as_deref())?)?;
        let loaders = Loaders::find(&mut core)?;
        let base_description = core.description()?;
        Ok(Self {
            variant: args.variant,
            source,
            core,
            loaders,
            segment,
            inputs,
            listed,
            base_description,
            as_built: None,
        })
    }

    /// Writes all files of the image and gives the ISO's place. The ISO is written while the others are.
    fn write(self, mut outputs: Outputs, slot: &[u8], base_sha256: String) -> Result<PathBuf> {
        let (folder, iso) = (outputs.scratch()?, outputs.reserve("iso"));
        let members = self.members(slot);
        let manifest = self.manifest(base_sha256, members);
        let (written, beside) = beside_each_other(
            || self.write_iso(&folder, &iso, slot, manifest.clone()),
            || self.write_beside(&mut outputs, slot),
        )?;
        let manifest = written.and_then(|written| beside.map(|()| written))?;
        let manifest = Manifest { outputs: outputs.digests()?.clone(), ..manifest };
        outputs.write("spdx.json", &[&self.bill(&outputs.name("iso"), &manifest)?])?;
        outputs.write("manifest.json", &[&serde_json::to_vec_pretty(&manifest)?])?;
        outputs.checksums()?;
        let place = outputs.place("iso");
        outputs.publish()?;
        Ok(place)
    }

    /// Writes the ISO and gives the manifest with all its files.
    fn write_iso(&self, folder: &Path, iso: &Path, slot: &[u8], mut manifest: Manifest) -> Result<Manifest> {
        let slash = |path: &str| format!("/{path}");
        let (kernel, initrds) = (slash(self.core.kernel_path), [self.core.initrd_path, SEGMENT, SLOT].map(slash));
        let boot = Boot { kernel: &kernel, initrds: &initrds.each_ref().map(String::as_str) };
        let (isolinux, grub) = (bootcfg::isolinux(self.variant, &boot), bootcfg::grub(self.variant, &boot));
        let boot_lines = isolinux.boot_lines().chain(grub.boot_lines()).collect();
        let embed = self.embed(slash(SLOT), 0, slot, boot_lines)?;
        let members = manifest.members.clone();
        let tree = Tree {
            core: &self.core,
            loaders: &self.loaders,
            variant: self.variant,
            version: &self.source.version,
            epoch: self.source.epoch,
            segment: &self.segment,
            slot,
            configs: [&isolinux, &grub],
            embed: &embed,
            members: &members,
        };
        let (mut files, further) = (tree.members(), tree.further()?);
        manifest.members.extend(further.iter().map(|(path, bytes)| tree::part(path, bytes)));
        files.extend(further);
        let (laid_out, mbr) = (folder.join("iso"), folder.join(loaders::MBR));
        tree::lay_out(&laid_out, &files, &serde_json::to_vec(&manifest)?)?;
        std::fs::write(&mbr, self.loaders.mbr()).map_err(|error| crate::output::full_or(error, &mbr))?;
        author::write(&laid_out, &mbr, iso, &self.source.version, self.source.epoch)?;
        Ok(manifest)
    }

    /// What a machine boots from over the network.
    fn write_beside(&self, outputs: &mut Outputs, slot: &[u8]) -> Result<()> {
        let mut initrd = self.core.initrd.clone();
        cpio::pad(&mut initrd);
        let offset = (initrd.len() + self.segment.len()) as u64;
        outputs.write("vmlinuz", &[&self.core.kernel])?;
        outputs.write("initrd", &[&initrd, &self.segment, slot])?;
        // The kernel line of a network boot is the server's.
        let embed = self.embed(outputs.name("initrd"), offset, slot, Vec::new())?;
        outputs.write("embed.json", &[&embed])
    }

    /// Kernel and initrds.
    fn members(&self, slot: &[u8]) -> Vec<Part> {
        let base = &self.core.name;
        vec![
            Part::new(self.core.kernel_path, base, &self.core.kernel),
            Part::new(self.core.initrd_path, base, &self.core.initrd),
            Part::new(SEGMENT, "built", &self.segment),
            Part::new(SLOT, "built", slot),
        ]
    }

    fn embed(&self, path: String, offset: u64, slot: &[u8], boot_lines: Vec<BootLine>) -> Result<Vec<u8>> {
        let embed = Embed {
            format: Embed::FORMAT,
            version: self.source.version.clone(),
            variant: self.variant.name().to_owned(),
            site: Area { path, offset, length: slot.len() as u64 },
            boot_lines,
            features: Features { ssh_key: self.variant.has_ssh(), ca: true, units: true, mirror_keys: true },
            built: self.as_built.clone(),
        };
        Ok(serde_json::to_vec_pretty(&embed)?)
    }

    /// The bill of materials of the ISO with that name, whose digest the manifest has.
    fn bill(&self, iso: &str, manifest: &Manifest) -> Result<Vec<u8>> {
        let digest = manifest.outputs.get(iso).with_context(|| format!("{iso} has no digest"))?;
        sbom::text(&sbom::Image {
            name: iso.trim_end_matches(".iso"),
            version: &manifest.version,
            epoch: manifest.source_date_epoch,
            iso: (iso, digest),
            base: &manifest.base,
            kernel: &self.core.release,
            agent: &self.listed.agent,
            parts: self.listed.parts.as_deref(),
            contents: &self.listed.contents,
            gems: &self.listed.gems,
        })
    }

    fn manifest(&self, base_sha256: String, members: Vec<Part>) -> Manifest {
        let loaders = self.loaders.bios.iter().chain(&self.loaders.uefi);
        let loaders = loaders.map(|(name, bytes)| Part::new(*name, "boot loader", bytes));
        Manifest {
            format: 1,
            version: self.source.version.clone(),
            variant: self.variant,
            source_date_epoch: self.source.epoch,
            builder: format!("mkiso {}", env!("CARGO_PKG_VERSION")),
            base: manifest::Base {
                name: self.core.name.clone(),
                sha256: base_sha256,
                description: self.base_description.clone(),
            },
            inputs: self.inputs.iter().cloned().chain(loaders).collect(),
            members,
            outputs: BTreeMap::new(),
        }
    }
}

/// Runs both at once: most of the time goes into digests and into waiting for the disk.
pub(crate) fn beside_each_other<A: Send, B>(
    one: impl FnOnce() -> A + Send,
    other: impl FnOnce() -> B,
) -> Result<(A, B)> {
    thread::scope(|scope| {
        let one = scope.spawn(one);
        let other = other();
        let one = one.join().map_err(|_| anyhow!("a part of the build ended unexpectedly; see the words above"))?;
        Ok((one, other))
    })
}

/// `/etc/razor-mk/image.json`.
fn image(variant: Variant, config: &Config, core: &Core, source: &Source, extensions: &Extensions) -> Result<Vec<u8>> {
    let image = Image {
        version: source.version.clone(),
        variant: variant.name().to_owned(),
        base: core.name.clone(),
        kernel: core.release.clone(),
        deny_modules: config.deny_modules().clone(),
        early: extensions.early().iter().map(|extension| extension.name.clone()).collect(),
        extensions: extensions.digests(),
        mirror_keys: config.mirror_keys().to_vec(),
        mirror_floor: config.mirror_floor(),
        source_date_epoch: i64::from(source.epoch),
    };
    Ok(serde_json::to_vec_pretty(&image)?)
}

/// The slot's archive is made without knowledge of the base, so the folders of its files must be plain ones.
fn slot_paths_are_plain(tree: &cpio::tree::Tree, variant: Variant) -> Result<()> {
    let keys = Some(AUTHORIZED_KEYS_PATH).filter(|_| variant.has_ssh());
    for path in [SITE_PATH, UNITS_PATH].into_iter().chain(keys) {
        let placed = tree.place(path)?;
        ensure!(
            placed.as_deref() == Some(relative(path)),
            "{path} would lie at {placed:?} in this base; the site's settings need plain folders there"
        );
    }
    Ok(())
}
