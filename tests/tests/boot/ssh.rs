//! Log-in to a development image with the real `ssh`: by the operator's key and by nothing else. The second boot is under
//! the base's own init, which starts the same agent; host keys are new at each boot. Neither init uses the machine's disks,
//! of which one invites to it. The server's CA is in the image, so that all of it goes by TLS, and the machine's clock stands in
//! 1999, by which no certificate is valid yet: it checks in, and has the server's time. Without an enrolment token it waits to
//! be approved; with one it is let in at once.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::{SystemTime, UNIX_EPOCH};

use duct::cmd;
use mk_tests::limits;
use mk_tests::vm::{Firmware, Forward, Guest, Machine, Medium, Options};
use serde_json::json;

use super::lab::{Lab, Server, options, wait, written};
use super::lure;

/// What sshd says to everybody without the right key: the list of what it would have taken.
const REFUSED: &str = "Permission denied (publickey).";

/// Most seconds between the guest's clock and this machine's once it is set: a slow log-in, and no year.
const CLOCKS_APART: u64 = 600;

/// Way to the guest's sshd.
struct Door<'a> {
    lab: &'a Lab,
    port: u16,
    /// Where ssh notes the host key of this boot.
    known: PathBuf,
}

impl Door<'_> {
    /// Runs `ssh` with further options and what shall be typed into the remote shell.
    fn ssh(&self, options: &[&str], typed: &str) -> Output {
        let (port, known) = (self.port.to_string(), format!("UserKnownHostsFile={}", self.known.display()));
        let fixed = ["-T", "-F", "none", "-p", &port, "-o", &known, "-o", "StrictHostKeyChecking=accept-new"];
        let fixed = [&fixed, ["-o", "IdentitiesOnly=yes", "-o", "ConnectTimeout=20"].as_slice(), options].concat();
        let run = cmd("ssh", [&fixed, ["root@127.0.0.1"].as_slice()].concat());
        run.stdin_bytes(typed).stdout_capture().stderr_capture().unchecked().run().expect("ssh runs")
    }

    fn with_key(&self, name: &str, typed: &str) -> Output {
        self.ssh(&["-o", "BatchMode=yes", "-i", self.lab.path(name).to_str().unwrap()], typed)
    }

    /// What the operator's shell prints, once sshd is there.
    fn run(&self, guest: &Guest, typed: &str) -> String {
        wait("the operator logs in", limits::REACTION, guest, || {
            let output = self.with_key("operator", typed);
            output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
        })
    }

    fn host_key(&self) -> String {
        let line = fs::read_to_string(&self.known).unwrap();
        line.split_whitespace().nth(2).expect("a host key is known").to_owned()
    }
}

/// A program of the site's own.
const UNIT: &str = "name = \"witness\"\ncommand = [\"/bin/sleep\", \"100000\"]\n";

#[test]
fn the_operators_key_opens_a_root_shell_and_nothing_else_does() {
    let lab = Lab::new();
    let (server, url, ca) = lab.serve_secured("enrolment = \"token\"\n");
    for name in ["operator", "stranger"] {
        cmd!("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", lab.path(name)).run().unwrap();
    }
    let (key, unit) = (lab.path("operator.pub"), lab.path("witness.toml"));
    fs::write(&unit, UNIT).unwrap();
    let settings = ["--ca".as_ref(), &*ca, "--ssh-key".as_ref(), &*key, "--unit".as_ref(), &*unit];
    let image = lab.customized("development", &url, &settings);
    let lure = lure::disk(&lab.path(""));
    let mut machine = Machine::example(0x59, 1024, 2);
    machine.clock = Some("1999-06-01T00:00:00".to_owned());
    machine.disks[1].content = Some(lure.clone());
    let left_alone = |guest: &Guest, door: &Door| {
        assert_eq!(door.run(guest, &format!("{}; true\n", lure::used())), "", "of the disks nothing is in use");
        assert_eq!(written(guest), 0, "something was written to the disks");
        lure::is_untouched(guest, 1, &lure);
    };

    let (guest, door) = boot(&lab, &machine, &image, "first");
    server.await_node(&guest);
    waits_until_it_is_approved(&server, &guest);
    let seen = door.run(&guest, "id -u; cat /proc/1/comm; mk-agent status || echo it is in trouble; date +clock-%s\n");
    assert!(seen.starts_with("0\nmk-agent\n"), "{seen}");
    assert!(seen.contains("node1") && !seen.contains("it is in trouble"), "{seen}");
    assert!(seen.contains(&url) && !seen.contains("http://"), "{seen}");
    let clock =
        seen.lines().find_map(|line| line.strip_prefix("clock-")?.parse::<u64>().ok()).expect("date prints the time");
    let here = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    assert!(clock.abs_diff(here) < CLOCKS_APART, "the clock is set once the server has proved who it is: {seen}");
    let refused = |output: Output| {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(REFUSED), "{said}");
    };
    refused(door.with_key("stranger", "id\n"));
    refused(door.ssh(&["-o", "PubkeyAuthentication=no", "-o", "NumberOfPasswordPrompts=1"], "id\n"));
    let first = door.host_key();
    left_alone(&guest, &door);
    runs_the_sites_unit(&guest, &door);
    guest.quit().unwrap();

    // Forgotten, it is a new machine, and comes with a token now.
    server.ask(&["nodes", "delete", "node1"]);
    let token = lab.path("token");
    fs::write(&token, server.ask(&["enrolment", "create"])).unwrap();
    let settings = [&settings, ["--enrolment-token".as_ref(), token.as_path()].as_slice()].concat();
    let image = lab.customized("development", &url, &settings);
    let (guest, door) = boot(&lab, &machine, &image, "second");
    let prompt = guest.console().wait_for("boot:", 0, limits::REACTION).unwrap();
    guest.console().send("core\r").unwrap();
    guest.console().wait_for("base is up", prompt, limits::CHECK_IN).unwrap();
    server.await_node(&guest);
    server.await_next(&guest);
    let seen = door.run(&guest, "cat /proc/1/comm; mk-agent status || echo it is in trouble\n");
    assert!(seen.starts_with("init\n"), "{seen}");
    assert!(seen.contains("node2") && !seen.contains("it is in trouble"), "{seen}");
    assert_ne!(door.host_key(), first, "host keys are made at boot");
    left_alone(&guest, &door);
    runs_the_sites_unit(&guest, &door);
    guest.quit().unwrap();
}

/// The unit that the site has put into the image.
fn runs_the_sites_unit(guest: &Guest, door: &Door) {
    let units = door.run(guest, "mk-agent unit list\n");
    assert!(units.lines().any(|line| line.starts_with("witness ") && line.contains("running")), "{units}");
}

/// A machine without a token: its console says that it waits, and its key, which is the one that the server shows. An operator's
/// word is heard by it.
fn waits_until_it_is_approved(server: &Server, guest: &Guest) {
    let from = guest.console().wait_for("this machine is node1, pending", 0, limits::REACTION).unwrap();
    guest.console().wait_for("Next step:", from, limits::REACTION).unwrap();
    let said = guest.console().text(from);
    let key = said.split(", key ").nth(1).and_then(|rest| rest.split_whitespace().next()).expect("it says its key");
    let node = server.show();
    assert_eq!((&node["key_fingerprint"], &node["identity"]["state"]), (&json!(key), &json!("pending")), "{said}");
    server.ask(&["nodes", "approve", "node1", "--fingerprint", key]);
    guest.console().wait_for("this machine is node1, normal", from, limits::REACTION).unwrap();
}

/// Boots the image from a CD, with a way to its sshd.
fn boot<'a>(lab: &'a Lab, machine: &Machine, image: &Path, name: &str) -> (Guest, Door<'a>) {
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    let cd = options(machine, Medium::Cd(image.to_owned()), Firmware::Bios);
    let forwards = vec![Forward { here: port, guest: 22 }];
    let guest = Guest::start(&Options { forwards, ..cd }).unwrap();
    (guest, Door { lab, port, known: lab.path(name) })
}
