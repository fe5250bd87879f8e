//! Machines whose switch ports are trunks: a bond of two ports and a VLAN on it, told on the kernel line of a production image
//! and by the slot of a debug image. Links go one after the other and the node goes on; what somebody takes apart in a shell is
//! made anew, and a clock that jumps by years changes nothing.

use std::path::Path;

use mk_tests::limits;
use mk_tests::vm::spec::NicModel;
use mk_tests::vm::{Firmware, Guest, Machine};
use serde_json::{Value, json};

use super::lab::{Lab, Server, stable, wait};
use super::shell::Shell;
use super::switch::Switch;

const VLAN: u16 = 5;

/// A machine with two ports of this model, and the argument that makes a bond of them.
fn machine(seed: u32, model: NicModel, mode: &str) -> (Machine, String) {
    let mut machine = Machine::example(seed, 512, 1);
    machine.nics.iter_mut().for_each(|nic| nic.model = model);
    let bond = format!("razor.bond={mode},{},{}", machine.nics[0].mac, machine.nics[1].mac);
    (machine, bond)
}

/// An image that has these arguments in its slot (`--arg`) or on its kernel lines (`--kernel-arg`).
fn image(lab: &Lab, variant: &str, port: u16, option: &str, arguments: &[&str]) -> std::path::PathBuf {
    let each = arguments.iter().flat_map(|argument| [Path::new(option), Path::new(argument)]);
    lab.customized(variant, &format!("http://10.0.2.2:{port}"), &each.collect::<Vec<_>>())
}

/// What makes the kernel line long: what stands behind it comes through whole only if all of it does.
fn filler() -> String {
    format!("mk.filler={}", "x".repeat(800))
}

/// An LLDP frame of the switch `leaf` from its port `e7`, that holds for two minutes.
fn neighbour() -> Vec<u8> {
    let tlvs = [&[2, 5, 7][..], b"leaf", &[4, 3, 5], b"e7", &[6, 2, 0, 120, 0, 0]].concat();
    [b"\x01\x80\xc2\0\0\x0e\x02\0\0\0\0\x01\x88\xcc", &tlvs[..]].concat()
}

#[test]
fn a_vlan_on_a_bond_outlives_either_of_its_links() {
    let lab = Lab::new();
    let server = lab.serve(0);
    // The other model's driver does not hear of a cable that QEMU pulls.
    let (machine, bond) = machine(0x71, NicModel::Virtio, "active-backup");
    let vlan = format!("razor.vlan={VLAN}");
    let guest = lab.boot(
        &machine,
        &image(&lab, "production", server.port, "--kernel-arg", &[&filler(), &bond, &vlan]),
        Firmware::Bios,
    );
    let switch = Switch::before(&guest, 2, VLAN);
    server.await_node(&guest);
    guest.console().wait_for("link up, 10.0.2.15/24 (dhcp from 10.0.2.2)", 0, limits::REACTION).unwrap();
    let console = guest.console().text(0);
    let addressed = console.lines().find(|line| line.contains("link up, 10.0.2.15/24")).unwrap();
    assert!(addressed.starts_with(&format!("razor: bond0.{VLAN} {} ", machine.nics[0].mac)), "{addressed}");

    let mut macs: Vec<Option<String>> = stable(&server.show()).nics.into_iter().map(|nic| nic.mac).collect();
    macs.sort();
    let mut made: Vec<Option<String>> = machine.nics.iter().map(|nic| Some(nic.mac.clone())).collect();
    made.sort();
    assert_eq!(macs, made, "ports are the machine's own, each with the address that it was made with");
    wait("the switch is heard on a port of the bond", limits::REACTION, &guest, || {
        switch.says(1, &neighbour());
        let nics = stable(&server.show()).nics;
        let port = nics.iter().find(|nic| nic.mac.as_ref() == Some(&machine.nics[1].mac))?;
        (port.lldp.as_ref()?.neighbours.first()?.port == "e7").then_some(())
    });
    let addresses = server.show()["inventory"]["volatile"]["addresses"].clone();
    let ports = addresses.as_object().into_iter().flatten();
    let attached =
        ports.filter(|(_, list)| list.as_array().is_some_and(|l| l.contains(&json!("10.0.2.15/24")))).count();
    assert_eq!(attached, 2, "the bond's ports are what the machine is attached by: {addresses}");

    for lost in [0, 1] {
        let link = |up: bool| guest.qmp("set_link", json!({"name": format!("nic{lost}"), "up": up})).unwrap();
        link(false);
        let before = switch.tagged();
        server.await_next(&guest);
        server.await_next(&guest);
        let (before, after) = (before[1 - lost], switch.tagged()[1 - lost]);
        assert!(after > before, "the other port carries it: {before}, {after}");
        let from = guest.console().position();
        link(true);
        guest.console().wait_for("link up", from, limits::REACTION).unwrap();
    }
    println!("frames from the ports: {:?} tagged, {} not", switch.tagged(), switch.untagged());
    assert_eq!(server.nodes().len(), 1);
    guest.quit().unwrap();
}

#[test]
fn what_is_taken_apart_in_a_shell_is_made_anew_whatever_the_clock_says() {
    let lab = Lab::new();
    let server = lab.serve(0);
    // LACP wants ports that tell their speed, which virtio's do not.
    let (machine, bond) = machine(0x72, NicModel::E1000e, "802.3ad");
    let (vlan, ip) = (format!("razor.vlan=bond0,{VLAN}"), "razor.ip=10.0.2.40/24");
    let arguments = [&bond, &vlan, ip, "razor.gw=10.0.2.2"];
    let guest = lab.boot(&machine, &image(&lab, "debug", server.port, "--arg", &arguments), Firmware::Bios);
    let switch = Switch::before(&guest, 2, VLAN);
    server.await_node(&guest);
    let shell = Shell::open(&guest);
    let bond = shell.run("cat /proc/net/bonding/bond0");
    assert!(bond.contains("IEEE 802.3ad") && bond.matches("Slave Interface: ").count() == 2, "{bond}");
    assert!(bond.contains("MII Polling Interval (ms): 100"), "{bond}");
    for nic in &machine.nics {
        assert!(bond.contains(&format!("Permanent HW addr: {}", nic.mac)), "{bond}");
    }
    let uptime = |shell: &Shell| shell.run("cut -d. -f1 /proc/uptime").parse::<u64>().unwrap();
    let began = uptime(&shell);
    let (top, whole) = (format!("bond0.{VLAN}"), "default via 10.0.2.2");
    for harm in [
        "ip route del default".to_owned(),
        format!("ip addr flush dev {top}"),
        format!("ip link set {top} down"),
        format!("ip link del {top}"),
        "ip link set eth0 nomaster; ip link set eth1 down".to_owned(),
        "ip link del bond0".to_owned(),
        "ip link set eth0 nomaster; ip link set eth1 nomaster".to_owned(),
    ] {
        shell.run(&harm);
        wait(&format!("`{harm}` is made good"), limits::REACTION, &guest, || {
            let bond = shell.run("cat /proc/net/bonding/bond0");
            let whole = shell.run("ip route").contains(whole)
                && shell.run(&format!("ip addr show dev {top}")).contains("10.0.2.40/24")
                && bond.matches("Slave Interface: ").count() == 2;
            whole.then_some(())
        });
        server.await_next(&guest);
        println!("`{harm}` is made good");
    }
    assert!(uptime(&shell) > began, "it has not booted since");
    let log = shell.run("mk-agent logs net");
    assert!(log.contains("somebody has taken its default route by 10.0.2.2 away; it is there again"), "{log}");
    assert!(log.contains("address 10.0.2.40/24 away"), "{log}");
    let state: Value = serde_json::from_str(&shell.run("cat /run/razor-mk/net.json")).unwrap();
    let described =
        state["ports"].as_array().unwrap().iter().find(|port| port["name"] == top.as_str()).unwrap().clone();
    assert_eq!((&described["source"], &described["over"]), (&json!("static"), &json!(["bond0"])), "{state}");
    a_clock_that_jumps_changes_nothing(&guest, &server, &switch, &shell);
    assert_eq!(server.nodes().len(), 1);
    guest.quit().unwrap();
}

fn a_clock_that_jumps_changes_nothing(guest: &Guest, server: &Server, switch: &Switch, shell: &Shell) {
    let frames = || {
        let before: usize = switch.tagged().iter().sum();
        (0..3).for_each(|_| server.await_next(guest));
        switch.tagged().iter().sum::<usize>() - before
    };
    let usual = frames();
    for (jump, words) in [("1999-01-01 00:00:00", "years behind"), ("2040-01-01 00:00:00", "years ahead of")] {
        shell.run(&format!("date -s '{jump}'"));
        let after = frames();
        println!("{usual} frames in three check-ins, {after} after a jump to {jump}");
        // Neither silence, in which no check-in would come, nor a flood.
        assert!(after < 4 * usual + 100, "{usual}, {after}");
        wait("the clock is named", limits::REACTION, guest, || {
            shell.run("mk-agent status").contains(words).then_some(())
        });
    }
}
