//! Memory as the kernel sees it, and its load: `/proc/meminfo`, `/proc/loadavg`. Modules are read by `dimm`.

use super::collector::Found;
use crate::tree::Tree;

pub(super) fn collect(tree: &Tree) -> anyhow::Result<Found> {
    let meminfo = tree.text("/proc/meminfo").unwrap_or_default();
    let (usable, available) = (bytes(&meminfo, "MemTotal"), bytes(&meminfo, "MemAvailable"));
    let load1 = tree.text("/proc/loadavg").and_then(|text| text.split(' ').next()?.parse::<f64>().ok());
    Ok(Found::new(move |_, volatile| {
        volatile.memory_usable_bytes = usable;
        volatile.memory_available_bytes = available;
        volatile.load1 = load1.filter(|load| load.is_finite());
    }))
}

/// Value of a line such as `MemTotal:       24682416 kB`, in bytes.
fn bytes(meminfo: &str, key: &str) -> Option<u64> {
    let value = meminfo.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    value.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_in_bytes() {
        let text = "MemTotal:       24682416 kB\nMemAvailable:   100 kB\nHugePages_Total:       0\n";
        assert_eq!(bytes(text, "MemTotal"), Some(24_682_416 * 1024));
        assert_eq!(bytes(text, "MemAvailable"), Some(102_400));
        assert_eq!(bytes(text, "HugePages_Total"), None);
        assert_eq!(bytes(text, "Mem"), None);
    }
}
