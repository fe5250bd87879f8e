//! `mk-agent doctor`: the way to each server step by step, link, address, server, name, connection, TLS, HTTP, greeting,
//! and the last check-in, each with what was seen, up to the first step that fails; and a verdict that names it. The
//! questions are asked anew, by the same code as a check-in's; what they come to is pure.

use std::fmt::Write as _;
use std::net::IpAddr;

use anyhow::Context as _;
use wire::checkin::NodeState;
use wire::error::Problem;

use super::ask::no_server;
use super::transport::{Timeouts, Transport};
use super::verdict::{self, Answer, Failure};
use super::watch::{Inputs, no_network};
use crate::settings::Settings;
use crate::state::{Checkin, Net, Published as _, ServerHint, uptime};
use crate::text::plain;
use crate::tls::Ca;

/// The steps from a server's URL to its greeting, and the codes of the failures that belong to each; the greeting has the
/// rest.
const ON_THE_WAY: [(&str, &[&str]); 5] = [
    ("name", &["dns"]),
    ("connection", &["bad_url", "no_ca", "plain_http", "bad_ca", "bad_settings", "connect", "connect_timeout"]),
    ("tls", &["tls"]),
    (HTTP, &["timeout", "broken", "not_http", "too_large", "http_status", "redirected", "not_json"]),
    (GREETING, &[]),
];
const HTTP: &str = "http";
const GREETING: &str = "greeting";

/// What was seen on the way to a server.
struct Way {
    hint: ServerHint,
    /// Where its name leads; none if its URL has an address, or if nobody knows.
    addresses: Vec<IpAddr>,
    /// What it said, if it came to that.
    answer: Option<Answer>,
    /// Whether that is a greeting of ours.
    said: Result<(), Failure>,
}

/// One step of the way.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Step {
    name: &'static str,
    /// URL of the server to which it leads.
    to: Option<String>,
    /// What was seen, or what is wrong.
    found: Result<String, Problem>,
    /// Nothing is wrong with this node if this fails: it is a guess that nobody needs.
    may_fail: bool,
}

impl Step {
    fn new(name: &'static str, found: Result<String, Problem>) -> Self {
        Self { name, to: None, found, may_fail: false }
    }
}

/// What was found, as text, and whether all is well.
pub(crate) struct Report {
    pub(crate) text: String,
    pub(crate) is_well: bool,
}

impl Report {
    /// The verdict, and then how it was come to: the beginning is what is left where a text is cut.
    pub(super) fn verdict_first(&self) -> String {
        let steps = self.text.trim_end();
        match steps.rsplit_once('\n') {
            Some((steps, verdict)) => format!("{verdict}\n{steps}"),
            None => steps.to_owned(),
        }
    }
}

/// Walks the way to the server.
///
/// # Errors
/// The runtime cannot be started.
pub(crate) fn doctor() -> anyhow::Result<Report> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start")?;
    let (inputs, net) = Inputs::read();
    let settings = Settings::load();
    let ways = runtime.block_on(greet(settings.ca(), &inputs));
    Ok(report(&steps(&net, &inputs, &ways, &Checkin::read().unwrap_or_default())))
}

/// Asks every server what it is.
async fn greet(ca: Result<Option<Ca<'_>>, Problem>, inputs: &Inputs) -> Vec<Way> {
    let mut ways = Vec::new();
    let mut transport = Transport::new(ca, Timeouts::default());
    for hint in inputs.servers.iter().filter(|_| inputs.has_address()).cloned() {
        ways.push(match transport.as_mut() {
            Ok(transport) => {
                let (url, mut answer) = transport.hello(&hint.url, &[]).await;
                if answer.as_ref().is_err_and(|f| f.unreached) && inputs.ports.len() > 1 {
                    answer = transport.hello(&hint.url, &inputs.ports).await.1;
                }
                let said = answer.as_ref().map_err(Clone::clone).and_then(|answer| verdict::hello(&url, answer));
                Way { addresses: transport.addresses(&hint.url), answer: answer.ok(), said, hint }
            }
            Err(failure) => Way { addresses: Vec::new(), answer: None, said: Err(failure.clone()), hint },
        });
    }
    ways
}

/// All steps: those to each server up to the first of them that fails.
fn steps(net: &Net, inputs: &Inputs, ways: &[Way], checkin: &Checkin) -> Vec<Step> {
    let mut steps = network(net, inputs);
    if steps.iter().any(|s| s.found.is_err()) {
        return steps;
    }
    if ways.is_empty() {
        steps.push(Step::new("server", Err(no_server())));
        return steps;
    }
    let walked: Vec<Vec<Step>> = ways.iter().map(|way| way_steps(way, checkin)).collect();
    let arrives = |walked: &[Step]| walked.iter().all(|s| s.found.is_ok());
    let one_arrives = walked.iter().any(|w| arrives(w));
    for (way, mut walked) in ways.iter().zip(walked) {
        for step in &mut walked {
            step.may_fail = one_arrives && way.hint.guessed;
        }
        steps.extend(walked);
    }
    if one_arrives {
        steps.push(Step::new("check-in", last_check_in(checkin)));
        steps.extend(enrolment(checkin).map(|found| Step::new("enrolment", found)));
        steps.extend(checkin.warning.iter().map(|problem| Step::new("clock", Err(problem.clone()))));
        steps.extend(boot(checkin).map(|seen| Step::new("boot", Ok(seen))));
    }
    steps
}

/// How long the boot took, and what it usually is where the slowest stage is too slow.
fn boot(checkin: &Checkin) -> Option<String> {
    let (summary, slowest) = (checkin.card.summary()?, checkin.card.slowest()?);
    Some(format!("{summary}, often due to {}", slowest.hint))
}

/// The steps to one server.
fn way_steps(way: &Way, checkin: &Checkin) -> Vec<Step> {
    let Way { hint, addresses, answer, said } = way;
    // An original server has no greeting: then its answer to a check-in is what counts.
    let checks_in = checkin.server.as_ref() == Some(&hint.url) && checkin.failures == 0;
    let is_original = said.is_err() && answer.is_some() && checks_in;
    let failure = said.as_ref().err().filter(|_| !is_original);
    let failing = failure.map_or("", |failure| {
        // Whoever answered was reached, whatever code its words have.
        let open = ON_THE_WAY.iter().filter(|(name, _)| answer.is_none() || [HTTP, GREETING].contains(name));
        open.clone()
            .find(|(_, codes)| codes.contains(&failure.problem.code.as_str()))
            .map_or(GREETING, |(name, _)| name)
    });
    let mut steps = vec![Step::new("server", Ok(format!("{} ({})", hint.url, hint.source)))];
    for (name, _) in ON_THE_WAY {
        let seen = match name {
            "name" if addresses.is_empty() => None,
            "name" => Some(addresses.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(" ")),
            "connection" => {
                Some(answer.as_ref().and_then(|a| a.peer).map_or("made".to_owned(), |peer| format!("to {peer}")))
            }
            "tls" => hint.url.starts_with("https:").then(|| "its certificate is accepted".to_owned()),
            HTTP => answer.as_ref().map(Answer::head),
            _ if is_original => Some("none, as from an original server".to_owned()),
            _ => Some("it is one of ours".to_owned()),
        };
        match failure.filter(|_| name == failing) {
            Some(failure) => {
                steps.push(Step::new(name, Err(failure.problem.clone())));
                break;
            }
            None => steps.extend(seen.map(|seen| Step::new(name, Ok(seen)))),
        }
    }
    steps.iter_mut().for_each(|step| step.to = Some(hint.url.clone()));
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
    let mut steps = vec![Step::new("link", link)];
    if linked {
        steps.push(Step::new("address", address));
    }
    steps
}

fn last_check_in(checkin: &Checkin) -> Result<String, Problem> {
    let reason = checkin.reason.as_ref().filter(|_| checkin.state != Some(NodeState::Pending));
    if let Some(problem) = checkin.error.as_ref().or(reason) {
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

/// Whether the server has let this machine in; nothing where it knows no such thing.
fn enrolment(checkin: &Checkin) -> Option<Result<String, Problem>> {
    let key = checkin.key.as_ref().map(|key| format!(", its key is {key}")).unwrap_or_default();
    match (checkin.state?, &checkin.reason) {
        (NodeState::Pending, Some(reason)) => {
            Some(Err(Problem { error: format!("{}{key}", reason.error), ..reason.clone() }))
        }
        (NodeState::Normal, _) => Some(Ok(format!("this machine is accepted{key}"))),
        _ => None,
    }
}

/// One line a step, and what to do about those that matter; the first of these is the verdict.
fn report(steps: &[Step]) -> Report {
    let mut text = String::new();
    let mut line = |name: &str, word: &str, found: &str| {
        let _: Result<(), _> = writeln!(text, "{name:<11} {word:<7} {}", plain(found));
    };
    for Step { name, found, may_fail, .. } in steps {
        match found {
            Ok(seen) => line(name, "ok", seen),
            Err(p) if *may_fail => line(name, "no", &format!("{} ({}); it was only a guess", p.error, p.code)),
            Err(p) => {
                line(name, "FAILED", &format!("{} ({})", p.error, p.code));
                line("", "", &format!("Next step: {}", p.remedy));
            }
        }
    }
    let failed = steps.iter().find(|s| s.found.is_err() && !s.may_fail);
    match failed {
        None => line("verdict", "ok", "all is well"),
        Some(Step { name, to: None, .. }) => line("verdict", "FAILED", name),
        Some(Step { name, to: Some(url), .. }) => line("verdict", "FAILED", &format!("{name} to {url}")),
    }
    Report { text, is_well: failed.is_none() }
}

#[cfg(test)]
mod tests {
    use wire::card::Span;

    use super::*;
    use crate::state::Port;

    const URL: &str = "http://10.0.2.2:8150";

    /// A machine on which all is well: its network, the way to its server, its last check-in.
    fn well() -> (Net, Vec<Way>, Checkin) {
        let port = Port {
            name: "eth0".to_owned(),
            up: true,
            addresses: vec!["10.0.2.15/24".to_owned()],
            source: "dhcp from 10.0.2.2".to_owned(),
            ..Port::default()
        };
        let way = way(URL, false);
        let net = Net { ports: vec![port], servers: vec![way.hint.clone()], ..Net::default() };
        let checkin = Checkin {
            node_name: Some("node7".to_owned()),
            server: Some(URL.to_owned()),
            last_contact_s: Some(uptime()),
            ..Checkin::default()
        };
        (net, vec![way], checkin)
    }

    fn way(url: &str, guessed: bool) -> Way {
        let hint = ServerHint { url: url.to_owned(), checkin: None, source: "kernel line".to_owned(), guessed };
        let answer = Answer {
            peer: Some("10.0.2.2:8150".parse().unwrap()),
            status: 200,
            content_type: Some("application/json".to_owned()),
            ..Answer::default()
        };
        Way { hint, addresses: Vec::new(), answer: Some(answer), said: Ok(()) }
    }

    fn walk(net: &Net, ways: &[Way], checkin: &Checkin) -> Report {
        let inputs = Inputs::of(net, crate::state::Devices::default());
        report(&steps(net, &inputs, ways, checkin))
    }

    #[test]
    fn a_node_that_is_well() {
        let (net, mut ways, checkin) = well();
        let report = walk(&net, &ways, &checkin);
        let expected = "link        ok      up on eth0\n\
                        address     ok      10.0.2.15/24 on eth0 (dhcp from 10.0.2.2)\n\
                        server      ok      http://10.0.2.2:8150 (kernel line)\n\
                        connection  ok      to 10.0.2.2:8150\n\
                        http        ok      HTTP 200, application/json\n\
                        greeting    ok      it is one of ours\n\
                        check-in    ok      as node7 0 s ago\n\
                        verdict     ok      all is well\n";
        assert_eq!((report.text.as_str(), report.is_well), (expected, true));
        let first = report.verdict_first();
        assert!(first.starts_with("verdict     ok      all is well\nlink ") && first.ends_with(" 0 s ago"), "{first}");
        let mut checkin = checkin;
        checkin.card.dhcp = Some(Span { begin_ms: 6000, took_ms: 31_000 });
        let line =
            "boot        ok      slowest: DHCP lease 31.0 s, often due to the switch's spanning tree: set portfast\n";
        assert!(walk(&net, &ways, &checkin).text.contains(line));
        ways[0].hint.url = "https://mk.lab:8151".to_owned();
        ways[0].addresses = vec!["10.0.2.2".parse().unwrap()];
        let text = walk(&net, &ways, &checkin).text;
        for line in ["name        ok      10.0.2.2\n", "tls         ok      its certificate is accepted\n"] {
            assert!(text.contains(line), "{line} is not in {text}");
        }
    }

    #[test]
    fn each_fault_is_named_at_its_step_behind_those_that_are_well() {
        type Harm = fn(&mut Net, &mut Vec<Way>, &mut Checkin);
        let cases: [(&str, &str, Harm); 11] = [
            ("link", "", |n, _, _| n.ports[0].up = false),
            ("link", "", |n, _, _| n.ports.clear()),
            ("address", "link", |n, _, _| n.ports[0].addresses.clear()),
            ("server", "link address", |_, w, _| w.clear()),
            ("name", "link address server", |_, w, c| fail(w, c, "dns")),
            ("connection", "link address server", |_, w, c| fail(w, c, "connect_timeout")),
            ("http", "link address server connection", |_, w, c| fail(w, c, "timeout")),
            ("greeting", "link address server connection http", |_, w, c| {
                // A stranger's words do not move the step that failed.
                let answer = w[0].answer.clone();
                fail(w, c, "dns");
                w[0].answer = answer;
            }),
            ("check-in", "link address server connection http greeting", |_, _, c| {
                c.reason = Some(Problem::new("x", "it is disputed", "Settle it."));
            }),
            ("enrolment", "link address server connection http greeting check-in", |_, _, c| {
                c.state = Some(NodeState::Pending);
                c.reason = Some(Problem::new("pending", "it waits", "Approve it."));
            }),
            ("clock", "link address server connection http greeting check-in", |_, _, c| {
                c.warning = Some(Problem::new("clock", "it is behind", "Set it."));
            }),
        ];
        for (step, before, harm) in cases {
            let (mut net, mut ways, mut checkin) = well();
            harm(&mut net, &mut ways, &mut checkin);
            let Report { text, is_well } = walk(&net, &ways, &checkin);
            let with = |word: &str| -> Vec<&str> {
                let columns = text.lines().map(|l| l.split_ascii_whitespace().collect::<Vec<_>>());
                columns.filter(|c| c.get(1) == Some(&word)).map(|c| c[0]).collect()
            };
            assert_eq!(with("ok").join(" "), before, "{step}: {text}");
            assert_eq!(with("FAILED"), [step, "verdict"], "{text}");
            let last = text.lines().last().unwrap();
            assert!(!is_well && last.contains(&format!("FAILED  {step}")), "{step}: {text}");
            assert!(text.contains("Next step: "), "{step}: {text}");
        }
    }

    fn fail(ways: &mut [Way], checkin: &mut Checkin, code: &str) {
        ways[0].answer = None;
        ways[0].said = Err(Failure::new(code, "e".to_owned(), "r"));
        checkin.failures = 1;
    }

    #[test]
    fn of_several_servers_each_is_shown_and_the_named_one_counts() {
        let (net, mut ways, mut checkin) = well();
        ways.insert(0, way("http://guess", true));
        fail(&mut ways, &mut checkin, "connect");
        checkin.failures = 0;
        let guess = walk(&net, &ways, &checkin);
        assert!(
            guess.is_well && guess.text.contains("\nconnection  no      e (connect); it was only a guess\n"),
            "{}",
            guess.text
        );
        ways[0].hint.guessed = false;
        let named = walk(&net, &ways, &checkin);
        assert!(!named.is_well && named.text.contains("\ncheck-in    ok "), "{}", named.text);
        assert!(named.text.ends_with("verdict     FAILED  connection to http://guess\n"), "{}", named.text);
        ways[1].said = Err(Failure::new("not_our_server", "f".to_owned(), "r"));
        let none = walk(&net, &ways, &Checkin::default()).text;
        assert!(none.contains("\nconnection  FAILED  e") && none.contains("\ngreeting    FAILED  f"), "{none}");
    }

    #[test]
    fn an_original_server_has_no_greeting_but_answers() {
        let (net, mut ways, checkin) = well();
        ways[0].said = Err(Failure::new("http_status", "404".to_owned(), "r"));
        let report = walk(&net, &ways, &checkin);
        assert!(report.is_well && report.text.contains("greeting    ok      none, as from an original server"));
        ways[0].answer = None;
        assert!(!walk(&net, &ways, &checkin).is_well, "it does not answer any more");
    }
}
