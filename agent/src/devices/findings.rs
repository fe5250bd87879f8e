//! What should be there and is not: devices without a driver, drivers without their firmware. Pure: what the unit knows
//! comes in, findings for the inventory come out, in a stable order, since the server compares them between boots.

use std::collections::BTreeMap;

use wire::inventory::Finding;

use super::coldplug::{Device, PciClass, device_id, pci_class};
use super::database::Database;
use super::firmware::{Owner, Owners};
use super::kmsg::MissingFirmware;

/// Buses whose devices are parts of the machine. What firmware and kernel invent besides (platform, ACPI, …) would only
/// hide the rest.
const HARDWARE: [&str; 5] = ["pci", "usb", "virtio", "vmbus", "xen"];

/// All findings of a machine.
pub(crate) fn findings<'a>(
    devices: &[Device],
    database: &Database,
    failed: &BTreeMap<String, String>,
    firmware: impl IntoIterator<Item = &'a MissingFirmware>,
    owners: &Owners,
) -> Vec<Finding> {
    let without = devices.iter().filter(|d| !d.bound && HARDWARE.contains(&d.bus.as_str()));
    let mut found: Vec<Finding> = without.filter_map(|d| driver(d, database, failed)).collect();
    found.extend(firmware.into_iter().map(|missing| no_firmware(missing, owners.of(&missing.file))));
    found.sort_by(|a, b| (&a.component, &a.code, &a.file).cmp(&(&b.component, &b.code, &b.file)));
    found.dedup();
    found
}

/// Why a device has no driver, if that is worth telling.
fn driver(device: &Device, database: &Database, failed: &BTreeMap<String, String>) -> Option<Finding> {
    let what = describe(device);
    let modules = database.serving(&device.modalias);
    let names = || modules.iter().map(String::as_str);
    if let Some((module, reason)) = names().find_map(|m| Some((m, failed.get(m)?))) {
        let missing = database.file(module).filter(|file| !file.exists());
        if let Some(reason) = database.denied(module) {
            return Some(finding("no_driver", device, format!("{what} is left without its driver {module}: {reason}")));
        }
        let code = if missing.is_some() { "no_driver" } else { "driver_failed" };
        let mut found = finding(code, device, format!("{what} has no driver: module {module} did not load: {reason}"));
        found.file = missing.map(|file| file.display().to_string());
        return Some(found);
    }
    let matters = matches!(pci_class(&device.modalias), Some(PciClass::Storage | PciClass::Network));
    match names().next() {
        _ if !matters => None,
        None => Some(finding("no_driver", device, format!("{what} has no driver: no module in this image serves it"))),
        Some(module) => {
            let text =
                format!("{what} has no driver: module {module} is loaded but did not take it, see the kernel's log");
            Some(finding("driver_failed", device, text))
        }
    }
}

fn describe(device: &Device) -> String {
    let kind = match (device.bus.as_str(), pci_class(&device.modalias)) {
        (_, Some(PciClass::Storage)) => "storage controller",
        (_, Some(PciClass::Network)) => "network controller",
        ("usb", _) => "USB interface",
        _ => "device",
    };
    let id = device_id(&device.modalias).map(|id| format!(" {id}")).unwrap_or_default();
    format!("{kind}{id} at {}", device.name)
}

fn finding(code: &str, device: &Device, text: String) -> Finding {
    Finding { code: code.to_owned(), component: device.name.clone(), text, ..Finding::default() }
}

/// The driver asks once, when it is loaded: what helps is another image.
fn no_firmware(missing: &MissingFirmware, owner: Option<Owner<'_>>) -> Finding {
    let MissingFirmware { file, device, errno } = missing;
    let why = match (owner, errno) {
        (Some(Owner::Image(name)), -2) => format!("it is in this image's {name}, which is not loaded"),
        (Some(Owner::TinyCore(name)), -2) => format!("it is not in this image; Tiny Core's {name} has it"),
        (None, -2) => "it is not in this image".to_owned(),
        _ => format!("error {errno}"),
    };
    Finding {
        code: "no_firmware".to_owned(),
        component: device.clone(),
        text: format!("{device} asked for firmware {file} and did not get it: {why}"),
        file: Some(file.clone()),
        extension: owner.map(|owner| owner.name().to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::database::tests::sample;
    use super::*;

    fn device(bus: &str, name: &str, modalias: &str) -> Device {
        Device { bus: bus.into(), name: name.into(), modalias: modalias.into(), bound: false }
    }

    #[test]
    fn each_kind_of_absence_is_told_apart() {
        let (dir, database) = sample();
        std::fs::create_dir(dir.path().join("kernel")).unwrap();
        std::fs::write(dir.path().join("kernel/bnx2.ko"), "").unwrap();
        let mut bound = device("pci", "0000:00:00.0", "pci:v00001234d00005678sv0sd0bc02sc00i00");
        bound.bound = true;
        let devices = [
            bound,
            device("pci", "0000:01:00.0", "pci:v00008086d000010D3sv00000000sd00000000bc02sc00i00"),
            device("pci", "0000:02:00.0", "pci:v000014E4d00001639sv00000000sd00000000bc02sc00i00"),
            device("pci", "0000:03:00.0", "pci:v00001234d00005678sv00000000sd00000000bc01sc07i00"),
            device("pci", "0000:04:00.0", "pci:v00008086d00002918sv00000000sd00000000bc06sc01i00"),
            device("pci", "0000:05:00.0", "pci:v00001234d00001111sv00000000sd00000000bc03sc00i00"),
            device("platform", "serial8250", "platform:serial8250"),
        ];
        let reason = |text: &str| text.to_owned();
        let failed = BTreeMap::from([
            ("e1000e".to_owned(), reason("cannot open module")),
            ("iTCO_wdt".to_owned(), reason("denied")),
        ]);
        let firmware = MissingFirmware { file: "bnx2/x.fw".into(), device: "0000:02:00.0".into(), errno: -2 };
        let found = findings(&devices, &database, &failed, [&firmware, &firmware], &Owners::default());
        let short: Vec<_> = found.iter().map(|f| (f.code.as_str(), f.component.as_str())).collect();
        let expected = [
            ("no_driver", "0000:01:00.0"),
            ("driver_failed", "0000:02:00.0"),
            ("no_firmware", "0000:02:00.0"),
            ("no_driver", "0000:03:00.0"),
            ("no_driver", "0000:04:00.0"),
        ];
        assert_eq!(short, expected);
        assert!(found[0].file.as_deref().unwrap().ends_with("kernel/e1000e.ko"));
        assert_eq!(found[2].file.as_deref(), Some("bnx2/x.fw"));
        assert_eq!(found[2].extension.as_deref(), Some("firmware-broadcom_bnx2.tcz"));
        assert!(found[3].text.starts_with("storage controller 1234:5678 at 0000:03:00.0"), "{}", found[3].text);
        assert!(found[4].text.ends_with("iTCO_wdt: a watchdog resets the machine"), "{}", found[4].text);
    }

    #[test]
    fn missing_firmware_is_told_with_the_extension_that_has_it() {
        let owners = Owners::parse("bnx2/x.fw firmware-server.tcz\n");
        let said = |file: &str, errno| {
            let missing = MissingFirmware { file: file.into(), device: "0000:02:00.0".into(), errno };
            let found = no_firmware(&missing, owners.of(file));
            (found.text, found.extension.unwrap_or_default())
        };
        let (text, extension) = said("bnx2/x.fw", -2);
        assert!(text.contains("bnx2/x.fw") && text.ends_with("firmware-server.tcz, which is not loaded"), "{text}");
        assert_eq!(extension, "firmware-server.tcz");
        let (text, extension) = said("rtl_nic/rtl8168h-2.fw", -2);
        assert!(text.ends_with("not in this image; Tiny Core's firmware-rtl_nic.tcz has it"), "{text}");
        assert_eq!(extension, "firmware-rtl_nic.tcz");
        assert_eq!(said("odd.fw", -2).1, "");
        assert!(said("bnx2/x.fw", -12).0.ends_with("error -12"));
    }
}
