//! What a DHCP server granted, taken out of its acknowledgement. Pure; nonsense in an option makes that option absent.

use std::fmt;
use std::net::Ipv4Addr;
use std::time::Duration;

use wire::routes::HTTP_PORT;

use super::message::{Reply, code};
use crate::limits::{DEFAULT_LEASE, SHORTEST_LEASE};
use crate::net::names;

/// The number that means "for ever".
const FOR_EVER: u32 = u32::MAX;
/// IPv4 needs at least this; less is a mistake in the server's configuration.
const SMALLEST_MTU: u16 = 576;

/// A granted address and what came with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lease {
    /// The address.
    pub(crate) address: Ipv4Addr,
    /// Length of its network prefix.
    pub(crate) prefix: u8,
    /// Routes, the default one among them.
    pub(crate) routes: Vec<Route>,
    /// Name servers.
    pub(crate) dns: Vec<Ipv4Addr>,
    /// Search domains.
    pub(crate) search: Vec<String>,
    /// Largest packet of the link.
    pub(crate) mtu: Option<u16>,
    /// The server that granted it.
    pub(crate) server: Ipv4Addr,
    /// Where boot files come from.
    pub(crate) next_server: Option<Ipv4Addr>,
    /// Base URL of a Razor server by options 224 to 226.
    pub(crate) razor: Option<String>,
    /// When things are due, from the time of the acknowledgement; `None` for a lease without an end.
    pub(crate) times: Option<Times>,
}

/// Due times of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Times {
    /// Ask the same server for an extension.
    pub(crate) renew: Duration,
    /// Ask any server for an extension.
    pub(crate) rebind: Duration,
    /// Give the address up.
    pub(crate) expire: Duration,
}

/// A route of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Route {
    /// Destination network.
    pub(crate) network: Ipv4Addr,
    /// Length of its prefix.
    pub(crate) prefix: u8,
    /// Next hop; unspecified for a destination on the link itself.
    pub(crate) gateway: Ipv4Addr,
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.prefix {
            0 => write!(f, "default route by {}", self.gateway),
            prefix => write!(f, "route to {}/{prefix} by {}", self.network, self.gateway),
        }
    }
}

impl Route {
    /// A default route.
    pub(crate) fn default_by(gateway: Ipv4Addr) -> Self {
        Self { network: Ipv4Addr::UNSPECIFIED, prefix: 0, gateway }
    }
}

impl Lease {
    /// Reads an offer or acknowledgement; `None` if it grants nothing that can be used.
    pub(crate) fn of(reply: &Reply) -> Option<Self> {
        let address = reply.address;
        if address.is_unspecified() || address.is_broadcast() || address.is_multicast() || address.is_loopback() {
            return None;
        }
        Some(Self {
            address,
            prefix: reply.address_option(code::MASK).and_then(prefix_of_mask).unwrap_or_else(|| class_prefix(address)),
            routes: routes(reply),
            dns: usable(reply.addresses_option(code::DNS)),
            search: search(reply),
            mtu: reply.short_option(code::MTU).filter(|m| *m >= SMALLEST_MTU),
            server: reply.address_option(code::SERVER)?,
            next_server: usable(vec![reply.next_server]).pop(),
            razor: razor(reply),
            times: Times::of(reply),
        })
    }

    /// The first hop of the default route.
    pub(crate) fn gateway(&self) -> Option<Ipv4Addr> {
        self.routes.iter().find(|r| r.prefix == 0).map(|r| r.gateway)
    }
}

impl Times {
    fn of(reply: &Reply) -> Option<Self> {
        let seconds = |code| reply.number_option(code).map(|s| Duration::from_secs(s.into()));
        let expire = match reply.number_option(code::LEASE_TIME) {
            Some(FOR_EVER) => return None,
            Some(s) => Duration::from_secs(s.into()).max(SHORTEST_LEASE),
            None => DEFAULT_LEASE,
        };
        let usual = Self { renew: expire / 2, rebind: expire / 8 * 7, expire };
        let renew = seconds(code::RENEWAL).unwrap_or(usual.renew);
        let rebind = seconds(code::REBINDING).unwrap_or(usual.rebind);
        let sound = !renew.is_zero() && renew < rebind && rebind < expire;
        Some(if sound { Self { renew, rebind, expire } } else { usual })
    }
}

/// Classless routes replace the router where there are some (RFC 3442).
fn routes(reply: &Reply) -> Vec<Route> {
    let classless = reply.options.get(&code::ROUTES).and_then(|b| classless_routes(b)).unwrap_or_default();
    if !classless.is_empty() {
        return classless;
    }
    let router = usable(reply.addresses_option(code::ROUTER)).first().copied();
    router.map(Route::default_by).into_iter().collect()
}

/// Option 121: prefix length, as many bytes of the network as that needs, gateway; repeated.
fn classless_routes(mut bytes: &[u8]) -> Option<Vec<Route>> {
    let mut routes = Vec::new();
    while let [prefix, rest @ ..] = bytes {
        let (network, rest) = rest.split_at_checked(usize::from(prefix.div_ceil(8)))?;
        let (gateway, rest) = rest.split_at_checked(4)?;
        let mut octets = [0; 4];
        octets.get_mut(..network.len())?.copy_from_slice(network);
        let mask = u32::MAX.checked_shl(32 - u32::from(*prefix).min(32)).unwrap_or(0);
        let network = Ipv4Addr::from(u32::from(Ipv4Addr::from(octets)) & mask);
        let gateway = Ipv4Addr::from(<[u8; 4]>::try_from(gateway).ok()?);
        routes.push(Route { network, prefix: *prefix, gateway });
        bytes = rest;
    }
    Some(routes)
}

fn usable(addresses: Vec<Ipv4Addr>) -> Vec<Ipv4Addr> {
    addresses.into_iter().filter(|a| !a.is_unspecified() && !a.is_broadcast() && !a.is_multicast()).collect()
}

/// The search list, or else the domain.
fn search(reply: &Reply) -> Vec<String> {
    let list = reply.options.get(&code::SEARCH).and_then(|b| names::decode_list(b)).unwrap_or_default();
    if !list.is_empty() {
        return list;
    }
    // Some servers send several domains in one, with blanks between.
    let domains = reply.text_option(code::DOMAIN).unwrap_or_default();
    domains.split_whitespace().filter(|d| names::is_host_name(d)).map(str::to_owned).collect()
}

/// Base URL by option 226 where that is a URL, or else by address (224) and port (225).
fn razor(reply: &Reply) -> Option<String> {
    let url = reply.text_option(code::MK_URI).filter(|u| u.starts_with("http://") || u.starts_with("https://"));
    url.map(|u| u.trim_end_matches('/').to_owned()).or_else(|| {
        let address = usable(vec![reply.address_option(code::MK_SERVER)?]).pop()?;
        let port = reply.short_option(code::MK_PORT).filter(|p| *p != 0).unwrap_or(HTTP_PORT);
        Some(format!("http://{address}:{port}"))
    })
}

/// Prefix length of a netmask; `None` for one with holes.
fn prefix_of_mask(mask: Ipv4Addr) -> Option<u8> {
    let bits = u32::from(mask);
    let prefix = bits.leading_ones();
    (bits.count_ones() == prefix && prefix > 0).then(|| u8::try_from(prefix).ok())?
}

/// What a mask was before there were masks: for servers that send none.
fn class_prefix(address: Ipv4Addr) -> u8 {
    match address.octets()[0] {
        0..128 => 8,
        128..192 => 16,
        _ => 24,
    }
}

/// For the fuzzer: a lease says no more than the message did, and only what can be put in force.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(bytes: &[u8]) {
    let Some(lease) = Reply::decode(bytes).as_ref().and_then(Lease::of) else { return };
    assert!(lease.routes.len() + lease.dns.len() + lease.search.len() <= bytes.len());
    assert!(lease.prefix <= 32 && lease.routes.iter().all(|route| route.prefix <= 32));
    assert!(lease.search.iter().all(|domain| names::is_host_name(domain)));
    assert!(lease.times.is_none_or(|times| times.renew < times.rebind && times.rebind < times.expire));
    assert!(lease.mtu.is_none_or(|mtu| mtu >= SMALLEST_MTU));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::message::tests::{MAC, answer};
    use super::super::message::{Ask, Request};
    use super::*;

    const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 15);

    fn lease(options: &[(u8, &[u8])]) -> Option<Lease> {
        let request = Request { xid: 1, secs: 0, mac: MAC, ask: Ask::Discover };
        let all = [&[(code::SERVER, &[10, 0, 2, 2][..])], options].concat();
        Lease::of(&Reply::decode(&answer(&request, 5, ADDRESS, &all)).unwrap())
    }

    #[test]
    fn a_usual_lease() {
        let lease = lease(&[
            (code::MASK, &[255, 255, 254, 0]),
            (code::ROUTER, &[10, 0, 2, 2, 10, 0, 2, 3]),
            (code::DNS, &[10, 0, 2, 3, 0, 0, 0, 0]),
            (code::DOMAIN, b"example.com"),
            (code::LEASE_TIME, &[0, 1, 81, 128]),
            (code::MTU, &[35, 40]),
        ])
        .unwrap();
        assert_eq!((lease.prefix, lease.mtu, lease.server), (23, Some(9000), Ipv4Addr::new(10, 0, 2, 2)));
        assert_eq!(lease.gateway(), Some(Ipv4Addr::new(10, 0, 2, 2)));
        assert_eq!((lease.dns, lease.search), (vec![Ipv4Addr::new(10, 0, 2, 3)], vec!["example.com".to_owned()]));
        let times = lease.times.unwrap();
        assert_eq!([times.renew, times.rebind, times.expire].map(|t| t.as_secs()), [43_200, 75_600, 86_400]);
    }

    #[test]
    fn classless_routes_replace_the_router() {
        let routes = [0, 10, 0, 2, 9, 24, 192, 168, 7, 10, 0, 2, 8, 12, 172, 31, 0, 0, 0, 0];
        let lease = lease(&[(code::ROUTER, &[10, 0, 2, 2]), (code::ROUTES, &routes)]).unwrap();
        let shown: Vec<String> =
            lease.routes.iter().map(|r| format!("{}/{} {}", r.network, r.prefix, r.gateway)).collect();
        assert_eq!(shown, ["0.0.0.0/0 10.0.2.9", "192.168.7.0/24 10.0.2.8", "172.16.0.0/12 0.0.0.0"]);
        assert_eq!(classless_routes(&[33, 1, 2, 3, 4, 5, 6, 7, 8, 9]), None);
        assert_eq!(classless_routes(&[24, 1, 2]), None);
    }

    #[test]
    fn nonsense_in_an_option_makes_it_absent() {
        let lease =
            lease(&[(code::MASK, &[255, 0, 255, 0]), (code::MTU, &[0, 68]), (code::DOMAIN, b"a/b \x01")]).unwrap();
        assert_eq!((lease.prefix, lease.mtu, lease.search.len(), lease.gateway()), (8, None, 0, None));
    }

    #[test]
    fn times_keep_their_order() {
        let times = |renew: &[u8], rebind: &[u8], expire: &[u8]| {
            let options = [(code::RENEWAL, renew), (code::REBINDING, rebind), (code::LEASE_TIME, expire)];
            lease(&options).unwrap().times.map(|t| [t.renew, t.rebind, t.expire].map(|t| t.as_secs()))
        };
        assert_eq!(times(&[0, 0, 0, 20], &[0, 0, 0, 30], &[0, 0, 0, 40]), Some([20, 30, 40]));
        assert_eq!(times(&[0, 0, 0, 30], &[0, 0, 0, 20], &[0, 0, 0, 40]), Some([20, 35, 40]));
        assert_eq!(times(&[0, 0, 0, 0], &[0, 0, 0, 0], &[0, 0, 0, 0]), Some([5, 8, 10]));
        assert_eq!(times(&[], &[], &[255; 4]), None, "for ever");
    }

    #[test]
    fn the_server_by_options() {
        let server = (code::MK_SERVER, &[10, 1, 1, 1][..]);
        let razor = |options: &[(u8, &[u8])]| lease(options).unwrap().razor;
        assert_eq!(razor(&[]), None);
        assert_eq!(razor(&[server]).as_deref(), Some("http://10.1.1.1:8150"));
        assert_eq!(razor(&[server, (code::MK_PORT, &[31, 90])]).as_deref(), Some("http://10.1.1.1:8026"));
        assert_eq!(razor(&[server, (code::MK_URI, b"/hanlon/api/v1")]).as_deref(), Some("http://10.1.1.1:8150"));
        assert_eq!(
            razor(&[server, (code::MK_URI, b"https://razor.example/")]).as_deref(),
            Some("https://razor.example")
        );
        assert_eq!(razor(&[(code::MK_SERVER, &[0; 4])]), None);
    }

    proptest! {
        #[test]
        fn any_options_are_no_panic(values in proptest::collection::vec((1u8..=254, proptest::collection::vec(any::<u8>(), 0..40)), 0..20)) {
            let list: Vec<(u8, &[u8])> = values.iter().filter(|(c, _)| ![code::KIND, code::OVERLOAD].contains(c)).map(|(c, v)| (*c, v.as_slice())).collect();
            if let Some(lease) = lease(&list) {
                prop_assert!((1..=32).contains(&lease.prefix));
                prop_assert!(lease.routes.iter().all(|r| r.prefix <= 32));
                if let Some(t) = lease.times {
                    prop_assert!(t.renew < t.rebind && t.rebind < t.expire);
                }
            }
        }
    }
}
