//! Unit `net`: brings all ports of the machine up, gets addresses and looks for a server.

use crate::nic;
use crate::state::{Net, Port, Published as _};
use crate::tree::Tree;

/// Runs the unit until it is told to stop.
///
/// # Errors
/// What failed, on what.
pub(crate) fn run() -> anyhow::Result<()> {
    let ports = nic::ports(&Tree::live()).into_iter().map(|p| Port { name: p.name, key: p.key, ..Port::default() });
    Net { ports: ports.collect(), ..Net::default() }.publish()
}
