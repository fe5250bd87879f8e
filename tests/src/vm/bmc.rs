//! A service processor with a network port, which QEMU's own has not: it answers the guest's IPMI requests over a socket
//! in the protocol of `ipmi-bmc-extern`, which is that of OpenIPMI's simulator. It knows what [`Bmc`] says, and refuses
//! all else as a real one does.
//!
//! A message is a sequence number, function and command, data, and a byte that makes their sum zero, with a mark at its end.
//! QEMU also sends commands about itself, which have another mark and need no answer.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;

use anyhow::Context as _;

use super::spec::{Bmc, BmcPort};

/// Ends a message.
const MESSAGE_END: u8 = 0xa0;
/// Ends one of QEMU's commands.
const COMMAND_END: u8 = 0xa1;
/// The next byte is one of these three, with a bit set.
const ESCAPE: u8 = 0xaa;
/// That bit.
const ESCAPED: u8 = 0x10;

/// Network functions.
const APPLICATION: u8 = 0x06;
const TRANSPORT: u8 = 0x0c;
/// Completion codes.
const DONE: u8 = 0x00;
const NO_SUCH_COMMAND: u8 = 0xc1;
const NO_SUCH_PARAMETER: u8 = 0x80;
const NO_SUCH_DATA: u8 = 0xcb;
/// Revision of all LAN parameters.
const REVISION: u8 = 0x11;

/// Answers in a thread of its own, which ends with QEMU.
///
/// # Errors
/// When the thread cannot be started.
pub(super) fn serve(bmc: Bmc, socket: UnixStream) -> anyhow::Result<()> {
    std::thread::Builder::new()
        .name("bmc".into())
        .spawn(move || converse(&bmc, socket))
        .context("cannot start the thread of the BMC")?;
    Ok(())
}

fn converse(bmc: &Bmc, mut socket: UnixStream) -> io::Result<()> {
    let (mut buffer, mut message, mut escaped) = ([0; 256], Vec::new(), false);
    loop {
        let count = socket.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        for byte in &buffer[..count] {
            match *byte {
                COMMAND_END => message.clear(),
                MESSAGE_END => {
                    if let Some(answer) = answer(bmc, &message) {
                        socket.write_all(&wrap(&answer))?;
                    }
                    message.clear();
                }
                ESCAPE => escaped = true,
                byte => message.push(if std::mem::take(&mut escaped) { byte & !ESCAPED } else { byte }),
            }
        }
    }
}

/// Answer to a message, both without the byte for the sum of the former; `None` if the message is cut.
fn answer(bmc: &Bmc, message: &[u8]) -> Option<Vec<u8>> {
    let (&[number, function, command], rest) = message.split_first_chunk()?;
    let (_sum, data) = rest.split_last()?;
    // Of the function's byte the lowest two bits are a unit's number, the next says that it is an answer.
    let head = [number, function | 0x04, command];
    Some([&head[..], &reply(bmc, function >> 2, command, data)].concat())
}

/// Completion code and data.
fn reply(bmc: &Bmc, function: u8, command: u8, data: &[u8]) -> Vec<u8> {
    match (function, command) {
        // Get Device ID: number and revision, firmware (the minor part in decimal digits), IPMI 2.0, abilities, then
        // manufacturer and product.
        (APPLICATION, 0x01) => {
            let (major, minor) = (bmc.firmware.0, bmc.minor());
            vec![DONE, 0x20, 0x01, major, minor, 0x02, 0x00, 0x57, 0x01, 0x00, 0x01, 0x00]
        }
        // What the kernel's driver sets up and asks: interrupts and flags, of which there are none.
        (APPLICATION, 0x2e | 0x30) => vec![DONE],
        (APPLICATION, 0x2f | 0x31) => vec![DONE, 0],
        // Get System GUID: the last byte first.
        (APPLICATION, 0x37) => {
            let digits = bmc.guid.replace('-', "");
            u128::from_str_radix(&digits, 16)
                .map_or(vec![NO_SUCH_DATA], |guid| [&[DONE][..], &guid.to_le_bytes()].concat())
        }
        // Get Channel Info: an Ethernet port or none.
        (APPLICATION, 0x42) => match (&bmc.port, data) {
            (Some(port), [channel, ..]) if *channel == port.channel => vec![DONE, *channel, 0x04, 0x01],
            _ => vec![NO_SUCH_DATA],
        },
        (TRANSPORT, 0x02) => match (&bmc.port, data) {
            (Some(port), [channel, parameter, ..]) if *channel == port.channel => lan(port, *parameter),
            _ => vec![NO_SUCH_DATA],
        },
        _ => vec![NO_SUCH_COMMAND],
    }
}

/// A LAN configuration parameter.
fn lan(port: &BmcPort, parameter: u8) -> Vec<u8> {
    let head = [DONE, REVISION];
    match parameter {
        3 => [&head[..], &port.ipv4.octets()].concat(),
        // By DHCP.
        4 => [&head[..], &[0x02]].concat(),
        5 => [&head[..], &port.mac].concat(),
        _ => vec![NO_SUCH_PARAMETER],
    }
}

/// An answer as it goes over the socket.
fn wrap(answer: &[u8]) -> Vec<u8> {
    let sum = answer.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte)).wrapping_neg();
    let escape = |byte: u8| match byte {
        MESSAGE_END | COMMAND_END | ESCAPE => vec![ESCAPE, byte | ESCAPED],
        byte => vec![byte],
    };
    let mut wrapped: Vec<u8> = answer.iter().copied().chain([sum]).flat_map(escape).collect();
    wrapped.push(MESSAGE_END);
    wrapped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bmc() -> Bmc {
        let port = BmcPort { channel: 8, mac: [0xd0, 0x94, 0xa0, 0xaa, 0, 1], ipv4: [10, 0, 0, 9].into() };
        Bmc { firmware: (5, 10), guid: "4c4c4544-004b-5410-804c-b4c04f563133".to_owned(), port: Some(port) }
    }

    #[test]
    fn a_conversation_as_qemu_has_it() {
        let (mut qemu, ours) = UnixStream::pair().unwrap();
        serve(bmc(), ours).unwrap();
        // Its protocol's version, then: message 1, Get LAN Configuration Parameters of channel 8, the MAC.
        qemu.write_all(&[0xff, 0x01, COMMAND_END]).unwrap();
        qemu.write_all(&[1, 0x30, 0x02, 8, 5, 0, 0, 0xc0, MESSAGE_END]).unwrap();
        let mut answer = [0; 15];
        qemu.read_exact(&mut answer).unwrap();
        let mac = [0xd0, 0x94, ESCAPE, 0xb0, ESCAPE, 0xba, 0, 1];
        assert_eq!(answer[..5], [1, 0x34, 0x02, DONE, REVISION]);
        assert_eq!((&answer[5..13], answer[14]), (&mac[..], MESSAGE_END));
    }

    #[test]
    fn what_it_has_not_is_refused() {
        let asked = |message: &[u8]| answer(&bmc(), message).unwrap()[3];
        assert_eq!(asked(&[1, 0x18, 0x42, 1, 0]), NO_SUCH_DATA, "a channel");
        assert_eq!(asked(&[1, 0x30, 0x02, 8, 51, 0, 0, 0]), NO_SUCH_PARAMETER);
        assert_eq!(asked(&[1, 0x18, 0x08, 0]), NO_SUCH_COMMAND);
        assert_eq!((answer(&bmc(), &[1, 0x18]), answer(&bmc(), &[])), (None, None));
    }
}
