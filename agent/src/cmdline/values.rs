//! Values of the arguments. Each reader gives the value, or what would be accepted instead, as an imperative sentence.

use std::net::{IpAddr, Ipv6Addr};

use wire::limits::{MAX_INTERVAL_S, MIN_INTERVAL_S};
use wire::routes::HTTP_PORT;

use crate::log::Level;

/// Longest interface name that the kernel takes, in bytes.
const MAX_PORT_NAME: usize = 15;
/// Bonding modes by the kernel's names, in the order of its numbers.
pub(crate) const BOND_MODES: [&str; 7] =
    ["balance-rr", "active-backup", "balance-xor", "broadcast", "802.3ad", "balance-tlb", "balance-alb"];

/// A port, by whatever the operator knows of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PortName {
    /// Kernel name, such as `eth0`.
    Name(String),
    /// MAC, lower case with colons.
    Mac(String),
}

/// Static address: `[PORT,]ADDRESS/PREFIX`. Without a port, the first one with a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StaticIp {
    /// The port.
    pub(crate) port: Option<PortName>,
    /// The address.
    pub(crate) address: IpAddr,
    /// Prefix length in bits.
    pub(crate) prefix: u8,
}

/// VLAN: `[PORT,]ID`. Without a port, on the bond or else on every port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Vlan {
    /// The port.
    pub(crate) port: Option<PortName>,
    /// VLAN id, 1 to 4094.
    pub(crate) id: u16,
}

/// Bond: `MODE,PORT,PORT…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bond {
    /// Mode by the kernel's name.
    pub(crate) mode: &'static str,
    /// Its ports, each once.
    pub(crate) ports: Vec<PortName>,
}

type Read<T> = Result<T, String>;

/// True for an address without prefix length.
pub(super) fn is_address(value: &str) -> bool {
    value.parse::<IpAddr>().is_ok()
}

/// A whole URL.
pub(super) fn url(value: &str) -> Read<String> {
    let want = || "write a URL such as http://10.0.0.1:8150/svc/checkin/7".to_owned();
    let url = reqwest::Url::parse(value).map_err(|_| want())?;
    let plain = matches!(url.scheme(), "http" | "https") && url.username().is_empty() && url.password().is_none();
    if !plain || !url.has_host() || url.fragment().is_some() {
        return Err(want());
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

/// A server: URL, name or address, with or without a port.
pub(super) fn server(value: &str) -> Read<String> {
    let want = |_| format!("write a URL such as http://10.0.0.1:{HTTP_PORT}, a name or an address");
    if value.contains("://") {
        return url(value).map_err(want);
    }
    if let Ok(address) = value.parse::<Ipv6Addr>() {
        return Ok(format!("http://[{address}]:{HTTP_PORT}"));
    }
    let authority = value.rsplit_once(']').map_or(value, |(_, after)| after);
    let port = if authority.contains(':') { String::new() } else { format!(":{HTTP_PORT}") };
    if value.contains(['/', '?', '#', '@', '\\']) {
        return Err(want(String::new()));
    }
    url(&format!("http://{value}{port}")).map_err(want)
}

/// An address.
pub(super) fn address(value: &str) -> Read<IpAddr> {
    value.parse().map_err(|_| "write an IPv4 or IPv6 address such as 10.0.0.1".to_owned())
}

/// Addresses with commas between them.
pub(super) fn addresses(value: &str) -> Read<Vec<IpAddr>> {
    value
        .split(',')
        .map(|a| a.trim().parse().map_err(|_| "write addresses with commas between them: 10.0.0.1,10.0.0.2".to_owned()))
        .collect()
}

/// A static address.
pub(super) fn static_ip(value: &str) -> Read<StaticIp> {
    let read = || {
        let (port, rest) = with_port(value)?;
        let (address, prefix) = rest.split_once('/')?;
        let (address, prefix) = (address.parse::<IpAddr>().ok()?, prefix.parse::<u8>().ok()?);
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let usable = !address.is_unspecified() && !address.is_multicast() && (1..=longest).contains(&prefix);
        usable.then_some(StaticIp { port, address, prefix })
    };
    read().ok_or_else(|| "write razor.ip=[PORT or MAC,]ADDRESS/PREFIX such as eth0,10.0.0.5/24".to_owned())
}

/// A VLAN.
pub(super) fn vlan(value: &str) -> Read<Vlan> {
    let read = || {
        let (port, id) = with_port(value)?;
        let id = id.parse::<u16>().ok().filter(|id| (1..=4094).contains(id))?;
        Some(Vlan { port, id })
    };
    read().ok_or_else(|| "write razor.vlan=[PORT or MAC,]ID with an id from 1 to 4094".to_owned())
}

/// A bond.
pub(super) fn bond(value: &str) -> Read<Bond> {
    let read = || {
        let (mode, ports) = value.split_once(',')?;
        let mut ports = ports.split(',').map(port).collect::<Option<Vec<_>>>()?;
        let mut seen = Vec::new();
        ports.retain(|port| {
            !seen.contains(port) && {
                seen.push(port.clone());
                true
            }
        });
        let mode = BOND_MODES.into_iter().find(|known| *known == mode)?;
        Some(Bond { mode, ports })
    };
    let want = || format!("write razor.bond=MODE,PORT,PORT with MODE one of {}", BOND_MODES.join(", "));
    read().ok_or_else(want)
}

/// Seconds between check-ins.
pub(super) fn interval(value: &str) -> Read<u32> {
    let seconds = value.parse::<u32>().ok().filter(|s| (MIN_INTERVAL_S..=MAX_INTERVAL_S).contains(s));
    seconds.ok_or_else(|| format!("write seconds, from {MIN_INTERVAL_S} to {MAX_INTERVAL_S}"))
}

/// A log level.
pub(super) fn level(value: &str) -> Read<Level> {
    Level::from_word(value).ok_or_else(|| format!("write one of {}", Level::ALL.map(Level::word).join(", ")))
}

fn with_port(value: &str) -> Option<(Option<PortName>, &str)> {
    match value.split_once(',') {
        Some((name, rest)) => Some((Some(port(name)?), rest)),
        None => Some((None, value)),
    }
}

fn port(text: &str) -> Option<PortName> {
    let parts: Vec<&str> = text.split([':', '-']).collect();
    if parts.len() == 6 && parts.iter().all(|p| p.len() == 2 && p.chars().all(|c| c.is_ascii_hexdigit())) {
        return Some(PortName::Mac(parts.join(":").to_ascii_lowercase()));
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let is_name = !text.is_empty() && text.len() <= MAX_PORT_NAME && text.chars().all(allowed);
    is_name.then(|| PortName::Name(text.to_owned()))
}
