//! What a MAC address is worth as evidence, by its bits.

use super::length::kept;

/// Worth of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Worth {
    /// Given by a manufacturer.
    Strong,
    /// Locally administered or multicast bit: made by software (QEMU's 52:54:00 among them), so it may be anywhere.
    Weak,
    /// All zeros or all ones: no address at all.
    None,
}

/// The address as comparable text with its worth. What does not look like an address of 6, 8 or 20 bytes is compared as
/// it is, as the original does.
#[must_use]
pub fn judge(value: &str) -> (String, Worth) {
    let digits: String = value.chars().filter(|c| !matches!(c, '-' | ':' | '.')).collect();
    let Some(bytes) = bytes(&digits).filter(|b| matches!(b.len(), 6 | 8 | 20)) else {
        return (kept(value), Worth::Strong);
    };
    let text = bytes.iter().map(|b| format!("{b:02x}")).collect::<Vec<_>>().join("-");
    let worth = if bytes.iter().all(|b| *b == 0) || bytes.iter().all(|b| *b == 0xff) {
        Worth::None
    } else if bytes.len() == 6 && bytes[0] & 0b11 != 0 {
        Worth::Weak
    } else {
        Worth::Strong
    };
    (text, worth)
}

fn bytes(digits: &str) -> Option<Vec<u8>> {
    if !digits.is_ascii() || !digits.len().is_multiple_of(2) {
        return None;
    }
    (0..digits.len()).step_by(2).map(|i| u8::from_str_radix(digits.get(i..i + 2)?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_judged_by_their_bits() {
        for (value, text, worth) in [
            ("00-11-22-33-44-55", "00-11-22-33-44-55", Worth::Strong),
            ("001122334455", "00-11-22-33-44-55", Worth::Strong),
            ("52-54-00-12-34-56", "52-54-00-12-34-56", Worth::Weak),
            ("01-00-5e-00-00-01", "01-00-5e-00-00-01", Worth::Weak),
            ("00-00-00-00-00-00", "00-00-00-00-00-00", Worth::None),
            ("ff-ff-ff-ff-ff-ff", "ff-ff-ff-ff-ff-ff", Worth::None),
            ("not an address", "not an address", Worth::Strong),
            ("b", "b", Worth::Strong),
        ] {
            assert_eq!(judge(value), (text.to_owned(), worth), "{value}");
        }
    }

    #[test]
    fn infiniband_addresses_have_no_local_bit() {
        let long = "80-00-02-08-fe-80-00-00-00-00-00-00-7c-fe-90-03-00-aa-bb-cc";
        assert_eq!(judge(long), (long.to_owned(), Worth::Strong));
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_judged(value in ".*") {
            let (text, worth) = judge(&value);
            proptest::prop_assert_eq!(judge(&text), (text.clone(), worth));
        }
    }
}
