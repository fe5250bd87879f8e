//! The status page: what is known of the machine, as lines for a text screen of any size. Pure. Nothing is wider or longer
//! than the screen; what does not fit is cut with a mark or counted.

use super::font;
use super::snapshot::{Snapshot, whole};
use super::trouble::{Tone, headline, node_name, troubles};
use crate::state::Port;
use crate::text::plain;

/// How a line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    Plain,
    /// White on blue.
    Title,
    Good,
    Busy,
    Bad,
    Faint,
}

/// A line of the screen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) style: Style,
    pub(super) text: String,
}

/// Columns of the labels on the left.
const LABEL: usize = 10;
/// What the page keeps free at its left.
const MARGIN: &str = "  ";
/// Fewest lines that are left for troubles however many ports there are, if there are so many of them.
const TROUBLE_ROWS: usize = 5;
/// Fewest lines that are left for ports however long the first trouble is: a heading, the port in use, how many more.
const PORT_ROWS: usize = 3;

/// The whole screen: `height` lines at most, none wider than `width`.
pub(super) fn render(now: &Snapshot, width: usize, height: usize) -> Vec<Line> {
    let mut page = Page { lines: Vec::new(), width };
    title(&mut page, now);
    page.blank();
    large(&mut page, now);
    page.blank();
    facts(&mut page, now);
    page.blank();
    let rest = height.saturating_sub(page.lines.len() + 1);
    let (below, first) = problems(now, width);
    let kept = TROUBLE_ROWS.min(rest / 2).max(first.min(rest.saturating_sub(PORT_ROWS)));
    ports(&mut page, now, rest - kept.min(below.len()));
    page.lines.extend(below);
    boot(&mut page, now, height);
    page.finish(height, footer(now))
}

/// How long the boot took, where there is room for it.
fn boot(page: &mut Page, now: &Snapshot, height: usize) {
    let free = height.saturating_sub(page.lines.len() + 1);
    if let Some(summary) = now.checkin.card.summary().filter(|_| free >= 2) {
        page.blank();
        page.labelled(Style::Faint, "Boot", &summary);
    }
}

struct Page {
    lines: Vec<Line>,
    width: usize,
}

impl Page {
    fn add(&mut self, style: Style, text: &str) {
        let text = cut(&plain(text), self.width);
        self.lines.push(Line { style, text });
    }

    fn blank(&mut self) {
        self.add(Style::Plain, "");
    }

    fn labelled(&mut self, style: Style, label: &str, text: &str) {
        if !text.is_empty() {
            self.add(style, &format!("{MARGIN}{label:LABEL$}{text}"));
        }
    }

    /// A text over as many lines as it takes, below one label.
    fn wrapped(&mut self, style: Style, label: &str, text: &str) {
        let room = self.width.saturating_sub(MARGIN.len() + LABEL + 1);
        for (at, part) in wrap(text, room).iter().enumerate() {
            self.labelled(style, if at == 0 { label } else { "" }, part);
        }
    }

    fn finish(mut self, height: usize, footer: &str) -> Vec<Line> {
        let room = height.saturating_sub(1);
        if self.lines.len() > room {
            let hidden = self.lines.len() + 1 - room.max(1);
            self.lines.truncate(room.saturating_sub(1));
            self.add(Style::Faint, &format!("{MARGIN}({hidden} more lines do not fit on this screen)"));
        }
        while self.lines.len() < room {
            self.blank();
        }
        self.add(Style::Faint, &format!("{MARGIN}{footer}"));
        self.lines.truncate(height);
        self.lines
    }
}

fn title(page: &mut Page, now: &Snapshot) {
    let machine = &now.machine;
    let left = format!("{MARGIN}Razor Microkernel {} {}", machine.version, machine.variant);
    let right = format!("up {}{MARGIN}", duration(now.uptime));
    let gap = page.width.saturating_sub(left.chars().count() + right.chars().count());
    page.add(Style::Title, &format!("{left}{:gap$}{right}", ""));
}

fn large(page: &mut Page, now: &Snapshot) {
    let (words, tone) = headline(now);
    let style = match tone {
        Tone::Good => Style::Good,
        Tone::Busy => Style::Busy,
        Tone::Bad => Style::Bad,
    };
    if font::width(&words) + 2 * MARGIN.len() <= page.width {
        font::large(&words).iter().for_each(|line| page.add(style, &format!("{MARGIN}{line}")));
    } else {
        page.add(style, &format!("{MARGIN}{}", words.to_uppercase()));
    }
}

fn facts(page: &mut Page, now: &Snapshot) {
    let (machine, checkin) = (&now.machine, &now.checkin);
    page.labelled(Style::Plain, "Machine", &machine.product);
    page.labelled(Style::Plain, "Serial", &machine.serial);
    page.labelled(Style::Plain, "Node", &node(now));
    page.labelled(Style::Plain, "Server", &server(now));
    page.labelled(Style::Plain, "Contact", &contact(now));
    page.labelled(Style::Plain, "Stage", &checkin.stage);
}

/// The node, and the key by which an operator knows this machine among those that the server lists.
fn node(now: &Snapshot) -> String {
    let key = now.checkin.key.as_ref().map(|key| format!(", key {key}")).unwrap_or_default();
    node_name(now).map(|name| name + &key).unwrap_or_default()
}

/// The server in use and where its address is from, or the places that are tried.
fn server(now: &Snapshot) -> String {
    let servers = &now.net.servers;
    let told = |url: &str, source: &str| format!("{url} ({source})");
    match &now.checkin.server {
        Some(url) => match servers.iter().find(|hint| hint.url == *url) {
            Some(hint) => told(url, &hint.source),
            None => url.clone(),
        },
        None => servers.iter().map(|hint| told(&hint.url, &hint.source)).collect::<Vec<_>>().join(", "),
    }
}

fn contact(now: &Snapshot) -> String {
    let checkin = &now.checkin;
    let ago = |at: f64| duration(now.uptime.saturating_sub(whole(at)));
    let last = checkin.last_contact_s.map(|at| format!("{} ago", ago(at)));
    let next = checkin.next_attempt_s.map(|at| whole(at).saturating_sub(now.uptime)).filter(|s| *s > 0);
    let since = if last.is_some() { " since" } else { "" };
    let failed = match checkin.failures {
        0 => None,
        1 => Some(format!("1 failed attempt{since}")),
        many => Some(format!("{many} failed attempts{since}")),
    };
    let next = next.map(|s| format!("next in {}", duration(s)));
    [last, failed, next].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// All troubles with what to do, and how many of the lines are the first one's.
fn problems(now: &Snapshot, width: usize) -> (Vec<Line>, usize) {
    let (mut page, mut first) = (Page { lines: Vec::new(), width }, 0);
    for trouble in troubles(now) {
        if first == 0 {
            page.blank();
        }
        page.wrapped(Style::Bad, "Problem", &trouble.cause);
        page.wrapped(Style::Plain, "Next step", &trouble.remedy);
        first = if first == 0 { page.lines.len() } else { first };
    }
    (page.lines, first)
}

fn ports(page: &mut Page, now: &Snapshot, rows: usize) {
    let ports = &now.net.ports;
    if ports.is_empty() || rows < 2 {
        return;
    }
    page.add(Style::Faint, &format!("{MARGIN}{:6} {:17}  {:10} {:18}  {}", "Port", "MAC", "Link", "Address", "From"));
    // One row is the heading's; another one says how many more there are.
    let fits = if ports.len() < rows { ports.len() } else { rows.saturating_sub(2) };
    let mut order: Vec<&Port> = ports.iter().collect();
    // Ports that are in use come first where not all have room.
    order.sort_by_key(|p| (ports.len() > fits && p.addresses.is_empty(), ports.len() > fits && !p.up));
    // Further addresses have lines of their own, or else none; where the port is plugged in has one, or else the column
    // that says where the address is from.
    let lines: usize = ports.iter().map(|p| p.addresses.len().max(1) + usize::from(p.plugged_into().is_some())).sum();
    for port in &order[..fits] {
        port_line(page, now, port, lines < rows);
    }
    if fits < ports.len() {
        page.add(Style::Faint, &format!("{MARGIN}and {} more ports", ports.len() - fits));
    }
}

fn port_line(page: &mut Page, now: &Snapshot, port: &Port, roomy: bool) {
    let link = match (port.up, now.speeds.get(&port.name)) {
        (false, _) => "no link".to_owned(),
        (true, None) => "up".to_owned(),
        (true, Some(mbps)) => speed(*mbps),
    };
    let (place, address) = (port.plugged_into(), port.addresses.first().map_or("-", String::as_str));
    let error = port.error.as_deref().filter(|_| port.addresses.is_empty());
    let from = error.or(place.as_deref().filter(|_| !roomy)).unwrap_or(&port.source);
    let style = match (port.up, port.addresses.is_empty()) {
        (_, false) => Style::Plain,
        (true, true) => Style::Busy,
        (false, true) => Style::Faint,
    };
    page.add(style, &format!("{MARGIN}{:6} {:17}  {link:10} {address:18}  {from}", port.name, port.mac));
    for address in port.addresses.iter().skip(1).filter(|_| roomy) {
        page.add(style, &format!("{MARGIN}{:6} {:17}  {:10} {address}", "", "", ""));
    }
    if let Some(place) = place.filter(|_| roomy) {
        page.add(style, &format!("{MARGIN}{:6} at {place}", ""));
    }
}

fn speed(mbps: u64) -> String {
    match mbps {
        m if m >= 1000 && m % 1000 == 0 => format!("{} Gbit/s", m / 1000),
        2500 => "2.5 Gbit/s".to_owned(),
        m => format!("{m} Mbit/s"),
    }
}

fn footer(now: &Snapshot) -> &'static str {
    match now.machine.variant.as_str() {
        "debug" => "Alt-F1 this page   Alt-F2 shell   Alt-F10 kernel messages",
        _ => "Alt-F1 this page   Alt-F10 kernel messages",
    }
}

/// A time span in its two largest units.
fn duration(seconds: u64) -> String {
    match (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60) {
        (0, 0, 0, s) => format!("{s} s"),
        (0, 0, m, s) => format!("{m} min {s} s"),
        (0, h, m, _) => format!("{h} h {m} min"),
        (d, h, _, _) => format!("{d} d {h} h"),
    }
}

fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain((width > 0).then_some('>')).collect()
}

/// Breaks a text between words; a word that is longer than a line is broken where the line ends.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let width = width.max(1);
    let mut lines: Vec<String> = Vec::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        let mut word: Vec<char> = word.chars().collect();
        if !line.is_empty() && line.chars().count() + 1 + word.len() > width {
            lines.push(std::mem::take(&mut line));
        }
        while word.len() > width {
            lines.push(word.drain(..width).collect());
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.extend(word);
    }
    if !line.is_empty() {
        lines.push(line);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::super::samples::{
        cabled, checked_in, copied, cut_off, held, many_cables, many_ports, no_address, pending, starting,
    };
    use super::*;
    use proptest::prelude::*;

    fn text(now: &Snapshot, width: usize, height: usize) -> String {
        render(now, width, height).iter().map(|l| format!("{}\n", l.text.trim_end())).collect()
    }

    #[test]
    fn pages_look_as_agreed() {
        let pages = [
            ("starting", starting()),
            ("checked_in", checked_in()),
            ("held", held()),
            ("no_address", no_address()),
            ("cut_off", cut_off()),
            ("many_ports", many_ports()),
            ("cabled", cabled()),
            ("many_cables", many_cables()),
            ("copied", copied()),
            ("pending", pending()),
        ];
        let found: String = pages.iter().map(|(name, now)| format!("=== {name}\n{}", text(now, 80, 25))).collect();
        assert_eq!(found, include_str!("golden/pages.txt"), "the pages are now:\n{found}");
    }

    #[test]
    fn spans_of_time() {
        let texts = [0, 59, 61, 3600, 90_061].map(duration);
        assert_eq!(texts, ["0 s", "59 s", "1 min 1 s", "1 h 0 min", "1 d 1 h"]);
    }

    #[test]
    fn long_words_are_broken() {
        assert_eq!(wrap("a bcdefgh ij", 4), ["a", "bcde", "fgh", "ij"]);
        assert_eq!(wrap("", 4), Vec::<String>::new());
    }

    #[test]
    fn nothing_steers_the_terminal() {
        let mut now = cabled();
        now.machine.serial = "\u{1b}[2Jevil\u{9b}x".into();
        now.net.ports[0].lldp.as_mut().unwrap().neighbours[0].port = "\u{1b}[2Jevil\u{9b}x".into();
        assert!(!text(&now, 80, 25).chars().any(|c| c.is_control() && c != '\n'));
    }

    proptest! {
        #[test]
        fn any_screen_holds_its_page(width in 0_usize..200, height in 0_usize..80) {
            for now in [starting(), cabled(), held(), copied(), no_address(), many_ports(), many_cables()] {
                let lines = render(&now, width, height);
                prop_assert!(lines.len() <= height);
                prop_assert!(lines.iter().all(|l| l.text.chars().count() <= width));
            }
        }
    }
}
