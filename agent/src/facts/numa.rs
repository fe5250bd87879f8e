//! NUMA nodes: `/sys/devices/system/node`.

use wire::inventory::NumaNode;

use super::collector::Found;
use crate::tree::Tree;

const NODE: &str = "/sys/devices/system/node";
/// The kernel's own share of a node's memory differs between boots; what is reported is rounded down to this.
const GRAIN: u64 = 64 * 1024 * 1024;

pub(super) fn collect(tree: &Tree) -> anyhow::Result<Found> {
    let mut nodes: Vec<NumaNode> = tree
        .names(NODE)
        .iter()
        .filter_map(|name| name.strip_prefix("node")?.parse().ok())
        .map(|id| node(tree, id))
        .collect();
    nodes.sort_by_key(|n| n.id);
    Ok(Found::new(|stable, _| stable.numa = nodes))
}

fn node(tree: &Tree, id: u32) -> NumaNode {
    let dir = format!("{NODE}/node{id}");
    let distances = tree.text(format!("{dir}/distance")).unwrap_or_default();
    NumaNode {
        id,
        cpus: tree.text(format!("{dir}/cpulist")).unwrap_or_default(),
        memory_bytes: tree.text(format!("{dir}/meminfo")).and_then(|t| total(&t)).map(|bytes| bytes / GRAIN * GRAIN),
        distances: distances.split_whitespace().filter_map(|n| n.parse().ok()).collect(),
    }
}

/// Bytes of the line `Node 0 MemTotal: 16315340 kB`.
fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.split_once("MemTotal:"))?.1;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn total_of_a_node() {
        assert_eq!(total("Node 0 MemTotal:       16315340 kB\nNode 0 MemFree: 1 kB\n"), Some(16_315_340 * 1024));
        assert_eq!(total("Node 0 MemTotal: 18446744073709551615 kB\n"), None);
        assert_eq!(total("nothing"), None);
    }
}
