//! The ancestor's way to an image, step by step as its `rebuild_iso.sh` and Tiny Core's remaster recipe have it: unpack
//! the base's initrd, add our files to the tree, pack all of it again, and write an ISO for BIOS. The same files go in
//! as into ours: agent, overlay, and the extensions that the manifest of our image names.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::Value;
use xshell::{Shell, cmd};

use super::timing::seconds;
use crate::{place, programs};

/// Writes the folder `iso` as `out.iso`, which boots BIOS from CD.
pub(crate) const MKISOFS: &str = "xorriso -as mkisofs -quiet -l -J -R -V base -no-emul-boot -boot-load-size 4 \
    -boot-info-table -b boot/isolinux/isolinux.bin -c boot/isolinux/boot.cat -o out.iso iso";
/// Where the image has its extensions.
const EXTENSIONS: &str = "tmp/builtin/optional";

/// One build.
pub(crate) struct Built {
    /// Each step with its time in seconds, in order.
    pub(crate) steps: Vec<(String, f64)>,
    /// Size of the ISO in bytes.
    pub(crate) iso: u64,
    /// Size of the initrd in bytes.
    pub(crate) initrd: u64,
}

impl Built {
    /// Time of all steps in seconds.
    pub(crate) fn seconds(&self) -> f64 {
        self.steps.iter().map(|(_, time)| time).sum()
    }
}

/// What is built from.
pub(crate) struct Ancestor<'a> {
    /// The base ISO.
    pub(crate) base: &'a Path,
    /// Our agent.
    pub(crate) agent: &'a Path,
    /// Manifest of our image of the same base.
    pub(crate) manifest: &'a Value,
    /// Folder for everything on the way.
    pub(crate) dir: PathBuf,
}

impl Ancestor<'_> {
    /// Builds an image; with `advdef` the initrd is compressed once more, as Tiny Core recommends.
    ///
    /// # Errors
    /// A step fails.
    pub(crate) fn build(&self, advdef: bool) -> anyhow::Result<Built> {
        place::clear(&self.dir)?;
        let (sh, base) = (programs::shell()?, self.base);
        let (iso, root) = (self.dir.join("iso"), self.dir.join("root"));
        sh.create_dir(&root)?;
        let mut steps = Vec::new();
        let mut step = |name: &str, command: xshell::Cmd| -> anyhow::Result<()> {
            let time = seconds(command).with_context(|| format!("the ancestor's pipeline: {name} failed"))?;
            steps.push((name.to_owned(), time));
            Ok(())
        };
        step("take the base apart (xorriso -osirrox)", cmd!(sh, "xorriso -osirrox on -indev {base} -extract / {iso}"))?;
        sh.change_dir(&root);
        step("unpack core.gz (zcat, cpio -i)", shell(&sh, "zcat ../iso/boot/corepure64.gz | cpio -idm --quiet"))?;
        step("add our files (cp)", shell(&sh, &self.add()?))?;
        step("pack (cpio -o, gzip -9)", shell(&sh, "find . | cpio -o -H newc --quiet | gzip -9 > ../core.gz"))?;
        if advdef {
            step("compress again (advdef -z4)", cmd!(sh, "advdef -z4 ../core.gz"))?;
        }
        // The ancestor's ISO has no extensions outside the initrd, and boots BIOS only.
        step(
            "lay out the ISO (mv, rm)",
            shell(&sh, "mv ../core.gz ../iso/boot/corepure64.gz; rm -rf ../iso/cde ../iso/boot/efi*"),
        )?;
        sh.change_dir(&self.dir);
        step("write the ISO (mkisofs)", shell(&sh, MKISOFS))?;
        Ok(Built { steps, iso: bytes(&self.dir.join("out.iso"))?, initrd: bytes(&iso.join("boot/corepure64.gz"))? })
    }

    /// The commands that add our files to the tree.
    fn add(&self) -> anyhow::Result<String> {
        let inputs = self.manifest["inputs"].as_array().context("the image's manifest lists no inputs")?;
        let extensions = inputs.iter().filter_map(|input| input["name"].as_str()).filter(|n| n.ends_with(".tcz"));
        let copies: String = extensions.map(|name| format!("cp ../iso/cde/optional/{name}* {EXTENSIONS}/; ")).collect();
        let (agent, overlay) = (quoted(self.agent), quoted(&place::root().join("rootfs-overlay")));
        Ok(format!(
            "mkdir -p {EXTENSIONS}; {copies}cp -L {agent} usr/sbin/mk-agent || cp -L {agent} sbin/mk-agent; \
             cp -r {overlay}/etc/. etc/; mkdir -p opt; cp -r {overlay}/opt/. opt/"
        ))
    }
}

/// A path as one word of a script, whatever is in it.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', r"'\''"))
}

/// A script that ends at its first failure.
pub(crate) fn shell<'a>(sh: &'a Shell, script: &str) -> xshell::Cmd<'a> {
    cmd!(sh, "sh -ec {script}")
}

/// Size of a file.
///
/// # Errors
/// It is not there.
pub(crate) fn bytes(path: &Path) -> anyhow::Result<u64> {
    Ok(path.metadata().with_context(|| format!("cannot look at {}", path.display()))?.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_word_for_the_shell() {
        let sh = Shell::new().unwrap();
        for path in ["/plain", "/with a blank", "/it's $HOME; `x`"] {
            let script = format!("printf %s {}", quoted(path.as_ref()));
            assert_eq!(shell(&sh, &script).quiet().read().unwrap(), path);
        }
    }
}
