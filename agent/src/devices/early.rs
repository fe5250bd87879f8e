//! What must be in place before the first driver is loaded: loop devices, squashfs, and the extensions that carry drivers
//! and firmware. A driver that asks for firmware which is not there yet does not ask again.

use wire::checkin::Extension;
use wire::site::Image;

use super::database::Database;
use super::insert::insert;
use crate::ext;

/// Modules without which no extension can be mounted. Kernels may have them built in.
const MOUNTING: [&str; 2] = ["loop", "squashfs"];

/// Loads what mounting needs; the names of what was loaded.
pub(crate) fn load_mounting(database: &Database) -> Vec<String> {
    let mut loaded = Vec::new();
    for step in database.steps(&MOUNTING.map(str::to_owned)) {
        match insert(&database.path(&step.file)) {
            Ok(()) => loaded.push(step.module),
            Err(error) => tracing::error!("module {} does not load: {error:#}", step.module),
        }
    }
    loaded
}

/// Mounts and links the image's early extensions in their order. One that fails is reported and the others follow.
/// They are part of the same archive as the manifest with their hashes; that they are whole is checked.
pub(crate) fn mount_all(image: &Image) -> Vec<Extension> {
    let one = |name: &String| {
        let error = ext::load::mount_and_link(name).err().map(|e| format!("{e:#}"));
        if let Some(error) = &error {
            tracing::error!("{error}");
        }
        Extension { name: name.clone(), sha256: image.extensions.get(name).cloned().unwrap_or_default(), error }
    };
    image.early.iter().map(one).collect()
}
