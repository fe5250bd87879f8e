//! `mkiso inspect`: what an image is, what it honours, and what a site has put into it.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::Result;
use serde_json::json;
use wire::site::Site;

use crate::customize::settings::KernelLine;
use crate::image::Image;

/// Arguments of `mkiso inspect`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// The image: an ISO, or the initrd for PXE with its descriptor beside it.
    pub image: PathBuf,
    /// All that there is to know, as JSON.
    #[arg(long)]
    pub json: bool,
}

/// Runs `mkiso inspect`.
///
/// # Errors
/// The image cannot be read.
pub fn run(args: &Args) -> Result<()> {
    let image = Image::open(&args.image)?;
    if args.json {
        // Whether there is one, not which: what is printed ends in logs.
        let site = Site { enrolment: None, ..image.own.content.site.clone() };
        let all = json!({
            "embed": image.embed,
            "manifest": image.manifest,
            "site": site,
            "has_enrolment_token": image.own.content.site.enrolment.is_some(),
            "authorized_keys": image.own.content.authorized_keys.lines().collect::<Vec<_>>(),
            "units": image.own.content.units,
            "kernel_arguments": image.own.kernel_arguments,
        });
        println!("{}", serde_json::to_string_pretty(&all)?);
    } else {
        print!("{}", text(&image));
    }
    Ok(())
}

/// A line for each thing that is to be known, its name first.
fn text(image: &Image) -> String {
    let embed = &image.embed;
    let mut text = String::new();
    let mut row = |name: &str, value: &str| {
        let _ = writeln!(text, "{name:<18}{value}");
    };
    row("image", &format!("{} {}", embed.version, embed.variant));
    if let Some(manifest) = &image.manifest {
        row("base", &format!("{}, SHA-256 {}", manifest.base.name, manifest.base.sha256));
        row("made by", &manifest.builder);
        for member in &manifest.members {
            row("member", &format!("{} ({} bytes) {}", member.name, member.bytes, member.sha256));
        }
    }
    let mut honours = vec!["server", "enrolment token", "facts", "arguments"];
    honours.extend(Some("CA").filter(|_| embed.features.ca));
    honours.extend(Some("keys of mirrors").filter(|_| embed.features.mirror_keys));
    honours.extend(Some("kernel arguments").filter(|_| image.kernel_line() == KernelLine::Open));
    honours.extend(Some("units").filter(|_| embed.features.units));
    honours.extend(Some("ssh keys").filter(|_| embed.features.ssh_key));
    row("can be set", &honours.join(", "));
    let site = &image.own.content.site;
    if let Some(server) = &site.server {
        row("server", server);
    }
    if let Some(pem) = &site.ca_pem {
        row("CA", &format!("{} certificates in PEM; see them with --json", pem.matches("-----BEGIN").count()));
    }
    for key in &site.mirror_keys {
        row("key of mirrors", key);
    }
    if site.enrolment.is_some() {
        row("enrolment token", "there is one");
    }
    for (name, value) in &site.facts {
        row("fact", &format!("{name}={value}"));
    }
    for arg in &site.args {
        row("argument", arg);
    }
    for name in image.own.content.units.keys() {
        row("unit", &format!("{name}; its text is shown with --json"));
    }
    if !image.own.kernel_arguments.is_empty() {
        row("kernel arguments", &image.own.kernel_arguments);
    }
    for key in image.own.content.authorized_keys.lines() {
        row("ssh key", key);
    }
    text
}
