//! The guest's part of `boot`: which way it comes by the image, and `mk-vm`'s arguments for that.

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::bail;

use super::{Firmware, Init, Media};
use crate::images::Variant;

/// What a guest knows this machine's loopback as, in QEMU's user network.
pub(crate) const HOST: &str = "http://10.0.2.2";

/// The boot loader's menu on the console, and what to type there for the second entry: isolinux asks for its name; in
/// GRUB it is one down (Ctrl-N).
const ISOLINUX: &str = "boot:=core";
const GRUB: &str = "highlighted entry will be executed=\u{e}";

/// Where the guest boots from.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// An image that knows its server, as CD or as USB stick.
    Image(PathBuf, Media),
    /// URL of the server's bootstrap script.
    Network(String),
}

/// The guest to be.
pub(crate) struct Guest<'a> {
    pub(crate) firmware: Firmware,
    pub(crate) init: Init,
    pub(crate) memory_mib: u64,
    pub(crate) accel: &'a str,
    /// Port of this machine that leads to the guest's sshd.
    pub(crate) ssh: Option<u16>,
    /// Where its console is written to.
    pub(crate) log: PathBuf,
}

impl Guest<'_> {
    /// Arguments of `mk-vm`.
    pub(crate) fn arguments(&self, source: &Source) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = vec!["run".into()];
        match source {
            Source::Image(iso, media) => {
                arguments.extend(["--iso".into(), iso.into()]);
                arguments.extend(["--media", if *media == Media::Usb { "usb" } else { "iso" }].map(OsString::from));
            }
            Source::Network(url) => arguments.extend(["--bootfile", url].map(OsString::from)),
        }
        let firmware = if self.firmware == Firmware::Uefi { "uefi" } else { "bios" };
        arguments.extend(["--firmware", firmware, "--accel", self.accel].map(OsString::from));
        arguments.extend(["--serial".into(), self.log.clone().into()]);
        arguments.extend(["--memory".into(), self.memory_mib.to_string().into()]);
        if let Some(port) = self.ssh {
            arguments.extend(["--forward".into(), format!("{port}:22").into()]);
        }
        if self.init == Init::Core {
            let menu = if self.firmware == Firmware::Uefi { GRUB } else { ISOLINUX };
            arguments.extend(["--answer", menu].map(OsString::from));
        }
        arguments
    }
}

/// Refuses what no image offers.
///
/// # Errors
/// Says what to choose.
pub(crate) fn check(variant: Variant, media: Media, init: Init) -> anyhow::Result<()> {
    if init == Init::Agent {
        return Ok(());
    }
    if !variant.has_ssh() {
        bail!("a production image boots nothing but the agent; add --variant development for --init core");
    }
    if media == Media::Pxe {
        bail!("the server's boot script has no menu; choose --media iso or --media usb for --init core");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(change: impl FnOnce(&mut Guest<'_>), source: &Source) -> String {
        let mut guest = Guest {
            firmware: Firmware::Bios,
            init: Init::Agent,
            memory_mib: 512,
            accel: "tcg",
            ssh: None,
            log: "/log".into(),
        };
        change(&mut guest);
        guest.arguments(source).join(" ".as_ref()).into_string().unwrap()
    }

    #[test]
    fn each_medium_is_given_its_own_way() {
        let rest = "--firmware bios --accel tcg --serial /log --memory 512";
        let usb = Source::Image("/i.iso".into(), Media::Usb);
        assert_eq!(shown(|_| {}, &usb), format!("run --iso /i.iso --media usb {rest}"));
        let network = Source::Network("http://h/b".into());
        assert_eq!(shown(|_| {}, &network), format!("run --bootfile http://h/b {rest}"));
    }

    #[test]
    fn the_second_entry_is_chosen_in_either_loaders_menu() {
        let cd = Source::Image("/i.iso".into(), Media::Iso);
        assert!(shown(|g| g.init = Init::Core, &cd).ends_with("--answer boot:=core"));
        let uefi = |g: &mut Guest<'_>| (g.init, g.firmware, g.ssh) = (Init::Core, Firmware::Uefi, Some(2222));
        assert!(shown(uefi, &cd).ends_with("--forward 2222:22 --answer highlighted entry will be executed=\u{e}"));
    }

    #[test]
    fn what_no_image_offers_is_refused_with_a_way_out() {
        let refused = |variant, media| check(variant, media, Init::Core).unwrap_err().to_string();
        assert!(refused(Variant::Production, Media::Iso).contains("--variant development"));
        assert!(refused(Variant::Development, Media::Pxe).contains("--media iso"));
        assert!(check(Variant::Debug, Media::Usb, Init::Core).is_ok());
        assert!(check(Variant::Production, Media::Pxe, Init::Agent).is_ok());
    }
}
