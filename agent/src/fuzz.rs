//! What is fuzzed of the agent: each parser of bytes from outside by a name, with the function beside the parser that says what
//! must be true of it, and folders or files of the work tree that have examples.
//!
//! `cargo xtask fuzz` runs them guided by coverage; the test below runs what that has found, and changes of it.

use crate::{checkin, cmdline, control, devices, ext, facts, init, net, settings, tls, units};

/// Name, what is checked of any bytes, and where examples are.
pub type Target = (&'static str, fn(&[u8]), &'static [&'static str]);

/// All of them.
pub const TARGETS: &[Target] = &[
    ("ata_health", facts::health::ata::fuzz, &[]),
    ("cpu_texts", facts::cpu::fuzz, &[]),
    ("dhcp_frame", net::dhcp::frame::fuzz, &[]),
    ("dhcp_lease", net::dhcp::lease::fuzz, &[]),
    ("dns_answer", net::dns::fuzz, &[]),
    ("dns_names", net::names::fuzz, &[]),
    ("ethtool", facts::ethtool::fuzz, &[]),
    ("gpu_texts", facts::gpu::fuzz, &[]),
    ("ipmi", facts::bmc::message::fuzz, &[]),
    ("kernel_line", cmdline::fuzz, &[]),
    ("kernel_log", devices::kmsg::fuzz, &[]),
    ("lldp", net::lldp::hearing::fuzz, &[]),
    ("module_lists", devices::table::fuzz, &[]),
    ("module_pattern", devices::pattern::fuzz, &[]),
    ("netlink", net::netlink::fuzz, &[]),
    ("nvme_health", facts::health::nvme::fuzz, &[]),
    ("pci_texts", facts::pci::fuzz, &[]),
    ("place", facts::place::fuzz, &[]),
    ("posted_config", control::push::fuzz, &["wire/golden/v1"]),
    ("scsi_health", facts::health::scsi::fuzz, &[]),
    ("server_answer", checkin::verdict::fuzz, &[]),
    ("settings", settings::fuzz, &["wire/golden/v1"]),
    ("smbios", facts::record::table::fuzz, &[]),
    ("socket_table", control::peer::fuzz, &[]),
    ("squashfs_head", ext::squashfs::fuzz, &[]),
    ("tls_pem", tls::fuzz, &[]),
    ("tpm", facts::tpm::message::fuzz, &[]),
    ("transceiver", facts::transceiver::fuzz, &[]),
    ("uevent", devices::uevent::fuzz, &[]),
    ("unit_file", units::file::fuzz, &["rootfs-overlay"]),
    ("unit_output", init::output::fuzz, &[]),
    ("vpd", facts::vpd::fuzz, &[]),
];

#[cfg(test)]
mod tests {
    #[test]
    fn every_parser_keeps_its_promises_on_the_corpus_and_on_changes_of_it() {
        mk_tests::fuzz::check(super::TARGETS);
    }
}
