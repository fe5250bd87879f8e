//! No file that never answers holds up a collection, whichever collector reads it: each is tried in turn with a pipe that
//! nobody writes to, and one with a file system in user space whose program is silent. Which files a collector reads is
//! seen, not listed, so that a new collector or file is tried too.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use nix::errno::Errno;
use nix::libc::O_NONBLOCK;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};
use tempfile::TempDir;
use wire::inventory::{Inventory, Stable, Volatile};

use super::hang;
use crate::facts::collector::{Collector, Found};
use crate::facts::recorded::{Q35_SERVER, unpack};
use crate::facts::{Asker, collect_within, collectors, kernel_line, site};
use crate::tree::Tree;

/// Collectors that read no file of a recorded machine: what they ask for by ioctl has deadlines and tests of its own.
const ASK_THE_KERNEL: [&str; 2] = ["bmc", "transceivers"];
/// What the recorded machine has not, by path.
const MORE: [(&str, &str); 4] = [
    ("sys/devices/system/edac/mc/mc0/dimm0/dimm_label", "A1"),
    ("sys/devices/system/edac/mc/mc0/dimm0/dimm_ce_count", "3"),
    ("sys/class/tpm/tpm0/tpm_version_major", "2"),
    ("etc/razor-mk/facts.d/rack.toml", "rack = \"B7\""),
];
/// Takes a pipe for no file, and names it. Only a file system can hold it up.
const REFUSES_PIPES: &str = "site";
/// Where the silent file systems are mounted, each below one collector.
const SILENT: [(&str, &str); 2] = [("tpm", "sys/class/tpm/tpm0"), (REFUSES_PIPES, "etc/razor-mk/facts.d")];
/// A file that every reader of the kernel line reads, also outside of any collector: the kernel answers it from memory.
const KERNEL_LINE: &str = "proc/cmdline";
/// So long a collector may take here: hundreds of times what it needs.
const DEADLINE: Duration = Duration::from_secs(5);
/// Collections at the same time: each needs the processor for a moment, and the others' deadlines go on.
const AT_ONCE: usize = 3;
/// So long a reader may take in all that is let go again and again: one that takes longer never ends.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks at a thread.
const LOOK: Duration = Duration::from_millis(1);

/// A machine with something for each collector.
fn machine() -> (TempDir, Tree) {
    let dir = tempfile::tempdir().unwrap();
    unpack(Q35_SERVER, dir.path());
    for (path, text) in MORE {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let tree = Tree::at(dir.path());
    (dir, tree)
}

fn all(tree: &Tree) -> Vec<Collector<Found>> {
    collectors(tree, site::programs(tree, Asker::Control))
}

/// The collector with this name.
fn one(tree: &Tree, name: &str) -> Collector<Found> {
    all(tree).into_iter().find(|collector| collector.name == name).unwrap()
}

/// Folders below one, itself included; links are not followed.
fn folders(root: &Path, into: &mut Vec<PathBuf>) {
    into.push(root.to_owned());
    for entry in fs::read_dir(root).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            folders(&entry.path(), into);
        }
    }
}

/// Files that each collector opens, by its name, as paths below the root. They run one after the other.
fn opened(root: &Path, tree: &Tree) -> BTreeMap<String, BTreeSet<PathBuf>> {
    let watch = Inotify::init(InitFlags::IN_NONBLOCK).unwrap();
    let mut all_folders = Vec::new();
    folders(root, &mut all_folders);
    let open = |folder: &PathBuf| (watch.add_watch(folder, AddWatchFlags::IN_OPEN).unwrap(), folder.clone());
    let places: BTreeMap<WatchDescriptor, PathBuf> = all_folders.iter().map(open).collect();
    let mut found = BTreeMap::new();
    for Collector { name, read } in all(tree) {
        read().unwrap();
        let mut files = BTreeSet::new();
        loop {
            match watch.read_events() {
                Ok(events) => {
                    let on_files = events.into_iter().filter(|event| !event.mask.contains(AddWatchFlags::IN_ISDIR));
                    files.extend(on_files.filter_map(|event| {
                        Some(places[&event.wd].join(event.name?).strip_prefix(root).unwrap().to_owned())
                    }));
                }
                Err(Errno::EAGAIN) => break,
                Err(why) => panic!("{why}"),
            }
        }
        found.insert(name, files);
    }
    found
}

/// What all collectors find but these, as a collection gives it.
fn without(tree: &Tree, left_out: &BTreeSet<&str>) -> (Stable, Volatile) {
    let (mut stable, mut volatile) = (Stable::default(), Volatile::default());
    for collector in all(tree).into_iter().filter(|collector| !left_out.contains(collector.name.as_str())) {
        (collector.read)().unwrap().put(&mut stable, &mut volatile);
    }
    stable.site.extend(kernel_line(tree));
    (stable, volatile)
}

/// A collection in which these collectors hang names them as abandoned, and has all that the others find.
fn has_all_but(found: Inventory, tree: &Tree, hanging: &BTreeSet<&str>) {
    let volatile = found.volatile.unwrap();
    let failed: BTreeSet<&str> = volatile.failures.keys().map(String::as_str).collect();
    assert_eq!(&failed, hanging);
    for (name, why) in &volatile.failures {
        assert!(why.starts_with("abandoned: no result after "), "{name}: {why}");
    }
    let others = Volatile { failures: BTreeMap::new(), took_ms: BTreeMap::new(), ..volatile };
    assert_eq!((found.stable, others), without(tree, hanging), "while {hanging:?} hangs");
}

#[test]
fn every_file_of_every_collector_is_read_where_it_can_be_abandoned() {
    let (dir, tree) = machine();
    let opened = opened(dir.path(), &tree);
    for (name, files) in &opened {
        assert_eq!(files.is_empty(), ASK_THE_KERNEL.contains(&name.as_str()), "{name} reads {files:?}");
        for file in files.iter().filter(|_| name != REFUSES_PIPES) {
            let (path, aside) = (dir.path().join(file), dir.path().join("aside"));
            fs::copy(&path, &aside).unwrap();
            let pipe = hang(dir.path(), file.to_str().unwrap());
            let collector = one(&tree, name);
            let reader = thread::spawn(move || drop((collector.read)()));
            // Whoever opens it to read is let go by one that opens it to write; nobody else opens it.
            let (mut let_go, began) = (0, Instant::now());
            while !reader.is_finished() {
                assert!(began.elapsed() < PATIENCE, "{name} still hangs on {}", file.display());
                let_go += usize::from(OpenOptions::new().write(true).custom_flags(O_NONBLOCK).open(&pipe).is_ok());
                thread::sleep(LOOK);
            }
            assert!(let_go > 0, "{name} was to hang on {}", file.display());
            reader.join().unwrap();
            fs::rename(aside, path).unwrap();
        }
    }
    println!("{} files of {} collectors", opened.values().map(BTreeSet::len).sum::<usize>(), opened.len());
}

#[test]
fn a_collection_has_all_but_the_collectors_that_hang() {
    let (dir, tree) = machine();
    let opened = opened(dir.path(), &tree);
    // The last path is one below `/sys`, if there is any: those are what hardware answers.
    let last = |files: &BTreeSet<PathBuf>| files.iter().rfind(|file| *file != Path::new(KERNEL_LINE)).cloned();
    let tried = opened.iter().filter(|(name, _)| *name != REFUSES_PIPES);
    let tried: Vec<(&String, PathBuf)> = tried.filter_map(|(name, files)| Some((name, last(files)?))).collect();
    for group in tried.chunks(AT_ONCE) {
        thread::scope(|scope| {
            for (name, file) in group {
                let readers = opened.iter().filter(|(_, files)| files.contains(file));
                let hanging: BTreeSet<&str> = readers.map(|(name, _)| name.as_str()).collect();
                scope.spawn(move || without_those_that_hang(name, file, &hanging));
            }
        });
    }
}

/// One collection while this file, which these collectors read, never answers.
fn without_those_that_hang(name: &str, file: &Path, hanging: &BTreeSet<&str>) {
    let (dir, tree) = machine();
    let pipe = hang(dir.path(), file.to_str().unwrap());
    println!("{name}: {}", file.display());
    let began = Instant::now();
    let found = collect_within(&tree, Asker::Control, DEADLINE, Duration::ZERO);
    assert!(began.elapsed() < DEADLINE * 10, "{name}: {:?}", began.elapsed());
    has_all_but(found, &tree, hanging);
    // Lets the hanging threads go.
    let began = Instant::now();
    while OpenOptions::new().write(true).custom_flags(O_NONBLOCK).open(&pipe).is_ok() {
        assert!(began.elapsed() < PATIENCE, "{name} still hangs on {}", file.display());
        thread::sleep(LOOK);
    }
}

#[test]
fn file_systems_that_never_answer_cost_one_collector_each() {
    // In a thread of its own: only it and those that it starts see the mounts.
    let outcome = thread::spawn(|| {
        let (dir, tree) = machine();
        let places = SILENT.map(|(_, place)| dir.path().join(place));
        leave_other_mounts()?;
        let programs: Vec<File> = places.iter().map(|place| mount_silent(place)).collect::<anyhow::Result<_>>()?;
        let found = collect_within(&tree, Asker::Control, DEADLINE, Duration::ZERO);
        has_all_but(found, &tree, &SILENT.map(|(name, _)| name).into());
        // Whoever waits is given an error once the programs have gone.
        drop(programs);
        places.iter().try_for_each(|place| umount2(place, MntFlags::MNT_DETACH)).context("they stay mounted")
    });
    if let Err(why) = outcome.join().unwrap() {
        mk_tests::skip_even_there(&format!("no file system of user space can be mounted here: {why:#}"));
    }
}

/// What this thread mounts from now on only it and those that it starts see.
fn leave_other_mounts() -> anyhow::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS).context("no mount namespace")?;
    let (none, private) = (None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE);
    mount(none, "/", none, private, none).context("the mounts cannot be made private")
}

/// Mounts a file system in user space; its program, which is whoever holds the file, never answers.
fn mount_silent(place: &Path) -> anyhow::Result<File> {
    let program = OpenOptions::new().read(true).write(true).open("/dev/fuse").context("/dev/fuse cannot be opened")?;
    let data = format!("fd={},rootmode=40755,user_id=0,group_id=0", program.as_raw_fd());
    let kind = Some("fuse");
    mount(kind, place, kind, MsFlags::empty(), Some(data.as_str())).context("it cannot be mounted")?;
    Ok(program)
}
