//! Server and guest side by side, from the first line of either to the orderly end of both.

use std::ffi::OsString;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde_json::Value;

use super::Media;
use super::guest::{self, Guest, HOST};
use super::node::{self, Client};
use super::screen::Screen;
use crate::process::{self, Errors, Event, Program, Source};
use crate::report::Report;
use crate::{images, limits, place};

/// What the server says first, before its URL.
const LISTENING: &str = "listening on ";

/// What to run.
pub(crate) struct Start<'a> {
    pub(crate) iso: &'a Path,
    pub(crate) dir: &'a Path,
    pub(crate) media: Media,
    pub(crate) guest: Guest<'a>,
    pub(crate) timeout: Duration,
    /// Stay up after the check-in.
    pub(crate) stay: bool,
    pub(crate) json: bool,
}

/// A node that has checked in.
struct Seen {
    name: String,
    text: String,
}

/// Runs server and guest until the node is there and, if so asked, on until Ctrl-C.
pub(crate) fn run(start: &Start, report: &mut Report) -> anyhow::Result<()> {
    let (sender, events) = channel();
    process::catch_signals(sender.clone())?;
    let (server, url) = report.step("server", || serve(&place::program("mk-server"), start.dir, &sender, &events))?;
    let client = Client::new(url.clone());
    let source = report.step("medium", || prepare(start, &client, &guests_url(&url)?))?;
    let (arguments, program) = (start.guest.arguments(&source), place::program("mk-vm"));
    let guest = Program::start("mk-vm", &program, arguments, Errors::Output, Source::Guest, sender)?;
    let mut screen = Screen::new("the guest boots");
    let result = report.step("boot and check-in", || check_in(start, &client, &mut screen, &events));
    let seen = match result {
        Ok(seen) => seen,
        Err(error) => {
            screen.done();
            return Err(failure(error, &screen, start.dir, &[&guest, &server]));
        }
    };
    let result = if start.stay {
        report.close();
        screen.say("server and guest stay up; Ctrl-C ends them");
        if let Some(port) = start.guest.ssh {
            screen.say(&format!("log in with: {}", log_in(start.dir, port)));
        }
        present(start, &client, &seen);
        screen.wait_for("up; Ctrl-C ends");
        stay(&mut screen, &events)
    } else {
        Ok(())
    };
    screen.done();
    guest.stop()?;
    server.stop()?;
    result.map_err(|error| failure(error, &screen, start.dir, &[]))?;
    if !start.stay {
        report.close();
        present(start, &client, &seen);
    }
    Ok(())
}

/// Starts the server; gives the URL on which it listens.
pub(crate) fn serve(
    program: &Path,
    dir: &Path,
    sender: &Sender<Event>,
    events: &Receiver<Event>,
) -> anyhow::Result<(Program, String)> {
    let (log, data) = (dir.join("server.log"), dir.join("data"));
    let arguments: Vec<OsString> =
        vec!["serve".into(), "--data".into(), data.into(), "--listen".into(), "127.0.0.1:0".into()];
    let server = Program::start("mk-server", program, arguments, Errors::File(&log), Source::Server, sender.clone())?;
    let logged = || format!("its log is {}", place::shown(&log));
    match events.recv_timeout(limits::SERVER_START) {
        Ok(Event::Line(Source::Server, line)) => match line.strip_prefix(LISTENING) {
            Some(url) => Ok((server, url.to_owned())),
            None => bail!("mk-server began with {line:?} in place of {LISTENING:?}; {}", logged()),
        },
        Ok(Event::Asked) => bail!("interrupted"),
        Ok(_) => bail!("mk-server ended at once; {}", logged()),
        Err(_) => bail!("mk-server did not listen in {} s; {}", limits::SERVER_START.as_secs(), logged()),
    }
}

/// The server's URL as the guest reaches it: QEMU's user network leads 10.0.2.2 to this machine's loopback.
pub(crate) fn guests_url(url: &str) -> anyhow::Result<String> {
    let (_, port) = url.rsplit_once(':').with_context(|| format!("the server's URL {url} has no port"))?;
    Ok(format!("{HOST}:{port}"))
}

/// Makes the guest's medium: a copy of the image that knows its server, or a server that has the image.
fn prepare(start: &Start, client: &Client, url: &str) -> anyhow::Result<guest::Source> {
    if start.media == Media::Pxe {
        client.add_image(start.iso)?;
        return Ok(guest::Source::Network(format!("{url}/api/microkernel/bootstrap")));
    }
    let copy = start.dir.join("boot.iso");
    images::customize(start.iso, url, &copy)?;
    Ok(guest::Source::Image(copy, start.media))
}

/// Waits for the node, and then for the parts of its inventory that come later.
fn check_in(start: &Start, client: &Client, screen: &mut Screen, events: &Receiver<Event>) -> anyhow::Result<Seen> {
    let deadline = Instant::now() + start.timeout;
    let name = loop {
        pass(screen, events)?;
        if let Some(name) = client.checked_in()? {
            break name;
        }
        if Instant::now() >= deadline {
            bail!("no node checked in within {} s; --timeout S waits longer", start.timeout.as_secs());
        }
    };
    screen.wait_for(&format!("{name} has checked in; its inventory is being completed"));
    let deadline = deadline.min(Instant::now() + limits::INVENTORY);
    loop {
        let node = client.node(&name)?;
        if is_complete(&node) || Instant::now() >= deadline {
            let text = if start.json { format!("{node:#}") } else { client.table(&name)? };
            return Ok(Seen { name, text });
        }
        pass(screen, events)?;
    }
}

/// The first check-in may go out before all drivers are loaded. Every guest has disks and ports.
fn is_complete(node: &Value) -> bool {
    node::count(node, "disks") > 0 && node::count(node, "nics") > 0
}

/// Shows what has come in for one interval.
fn pass(screen: &mut Screen, events: &Receiver<Event>) -> anyhow::Result<()> {
    let end = Instant::now() + limits::POLL;
    while let Some(left) = end.checked_duration_since(Instant::now()) {
        match events.recv_timeout(left) {
            Ok(Event::Line(Source::Guest, line)) => screen.console(line),
            Ok(Event::Line(Source::Server, line)) => screen.say(&line),
            Ok(Event::Ended(Source::Guest)) => bail!("the guest has ended"),
            Ok(Event::Ended(Source::Server)) => bail!("the server has ended"),
            Ok(Event::Asked) => bail!("interrupted"),
            Err(RecvTimeoutError::Timeout) => break,
            Err(RecvTimeoutError::Disconnected) => bail!("nothing is left to wait for"),
        }
    }
    Ok(())
}

/// Shows the console until Ctrl-C.
fn stay(screen: &mut Screen, events: &Receiver<Event>) -> anyhow::Result<()> {
    loop {
        match events.recv().context("nothing is left to wait for")? {
            Event::Line(Source::Guest, line) => screen.console(line),
            Event::Line(Source::Server, line) => screen.say(&line),
            Event::Ended(Source::Server) => bail!("the server has ended"),
            Event::Asked | Event::Ended(Source::Guest) => return Ok(()),
        }
    }
}

/// The command that logs in to the guest with this run's throw-away key.
fn log_in(dir: &Path, port: u16) -> String {
    let key = dir.join("ssh-key");
    // The guest makes new host keys at each boot, so there is nothing to compare them with.
    let unknown = "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR";
    format!("ssh -i {} -p {port} {unknown} root@127.0.0.1", place::shown(&key))
}

fn present(start: &Start, client: &Client, seen: &Seen) {
    println!("{}", seen.text.trim_end());
    if !start.json {
        println!("\nchecked in: {} {}", seen.name, client.address(&seen.name));
    }
}

/// Ends what runs and says where to look.
fn failure(error: anyhow::Error, screen: &Screen, dir: &Path, running: &[&Program]) -> anyhow::Error {
    let ends: Vec<String> = running.iter().filter_map(|p| p.stop().err()).map(|e| format!("\n{e:#}")).collect();
    let (console, server) = (dir.join("console.log"), dir.join("server.log"));
    error.context(format!(
        "the guest's last lines:\n{}console: {}\nserver: {}{}",
        screen.last_lines(),
        place::shown(&console),
        place::shown(&server),
        ends.concat()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guest_reaches_the_server_by_the_same_port() {
        assert_eq!(guests_url("http://127.0.0.1:4711").unwrap(), "http://10.0.2.2:4711");
        assert!(guests_url("nonsense").is_err());
    }
}
