//! Brings one port up and makes on top of it what the kernel line asks for. All of it may take seconds, since drivers load
//! firmware, so that it runs in a thread. What cannot be made is told, and the port is used without it: a machine that
//! does what it can is better than one that nobody hears of.

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use anyhow::Context as _;
use nix::errno::Errno;
use wire::error::Problem;

use super::layers::{BOND, Bond, Role};
use super::netlink::Message;
use crate::cmdline::BOND_MODES;
use crate::devices::load_modules;
use crate::ifreq;
use crate::limits::{DEVICES_QUIET, DEVICES_SETTLE};
use crate::settings::Settings;
use crate::state::{Devices, Published as _};
use crate::tree::Tree;

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Raised {
    /// Name of what was made on top of the port, which has the address in its place.
    pub(super) top: Option<String>,
    /// What could not be made.
    pub(super) refused: Vec<Problem>,
}

/// Brings a port up in its role. Once more, it does what is still to be done.
///
/// # Errors
/// The port cannot be brought up.
pub(super) fn raise(name: &str, index: u32, role: &Role) -> anyhow::Result<Raised> {
    let mut refused = Vec::new();
    if let Some(bond) = &role.bond {
        match join(name, index, bond) {
            Ok(()) => return Ok(Raised { top: Some(BOND.to_owned()), refused }),
            Err(why) => {
                let remedy = "Correct razor.bond, or take an image with the module bonding; meanwhile the port is used by itself.";
                refused.push(Problem::new("bond", format!("{name} is no part of {BOND}: {why:#}"), remedy));
            }
        }
    }
    ifreq::up(name)?;
    let vlan = role.vlan.map(|id| (id, make_vlan(name, index, id)));
    let top = match vlan {
        Some((_, Ok(vlan))) => Some(vlan),
        Some((id, Err(why))) => {
            let remedy =
                "Correct razor.vlan, or take an image with the module 8021q; meanwhile the port is used untagged.";
            refused.push(Problem::new("vlan", format!("{name} carries no VLAN {id}: {why:#}"), remedy));
            None
        }
        None => None,
    };
    Ok(Raised { top, refused })
}

/// Makes a port part of the bond, which is made first.
fn join(name: &str, index: u32, bond: &Bond) -> anyhow::Result<()> {
    /// Ports come up side by side, and only the first one makes the bond.
    static BONDING: Mutex<()> = Mutex::new(());
    let _guard = BONDING.lock().unwrap_or_else(PoisonError::into_inner);
    let tree = Tree::live();
    let dir = Path::new("/sys/class/net");
    if tree.link_name(dir.join(name).join("master")).as_deref() == Some(BOND) {
        return ifreq::up(name);
    }
    if tree.text(dir.join(BOND).join("bonding/slaves")).is_none_or(|ports| ports.is_empty()) {
        let mode = BOND_MODES.iter().position(|mode| *mode == bond.mode).and_then(|mode| u8::try_from(mode).ok());
        let mode = mode.with_context(|| format!("there is no mode {}", bond.mode))?;
        // The kernel changes no bond that is up, as one is that has lost all its ports.
        if tree.path(dir.join(BOND)).exists() {
            ifreq::down(BOND)?;
        }
        with_module("bonding", || Message::bond(BOND, mode, bond.mac).carry_out())
            .with_context(|| format!("the kernel makes no bond of mode {}", bond.mode))?;
    }
    ifreq::down(name)?;
    Message::join(index, ifreq::index(BOND)?).carry_out().context("the kernel refuses it")
}

/// Makes a VLAN on top of an interface, and brings it up; gives its name.
fn make_vlan(lower: &str, index: u32, id: u16) -> anyhow::Result<String> {
    let name = format!("{lower}.{id}");
    let made = with_module("8021q", || Message::vlan(&name, index, id).carry_out());
    match made {
        // A former run of this unit has made it.
        Err(why) if why.downcast_ref() == Some(&Errno::EEXIST) => {}
        made => made?,
    }
    ifreq::up(&name)?;
    Ok(name)
}

/// Does what needs a module of the kernel, which is loaded only for that.
fn with_module(module: &str, act: impl Fn() -> anyhow::Result<()>) -> anyhow::Result<()> {
    let end = Instant::now() + DEVICES_SETTLE;
    let missing = loop {
        let missing = load_modules(&[module.to_owned()], &Settings::load().image.deny_modules).pop();
        // The extension with the drivers may not be mounted yet.
        let is_settled = || Devices::read().is_some_and(|devices| devices.settled);
        if missing.is_none() || is_settled() || Instant::now() >= end {
            break missing;
        }
        thread::sleep(DEVICES_QUIET);
    };
    // Without the tables nobody knows what is built in.
    match (act(), missing) {
        (Err(why), Some(missing)) => Err(why.context(format!("module {missing}"))),
        (done, _) => done,
    }
}
