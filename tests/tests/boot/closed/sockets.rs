//! What a debug machine's kernel lists of sockets, and the table that explains each of them: which program has it, what for, and
//! why nobody from outside gets anything by it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Prints every list with its name before each line, and then who has which socket. Few processes: each costs an emulated
/// machine a moment.
pub(super) const LIST: &str = "for t in tcp tcp6 udp udp6 raw raw6 icmp icmp6 packet; do \
    [ -e /proc/net/$t ] && sed \"1d;s/^/LIST $t /\" /proc/net/$t; done; ls -l /proc/[0-9]*/fd 2>/dev/null | \
    awk '/^.proc/{split($1,p,\"/\")} /socket:/{gsub(/[^0-9]/,\"\",$NF); print p[3], $NF}' | \
    while read p i; do echo \"HAS $i $(tr '\\0' ' ' < /proc/$p/cmdline)\"; done";

/// State of a TCP socket that listens.
const LISTENS: &str = "0A";
/// State of one whose connection is over; it belongs to no program any more.
const IS_OVER: &str = "06";

/// Where a socket may be bound.
enum Place {
    /// `127.0.0.1` and this port: only the machine itself gets there.
    Loopback(u16),
    /// Every address and this port.
    Everywhere(u16),
    /// A connection that the machine itself has made, to this port of its server.
    ToServer,
    /// The DHCP client's port at the machine's own address, bound to its port.
    Lease,
    /// No address: a packet socket, which hears what its filter lets through and answers nothing by itself.
    Wire,
}

/// A socket that has a reason to be there.
struct Known {
    /// The kernel's lists.
    lists: &'static [&'static str],
    place: Place,
    /// What the command line of its program has in it.
    program: &'static str,
    /// What it is for, and why it is harmless.
    purpose: &'static str,
}

const TABLE: [Known; 7] = [
    Known {
        lists: &["tcp"],
        place: Place::Loopback(2156),
        program: "mk-agent run control",
        purpose: "status and facts for programs of the machine itself",
    },
    Known {
        lists: &["tcp"],
        place: Place::Loopback(2157),
        program: "mk-agent run mirror",
        purpose: "the image's extensions, for tce-load",
    },
    Known {
        lists: &["tcp"],
        place: Place::Loopback(2158),
        program: "mk-agent run mirror",
        purpose: "the image's gems, for the machine itself",
    },
    Known {
        lists: &["tcp", "tcp6"],
        place: Place::Everywhere(22),
        program: "sshd",
        purpose: "log-in by the operator's key; no part of a production image",
    },
    Known {
        lists: &["tcp"],
        place: Place::ToServer,
        program: "mk-agent run checkin",
        purpose: "check-ins, which the machine begins",
    },
    Known {
        lists: &["udp"],
        place: Place::Lease,
        program: "mk-agent run net",
        purpose: "asks the DHCP server to extend the lease, for moments; nothing is read from it",
    },
    Known {
        lists: &["packet"],
        place: Place::Wire,
        program: "mk-agent run net",
        purpose: "hears DHCP's answers and LLDP, by filters of the kernel",
    },
];

/// One line of the kernel's lists.
#[derive(Debug)]
struct Socket<'a> {
    list: &'a str,
    /// Absent from packet sockets.
    ends: Option<(SocketAddr, SocketAddr)>,
    state: &'a str,
    inode: &'a str,
}

impl<'a> Socket<'a> {
    fn parse(line: &'a str) -> Self {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[0] {
            "packet" => Self { list: words[0], ends: None, state: "", inode: words[9] },
            list => Self { list, ends: Some((end(words[2]), end(words[3]))), state: words[4], inode: words[10] },
        }
    }
}

/// An address and port as the kernel writes them: words of the machine's own order in hexadecimal digits.
fn end(text: &str) -> SocketAddr {
    let (address, port) = text.split_once(':').unwrap();
    let words = (0..address.len()).step_by(8).map(|at| u32::from_str_radix(&address[at..at + 8], 16).unwrap());
    let bytes: Vec<u8> = words.flat_map(u32::to_le_bytes).collect();
    let v6 = |bytes: Vec<u8>| IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).unwrap()));
    let address = <[u8; 4]>::try_from(&bytes[..]).map_or_else(|_| v6(bytes), |four| IpAddr::V4(Ipv4Addr::from(four)));
    SocketAddr::new(address, u16::from_str_radix(port, 16).unwrap())
}

impl Known {
    fn is(&self, socket: &Socket<'_>, program: Option<&str>, server: SocketAddr) -> bool {
        let at_home = match (&self.place, socket.ends) {
            (Place::Loopback(port), Some((own, _))) => {
                own == SocketAddr::from((Ipv4Addr::LOCALHOST, *port)) && socket.state == LISTENS
            }
            (Place::Everywhere(port), Some((own, _))) => {
                own.ip().is_unspecified() && own.port() == *port && socket.state == LISTENS
            }
            (Place::ToServer, Some((_, other))) => other == server && socket.state != LISTENS,
            (Place::Lease, Some((own, _))) => own.port() == 68 && !own.ip().is_unspecified(),
            (Place::Wire, None) => true,
            _ => false,
        };
        // What is over belongs to nobody; all else to the program that the table names.
        let ours = program.is_some_and(|program| program.contains(self.program)) || socket.state == IS_OVER;
        self.lists.contains(&socket.list) && at_home && ours
    }
}

/// Explains what [`LIST`] has printed; gives what the table does not know, and how many it does.
pub(super) fn unexplained(listed: &str, server: SocketAddr) -> (Vec<String>, usize) {
    let owner = |inode: &str| {
        let mut owners = listed.lines().filter_map(|line| line.strip_prefix("HAS ")?.split_once(' '));
        owners.find(|(has, _)| *has == inode).map(|(_, program)| program.trim())
    };
    let (mut unknown, mut explained) = (Vec::new(), 0);
    for line in listed.lines().filter_map(|line| line.strip_prefix("LIST ")) {
        let socket = Socket::parse(line);
        let program = owner(socket.inode);
        match TABLE.iter().find(|known| known.is(&socket, program, server)) {
            Some(known) => {
                println!("{} {:?} of {program:?}: {}", socket.list, socket.ends, known.purpose);
                explained += 1;
            }
            None => unknown.push(format!("{socket:?} of {program:?}")),
        }
    }
    (unknown, explained)
}

/// The port of the UDP socket that is connected to somebody, once there is one.
pub(super) fn connected_to(listed: &str, somebody: SocketAddr) -> Option<u16> {
    let lines = listed.lines().filter_map(|line| line.strip_prefix("LIST ")).map(Socket::parse);
    let mut ends = lines.filter(|socket| socket.list == "udp").filter_map(|socket| socket.ends);
    ends.find(|(_, other)| *other == somebody).map(|(own, _)| own.port())
}
