//! Mounts an extension: a loop device, opened and set up for reading only, freed by the kernel when it is unmounted, and a
//! squashfs on it. Needs root, and the modules `loop` and `squashfs`.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read as _};
use std::os::fd::{AsRawFd as _, RawFd};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use nix::errno::Errno;
use nix::mount::{MsFlags, mount, umount};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};

use super::squashfs;
use crate::limits::LOOP_ATTEMPTS;

/// Hands out free loop devices.
const LOOP_CONTROL: &str = "/dev/loop-control";
const LO_FLAGS_READ_ONLY: u32 = 1;
const LO_FLAGS_AUTOCLEAR: u32 = 4;

/// `struct loop_info64` of the kernel's `linux/loop.h`.
#[repr(C)]
struct LoopInfo {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

/// `struct loop_config` of the kernel's `linux/loop.h`.
#[repr(C)]
struct LoopConfig {
    fd: u32,
    block_size: u32,
    info: LoopInfo,
    reserved: [u64; 8],
}

nix::ioctl_none_bad!(loop_get_free, 0x4C82);
nix::ioctl_write_ptr_bad!(loop_configure, 0x4C0A, LoopConfig);

/// Mounts the squashfs in `file` at `at`, which is created. One that is mounted there already is left alone.
///
/// # Errors
/// Names the file and the step that failed.
pub(crate) fn squashfs(file: &Path, at: &Path) -> anyhow::Result<()> {
    if is_mounted(at) {
        return Ok(());
    }
    attach_and_mount(file, at).with_context(|| format!("cannot mount extension {}", file.display()))
}

/// Takes back the mount at `at`, if there is one.
///
/// # Errors
/// It is in use.
pub(crate) fn unmount(at: &Path) -> anyhow::Result<()> {
    if is_mounted(at) {
        umount(at).with_context(|| format!("{} cannot be unmounted", at.display()))?;
    }
    Ok(())
}

/// Tells whether something is mounted at `at`.
pub(crate) fn is_mounted(at: &Path) -> bool {
    fs::read_to_string("/proc/self/mounts").is_ok_and(|table| in_table(&table, at))
}

fn in_table(table: &str, at: &Path) -> bool {
    table.lines().filter_map(|line| line.split(' ').nth(1)).any(|place| Path::new(place) == at)
}

fn attach_and_mount(file: &Path, at: &Path) -> anyhow::Result<()> {
    let backing = File::open(file).context("it cannot be opened")?;
    let mut head = Vec::with_capacity(squashfs::SUPERBLOCK);
    (&backing).take(squashfs::SUPERBLOCK as u64).read_to_end(&mut head).context("it cannot be read")?;
    squashfs::check(&head, backing.metadata().context("its size is unknown")?.len())?;
    fs::create_dir_all(at).with_context(|| format!("folder {} cannot be created", at.display()))?;
    // The device must stay open until it is mounted: the kernel frees it when the last user is gone.
    let (device, _open) = attach(&backing)?;
    let flags = MsFlags::MS_RDONLY | MsFlags::MS_NODEV;
    mount(Some(&device), at, Some("squashfs"), flags, None::<&str>)
        .with_context(|| format!("the kernel does not mount it from {} at {}", device.display(), at.display()))
}

fn attach(backing: &File) -> anyhow::Result<(PathBuf, File)> {
    let control = File::open(LOOP_CONTROL).context("there are no loop devices: is module loop loaded?")?;
    for _ in 0..LOOP_ATTEMPTS {
        // SAFETY: the request takes no argument.
        let number = unsafe { loop_get_free(control.as_raw_fd()) }.context("no loop device is free")?;
        let path = PathBuf::from(format!("/dev/loop{number}"));
        let device = open_node(&path, Path::new(&format!("/sys/block/loop{number}/dev")))?;
        match configure(&device, backing.as_raw_fd()) {
            Ok(()) => return Ok((path, device)),
            // Somebody else took this one in between.
            Err(Errno::EBUSY) => {}
            Err(errno) => return Err(errno).with_context(|| format!("{} cannot be set up", path.display())),
        }
    }
    bail!("others took {LOOP_ATTEMPTS} free loop devices in a row")
}

/// The device's node may be missing: the kernel has just made the device, and under a base's own init nodes are made by a
/// udev that follows. Its numbers are in the file `dev`: they are not the device's where loop devices have partitions.
fn open_node(path: &Path, dev: &Path) -> anyhow::Result<File> {
    let open = || OpenOptions::new().read(true).open(path);
    let opened = open().or_else(|error| {
        if error.kind() != ErrorKind::NotFound {
            return Err(error);
        }
        let device = device(&fs::read_to_string(dev)?).ok_or(ErrorKind::InvalidData)?;
        match mknod(path, SFlag::S_IFBLK, Mode::S_IRUSR | Mode::S_IWUSR, device) {
            Ok(()) | Err(Errno::EEXIST) => open(),
            Err(errno) => Err(errno.into()),
        }
    });
    opened.with_context(|| format!("{} cannot be opened", path.display()))
}

/// Device number of a text `major:minor`.
fn device(text: &str) -> Option<libc::dev_t> {
    let (major, minor) = text.trim_end().split_once(':')?;
    Some(makedev(major.parse().ok()?, minor.parse().ok()?))
}

fn configure(device: &File, backing: RawFd) -> Result<(), Errno> {
    let info = LoopInfo {
        device: 0,
        inode: 0,
        rdevice: 0,
        offset: 0,
        size_limit: 0,
        number: 0,
        encrypt_type: 0,
        encrypt_key_size: 0,
        flags: LO_FLAGS_READ_ONLY | LO_FLAGS_AUTOCLEAR,
        file_name: [0; 64],
        crypt_name: [0; 64],
        encrypt_key: [0; 32],
        init: [0; 2],
    };
    let fd = u32::try_from(backing).map_err(|_| Errno::EBADF)?;
    let config = LoopConfig { fd, block_size: 0, info, reserved: [0; 8] };
    // SAFETY: the kernel reads a struct of this layout and keeps no pointer to it.
    unsafe { loop_configure(device.as_raw_fd(), &raw const config) }.map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layouts_are_the_kernels() {
        assert_eq!((size_of::<LoopInfo>(), size_of::<LoopConfig>()), (232, 304));
    }

    #[test]
    fn a_missing_node_is_made() {
        if !nix::unistd::geteuid().is_root() {
            mk_tests::skip("only root makes device nodes");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let (path, dev) = (dir.path().join("loop7"), dir.path().join("dev"));
        // As it is with loop.max_part=15.
        fs::write(&dev, "7:112\n").unwrap();
        // Whether there is such a device here does not matter, nor whether nodes in this folder may be opened.
        let _: anyhow::Result<File> = open_node(&path, &dev);
        assert_eq!(nix::sys::stat::stat(&path).unwrap().st_rdev, makedev(7, 112));
        assert_eq!((device("7:"), device("7"), device("")), (None, None, None));
    }

    #[test]
    fn the_mount_table_is_read() {
        let table = "proc /proc proc rw 0 0\n/dev/loop0 /tmp/tcloop/bash squashfs ro 0 0\n";
        assert!(in_table(table, Path::new("/tmp/tcloop/bash")) && !in_table(table, Path::new("/tmp/tcloop")));
        assert!(is_mounted(Path::new("/proc")) && !is_mounted(Path::new("/nowhere")));
    }

    #[test]
    fn what_is_no_squashfs_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("bad.tcz");
        fs::write(&file, "no squashfs at all, but long enough to have a superblock ".repeat(3)).unwrap();
        let error = format!("{:#}", squashfs(&file, &dir.path().join("at")).unwrap_err());
        assert!(error.contains("bad.tcz") && error.contains("no squashfs"), "{error}");
    }
}
