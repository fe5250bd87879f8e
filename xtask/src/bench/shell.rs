//! The comparison of row `boot`: the production image with a shell script as its first program in place of the agent.
//! Kernel, kernel line, initrds and drivers are the same; the script lies in the slot for the site's settings, whose files
//! win over all others.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use xshell::cmd;

use super::ancestor::{MKISOFS, shell};
use crate::{place, programs};

/// The script takes the place of the agent, which the kernel line names.
const FILES: [(&str, &str); 2] =
    [("usr/sbin/mk-agent", include_str!("shell-init.sh")), ("etc/udhcpc.sh", include_str!("udhcpc.sh"))];

/// Makes the comparison's ISO out of a production ISO, for a server at `url`; everything lies in `dir`.
///
/// # Errors
/// A step fails.
pub(crate) fn image(production: &Path, url: &str, dir: &Path) -> anyhow::Result<PathBuf> {
    place::clear(dir)?;
    let (sh, slot) = (programs::shell()?, dir.join("slot"));
    for (path, text) in FILES.into_iter().chain([("etc/server", url)]) {
        let file = slot.join(path);
        sh.create_dir(file.parent().unwrap_or(&slot))?;
        fs::write(&file, text)
            .and_then(|()| fs::set_permissions(&file, fs::Permissions::from_mode(0o755)))
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    sh.change_dir(dir);
    cmd!(sh, "xorriso -osirrox on -indev {production} -extract / iso").quiet().ignore_stdout().ignore_stderr().run()?;
    let pack = "chmod -R u+w iso; cd slot; find usr etc | cpio -o -H newc --quiet | gzip -9 > ../iso/boot/site.img";
    shell(&sh, pack).quiet().run()?;
    shell(&sh, &format!("rm -f iso/boot/isolinux/boot.cat; {MKISOFS}")).quiet().ignore_stderr().run()?;
    Ok(dir.join("out.iso"))
}
