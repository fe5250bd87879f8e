//! USB devices but the root hubs: `/sys/bus/usb/devices`.

use wire::inventory::UsbDevice;

use super::collector::Found;
use crate::tree::Tree;

const DEVICES: &str = "/sys/bus/usb/devices";

pub(super) fn collect(tree: &Tree) -> anyhow::Result<Found> {
    // `1-2` is a device, `1-2:1.0` one of its interfaces, `usb1` a root hub.
    let is_device = |name: &&String| name.contains('-') && !name.contains(':');
    let devices: Vec<UsbDevice> = tree.names(DEVICES).iter().filter(is_device).filter_map(|n| read(tree, n)).collect();
    Ok(Found::new(|stable, _| stable.usb = devices))
}

fn read(tree: &Tree, path: &str) -> Option<UsbDevice> {
    let text = |file: &str| tree.text(format!("{DEVICES}/{path}/{file}"));
    Some(UsbDevice {
        path: path.to_owned(),
        id: format!("{}:{}", text("idVendor")?, text("idProduct")?),
        manufacturer: text("manufacturer"),
        product: text("product"),
        serial: text("serial"),
        class: text("bDeviceClass"),
    })
}
