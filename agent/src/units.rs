//! The units that are built in.

use crate::{checkin, console, control, devices, ext, mirror, net};

/// A unit whose code is in this program.
pub(crate) struct BuiltIn {
    /// Name.
    pub(crate) name: &'static str,
    /// Runs it to its end in this process.
    pub(crate) run: fn() -> anyhow::Result<()>,
}

/// All built-in units in order of start.
pub(crate) const BUILT_IN: [BuiltIn; 7] = [
    BuiltIn { name: "devices", run: devices::run },
    BuiltIn { name: "net", run: net::run },
    BuiltIn { name: "ext", run: ext::run },
    BuiltIn { name: "checkin", run: checkin::run },
    BuiltIn { name: "mirror", run: mirror::run },
    BuiltIn { name: "control", run: control::run },
    BuiltIn { name: "console", run: console::run },
];

/// The built-in unit of that name.
pub(crate) fn built_in(name: &str) -> Option<&'static BuiltIn> {
    BUILT_IN.iter().find(|u| u.name == name)
}
