//! A fleet in front of a real server's registry and database, in this process: boots and check-ins in virtual time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mk_server::config::Config;
use mk_server::http::query;
use mk_server::newcomers::Room;
use mk_server::registry::Refusal;
use mk_server::registry::checkin::Checkin;
use mk_server::registry::lookup::{Asked, Lookup};
use mk_server::registry::said::Said;
use mk_server::store::Store;
use mk_server::store::sql;
use wire::checkin::{CheckinReply, CheckinRequest, NodeState};
use wire::inventory::Inventory;

use crate::change::Change;
use crate::hardware::{Factory, Hardware, Model, is_junk};
use crate::random::Random;

const SECOND: i64 = 1000;
const MINUTE: i64 = 60 * SECOND;
/// From the start of its kernel to a machine's first check-in.
const TO_CHECKIN_S: u64 = 12;

/// What a machine is made of, with the kinds of values that each thing shows.
const THINGS: [&[&str]; 5] = [&["uuid", "board", "tpm"], &["serial", "chassis"], &["dimm"], &["disk"], &["mac"]];
/// So many of them tell a machine from all others; one alone may be in another machine now. Each value of a virtual machine
/// is a thing of its own. What original clients tell must be of three kinds, since they show no parts.
const ENOUGH: usize = 2;

/// Values by kind.
type Values = BTreeMap<&'static str, Vec<String>>;

/// A machine and what its owner knows about it.
pub(crate) struct Machine {
    pub(crate) hardware: Hardware,
    /// What the server was told of it, by kind.
    reported: Option<Values>,
    /// The node that it is.
    node: Option<i64>,
    /// Changes since it last reported.
    pending: usize,
}

/// What came of a case.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Outcome {
    /// A machine was taken for another one.
    pub(crate) wrong: bool,
    /// A known machine got a new node.
    pub(crate) lost: bool,
    /// And nothing in the log of the lost node says so.
    pub(crate) silent: bool,
    /// A machine was held.
    pub(crate) held: bool,
    /// Nothing about a machine tells it from the others.
    pub(crate) apart: bool,
    /// More than one part of a machine changed between two reports.
    pub(crate) several: bool,
    /// What happened, for a person.
    pub(crate) story: Vec<String>,
}

impl Outcome {
    /// Each machine is the right node, and none is held.
    pub(crate) fn is_right(&self) -> bool {
        !self.wrong && !self.lost && !self.held
    }
}

/// A boot of a machine.
struct Boot {
    machine: usize,
    id: String,
    url_id: Option<i64>,
    /// Virtual time at which its kernel started.
    started: i64,
    seq: u64,
    legacy: bool,
    /// Its disks come up after the first report.
    slow_disks: bool,
}

/// A fleet of one model.
pub(crate) struct World {
    store: Store,
    config: Arc<Config>,
    pub(crate) random: Random,
    factory: Factory,
    model: Model,
    machines: Vec<Machine>,
    chassis: String,
    /// Which machines ever had a value.
    owners: BTreeMap<(&'static str, String), BTreeSet<usize>>,
    now: i64,
    boots: u64,
    fleet: u64,
}

impl World {
    /// Fleet number `fleet`, not yet booted.
    pub(crate) fn new(store: Store, fleet: u64, size: usize, tpm: bool) -> Self {
        let mut random = Random::new(fleet);
        let mut factory = Factory::new(fleet);
        let mut model = Model::any(&mut random, &mut factory, tpm);
        let keys = match random.below(10) {
            0..=4 => "\"mac\"",
            5 | 6 => "\"mac\", \"serial\", \"asset\", \"uuid\"",
            7 => "\"mac\", \"serial\"",
            8 => "\"mac\", \"uuid\"",
            _ => "\"serial\"",
        };
        if keys == "\"serial\"" {
            // Who matches by serial number alone has machines with serial numbers.
            model.serial = None;
            model.serial_of_chassis = false;
            model.virtual_one = false;
        }
        let config = Arc::new(Config::parse(&format!("match_nodes_on = [{keys}]\n")).unwrap());
        let mut world = Self {
            store,
            config,
            random,
            factory,
            model,
            machines: Vec::new(),
            chassis: String::new(),
            owners: BTreeMap::new(),
            // Fleets share a database but no time.
            now: i64::try_from(fleet).unwrap() * 1_000_000 * MINUTE,
            boots: 0,
            fleet,
        };
        for _ in 0..size {
            world.add();
        }
        world
    }

    /// The fleet's number, which repeats all that happens to it.
    pub(crate) fn number(&self) -> u64 {
        self.fleet
    }

    /// What the fleet is, for a person.
    pub(crate) fn describe(&self) -> String {
        format!("fleet {}, match_nodes_on {:?}, {:?}", self.fleet, self.config.match_nodes_on, self.model)
    }

    fn add(&mut self) -> usize {
        if self.machines.len().is_multiple_of(self.model.per_chassis) {
            self.chassis = self.factory.number("CHS");
        }
        let hardware = self.model.build(&self.chassis, &mut self.random, &mut self.factory);
        self.machines.push(Machine { hardware, reported: None, node: None, pending: 0 });
        self.machines.len() - 1
    }

    /// One case: a change, then the machines that it touched boot and check in.
    pub(crate) async fn case(&mut self, change: Change) -> Option<Outcome> {
        let known: Vec<usize> = (0..self.machines.len()).filter(|m| self.machines[*m].node.is_some()).collect();
        let mut parts = self.draw(&known, change.known_machines())?;
        for _ in 0..change.new_machines() {
            parts.push(self.add());
        }
        let mut hardware: Vec<Hardware> = parts.iter().map(|m| self.machines[*m].hardware.clone()).collect();
        let mut touched: Vec<&mut Hardware> = hardware.iter_mut().collect();
        if !change.apply(&mut touched, &mut self.random, &mut self.factory) {
            return None;
        }
        for (machine, new) in parts.iter().zip(hardware) {
            let machine = &mut self.machines[*machine];
            machine.pending += usize::from(machine.hardware != new);
            machine.hardware = new;
        }
        self.now += match change {
            Change::Reboot if self.random.percent(50) => 30 * SECOND,
            _ => 10 * MINUTE,
        };
        // A machine that lost a part may stay off for a while.
        if parts.len() > 1 && self.random.percent(20) {
            parts.remove(0);
        }
        Some(self.round(&parts, change).await)
    }

    /// All machines boot for the first time.
    pub(crate) async fn first_boots(&mut self) -> Outcome {
        let all: Vec<usize> = (0..self.machines.len()).collect();
        self.round(&all, Change::NewMachines).await
    }

    fn draw(&mut self, known: &[usize], count: usize) -> Option<Vec<usize>> {
        let mut known = known.to_vec();
        self.random.shuffle(&mut known);
        (known.len() >= count).then(|| known[..count].to_vec())
    }

    async fn round(&mut self, parts: &[usize], change: Change) -> Outcome {
        let mut order = parts.to_vec();
        self.random.shuffle(&mut order);
        for machine in &order {
            for (kind, values) in self.machines[*machine].hardware.values() {
                for value in values {
                    self.owners.entry((kind, value.to_lowercase())).or_default().insert(*machine);
                }
            }
        }
        let mut outcome = Outcome {
            apart: order.iter().any(|m| !self.is_told_apart(*m, change == Change::VirtualInterfaces)),
            several: order.iter().any(|m| self.machines[*m].pending > 1),
            ..Outcome::default()
        };
        let at_once = self.random.percent(50);
        let mut boots = Vec::new();
        for machine in order {
            let boot = self.boot(machine, change, &mut outcome).await;
            if !at_once {
                self.check_in(boot, change, &mut outcome).await;
            } else {
                boots.push(boot);
            }
        }
        self.random.shuffle(&mut boots);
        for boot in boots {
            self.check_in(boot, change, &mut outcome).await;
        }
        outcome
    }

    /// True when at least [`ENOUGH`] of the things that a machine is made of show values that are its own alone, and
    /// known to the server if the machine is; and no machine with two of the same numbers is known without parts, nor
    /// is this one: original clients report none.
    fn is_told_apart(&self, machine: usize, legacy: bool) -> bool {
        let it = &self.machines[machine];
        let values = it.hardware.values();
        let is_partless = |told: &Values| told["dimm"].iter().chain(&told["disk"]).all(|v| is_junk(v));
        let alike = |other: &Machine| {
            let Some(told) = &other.reported else { return false };
            let numbers = ["uuid", "serial", "board", "chassis"];
            let shown = |list: &[String]| list.iter().any(|v| !is_junk(v));
            let (same, other): (Vec<&str>, Vec<&str>) = numbers
                .into_iter()
                .filter(|k| shown(&values[k]) && shown(&told[k]))
                .partition(|k| values[k].iter().any(|v| told[k].contains(v)));
            (legacy || is_partless(told)) && (same.len() >= 2 || (same.len() == 1 && other.is_empty()))
        };
        let known = it.reported.as_ref();
        // One that is known by its parts and shows them is not any other.
        let shows_no_parts = legacy || known.is_none_or(is_partless);
        if shows_no_parts && self.machines.iter().enumerate().any(|(other, them)| other != machine && alike(them)) {
            return false;
        }
        let shown = values.iter().filter(|(kind, values)| {
            values.iter().any(|value| {
                let alone = self.owners[&(**kind, value.to_lowercase())].len() == 1;
                alone && !is_junk(value) && known.is_none_or(|known| known[*kind].contains(value))
            })
        });
        let kinds: BTreeSet<&str> = shown.map(|(kind, _)| *kind).collect();
        let things = THINGS.iter().filter(|kinds_of_it| kinds_of_it.iter().any(|kind| kinds.contains(kind))).count();
        if it.hardware.virtual_one {
            kinds.len() >= ENOUGH
        } else {
            things >= ENOUGH && (kinds.len() > ENOUGH || !known.is_some_and(is_partless))
        }
    }

    async fn boot(&mut self, machine: usize, change: Change, outcome: &mut Outcome) -> Boot {
        self.boots += 1;
        let legacy = change == Change::VirtualInterfaces;
        let mut boot = Boot {
            machine,
            id: format!("{:08x}-0000-4000-8000-{:012x}", self.fleet, self.boots),
            url_id: None,
            started: 0,
            seq: 0,
            legacy,
            slow_disks: !legacy && self.random.percent(33),
        };
        if legacy || self.random.percent(70) {
            let pairs = self.machines[machine].hardware.query(&mut self.random);
            let query::Machine { info, dhcp_mac } = query::machine(&pairs);
            let work = Lookup {
                config: Arc::clone(&self.config),
                now: self.now,
                info,
                dhcp_mac,
                asked: Asked::Boot { image: true },
                room: Room::BOUNDLESS,
            };
            let found = self.store.writer.write(work).await.unwrap();
            outcome.story.push(format!("machine {machine} boots with {pairs:?}: {found:?}"));
            boot.url_id = found.ok().map(|f| f.id);
        }
        self.now += 5 * SECOND;
        boot.started = self.now;
        boot
    }

    /// A first check-in and a second one; with lost replies also repeats and replays.
    async fn check_in(&mut self, mut boot: Boot, change: Change, outcome: &mut Outcome) {
        if boot.legacy && boot.url_id.is_none() {
            // Original clients only ever boot with an id.
            return;
        }
        self.now = self.now.max(boot.started + i64::try_from(TO_CHECKIN_S).unwrap() * SECOND) + SECOND;
        for round in 0..2 {
            boot.seq += 1 + u64::from(change == Change::LostReplies);
            // Mostly the second one has no news, as agents send it.
            let complete = !boot.slow_disks || round > 0;
            let whole = boot.legacy || boot.slow_disks || round == 0 || self.random.percent(25);
            let request = self.request(&boot, whole, complete);
            let answer = self.send(&boot, &request).await;
            if change == Change::LostReplies && answer.is_ok() {
                assert_eq!(self.send(&boot, &request).await, answer, "a repeat is answered alike");
            }
            if complete {
                self.judge(&boot, &answer, outcome).await;
            } else {
                outcome.story.push(format!("machine {} checks in without its disks: {answer:?}", boot.machine));
            }
            self.now += 60 * SECOND;
        }
        if change == Change::LostReplies {
            boot.seq -= 1;
            let late = self.request(&boot, false, true);
            let refused = self.send(&boot, &late).await;
            assert_eq!(refused.map_err(|r| r.status), Err(409), "what comes late is refused");
        }
    }

    fn request(&self, boot: &Boot, whole: bool, complete: bool) -> CheckinRequest {
        let hardware = &self.machines[boot.machine].hardware;
        if boot.legacy {
            let facts = hardware.facts().into_iter().collect();
            return CheckinRequest { hw_id: hardware.ports[0].mac.clone(), facts: Some(facts), ..Default::default() };
        }
        let mut stable = hardware.inventory();
        if !complete {
            stable.disks.clear();
        }
        CheckinRequest {
            hw_id: wire::facts::hw_id(&stable),
            inventory_digest: Some(wire::digest::stable(&stable)),
            inventory: whole.then_some(Inventory { stable, volatile: None }),
            boot_id: Some(boot.id.clone()),
            seq: Some(boot.seq),
            uptime_s: u64::try_from((self.now - boot.started) / SECOND).ok(),
            ..Default::default()
        }
    }

    async fn send(&self, boot: &Boot, request: &CheckinRequest) -> Result<CheckinReply, Refusal> {
        let work = Checkin {
            config: Arc::clone(&self.config),
            now: self.now,
            url_id: boot.url_id,
            body: format!("{} {}", boot.id, boot.seq),
            key: None,
            said: Said::of(request, &self.config).unwrap(),
            request: request.clone(),
            room: Room::BOUNDLESS,
        };
        self.store.writer.write(work).await.unwrap()
    }

    /// True when the log of a node, which is part of the feed, says that the machine became node `new`, or that it was
    /// refused just now.
    async fn is_told(&self, db: &mut sql::Connection, lost: i64, new: Option<i64>) -> bool {
        let select = "SELECT EXISTS (SELECT 1 FROM node_log WHERE node = $1 AND CASE WHEN $2 IS NULL
                      THEN at = $3 AND entry ->> '$.error' = 'duplicate_node'
                      ELSE at >= $4 AND entry ->> '$.event' = 'identity' AND entry ->> '$.node' = 'node' || $2 END)";
        let select = sql::query_scalar(select).bind(lost).bind(new).bind(self.now).bind(self.now - 2 * MINUTE);
        select.fetch_one(db).await.unwrap()
    }

    /// Compares the answer with the truth, and takes it for the truth where the machine is new.
    async fn judge(&mut self, boot: &Boot, answer: &Result<CheckinReply, Refusal>, outcome: &mut Outcome) {
        let machine = boot.machine;
        outcome.story.push(format!("machine {machine} checks in: {answer:?}"));
        let mut db = self.store.readers.acquire().await.unwrap();
        // An original client is not told its node.
        let heard: Option<i64> = sql::query_scalar("SELECT id FROM nodes WHERE last_checkin = $1")
            .bind(self.now)
            .fetch_optional(&mut db)
            .await
            .unwrap();
        let Some(id) = heard else {
            // No answer: nothing was decided, so a known machine is without its node.
            match self.machines[machine].node {
                Some(lost) => {
                    outcome.lost = true;
                    outcome.silent |= !self.is_told(&mut db, lost, None).await;
                }
                None => outcome.held = true,
            }
            return;
        };
        if let Ok(reply) = answer {
            outcome.held |= reply.state == Some(NodeState::Held);
        }
        // Aliases resolved, all in one query: this is asked more often than all else.
        let known: Vec<(usize, i64)> =
            self.machines.iter().enumerate().filter_map(|(m, it)| Some((m, it.node?))).collect();
        let ids = serde_json::json!(known.iter().map(|(_, node)| node).collect::<Vec<_>>()).to_string();
        let select = "SELECT coalesce(a.node, k.value) FROM json_each($1) k LEFT JOIN aliases a ON a.alias = k.value ORDER BY k.key";
        let now: Vec<i64> = sql::query_scalar(select).bind(ids).fetch_all(&mut db).await.unwrap();
        let nodes = known.iter().map(|(m, _)| *m).zip(now);
        for (other, node) in nodes {
            if other != machine {
                outcome.wrong |= node == id;
            } else if node != id {
                outcome.lost = true;
                outcome.silent |= !self.is_told(&mut db, node, Some(id)).await;
            }
        }
        if outcome.lost || outcome.wrong {
            let select = "SELECT n.decision || ' ' || (SELECT group_concat(e.node || ' ' || e.kind || '=' || e.value, ', ')
                          FROM evidence e WHERE e.node IN (SELECT value FROM json_each($2))) FROM nodes n WHERE n.id = $1";
            let mine: Vec<i64> = self.machines[machine].node.into_iter().collect();
            let why = sql::query_scalar(select).bind(id).bind(serde_json::json!(mine).to_string());
            let why: Option<String> = why.fetch_one(&mut db).await.unwrap();
            outcome.story.push(format!("decided: {}", why.unwrap_or_default()));
        }
        let it = &mut self.machines[machine];
        it.node = Some(id);
        let mut told = it.hardware.values();
        if boot.legacy {
            // Facter shows no chassis, no TPM and no parts.
            for (kind, values) in &mut told {
                if !["uuid", "serial", "board", "mac"].contains(kind) {
                    values.clear();
                }
            }
        }
        it.reported = Some(told);
        it.pending = 0;
    }
}
