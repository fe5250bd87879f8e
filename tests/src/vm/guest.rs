//! A running guest: QEMU's process with its files, its serial port and its monitor.
//!
//! QEMU dies with the thread that started it (`PR_SET_PDEATHSIG`), so start guests from a thread that outlives them; and
//! with the [`Guest`].

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::Shutdown;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::command::{self, Boot, Files, Firmware, Forward, Medium};
use super::console::{self, Console};
use super::qmp::Qmp;
use super::spec::Machine;
use super::trap::{self, Trapped};
use super::{Accel, bmc, smbios};
use crate::limits;
use crate::process::die_with_parent;
use crate::tpm::{Channel, Emulator};

/// QEMU's program.
pub(crate) const QEMU: &str = "qemu-system-x86_64";

/// OVMF's code and variables, as distributions lay them: Debian and Ubuntu, Fedora, Arch.
const OVMF: [(&str, &str); 4] = [
    ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"),
    ("/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"),
    ("/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"),
    ("/usr/share/edk2/x64/OVMF_CODE.4m.fd", "/usr/share/edk2/x64/OVMF_VARS.4m.fd"),
];

/// The same with Secure Boot, and variables that hold Microsoft's keys.
const SECURE_OVMF: [(&str, &str); 2] = [
    ("/usr/share/OVMF/OVMF_CODE_4M.secboot.fd", "/usr/share/OVMF/OVMF_VARS_4M.ms.fd"),
    ("/usr/share/edk2/ovmf/OVMF_CODE.secboot.fd", "/usr/share/edk2/ovmf/OVMF_VARS.secboot.fd"),
];

/// What to start, and where its output goes.
#[derive(Debug, Clone)]
pub struct Options {
    /// The machine.
    pub machine: Machine,
    /// What it boots.
    pub boot: Boot,
    /// What it runs under.
    pub accel: Accel,
    /// File for everything that the guest writes to its serial port.
    pub serial_log: Option<PathBuf>,
    /// Copy the serial port to standard output.
    pub echo: bool,
    /// Socket for a second monitor.
    pub qmp_socket: Option<PathBuf>,
    /// Let the guest reboot; otherwise its first reboot ends it.
    pub may_reboot: bool,
    /// Ways into the guest.
    pub forwards: Vec<Forward>,
}

/// A guest.
#[derive(Debug)]
pub struct Guest {
    process: duct::Handle,
    console: Console,
    qmp: Mutex<Qmp>,
    /// Held for as long as the guest runs.
    _tpm: Option<Emulator>,
    /// Other ends of the ports' open wires, by the place of the port.
    wires: Wires,
    /// How many it has.
    disks: usize,
    dir: TempDir,
}

impl Guest {
    /// Starts a guest.
    ///
    /// # Errors
    /// When the image, QEMU, OVMF or swtpm is missing, or QEMU refuses the machine; with what QEMU says.
    pub fn start(options: &Options) -> anyhow::Result<Self> {
        let Options { machine, boot, .. } = options;
        machine.check()?;
        if let Some(image) = boot.medium.image() {
            ensure!(image.is_file(), "there is no image {}", image.display());
        }
        let network = matches!(boot.medium, Medium::Network(_));
        ensure!(!network || !machine.nics.is_empty(), "a machine without a network port cannot boot from the network");
        let dir = tempfile::Builder::new().prefix("mk-vm-").tempdir().context("cannot make a folder for the guest")?;
        lay_files(machine, dir.path())
            .with_context(|| format!("cannot lay the guest's files in {}", dir.path().display()))?;
        let tpm = machine.tpm.then(|| tpm(dir.path())).transpose().context("cannot give the guest a TPM")?;
        let (qmp, qmp_guest) = UnixStream::pair().context("cannot make a socket for QEMU's monitor")?;
        let (serial, serial_guest) = UnixStream::pair().context("cannot make a socket for the serial port")?;
        let (wires, wire_guests) = open_wires(machine).context("cannot make the wires of the guest's ports")?;
        let files = Files {
            dir: dir.path().to_owned(),
            uefi: boot.firmware.is_uefi().then(|| ovmf(dir.path(), boot.firmware)).transpose()?,
            qmp_fd: qmp_guest.as_raw_fd(),
            serial_fd: serial_guest.as_raw_fd(),
            wire_fds: wire_guests.iter().map(|(index, wire)| (*index, wire.as_raw_fd())).collect(),
            qmp_socket: options.qmp_socket.clone(),
            forwards: options.forwards.clone(),
        };
        let mut arguments = command::arguments(machine, boot, options.accel, &files);
        if !options.may_reboot {
            arguments.push("-no-reboot".into());
        }
        let console = Console::new(serial, options.serial_log.as_deref(), options.echo)?;
        let sockets = [qmp_guest, serial_guest].into_iter().map(OwnedFd::from);
        let sockets = sockets.chain(wire_guests.into_values().map(OwnedFd::from)).collect();
        let process = spawn(arguments, dir.path(), sockets)?;
        let said = |error: anyhow::Error| {
            error.context(format!("QEMU did not start: {}", console::last_lines(&stderr(dir.path()))))
        };
        let mut qmp = Qmp::new(qmp).map_err(said)?;
        service_processor(machine, dir.path()).context("cannot give the guest a BMC")?;
        for (index, _) in machine.nics.iter().enumerate().filter(|(_, nic)| !nic.plugged) {
            qmp.execute("set_link", json!({"name": command::nic_id(index), "up": false}))?;
        }
        qmp.execute("cont", json!({}))?;
        Ok(Self { process, console, qmp: Mutex::new(qmp), _tpm: tpm, wires, disks: machine.disks.len(), dir })
    }

    /// The serial port.
    #[must_use]
    pub fn console(&self) -> &Console {
        &self.console
    }

    /// File with the content of a disk, by its place in the machine's list. It goes with the guest.
    #[must_use]
    pub fn disk(&self, number: usize) -> PathBuf {
        command::disk_file(self.dir.path(), number)
    }

    /// What was done to the disks since the guest was started, with each disk's place in the machine's list.
    ///
    /// # Errors
    /// When QEMU's log of it cannot be read.
    pub fn trapped(&self) -> anyhow::Result<Vec<(usize, Trapped)>> {
        let mut all = Vec::new();
        for disk in 0..self.disks {
            let file = command::trap_file(self.dir.path(), disk);
            let log = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
            all.extend(trap::entries(&log).into_iter().map(|entry| (disk, entry)));
        }
        Ok(all)
    }

    /// Puts an Ethernet frame on a port's wire, as its switch does.
    ///
    /// # Errors
    /// When the port has no open wire, or QEMU is gone.
    pub fn put_on_wire(&self, port: usize, frame: &[u8]) -> anyhow::Result<()> {
        let wire = self.wires.get(&port).with_context(|| format!("port {port} has no open wire"))?;
        wire.send(frame).with_context(|| format!("cannot put a frame on the wire of port {port}"))?;
        Ok(())
    }

    /// Executes a monitor command.
    ///
    /// # Errors
    /// QEMU's own error, or that it is gone.
    pub fn qmp(&self, command: &str, arguments: Value) -> anyhow::Result<Value> {
        self.qmp.lock().unwrap_or_else(PoisonError::into_inner).execute(command, arguments)
    }

    /// How QEMU ended, if it has: by the guest's power-off, by [`Guest::quit`], or by a fault.
    ///
    /// # Errors
    /// When the process cannot be asked after.
    pub fn ended(&self) -> anyhow::Result<Option<ExitStatus>> {
        Ok(self.process.try_wait().context("cannot ask after QEMU")?.map(|output| output.status))
    }

    /// What made the accelerator give up on this guest, if it did. QEMU then stops the guest and stays.
    ///
    /// # Errors
    /// When QEMU does not answer.
    pub fn internal_error(&self) -> anyhow::Result<Option<String>> {
        let status = self.qmp("query-status", json!({}))?;
        let failed = status.get("status").and_then(Value::as_str) == Some("internal-error");
        Ok(failed.then(|| stderr(self.dir.path()).lines().next().unwrap_or("QEMU internal error").to_owned()))
    }

    /// What QEMU itself has to say.
    #[must_use]
    pub fn complaints(&self) -> String {
        console::last_lines(&stderr(self.dir.path()))
    }

    /// Switches the machine off, as if its plug were pulled, and waits for QEMU's end.
    ///
    /// # Errors
    /// When QEMU neither ends nor can be killed.
    pub fn quit(self) -> anyhow::Result<()> {
        // An error means that QEMU is gone already, or is about to be killed.
        let asked = self.qmp("quit", json!({})).is_ok();
        let deadline = Instant::now() + if asked { limits::QEMU_QUIT } else { Duration::ZERO };
        while Instant::now() < deadline {
            if self.ended()?.is_some() {
                return Ok(());
            }
            std::thread::sleep(limits::POLL);
        }
        self.process.kill().context("cannot end QEMU")
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        // Nothing can be done about a failure here; the process dies with its parent anyway.
        let _ = self.process.kill();
    }
}

/// Writes SMBIOS tables and disks.
fn lay_files(machine: &Machine, dir: &Path) -> anyhow::Result<()> {
    if !machine.dimms.is_empty() {
        fs::write(command::table_file(dir, None), smbios::memory_array(&machine.dimms))?;
    }
    for (slot, dimm) in machine.dimms.iter().enumerate() {
        let number = u16::try_from(slot).context("too many memory slots")?;
        fs::write(command::table_file(dir, Some(slot)), smbios::memory_device(number, dimm))?;
    }
    for (index, disk) in machine.disks.iter().enumerate() {
        let file = command::disk_file(dir, index);
        if let Some(content) = &disk.content {
            fs::copy(content, &file).with_context(|| format!("cannot copy {} to a disk", content.display()))?;
        }
        File::options().create(true).append(true).open(&file)?.set_len(disk.size_bytes)?;
        File::create(command::trap_file(dir, index))?;
    }
    Ok(())
}

/// A new chip, whose memory ends with the guest.
fn tpm(dir: &Path) -> anyhow::Result<Emulator> {
    let state = dir.join("tpm");
    fs::create_dir(&state).with_context(|| format!("cannot make {}", state.display()))?;
    Emulator::start(&state, &Channel::Control(command::tpm_socket(dir)))
}

/// Gives QEMU, which waits for it, a BMC that is not its own.
fn service_processor(machine: &Machine, dir: &Path) -> anyhow::Result<()> {
    match machine.bmc.clone().filter(|bmc| bmc.port.is_some()) {
        Some(bmc) => bmc::serve(bmc, UnixStream::connect(command::bmc_socket(dir))?),
        None => Ok(()),
    }
}

/// By the place of the port.
type Wires = BTreeMap<usize, UnixDatagram>;

/// Our ends of the open wires, and QEMU's.
fn open_wires(machine: &Machine) -> anyhow::Result<(Wires, Wires)> {
    let (mut ours, mut guests) = (Wires::new(), Wires::new());
    for (index, _) in machine.nics.iter().enumerate().filter(|(_, nic)| nic.open_wire) {
        let (our, guest) = UnixDatagram::pair()?;
        // Nobody reads what the guest sends: QEMU shall not keep it.
        our.shutdown(Shutdown::Read)?;
        ours.insert(index, our);
        guests.insert(index, guest);
    }
    Ok((ours, guests))
}

/// OVMF's code, and this guest's copy of its variables.
fn ovmf(dir: &Path, firmware: Firmware) -> anyhow::Result<(PathBuf, PathBuf)> {
    let known = if firmware == Firmware::SecureBoot { SECURE_OVMF.as_slice() } else { OVMF.as_slice() };
    let found = known.iter().find(|(code, variables)| Path::new(code).is_file() && Path::new(variables).is_file());
    let Some((code, variables)) = found else {
        bail!("UEFI firmware for QEMU is missing ({} is not there); install the package ovmf", known[0].0);
    };
    let copy = dir.join("uefi-variables.fd");
    fs::copy(variables, &copy).with_context(|| format!("cannot copy {variables} to {}", copy.display()))?;
    Ok((code.into(), copy))
}

fn spawn(arguments: Vec<std::ffi::OsString>, dir: &Path, sockets: Vec<OwnedFd>) -> anyhow::Result<duct::Handle> {
    let inherited: Vec<RawFd> = sockets.iter().map(AsRawFd::as_raw_fd).collect();
    let handle = duct::cmd(QEMU, arguments)
        .stdin_null()
        .stdout_null()
        .stderr_path(dir.join("stderr"))
        .unchecked()
        .before_spawn(move |command| {
            die_with_parent(command, inherited.clone());
            Ok(())
        })
        .start()
        .with_context(missing_qemu)?;
    drop(sockets);
    Ok(handle)
}

/// What to say when QEMU cannot be started.
pub(crate) fn missing_qemu() -> String {
    format!("cannot start {QEMU}; install the package qemu-system-x86")
}

fn stderr(dir: &Path) -> String {
    fs::read_to_string(dir.join("stderr")).unwrap_or_default()
}
