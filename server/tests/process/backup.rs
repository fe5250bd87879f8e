//! Backups of a server that is at work, and what is restored of them.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::agents::{Boot, inventory};
use crate::database;
use crate::support::{PROGRAM, Server};

/// Machines that check in while the backup is made.
const MACHINES: u8 = 4;
/// Check-ins of each before it begins.
const BEFORE: u64 = 5;
/// Longest wait for them on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn mk_server(args: &[&str]) -> Output {
    Command::new(PROGRAM).args(args).output().unwrap()
}

fn backup(data: &Path, out: &Path) -> Output {
    mk_server(&["backup", "--data", data.to_str().unwrap(), "--out", out.to_str().unwrap()])
}

fn restore(archive: &Path, data: &Path) -> Output {
    mk_server(&["restore", archive.to_str().unwrap(), "--data", data.to_str().unwrap()])
}

fn done(output: &Output) {
    assert!(output.status.success(), "{output:?}");
}

fn refused(output: &Output, words: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains(words), "{words}: {output:?}");
}

/// Every file and link of a folder by its name, with what is in it.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.is_symlink() {
            found.insert(name, fs::read_link(&path).unwrap().to_str().unwrap().into());
        } else if path.is_dir() {
            found.extend(files(&path).into_iter().map(|(below, bytes)| (format!("{name}/{below}"), bytes)));
        } else {
            found.insert(name, fs::read(&path).unwrap());
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_under_load_has_all_that_was_answered_before_it() {
    let false = database::is_postgres() else { return };
    let server = Arc::new(Server::start(""));
    let answered: Arc<Vec<AtomicU64>> = Arc::new((0..MACHINES).map(|_| AtomicU64::new(0)).collect());
    let ending = Arc::new(AtomicBool::new(false));
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..MACHINES {
        let (server, answered, ending) = (Arc::clone(&server), Arc::clone(&answered), Arc::clone(&ending));
        tasks.spawn(async move {
            let mut boot = Boot::new(1 + n);
            for serial in 1.. {
                let report = inventory(&[&format!("00-11-22-33-44-{n:02x}")], &serial.to_string());
                assert_eq!(boot.send(&server, &report).await.0, 200);
                answered[usize::from(n)].store(serial, Ordering::SeqCst);
                if ending.load(Ordering::SeqCst) {
                    break;
                }
            }
        });
    }
    let numbers = || answered.iter().map(|n| n.load(Ordering::SeqCst)).collect::<Vec<_>>();
    let end = Instant::now() + PATIENCE;
    while numbers().iter().any(|n| *n < BEFORE) {
        assert!(Instant::now() < end, "{:?}", numbers());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    fs::write(server.data().join("bundles/kept-by-hand"), "bundle").unwrap();
    std::os::unix::fs::symlink("/srv/tce", server.data().join("tce")).unwrap();
    let before = numbers();
    let folder = tempfile::tempdir().unwrap();
    let archive = folder.path().join("backup.tar");
    done(&backup(server.data(), &archive));
    let after = numbers();
    ending.store(true, Ordering::SeqCst);
    tasks.join_all().await;
    assert!(after.iter().zip(&before).any(|(after, before)| after > before), "it answered meanwhile");
    assert!(!server.data().join("backup.tmp").exists());
    assert_eq!(fs::metadata(&archive).unwrap().permissions().mode() & 0o777, 0o600, "keys are in it");
    let (here, it) = (folder.path().display(), archive.display());
    let by_hand = format!("mkdir {here}/by-hand && cd {here}/by-hand && tar xf {it} && sha256sum -c SHA256SUMS");
    done(&Command::new("sh").args(["-c", &by_hand]).output().unwrap());

    let data = folder.path().join("new/data");
    done(&restore(&archive, &data));
    assert_eq!(fs::read(data.join("bundles/kept-by-hand")).unwrap(), b"bundle");
    assert_eq!(fs::read_link(data.join("tce")).unwrap(), Path::new("/srv/tce"));
    let restored = Server::start_on(&data, "");
    assert_eq!(restored.count().await, i64::from(MACHINES));
    gives_no_number_twice(&restored).await;
    for id in 1..=i64::from(MACHINES) {
        let (former, node) = (server.node(id).await, restored.node(id).await);
        assert_eq!(node["hw_info"]["mac"], former["hw_info"]["mac"], "the same machine under the same number");
        let mac = node["hw_info"]["mac"][0].as_str().unwrap();
        let machine = usize::from_str_radix(&mac[mac.len() - 2..], 16).unwrap();
        let kept: u64 = node["facts"]["serialnumber"].as_str().unwrap().parse().unwrap();
        assert!(
            kept >= before[machine] && kept <= after[machine] + 1,
            "{kept} is kept, {before:?} was answered before"
        );
    }
}

/// A number that was given since the backup is known elsewhere.
async fn gives_no_number_twice(restored: &Server) {
    let (_, made) = Boot::new(99).send(restored, &inventory(&["00-11-22-33-44-99"], "new")).await;
    assert!(made["id"].as_i64().unwrap() > 100_000, "{made}");
}

/// Every part of an archive counts: cut anywhere or with a byte changed it is refused, or nothing is lost by that.
#[test]
fn a_damaged_backup_is_refused_and_leaves_nothing() {
    let false = database::is_postgres() else { return };
    let server = Server::start("");
    server.cli(&["nodes", "register", "mac=00:11:22:33:44:55"]);
    fs::create_dir(server.data().join("tls")).unwrap();
    fs::write(server.data().join("tls/ca.key"), "key").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let archive = folder.path().join("backup.tar");
    done(&backup(server.data(), &archive));
    let whole = folder.path().join("whole");
    done(&restore(&archive, &whole));
    let (whole, bytes) = (files(&whole), fs::read(&archive).unwrap());
    assert!(whole.contains_key("tls/ca.key") && whole.contains_key("mk-server.sqlite"), "{:?}", whole.keys());
    let (broken, data) = (folder.path().join("broken.tar"), folder.path().join("data"));
    let sums = bytes.windows(10).rposition(|w| w == b"SHA256SUMS").unwrap();
    for cut in [0, 1, 511, 512, 513, 100_000, sums - 1, sums, sums + 512, sums + 600] {
        fs::write(&broken, &bytes[..cut]).unwrap();
        refused(&restore(&broken, &data), "was not restored");
        assert!(!data.exists(), "cut at {cut}");
    }
    let step = bytes.len() / 40;
    let (mut caught, mut harmless) = (0, 0);
    for at in (0..40).map(|i| i * step + i % 512).chain([0, 100, 150, sums + 520]) {
        let mut changed = bytes.clone();
        changed[at] ^= 0x10;
        fs::write(&broken, changed).unwrap();
        if restore(&broken, &data).status.success() {
            assert_eq!(files(&data), whole, "a changed byte at {at}");
            fs::remove_dir_all(&data).unwrap();
            harmless += 1;
        } else {
            assert!(!data.exists(), "a changed byte at {at}");
            caught += 1;
        }
    }
    assert!(caught > 30, "{caught} caught, {harmless} between files");
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left.len(), 3, "the archives and the first restored folder alone: {left:?}");
}

#[test]
fn nothing_that_is_there_is_written_over() {
    let false = database::is_postgres() else { return };
    let server = Server::start("");
    let folder = tempfile::tempdir().unwrap();
    let (archive, data) = (folder.path().join("backup.tar"), folder.path().join("data"));
    done(&backup(server.data(), &archive));
    refused(&backup(server.data(), &archive), "is there already");
    refused(&backup(folder.path(), &folder.path().join("other.tar")), "no data folder of mk-server");
    refused(&restore(&archive, server.data()), "is not empty");
    fs::create_dir(&data).unwrap();
    fs::set_permissions(&data, fs::Permissions::from_mode(0o750)).unwrap();
    let is_root = nix::unistd::geteuid().is_root();
    if is_root {
        std::os::unix::fs::chown(&data, Some(1234), Some(5678)).unwrap();
    }
    done(&restore(&archive, &data));
    refused(&restore(&archive, &data), "is not empty");
    let about = fs::metadata(&data).unwrap();
    assert_eq!(about.mode() & 0o777, 0o750, "as the folder was that it took the place of");
    if is_root {
        let database = fs::metadata(data.join("mk-server.sqlite")).unwrap();
        assert_eq!([about.uid(), about.gid(), database.uid(), database.gid()], [1234, 5678, 1234, 5678]);
    }
    let out = Command::new(PROGRAM).args(["backup", "--out", "-", "--data"]).arg(server.data()).output().unwrap();
    fs::write(folder.path().join("streamed.tar"), &out.stdout).unwrap();
    done(&restore(&folder.path().join("streamed.tar"), &folder.path().join("streamed")));
}

/// Somebody may have made the archive so that it writes elsewhere.
#[test]
fn an_archive_writes_nothing_outside_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    let (archive, elsewhere) = (folder.path().join("evil.tar"), folder.path().join("elsewhere"));
    fs::create_dir_all(folder.path().join("in/down")).unwrap();
    fs::create_dir(&elsewhere).unwrap();
    fs::write(folder.path().join("in/down/x"), "x").unwrap();
    for script in [
        "ln -s ../elsewhere tce && tar cf ../evil.tar tce && tar rf ../evil.tar --transform s,down,tce, down/x",
        "tar cPf ../evil.tar --transform s,down/x,../elsewhere/x, down/x",
        "tar cPf ../evil.tar --transform s,down/x,/tmp/mk-restore-x, down/x",
    ] {
        done(&Command::new("sh").args(["-c", script]).current_dir(folder.path().join("in")).output().unwrap());
        assert!(!restore(&archive, &folder.path().join("data")).status.success(), "{script}");
        assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0, "{script}");
        assert!(!Path::new("/tmp/mk-restore-x").exists() && !folder.path().join("data").exists(), "{script}");
    }
}

/// Two at once would take each other's files.
#[test]
fn one_backup_is_made_at_a_time() {
    let false = database::is_postgres() else { return };
    let server = Server::start("");
    let work = server.data().join("backup.tmp");
    fs::create_dir(&work).unwrap();
    fs::write(work.join("left-by-a-kill"), "").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let lock = nix::fcntl::Flock::lock(fs::File::open(&work).unwrap(), nix::fcntl::FlockArg::LockExclusive).unwrap();
    refused(&backup(server.data(), &folder.path().join("a.tar")), "another backup");
    drop(lock);
    done(&backup(server.data(), &folder.path().join("b.tar")));
    assert!(!work.exists());
}
