//! Collections in which a collector does not come to its end.

mod deadlines;

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use super::recorded::{Q35_SERVER, unpack};
use super::{Asker, collect_within, unread};
use crate::tree::Tree;

/// Puts a pipe that nobody writes to in the place of a file.
pub(super) fn hang(root: &Path, file: &str) -> PathBuf {
    let file = root.join(file);
    fs::remove_file(&file).unwrap();
    nix::unistd::mkfifo(&file, nix::sys::stat::Mode::S_IRWXU).unwrap();
    file
}

/// Where the MAC of a port is read.
const MAC: &str = "sys/devices/pci0000:00/0000:00:02.0/net/eth1/address";
/// Too short for what hangs; what else does not end in it stands as it was.
const SHORT: Duration = Duration::from_millis(100);
/// Longer than any collection takes.
const LONG: Duration = Duration::from_secs(60);

#[test]
fn hardware_that_does_not_answer_has_not_gone() {
    let dir = tempfile::tempdir().unwrap();
    unpack(Q35_SERVER, dir.path());
    let tree = Tree::at(dir.path());
    let first = collect_within(&tree, Asker::Control, LONG, LONG);
    let pipe = hang(dir.path(), MAC);
    let second = collect_within(&tree, Asker::Control, SHORT, LONG);
    assert_eq!(second.stable, first.stable);
    assert_eq!(unread(&second), Some(Vec::new()), "what stands is known");
    assert_eq!(wire::digest::stable(&second.stable), wire::digest::stable(&first.stable));
    let (before, after) = (first.volatile.unwrap(), second.volatile.unwrap());
    assert_eq!((after.names, after.links), (before.names, before.links));
    let why = &after.failures["network"];
    assert!(why.starts_with("abandoned: no result after") && why.ends_with("; what is known of it stands"), "{why}");
    assert!(before.failures.is_empty());
    // Lets the hanging thread go.
    fs::write(pipe, "").unwrap();
}

#[test]
fn what_tells_a_machine_from_others_is_waited_for_while_nothing_is_known() {
    let dir = tempfile::tempdir().unwrap();
    unpack(Q35_SERVER, dir.path());
    let tree = Tree::at(dir.path());
    let pipe = hang(dir.path(), MAC);
    let without = collect_within(&tree, Asker::Control, SHORT, Duration::ZERO);
    assert!(unread(&without).unwrap().contains(&"network".to_owned()));
    assert!(without.stable.nics.is_empty() && without.volatile.unwrap().failures.contains_key("network"));
    let writer = thread::spawn(move || {
        thread::sleep(SHORT * 5);
        fs::write(pipe, "52:54:00:da:65:13\n").unwrap();
    });
    // The thread of the first collection is the one that ends: no second one was started beside it.
    let with = collect_within(&tree, Asker::Control, SHORT, LONG).stable;
    assert_eq!(with.nics.iter().map(|n| n.mac.as_deref().unwrap()).next(), Some("52:54:00:da:65:13"));
    assert_eq!((with.nics.len(), with.system.is_some()), (3, true));
    writer.join().unwrap();
}
