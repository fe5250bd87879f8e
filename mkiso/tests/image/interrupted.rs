//! What a signal leaves behind: nothing but what was there before.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::synthetic::Bench;

/// An xorriso that says who it is and then takes its time, as the real one does with a slow disk.
const SLOW: &str = "#!/bin/sh\necho $$ > \"$XORRISO_PID\"\nexec sleep 600\n";

/// How many times a run of `mkiso customize` is killed, each time later in its course.
const KILLS: u32 = 40;

/// Longest wait for anything here.
const PATIENCE: Duration = Duration::from_secs(60);

fn wait(what: &str, mut there: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !there() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Whether a process is there and no zombie.
fn runs(pid: &str) -> bool {
    fs::read_to_string(format!("/proc/{}/stat", pid.trim())).is_ok_and(|stat| !stat.contains(") Z "))
}

#[test]
fn a_build_that_is_interrupted_leaves_nothing() {
    let Some(bench) = Bench::new() else { return };
    bench.put("bin/xorriso", SLOW.as_bytes());
    let (slow, pid) = (bench.path("bin/xorriso"), bench.path("pid"));
    fs::set_permissions(&slow, fs::Permissions::from_mode(0o755)).unwrap();
    bench.put("out/kept", b"of somebody else");
    for (signal, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143)] {
        let path = std::env::var("PATH").unwrap();
        let mut command = bench.building("base.iso", "production", "out", &[]);
        command.env("PATH", format!("{}:{path}", bench.path("bin").display())).env("XORRISO_PID", &pid);
        let mut build = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        wait("xorriso is not started", || fs::read_to_string(&pid).is_ok_and(|text| text.ends_with('\n')));
        assert_eq!(bench.names("out").len(), 2, "{:?}", bench.names("out"));
        kill(Pid::from_raw(build.id().cast_signed()), signal).unwrap();
        assert_eq!(build.wait().unwrap().code(), Some(code));
        assert_eq!(bench.names("out"), ["kept"]);
        let xorriso = fs::read_to_string(&pid).unwrap();
        wait("xorriso goes on", || !runs(&xorriso));
        fs::remove_file(&pid).unwrap();
    }
}

#[test]
fn customize_in_place_replaces_the_image_whole() {
    let Some(bench) = Bench::new() else { return };
    let iso = bench.build("base.iso", "production", "out", &[]).ok();
    let (other, before) = (bench.path("other.iso"), fs::read(&iso).unwrap());
    // Whoever reads the image through another name, as a server does through an open file, never sees half a slot.
    fs::hard_link(&iso, &other).unwrap();
    let ran = bench.mkiso().arg("customize").arg(&iso).args(["--server", "http://10.0.0.1:8150"]).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    assert!(fs::read(&other).unwrap() == before, "the image was written into");
    assert!(fs::read(&iso).unwrap() != before);
    let inode = |path: &Path| path.metadata().unwrap().ino();
    assert_ne!(inode(&iso), inode(&other));
    let sums = iso.with_extension("sha256");
    let check =
        Command::new("sha256sum").args(["--check", "--quiet"]).arg(&sums).current_dir(bench.path("out")).output();
    let check = check.unwrap();
    assert!(check.status.success(), "the checksums beside it are stale: {}", String::from_utf8_lossy(&check.stdout));
}

#[test]
fn customize_that_is_killed_anywhere_leaves_the_old_or_the_new_image() {
    let Some(bench) = Bench::new() else { return };
    let iso = bench.build("base.iso", "production", "out", &[]).ok();
    let initrd = iso.with_extension("initrd");
    for image in [&iso, &initrd] {
        let customize = |server: &str| {
            let mut command = bench.mkiso();
            command.arg("customize").arg(image).args(["--server", server]).stdout(Stdio::null()).stderr(Stdio::null());
            command
        };
        let servers = ["http://10.0.0.1:8150", "http://10.0.0.2:8150"];
        let images = servers.map(|server| {
            assert!(customize(server).status().unwrap().success());
            fs::read(image).unwrap()
        });
        let started = Instant::now();
        assert!(customize(servers[0]).status().unwrap().success());
        let course = started.elapsed();
        let mut killed = 0;
        for turn in 0..KILLS {
            let mut run = customize(servers[turn as usize % 2]).spawn().unwrap();
            std::thread::sleep(course * turn / KILLS);
            run.kill().unwrap();
            killed += u32::from(run.wait().unwrap().code().is_none());
            let now = fs::read(image).unwrap();
            assert!(images.contains(&now), "killed in turn {turn} of {KILLS}, it left neither image");
        }
        println!("{killed} of {KILLS} runs of {course:?} were killed");
        assert!(killed > 0, "no run was killed: this test shows nothing");
        assert!(customize(servers[1]).status().unwrap().success(), "what killed runs left is in nobody's way");
        assert!(fs::read(image).unwrap() == images[1]);
    }
}

/// What a cut of power leaves depends on what is on the disk, and when: the new image is whole there before it takes the old one's
/// place, and that is there before the program says that it is done.
#[test]
fn customize_has_the_new_image_on_the_disk_before_it_takes_the_place_of_the_old_one() {
    let Some(bench) = Bench::new() else { return };
    if !Command::new("strace").args(["-o", "/dev/null", "true"]).status().is_ok_and(|status| status.success()) {
        return mk_tests::skip("there is no strace, or it may not watch programs here");
    }
    let iso = bench.build("base.iso", "production", "out", &[]).ok();
    let folder = fs::canonicalize(bench.path("out")).unwrap();
    for with_sums in [true, false] {
        let trace = bench.path("trace");
        let mut run = Command::new("strace");
        run.args(["-f", "-y", "-e", "trace=/write|copy_file_range|sendfile|splice|ioctl|fsync|fdatasync|rename", "-o"]);
        run.arg(&trace).arg(bench.mkiso().get_program()).arg("customize").arg(folder.join(iso.file_name().unwrap()));
        let ran = run.args(["--server", "http://10.0.0.1:8150"]).output().unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        let trace = fs::read_to_string(&trace).unwrap();
        let calls: Vec<&str> = trace.lines().filter_map(|line| Some(line.split_once(' ')?.1.trim_start())).collect();
        let place = format!("/{}\"", iso.file_name().unwrap().to_str().unwrap());
        let renamed = calls.iter().position(|call| call.starts_with("rename") && call.contains(&place));
        let renamed = renamed.unwrap_or_else(|| panic!("{with_sums}: nothing is put in place:\n{trace}"));
        let temp = calls[renamed].split('"').nth(1).unwrap().rsplit('/').next().unwrap();
        let is_of = |call: &str| call.contains(&format!("/{temp}>"));
        let is_sync = |call: &str| call.starts_with("fsync") || call.starts_with("fdatasync");
        let changed = calls.iter().rposition(|call| is_of(call) && !is_sync(call)).unwrap();
        let synced = calls.iter().rposition(|call| is_of(call) && is_sync(call)).unwrap();
        assert!(changed < synced && synced < renamed, "{changed} {synced} {renamed}\n{trace}");
        let kept = calls.iter().rposition(|call| is_sync(call) && call.contains(&format!("<{}>", folder.display())));
        assert!(kept.is_some_and(|kept| kept > renamed), "the folder is not synced:\n{trace}");
        fs::remove_file(iso.with_extension("sha256")).unwrap_or_default();
    }
}
