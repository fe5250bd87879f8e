//! Public keys of the elliptic curve P-256: what a TPM makes them of, how certificates write them, and their digest. Pure.

use wire::digest::sha256_hex;

/// Length of one coordinate, in bytes.
const COORDINATE: usize = 32;

/// Both coordinates of a public key, one after the other.
pub(super) type Point = [u8; 2 * COORDINATE];

/// Kind of the endorsement key (TPMT_PUBLIC but for its point): ECC, SHA-256, an attested key that only decrypts, its use
/// allowed by whoever may use the hierarchy, AES-128-CFB, no scheme, P-256, no derivation. It is template L-2 of the TCG EK
/// Credential Profile.
pub(super) const KIND: [u8; 54] = [
    0x00, 0x23, 0x00, 0x0b, 0x00, 0x03, 0x00, 0xb2, 0x00, 0x20, 0x83, 0x71, 0x97, 0x67, 0x44, 0x84, 0xb3, 0xf8, 0x1a,
    0x90, 0xcc, 0x8d, 0x46, 0xa5, 0xd7, 0x24, 0xfd, 0x52, 0xd7, 0x6e, 0x06, 0x52, 0x0b, 0x64, 0xf2, 0xa1, 0xda, 0x1b,
    0x33, 0x14, 0x69, 0xaa, 0x00, 0x06, 0x00, 0x80, 0x00, 0x43, 0x00, 0x10, 0x00, 0x03, 0x00, 0x10,
];

/// How every key of this curve begins where its bytes stand in a certificate (DER): an uncompressed point follows.
const IN_DER: [u8; 27] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04,
];

/// The template: the kind, and a point of zeros, which the profile asks for; each coordinate stands behind its length.
pub(super) fn template() -> Vec<u8> {
    let coordinate = [&[0, 32][..], &[0; COORDINATE]].concat();
    [&KIND[..], &coordinate, &coordinate].concat()
}

/// A point of its coordinates. Some chips leave leading zeros out.
pub(super) fn point(coordinates: [&[u8]; 2]) -> Option<Point> {
    let mut point = [0; 2 * COORDINATE];
    for (place, coordinate) in point.chunks_exact_mut(COORDINATE).zip(coordinates) {
        let zeros = COORDINATE.checked_sub(coordinate.len())?;
        place[zeros..].copy_from_slice(coordinate);
    }
    point.iter().any(|byte| *byte != 0).then_some(point)
}

/// The only key of this curve in a certificate, which holds no other key than that of its subject.
pub(super) fn point_in(certificate: &[u8]) -> Option<Point> {
    let mut found = certificate.windows(IN_DER.len() + 2 * COORDINATE).filter(|bytes| bytes.starts_with(&IN_DER));
    let point = found.next()?.get(IN_DER.len()..)?.try_into().ok()?;
    found.next().is_none().then_some(point)
}

/// SHA-256 (hex) of a key as certificates have it (DER, SubjectPublicKeyInfo).
pub(super) fn digest(point: &Point) -> String {
    sha256_hex(&[&IN_DER[..], point].concat())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn leading_zeros_that_a_chip_leaves_out_are_no_other_key() {
        let short = point([&[7; 31], &[9; 32]]).unwrap();
        assert_eq!(point([&[&[0][..], &[7; 31]].concat(), &[9; 32]]), Some(short));
        assert_eq!((short[0], short[1], short[31], short[32]), (0, 7, 7, 9));
        assert_eq!((point([&[1; 33], &[1; 32]]), point([&[0; 32], &[]])), (None, None));
    }

    #[test]
    fn a_certificate_has_one_key() {
        let point = [3; 64];
        let key = [&IN_DER[..], &point].concat();
        let certificate = [&b"before"[..], &key, b"after"].concat();
        assert_eq!(point_in(&certificate), Some(point));
        assert_eq!(point_in(&[certificate.clone(), certificate].concat()), None, "two keys");
        assert_eq!((point_in(&key[..90]), point_in(b"of another curve"), point_in(&[])), (None, None, None));
    }

    #[test]
    fn the_template_is_the_profiles() {
        let template = template();
        assert_eq!((template.len(), &template[..4], &template[54..58]), (122, &KIND[..4], &[0, 32, 0, 0][..]));
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_certificate(
            mut bytes in prop::collection::vec(any::<u8>(), 0..200),
            place in any::<prop::sample::Index>(),
        ) {
            let place = place.index(bytes.len() + 1);
            bytes.splice(place..place, IN_DER);
            point_in(&bytes);
            point([&bytes, &bytes]);
        }
    }
}
