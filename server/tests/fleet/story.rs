//! Single stories in virtual time, where the order and the distance of what is heard decide.

use std::sync::Arc;

use mk_server::config::Config;
use mk_server::http::query;
use mk_server::newcomers::Room;
use mk_server::registry::Refusal;
use mk_server::registry::caller::Caller;
use mk_server::registry::checkin::Checkin;
use mk_server::registry::lookup::{Asked, Lookup};
use mk_server::registry::operate::{Operate, Operation, Sameness};
use mk_server::registry::said::Said;
use mk_server::store::Store;
use mk_server::store::sql;
use serde_json::{Value, json};
use wire::checkin::{CheckinReply, CheckinRequest, CommandResult, NodeState, Outcome};
use wire::inventory::{Inventory, Stable};

const SECOND: i64 = 1000;
/// Before anything happens, in milliseconds since 1970.
const BEGIN: i64 = 1_000_000 * SECOND;

struct Server {
    store: Store,
    config: Arc<Config>,
    now: i64,
    _folder: tempfile::TempDir,
}

/// A boot of a machine.
struct Boot {
    id: String,
    started: i64,
    seq: u64,
    /// The key that signs.
    key: Option<Vec<u8>>,
    /// The id in its URL.
    url_id: Option<i64>,
}

impl Server {
    async fn start() -> Self {
        Self::with("").await
    }

    async fn with(config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(folder.path()).await.unwrap();
        Self { store, config: Arc::new(Config::parse(config).unwrap()), now: BEGIN, _folder: folder }
    }

    /// A machine starts `seconds` from now.
    fn boot(&mut self, name: &str, seconds: i64) -> Boot {
        self.now += seconds * SECOND;
        Boot { id: name.to_owned(), started: self.now, seq: 0, key: None, url_id: None }
    }

    /// A machine with these ports starts `seconds` from now, over the network; also whether it is sent to its own disk.
    async fn boot_over_network(&mut self, name: &str, seconds: i64, ports: &[&str]) -> (Boot, bool) {
        let boot = self.boot(name, seconds);
        let pairs: Vec<_> = ports.iter().enumerate().map(|(n, mac)| (format!("net{n}"), (*mac).to_owned())).collect();
        let query::Machine { info, dhcp_mac } = query::machine(&pairs);
        let asked = Asked::Boot { image: true };
        let (config, room) = (Arc::clone(&self.config), Room::BOUNDLESS);
        let work = Lookup { config, now: self.now, info, dhcp_mac, asked, room };
        let found = self.store.writer.write(work).await.unwrap().unwrap();
        (Boot { url_id: Some(found.id), ..boot }, found.boot_local)
    }

    /// The machine reports all of its hardware, `seconds` from now.
    async fn report(&mut self, boot: &mut Boot, seconds: i64, stable: &Stable) -> CheckinReply {
        self.say(boot, seconds, stable).await.unwrap()
    }

    async fn say(&mut self, boot: &mut Boot, seconds: i64, stable: &Stable) -> Result<CheckinReply, Refusal> {
        self.tell(boot, seconds, stable, Vec::new()).await
    }

    /// The same with what became of commands.
    async fn tell(
        &mut self,
        boot: &mut Boot,
        seconds: i64,
        stable: &Stable,
        results: Vec<CommandResult>,
    ) -> Result<CheckinReply, Refusal> {
        self.now += seconds * SECOND;
        boot.seq += 1;
        let request = CheckinRequest {
            hw_id: "x".to_owned(),
            inventory_digest: Some(wire::digest::stable(stable)),
            inventory: Some(Inventory { stable: stable.clone(), volatile: None }),
            results,
            boot_id: Some(boot.id.clone()),
            seq: Some(boot.seq),
            uptime_s: u64::try_from((self.now - boot.started) / SECOND).ok(),
            ..Default::default()
        };
        let work = Checkin {
            config: Arc::clone(&self.config),
            now: self.now,
            url_id: boot.url_id,
            body: format!("{} {}", boot.id, boot.seq),
            key: boot.key.clone(),
            said: Said::of(&request, &self.config).unwrap(),
            request,
            room: Room::BOUNDLESS,
        };
        self.store.writer.write(work).await.unwrap()
    }

    /// A machine starts now and reports once, `seconds` later.
    async fn once(&mut self, name: &str, seconds: i64, stable: &Stable) -> CheckinReply {
        let mut boot = self.boot(name, 0);
        self.report(&mut boot, seconds, stable).await
    }

    /// MACs that count for no machine.
    async fn foreign(&self) -> Vec<String> {
        let mut db = self.store.readers.acquire().await.unwrap();
        sql::query_scalar("SELECT value FROM foreign_macs").fetch_all(&mut db).await.unwrap()
    }

    /// All entries in a node's log.
    async fn log_of(&self, node: i64) -> Vec<Value> {
        let mut db = self.store.readers.acquire().await.unwrap();
        let select = sql::query_scalar("SELECT entry FROM node_log WHERE node = $1").bind(node);
        let entries: Vec<String> = select.fetch_all(&mut db).await.unwrap();
        entries.iter().map(|entry| serde_json::from_str(entry).unwrap()).collect()
    }

    async fn operator(&mut self, operation: Operation) {
        let (config, by) = (Arc::clone(&self.config), Caller::Local);
        let work = Operate { config, now: self.now, by, operation, dry_run: false };
        self.store.writer.write(work).await.unwrap().unwrap();
    }
}

/// A machine with two disks and these ports.
fn machine(n: u8, ports: &[&str]) -> Stable {
    let nics: Vec<Value> = ports.iter().map(|m| json!({"key": m, "mac": m, "bus": "pci"})).collect();
    serde_json::from_value(json!({
        "system": {"serial": format!("SYS{n}"), "uuid": format!("{n:08}-0000-4000-8000-1122334455{n:02}")},
        "board": {"serial": format!("BRD{n}")},
        "disks": [{"key": "1", "serial": format!("DISK{n}A")}, {"key": "2", "serial": format!("DISK{n}B")}],
        "nics": nics,
    }))
    .unwrap()
}

const A: &str = "00:11:22:33:44:aa";
const B: &str = "00:11:22:33:44:bb";
const C: &str = "00:11:22:33:44:cc";
const D: &str = "00:11:22:33:44:dd";
const E: &str = "00:11:22:33:44:ee";

fn is(reply: &CheckinReply, id: u64, state: NodeState) {
    assert_eq!((reply.id, reply.state), (Some(id), Some(state)), "{reply:?}");
}

#[tokio::test]
async fn copies_that_were_told_apart_keep_their_nodes_when_each_boots_anew() {
    let mut server = Server::start().await;
    let it = machine(1, &[A]);
    let (mut original, mut copy) = (server.boot("original", 0), server.boot("copy", 0));
    is(&server.report(&mut original, 60, &it).await, 1, NodeState::Normal);
    is(&server.report(&mut copy, 10, &it).await, 2, NodeState::Held);
    let (node, with) = ("node2".to_owned(), "node1".to_owned());
    server.operator(Operation::Resolve { node, with, verdict: Sameness::Different }).await;
    is(&server.report(&mut original, 50, &it).await, 1, NodeState::Normal);
    is(&server.report(&mut copy, 10, &it).await, 2, NodeState::Normal);

    let mut original = server.boot("original again", 20);
    is(&server.report(&mut original, 12, &it).await, 3, NodeState::Held);
    is(&server.report(&mut copy, 28, &it).await, 2, NodeState::Normal);
    is(&server.report(&mut original, 32, &it).await, 1, NodeState::Normal);

    let mut copy = server.boot("copy again", 55);
    is(&server.report(&mut original, 5, &it).await, 1, NodeState::Normal);
    is(&server.report(&mut copy, 7, &it).await, 2, NodeState::Normal);
}

#[tokio::test]
async fn a_reboot_just_after_the_servers_clock_was_put_back_is_held_for_three_intervals_only() {
    let mut server = Server::start().await;
    let it = machine(1, &[A]);
    let mut boot = server.boot("first", 0);
    is(&server.report(&mut boot, 60, &it).await, 1, NodeState::Normal);
    let mut boot = server.boot("second", 20);
    let step = 30 * SECOND;
    server.now -= step;
    boot.started -= step;
    is(&server.report(&mut boot, 40, &it).await, 2, NodeState::Held);
    is(&server.report(&mut boot, 60, &it).await, 2, NodeState::Held);
    is(&server.report(&mut boot, 60, &it).await, 2, NodeState::Held);
    is(&server.report(&mut boot, 60, &it).await, 1, NodeState::Normal);
}

#[tokio::test]
async fn a_copy_stays_held_when_the_original_is_switched_off() {
    let mut server = Server::start().await;
    let it = machine(1, &[A]);
    let (mut original, mut copy) = (server.boot("original", 0), server.boot("copy", 0));
    is(&server.report(&mut original, 60, &it).await, 1, NodeState::Normal);
    is(&server.report(&mut copy, 10, &it).await, 2, NodeState::Held);
    is(&server.report(&mut original, 50, &it).await, 1, NodeState::Normal);
    is(&server.report(&mut copy, 3600, &it).await, 2, NodeState::Held);
}

#[tokio::test]
async fn a_copy_is_not_held_as_another_machine_that_is_held() {
    let mut server = Server::start().await;
    let (first, between) = (machine(1, &[A, B]), machine(3, &[B, C]));
    let mut original = server.boot("original", 0);
    is(&server.report(&mut original, 10, &first).await, 1, NodeState::Normal);
    is(&server.once("second", 10, &machine(2, &[C, D])).await, 2, NodeState::Normal);
    // It has ports of both, and too little is known of it for either to be left out.
    let mut bare = between.clone();
    bare.system = None;
    bare.board = None;
    bare.disks.clear();
    is(&server.once("third", 10, &bare).await, 3, NodeState::Held);
    let mut copy = server.boot("copy", 30);
    is(&server.report(&mut copy, 5, &first).await, 1, NodeState::Normal);
    is(&server.report(&mut original, 5, &first).await, 1, NodeState::Normal);
    is(&server.report(&mut copy, 5, &first).await, 4, NodeState::Held);
}

#[tokio::test]
async fn what_a_copy_was_told_in_its_originals_place_is_told_the_original() {
    let mut server = Server::start().await;
    let it = machine(1, &[A]);
    let mut original = server.boot("original", 0);
    is(&server.report(&mut original, 10, &it).await, 1, NodeState::Normal);
    let mut copy = server.boot("copy", 30);
    is(&server.report(&mut copy, 5, &it).await, 1, NodeState::Normal);
    server.operator(Operation::RebootNode { name: "node1".to_owned() }).await;
    assert_eq!(server.report(&mut copy, 5, &it).await.commands.len(), 1, "nobody can know yet");
    let reply = server.report(&mut original, 5, &it).await;
    is(&reply, 1, NodeState::Normal);
    assert_eq!(reply.commands.len(), 1, "{reply:?}");
}

#[tokio::test]
async fn what_the_original_was_told_before_its_copy_is_not_told_it_again() {
    let mut server = Server::start().await;
    let it = machine(1, &[A]);
    let mut original = server.boot("original", 0);
    is(&server.report(&mut original, 10, &it).await, 1, NodeState::Normal);
    server.operator(Operation::DoctorNode { name: "node1".to_owned() }).await;
    let told = server.report(&mut original, 5, &it).await.commands;
    let mut copy = server.boot("copy", 30);
    is(&server.report(&mut copy, 5, &it).await, 1, NodeState::Normal);
    let result = CommandResult { id: told[0].id, outcome: Outcome::Done, detail: "all is well".to_owned() };
    let reply = server.tell(&mut original, 5, &it, vec![result]).await.unwrap();
    assert_eq!(reply.commands, [], "it has answered");
    let log = server.log_of(1).await;
    assert!(log.iter().any(|entry| entry["event"] == "command" && entry["outcome"] == "done"), "{log:?}");
}

#[tokio::test]
async fn nobody_makes_the_ports_of_a_machine_foreign_by_saying_so() {
    let mut server = Server::start().await;
    is(&server.once("first", 10, &machine(1, &[A])).await, 1, NodeState::Normal);
    let mut liar = machine(2, &[B]);
    let usb = json!({"key": "1-2", "mac": A, "bus": "usb"});
    liar.nics.push(serde_json::from_value(usb).unwrap());
    is(&server.once("liar", 10, &liar).await, 2, NodeState::Normal);
    assert_eq!(server.foreign().await, Vec::<String>::new());
}

#[tokio::test]
async fn who_does_not_sign_ends_no_node_whose_agent_does() {
    let mut server = Server::start().await;
    let mut gone = machine(1, &[A]);
    let memory = json!({"dimms": [{"slot": "1", "serial": "DIMM1A"}]});
    gone.memory = serde_json::from_value(memory).unwrap();
    is(&server.once("gone", 10, &gone).await, 1, NodeState::Normal);
    // A copy of a machine of which only ports are known, whose original was deleted.
    let mut bare = machine(2, &[B, C]);
    (bare.system, bare.board) = (None, None);
    bare.disks.clear();
    let (mut original, mut copy) = (server.boot("original", 3600), server.boot("copy", 0));
    copy.key = Some(vec![1; 32]);
    is(&server.report(&mut original, 60, &bare).await, 2, NodeState::Normal);
    is(&server.report(&mut copy, 10, &bare).await, 3, NodeState::Held);
    server.operator(Operation::DeleteNode { name: "node2".to_owned() }).await;

    let mut forged = gone.clone();
    forged.nics.clone_from(&bare.nics);
    let mut stranger = server.boot("stranger", 0);
    stranger.url_id = Some(3);
    let refusal = server.say(&mut stranger, 10, &forged).await.unwrap_err();
    assert_eq!(refusal.problem.code, "spoken_for", "{refusal:?}");
    is(&server.report(&mut copy, 10, &bare).await, 3, NodeState::Normal);
}

#[tokio::test]
async fn who_does_not_sign_and_was_believed_once_does_not_oust_the_agent_that_signs() {
    let mut server = Server::start().await;
    let it = machine(1, &[A]);
    let mut stranger = server.boot("stranger", 0);
    is(&server.report(&mut stranger, 10, &it).await, 1, NodeState::Normal);
    let mut agent = server.boot("agent", 3600);
    agent.key = Some(vec![1; 32]);
    is(&server.report(&mut agent, 10, &it).await, 1, NodeState::Normal);
    assert!(stranger.started < agent.started, "by its own word it is the older one");
    let refusal = server.say(&mut stranger, 10, &it).await.unwrap_err();
    assert_eq!(refusal.problem.code, "spoken_for", "{refusal:?}");
    is(&server.report(&mut agent, 10, &it).await, 1, NodeState::Normal);
}

#[tokio::test]
async fn a_replaced_board_stays_held_until_its_node_has_been_silent_for_long() {
    let mut server = Server::start().await;
    let memory = json!({"dimms": [{"slot": "1", "serial": "DIMM1A"}, {"slot": "2", "serial": "DIMM1B"}]});
    let mut it = machine(1, &[A]);
    it.memory = serde_json::from_value(memory).unwrap();
    is(&server.once("before", 60, &it).await, 1, NodeState::Normal);
    let other = machine(2, &[B]);
    it.nics.clone_from(&other.nics);
    it.board.clone_from(&other.board);
    it.system.as_mut().unwrap().uuid = other.system.unwrap().uuid;
    let mut rebuilt = server.boot("rebuilt", 0);
    for _ in 0..3 {
        is(&server.report(&mut rebuilt, 55, &it).await, 2, NodeState::Held);
    }
    is(&server.report(&mut rebuilt, 55, &it).await, 1, NodeState::Normal);
}

#[tokio::test]
async fn a_number_that_was_blanked_and_comes_back_reopens_nothing() {
    let mut server = Server::start().await;
    let mut it = machine(1, &[A]);
    is(&server.once("first", 60, &it).await, 1, NodeState::Normal);
    let board = it.board.take();
    it.disks[0].serial = Some("DISK9".to_owned());
    is(&server.once("blanked", 600, &it).await, 1, NodeState::Normal);
    it.board = board;
    it.disks[1].serial = Some("DISK8".to_owned());
    it.nics.clone_from(&machine(2, &[B]).nics);
    is(&server.once("third", 600, &it).await, 1, NodeState::Normal);
}

#[tokio::test]
async fn a_machine_without_numbers_that_was_held_for_its_late_disks_is_itself_once_they_are_there() {
    let mut server = Server::start().await;
    is(&server.once("first", 10, &bare(1, &[A, B])).await, 1, NodeState::Normal);
    is(&server.once("second", 10, &bare(2, &[C, D])).await, 2, NodeState::Normal);
    // It got a card of the second one.
    let whole = bare(1, &[A, B, C]);
    let early = Stable { disks: Vec::new(), ..whole.clone() };
    let mut boot = server.boot("first again", 600);
    is(&server.report(&mut boot, 10, &early).await, 3, NodeState::Held);
    is(&server.report(&mut boot, 10, &whole).await, 1, NodeState::Normal);
}

/// New nodes count as installed.
const PROTECT: &str = "protect_new_nodes = true\n";

fn told(reply: &CheckinReply, id: u64, action: &str) {
    is(reply, id, NodeState::Normal);
    assert_eq!(reply.action, action, "{reply:?}");
}

/// A machine whose firmware and memory show no number, with two disks.
fn bare(n: u8, ports: &[&str]) -> Stable {
    Stable { system: None, board: None, ..machine(n, ports) }
}

/// A server with node1, which is installed, has two ports and is off. One of them is in another machine by now: what that
/// reports before its disks are up, and once they are.
async fn with_an_installed_donor() -> (Server, Stable, Stable) {
    let mut server = Server::with(PROTECT).await;
    let (mut donor, _) = server.boot_over_network("donor", 0, &[A, B]).await;
    told(&server.report(&mut donor, 12, &bare(1, &[A, B])).await, 1, "reboot");
    let whole = bare(2, &[B, C]);
    (server, Stable { disks: Vec::new(), ..whole.clone() }, whole)
}

#[tokio::test]
async fn a_machine_with_late_disks_and_a_card_of_an_installed_one_is_told_nothing_until_they_are_up() {
    let (mut server, early, whole) = with_an_installed_donor().await;
    server.operator(Operation::RebootNode { name: "node1".to_owned() }).await;
    let (mut boot, local) = server.boot_over_network("other", 60, &[B, C]).await;
    assert!(!local, "a boot cannot tell them apart");
    let reply = server.report(&mut boot, 12, &early).await;
    told(&reply, 1, "none");
    assert!(reply.commands.is_empty(), "what the operator told node1 is not for this machine: {reply:?}");
    told(&server.report(&mut boot, 30, &whole).await, 2, "reboot");
    let (boot, local) = server.boot_over_network("other again", 300, &[B, C]).await;
    assert_eq!((boot.url_id, local), (Some(2), true));
    let (mut donor, local) = server.boot_over_network("donor again", 2 * 3600, &[A]).await;
    assert_eq!((donor.url_id, local), (Some(1), true));
    told(&server.report(&mut donor, 12, &bare(1, &[A])).await, 1, "reboot");
}

#[tokio::test]
async fn a_machine_that_is_reset_before_its_disks_are_up_comes_back_into_the_microkernel() {
    let (mut server, early, whole) = with_an_installed_donor().await;
    let (mut boot, _) = server.boot_over_network("other", 60, &[B, C]).await;
    told(&server.report(&mut boot, 12, &early).await, 1, "none");
    let (mut boot, local) = server.boot_over_network("other again", 600, &[B, C]).await;
    assert_eq!(
        (boot.url_id, local),
        (Some(1), false),
        "these are node1's ports by now, but only as long as nothing is settled"
    );
    told(&server.report(&mut boot, 12, &whole).await, 2, "reboot");
}

#[tokio::test]
async fn an_installed_machine_that_lost_its_disks_is_settled_after_some_check_ins() {
    let mut server = Server::with(&format!("{PROTECT}checkin_interval = 3600\n")).await;
    let (mut boot, _) = server.boot_over_network("first", 0, &[A]).await;
    told(&server.report(&mut boot, 12, &machine(1, &[A])).await, 1, "reboot");
    let without = Stable { disks: Vec::new(), ..machine(1, &[A, B]) };
    let (mut boot, local) = server.boot_over_network("second", 600, &[A, B]).await;
    assert!(!local, "the card is new");
    for seconds in [12, 60, 60, 60, 60] {
        let reply = server.report(&mut boot, seconds, &without).await;
        told(&reply, 1, "none");
        assert_eq!(reply.interval, Some(60), "an hour would be long");
    }
    let reply = server.report(&mut boot, 60, &without).await;
    told(&reply, 1, "reboot");
    assert_eq!(reply.interval, Some(3600));
    let (_, local) = server.boot_over_network("third", 60, &[A, B]).await;
    assert!(local, "what it boots with is confirmed");
}

#[tokio::test]
async fn what_another_machine_booted_with_is_not_believed_once_the_node_is_back() {
    let (mut server, early, _) = with_an_installed_donor().await;
    let (mut boot, _) = server.boot_over_network("other", 60, &[B, C]).await;
    told(&server.report(&mut boot, 12, &early).await, 1, "none");
    told(&server.report(&mut boot, 600, &early).await, 1, "reboot");
    assert!(server.boot_over_network("other again", 60, &[B, C]).await.1, "it had its time");
    // From a stick, so that no boot of its own takes the place of the other one's.
    server.now += 60 * SECOND;
    told(&server.once("donor again", 12, &bare(1, &[A])).await, 1, "reboot");
    assert!(!server.boot_over_network("other once more", 60, &[B, C]).await.1, "these are not node1's");
}

#[tokio::test]
async fn a_machine_without_numbers_and_with_a_port_of_many_is_held_until_its_disks_are_there() {
    let mut server = Server::start().await;
    is(&server.once("first", 10, &bare(1, &[A, B])).await, 1, NodeState::Normal);
    is(&server.once("second", 10, &bare(2, &[C, D, E])).await, 2, NodeState::Normal);
    let whole = bare(1, &[A, B, C]);
    let mut boot = server.boot("first again", 600);
    let early = Stable { disks: Vec::new(), ..whole.clone() };
    is(&server.report(&mut boot, 10, &early).await, 3, NodeState::Held);
    is(&server.report(&mut boot, 10, &whole).await, 1, NodeState::Normal);
}

#[tokio::test]
async fn an_installed_machine_without_numbers_keeps_its_node_when_a_card_is_replaced_and_its_disks_are_late() {
    let mut server = Server::with(PROTECT).await;
    let (mut boot, _) = server.boot_over_network("first", 0, &[A, B, C]).await;
    told(&server.report(&mut boot, 12, &bare(1, &[A, B, C])).await, 1, "reboot");
    let whole = bare(1, &[A, D, E]);
    let (mut boot, local) = server.boot_over_network("second", 600, &[A, D, E]).await;
    assert!(!local, "two of its ports are others");
    let early = Stable { disks: Vec::new(), ..whole.clone() };
    told(&server.report(&mut boot, 12, &early).await, 1, "none");
    told(&server.report(&mut boot, 30, &whole).await, 1, "reboot");
}

#[tokio::test]
async fn a_node_of_which_a_port_went_into_a_new_machine_hears_of_it() {
    let mut server = Server::start().await;
    is(&server.once("first", 10, &bare(1, &[A, B, C])).await, 1, NodeState::Normal);
    is(&server.once("second", 10, &bare(2, &[C, D, E])).await, 2, NodeState::Normal);
    let told = server.log_of(1).await;
    assert!(told.iter().any(|entry| entry["node"] == "node2" && entry["partly"] == json!(["nic"])), "{told:?}");
}
