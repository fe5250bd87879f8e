//! `docs/FIRST-RACK.md`, carried out as it is written, by root on a copy of this machine: its files are written, its commands run, its
//! DHCP servers are asked as machines of each kind ask, and one machine boots, from firmware that knows PXE alone. Programs, image
//! and packages are found through `MK_SERVER_BIN`, `MKISO_BIN`, `MK_DIST` and `MK_GUIDE_PACKAGES`.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may fail loudly")]

mod page;
mod rack;

use mk_tests::limits;
use page::Block;
use rack::Rack;

/// The page.
const PAGE: &str = include_str!("../../../docs/FIRST-RACK.md");
/// What iPXE is to load.
const SCRIPT: &str = "http://10.0.0.1:8150/api/microkernel/bootstrap";
/// How machines ask, and what each is to be told: firmware by its kind, iPXE by its option 175 and its user class, and the microkernel.
const ASKED: [(&str, &str, Option<&str>); 5] = [
    ("BIOS", "-V PXEClient:Arch:00000:UNDI:002001 -x 0x5d:0000", Some("undionly.kpxe")),
    ("UEFI, byte code", "-V PXEClient:Arch:00007:UNDI:003001 -x 0x5d:0007", Some("snponly.efi")),
    ("UEFI, x86-64", "-V PXEClient:Arch:00009:UNDI:003001 -x 0x5d:0009", Some("snponly.efi")),
    ("iPXE", "-V PXEClient:Arch:00007:UNDI:003001 -x 0x5d:0007 -x 0x4d:69505845 -x 0xaf:010101", Some(SCRIPT)),
    ("microkernel", "", None),
];

#[test]
fn the_first_rack_is_set_up_as_the_guide_says() {
    let Some(mut rack) = Rack::new() else { return };
    for block in page::blocks(PAGE) {
        match block {
            Block::File { path, text } => rack.write(&path, &text),
            Block::Shell { tag, script } => {
                rack.run(&script);
                match tag.as_str() {
                    "" => continue,
                    "dhcp" => every_kind_is_told_what_it_needs(&mut rack),
                    "proxy" => boot(&mut rack),
                    other => panic!("nothing is known of blocks {other:?}"),
                }
                rack.stop_dhcp();
            }
        }
    }
    let mut accepted = || rack.node().is_some_and(|node| node["identity"]["state"] != "pending");
    assert!(accepted(), "{:?}", rack.node());
    let kept = rack.run("tar -tf /var/backups/razor/*.tar; ls /var/lib/mk-server-restored");
    assert!(kept.matches("mk-server.sqlite").count() >= 2, "{kept}");
    // What was brought back is the server's.
    let restored = rack.run("find /var/lib/mk-server-restored ! -user mk-server");
    assert_eq!(restored.trim(), "", "files of others");
}

fn every_kind_is_told_what_it_needs(rack: &mut Rack) {
    for (kind, asks, wanted) in ASKED {
        let told = rack.asks_for_an_address(asks);
        let file = told.split_whitespace().find_map(|word| word.strip_prefix("boot_file="));
        if let Some(wanted) = wanted {
            assert_eq!(file, Some(wanted), "{kind}: {told}");
        }
        assert!(told.contains("ip=10.0.0."), "{kind} has no address: {told}");
        let Some(file) = file else { continue };
        if file == SCRIPT {
            let script = rack.on_the_lan(&format!("busybox wget -q -O - {SCRIPT}"));
            assert!(script.starts_with("#!ipxe"), "{kind}: {script}");
        } else {
            assert!(told.contains("siaddr=10.0.0.1"), "{kind} does not know where {file} is: {told}");
            rack.on_the_lan(&format!(
                "busybox tftp -g -r {file} -l /tmp/{file} 10.0.0.1 && cmp /tmp/{file} /srv/tftp/{file}"
            ));
        }
    }
}

/// A machine is switched on whose DHCP server knows nothing of us, and waits to be accepted.
fn boot(rack: &mut Rack) {
    rack.on_the_lan("dnsmasq --port=0 --interface=br0 --bind-interfaces --dhcp-range=10.0.0.100,10.0.0.250,12h --pid-file=/tmp/lan.pid --dhcp-leasefile=/tmp/leases");
    rack.switch_on();
    let end = std::time::Instant::now() + limits::CHECK_IN;
    while rack.node().is_none_or(|node| node["last_checkin"].is_null()) {
        assert!(std::time::Instant::now() < end, "no machine checked in: {}", rack.run("tail -c 3000 /tmp/serial.log"));
        std::thread::sleep(std::time::Duration::from_secs(1));
    }
    assert!(rack.run("mk-server nodes show node1").contains("waits"), "{:?}", rack.node());
}
