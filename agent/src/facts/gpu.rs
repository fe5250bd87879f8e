//! What display and compute controllers tell beyond other PCI functions. Input: the sizes of their memory windows, in
//! `/sys/bus/pci/devices/*/resource`; what only a driver knows, in amdgpu's files beside it or in NVIDIA's
//! `/proc/driver/nvidia/gpus/*/information`. Sizes are bytes. Without one of these two drivers the windows are all there is.

use wire::inventory::{Gpu, PciDevice};

use super::pci;
use crate::tree::Tree;

/// First two digits of the class: display controllers, processing accelerators.
const CLASSES: [&str; 2] = ["03", "12"];
const NVIDIA: &str = "/proc/driver/nvidia/gpus";
/// Lines of `resource` that are windows; the ones after them are the ROM and those of virtual functions.
const WINDOWS: usize = 6;
/// The kernel's flag of a window that is memory, not I/O ports.
const MEMORY: u64 = 0x200;

/// `None` for other devices, and where nothing is known.
pub(super) fn read(tree: &Tree, device: &PciDevice) -> Option<Gpu> {
    if !CLASSES.iter().any(|class| device.class.starts_with(class)) {
        return None;
    }
    let address = &device.address;
    let text = |file: &str| tree.text(format!("{}/{address}/{file}", pci::DEVICES));
    let information = tree.text(format!("{NVIDIA}/{address}/information")).unwrap_or_default();
    let gpu = Gpu {
        windows_bytes: text("resource").unwrap_or_default().lines().take(WINDOWS).filter_map(window).collect(),
        vbios: text("vbios_version").or_else(|| told(&information, "Video BIOS")),
        serial: text("serial_number"),
        unique_id: text("unique_id").or_else(|| uuid(&information)),
    };
    (gpu != Gpu::default()).then_some(gpu)
}

/// The chip's UUID in NVIDIA's text.
pub(super) fn uuid(information: &str) -> Option<String> {
    told(information, "GPU UUID")
}

/// A value of NVIDIA's text, in which question marks stand for what the driver has not read yet.
fn told(information: &str, key: &str) -> Option<String> {
    let value = information.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?.trim();
    (!value.is_empty() && !value.contains('?')).then(|| value.to_owned())
}

/// Bytes of a window that is memory, of its line of first address, last address and flags.
fn window(line: &str) -> Option<u64> {
    let mut numbers = line.split(' ').map(|number| u64::from_str_radix(number.trim_start_matches("0x"), 16).ok());
    let (first, last, flags) = (numbers.next()??, numbers.next()??, numbers.next()??);
    (flags & MEMORY != 0).then(|| last.checked_sub(first)?.checked_add(1))?
}

/// For the fuzzer: the drivers' texts about a device.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let _ = (uuid(&text), text.lines().filter_map(window).count());
}

#[cfg(test)]
pub(super) mod tests {
    use std::fs;
    use std::path::Path;

    use proptest::prelude::*;
    use wire::inventory::{Stable, Volatile};

    use super::*;

    /// A card as its driver's text has it, after the driver has read it.
    pub(crate) const INFORMATION: &str = "Model: \t\t Tesla T4\nIRQ:   \t\t 130\n\
        GPU UUID: \t GPU-5a6b7c8d-1e2f-3a4b-5c6d-7e8f90a1b2c3\nVideo BIOS: \t 90.04.38.00.03\nBus Type: \t PCIe\n";
    const UNREAD: &str = "GPU UUID: \t GPU-????????-????-????-????-????????????\nVideo BIOS: \t ??.??.??.??.??\n";
    /// Two windows of 64 bits, one of I/O ports, one of 32 bits, the ROM.
    const RESOURCE: &str = "\
        0x0000380000000000 0x00003807ffffffff 0x000000000014220c\n0x0000000000000000 0x0000000000000000 0x0000000000000000\n\
        0x0000380800000000 0x00003808001fffff 0x000000000014220c\n0x0000000000000000 0x0000000000000000 0x0000000000000000\n\
        0x0000000000003000 0x00000000000030ff 0x0000000000040101\n0x00000000c6000000 0x00000000c607ffff 0x0000000000040200\n\
        0x00000000c6080000 0x00000000c609ffff 0x0000000000046200\n";

    /// Writes files of a PCI function of a class.
    pub(crate) fn device(root: &Path, address: &str, class: &str, files: &[(&str, &str)]) {
        let dir = root.join(&pci::DEVICES[1..]).join(address);
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("uevent"), format!("PCI_CLASS={class}\nPCI_ID=1002:738C\n")).unwrap();
        files.iter().for_each(|(file, text)| fs::write(dir.join(file), text).unwrap());
    }

    /// Writes what NVIDIA's driver tells of a card.
    pub(crate) fn nvidia(root: &Path, address: &str, information: &str) {
        let dir = root.join(&NVIDIA[1..]).join(address);
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("information"), information).unwrap();
    }

    /// What the inventory has of each PCI function below a folder.
    fn gpus(root: &Path) -> Vec<Option<Gpu>> {
        let mut stable = Stable::default();
        pci::collect(&Tree::at(root)).unwrap().put(&mut stable, &mut Volatile::default());
        stable.pci.into_iter().map(|device| device.gpu).collect()
    }

    #[test]
    fn what_each_driver_tells_of_its_cards() {
        let dir = tempfile::tempdir().unwrap();
        let amd = [
            ("resource", RESOURCE),
            ("vbios_version", "113-D3431500-100\n"),
            ("serial_number", "692231000131\n"),
            ("unique_id", "18ba41c2d3e4f506\n"),
        ];
        device(dir.path(), "0000:03:00.0", "120000", &amd);
        device(dir.path(), "0000:04:00.0", "30200", &[]);
        nvidia(dir.path(), "0000:04:00.0", INFORMATION);
        device(dir.path(), "0000:05:00.0", "30000", &[("resource", RESOURCE)]);
        nvidia(dir.path(), "0000:05:00.0", UNREAD);
        // A display without anything, and a port with the same file.
        device(dir.path(), "0000:06:00.0", "30000", &[]);
        device(dir.path(), "0000:07:00.0", "20000", &[("resource", RESOURCE)]);
        let text = |text: &str| Some(text.to_owned());
        let windows_bytes = vec![32 << 30, 2 << 20, 512 << 10];
        let amd = Gpu {
            windows_bytes: windows_bytes.clone(),
            vbios: text("113-D3431500-100"),
            serial: text("692231000131"),
            unique_id: text("18ba41c2d3e4f506"),
        };
        let nvidia = Gpu {
            vbios: text("90.04.38.00.03"),
            unique_id: text("GPU-5a6b7c8d-1e2f-3a4b-5c6d-7e8f90a1b2c3"),
            ..Gpu::default()
        };
        let unread = Gpu { windows_bytes, ..Gpu::default() };
        assert_eq!(gpus(dir.path()), [Some(amd), Some(nvidia), Some(unread), None, None]);
    }

    #[test]
    fn windows_that_are_none() {
        for line in ["", "0x0 0xff", "0x0 0xff x", "0x100 0xff 0x200", "0x0 0xffffffffffffffff 0x200", "0x0 0xff 0x101"]
        {
            assert_eq!(window(line), None, "{line}");
        }
        assert_eq!(window("0xe0000000 0xefffffff 0x40200"), Some(256 << 20));
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in "[\\PC\n:?]{0,80}", line in "[0-9a-fx ]{0,60}") {
            uuid(&text);
            uuid(&format!("GPU UUID:{text}"));
            window(&line);
        }
    }
}
