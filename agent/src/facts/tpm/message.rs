//! Commands to a TPM 2.0 and its answers, as bytes (TPM 2.0 Library, parts 2 and 3). Pure; the highest byte of a number
//! comes first. Of the commands that there are these only ask, but for TPM2_CreatePrimary, whose key lives in the
//! chip's working memory until the device is closed. None writes to the chip's store.

use std::collections::BTreeMap;

use super::p256::{self, Point};

/// Length of the header of a command or an answer: tag, length of the whole, code.
const HEADER: usize = 10;
/// Tags of commands without and with a proof that they are allowed.
const PLAIN: u16 = 0x8001;
const AUTHORISED: u16 = 0x8002;
/// What TPM2_GetCapability is asked for: TPM_CAP_TPM_PROPERTIES.
const PROPERTIES: u32 = 6;
/// The hierarchy whose seed the vendor made: TPM_RH_ENDORSEMENT.
const ENDORSEMENT: [u8; 4] = [0x40, 0x00, 0x00, 0x0b];
/// The proof is the empty password: its length, TPM_RS_PW, and neither nonce nor attributes nor password.
const EMPTY_PASSWORD: [u8; 13] = [0, 0, 0, 9, 0x40, 0x00, 0x00, 0x09, 0, 0, 0, 0, 0];
/// Neither a password nor data for a new key: TPM2B_SENSITIVE_CREATE.
const NOTHING_SECRET: [u8; 6] = [0, 4, 0, 0, 0, 0];
/// Nothing from outside and no register goes into a new key's history.
const NO_HISTORY: [u8; 6] = [0; 6];

/// One command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Command {
    /// As the standard calls it.
    pub(super) name: &'static str,
    /// All of it.
    pub(super) bytes: Vec<u8>,
    tag: u16,
}

/// Why an answer is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    /// The response code is not 0.
    #[error("the TPM {why} (response code {code:#05x})", why = meaning(*.0), code = .0)]
    Refused(u32),
    /// Not what the standard says.
    #[error("the TPM's answer makes no sense: {0}")]
    Garbled(&'static str),
}

/// The answer ends before it is whole.
const SHORT: Fault = Fault::Garbled("it is too short");

impl Command {
    fn new(name: &'static str, code: u32, tag: u16, parts: &[&[u8]]) -> Self {
        let rest = parts.concat();
        let length = u32::try_from(HEADER + rest.len()).unwrap_or(u32::MAX);
        let bytes = [&tag.to_be_bytes()[..], &length.to_be_bytes(), &code.to_be_bytes(), &rest].concat();
        Self { name, bytes, tag }
    }

    /// Asks for some of the chip's properties, which are numbered.
    pub(super) fn properties(first: u32, count: u32) -> Self {
        let parts = [PROPERTIES, first, count].map(u32::to_be_bytes);
        Self::new("TPM2_GetCapability", 0x17a, PLAIN, &[parts.as_flattened()])
    }

    /// Derives the endorsement key of a template from the vendor's seed: the same one each time.
    pub(super) fn endorsement_key(template: &[u8]) -> Self {
        let length = u16::try_from(template.len()).unwrap_or(u16::MAX).to_be_bytes();
        let key = [&NOTHING_SECRET[..], &length, template, &NO_HISTORY].concat();
        Self::new("TPM2_CreatePrimary", 0x131, AUTHORISED, &[&ENDORSEMENT, &EMPTY_PASSWORD, &key])
    }

    /// Asks what is stored under an index.
    pub(super) fn index(index: u32) -> Self {
        Self::new("TPM2_NV_ReadPublic", 0x169, PLAIN, &[&index.to_be_bytes()])
    }

    /// Reads what is stored under an index, by the index's own empty password.
    pub(super) fn read(index: u32, length: u16, offset: u16) -> Self {
        let index = index.to_be_bytes();
        let span = [length, offset].map(u16::to_be_bytes);
        Self::new("TPM2_NV_Read", 0x14e, AUTHORISED, &[&index, &index, &EMPTY_PASSWORD, span.as_flattened()])
    }

    /// What follows the header of an answer to this command.
    fn accepted<'a>(&self, answer: &'a [u8]) -> Result<Fields<'a>, Fault> {
        let mut fields = Fields(answer);
        let (tag, length, code) = (fields.u16()?, fields.u32()?, fields.u32()?);
        if usize::try_from(length) != Ok(answer.len()) {
            return Err(Fault::Garbled("its length is not the one in its header"));
        }
        match code {
            0 if tag == self.tag => Ok(fields),
            0 => Err(Fault::Garbled("its tag is not the command's")),
            _ => Err(Fault::Refused(code)),
        }
    }
}

/// Length of a whole answer as its header has it, once that is there.
pub(super) fn length(start: &[u8]) -> Option<usize> {
    let length = u32::from_be_bytes(start.get(2..6)?.try_into().ok()?);
    usize::try_from(length).ok()
}

/// Whether the chip only says that it can do nothing right now: TPM_RC_YIELDED, TPM_RC_TESTING, TPM_RC_RETRY.
pub(super) fn is_busy(answer: &[u8]) -> bool {
    matches!(answer.get(6..HEADER), Some([0, 0, 0x09, 0x08 | 0x0a | 0x22]))
}

/// The properties that an answer to [`Command::properties`] has, by number.
pub(super) fn properties(command: &Command, answer: &[u8]) -> Result<BTreeMap<u32, u32>, Fault> {
    let mut fields = command.accepted(answer)?;
    let _more_follow = fields.take(1)?;
    if fields.u32()? != PROPERTIES {
        return Err(Fault::Garbled("it is about something else"));
    }
    let count = fields.u32()?;
    (0..count).map(|_| Ok((fields.u32()?, fields.u32()?))).collect()
}

/// The public half of the key that an answer to [`Command::endorsement_key`] has.
pub(super) fn endorsement_key(command: &Command, answer: &[u8]) -> Result<Point, Fault> {
    let mut fields = command.accepted(answer)?;
    let (_handle, _length) = (fields.u32()?, fields.u32()?);
    let mut public = Fields(fields.sized()?);
    if public.take(p256::KIND.len())? != p256::KIND {
        return Err(Fault::Garbled("the key is of another kind than was asked for"));
    }
    let point = [public.sized()?, public.sized()?];
    let point = p256::point(point).ok_or(Fault::Garbled("the key is no point of its curve"))?;
    if public.0.is_empty() { Ok(point) } else { Err(Fault::Garbled("more follows the key")) }
}

/// What is known of an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Index {
    /// Length of what is stored, in bytes.
    pub(super) length: u16,
    attributes: u32,
}

impl Index {
    /// Whether the index's own password is enough to read it, and a wrong one is not counted against anybody:
    /// TPMA_NV_AUTHREAD and TPMA_NV_NO_DA. So it is with what vendors store for all to read, and their password is empty.
    pub(super) fn is_for_all(&self) -> bool {
        const FOR_ALL: u32 = (1 << 18) | (1 << 25);
        self.attributes & FOR_ALL == FOR_ALL
    }
}

/// What an answer to [`Command::index`] tells; `None` if nothing is stored there.
pub(super) fn index(command: &Command, answer: &[u8]) -> Result<Option<Index>, Fault> {
    /// TPM_RC_HANDLE of the first handle.
    const NOT_THERE: u32 = 0x18b;
    let mut fields = match command.accepted(answer) {
        Err(Fault::Refused(NOT_THERE)) => return Ok(None),
        accepted => Fields(accepted?.sized()?),
    };
    let (_index, _digest, attributes) = (fields.u32()?, fields.u16()?, fields.u32()?);
    let _policy = fields.sized()?;
    Ok(Some(Index { length: fields.u16()?, attributes }))
}

/// The bytes that an answer to [`Command::read`] has.
pub(super) fn stored<'a>(command: &Command, answer: &'a [u8]) -> Result<&'a [u8], Fault> {
    let mut fields = command.accepted(answer)?;
    let _length = fields.u32()?;
    fields.sized()
}

/// What is left of an answer.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], Fault> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(SHORT)?;
        self.0 = rest;
        Ok(taken)
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        self.take(N)?.try_into().map_err(|_| SHORT)
    }

    fn u16(&mut self) -> Result<u16, Fault> {
        self.bytes().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Result<u32, Fault> {
        self.bytes().map(u32::from_be_bytes)
    }

    /// A length and so many bytes.
    fn sized(&mut self) -> Result<&'a [u8], Fault> {
        let length = self.u16()?;
        self.take(usize::from(length))
    }
}

/// What a response code means (part 2, 6.6). Bit 7 marks those that tell which handle or parameter is meant.
fn meaning(code: u32) -> &'static str {
    let number = if code & 0x80 == 0 { code } else { code & 0xbf };
    match number {
        0x100 => "has not been started by firmware or kernel",
        0x101 => "is in failure mode: switch the machine off and on; if that does not help, the chip is broken",
        0x12d => "is being given new firmware",
        0x143 => "does not know the command",
        0x81 | 0x8a | 0xa6 => "has no elliptic curve P-256",
        0x85 => "has that hierarchy switched off",
        0x8e | 0xa2 => "asks for a password",
        0x902 => "has no memory left for a key",
        0x908 | 0x90a | 0x922 => "is busy",
        0x921 => "is locked out",
        _ => "refuses it",
    }
}

/// For the fuzzer: any answer of a TPM to any of the commands.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(bytes: &[u8]) {
    let _ = (length(bytes), is_busy(bytes), p256::point_in(bytes));
    let _ = endorsement_key(&Command::endorsement_key(&p256::template()), bytes);
    let found = properties(&Command::properties(0x100, 64), bytes).unwrap_or_default();
    assert!(found.len() <= bytes.len());
    let _ = index(&Command::index(0x01c0_000a), bytes).map(|index| index.is_some_and(|index| index.is_for_all()));
    let kept = stored(&Command::read(0x01c0_000a, 64, 0), bytes).unwrap_or_default();
    assert!(kept.len() < bytes.len().max(1));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::facts::tpm::recorded::{Recorded, hex};

    #[test]
    fn numbers_of_a_chip() {
        // An Infineon SLB 9670: TPM_PT_MANUFACTURER and TPM_PT_VENDOR_STRING_1.
        let command = Command::properties(0x105, 2);
        assert_eq!(command.bytes, hex("8001 00000016 0000017a 00000006 00000105 00000002"));
        let answer = hex("8001 00000023 00000000 01 00000006 00000002 00000105 49465800 00000106 534c4239");
        let expected = BTreeMap::from([(0x105, 0x4946_5800), (0x106, 0x534c_4239)]);
        assert_eq!(properties(&command, &answer), Ok(expected));
        let other = hex("8001 00000013 00000000 00 00000001 00000000");
        assert_eq!(properties(&command, &other), Err(Fault::Garbled("it is about something else")));
        let endless = hex("8001 00000013 00000000 00 00000006 ffffffff");
        assert_eq!(properties(&command, &endless), Err(SHORT));
    }

    #[test]
    fn refusals_say_what_to_make_of_them() {
        let command = Command::index(0x01c0_000a);
        assert_eq!(command.bytes, hex("8001 0000000e 00000169 01c0000a"));
        let refused = |code: &str| index(&command, &hex(&format!("8001 0000000a {code}")));
        assert_eq!(refused("0000018b"), Ok(None), "nothing is stored there");
        let text = |code: &str| refused(code).unwrap_err().to_string();
        assert!(text("00000101").starts_with("the TPM is in failure mode"));
        assert!(text("00000101").ends_with("(response code 0x101)"));
        // Of the first session, of the second parameter, and of the kernel's resource manager.
        assert_eq!(text("000009a2"), "the TPM asks for a password (response code 0x9a2)");
        assert_eq!(text("000002e6"), "the TPM has no elliptic curve P-256 (response code 0x2e6)");
        assert_eq!(text("000b0143"), "the TPM refuses it (response code 0xb0143)");
        assert!(text("0000018c").contains("refuses it"));
    }

    #[test]
    fn busy_is_no_refusal() {
        let says = |code: &str| is_busy(&hex(&format!("8001 0000000a {code}")));
        assert!(says("00000922") && says("0000090a") && says("00000908"));
        assert!(!says("00000902") && !says("00000000") && !says("00000122") && !is_busy(&[]));
    }

    #[test]
    fn an_answer_is_what_its_header_says() {
        let command = Command::index(1);
        let garbled = |answer: &str| match index(&command, &hex(answer)) {
            Err(Fault::Garbled(why)) => why,
            other => panic!("{other:?}"),
        };
        assert_eq!(garbled(""), "it is too short");
        assert_eq!(garbled("8001 0000000b 00000101"), "its length is not the one in its header");
        assert_eq!(garbled("8002 0000000a 00000000"), "its tag is not the command's");
        // A chip of version 1.2 refuses with a tag of its own.
        assert_eq!(index(&command, &hex("00c4 0000000a 0000001e")), Err(Fault::Refused(0x1e)));
        assert_eq!((length(&[0x80, 1, 0, 0, 0, 10]), length(&[0x80, 1, 0, 0, 0])), (Some(10), None));
    }

    #[test]
    fn who_may_read_an_index() {
        let attributes = |attributes| Index { length: 0, attributes }.is_for_all();
        // As vendors store certificates, for the owner only, and with wrong passwords counted.
        assert!(attributes(0x6207_2001) && !attributes(0x6203_2001) && !attributes(0x6007_2001));
    }

    /// All answers that a real chip gave, with the commands.
    fn genuine() -> Vec<(Vec<u8>, Vec<u8>)> {
        Recorded::all().into_iter().flat_map(|recorded| recorded.answers).collect()
    }

    /// Reads an answer in every way.
    fn read_in_every_way(answer: &[u8]) {
        let command = |tag| Command { name: "", bytes: Vec::new(), tag };
        for command in [command(PLAIN), command(AUTHORISED)] {
            let _ = properties(&command, answer);
            let _ = endorsement_key(&command, answer);
            let _ = index(&command, answer);
            let _ = stored(&command, answer);
        }
        is_busy(answer);
        length(answer);
    }

    proptest! {
        #[test]
        fn any_answer_is_read(answer in prop::collection::vec(any::<u8>(), 0..64)) {
            read_in_every_way(&answer);
        }

        #[test]
        fn a_genuine_answer_that_was_damaged_is_read(
            which in any::<prop::sample::Index>(),
            place in any::<prop::sample::Index>(),
            byte in any::<u8>(),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut answer = which.get(&genuine()).1.clone();
            let place = place.index(answer.len());
            answer[place] = byte;
            read_in_every_way(&answer);
            answer.truncate(cut.index(answer.len()));
            // Its header says the length that it has now, so that the rest is looked at too.
            let length = u32::try_from(answer.len()).unwrap().to_be_bytes();
            if let Some(place) = answer.get_mut(2..6) {
                place.copy_from_slice(&length);
            }
            read_in_every_way(&answer);
        }
    }
}
