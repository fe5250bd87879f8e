//! The key that a TPM 2.0 is known by, the same one as long as it is the same chip, whatever an operating system did to it.
//!
//! Which key: the endorsement key of template L-2 (ECC P-256; TCG EK Credential Profile 2.x, appendix B). It follows from
//! nothing but this template and the endorsement seed, which the vendor made and no TPM2_Clear changes; PC chips must have
//! this curve (TCG PC Client Platform TPM Profile). Not taken: the key stored at 0x81010001, which is there only once some
//! firmware or system has put it there; the RSA key, which takes some chips half a minute to make; the certificate itself,
//! which a vendor may renew.
//!
//! Where it is found: the chip makes it (TPM2_CreatePrimary), in its working memory alone. Where a system has put a password
//! on the endorsement hierarchy or has switched it off, the same key stands in the vendor's certificate at 0x01c0000a, which
//! is read. That certificate is of another key where the vendor has stored a template or a nonce of its own beside it;
//! then it is not used, since a machine whose key goes and comes is better off than one that has two.
//!
//! No password but the empty one is ever sent, and only where the chip says that there is none, so that nothing is counted
//! as an attack (dictionary attack lockout).
//!
//! What is told is the SHA-256 of the key's SubjectPublicKeyInfo, which other programs show too:
//! `tpm2_createek -G ecc -c - -f pem -u ek.pem && openssl pkey -pubin -in ek.pem -outform DER | sha256sum`.

use anyhow::{Context as _, anyhow, ensure};

use super::Talk;
use super::message::{self, Command, Index};
use super::p256::{self, Point};
use crate::limits::{TPM_CERTIFICATE, TPM_CHUNK};

/// Two properties: what was set for good (TPM_PT_PERMANENT), and what holds until the machine is switched off
/// (TPM_PT_STARTUP_CLEAR).
const SET_FOR_GOOD: u32 = 0x200;
const SET_UNTIL_OFF: u32 = 0x201;
/// In the first: the endorsement hierarchy has a password.
const HAS_PASSWORD: u32 = 1 << 1;
/// In the second: the endorsement hierarchy is switched on.
const IS_ON: u32 = 1 << 2;
/// Where vendors store the certificate of the key.
const CERTIFICATE: u32 = 0x01c0_000a;
/// Where they store a nonce and a template, if theirs are not the profile's.
const OF_ITS_OWN: [u32; 2] = [0x01c0_000b, 0x01c0_000c];

/// SHA-256 (hex) of the key.
///
/// # Errors
/// Why neither the chip nor its certificate has it.
pub(super) fn digest(talk: &mut Talk) -> anyhow::Result<String> {
    let point = match made(talk) {
        Ok(point) => point,
        Err(why) => certified(talk).map_err(|also| anyhow!("{why:#}; its certificate does not help: {also:#}"))?,
    };
    Ok(p256::digest(&point))
}

/// The key as the chip makes it.
fn made(talk: &mut Talk) -> anyhow::Result<Point> {
    let command = Command::properties(SET_FOR_GOOD, 2);
    let state = message::properties(&command, &talk(&command)?).context(command.name)?;
    let bits = |property| state.get(&property).copied().context("the TPM does not tell who may have its key");
    ensure!(bits(SET_FOR_GOOD)? & HAS_PASSWORD == 0, "the TPM's endorsement hierarchy has a password");
    ensure!(bits(SET_UNTIL_OFF)? & IS_ON != 0, "the TPM's endorsement hierarchy is switched off");
    let command = Command::endorsement_key(&p256::template());
    message::endorsement_key(&command, &talk(&command)?).context(command.name)
}

/// The key as the vendor's certificate has it.
fn certified(talk: &mut Talk) -> anyhow::Result<Point> {
    for index in OF_ITS_OWN {
        ensure!(stored(talk, index)?.is_none(), "it is of another key, since the vendor has stored {index:#010x}");
    }
    let place = stored(talk, CERTIFICATE)?.with_context(|| format!("nothing is stored at {CERTIFICATE:#010x}"))?;
    ensure!(place.is_for_all(), "{CERTIFICATE:#010x} cannot be read without a password");
    ensure!(place.length <= TPM_CERTIFICATE, "{CERTIFICATE:#010x} has {} bytes, too many", place.length);
    let mut certificate = Vec::new();
    for offset in (0..place.length).step_by(usize::from(TPM_CHUNK)) {
        let command = Command::read(CERTIFICATE, TPM_CHUNK.min(place.length - offset), offset);
        certificate.extend(message::stored(&command, &talk(&command)?).context(command.name)?);
    }
    p256::point_in(&certificate).with_context(|| format!("{CERTIFICATE:#010x} has no key of the curve P-256"))
}

/// What is known of an index; `None` if nothing is stored there.
fn stored(talk: &mut Talk, index: u32) -> anyhow::Result<Option<Index>> {
    let command = Command::index(index);
    message::index(&command, &talk(&command)?).context(command.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::tpm::recorded::{Recorded, hex};

    /// The key that a recorded chip gives, and the names of the commands that it was asked.
    fn asked(chip: &Recorded) -> (Result<String, String>, Vec<&'static str>) {
        let mut names = Vec::new();
        let mut talk = |command: &Command| {
            names.push(command.name);
            chip.answer(command)
        };
        let digest = digest(&mut talk).map_err(|why| format!("{why:#}"));
        names.dedup();
        (digest, names)
    }

    #[test]
    fn the_chip_makes_the_key_that_other_programs_show() {
        let chip = Recorded::of("new");
        let expected = chip.digest.clone().unwrap();
        assert_eq!(asked(&chip), (Ok(expected), vec!["TPM2_GetCapability", "TPM2_CreatePrimary"]));
    }

    #[test]
    fn behind_a_password_the_certificate_has_the_same_key_and_no_password_is_tried() {
        let chip = Recorded::of("password");
        let expected = Recorded::of("new").digest.unwrap();
        let names = vec!["TPM2_GetCapability", "TPM2_NV_ReadPublic", "TPM2_NV_Read"];
        assert_eq!(asked(&chip), (Ok(expected), names));
    }

    #[test]
    fn a_certificate_of_a_key_of_the_vendors_own_is_left_alone() {
        let (key, names) = asked(&Recorded::of("nonce"));
        let why = key.unwrap_err();
        assert!(why.contains("has a password; ") && why.ends_with("the vendor has stored 0x01c0000b"), "{why}");
        assert_eq!(names, ["TPM2_GetCapability", "TPM2_NV_ReadPublic"]);
    }

    #[test]
    fn a_hierarchy_that_is_off_and_no_certificate_are_both_named() {
        let why = asked(&Recorded::of("off")).0.unwrap_err();
        let expected = "the TPM's endorsement hierarchy is switched off; its certificate does not help: nothing is \
                        stored at 0x01c0000a";
        assert_eq!(why, expected);
    }

    #[test]
    fn a_certificate_that_is_not_for_all_to_read_is_not_tried() {
        let mut chip = Recorded::of("password");
        let command = Command::index(CERTIFICATE);
        let place = chip.answers.iter_mut().find(|(asked, _)| *asked == command.bytes).unwrap();
        // TPMA_NV_AUTHREAD stands in the second byte of the attributes.
        place.1[19] &= !0x04;
        let (key, names) = asked(&chip);
        assert!(key.unwrap_err().ends_with("0x01c0000a cannot be read without a password"));
        assert!(!names.contains(&"TPM2_NV_Read"), "{names:?}");
    }

    #[test]
    fn a_chip_in_failure_mode_says_so() {
        let failed = hex("8001 0000000a 00000101");
        let why = digest(&mut |_| Ok(failed.clone())).unwrap_err();
        assert!(format!("{why:#}").starts_with("TPM2_GetCapability: the TPM is in failure mode"), "{why:#}");
    }
}
