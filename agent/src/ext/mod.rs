//! Unit `ext` (one-shot): loads the image's built-in extensions in the order of `onboot.lst`, each behind what it depends
//! on. A broken one is reported by name and stops nothing. Drivers and firmware are the unit `devices`' affair; they are
//! reported here with the rest.

mod link;
pub(crate) mod load;
mod mount;
mod squashfs;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use wire::checkin::Extension;

use crate::init::client;
use crate::settings::Settings;
use crate::state::{Devices, Extensions, Published as _};

/// The built-in extensions in their order, as in Tiny Core.
const ONBOOT: &str = "/tmp/builtin/onboot.lst";
/// Nice value of this unit: what it does delays neither the network nor the check-in.
const NICE: i32 = 10;

/// Runs the unit to its end.
///
/// # Errors
/// When its state cannot be published.
pub(crate) fn run() -> anyhow::Result<()> {
    // SAFETY: the call has no memory effects; 0 means this process.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICE) };
    let image = Settings::load().image;
    let before = Extensions::read().unwrap_or_default();
    let mut state = Extensions { extensions: Devices::read().unwrap_or_default().extensions, done: false };
    let early: Vec<String> = state.extensions.iter().map(|e| e.name.clone()).collect();
    for name in order(&image.kernel).into_iter().filter(|n| !early.contains(n) && !image.early.contains(n)) {
        // What a former run of this unit loaded stays: a script may not like to be run twice.
        let loaded = before.extensions.iter().find(|e| e.name == name && e.error.is_none());
        let extension = loaded.cloned().unwrap_or_else(|| load_one(name, &image.extensions));
        state.extensions.push(extension);
        state.publish()?;
    }
    state.done = true;
    state.publish()?;
    client::ready();
    Ok(())
}

/// The extensions to load, in order.
fn order(release: &str) -> Vec<String> {
    let list = |path: &Path| fs::read_to_string(path).unwrap_or_default();
    let dependencies = |name: &str| {
        let file = Path::new(load::BUILTIN).join(format!("{name}.dep"));
        tce_mirror::plan::names(&list(&file), release)
    };
    tce_mirror::plan::order(&tce_mirror::plan::names(&list(Path::new(ONBOOT)), release), dependencies)
}

fn load_one(name: String, manifest: &BTreeMap<String, String>) -> Extension {
    let sha256 = manifest.get(&name);
    let error = load::load(&name, sha256.map(String::as_str)).err().map(|e| format!("{e:#}"));
    match &error {
        None => tracing::info!("loaded {name}"),
        Some(error) => tracing::error!("{error}"),
    }
    Extension { sha256: sha256.cloned().unwrap_or_default(), name, error }
}
