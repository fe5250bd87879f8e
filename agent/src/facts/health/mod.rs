//! Health of disks, by commands that only ask. Each disk is asked in a thread of its own: one that hangs is named and the
//! others are known. What a disk said is kept for a while, since one that is asked every minute never comes to rest; that it
//! failed is kept too, and longer each time, since the kernel resets its controller when it does not answer. Disks on USB are
//! left alone: bridges have hung on such commands.

pub(crate) mod ata;
pub(crate) mod nvme;
pub(crate) mod scsi;
mod sg;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use wire::inventory::{Disk, Health};

use self::ata::Abilities;
use super::collector::{Collector, Found, run_all};
use super::disk;
use super::kept::Kept;
use super::vpd;
use crate::limits::{DISK_FAILED_MAX, DISK_HEALTH, HARDWARE_KEPT};
use crate::tree::Tree;

/// What a disk said, which may be nothing.
type Answer = Result<Option<Health>, Failure>;

/// A disk could not be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Failure {
    /// Why, for people.
    why: String,
    /// It is left alone for so long.
    pause: Duration,
}

/// What disks said, by key and serial number: another disk in the same place is asked anew.
static KEPT: Kept<Answer> = Kept::new();

/// How a disk is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Nvme,
    Ata(Abilities),
    Scsi,
}

/// A disk that is to be asked.
#[derive(Debug, Clone)]
struct Question {
    /// Key of the disk.
    key: String,
    /// Under which its answer is kept.
    id: String,
    /// The device that is asked: for NVMe the controller.
    node: PathBuf,
    way: Way,
}

pub(super) fn collect(tree: &Tree) -> anyhow::Result<Found> {
    let now = Instant::now();
    let (mut health, mut failures) = (BTreeMap::new(), BTreeMap::new());
    let mut take = |key: String, answer: Answer| match answer {
        Ok(said) => health.extend(said.map(|said| (key, said))),
        Err(Failure { why, .. }) => _ = failures.insert(title(&key), why),
    };
    let mut open = Vec::new();
    for question in disk::all(tree).iter().filter_map(|(disk, name)| question(tree, disk, name)) {
        match KEPT.fresh(&question.id, now) {
            Some(answer) => take(question.key, answer),
            None => open.push(question),
        }
    }
    let outcomes = run_all(open.iter().map(collector).collect(), tree, now + DISK_HEALTH);
    for (question, outcome) in open.into_iter().zip(outcomes) {
        take(question.key, outcome.result.unwrap_or_else(|why| Err(Failure { why, pause: Duration::ZERO })));
    }
    Ok(Found::new(|_, volatile| {
        volatile.health = health;
        volatile.failures.extend(failures);
    }))
}

/// How this disk is asked; `None` if it is not. A recorded machine has no devices.
fn question(tree: &Tree, disk: &Disk, name: &str) -> Option<Question> {
    let transport = disk.transport.as_deref()?;
    let (device, way) = match transport {
        "nvme" => (controller(tree, name)?, Way::Nvme),
        "sata" | "sas" | "scsi" | "fc" => {
            let page = tree.bytes(format!("/sys/block/{name}/device/vpd_pg89")).unwrap_or_default();
            let is_ata = transport == "sata" || disk.vendor.as_deref() == Some("ATA");
            let abilities = Abilities::of(|n| vpd::identify_word(&page, n));
            (name.to_owned(), if is_ata { Way::Ata(abilities) } else { Way::Scsi })
        }
        _ => return None,
    };
    let node = tree.path(Path::new("/dev").join(device));
    let id = format!("{} {}", disk.key, disk.serial.as_deref().unwrap_or_default());
    node.exists().then(|| Question { key: disk.key.clone(), id, node, way })
}

/// Name of the controller of an NVMe disk, or of the first of several.
fn controller(tree: &Tree, name: &str) -> Option<String> {
    let is_controller = |name: &String| {
        name.strip_prefix("nvme").is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
    };
    let device = format!("/sys/block/{name}/device");
    let own = tree.resolve(&device).and_then(|path| Some(path.file_name()?.to_str()?.to_owned()));
    own.filter(is_controller).or_else(|| tree.names(&device).into_iter().find(is_controller))
}

/// Under which it is told that the disk with this key could not be asked.
fn title(key: &str) -> String {
    format!("health of {key}")
}

/// Asks one disk and keeps its answer, or that there is none.
fn collector(question: &Question) -> Collector<Answer> {
    let Question { key, id, node, way } = question.clone();
    let read = move || {
        let (answer, pause) = match ask(&node, way) {
            Ok(said) => (Ok(said.filter(|health| *health != Health::default())), HARDWARE_KEPT),
            Err(why) => {
                let pause = pause(KEPT.last(&id).as_ref());
                (Err(Failure { why: format!("{why:#}"), pause }), pause)
            }
        };
        KEPT.keep(&id, answer.clone(), Instant::now() + pause);
        Ok(answer)
    };
    Collector { name: title(&key), read: Box::new(read) }
}

fn ask(node: &Path, way: Way) -> anyhow::Result<Option<Health>> {
    match way {
        Way::Nvme => nvme::read(node).map(Some),
        Way::Ata(abilities) => ata::read(&sg::Disk::open(node)?, abilities),
        Way::Scsi => scsi::read(&sg::Disk::open(node)?),
    }
}

/// A disk that fails is left alone for so long, after what it said before.
fn pause(before: Option<&Answer>) -> Duration {
    match before {
        Some(Err(Failure { pause, .. })) => (*pause * 2).min(DISK_FAILED_MAX),
        _ => HARDWARE_KEPT,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use wire::inventory::{Stable, Volatile};

    use super::*;

    /// A disk of the kind that its place says, with a device that never answers.
    fn add(root: &Path, name: &str, place: &str, node: &str) {
        let full = root.join("sys/devices").join(place).join(name);
        fs::create_dir_all(&full).unwrap();
        fs::create_dir_all(root.join("sys/block")).unwrap();
        fs::create_dir_all(root.join("dev")).unwrap();
        fs::write(full.join("size"), "2048").unwrap();
        symlink(&full, root.join("sys/block").join(name)).unwrap();
        symlink("..", full.join("device")).unwrap();
        nix::unistd::mkfifo(&root.join("dev").join(node), nix::sys::stat::Mode::S_IRWXU).unwrap();
    }

    #[test]
    fn each_disk_that_hangs_is_named_and_the_others_are_known() {
        let dir = tempfile::tempdir().unwrap();
        let tree = Tree::at(dir.path());
        add(dir.path(), "nvme0n1", "pci0000:00/0000:00:04.0/nvme/nvme0", "nvme0");
        add(dir.path(), "sda", "pci0000:00/0000:00:05.0/host0/target0:0:0/0:0:0:0/block", "sda");
        add(dir.path(), "sdb", "pci0000:00/0000:00:06.0/usb1/1-1/host1/target1:0:0/1:0:0:0/block", "sdb");
        add(dir.path(), "vda", "pci0000:00/0000:00:07.0/virtio3/block", "vda");
        // One that was asked a moment ago.
        let health = Health { hours: Some(7), ..Health::default() };
        KEPT.keep("0000:00:05.0/scsi0:0:0 ", Ok(Some(health.clone())), Instant::now() + HARDWARE_KEPT);
        let (mut stable, mut volatile) = (Stable::default(), Volatile::default());
        collect(&tree).unwrap().put(&mut stable, &mut volatile);
        assert_eq!(volatile.health, BTreeMap::from([("0000:00:05.0/scsi0:0:0".to_owned(), health)]));
        let failures: Vec<_> = volatile.failures.into_iter().collect();
        assert_eq!(failures.len(), 1, "{failures:?}");
        assert_eq!(failures[0].0, "health of 0000:00:04.0/ns1");
        assert!(failures[0].1.starts_with("abandoned: no result after"), "{failures:?}");
        // Lets the hanging thread go.
        fs::write(dir.path().join("dev/nvme0"), "").unwrap();
    }

    #[test]
    fn a_disk_that_failed_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let tree = Tree::at(dir.path());
        add(dir.path(), "sda", "pci0000:00/0000:00:09.0/host0/target0:0:0/0:0:0:0/block", "sda");
        // A file takes no command for disks.
        let node = dir.path().join("dev/sda");
        fs::remove_file(&node).unwrap();
        fs::write(&node, "").unwrap();
        let failures = || {
            let (mut stable, mut volatile) = (Stable::default(), Volatile::default());
            collect(&tree).unwrap().put(&mut stable, &mut volatile);
            volatile.failures.into_iter().collect::<Vec<_>>()
        };
        let first = failures();
        let [(disk, why)] = &first[..] else { panic!("{first:?}") };
        assert_eq!(disk, "health of 0000:00:09.0/scsi0:0:0");
        assert!(why.contains("passes no command"), "{why}");
        // Whoever opened this would hang, and no longer say the same.
        fs::remove_file(&node).unwrap();
        nix::unistd::mkfifo(&node, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(failures(), first);
    }

    #[test]
    fn a_disk_that_goes_on_failing_is_asked_ever_more_rarely() {
        let failed = |pause| Err(Failure { why: String::new(), pause });
        for (before, expected) in [
            (None, HARDWARE_KEPT),
            (Some(Ok(None)), HARDWARE_KEPT),
            (Some(failed(HARDWARE_KEPT)), HARDWARE_KEPT * 2),
            (Some(failed(DISK_FAILED_MAX)), DISK_FAILED_MAX),
        ] {
            assert_eq!(pause(before.as_ref()), expected);
        }
    }

    #[test]
    fn disks_are_asked_in_their_own_way() {
        let dir = tempfile::tempdir().unwrap();
        let tree = Tree::at(dir.path());
        add(dir.path(), "sda", "pci0000:00/0000:00:05.0/ata3/host0/target0:0:0/0:0:0:0/block", "sda");
        add(dir.path(), "sdb", "pci0000:00/0000:00:06.0/host1/target1:0:0/1:0:0:0/block", "sdb");
        let ways = || -> Vec<Way> {
            disk::all(&tree).iter().filter_map(|(disk, name)| Some(question(&tree, disk, name)?.way)).collect()
        };
        assert_eq!(ways(), [Way::Ata(Abilities::default()), Way::Scsi]);
        // An ATA disk behind a SAS controller.
        fs::write(dir.path().join("sys/block/sdb/device/vendor"), "ATA     ").unwrap();
        assert_eq!(ways(), [Way::Ata(Abilities::default()); 2]);
        fs::remove_file(dir.path().join("dev/sda")).unwrap();
        assert_eq!(ways().len(), 1);
    }
}
