//! Where a server may be, best first. Pure: kernel line, leases and answers of DNS go in, hints come out.
//!
//! What an operator wrote for this machine is believed. Everything else was guessed, options 224 to 226 included, since
//! any site may use those numbers for something else: it must say hello before it is sent an inventory.

use wire::routes::{CHECKIN, HTTP_PORT, HTTPS_PORT};

use super::dhcp::Lease;
use super::dns::Found;
use crate::cmdline::KernelLine;
use crate::state::ServerHint;

/// All hints in the order in which they are to be tried; each base URL once, where it comes first. An image that pins a CA speaks
/// HTTPS only: there a URL without is one that the boot over the network was given, of the same server.
pub(crate) fn hints(line: &KernelLine, leases: &[(&str, &Lease)], dns: &[Found], is_pinned: bool) -> Vec<ServerHint> {
    let mut hints = Vec::new();
    if let Some(checkin) = &line.checkin {
        let source = format!("check-in URL on the {}", checkin.source);
        hints.push(ServerHint {
            url: base_of(&checkin.url),
            checkin: Some(checkin.url.clone()),
            source,
            guessed: false,
        });
    }
    if let Some(server) = &line.server {
        let source = server.source.to_string();
        hints.push(ServerHint { url: server.url.clone(), checkin: None, source, guessed: false });
    }
    let mut guess = |url: String, source: String| hints.push(ServerHint { url, checkin: None, source, guessed: true });
    for (port, lease) in leases {
        if let Some(url) = &lease.razor {
            guess(url.clone(), format!("DHCP options 224 to 226 on {port}"));
        }
    }
    for found in dns {
        let url = format!("http://{}:{}", found.host, found.port.unwrap_or(HTTP_PORT));
        guess(url, format!("DNS name {}", found.question));
    }
    for (port, lease) in leases {
        if let Some(address) = lease.next_server {
            guess(format!("http://{address}:{HTTP_PORT}"), format!("DHCP next-server on {port}"));
        }
    }
    if is_pinned {
        for hint in &mut hints {
            hint.url = secured(&hint.url);
            hint.checkin = hint.checkin.as_deref().map(secured);
        }
    }
    let mut seen = Vec::new();
    hints.retain(|hint| {
        let first = !seen.contains(&hint.url);
        seen.push(hint.url.clone());
        first
    });
    hints
}

/// The same place by TLS. The server's usual port has another beside it for that.
fn secured(url: &str) -> String {
    let Some(rest) = url.strip_prefix("http://") else { return url.to_owned() };
    let end = rest.find('/').unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    match authority.strip_suffix(&format!(":{HTTP_PORT}")) {
        Some(host) => format!("https://{host}:{HTTPS_PORT}{path}"),
        None => format!("https://{authority}{path}"),
    }
}

/// The part of a check-in URL before the path that is ours; all before the path where it is another one.
fn base_of(checkin: &str) -> String {
    let end = checkin.rfind(CHECKIN).or_else(|| {
        let authority = checkin.find("://")? + 3;
        checkin[authority..].find('/').map(|slash| authority + slash)
    });
    checkin[..end.unwrap_or(checkin.len())].to_owned()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::cmdline::{GivenUrl, Source};

    fn given(url: &str, source: Source) -> Option<GivenUrl> {
        Some(GivenUrl { url: url.to_owned(), source })
    }

    fn lease(next_server: Option<Ipv4Addr>, razor: Option<&str>) -> Lease {
        Lease {
            address: Ipv4Addr::new(10, 0, 2, 15),
            prefix: 24,
            routes: Vec::new(),
            dns: Vec::new(),
            search: Vec::new(),
            mtu: None,
            server: Ipv4Addr::new(10, 0, 2, 2),
            next_server,
            razor: razor.map(str::to_owned),
            times: None,
        }
    }

    #[test]
    fn all_sources_in_order_each_server_once() {
        let line = KernelLine {
            checkin: given("http://a:8150/svc/checkin/7", Source::KernelLine),
            server: given("http://b:1", Source::Site),
            ..KernelLine::default()
        };
        let one = lease(Some(Ipv4Addr::new(10, 0, 2, 2)), Some("http://c:8026"));
        let two = lease(Some(Ipv4Addr::new(10, 0, 2, 2)), Some("http://b:1"));
        let found = |host: &str, port| Found { host: host.to_owned(), port, question: "q".to_owned() };
        let dns = [found("d.example", Some(99)), found("razor", None)];
        let leases = [("eth0", &one), ("eth1", &two)];
        let secure = hints(&line, &leases, &dns, true);
        assert!(secure.iter().all(|hint| hint.url.starts_with("https://")), "{secure:?}");
        assert_eq!(secure[0].checkin.as_deref(), Some("https://a:8151/svc/checkin/7"));
        let hints = hints(&line, &leases, &dns, false);
        let shown: Vec<(&str, &str, bool)> =
            hints.iter().map(|h| (h.url.as_str(), h.source.as_str(), h.guessed)).collect();
        assert_eq!(
            shown,
            [
                ("http://a:8150", "check-in URL on the kernel line", false),
                ("http://b:1", "site configuration", false),
                ("http://c:8026", "DHCP options 224 to 226 on eth0", true),
                ("http://d.example:99", "DNS name q", true),
                ("http://razor:8150", "DNS name q", true),
                ("http://10.0.2.2:8150", "DHCP next-server on eth0", true),
            ]
        );
        assert_eq!(hints[0].checkin.as_deref(), Some("http://a:8150/svc/checkin/7"));
    }

    #[test]
    fn the_same_place_by_tls() {
        for (url, secure) in [
            ("http://a:8150", "https://a:8151"),
            ("http://[fd00::1]:8150/svc/checkin/7", "https://[fd00::1]:8151/svc/checkin/7"),
            ("http://a:9000/x", "https://a:9000/x"),
            ("http://a/x:8150", "https://a/x:8150"),
            ("https://a:1", "https://a:1"),
        ] {
            assert_eq!(secured(url), secure);
        }
    }

    #[test]
    fn base_urls() {
        for (checkin, base) in [
            ("http://a:8150/svc/checkin/7", "http://a:8150"),
            ("https://a/razor/svc/checkin/7", "https://a/razor"),
            ("http://[fd00::1]:8150/other/7", "http://[fd00::1]:8150"),
            ("http://a", "http://a"),
        ] {
            assert_eq!(base_of(checkin), base);
        }
    }
}
