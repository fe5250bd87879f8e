//! The peer of row `boot`: the stock boot of a base with Tiny Core's root file system, by its own init, to its prompt
//! with an address. The base's ISO as it was made, but for two things: the kernel line of our image without what is the
//! agent's, and one more initrd with a file that the log-in shell reads, which says when that is.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use xshell::cmd;

use super::ancestor::{MKISOFS, shell};
use crate::{place, programs};

/// The peer's words at its prompt, when the machine has an address.
pub(crate) const PROMPT: &str = "stock: prompt with an address";
/// What says so, in the folder that Tiny Core's log-in shell reads.
const WATCH: (&str, &str) = ("etc/profile.d/prompt.sh", include_str!("stock-prompt.sh"));
/// Where a kernel's network drivers are.
const NETWORK_DRIVERS: &str = "/kernel/drivers/net/";
/// The loader's configuration. Without `nozswap` Tiny Core waits for compressed swap, which Debian's kernel has as a module.
const ISOLINUX: &str = "DEFAULT core\nPROMPT 0\nLABEL core\n  KERNEL /boot/vmlinuz64\n  \
    INITRD /boot/corepure64.gz,/boot/watch.gz\n  APPEND nozswap cryptomgr.notests console=tty0 \
    console=ttyS0,115200n8 printk.devkmsg=on loglevel=6\n";

/// Makes the peer's ISO out of a base ISO; everything lies in `dir`. None where the base has no network driver for its own
/// init: a root file system that came without its kernel's modules names none that Debian's kernel could stand in for.
///
/// # Errors
/// A step fails.
pub(crate) fn image(base: &Path, dir: &Path) -> anyhow::Result<Option<PathBuf>> {
    place::clear(dir)?;
    let (sh, (path, text)) = (programs::shell()?, WATCH);
    let watch = dir.join("watch").join(path);
    sh.create_dir(watch.parent().unwrap_or(dir))?;
    fs::write(&watch, text).with_context(|| format!("cannot write {}", watch.display()))?;
    sh.change_dir(dir);
    cmd!(sh, "xorriso -osirrox on -indev {base} -extract / iso").quiet().ignore_stdout().ignore_stderr().run()?;
    let listed = shell(&sh, "zcat iso/boot/corepure64.gz | cpio -t --quiet").quiet().read()?;
    if !listed.lines().any(|path| path.contains(NETWORK_DRIVERS)) {
        return Ok(None);
    }
    let pack = "chmod -R u+w iso; cd watch; find etc | cpio -o -H newc --quiet -R 0:0 | gzip -9 > ../iso/boot/watch.gz";
    shell(&sh, pack).quiet().run()?;
    sh.write_file("iso/boot/isolinux/isolinux.cfg", ISOLINUX)?;
    shell(&sh, &format!("rm -f iso/boot/isolinux/boot.cat; {MKISOFS}")).quiet().ignore_stderr().run()?;
    Ok(Some(dir.join("out.iso")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prompts_script_says_the_words_that_are_waited_for() {
        assert!(WATCH.1.contains(PROMPT));
    }
}
