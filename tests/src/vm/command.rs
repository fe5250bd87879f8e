//! QEMU's command line for a machine: a pure function of [`Machine`], what it boots, and where its files lie.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::accel::Accel;
use super::spec::{Bmc, Bus, Machine, NicModel, Slot};

/// What a guest boots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Boot {
    /// Where from.
    pub medium: Medium,
    /// Firmware that boots it.
    pub firmware: Firmware,
}

/// Where a guest boots from. Images are hybrid and opened read-only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Medium {
    /// CD.
    Cd(PathBuf),
    /// USB stick.
    Usb(PathBuf),
    /// The first network port: iPXE in its ROM gets the URL of this script by DHCP.
    Network(String),
}

impl Medium {
    /// The image that the guest is given, if it is given one.
    #[must_use]
    pub fn image(&self) -> Option<&Path> {
        match self {
            Self::Cd(image) | Self::Usb(image) => Some(image),
            Self::Network(_) => None,
        }
    }
}

/// A port of this machine's loopback that leads to one of the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forward {
    /// TCP port of 127.0.0.1.
    pub here: u16,
    /// TCP port of the guest.
    pub guest: u16,
}

/// Firmware of a guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Firmware {
    /// SeaBIOS.
    Bios,
    /// OVMF without Secure Boot.
    Uefi,
    /// OVMF with Secure Boot on: it starts only what one of Microsoft's keys has signed.
    SecureBoot,
}

impl Firmware {
    /// Whether it is a form of UEFI.
    #[must_use]
    pub fn is_uefi(self) -> bool {
        self != Self::Bios
    }
}

/// Files and descriptors that a guest's QEMU is given.
#[derive(Debug, Clone)]
pub struct Files {
    /// Folder of SMBIOS tables and disks, see [`table_file`] and [`disk_file`].
    pub dir: PathBuf,
    /// OVMF's code and this guest's copy of its variables.
    pub uefi: Option<(PathBuf, PathBuf)>,
    /// Inherited socket of the monitor.
    pub qmp_fd: i32,
    /// Inherited socket of the first serial port.
    pub serial_fd: i32,
    /// Inherited sockets of wires, by the place of the port in [`Machine::nics`].
    pub wire_fds: BTreeMap<usize, i32>,
    /// Socket for a second monitor that others may connect to.
    pub qmp_socket: Option<PathBuf>,
    /// Ways into the guest.
    pub forwards: Vec<Forward>,
}

/// SMBIOS table of the memory array (`None`) or of a slot.
#[must_use]
pub fn table_file(dir: &Path, slot: Option<usize>) -> PathBuf {
    dir.join(slot.map_or_else(|| "array.smbios".into(), |n| format!("slot{n}.smbios")))
}

/// Image of a disk, by its place in [`Machine::disks`].
#[must_use]
pub fn disk_file(dir: &Path, index: usize) -> PathBuf {
    dir.join(format!("disk{index}.raw"))
}

/// What was written to a disk.
#[must_use]
pub fn trap_file(dir: &Path, index: usize) -> PathBuf {
    dir.join(format!("disk{index}.written"))
}

/// Socket of the emulated TPM.
#[must_use]
pub fn tpm_socket(dir: &Path) -> PathBuf {
    dir.join("tpm.socket")
}

/// Socket on which QEMU awaits a BMC that is not its own.
#[must_use]
pub fn bmc_socket(dir: &Path) -> PathBuf {
    dir.join("bmc.socket")
}

/// QEMU's id of a network port, by its place in [`Machine::nics`].
#[must_use]
pub fn nic_id(index: usize) -> String {
    format!("nic{index}")
}

/// All arguments. The guest starts paused, so that cables can be pulled before it looks.
#[must_use]
pub fn arguments(machine: &Machine, boot: &Boot, accel: Accel, files: &Files) -> Vec<OsString> {
    let mut line = Line::default();
    line.add("-nodefaults", "");
    line.add("-display", "none");
    line.add("-S", "");
    let secure = boot.firmware == Firmware::SecureBoot;
    line.add("-machine", if secure { "q35,smm=on" } else { "q35" });
    if secure {
        // Only the firmware itself may change its variables.
        line.add("-global", "driver=cfi.pflash01,property=secure,value=on");
    }
    // One thread for all emulated processors: with one for each, QEMU before 8.1 is reported to run code that another
    // processor has just patched as it was before. A guest that died in its second second is laid to that.
    line.add("-accel", if accel == Accel::Kvm { "kvm" } else { "tcg,thread=single" });
    if accel == Accel::Counted {
        // Two to the power of one nanosecond for each instruction; when all processors sleep, the clock leaps.
        line.add("-icount", "shift=1,sleep=off");
    }
    let cpu = if accel == Accel::Kvm { "host" } else { "max,la57=off" };
    line.add("-cpu", &format!("{cpu}{}", if machine.physical { ",hypervisor=off" } else { "" }));
    line.add("-vga", "std");
    line.add("-object", "rng-random,id=entropy,filename=/dev/urandom");
    line.add("-device", "virtio-rng-pci,rng=entropy");
    sockets(&mut line, files);
    processors(&mut line, machine);
    firmware(&mut line, machine, files);
    medium(&mut line, boot);
    disks(&mut line, machine, files);
    if machine.tpm {
        line.add_path("-chardev", "socket,id=tpm,path=", &tpm_socket(&files.dir));
        line.add("-tpmdev", "emulator,id=tpm0,chardev=tpm");
        line.add("-device", "tpm-tis,tpmdev=tpm0");
    }
    if let Some(bmc) = &machine.bmc {
        service_processor(&mut line, bmc, files);
    }
    if let Some(clock) = &machine.clock {
        line.add("-rtc", &format!("base={}", escape(clock)));
    }
    nics(&mut line, machine, boot, files);
    line.0
}

/// Arguments so far.
#[derive(Default)]
struct Line(Vec<OsString>);

impl Line {
    /// An option, and its value unless that is empty.
    fn add(&mut self, option: &str, value: &str) {
        self.0.push(option.into());
        if !value.is_empty() {
            self.0.push(value.into());
        }
    }

    /// An option whose value ends in a path.
    fn add_path(&mut self, option: &str, value: &str, path: &Path) {
        let mut whole = OsString::from(value);
        whole.push(escape(&path.to_string_lossy()));
        self.0.push(option.into());
        self.0.push(whole);
    }
}

/// QEMU ends a value at a comma unless it is doubled.
fn escape(value: &str) -> String {
    value.replace(',', ",,")
}

fn sockets(line: &mut Line, files: &Files) {
    line.add("-chardev", &format!("socket,id=monitor,fd={}", files.qmp_fd));
    line.add("-mon", "chardev=monitor,mode=control");
    line.add("-chardev", &format!("socket,id=console,fd={}", files.serial_fd));
    line.add("-serial", "chardev:console");
    if let Some(socket) = &files.qmp_socket {
        line.add_path("-qmp", "unix:", socket);
        if let Some(value) = line.0.last_mut() {
            value.push(",server=on,wait=off");
        }
    }
}

fn processors(line: &mut Line, machine: &Machine) {
    let Machine { memory_mib, cpus, sockets, numa_nodes, .. } = machine;
    line.add("-m", &format!("{memory_mib}M"));
    line.add("-smp", &format!("cpus={cpus},sockets={sockets},cores={},threads=1", cpus / sockets));
    for node in 0..*numa_nodes {
        let (share, each) = (cpus / numa_nodes, memory_mib / u64::from(*numa_nodes));
        let (first, last) = (node * share, (node + 1) * share - 1);
        line.add("-object", &format!("memory-backend-ram,id=ram{node},size={each}M"));
        line.add("-numa", &format!("node,nodeid={node},cpus={first}-{last},memdev=ram{node}"));
    }
}

fn firmware(line: &mut Line, machine: &Machine, files: &Files) {
    if let Some((code, variables)) = &files.uefi {
        line.add_path("-drive", "if=pflash,unit=0,format=raw,readonly=on,file=", code);
        line.add_path("-drive", "if=pflash,unit=1,format=raw,file=", variables);
    }
    let groups = [machine.bios.given(), machine.system.given(), machine.board.given(), machine.chassis.given()];
    for (kind, strings) in groups.into_iter().enumerate().filter(|(_, strings)| !strings.is_empty()) {
        let strings: Vec<String> = strings.iter().map(|(name, value)| format!("{name}={}", escape(value))).collect();
        line.add("-smbios", &format!("type={kind},{}", strings.join(",")));
    }
    if !machine.dimms.is_empty() {
        line.add_path("-smbios", "file=", &table_file(&files.dir, None));
        for slot in 0..machine.dimms.len() {
            line.add_path("-smbios", "file=", &table_file(&files.dir, Some(slot)));
        }
    }
}

fn medium(line: &mut Line, boot: &Boot) {
    match &boot.medium {
        Medium::Cd(image) => {
            line.add_path("-drive", "if=none,id=medium,format=raw,media=cdrom,readonly=on,file=", image);
            line.add("-device", "ide-cd,id=cd,drive=medium,bus=ide.0,bootindex=0");
        }
        Medium::Usb(image) => {
            line.add_path("-drive", "if=none,id=medium,format=raw,readonly=on,file=", image);
            line.add("-device", "qemu-xhci");
            line.add("-device", "usb-storage,id=stick,drive=medium,removable=on,bootindex=0");
        }
        // SeaBIOS shows what iPXE says on the serial port too; OVMF does so by itself.
        Medium::Network(_) if boot.firmware == Firmware::Bios => line.add("-machine", "graphics=off"),
        Medium::Network(_) => {}
    }
}

fn service_processor(line: &mut Line, bmc: &Bmc, files: &Files) {
    if bmc.port.is_some() {
        // One that is there when QEMU makes the device lets QEMU 7.2 crash.
        line.add_path("-chardev", "socket,id=bmc,server=on,wait=off,path=", &bmc_socket(&files.dir));
        line.add("-device", "ipmi-bmc-extern,id=bmc0,chardev=bmc");
    } else {
        let (major, minor, guid) = (bmc.firmware.0, bmc.minor(), escape(&bmc.guid));
        line.add("-device", &format!("ipmi-bmc-sim,id=bmc0,fwrev1={major},fwrev2={minor},guid={guid}"));
    }
    line.add("-device", "isa-ipmi-kcs,bmc=bmc0");
}

/// A drive that notes what is written to it.
fn drive(line: &mut Line, index: usize, files: &Files) {
    let begin = format!("if=none,id=disk{index},driver=blklogwrites,discard=unmap,file.driver=raw,file.file.filename=");
    line.add_path("-drive", &begin, &disk_file(&files.dir, index));
    if let Some(value) = line.0.last_mut() {
        value.push(",log.driver=file,log.filename=");
        value.push(escape(&trap_file(&files.dir, index).to_string_lossy()));
    }
}

fn disks(line: &mut Line, machine: &Machine, files: &Files) {
    for (bus, controller) in
        [(Bus::Scsi, "megasas,id=raid"), (Bus::Sas, "mptsas1068,id=sas"), (Bus::Usb, "qemu-xhci,id=xhci")]
    {
        if machine.disks.iter().any(|d| d.bus == bus) {
            line.add("-device", controller);
        }
    }
    let mut ports = 1..;
    for (index, disk) in machine.disks.iter().enumerate() {
        drive(line, index, files);
        let serial = escape(&disk.serial);
        let wwn = disk.wwn.as_ref().map(|w| format!(",wwn=0x{w}")).unwrap_or_default();
        let device = match disk.bus {
            Bus::Nvme => {
                let eui = disk.wwn.as_ref().map(|w| format!(",eui64=0x{w}")).unwrap_or_default();
                line.add("-device", &format!("nvme,id=nvme{index},serial={serial}"));
                format!("nvme-ns,bus=nvme{index},drive=disk{index}{eui}")
            }
            Bus::Virtio => format!("virtio-blk-pci,drive=disk{index},serial={serial}"),
            Bus::Scsi => format!("scsi-hd,bus=raid.0,drive=disk{index},serial={serial}{wwn}"),
            Bus::Sas => format!("scsi-hd,bus=sas.0,drive=disk{index},serial={serial}{wwn}"),
            Bus::Usb => format!("usb-storage,bus=xhci.0,drive=disk{index},serial={serial}"),
            Bus::Sata => {
                let port = ports.next().unwrap_or(1);
                format!("ide-hd,bus=ide.{port},drive=disk{index},serial={serial}{wwn}")
            }
        };
        // Behind the medium. OVMF forgets devices that have no place in the order.
        line.add("-device", &format!("{device},bootindex={}", index + 1));
    }
}

/// Each port has a network of its own, so that addresses differ; the first has QEMU's usual one with the host at
/// 10.0.2.2. It is also the one that is booted from and that leads into the guest.
fn nics(line: &mut Line, machine: &Machine, boot: &Boot, files: &Files) {
    for (index, nic) in machine.nics.iter().enumerate() {
        let (id, net) = (nic_id(index), index + 2);
        let model = match nic.model {
            NicModel::E1000 => "e1000",
            NicModel::E1000e => "e1000e",
            NicModel::Igb => "igb",
            NicModel::Virtio => "virtio-net-pci",
            NicModel::Vmxnet3 => "vmxnet3",
        };
        let mut network = format!("user,id=net{index},net=10.0.{net}.0/24");
        // Without its boot ROM a port delays no boot from a medium.
        let mut rom = ",romfile=";
        if index == 0 {
            for Forward { here, guest } in &files.forwards {
                let _ = write!(network, ",hostfwd=tcp:127.0.0.1:{here}-:{guest}");
            }
            if let Medium::Network(script) = &boot.medium {
                let _ = write!(network, ",bootfile={}", escape(script));
                rom = ",bootindex=0";
            }
        }
        if let Some(fd) = files.wire_fds.get(&index) {
            // A hub with three plugs: the network, the wire's other end, the port.
            line.add("-netdev", &network.replacen(&format!("id=net{index}"), &format!("id=lan{index}"), 1));
            line.add("-netdev", &format!("socket,id=wire{index},fd={fd}"));
            line.add("-netdev", &format!("hubport,id=hub{index}a,hubid={index},netdev=lan{index}"));
            line.add("-netdev", &format!("hubport,id=hub{index}b,hubid={index},netdev=wire{index}"));
            network = format!("hubport,id=net{index},hubid={index}");
        }
        line.add("-netdev", &network);
        let mut bus = String::new();
        if let Some(Slot { lanes, speed_gts }) = nic.slot {
            let number = index + 1;
            let slot = format!("pcie-root-port,id=slot{index},chassis={number},slot={number}");
            line.add("-device", &format!("{slot},x-width={lanes},x-speed={speed_gts}"));
            bus = format!(",bus=slot{index}");
        }
        line.add("-device", &format!("{model},id={id},netdev=net{index},mac={}{rom}{bus}", nic.mac));
    }
}

#[cfg(test)]
mod tests;
