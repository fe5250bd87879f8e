//! The real razor-el-mk client against this server, where `MK_RAZOR_EL_MK` names its checkout. It needs ruby and facter.
//!
//! The client asks Facter 2 for a file that Facter 4 no longer has and that it does not use; an empty one stands in.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::json;

use crate::support::Server;

/// Names the checkout.
const CHECKOUT: &str = "MK_RAZOR_EL_MK";

/// Runs `mk register` with the check-in URL that a boot would put on its kernel line.
fn register(checkout: &Path, beside: &Path, url: &str) -> Output {
    let mut command = Command::new("timeout");
    command.args(["120", "ruby"]).arg(checkout.join("bin/mk")).arg("register");
    command.env("RUBYLIB", beside).env("razor.register", url).env("razor.commands", beside.join("commands"));
    command.output().unwrap()
}

#[tokio::test]
async fn the_real_client_of_the_original_checks_in() {
    let Some(checkout) = std::env::var_os(CHECKOUT) else {
        mk_tests::skip_even_there(&format!("{CHECKOUT} names no checkout of razor-el-mk"));
        return;
    };
    let server = Server::start("protect_new_nodes = true\n");
    let beside = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(beside.path().join("facter/util")).unwrap();
    std::fs::write(beside.path().join("facter/util/ip.rb"), "").unwrap();
    // What the server orders, the client runs by its name.
    let ordered = beside.path().join("ordered");
    std::fs::create_dir(beside.path().join("commands")).unwrap();
    let reboot = beside.path().join("commands/reboot");
    std::fs::write(&reboot, format!("#!/bin/sh\necho reboot >> {}\n", ordered.display())).unwrap();
    std::fs::set_permissions(&reboot, std::fs::Permissions::from_mode(0o755)).unwrap();

    let ports = std::fs::read_dir("/sys/class/net").unwrap().map(|entry| entry.unwrap().path());
    let address = |port: &Path| std::fs::read_to_string(port.join("address")).unwrap_or_default().trim().to_owned();
    let mac = ports.filter(|port| port.join("device").exists()).map(|port| address(&port)).min().unwrap();
    let id = server.boot(&format!("net0={mac}")).await.unwrap();
    let checkout = Path::new(&checkout);
    let output = register(checkout, beside.path(), &format!("{}/svc/checkin/{id}", server.url));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(std::fs::read_to_string(&ordered).unwrap(), "reboot\n", "a protected node is told to reboot");
    let node = server.node(id).await;
    assert!(node["facts"]["macaddress"].is_string() && node["last_checkin"].is_string(), "{node}");
    assert_eq!(node["identity"]["state"], json!("normal"));

    let unknown = register(checkout, beside.path(), &format!("{}/svc/checkin/99", server.url));
    assert!(!unknown.status.success(), "an id that was never given is refused");
    assert!(String::from_utf8_lossy(&unknown.stdout).contains("404"), "in the way that it expects");
}
