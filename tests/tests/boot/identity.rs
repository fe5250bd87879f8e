//! Machines that change hands of their parts while the server looks on: one story of guests that boot from the network.
//! Two ports go from one machine to the other, a board is replaced, a running machine is copied and the copy booted again, and
//! a third machine is put together from ports of both. Each is the right node afterwards, and what is disputed ends by itself
//! or by one command.
//!
//! Of a virtual machine only MACs, uuid and TPM count as its own, since serial numbers and parts are its host's. These
//! guests hide the hypervisor and have MACs of a manufacturer, so that boards, chassis, memory and disks count.

use std::fs;
use std::time::Instant;

use mk_tests::limits;
use mk_tests::vm::spec::{Nic, NicModel};
use mk_tests::vm::{Firmware, Guest, Machine};
use serde_json::{Value, json};

use super::lab::{Lab, Server, options, stable, wait};

/// What the list of conflicts says when there is none.
const NO_CONFLICT: &str = "No node's identity is disputed.";

/// Text screen of a PC: 25 lines of 80 characters, each with a byte for its colours.
const SCREEN: (u64, u64) = (0xb_8000, 25 * 80 * 2);

#[test]
fn ports_move_a_board_is_replaced_a_machine_is_copied_and_each_is_who_it_is() {
    let lab = Lab::new();
    let server = lab.serve(0);
    server.offer("production");
    let story = Story { lab, server, began: Instant::now() };
    let (mut one, mut two) = (machine(1), machine(2));
    one.nics.extend([port(0x98), port(0x99)]);
    story.both_are_discovered(&one, &two);

    two.nics.extend(one.nics.drain(1..));
    let guest_two = story.two_ports_are_contested_and_one_is_given_by_command(&two);
    story.the_dispute_ends_when_the_donor_boots(&one, &two);
    one = with_another_board(&one);
    story.a_new_board_is_the_old_node(&one);
    story.a_copy_is_held_until_it_is_told_apart(&two, &guest_two);
    let aliases = story.a_copy_told_apart_is_itself_when_it_boots_again(&two);
    guest_two.quit().unwrap();
    story.a_boot_that_may_be_either_says_why(&one, &two, &format!("node{}", 5 + aliases));
}

/// A machine that counts as physical.
fn machine(seed: u32) -> Machine {
    let nics = vec![port(u8::try_from(seed).unwrap())];
    Machine { physical: true, nics, ..Machine::example(seed, 512, 1) }
}

/// A port with the MAC of a manufacturer.
fn port(last: u8) -> Nic {
    Nic::new(NicModel::Virtio, format!("3c:ec:ef:00:00:{last:02x}"))
}

/// As the server writes a port's MAC.
fn key(port: &Nic) -> String {
    format!("mac={}", port.mac.replace(':', "-"))
}

/// The board is another one, with all that is soldered to it. The vendor has written the system's serial number into it.
fn with_another_board(old: &Machine) -> Machine {
    let mut new = old.clone();
    let spare = Machine::example(0x77, 512, 1);
    new.system.uuid = spare.system.uuid;
    new.board = spare.board;
    new.nics = vec![port(0x77)];
    new
}

/// The server, and what the guests do in front of it.
struct Story {
    lab: Lab,
    server: Server,
    began: Instant,
}

impl Story {
    fn boot(&self, machine: &Machine) -> Guest {
        Guest::start(&options(machine, self.server.network(), Firmware::Bios)).expect("the guest starts")
    }

    fn tell(&self, what: &str) {
        println!("{:5.1} s: {what}", self.began.elapsed().as_secs_f64());
    }

    /// Waits until the machine knows from the server who it is, and the server all parts that it has.
    fn becomes(&self, guest: &Guest, machine: &Machine, name: &str, state: &str) -> Value {
        guest.console().wait_for(&format!("this machine is {name}, {state}"), 0, limits::CHECK_IN).unwrap();
        let node = wait(&format!("{name} has reported all its parts"), limits::INVENTORY, guest, || {
            let node = self.show(name);
            let shown = stable(&node);
            let disks = machine.disks.iter().all(|d| shown.disks.iter().any(|s| s.serial.as_ref() == Some(&d.serial)));
            let ports = machine.nics.len() == shown.nics.len()
                && machine.nics.iter().all(|n| shown.nics.iter().any(|s| s.mac.as_ref() == Some(&n.mac)));
            let board = shown.board.and_then(|b| b.serial) == machine.board.serial;
            let physical = shown.virtualization.is_some_and(|v| !v.is_virtual);
            (disks && ports && board && physical && node["identity"]["state"] == state).then_some(node)
        });
        self.tell(&format!("{name} is {state}"));
        node
    }

    fn show(&self, name: &str) -> Value {
        serde_json::from_str(&self.server.ask(&["nodes", "show", name, "--json"])).unwrap()
    }

    fn conflicts(&self) -> String {
        self.server.ask(&["conflicts"])
    }

    /// Waits until nothing is disputed any more.
    fn peace(&self, guest: &Guest) {
        wait("the dispute ends", limits::REACTION, guest, || (self.conflicts() == NO_CONFLICT).then_some(()));
    }

    fn both_are_discovered(&self, one: &Machine, two: &Machine) {
        let guest_one = self.boot(one);
        wait("the first is node1", limits::CHECK_IN, &guest_one, || (self.server.nodes().len() == 1).then_some(()));
        let guest_two = self.boot(two);
        self.becomes(&guest_one, one, "node1", "normal");
        self.becomes(&guest_two, two, "node2", "normal");
        guest_one.quit().unwrap();
        guest_two.quit().unwrap();
    }

    /// Two ports went from node1 to node2, which is node2 all the same. It goes on running.
    fn two_ports_are_contested_and_one_is_given_by_command(&self, two: &Machine) -> Guest {
        let guest = self.boot(two);
        self.becomes(&guest, two, "node2", "normal");
        let [given, left] = [&two.nics[1], &two.nics[2]].map(key);
        let (list, remedy) = (self.conflicts(), "mk-server conflicts move-hardware node1 node2 ");
        let why = format!("node2: node2 has {given}, {left}, which node1 reported too");
        assert!(list.contains(&why) && list.contains(remedy), "{list}");
        let step = ["conflicts", "move-hardware", "node1", "node2", &given];
        let trial = self.server.ask(&[&step[..], &["--dry-run"]].concat());
        assert!(trial.starts_with("Trial only"), "{trial}");
        assert_eq!(self.conflicts(), list, "a trial changes nothing");
        let done = self.server.ask(&step);
        assert!(done.contains(&format!("{given} went from node1 to node2")), "{done}");
        let list = self.conflicts();
        assert!(list.contains(&format!("node2: node2 has {left}, which node1 reported too")), "{list}");
        guest
    }

    /// Its report lacks both ports: what the command said holds, and what was left is given to node2.
    fn the_dispute_ends_when_the_donor_boots(&self, one: &Machine, two: &Machine) {
        let guest = self.boot(one);
        self.becomes(&guest, one, "node1", "normal");
        self.peace(&guest);
        guest.quit().unwrap();
        let [given, left] = [&two.nics[1], &two.nics[2]].map(key);
        for name in ["node1", "node2"] {
            let log = self.server.ask(&["nodes", "log", name]);
            let moved = format!("Hardware moved: {left} was at node1 and is now at node2");
            assert!(log.contains(&moved) && log.contains(&format!("{given} went from node1 to node2")), "{log}");
        }
        let claims = self.show("node2")["identity"]["claims"].to_string();
        assert!(two.nics.iter().all(|port| claims.contains(&port.mac.replace(':', "-"))), "{claims}");
    }

    /// The boot cannot know it and makes node3; the check-in finds node1's memory and disks under node1's serial number.
    fn a_new_board_is_the_old_node(&self, one: &Machine) {
        let guest = self.boot(one);
        let node = self.becomes(&guest, one, "node1", "normal");
        assert_eq!(node["identity"]["aliases"], json!(["node3"]), "{}", node["identity"]);
        let log = self.server.ask(&["nodes", "log", "node1"]);
        assert!(
            log.contains("it was known again by serial, chassis, dimm, disk, while uuid, board, nic changed"),
            "{log}"
        );
        assert_eq!(self.conflicts(), NO_CONFLICT);
        guest.quit().unwrap();
    }

    /// Two machines with the same numbers and parts run at a time.
    fn a_copy_is_held_until_it_is_told_apart(&self, two: &Machine, original: &Guest) {
        let copy = self.boot(two);
        self.becomes(&copy, two, "node4", "held");
        let list = self.conflicts();
        let remedy = "mk-server conflicts resolve node4 different node2";
        assert!(list.contains("node4: two machines speak as node2") && list.contains(remedy), "{list}");
        self.server.ask(&["conflicts", "resolve", "node4", "different", "node2"]);
        self.becomes(&copy, two, "node4", "normal");
        assert_eq!(self.conflicts(), NO_CONFLICT);
        let heard = self.show("node2")["last_checkin"].clone();
        wait("node2 goes on", limits::REACTION, original, || {
            let node = self.show("node2");
            (node["last_checkin"] != heard && node["identity"]["state"] == "normal").then_some(())
        });
        copy.quit().unwrap();
    }

    /// No boot can tell it from the original. Its check-in does once the original, which runs, has spoken; until then it may
    /// be held as a node of its own, which becomes an alias. Answers how many of these there are.
    fn a_copy_told_apart_is_itself_when_it_boots_again(&self, two: &Machine) -> usize {
        let copy = self.boot(two);
        self.becomes(&copy, two, "node4", "normal");
        let node = self.show("node4");
        let original = self.show("node2");
        assert_eq!(original["identity"]["state"], "normal", "{original}");
        copy.quit().unwrap();
        node["identity"]["aliases"].as_array().unwrap().len()
    }

    /// iPXE sees ports of two nodes, and a board without numbers: only the microkernel can tell that it is neither.
    fn a_boot_that_may_be_either_says_why(&self, one: &Machine, two: &Machine, new: &str) {
        let mut three = machine(3);
        three.system.uuid = None;
        three.system.serial = Some("To be filled by O.E.M.".to_owned());
        three.nics = vec![one.nics[0].clone(), two.nics[0].clone()];
        let guest = self.boot(&three);
        let keys = [&two.nics[0], &one.nics[0]].map(key).join(", ");
        let why = format!("duplicate_node: the machine with {keys} may be any of node1 and node2");
        wait("the screen says why", limits::CHECK_IN, &guest, || self.screen(&guest).contains(&why).then_some(()));
        let url = format!("razor.checkin=http://10.0.2.2:{}/svc/checkin", self.server.port);
        guest.console().wait_for(&url, 0, limits::CHECK_IN).unwrap();
        assert!(guest.console().find(&format!("{url}/"), 0).is_none(), "no id on the kernel line");
        self.becomes(&guest, &three, new, "normal");
        guest.quit().unwrap();
    }

    /// What a person in front of the machine reads while it shows text, line after line.
    fn screen(&self, guest: &Guest) -> String {
        let (file, (address, size)) = (self.lab.path("screen"), SCREEN);
        guest.qmp("pmemsave", json!({"val": address, "size": size, "filename": file})).unwrap();
        let shown: Vec<u8> = fs::read(file).unwrap().chunks_exact(2).map(|cell| cell[0]).collect();
        String::from_utf8_lossy(&shown).into_owned()
    }
}
