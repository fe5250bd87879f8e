//! Temperatures: `/sys/class/hwmon`, where drivers of processors, disks, ports and boards show their sensors.

use std::collections::BTreeMap;

use wire::inventory::Volatile;

use super::collector::Found;
use crate::nic::is_pci_address;
use crate::tree::Tree;

const HWMON: &str = "/sys/class/hwmon";
/// The kernel gives thousandths of a degree.
const PER_DEGREE: f64 = 1000.0;
/// Readings outside of this range, in degrees, are those of a sensor that is not connected.
const PLAUSIBLE: std::ops::RangeInclusive<f64> = -60.0..=200.0;

pub(super) fn collect(tree: &Tree) -> anyhow::Result<Found> {
    let found = named(tree.names(HWMON).iter().flat_map(|chip| sensors(tree, chip)).collect());
    Ok(Found::new(|_, volatile: &mut Volatile| volatile.temperatures = found))
}

/// One reading.
#[derive(Debug, Clone, PartialEq)]
struct Sensor {
    /// Name of the driver, such as `coretemp`.
    chip: String,
    /// What the chip belongs to: a PCI address, else the kernel's name of the device.
    device: String,
    /// Label on the board or in the driver, else `tempN`.
    label: String,
    degrees: f64,
}

/// Temperatures of one chip.
fn sensors(tree: &Tree, entry: &str) -> Vec<Sensor> {
    let dir = format!("{HWMON}/{entry}");
    let chip = tree.text(format!("{dir}/name")).unwrap_or_else(|| entry.to_owned());
    let device = device(tree, &dir).unwrap_or_else(|| entry.to_owned());
    let one = |file: String| {
        let sensor = file.strip_suffix("_input").filter(|name| name.starts_with("temp"))?;
        let degrees = tree.text(format!("{dir}/{file}"))?.parse::<i32>().map(f64::from).ok()? / PER_DEGREE;
        let label = tree.text(format!("{dir}/{sensor}_label")).unwrap_or_else(|| sensor.to_owned());
        PLAUSIBLE.contains(&degrees).then(|| Sensor { chip: chip.clone(), device: device.clone(), label, degrees })
    };
    tree.names(&dir).into_iter().filter_map(one).collect()
}

/// The PCI function that the chip is on or below, else its own device: what it hangs on below `/sys/devices`.
fn device(tree: &Tree, dir: &str) -> Option<String> {
    let place = tree.resolve(dir)?;
    let names = place.ancestors().filter_map(|a| a.file_name()?.to_str());
    let names: Vec<&str> = names.filter(|name| !name.starts_with("hwmon")).collect();
    names.iter().find(|name| is_pci_address(name)).or(names.first()).map(|name| (*name).to_owned())
}

/// Readings by a name that stays: chip and label, and the device where several chips have that name.
fn named(sensors: Vec<Sensor>) -> BTreeMap<String, f64> {
    let several = |chip: &str| {
        let first = sensors.iter().find(|s| s.chip == chip).map(|s| &s.device);
        sensors.iter().any(|s| s.chip == chip && Some(&s.device) != first)
    };
    let name = |s: &Sensor| match several(&s.chip) {
        true => format!("{} {} {}", s.chip, s.device, s.label),
        false => format!("{} {}", s.chip, s.label),
    };
    sensors.iter().map(|s| (name(s), s.degrees)).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn sensors_have_names_that_stay() {
        let dir = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        for (n, (name, device)) in [
            ("coretemp", "platform/coretemp.0/hwmon"),
            ("nvme", "pci0000:00/0000:00:04.0/nvme/nvme0"),
            ("nvme", "pci0000:00/0000:00:05.0/nvme/nvme1"),
        ]
        .iter()
        .enumerate()
        {
            let chip = format!("sys/devices/{device}/hwmon{n}");
            put(&format!("{chip}/name"), &format!("{name}\n"));
            fs::create_dir_all(dir.path().join("sys/class/hwmon")).unwrap();
            symlink(dir.path().join(&chip), dir.path().join(format!("sys/class/hwmon/hwmon{n}"))).unwrap();
            put(&format!("{chip}/temp1_input"), &format!("{}\n", 41_500 + 1000 * n));
            put(&format!("{chip}/temp1_label"), if *name == "nvme" { "Composite\n" } else { "Package id 0\n" });
        }
        put("sys/class/hwmon/hwmon0/temp2_input", "-273150\n");
        put("sys/class/hwmon/hwmon0/temp3_input", "38000\n");
        put("sys/class/hwmon/hwmon0/temp1_crit", "100000\n");
        put("sys/class/hwmon/hwmon0/fan1_input", "1200\n");
        let tree = Tree::at(dir.path());
        let found = named(tree.names(HWMON).iter().flat_map(|chip| sensors(&tree, chip)).collect());
        let expected = [
            ("coretemp Package id 0", 41.5),
            ("coretemp temp3", 38.0),
            ("nvme 0000:00:04.0 Composite", 42.5),
            ("nvme 0000:00:05.0 Composite", 43.5),
        ];
        assert_eq!(found, expected.map(|(name, degrees)| (name.to_owned(), degrees)).into());
    }
}
