//! Who is at the other end of a connection over loopback: the kernel's table of TCP sockets names the owner of each.
//! Only a socket that is open now counts. One that was closed has no owner any more, which the table shows as root.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

/// The kernel's table of IPv4 sockets in this network.
const TABLE: &str = "/proc/net/tcp";
/// State of a connection that neither side has closed, as the kernel numbers it.
const ESTABLISHED: &str = "01";
/// Inode of a socket that no process has.
const NO_INODE: &str = "0";

/// User id of the process that has the socket `peer`, connected to `own`; `None` where that cannot be told.
pub(super) fn uid(peer: SocketAddr, own: SocketAddr) -> Option<u32> {
    let (SocketAddr::V4(peer), SocketAddr::V4(own)) = (peer, own) else { return None };
    owner(&std::fs::read_to_string(TABLE).ok()?, peer, own)
}

/// The owner in a table. Each line: number, own address, other address, state, three fields of no interest here, user
/// id, a further one, inode.
fn owner(table: &str, socket: SocketAddrV4, other: SocketAddrV4) -> Option<u32> {
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let [_, one, two, state, _, _, _, uid, _, inode, ..] = fields[..] else { return None };
        let is_it = state == ESTABLISHED && inode != NO_INODE && address(one)? == socket && address(two)? == other;
        is_it.then(|| uid.parse().ok())?
    })
}

/// An address as in the table: its bytes as a number of this machine's order in hex, and the port in hex.
fn address(text: &str) -> Option<SocketAddrV4> {
    let (address, port) = text.split_once(':')?;
    let address = u32::from_str_radix(address, 16).ok()?;
    Some(SocketAddrV4::new(Ipv4Addr::from(address.to_ne_bytes()), u16::from_str_radix(port, 16).ok()?))
}

/// For the fuzzer: the kernel's table.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(bytes: &[u8]) {
    let socket = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 8156);
    let _ = owner(&String::from_utf8_lossy(bytes), socket, socket);
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use proptest::prelude::*;

    use super::*;

    const HEAD: &str =
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";

    fn line(own: &str, other: &str, state: &str, uid: &str, inode: &str) -> String {
        format!(
            "   1: {own} {other} {state} 00000000:00000000 00:00000000 00000000  {uid}        0 {inode} 1 0 20 4 30 10 -1\n"
        )
    }

    #[test]
    fn only_the_open_socket_of_that_connection_counts() {
        let (peer, own) = ("127.0.0.1:40000".parse().unwrap(), "127.0.0.1:2156".parse().unwrap());
        let hex = |port: u16| format!("{:08X}:{port:04X}", u32::from_ne_bytes([127, 0, 0, 1]));
        let (a, b) = (hex(40000), hex(2156));
        for (lines, expected) in [
            (line(&a, &b, "01", "1000", "77"), Some(1000)),
            (line(&a, &b, "01", "0", "77"), Some(0)),
            (line(&b, &a, "01", "0", "78"), None),
            (line(&a, &b, "05", "0", "77"), None),
            (line(&a, &b, "06", "0", "0"), None),
            (line(&a, &b, "01", "0", "0"), None),
            (line(&a, &hex(2157), "01", "0", "77"), None),
            (line(&hex(40001), &b, "01", "0", "77") + &line(&a, &b, "01", "1000", "79"), Some(1000)),
            (line(&a, &b, "01", "x", "77"), None),
            (String::new(), None),
        ] {
            assert_eq!(owner(&(HEAD.to_owned() + &lines), peer, own), expected, "{lines}");
        }
    }

    #[test]
    fn a_connection_of_this_test_is_its_own() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, peer) = listener.accept().unwrap();
        let own = accepted.local_addr().unwrap();
        assert_eq!(uid(peer, own), Some(nix::unistd::geteuid().as_raw()));
        drop(stream);
        assert_eq!(uid(peer, own), None, "closed: nobody's, although the table says root");
    }

    proptest! {
        #[test]
        fn any_table_is_read(text in "\\PC*") {
            let _ = owner(&text, "127.0.0.1:1".parse().unwrap(), "127.0.0.1:2".parse().unwrap());
            let _ = address(&text);
        }
    }
}
