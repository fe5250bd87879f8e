//! A disk that an init would use if it were let: a swap partition, an ext4 file system with what Tiny Core's looks for there
//! (extensions to load and a backup to unpack over the running system), a member of a RAID, and a volume group of LVM.

mod raid;
mod volume;

use std::ffi::OsStr;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use duct::cmd;
use mk_tests::vm::Guest;

/// What the backup would put into the running system.
const TRACE: &str = "/tmp/came-from-the-disk";
/// Bytes of a sector.
const SECTOR: u32 = 512;
/// First sector and sectors of the partitions: swap, file system, member, physical volume.
const PARTITIONS: [(u32, u32); 4] = [(2048, 16384), (18432, 32768), (51200, 16384), (67584, 16384)];
/// Their types in a partition table.
const TYPES: [u8; 4] = [0x82, 0x83, 0xfd, 0x8e];
/// What `blkid` takes them for.
const CONTENTS: [&str; 4] = ["swap", "ext4", "linux_raid_member", "LVM2_member"];

/// Writes the disk's first bytes to a file in a folder.
pub(crate) fn disk(dir: &Path) -> PathBuf {
    let [swap, files, member, group] = PARTITIONS;
    let (disk, swap_file, tree) = (dir.join("lure.img"), dir.join("lure.swap"), dir.join("lure"));
    let bytes = |sectors: u32| u64::from(sectors) * u64::from(SECTOR);
    fs::File::create(&disk).unwrap().set_len(bytes(group.0 + group.1)).unwrap();
    fs::create_dir_all(tree.join("tce/optional")).unwrap();
    fs::write(tree.join("tce/onboot.lst"), "").unwrap();
    let trace = TRACE.trim_start_matches('/');
    fs::create_dir_all(tree.join("backup").join(trace).parent().unwrap()).unwrap();
    fs::write(tree.join("backup").join(trace), "").unwrap();
    cmd!("tar", "-C", tree.join("backup"), "-czf", tree.join("tce/mydata.tgz"), trace).run().unwrap();
    // The tools are where only root looks for them.
    let offset = format!("offset={}", bytes(files.0));
    let blocks = format!("{}k", bytes(files.1) / 1024);
    cmd!("/sbin/mke2fs", "-q", "-t", "ext4", "-F", "-d", &tree, "-E", offset, &disk, blocks).run().unwrap();
    fs::File::create(&swap_file).unwrap().set_len(bytes(swap.1)).unwrap();
    cmd!("/sbin/mkswap", "--quiet", &swap_file).run().unwrap();
    let mut content = fs::read(&disk).unwrap();
    let at = |partition: (u32, u32)| usize::try_from(bytes(partition.0)).unwrap();
    let member_bytes = usize::try_from(bytes(member.1)).unwrap();
    put(&mut content, at(swap), &fs::read(&swap_file).unwrap());
    put(&mut content, at(member) + raid::at(member_bytes), &raid::superblock(member_bytes));
    put(&mut content, at(group), &volume::head(group.1.into()));
    put(&mut content, 0, &table());
    fs::write(&disk, content).unwrap();
    for ((first, count), want) in PARTITIONS.into_iter().zip(CONTENTS) {
        let (offset, size) = (bytes(first).to_string(), bytes(count).to_string());
        let probe = ["--probe", "--output", "value", "--match-tag", "TYPE", "--offset", &offset, "--size", &size];
        assert_eq!(cmd("/sbin/blkid", probe.iter().map(OsStr::new).chain([disk.as_os_str()])).read().unwrap(), want);
    }
    disk
}

/// Shell command that prints what of a disk is mounted, swapped to, assembled, activated or was unpacked.
pub(crate) fn used() -> String {
    format!(
        "sed 1d /proc/swaps; grep ^/dev/ /proc/mounts | grep -v ^/dev/loop; grep -s active /proc/mdstat; \
         ls -d /sys/block/md* /sys/block/dm-* {TRACE} 2>/dev/null"
    )
}

/// Compares the guest's disk with this number with what [`disk`] wrote.
pub(crate) fn is_untouched(guest: &Guest, number: usize, disk: &Path) {
    let given = fs::read(disk).unwrap();
    let mut found = vec![0; given.len()];
    fs::File::open(guest.disk(number)).unwrap().read_exact(&mut found).unwrap();
    assert!(found == given, "the disk has other bytes than before");
}

fn put(into: &mut [u8], at: usize, bytes: &[u8]) {
    into[at..at + bytes.len()].copy_from_slice(bytes);
}

/// A partition table of the old form.
fn table() -> [u8; SECTOR as usize] {
    let mut sector = [0; SECTOR as usize];
    for (index, (kind, (first, count))) in TYPES.into_iter().zip(PARTITIONS).enumerate() {
        let entry = &mut sector[446 + 16 * index..][..16];
        entry[4] = kind;
        entry[8..12].copy_from_slice(&first.to_le_bytes());
        entry[12..16].copy_from_slice(&count.to_le_bytes());
    }
    sector[510..].copy_from_slice(&[0x55, 0xaa]);
    sector
}
