//! The pauses between attempts to reach a server, read from a recording of the machine's traffic (pcap, as QEMU writes
//! it), and whether they are a back-off with jitter.

/// How a pause must grow from one to the next, with room for a slow guest.
const GROWTH: std::ops::Range<f64> = 0.8..6.0;
/// Divided by their powers of two, the longest pause is at least so many times the shortest. Half of each pause is random:
/// five of them are closer together than this once in 5000 runs; plain doubling keeps within a few percent.
const SPREAD: f64 = 1.08;

/// What pauses are.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Doubling {
    /// They double, each with a share of its own.
    Uneven,
    /// They double exactly: machines that failed together ask together for ever.
    Even,
    /// They do not grow as they should.
    Neither,
}

/// Judges pauses in seconds.
pub(crate) fn judge(pauses: &[f64]) -> Doubling {
    if !pauses.windows(2).all(|pair| GROWTH.contains(&(pair[1] / pair[0]))) {
        return Doubling::Neither;
    }
    let shares = pauses.iter().zip(0..).map(|(pause, power)| pause / 2_f64.powi(power));
    let (least, most) = shares.fold((f64::MAX, 0.0_f64), |(least, most), share| (least.min(share), most.max(share)));
    if most > least * SPREAD { Doubling::Uneven } else { Doubling::Even }
}

/// When attempts to connect to this port began since the last one that succeeded, in seconds of the guest's clock. A recording
/// has a header of 24 bytes; each packet one of 16: seconds, microseconds, length, length.
pub(crate) fn attempts(recording: &[u8], port: u16) -> Vec<f64> {
    const SYN: u8 = 0x02;
    const SYN_ACK: u8 = 0x12;
    let number = |at: usize| f64::from(u32::from_le_bytes(recording[at..at + 4].try_into().unwrap()));
    let (mut at, mut attempts) = (24, Vec::new());
    while let Some(length) = recording.get(at + 8..at + 12) {
        let length = usize::try_from(u32::from_le_bytes(length.try_into().unwrap())).unwrap();
        let Some(packet) = recording.get(at + 16..at + 16 + length) else { break };
        // Ethernet and IPv4 without options, TCP.
        if packet.len() >= 54 && packet[12..14] == [8, 0] && packet[23] == 6 {
            let (from, to, flags) = (&packet[34..36], &packet[36..38], packet[47]);
            if flags == SYN && to == port.to_be_bytes() {
                attempts.push(number(at) + number(at + 4) / 1e6);
            } else if flags == SYN_ACK && from == port.to_be_bytes() {
                attempts.clear();
            }
        }
        at += 16 + length;
    }
    attempts
}

/// The pauses between attempts.
pub(crate) fn between(attempts: &[f64]) -> Vec<f64> {
    attempts.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

#[test]
fn jitter_is_told_from_plain_doubling_and_from_no_back_off() {
    assert_eq!(judge(&[1.04, 2.06, 4.1, 8.03, 16.05]), Doubling::Even);
    assert_eq!(judge(&[0.9, 1.2, 3.7, 4.4, 12.0]), Doubling::Uneven);
    assert_eq!(judge(&[2.0, 2.0, 1.0]), Doubling::Neither);
}
