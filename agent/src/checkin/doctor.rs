//! `mk-agent doctor`: the way to the server step by step, link, address, server, name, connection, HTTP, greeting,
//! check-in, up to the first step that fails, each with what was seen. The questions are asked anew, by the same code as
//! a check-in's; what they come to is pure.

use std::fmt::Write as _;

use anyhow::Context as _;
use wire::error::Problem;

use super::no_server;
use super::transport::{Timeouts, Transport};
use super::verdict::{self, Failure};
use super::watch::{Inputs, no_network};
use crate::settings::Settings;
use crate::state::{Checkin, Net, Published as _, ServerHint, uptime};

/// The steps behind the knowledge of a server, and the codes of the failures that belong to each; the greeting has the
/// rest.
const ON_THE_WAY: [(&str, &[&str]); 4] = [
    ("name", &["dns"]),
    ("connection", &["bad_url", "no_ca", "plain_http", "bad_ca", "connect", "connect_timeout"]),
    ("tls", &["tls"]),
    ("http", &["timeout", "broken", "not_http", "too_large", "http_status", "redirected", "not_json"]),
];

/// A server, and whether it greeted as one of ours.
type Greeted = (ServerHint, Result<(), Failure>);

/// One step of the way.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Step {
    name: &'static str,
    /// What was seen, or what is wrong.
    found: Result<String, Problem>,
}

/// What was found, as text, and whether all is well.
pub(crate) struct Report {
    pub(crate) text: String,
    pub(crate) is_well: bool,
}

/// Walks the way to the server.
///
/// # Errors
/// The runtime cannot be started.
pub(crate) fn doctor() -> anyhow::Result<Report> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start")?;
    let (inputs, net) = Inputs::read();
    let ca = Settings::load().site.ca_pem;
    let greeted = runtime.block_on(greet(ca.as_deref(), &inputs));
    let steps = steps(&net, &inputs, &greeted, &Checkin::read().unwrap_or_default());
    Ok(Report { text: render(&steps), is_well: steps.iter().all(|s| s.found.is_ok()) })
}

/// Asks every server what it is.
async fn greet(ca: Option<&str>, inputs: &Inputs) -> Vec<Greeted> {
    let mut greeted = Vec::new();
    let mut transport = Transport::new(ca, Timeouts::default());
    for hint in inputs.servers.iter().filter(|_| inputs.has_address()) {
        let said = match transport.as_mut() {
            Ok(transport) => {
                let (url, mut answer) = transport.hello(&hint.url, &[]).await;
                if answer.as_ref().is_err_and(|f| f.unreached) && inputs.ports.len() > 1 {
                    answer = transport.hello(&hint.url, &inputs.ports).await.1;
                }
                answer.and_then(|answer| verdict::hello(&url, &answer))
            }
            Err(failure) => Err(failure.clone()),
        };
        greeted.push((hint.clone(), said));
    }
    greeted
}

/// The steps up to the first that fails.
fn steps(net: &Net, inputs: &Inputs, greeted: &[Greeted], checkin: &Checkin) -> Vec<Step> {
    let mut steps = network(net, inputs);
    if steps.iter().any(|s| s.found.is_err()) {
        return steps;
    }
    let Some((first, said)) = greeted.iter().find(|(_, said)| said.is_ok()).or(greeted.first()) else {
        steps.push(Step { name: "server", found: Err(no_server()) });
        return steps;
    };
    steps.push(Step { name: "server", found: Ok(format!("{} ({})", first.url, first.source)) });
    // An original server has no greeting: then its answer to a check-in is what counts.
    let answers = checkin.server.as_ref() == Some(&first.url) && checkin.failures == 0;
    if let Err(failure) = said.as_ref().map_err(|f| &f.problem)
        && !answers
    {
        let at = ON_THE_WAY.iter().position(|(_, codes)| codes.contains(&failure.code.as_str()));
        let name = at.map_or("greeting", |at| ON_THE_WAY[at].0);
        steps.push(Step { name, found: Err(failure.clone()) });
        return steps;
    }
    let greeting = if said.is_ok() { "it is one of ours" } else { "none, as from an original server" };
    steps.push(Step { name: "greeting", found: Ok(greeting.to_owned()) });
    steps.push(Step { name: "check-in", found: last_check_in(checkin) });
    if let Some(problem) = &checkin.warning {
        steps.push(Step { name: "clock", found: Err(problem.clone()) });
    }
    steps
}

fn network(net: &Net, inputs: &Inputs) -> Vec<Step> {
    let up: Vec<&str> = net.ports.iter().filter(|p| p.up).map(|p| p.name.as_str()).collect();
    let link = if up.is_empty() { Err(no_network(net)) } else { Ok(format!("up on {}", up.join(", "))) };
    let addresses = net.ports.iter().filter(|p| p.up && !p.addresses.is_empty());
    let addresses: Vec<String> =
        addresses.map(|p| format!("{} on {} ({})", p.addresses.join(" "), p.name, p.source)).collect();
    let address = if inputs.has_address() { Ok(addresses.join("; ")) } else { Err(no_network(net)) };
    let linked = link.is_ok();
    let mut steps = vec![Step { name: "link", found: link }];
    if linked {
        steps.push(Step { name: "address", found: address });
    }
    steps
}

fn last_check_in(checkin: &Checkin) -> Result<String, Problem> {
    if let Some(problem) = checkin.error.as_ref().or(checkin.reason.as_ref()) {
        return Err(problem.clone());
    }
    let name = checkin.node_name.as_deref().unwrap_or("this node");
    match checkin.last_contact_s {
        Some(at) => Ok(format!("as {name} {:.0} s ago", (uptime() - at).max(0.0))),
        None => Err(Problem::new(
            "no_check_in",
            "no check-in was answered yet",
            "Wait a minute, then see `mk-agent logs checkin`.",
        )),
    }
}

fn render(steps: &[Step]) -> String {
    let mut text = String::new();
    for Step { name, found } in steps {
        let _: Result<(), _> = match found {
            Ok(seen) => writeln!(text, "{name:<11} ok      {seen}"),
            Err(p) => writeln!(text, "{name:<11} FAILED  {} ({})\n{:<19} Next step: {}", p.error, p.code, "", p.remedy),
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Port;

    const URL: &str = "http://10.0.2.2:8150";

    /// A machine on which all is well: its network, what a server said, its last check-in.
    fn well() -> (Net, Vec<Greeted>, Checkin) {
        let hint = ServerHint { url: URL.to_owned(), checkin: None, source: "kernel line".to_owned(), guessed: false };
        let port = Port {
            name: "eth0".to_owned(),
            up: true,
            addresses: vec!["10.0.2.15/24".to_owned()],
            source: "dhcp from 10.0.2.2".to_owned(),
            ..Port::default()
        };
        let net = Net { ports: vec![port], servers: vec![hint.clone()], ..Net::default() };
        let checkin = Checkin {
            node_name: Some("node7".to_owned()),
            server: Some(URL.to_owned()),
            last_contact_s: Some(uptime()),
            ..Checkin::default()
        };
        (net, vec![(hint, Ok(()))], checkin)
    }

    fn walk(net: &Net, greeted: &[Greeted], checkin: &Checkin) -> String {
        let inputs = Inputs::of(net, crate::state::Devices::default());
        let steps = steps(net, &inputs, greeted, checkin);
        let failed = steps.iter().filter(|s| s.found.is_err()).count();
        assert!(failed <= 1 && steps.iter().rev().skip(1).all(|s| s.found.is_ok()), "the first that fails is the last");
        render(&steps)
    }

    #[test]
    fn a_node_that_is_well() {
        let (net, greeted, checkin) = well();
        let expected = "link        ok      up on eth0\n\
                        address     ok      10.0.2.15/24 on eth0 (dhcp from 10.0.2.2)\n\
                        server      ok      http://10.0.2.2:8150 (kernel line)\n\
                        greeting    ok      it is one of ours\n\
                        check-in    ok      as node7 0 s ago\n";
        assert_eq!(walk(&net, &greeted, &checkin), expected);
    }

    #[test]
    fn each_fault_is_named_at_its_step() {
        type Harm = fn(&mut Net, &mut Vec<Greeted>, &mut Checkin);
        let cases: [(&str, Harm); 9] = [
            ("link", |n, _, _| n.ports[0].up = false),
            ("link", |n, _, _| n.ports.clear()),
            ("address", |n, _, _| n.ports[0].addresses.clear()),
            ("server", |_, g, _| g.clear()),
            ("name", |_, g, c| fail(g, c, "dns")),
            ("connection", |_, g, c| fail(g, c, "connect_timeout")),
            ("http", |_, g, c| fail(g, c, "not_json")),
            ("greeting", |_, g, c| fail(g, c, "not_our_server")),
            ("check-in", |_, _, c| c.reason = Some(Problem::new("x", "it is disputed", "Settle it."))),
        ];
        for (step, harm) in cases {
            let (mut net, mut greeted, mut checkin) = well();
            harm(&mut net, &mut greeted, &mut checkin);
            let text = walk(&net, &greeted, &checkin);
            assert!(text.contains(&format!("{step:<11} FAILED")) && text.contains("Next step: "), "{step}: {text}");
        }
    }

    fn fail(greeted: &mut [Greeted], checkin: &mut Checkin, code: &str) {
        greeted[0].1 = Err(Failure::new(code, "e".to_owned(), "r"));
        checkin.failures = 1;
    }

    #[test]
    fn an_original_server_has_no_greeting_but_answers() {
        let (net, mut greeted, checkin) = well();
        greeted[0].1 = Err(Failure::new("http_status", "404".to_owned(), "r"));
        assert!(walk(&net, &greeted, &checkin).contains("greeting    ok      none, as from an original server"));
    }
}
