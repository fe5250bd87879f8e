//! `mk-vm` as a process, with a guest that says one line on its serial port and then sleeps. Needs QEMU:
//! `cargo xtask test` runs it.

#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Instant;

use mk_tests::limits;
use mk_tests::vm::sector;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

/// What the guest says.
const HELLO: &str = "hello from a guest";

/// A folder with the guest's image.
fn place() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("hello.img");
    let mut disk = sector::saying(HELLO);
    disk.resize(1 << 20, 0);
    fs::write(&image, disk).unwrap();
    (dir, image)
}

/// `mk-vm run` with the image as a USB stick: a bare boot sector is no CD.
fn mk_vm(image: &Path, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mk-vm"));
    command.args(["run", "--media", "usb", "--accel", "tcg", "--memory", "128", "--cpus", "1", "--iso"]).arg(image);
    command.args(more).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run(image: &Path, more: &[&str]) -> Output {
    mk_vm(image, more).output().unwrap()
}

/// A running `mk-vm` whose guest has spoken, and QEMU's process.
fn running(image: &Path, more: &[&str]) -> (Child, Pid) {
    let mut child = mk_vm(image, more).spawn().unwrap();
    let mut said = Vec::new();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    while !String::from_utf8_lossy(&said).contains(HELLO) {
        assert!(output.read_until(b't', &mut said).unwrap() > 0, "mk-vm ended early");
    }
    let children = format!("/proc/{0}/task/{0}/children", child.id());
    let qemu = fs::read_to_string(children).unwrap().trim().parse().unwrap();
    // The rest of the output is not read: the guest is silent from now on.
    drop(output);
    (child, Pid::from_raw(qemu))
}

fn await_end(process: Pid) {
    let deadline = Instant::now() + limits::QEMU_QUIT;
    // Where nobody reaps orphans, an ended one stays as a zombie.
    let ended = || fs::read_to_string(format!("/proc/{process}/stat")).map_or(true, |stat| stat.contains(") Z "));
    while !ended() {
        assert!(Instant::now() < deadline, "QEMU (process {process}) goes on");
        std::thread::sleep(limits::POLL);
    }
}

#[test]
fn the_awaited_text_ends_the_guest_with_success() {
    let (dir, image) = place();
    let log = dir.path().join("serial.log");
    let output = run(&image, &["--until", HELLO, "--timeout", "120", "--serial", log.to_str().unwrap()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains(HELLO));
    assert!(fs::read_to_string(log).unwrap().contains(HELLO));
}

/// The script waits for Enter, which `--answer` types.
#[test]
fn a_network_boot_gets_its_script_by_dhcp_and_http() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!("http://10.0.2.2:{}/script", listener.local_addr().unwrap().port());
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let length = stream.read(&mut [0; 4096]).unwrap();
        let script = format!("#!ipxe\necho {HELLO}\necho -n name:\nread name\necho welcome ${{name}}\nshell\n");
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{script}", script.len()).unwrap();
        length
    });
    let mut command = Command::new(env!("CARGO_BIN_EXE_mk-vm"));
    command.args(["run", "--accel", "tcg", "--memory", "128", "--cpus", "1", "--until", "welcome"]);
    command.args(["--timeout", "120", "--answer", "name:=Ann", "--bootfile", &url]);
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(server.join().unwrap() > 0);
}

#[test]
fn a_text_that_does_not_come_is_an_error_in_time() {
    let (_dir, image) = place();
    let output = run(&image, &["--until", "never said", "--timeout", "5"]);
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("5 s") && error.contains("never said"), "{error}");
}

#[test]
fn a_terminated_mk_vm_ends_its_guest_in_order() {
    let (_dir, image) = place();
    let (mut child, qemu) = running(&image, &[]);
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM).unwrap();
    assert!(child.wait().unwrap().success());
    await_end(qemu);
}

#[test]
fn a_killed_mk_vm_takes_its_guest_along() {
    let (_dir, image) = place();
    let (mut child, qemu) = running(&image, &[]);
    child.kill().unwrap();
    child.wait().unwrap();
    await_end(qemu);
}

#[test]
fn others_may_ask_the_monitor() {
    let (dir, image) = place();
    let socket = dir.path().join("monitor");
    let (mut child, qemu) = running(&image, &["--qmp", socket.to_str().unwrap()]);
    let mut monitor = UnixStream::connect(&socket).unwrap();
    monitor.set_read_timeout(Some(limits::QMP_ANSWER)).unwrap();
    monitor.write_all(b"{\"execute\": \"qmp_capabilities\"}\n{\"execute\": \"query-status\"}\n").unwrap();
    let answers = BufReader::new(&monitor).lines().take(3).map(Result::unwrap).collect::<Vec<_>>();
    assert!(answers[2].contains("running"), "{answers:?}");
    child.kill().unwrap();
    child.wait().unwrap();
    await_end(qemu);
}

#[test]
fn what_is_missing_or_wrong_is_named() {
    let (dir, image) = place();
    let output = run(&dir.path().join("no.iso"), &[]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && error.contains("no.iso"), "{error}");

    let output = run(&image, &["--forward", "22"]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && error.contains("--forward") && error.contains("colon"), "{error}");

    let spec = dir.path().join("spec.json");
    fs::write(&spec, r#"{"memory_mib": 128, "cpus": 1, "disks": [{"bus": "floppy"}]}"#).unwrap();
    let output = run(&image, &["--machine", spec.to_str().unwrap()]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && error.contains("spec.json") && error.contains("floppy"), "{error}");

    fs::write(&spec, r#"{"memory_mib": 128, "cpus": 1, "nics": [{"model": "virtio", "mac": "nonsense"}]}"#).unwrap();
    let output = run(&image, &["--machine", spec.to_str().unwrap()]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && error.contains("QEMU did not start") && error.contains("nonsense"), "{error}");
}
