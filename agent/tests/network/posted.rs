//! `POST /setMkConfig` over a real connection, from the unit `control` to the unit `checkin` and the server.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

use serde_json::{Value, json};

use crate::sandbox::{Cable, Place, eventually, must, possible};
use crate::server::{Seen, Server, none, say};

/// Posts this at the node; gives the answer's status and body.
fn post(cable: &Cable, body: &str) -> (String, String) {
    let answer = cable.at_node(|| {
        let mut stream = TcpStream::connect(("127.0.0.1", wire::routes::CONTROL_PORT)).unwrap();
        let head = format!("Host: localhost\r\nConnection: close\r\nContent-Length: {}", body.len());
        write!(stream, "POST /setMkConfig HTTP/1.1\r\n{head}\r\n\r\n{body}").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    });
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().to_owned(), body.to_owned())
}

/// Gives the node's end an address, and a listener at the other.
pub(crate) fn addressed(cable: &Cable) -> TcpListener {
    let node = &cable.node;
    must(&format!(
        "ip -n {node} link set lo up; ip -n {node} addr add 10.9.0.5/24 dev eth0; ip -n {node} link set eth0 up"
    ));
    cable.at_server(|| TcpListener::bind("10.9.0.1:0").unwrap())
}

/// A machine on this cable that knows this server.
pub(crate) fn wired(cable: &Cable, server: &Server) -> Place {
    let place = Place::with_ports("", &[cable]);
    let port = json!({"name": "eth0", "key": "0000:00:03.0", "mac": Cable::MAC, "up": true, "addresses": ["10.9.0.5/24"],
        "gateway": null, "source": "static", "error": null});
    let hint = json!({"url": server.url(), "checkin": null, "source": "the test", "guessed": false});
    place.publish("net", &json!({"ports": [port], "dns": [], "search": [], "servers": [hint], "problems": []}));
    place
}

#[test]
fn what_root_posts_is_in_force_until_the_server_pushes_another() {
    if !possible(&["ip", "unshare"]) {
        return;
    }
    let cable = Cable::new("p");
    let listener = addressed(&cable);
    let server = Server::answering(listener, |request, stream| {
        let posted = request.json()["config"].clone();
        // Once it has heard of it, and was told of the second one, it pushes its own.
        let more = match posted["posted"] == true && request.json()["facts"]["row"] == "2" {
            true => json!({"config_version": 5, "config": {"mk_checkin_interval": 1}}),
            false => json!({}),
        };
        say(stream, &none(&more).to_string());
    });
    let place = wired(&cable, &server);
    let (control, checkin) = (place.start("control"), place.start("checkin"));
    server.request(1);

    let facts = |row: u32| json!({"mk_facts_d": {"row.txt": format!("row={row}\n")}}).to_string();
    let (status, body) = post(&cable, &facts(1));
    assert_eq!((status.as_str(), body.as_str()), ("200", "the configuration is changed and in force\n"));
    let told = eventually("posted configuration", || {
        let seen = server.seen.lock().unwrap();
        seen.iter().map(Seen::json).find(|body| body["config"]["posted"] == true)
    });
    assert_eq!((&told["config"]["version"], &told["facts"]["row"]), (&json!(0), &json!("1")), "with the next check-in");
    let (status, body) = post(&cable, &facts(1));
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status.as_str(), &body["json_received"]["mk_facts_d"]), ("200", &json!({"row.txt": "row=1\n"})));
    assert!(body["message"].as_str().unwrap().contains("unchanged"), "{body}");

    let wrong = json!({"mk_facts_d": {"row.txt": "row=3\n"}, "mk_log_level": "LOUD"}).to_string();
    let (status, body) = post(&cable, &wrong);
    assert!(status == "400" && body.contains("mk_log_level is LOUD"), "{status}: {body}");
    // As a form encoder sends it.
    let form: String = facts(2).bytes().map(|byte| format!("%{byte:02X}")).collect();
    assert_eq!(post(&cable, &format!("{form}=")).0, "200");
    let pushed = eventually("the server's own", || {
        let seen = server.seen.lock().unwrap();
        seen.iter().map(Seen::json).find(|body| body["config"]["version"] == 5)
    });
    assert_eq!((&pushed["config"]["posted"], pushed["facts"].get("row")), (&Value::Null, None), "{pushed}");

    // One that still waits is not passed over for one that is as it was.
    drop(checkin);
    let now = json!({"mk_checkin_interval": 1}).to_string();
    let unchanged = || post(&cable, &now).1.contains("unchanged");
    assert!(unchanged());
    assert_eq!((post(&cable, &facts(3)).0, unchanged()), ("202".to_owned(), false));
    let _checkin = place.start("checkin");
    eventually("the last one that was posted", || {
        let config = place.state("config");
        (config["answer"]["number"] == place.state("posted")["number"]).then_some(())
    });
    assert_eq!(place.state("config")["config"], json!({"mk_checkin_interval": 1}));

    // Each unit logs as much as is in force when it starts.
    let quiet = json!({"mk_log_level": "Logger::ERROR"}).to_string();
    assert_eq!(post(&cable, &quiet).0, "200");
    let begun = || place.log("control").matches("status on").count();
    assert_eq!(begun(), 1);
    drop(control);
    let _control = place.start("control");
    let port = ("127.0.0.1", wire::routes::CONTROL_PORT);
    eventually("the port of the unit control", || cable.at_node(|| TcpStream::connect(port).ok()));
    assert!(post(&cable, &quiet).1.contains("unchanged"));
    assert_eq!(begun(), 1, "{}", place.log("control"));
}
