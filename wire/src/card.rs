//! Report card of a boot: how long its stages took, and which was the slowest. Times are milliseconds; a stage begins on the
//! clock that starts with the kernel and goes on in sleep. A stage that did not take place, or of which nobody knows, is
//! absent, never 0. Stages overlap: ports get their links and addresses while drivers are still being loaded. Nothing of it
//! is part of the inventory, its digest or a node's identity.

use serde::{Deserialize, Serialize};

use crate::absent::{Absent, parts};

/// When a stage began, and how long it took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Span {
    /// Milliseconds since the kernel started.
    pub begin_ms: u64,
    /// Milliseconds.
    pub took_ms: u64,
}

impl Span {
    /// From one moment to a later one, both in milliseconds since the kernel started.
    #[must_use]
    pub const fn between(begin_ms: u64, end_ms: u64) -> Self {
        Self { begin_ms, took_ms: end_ms.saturating_sub(begin_ms) }
    }

    /// When it ended, in milliseconds since the kernel started.
    #[must_use]
    pub const fn end_ms(self) -> u64 {
        self.begin_ms.saturating_add(self.took_ms)
    }
}

parts! {
    /// The stages of one boot.
    Card {
        /// From the kernel's start to the agent's, where the agent is PID 1.
        kernel: Option<Span>,
        /// From the kernel's start to the agent's, where the base's own init started it.
        base: Option<Span>,
        /// Extensions with drivers and firmware are mounted.
        extensions: Option<Span>,
        /// Drivers are loaded until all devices are at rest.
        drivers: Option<Span>,
        /// From bringing up the port that leads to the server until it had a link.
        link: Option<Span>,
        /// From that link until the port had an address by DHCP.
        dhcp: Option<Span>,
        /// Taking stock of the machine for the first report.
        inventory: Option<Span>,
        /// The server's name is resolved, where it has one.
        name: Option<Span>,
        /// TCP connection, where no TLS is used.
        connect: Option<Span>,
        /// TCP connection and TLS handshake together.
        tls: Option<Span>,
        /// The first request to the server until its answer was read, without the connection.
        exchange: Option<Span>,
    }
}

/// A stage for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Name of its field in [`Card`].
    pub key: &'static str,
    /// What is done in it; at most 16 letters, so that a table of stages fits a terminal.
    pub what: &'static str,
    /// What is usually the cause where it takes long; at most 40 letters.
    pub hint: &'static str,
    /// When, and how long.
    pub span: Span,
}

impl Card {
    /// The stages that are known, in the usual order.
    #[must_use]
    pub fn steps(&self) -> Vec<Step> {
        let all = [
            ("kernel", "kernel", "a slow processor, a kernel that waits", self.kernel),
            ("base", "kernel and init", "services of the base before the agent", self.base),
            ("extensions", "extensions", "slow memory or processor", self.extensions),
            ("drivers", "drivers, devices", "a controller or disk that answers late", self.drivers),
            ("link", "link", "negotiation, transceiver, bad cable", self.link),
            ("dhcp", "DHCP lease", "the switch's spanning tree: set portfast", self.dhcp),
            ("inventory", "taking stock", "a BMC, disk or program that is late", self.inventory),
            ("name", "name resolution", "a name server that does not answer", self.name),
            ("connect", "connection", "lost packets: cable, firewall, route", self.connect),
            ("tls", "connection, TLS", "lost packets, or a slow processor", self.tls),
            ("exchange", "first answer", "the server's load or disk", self.exchange),
        ];
        all.into_iter().filter_map(|(key, what, hint, span)| Some(Step { key, what, hint, span: span? })).collect()
    }

    /// The stage that took longest; the earlier one of two.
    #[must_use]
    pub fn slowest(&self) -> Option<Step> {
        self.steps().into_iter().rev().max_by_key(|step| step.span.took_ms)
    }

    /// The boot in a few words; nothing while no stage is known.
    #[must_use]
    pub fn summary(&self) -> Option<String> {
        let slowest = self.slowest()?;
        let answered =
            self.exchange.map(|e| format!("first answer after {}, ", spelled(e.end_ms()))).unwrap_or_default();
        Some(format!("{answered}slowest: {} {}", slowest.what, spelled(slowest.span.took_ms)))
    }
}

/// Milliseconds for people: `340 ms`, `3.1 s`, `92 s`.
#[must_use]
pub fn spelled(ms: u64) -> String {
    match ms {
        0..1000 => format!("{ms} ms"),
        1000..60_000 => format!("{}.{} s", ms / 1000, ms / 100 % 10),
        _ => format!("{} s", ms / 1000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(begin_ms: u64, took_ms: u64) -> Option<Span> {
        Some(Span { begin_ms, took_ms })
    }

    #[test]
    fn the_slowest_is_named_and_of_two_the_earlier() {
        assert_eq!((Card::default().slowest(), Card::default().summary()), (None, None));
        for (card, slowest, summary) in [
            (Card { kernel: span(0, 0), ..Card::default() }, "kernel", "slowest: kernel 0 ms"),
            (
                Card { drivers: span(3, 7), dhcp: span(9, 7), ..Card::default() },
                "drivers",
                "slowest: drivers, devices 7 ms",
            ),
            (
                Card { kernel: span(0, 2900), dhcp: span(4000, 31_260), exchange: span(36_000, 45), ..Card::default() },
                "dhcp",
                "first answer after 36.0 s, slowest: DHCP lease 31.2 s",
            ),
        ] {
            assert_eq!(card.slowest().map(|s| s.key), Some(slowest));
            assert_eq!(card.summary().as_deref(), Some(summary));
        }
    }

    #[test]
    fn each_stage_is_shown_under_its_name() {
        let all: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(include_str!("../golden/v1/card.json")).unwrap();
        let card: Card = serde_json::from_value(all.clone().into()).unwrap();
        let shown: Vec<(&str, u64)> = card.steps().iter().map(|s| (s.key, s.span.begin_ms)).collect();
        assert_eq!(shown.len(), all.len());
        assert!(card.steps().iter().all(|s| s.what.len() <= 16 && s.hint.len() <= 40));
        assert!(shown.iter().all(|(key, begin)| all[*key]["begin_ms"] == *begin), "{shown:?}");
    }

    #[test]
    fn times_for_people_and_absurd_ones() {
        let texts = [0, 999, 1000, 59_999, 60_000, u64::MAX].map(spelled);
        assert_eq!(texts, ["0 ms", "999 ms", "1.0 s", "59.9 s", "60 s", "18446744073709551 s"]);
        assert_eq!(Span { begin_ms: u64::MAX, took_ms: 9 }.end_ms(), u64::MAX);
        assert_eq!(Span::between(9, 3), Span { begin_ms: 9, took_ms: 0 });
    }
}
