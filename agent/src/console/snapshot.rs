//! All that the screen and the serial line show, taken from the units' state files and `/sys` at one moment.

use std::collections::BTreeMap;

use crate::settings::Settings;
use crate::state::{self, Checkin, Devices, Extensions, Net, Published as _, Units};
use crate::tree::Tree;

/// What does not change while the machine runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Machine {
    /// Version of the image.
    pub(super) version: String,
    /// Variant of the image.
    pub(super) variant: String,
    /// Maker and product as the firmware names them.
    pub(super) product: String,
    /// System serial number.
    pub(super) serial: String,
}

impl Machine {
    /// The running machine.
    pub(super) fn read(tree: &Tree) -> Self {
        let image = Settings::load().image;
        let dmi = |name: &str| tree.text(format!("/sys/class/dmi/id/{name}")).unwrap_or_default();
        let product = format!("{} {}", dmi("sys_vendor"), dmi("product_name")).trim().to_owned();
        Self { version: image.version, variant: image.variant, product, serial: dmi("product_serial") }
    }
}

/// The state of everything at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Snapshot {
    pub(super) machine: Machine,
    /// Seconds since the kernel started.
    pub(super) uptime: u64,
    pub(super) units: Units,
    pub(super) devices: Devices,
    pub(super) extensions: Extensions,
    pub(super) net: Net,
    /// Speed in Mbit/s by kernel name of the port, where the link is up and tells it.
    pub(super) speeds: BTreeMap<String, u64>,
    pub(super) checkin: Checkin,
}

impl Snapshot {
    /// Looks at everything.
    pub(super) fn take(machine: &Machine, tree: &Tree) -> Self {
        let net = Net::read().unwrap_or_default();
        // The file holds -1 where the speed is unknown.
        let speed = |name: &String| tree.number(format!("/sys/class/net/{name}/speed")).filter(|s| *s > 0);
        let up = net.ports.iter().filter(|p| p.up);
        let speeds = up.filter_map(|p| Some((p.name.clone(), speed(&p.name)?))).collect();
        Self {
            machine: machine.clone(),
            uptime: whole(state::uptime()),
            units: Units::read().unwrap_or_default(),
            devices: Devices::read().unwrap_or_default(),
            extensions: Extensions::read().unwrap_or_default(),
            speeds,
            net,
            checkin: Checkin::read().unwrap_or_default(),
        }
    }
}

/// Whole seconds.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to what fits")]
pub(super) fn whole(seconds: f64) -> u64 {
    seconds.clamp(0.0, 1e15) as u64
}
