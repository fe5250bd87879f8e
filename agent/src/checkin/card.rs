//! Report card of this boot: what each unit timed, put together; and what of it this unit times itself. [`compose`] and
//! [`answer`] are pure.

use wire::card::{Card, Span};

use super::transport::Timing;
use super::{Unit, View};
use crate::state::{Checkin, Devices, First, FirstAnswer, Net, Port, Published as _, Start, Units, uptime_ms};

impl Unit {
    /// What an earlier run of this unit did for the first time in this boot.
    pub(super) fn first_of_boot() -> First {
        Checkin::read().map(|before| before.first).unwrap_or_default()
    }

    /// The machine as it is now; the first time is timed.
    pub(super) async fn timed_view(&mut self) -> View {
        let begin = uptime_ms();
        let view = self.view().await;
        self.state.first.inventory.get_or_insert_with(|| Span::between(begin, uptime_ms()));
        view
    }

    /// A server answered as it should: the first time is kept.
    pub(super) fn answered_well(&mut self) {
        let timing = self.transport.as_ref().ok().and_then(|transport| transport.timing());
        if let (None, Some(timing)) = (&self.state.first.answer, timing) {
            self.state.first.answer = Some(answer(timing, &Net::read().unwrap_or_default()));
        }
    }

    /// What is known of this boot by now is to be told, where it is news.
    pub(super) fn tell_card(&mut self) {
        let (units, devices) = (Units::read().unwrap_or_default(), Devices::read().unwrap_or_default());
        self.state.card = compose(&units, &devices, &Net::read().unwrap_or_default(), &self.state.first);
        self.outbox.card(&self.state.card);
    }
}

/// The first answer, and the port that it came by.
fn answer(timing: &Timing, net: &Net) -> FirstAnswer {
    let Timing { local, name, connection, is_tls, exchange } = timing.clone();
    let own = |port: &&Port| local.is_some_and(|local| has(port, &local.to_string()));
    let port = net.ports.iter().find(own).map(|port| port.key.clone());
    FirstAnswer { port, name, connection, is_tls, exchange }
}

fn has(port: &Port, address: &str) -> bool {
    port.addresses.iter().any(|own| own.split('/').next() == Some(address))
}

/// All that is known. Before a server has answered, the port that leads to it is known where only one has an address.
fn compose(units: &Units, devices: &Devices, net: &Net, first: &First) -> Card {
    let mut addressed = net.ports.iter().filter(|port| port.up && !port.addresses.is_empty());
    let port = match &first.answer {
        Some(answer) => net.ports.iter().find(|port| Some(&port.key) == answer.port.as_ref()),
        None => addressed.next().filter(|_| addressed.next().is_none()),
    };
    let answer = first.answer.as_ref();
    let connection = |is_tls| answer.filter(|answer| answer.is_tls == is_tls).and_then(|answer| answer.connection);
    let (kernel, base) = match units.start {
        Some(Start::Kernel(span)) => (Some(span), None),
        Some(Start::Base(span)) => (None, Some(span)),
        None => (None, None),
    };
    Card {
        kernel,
        base,
        extensions: devices.mounting,
        drivers: devices.settling,
        link: port.and_then(|port| port.linking),
        dhcp: port.and_then(|port| port.leasing),
        inventory: first.inventory,
        name: answer.and_then(|answer| answer.name),
        connect: connection(false),
        tls: connection(true),
        exchange: answer.map(|answer| answer.exchange),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(begin_ms: u64) -> Option<Span> {
        Some(Span { begin_ms, took_ms: 1 })
    }

    fn port(key: &str, address: &str, begin_ms: u64) -> Port {
        let addresses = vec![format!("{address}/24")];
        let (linking, leasing) = (span(begin_ms), span(begin_ms + 1));
        Port { key: key.to_owned(), up: true, addresses, linking, leasing, ..Port::default() }
    }

    fn timing(is_tls: bool, local: &str) -> Timing {
        let exchange = Span { begin_ms: 60, took_ms: 5 };
        Timing { local: local.parse().ok(), name: None, connection: span(50), is_tls, exchange }
    }

    #[test]
    fn what_is_not_known_is_absent() {
        let nothing = compose(&Units::default(), &Devices::default(), &Net::default(), &First::default());
        assert_eq!(nothing, Card::default());
        let units = |start| Units { start: Some(start), ..Units::default() };
        let began = Span::between(0, 9);
        for (start, kernel, base) in
            [(Start::Kernel(began), Some(began), None), (Start::Base(began), None, Some(began))]
        {
            let card = compose(&units(start), &Devices::default(), &Net::default(), &First::default());
            assert_eq!(card, Card { kernel, base, ..Card::default() });
        }
    }

    #[test]
    fn the_port_is_the_one_that_leads_to_the_server() {
        let (one, two) = (port("a", "10.0.0.5", 10), port("b", "10.1.0.5", 20));
        let net = |ports: &[&Port]| Net { ports: ports.iter().copied().cloned().collect(), ..Net::default() };
        let both = net(&[&one, &two]);
        let of = |net: &Net, timing: Option<Timing>| {
            let first = First { answer: timing.map(|timing| answer(&timing, net)), ..First::default() };
            let card = compose(&Units::default(), &Devices::default(), net, &first);
            (card.link.map(|span| span.begin_ms), card.dhcp.map(|span| span.begin_ms))
        };
        for (net, timing, link, dhcp) in [
            (&net(&[&one]), None, Some(10), Some(11)),
            (&both, None, None, None),
            (&both, Some(timing(false, "10.1.0.5")), Some(20), Some(21)),
            (&both, Some(timing(false, "10.2.0.5")), None, None),
        ] {
            assert_eq!(of(net, timing), (link, dhcp));
        }
    }

    #[test]
    fn a_connection_is_one_of_tls_or_none() {
        for is_tls in [false, true] {
            let first = First { answer: Some(answer(&timing(is_tls, ""), &Net::default())), inventory: span(7) };
            let card = compose(&Units::default(), &Devices::default(), &Net::default(), &first);
            assert_eq!((card.connect.is_some(), card.tls.is_some()), (!is_tls, is_tls));
            assert_eq!((card.exchange.map(Span::end_ms), card.inventory, card.name), (Some(65), span(7), None));
        }
    }
}
