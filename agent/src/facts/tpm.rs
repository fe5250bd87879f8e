//! Trusted platform module: `/sys/class/tpm`. Presence and version only; the chip itself is not asked.

use wire::inventory::Tpm;

use super::collector::Found;
use crate::tree::Tree;

const TPM: &str = "/sys/class/tpm";

pub(super) fn collect(tree: &Tree) -> anyhow::Result<Found> {
    let tpm = tree.names(TPM).first().map(|name| read(tree, name));
    Ok(Found::new(|stable, _| stable.tpm = tpm))
}

fn read(tree: &Tree, name: &str) -> Tpm {
    let dir = format!("{TPM}/{name}");
    let version = tree.number(format!("{dir}/tpm_version_major"));
    // Only a chip of version 1.2 lists its capabilities in a file.
    let caps = tree.text(format!("{dir}/device/caps")).or_else(|| tree.text(format!("{dir}/caps")));
    let caps = caps.unwrap_or_default();
    Tpm {
        version: match version {
            Some(2) => Some("2.0".to_owned()),
            Some(1) => Some("1.2".to_owned()),
            _ => (!caps.is_empty()).then(|| "1.2".to_owned()),
        },
        manufacturer: value(&caps, "Manufacturer").and_then(vendor),
        firmware: value(&caps, "Firmware version").map(str::to_owned),
        ..Tpm::default()
    }
}

/// Value of a line `Key: value`.
fn value<'a>(caps: &'a str, key: &str) -> Option<&'a str> {
    caps.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':')).map(str::trim)
}

/// Four letters of a manufacturer id such as `0x49465800`.
fn vendor(id: &str) -> Option<String> {
    let bytes = u32::from_str_radix(id.strip_prefix("0x")?, 16).ok()?.to_be_bytes();
    let text: String = bytes.iter().filter(|b| b.is_ascii_graphic()).map(|b| char::from(*b)).collect();
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_of_version_1() {
        let caps = "Manufacturer: 0x49465800\nTCG version: 1.2\nFirmware version: 3.17\n";
        assert_eq!(value(caps, "Manufacturer").and_then(vendor).as_deref(), Some("IFX"));
        assert_eq!(value(caps, "Firmware version"), Some("3.17"));
        assert_eq!(value(caps, "Firm"), None);
        assert_eq!(vendor("0xzz"), None);
        assert_eq!(vendor("0x00000000"), None);
    }
}
