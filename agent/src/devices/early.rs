//! What must be in place before the first driver is loaded: loop devices, squashfs, and the extensions that carry drivers
//! and firmware. A driver that asks for firmware which is not there yet does not ask again.

use std::path::Path;

use nix::mount::{MsFlags, mount};
use wire::checkin::Extension;
use wire::site::Image;

use super::database::Database;
use super::insert::insert;
use crate::ext;

/// Modules without which no extension can be mounted. Kernels may have them built in.
const MOUNTING: [&str; 2] = ["loop", "squashfs"];

/// Module of the file system through which UEFI shows its variables, Secure Boot's among them.
const EFI_VARIABLES: &str = "efivarfs";
/// Where that file system belongs. The folder is there on UEFI machines only.
const EFI_VARIABLES_AT: &str = "/sys/firmware/efi/efivars";

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
/// They are part of the same archive as the manifest with their hashes; that they are whole is checked, and the unit `ext` hashes
/// them when nothing waits for it any more.
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

/// Mounts UEFI's variables read-only, now that the module is at hand. PID 1 has done so already where the kernel has it
/// built in. A kernel without it costs one fact, so that a failure is only logged.
pub(crate) fn mount_efi_variables(database: &Database) {
    let place = Path::new(EFI_VARIABLES_AT);
    let is_empty = |folder: &Path| std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none());
    if !is_empty(place) {
        return;
    }
    for step in database.steps(&[EFI_VARIABLES.to_owned()]) {
        if let Err(error) = insert(&database.path(&step.file)) {
            tracing::info!("module {} does not load: {error:#}", step.module);
        }
    }
    let flags = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    if let Err(error) = mount(Some(EFI_VARIABLES), place, Some(EFI_VARIABLES), flags, None::<&str>) {
        tracing::info!("the firmware's variables are not shown at {EFI_VARIABLES_AT}: {error}");
    }
}
