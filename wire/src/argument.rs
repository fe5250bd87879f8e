//! Values of the microkernel's arguments (`razor.KEY=VALUE`) that an image may carry: read by the agent when it starts, and by the
//! builder before it writes them into an image. Pure. Each reader gives the value, or what would be accepted instead, as an
//! imperative sentence.

use std::net::IpAddr;

use crate::limits::{MAX_INTERVAL_S, MIN_INTERVAL_S};

/// What `razor.log` may say, from few lines to many.
pub const LOG_LEVELS: [&str; 4] = ["error", "warn", "info", "debug"];
/// Longest interface name that the kernel takes, in bytes.
const MAX_PORT_NAME: usize = 15;
/// Bonding modes by the kernel's names, in the order of its numbers.
pub const BOND_MODES: [&str; 7] =
    ["balance-rr", "active-backup", "balance-xor", "broadcast", "802.3ad", "balance-tlb", "balance-alb"];

/// A port, by whatever the operator knows of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PortName {
    /// Kernel name, such as `eth0`.
    Name(String),
    /// MAC, lower case with colons.
    Mac(String),
}

/// Static address: `[PORT,]ADDRESS/PREFIX`. Without a port, the first one with a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaticIp {
    /// The port.
    pub port: Option<PortName>,
    /// The address.
    pub address: IpAddr,
    /// Prefix length in bits.
    pub prefix: u8,
}

/// VLAN: `[PORT,]ID`. Without a port, on the bond or else on every port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vlan {
    /// The port.
    pub port: Option<PortName>,
    /// VLAN id, 1 to 4094.
    pub id: u16,
}

/// Bond: `MODE,PORT,PORT…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bond {
    /// Mode by the kernel's name.
    pub mode: &'static str,
    /// Its ports, each once.
    pub ports: Vec<PortName>,
}

/// A value, or what to write instead.
type Read<T> = Result<T, String>;

/// Checks the value of an argument that an image may carry (see [`crate::site::ARGUMENTS`]).
///
/// # Errors
/// What to write instead.
pub fn check(key: &str, value: &str) -> Read<()> {
    match key {
        "interval" => interval(value).map(drop),
        "log" => log_level(value).map(drop),
        "ip" => static_ip(value).map(drop),
        "gw" => address(value).map(drop),
        "dns" => addresses(value).map(drop),
        "vlan" => vlan(value).map(drop),
        "bond" => bond(value).map(drop),
        _ => Err("leave it out: no image may carry it".to_owned()),
    }
}

/// An address.
///
/// # Errors
/// What to write instead.
pub fn address(value: &str) -> Read<IpAddr> {
    value.parse().map_err(|_| "write an IPv4 or IPv6 address such as 10.0.0.1".to_owned())
}

/// Addresses with commas between them.
///
/// # Errors
/// What to write instead.
pub fn addresses(value: &str) -> Read<Vec<IpAddr>> {
    value
        .split(',')
        .map(|a| a.trim().parse().map_err(|_| "write addresses with commas between them: 10.0.0.1,10.0.0.2".to_owned()))
        .collect()
}

/// A static address.
///
/// # Errors
/// What to write instead.
pub fn static_ip(value: &str) -> Read<StaticIp> {
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
///
/// # Errors
/// What to write instead.
pub fn vlan(value: &str) -> Read<Vlan> {
    let read = || {
        let (port, id) = with_port(value)?;
        let id = id.parse::<u16>().ok().filter(|id| (1..=4094).contains(id))?;
        Some(Vlan { port, id })
    };
    read().ok_or_else(|| "write razor.vlan=[PORT or MAC,]ID with an id from 1 to 4094".to_owned())
}

/// A bond.
///
/// # Errors
/// What to write instead.
pub fn bond(value: &str) -> Read<Bond> {
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
///
/// # Errors
/// What to write instead.
pub fn interval(value: &str) -> Read<u32> {
    let seconds = value.parse::<u32>().ok().filter(|s| (MIN_INTERVAL_S..=MAX_INTERVAL_S).contains(s));
    seconds.ok_or_else(|| format!("write seconds, from {MIN_INTERVAL_S} to {MAX_INTERVAL_S}"))
}

/// A log level: which of [`LOG_LEVELS`].
///
/// # Errors
/// What to write instead.
pub fn log_level(value: &str) -> Read<usize> {
    let level = LOG_LEVELS.iter().position(|level| *level == value);
    level.ok_or_else(|| format!("write one of {}", LOG_LEVELS.join(", ")))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_image_may_carry_is_checked_and_nothing_else() {
        for (key, good, bad) in [
            ("interval", "60", "0"),
            ("log", "debug", "loud"),
            ("ip", "eth0,10.0.0.5/24", "10.0.0.5"),
            ("gw", "fd00::1", "10.0.0"),
            ("dns", "10.0.0.1,fd00::2", "10.0.0.1,"),
            ("vlan", "aa:bb:cc:00:11:22,5", "4095"),
            ("bond", "active-backup,eth0,eth1", "team,eth0"),
        ] {
            assert_eq!(check(key, good), Ok(()), "{key}");
            assert!(check(key, bad).unwrap_err().starts_with("write "), "{key}");
            assert!(crate::site::ARGUMENTS.contains(&key));
        }
        assert!(check("server", "http://a").is_err());
    }
}
