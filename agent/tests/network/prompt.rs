//! How soon commands are begun that come at any moment, and with how many requests; how seldom a server is asked that lets no
//! question wait; and that a machine is switched once, whatever ends the unit meanwhile.

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::sandbox::{eventually, possible};
use crate::server::{Seen, Server, machine, none, say};
use crate::supervisor::Supervisor;

/// Longer than any test waits: what comes before did not wait for the next check-in.
const LONG_S: u64 = 3600;
const COMMANDS: u64 = 10;
/// Every second one is begun, and ends later; the others are refused at once.
const BEGUN: u64 = COMMANDS / 2;
/// A second, on a machine four times slower.
const SOON: Duration = Duration::from_secs(4);

/// A server to which an operator gives commands.
#[derive(Default)]
struct Desk {
    /// The question that waits.
    waiting: Option<TcpStream>,
    /// Commands that were given, and when.
    given: BTreeMap<u64, Instant>,
    /// Those that were fetched.
    fetched: BTreeMap<u64, Duration>,
    /// Those that the node has told the outcome of.
    told: BTreeMap<u64, Duration>,
    questions: u64,
    check_ins: u64,
    /// What commands begin asks for this.
    greetings: u64,
}

impl Desk {
    fn give(&mut self, id: u64) {
        self.given.insert(id, Instant::now());
        if let Some(stream) = self.waiting.take() {
            say(&stream, r#"{"due":true}"#);
        }
    }

    fn answer(&mut self, request: &Seen, stream: &TcpStream) {
        let is_new = self.given.keys().any(|id| !self.fetched.contains_key(id));
        if request.line.starts_with("GET /svc/wait/") {
            self.questions += 1;
            match is_new {
                true => say(stream, r#"{"due":true}"#),
                false => self.waiting = Some(stream.try_clone().unwrap()),
            }
            return;
        }
        if request.line.starts_with("GET /svc/hello") {
            self.greetings += 1;
            return say(stream, r#"{"service":"razor-mk","protocol":1,"version":"0"}"#);
        }
        self.check_ins += 1;
        for result in request.json()["results"].as_array().into_iter().flatten() {
            let id = result["id"].as_u64().unwrap();
            self.told.entry(id).or_insert_with(|| self.given[&id].elapsed());
        }
        let open: Vec<u64> = self.given.keys().filter(|id| !self.told.contains_key(id)).copied().collect();
        for id in &open {
            self.fetched.entry(*id).or_insert_with(|| self.given[id].elapsed());
        }
        let kind = |id: u64| if id.is_multiple_of(2) { "doctor" } else { "dance" };
        let commands: Vec<Value> = open.iter().map(|id| json!({"id": id, "kind": kind(*id)})).collect();
        say(stream, &none(&json!({"interval": LONG_S, "config_version": 3, "commands": commands})).to_string());
    }
}

fn median(times: &BTreeMap<u64, Duration>) -> Duration {
    let mut times: Vec<Duration> = times.values().copied().collect();
    times.sort();
    times[times.len() / 2]
}

#[test]
fn commands_at_any_moment_are_begun_soon_and_cost_two_check_ins_each() {
    if !possible(&["unshare"]) {
        return;
    }
    let desk = Arc::new(Mutex::new(Desk::default()));
    let (at_desk, operator) = (Arc::clone(&desk), Arc::clone(&desk));
    let server = Server::serve(TcpListener::bind("127.0.0.1:0").unwrap(), true, move |request, stream| {
        at_desk.lock().unwrap().answer(request, stream);
    });
    let place = machine(&[(&server.url(), false)]);
    let _unit = place.start("checkin");
    let look = || operator.lock().unwrap_or_else(PoisonError::into_inner);
    eventually("question", || look().waiting.is_some().then_some(()));
    let moments = RandomState::new();
    for id in 1..=COMMANDS {
        let mut random = moments.build_hasher();
        random.write_u64(id);
        thread::sleep(Duration::from_millis(500 + random.finish() % 2500));
        look().give(id);
    }
    eventually("all outcomes", || (look().told.len() as u64 == COMMANDS).then_some(()));
    let desk = look();
    let (fetched, told) = (median(&desk.fetched), median(&desk.told));
    println!("by the median a command is fetched after {fetched:?} and its outcome told after {told:?}");
    println!("all outcomes: {:?}; {} check-ins, {} questions", desk.told.values(), desk.check_ins, desk.questions);
    let late = desk.told.values().filter(|after| **after > SOON).count();
    assert!(late <= 1, "{late} outcomes were told later than {SOON:?}");
    assert!((1..=BEGUN).contains(&desk.greetings), "{} greetings", desk.greetings);
    // The first, and for each command one that fetches it and one that tells its outcome; none besides, and fewer where two
    // commands went together.
    assert!((2..=1 + 2 * COMMANDS).contains(&desk.check_ins), "{} check-ins", desk.check_ins);
    // The outcome of what was begun ends the question that waits.
    assert!(desk.questions <= 1 + COMMANDS + BEGUN, "{} questions", desk.questions);
}

#[test]
fn a_server_that_lets_no_question_wait_is_asked_ever_more_seldom() {
    if !possible(&["unshare"]) {
        return;
    }
    let server = Server::serve(TcpListener::bind("127.0.0.1:0").unwrap(), true, |request, stream| {
        match request.line.starts_with("GET /svc/wait/") {
            true => say(stream, r#"{"due":false}"#),
            false => say(stream, &none(&json!({"interval": LONG_S, "config_version": 3})).to_string()),
        }
    });
    let place = machine(&[(&server.url(), false)]);
    let _unit = place.start("checkin");
    server.request(0);
    thread::sleep(Duration::from_secs(12));
    let requests = server.times();
    println!("asked after {requests:?} ms");
    // One check-in, and questions after 0, 1, 2, 4 and 8 s, each pause shortened at random by half at most.
    assert!((4..=6).contains(&requests.len()), "{requests:?}");
}

#[test]
fn a_reboot_that_was_acknowledged_is_asked_for_once_though_the_unit_was_killed_before() {
    if !possible(&["unshare"]) {
        return;
    }
    let server = Server::start(vec![none(&json!({"interval": LONG_S}))]);
    let place = machine(&[(&server.url(), false)]);
    let orders = place.path("run/razor-mk/checkin.commands");
    // As a unit leaves it that is killed between the acknowledgement and the request.
    std::fs::write(&orders, "reboot 4\n").unwrap();
    let supervisor = Supervisor::of(&place);
    let reboots = || supervisor.count_of("reboot");
    let unit = place.start("checkin");
    let first = server.request(0).json();
    assert_eq!(first["results"], json!([{"id": 4, "outcome": "accepted"}]));
    eventually("request for a reboot", || (reboots() > 0).then_some(()));
    drop(unit);
    assert_eq!(std::fs::read_to_string(&orders).unwrap(), "told 4\n");
    let before = server.times().len();
    let _unit = place.start("checkin");
    eventually("check-in of the next run", || (server.times().len() > before).then_some(()));
    eventually("its end", || (place.state("checkin")["stage"] == "checked in").then_some(()));
    assert_eq!(reboots(), 1);
}
