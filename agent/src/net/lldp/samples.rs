//! Frames for the tests. Those of lldpd 1.0.16 were recorded at the other end of a virtual cable.

/// What lldpd says every two seconds; its addresses and names were chosen.
pub(super) const LLDPD: &str = "0180c200000e44383900001788cc020704443839000017040c0745746865726e6574312f3706020008\
    0a146c6561662d3132612e6463312e6578616d706c650c1843756d756c75732d6c696b652074657374207377697463680e04009c0080\
    100c05010a00000202000000030008107261636b203132207365727665722033fe0900120f030100000000fe0900120f0100800000360000";
/// What it says when it ends.
pub(super) const LLDPD_LEAVES: &str =
    "0180c200000e44383900001788cc020704443839000017040c0745746865726e6574312f37060200000000";

/// The bytes of a recorded frame.
pub(super) fn bytes(hex: &str) -> Vec<u8> {
    hex.as_bytes().chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// A data unit of these TLVs, with an end.
pub(super) fn tlvs(list: &[(u8, &[u8])]) -> Vec<u8> {
    let mut unit = Vec::new();
    for (kind, value) in list {
        let header = u16::from(*kind) << 9 | u16::try_from(value.len()).unwrap();
        unit.extend(header.to_be_bytes());
        unit.extend(*value);
    }
    unit.extend([0, 0]);
    unit
}
