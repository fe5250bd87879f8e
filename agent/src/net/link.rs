//! Changes of ports in the kernel, by the classic ioctls: one IPv4 address per port and its routes need no more, and
//! they cost a twentieth of a netlink library. What is read is in `/sys` and from `getifaddrs`.

use std::ffi::{CString, c_char, c_int};
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsRawFd as _;

use anyhow::Context as _;
use nix::errno::Errno;
use nix::libc;

use super::dhcp::Route;
use crate::ifreq::{request, socket};

/// Routes of the port with index N have the metric 100 + N, so that the default routes of several ports coexist.
const METRIC_BASE: u32 = 100;
/// The kernel's table of IPv4 routes.
const ROUTES: &str = "/proc/net/route";
/// `AF_INET` in the width that the address structures have.
const INET: libc::sa_family_t = 2;

mod raw {
    use nix::libc;

    nix::ioctl_readwrite_bad!(get_mtu, libc::SIOCGIFMTU, libc::ifreq);
    nix::ioctl_write_ptr_bad!(set_mtu, libc::SIOCSIFMTU, libc::ifreq);
    nix::ioctl_write_ptr_bad!(set_address, libc::SIOCSIFADDR, libc::ifreq);
    nix::ioctl_write_ptr_bad!(set_netmask, libc::SIOCSIFNETMASK, libc::ifreq);
    nix::ioctl_write_ptr_bad!(add_route, libc::SIOCADDRT, libc::rtentry);
}

/// The largest packet of a port, if the kernel tells it.
pub(crate) fn mtu(name: &str) -> Option<u16> {
    let mut request = request(name).ok()?;
    // SAFETY: `request` is a whole `ifreq` with a terminated name; the kernel fills in the size.
    unsafe { raw::get_mtu(socket().ok()?.as_raw_fd(), &raw mut request) }.ok()?;
    // SAFETY: the kernel has just filled in this field of the union.
    u16::try_from(unsafe { request.ifr_ifru.ifru_mtu }).ok()
}

/// Sets the largest packet of a port.
///
/// # Errors
/// Names the port, the size and the kernel's reason.
pub(crate) fn set_mtu(name: &str, mtu: u16) -> anyhow::Result<()> {
    let mut request = request(name)?;
    request.ifr_ifru.ifru_mtu = c_int::from(mtu);
    // SAFETY: `request` is a whole `ifreq` with a terminated name; the kernel only reads.
    unsafe { raw::set_mtu(socket()?.as_raw_fd(), &raw const request) }
        .map(drop)
        .with_context(|| format!("cannot set the MTU of {name} to {mtu}"))
}

/// Gives a port this address and no other. Its former IPv4 routes go with its former address.
///
/// # Errors
/// Names the port, the address and the kernel's reason.
pub(crate) fn set_address(name: &str, address: Ipv4Addr, prefix: u8) -> anyhow::Result<()> {
    clear_address(name)?;
    let context = || format!("cannot give {name} the address {address}/{prefix}");
    let socket = socket()?;
    let mut request = request(name)?;
    request.ifr_ifru.ifru_addr = sockaddr(address);
    // SAFETY: `request` is a whole `ifreq` with a terminated name; the kernel only reads.
    unsafe { raw::set_address(socket.as_raw_fd(), &raw const request) }.with_context(context)?;
    request.ifr_ifru.ifru_netmask = sockaddr(mask(prefix));
    // SAFETY: as above.
    unsafe { raw::set_netmask(socket.as_raw_fd(), &raw const request) }.map(drop).with_context(context)
}

/// Takes a port's address away, and with it all its IPv4 routes.
///
/// # Errors
/// Names the port and the kernel's reason.
pub(crate) fn clear_address(name: &str) -> anyhow::Result<()> {
    let mut request = request(name)?;
    request.ifr_ifru.ifru_addr = sockaddr(Ipv4Addr::UNSPECIFIED);
    // SAFETY: `request` is a whole `ifreq` with a terminated name; the kernel only reads.
    match unsafe { raw::set_address(socket()?.as_raw_fd(), &raw const request) } {
        Ok(_) | Err(Errno::EADDRNOTAVAIL) => Ok(()),
        Err(why) => Err(why).with_context(|| format!("cannot take the address of {name} away")),
    }
}

/// Adds a route over a port. A gateway outside the port's own network is made reachable first, as clouds need it.
///
/// # Errors
/// Names the port, the route and the kernel's reason.
pub(crate) fn add_route(name: &str, index: u32, local: (Ipv4Addr, u8), route: &Route) -> anyhow::Result<()> {
    let inside = |a: Ipv4Addr| u32::from(a) & u32::from(mask(local.1)) == u32::from(local.0) & u32::from(mask(local.1));
    if !route.gateway.is_unspecified() && !inside(route.gateway) {
        let hop = Route { network: route.gateway, prefix: 32, gateway: Ipv4Addr::UNSPECIFIED };
        add_one_route(name, index, &hop)?;
    }
    add_one_route(name, index, route)
}

fn add_one_route(name: &str, index: u32, route: &Route) -> anyhow::Result<()> {
    let device = CString::new(name)?;
    // SAFETY: all fields are numbers or a pointer that may be null.
    let mut entry: libc::rtentry = unsafe { std::mem::zeroed() };
    entry.rt_dst = sockaddr(route.network);
    entry.rt_genmask = sockaddr(mask(route.prefix));
    entry.rt_gateway = sockaddr(route.gateway);
    entry.rt_flags = libc::RTF_UP;
    if route.prefix == 32 {
        entry.rt_flags |= libc::RTF_HOST;
    }
    if !route.gateway.is_unspecified() {
        entry.rt_flags |= libc::RTF_GATEWAY;
    }
    // The kernel takes one off, for historical reasons.
    entry.rt_metric = i16::try_from(METRIC_BASE + index + 1).unwrap_or(i16::MAX);
    entry.rt_dev = device.as_ptr().cast_mut();
    // SAFETY: `entry` is a whole `rtentry`; its name lives until the call returns, and the kernel only reads it.
    match unsafe { raw::add_route(socket()?.as_raw_fd(), &raw const entry) } {
        Ok(_) | Err(Errno::EEXIST) => Ok(()),
        Err(why) => Err(why).with_context(|| {
            format!("cannot add a route to {}/{} by {} over {name}", route.network, route.prefix, route.gateway)
        }),
    }
}

/// Those of these routes that a port does not have; none where the kernel does not tell.
pub(crate) fn lacking<'a>(name: &str, routes: &'a [Route]) -> Vec<&'a Route> {
    let Ok(table) = std::fs::read_to_string(ROUTES) else { return Vec::new() };
    routes.iter().filter(|route| !table.lines().any(|line| is_route(line, name, route))).collect()
}

/// Whether this line of the kernel's table is this route. Addresses are numbers there, in the machine's order of bytes.
fn is_route(line: &str, name: &str, route: &Route) -> bool {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let is = |field: usize, address: Ipv4Addr| {
        let number = fields.get(field).and_then(|text| u32::from_str_radix(text, 16).ok());
        number.is_some_and(|number| number.to_ne_bytes() == address.octets())
    };
    fields.first() == Some(&name) && is(1, route.network) && is(2, route.gateway) && is(7, mask(route.prefix))
}

/// Addresses of a port with their prefix length, link-local ones left out: nobody can be reached by them.
pub(crate) fn addresses(name: &str) -> Vec<String> {
    let Ok(all) = nix::ifaddrs::getifaddrs() else { return Vec::new() };
    let mut addresses: Vec<(IpAddr, u32)> = all
        .filter(|i| i.interface_name == name)
        .filter_map(|i| {
            let (address, mask) = (i.address?, i.netmask?);
            let v4 = address.as_sockaddr_in().map(|a| IpAddr::V4(a.ip()));
            let address = v4.or_else(|| address.as_sockaddr_in6().map(|a| IpAddr::V6(a.ip())))?;
            let v4 = mask.as_sockaddr_in().map(|m| u32::from(m.ip()).count_ones());
            let prefix = v4.or_else(|| mask.as_sockaddr_in6().map(|m| u128::from(m.ip()).count_ones()))?;
            is_usable(address).then_some((address, prefix))
        })
        .collect();
    addresses.sort_unstable();
    addresses.iter().map(|(address, prefix)| format!("{address}/{prefix}")).collect()
}

/// Whether others can be reached from this address.
fn is_usable(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(a) => !a.is_link_local() && !a.is_loopback() && !a.is_unspecified(),
        IpAddr::V6(a) => !a.is_unicast_link_local() && !a.is_loopback() && !a.is_unspecified(),
    }
}

fn mask(prefix: u8) -> Ipv4Addr {
    Ipv4Addr::from(u32::MAX.checked_shl(32 - u32::from(prefix).min(32)).unwrap_or(0))
}

fn sockaddr(address: Ipv4Addr) -> libc::sockaddr {
    // SAFETY: all fields are numbers.
    let mut out: libc::sockaddr = unsafe { std::mem::zeroed() };
    out.sa_family = INET;
    // Two bytes of port, then the address.
    for (to, from) in out.sa_data[2..6].iter_mut().zip(address.octets()) {
        *to = c_char::from_ne_bytes([from]);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks() {
        for (prefix, expected) in [(0, [0, 0, 0, 0]), (1, [128, 0, 0, 0]), (23, [255, 255, 254, 0]), (32, [255; 4])] {
            assert_eq!(mask(prefix), Ipv4Addr::from(expected));
        }
    }

    #[test]
    fn routes_are_found_in_the_kernels_table() {
        let line = "eth0\t00000000\t0100090A\t0003\t0\t0\t102\t00000000\t0\t0\t0";
        let route = Route::default_by(Ipv4Addr::new(10, 9, 0, 1));
        let wanted = |name, route: &Route| is_route(line, name, route);
        // The table is in the order of bytes of the machine that wrote it.
        assert_eq!(wanted("eth0", &route), cfg!(target_endian = "little"));
        assert!(!wanted("eth1", &route) && !wanted("eth0", &Route { prefix: 8, ..route }));
        assert!(!wanted("eth0", &Route::default_by(Ipv4Addr::new(10, 9, 0, 2))));
        for line in ["", "eth0", "eth0 x y z 0 0 0 q", "Iface\tDestination\tGateway"] {
            assert!(!is_route(line, "eth0", &route), "{line}");
        }
    }

    #[test]
    fn link_local_addresses_are_of_no_use() {
        for (address, usable) in [
            ("10.0.2.15", true),
            ("169.254.3.4", false),
            ("127.0.0.1", false),
            ("fe80::1", false),
            ("fd00::15", true),
            ("::1", false),
        ] {
            assert_eq!(is_usable(address.parse().unwrap()), usable, "{address}");
        }
    }
}
