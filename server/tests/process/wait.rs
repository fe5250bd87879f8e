//! The question that waits: a node hears within a moment that there is something to be told.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use wire::routes::WAIT;

use crate::agents::{Boot, inventory};
use crate::commands::{commands, with_a_node};
use crate::conflicts::{late_disks, said};
use crate::support::{Answer, Server};

/// What a question that waits that long would take.
pub(crate) const LONG_S: u64 = 40;
/// Far less, and more than any machine takes that is only busy.
pub(crate) const SOON: Duration = Duration::from_secs(20);
/// Numbers between two questions, for those that look whether the later one waits.
const BETWEEN: u64 = 1_000_000;

/// Sends a question of this boot, signed with the key of `signer`.
pub(crate) async fn ask(server: &Server, node: u64, boot: &str, signer: &Boot, more: &str) -> Answer {
    let query = format!("boot_id={boot}&{more}");
    let mut request = server.request(reqwest::Method::GET, &format!("{WAIT}/{node}?{query}"));
    for (name, value) in signer.sign_message(&wire::sign::wait(node, &query)) {
        request = request.header(name, value);
    }
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    (status, serde_json::from_slice(&response.bytes().await.unwrap()).unwrap_or(Value::Null))
}

/// Waits until question `number` of this boot waits, after which nothing of these was asked but lower ones; gives the refusal of
/// one of those.
async fn overtaken(server: &Server, boot: &Boot, number: u64) -> Answer {
    let begun = Instant::now();
    for lower in number - BETWEEN + 1..number {
        let answer = ask(server, 1, &boot.id, boot, &format!("config=0&number={lower}&wait=0")).await;
        if answer.0 == 409 {
            return answer;
        }
        assert!(begun.elapsed() < SOON, "{answer:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("question {number} does not wait");
}

/// The version of the configuration that the node is told to have.
pub(crate) async fn version(server: &Server, boot: &mut Boot) -> u64 {
    boot.send(server, &json!({})).await.1["config_version"].as_u64().unwrap()
}

#[tokio::test]
async fn a_command_and_a_changed_configuration_answer_the_question_at_once() {
    let (server, mut boot) = with_a_node("").await;
    let events: [&[&str]; 3] = [
        &["nodes", "doctor", "node1"],
        &["config", "set", "--node", "node1", "mk_checkin_interval=30"],
        &["config", "set", "mk_log_level=Logger::DEBUG"],
    ];
    for (number, words) in (1..).map(|n| n * BETWEEN).zip(events) {
        let config = version(&server, &mut boot).await;
        let begun = Instant::now();
        let question = format!("config={config}&number={number}&wait={LONG_S}");
        let (answer, ()) = tokio::join!(ask(&server, 1, &boot.id, &boot, &question), async {
            overtaken(&server, &boot, number).await;
            let mut command = server.command(words);
            let status = tokio::task::spawn_blocking(move || command.output().unwrap().status).await.unwrap();
            assert!(status.success(), "{words:?}");
        });
        println!("{words:?}: answered after {:?}", begun.elapsed());
        assert_eq!(answer, (200, json!({"due": true})), "{words:?}");
        assert!(begun.elapsed() < SOON, "{words:?}: {:?}", begun.elapsed());
    }
    assert_eq!(commands(&boot.send(&server, &json!({})).await)[0]["kind"], "doctor");
    let config = version(&server, &mut boot).await;
    let again = ask(&server, 1, &boot.id, &boot, &format!("config={config}&number={}&wait=1", 4 * BETWEEN)).await;
    assert_eq!(again, (200, json!({"due": false})), "it was told, and has not said what came of it");
}

#[tokio::test]
async fn what_came_before_the_question_is_not_missed() {
    let (server, mut boot) = with_a_node("").await;
    let config = version(&server, &mut boot).await;
    said(&server, &["nodes", "collect", "node1"]);
    let begun = Instant::now();
    let answer = ask(&server, 1, &boot.id, &boot, &format!("config={config}&number=2&wait={LONG_S}")).await;
    assert_eq!(answer, (200, json!({"due": true})));
    assert!(begun.elapsed() < SOON);
    let answer = ask(&server, 1, &boot.id, &boot, &format!("config={}&number=3&wait={LONG_S}", config + 1)).await;
    assert_eq!(answer, (200, json!({"due": true})), "the node has another configuration");
}

#[tokio::test]
async fn a_question_waits_longer_than_a_request_may_take_to_come() {
    let (server, mut boot) = with_a_node("").await;
    let config = version(&server, &mut boot).await;
    let answer = ask(&server, 1, &boot.id, &boot, &format!("config={config}&number=1&wait=12")).await;
    assert_eq!(answer, (200, json!({"due": false})));
}

#[tokio::test]
async fn strangers_and_replays_do_not_wait() {
    let (server, mut boot) = with_a_node("").await;
    let mut other = Boot::new(2);
    other.send(&server, &inventory(&["00-11-22-33-44-bb"], "S2")).await;
    let config = version(&server, &mut boot).await;
    let question = format!("config={config}&number={BETWEEN}&wait={LONG_S}");
    for (node, as_boot, signer, more, status, code) in [
        (1, Boot::new(9).id, &boot, question.as_str(), 404, "no_such_boot"),
        (1, boot.id.clone(), &other, question.as_str(), 409, "wrong_key"),
        (2, boot.id.clone(), &boot, question.as_str(), 409, "wrong_node"),
        (7, boot.id.clone(), &boot, question.as_str(), 404, "no_such_node"),
        (1, boot.id.clone(), &boot, "config=0", 400, "bad_query"),
    ] {
        let (got, answer) = ask(&server, node, &as_boot, signer, more).await;
        assert_eq!((got, answer["code"].as_str().unwrap()), (status, code), "{answer}");
    }
    let (first, second) = tokio::join!(ask(&server, 1, &boot.id, &boot, &question), async {
        let replay = overtaken(&server, &boot, BETWEEN).await;
        let later = format!("config={config}&number={}&wait=0", BETWEEN + 1);
        (replay, ask(&server, 1, &boot.id, &boot, &later).await)
    });
    assert_eq!((second.0.0, second.0.1["code"].as_str()), (409, Some("replay")), "{second:?}");
    assert_eq!((first, second.1), ((200, json!({"due": false})), (200, json!({"due": false}))), "the later one counts");
    let replay = ask(&server, 1, &boot.id, &boot, &question).await;
    assert_eq!((replay.0, replay.1["code"].as_str()), (409, Some("replay")), "also when none waits: {replay:?}");
    let mut next = Boot::new(3);
    next.send(&server, &inventory(&["00-11-22-33-44-aa"], "S1")).await;
    let replay = ask(&server, 1, &boot.id, &boot, &format!("config={config}&number={}&wait=0", BETWEEN + 2)).await;
    assert_eq!((replay.0, replay.1["code"].as_str()), (409, Some("not_newest")), "of a boot that is over: {replay:?}");
}

#[tokio::test]
async fn a_machine_whose_disks_never_came_is_told_at_once_as_well() {
    let (server, mut boot, _) = late_disks().await;
    let config = version(&server, &mut boot).await;
    said(&server, &["nodes", "identify", "node1"]);
    let awaited = ask(&server, 1, &boot.id, &boot, &format!("config={config}&number=1&wait=0")).await;
    assert_eq!(awaited, (200, json!({"due": false})), "it may be another machine");
    assert!(commands(&boot.send(&server, &json!({})).await).is_empty());
    assert_eq!(commands(&boot.send(&server, &json!({"uptime_s": 300})).await)[0]["kind"], "identify");
    said(&server, &["nodes", "load-extension", "node1", "htop"]);
    let due = ask(&server, 1, &boot.id, &boot, &format!("config={config}&number=2&wait=0")).await;
    assert_eq!(due, (200, json!({"due": true})), "nothing is awaited any more");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_ends_while_nodes_wait() {
    let (mut server, mut boot) = with_a_node("").await;
    let config = version(&server, &mut boot).await;
    let question = format!("boot_id={}&config={config}&number={BETWEEN}&wait={LONG_S}", boot.id);
    let mut request = server.request(reqwest::Method::GET, &format!("{WAIT}/1?{question}"));
    for (name, value) in boot.sign_message(&wire::sign::wait(1, &question)) {
        request = request.header(name, value);
    }
    let waiting = tokio::spawn(request.send());
    overtaken(&server, &boot, BETWEEN).await;
    let begun = Instant::now();
    assert!(tokio::task::block_in_place(|| server.ends()));
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    let answer = waiting.await.unwrap().unwrap();
    assert_eq!(answer.json::<Value>().await.unwrap(), json!({"due": false}));
}
