//! Replaces values by others of the same shape: as long, digits by digits, letters by letters of the same case, and hex
//! letters by hex letters. One value is replaced by one other, in every form in which firmware and kernel write it.

use sha2::{Digest as _, Sha256};

/// Values of at most so many letters and digits stay: they would be found everywhere by chance.
pub(super) const SHORT: usize = 4;

/// Words of the texts that firmware has where nobody set a number or tag.
const MAKERS_WORDS: &str = "a applicable asset available base baseboard be board by chassis default e empty fill \
    filled information invalid m mainboard motherboard n nil no none not null number o oem present processor provided \
    serial set settable specified string system tag to undefined unknown unspecified";

/// What is replaced by what.
pub(super) struct Mask {
    key: [u8; 32],
    /// In order of the first byte of what is replaced; the longest first.
    pairs: Vec<Pair>,
}

/// One form of a value.
struct Pair {
    from: Vec<u8>,
    to: Vec<u8>,
    place: Place,
}

/// Where a form of a value is replaced.
#[derive(Clone, Copy)]
enum Place {
    /// Wherever it stands.
    Anywhere,
    /// Where no letter or digit stands before or after it.
    Apart,
    /// Where it is all of a file, or all of a string of the firmware.
    Alone,
}

impl Mask {
    /// Hides nothing yet. The replacements depend on `key`.
    pub(super) fn new(key: [u8; 32]) -> Self {
        Self { key, pairs: Vec::new() }
    }

    /// Hides a serial number, unless it is one that says nothing, or words.
    pub(super) fn hide(&mut self, value: &str) {
        let value = value.trim();
        if says_nothing(value) || is_words(value) {
            return;
        }
        let other = self.other(value, 0);
        for (from, to) in [(value.to_owned(), other.clone()), (value.to_lowercase(), other.to_lowercase())] {
            self.add(hex(from.as_bytes()).into_bytes(), hex(to.as_bytes()).into_bytes(), Place::Anywhere);
            for at in [0, 1] {
                self.add(swapped(&from, at), swapped(&to, at), Place::Anywhere);
            }
            self.add(from.into_bytes(), to.into_bytes(), Place::Apart);
        }
    }

    /// Hides a serial number or asset tag of the firmware. One of words is hidden as well, unless they are a maker's for
    /// none, but only where it stands alone: such words stand in paths and other texts too.
    pub(super) fn hide_tag(&mut self, value: &str) {
        let value = value.trim();
        if !is_words(value) {
            self.hide(value);
        } else if !says_nothing(value) && !is_makers(value) {
            self.add(value.as_bytes().to_vec(), self.other(value, 0).into_bytes(), Place::Alone);
        }
    }

    /// Hides all but the first `keep` digits of a hexadecimal number (MAC, WWN, UUID), whatever stands between its digits,
    /// and as bytes.
    pub(super) fn hide_number(&mut self, value: &str, keep: usize) {
        let digits: String = value.chars().filter(char::is_ascii_hexdigit).collect::<String>().to_lowercase();
        if is_shared(&digits, keep) {
            return;
        }
        let other = self.other(&digits, keep);
        for [from, to] in [[digits.clone(), other.clone()], [digits.to_uppercase(), other.to_uppercase()]] {
            for separator in [":", "-"] {
                self.add(
                    pairs_of(&from, separator).into_bytes(),
                    pairs_of(&to, separator).into_bytes(),
                    Place::Anywhere,
                );
            }
            self.add(like(value, &from).into_bytes(), like(value, &to).into_bytes(), Place::Anywhere);
            self.add(from.into_bytes(), to.into_bytes(), Place::Anywhere);
        }
        let (from, to) = (raw(&digits), raw(&other));
        if let (Some(from), Some(to)) = (little_endian_uuid(&from), little_endian_uuid(&to)) {
            self.add(from, to, Place::Anywhere);
        }
        self.add(from, to, Place::Anywhere);
    }

    /// `bytes` with all that is hidden replaced.
    pub(super) fn apply(&self, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(bytes.len());
        while out.len() < bytes.len() {
            let at = out.len();
            match self.at(bytes, at) {
                Some(pair) => out.extend(&pair.to),
                None => out.push(bytes[at]),
            }
        }
        out
    }

    /// The longest value that stands at this place.
    fn at(&self, bytes: &[u8], at: usize) -> Option<&Pair> {
        let first = bytes[at];
        let from = self.pairs.partition_point(|pair| pair.from[0] < first);
        let candidates = self.pairs[from..].iter().take_while(|pair| pair.from[0] == first);
        let before = &bytes[..at];
        candidates.into_iter().find(|pair| {
            bytes[at..].strip_prefix(&pair.from[..]).is_some_and(|after| pair.place.is_between(before, after))
        })
    }

    /// Both are equally long, since a replacement has the shape of what it replaces.
    fn add(&mut self, from: Vec<u8>, to: Vec<u8>, place: Place) {
        if from.len() <= SHORT || self.pairs.iter().any(|pair| pair.from == from) {
            return;
        }
        let rank = |pair: &Pair| (pair.from[0], usize::MAX - pair.from.len());
        let new = Pair { from, to, place };
        let index = self.pairs.partition_point(|pair| rank(pair) <= rank(&new));
        self.pairs.insert(index, new);
    }

    /// What stands for a value, whose first `keep` letters stay.
    fn other(&self, value: &str, keep: usize) -> String {
        let canonical = value.to_lowercase();
        let digest = |block: usize| {
            Sha256::new().chain_update(self.key).chain_update(block.to_le_bytes()).chain_update(&canonical)
        };
        let stream = (0_usize..).flat_map(|block| <[u8; 32]>::from(digest(block).finalize()));
        let letter =
            |(at, (letter, random)): (usize, (char, u8))| if at < keep { letter } else { alike(letter, random) };
        value.chars().zip(stream).enumerate().map(letter).collect()
    }
}

impl Place {
    /// Whether a value between these bytes is in such a place.
    fn is_between(self, before: &[u8], after: &[u8]) -> bool {
        let of = |byte: Option<&u8>, kind: fn(&u8) -> bool| byte.is_some_and(kind);
        match self {
            Self::Anywhere => true,
            Self::Apart => {
                !of(before.last(), u8::is_ascii_alphanumeric) && !of(after.first(), u8::is_ascii_alphanumeric)
            }
            // A structure's first string follows a byte of any value, which seldom is that of a letter.
            Self::Alone => {
                let is_text = |byte: &u8| byte.is_ascii_graphic();
                !of(before.trim_ascii_end().last(), is_text) && !of(after.trim_ascii_start().first(), is_text)
            }
        }
    }
}

/// A letter of the same kind.
fn alike(letter: char, random: u8) -> char {
    let of = |letters: &[u8]| char::from(letters[usize::from(random) % letters.len()]);
    match letter {
        '0'..='9' => of(b"0123456789"),
        'a'..='f' => of(b"abcdef"),
        'A'..='F' => of(b"ABCDEF"),
        'g'..='z' => of(b"ghijklmnopqrstuvwxyz"),
        'G'..='Z' => of(b"GHIJKLMNOPQRSTUVWXYZ"),
        other => other,
    }
}

/// A value that is the same on many machines, and that recordings are made for, or too short to be found: repeats and runs.
fn says_nothing(value: &str) -> bool {
    let letters: Vec<u8> =
        value.bytes().filter(u8::is_ascii_alphanumeric).map(|byte| byte.to_ascii_lowercase()).collect();
    letters.len() <= SHORT || has_two_at_most(&letters) || is_run(&letters)
}

/// A text without a digit.
fn is_words(value: &str) -> bool {
    !value.bytes().any(|byte| byte.is_ascii_digit())
}

/// Whether all words are those of which makers of boards form a text that stands for none.
fn is_makers(value: &str) -> bool {
    let mut words = value.split(|letter: char| !letter.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.all(|word| MAKERS_WORDS.split(' ').any(|of_makers| of_makers.eq_ignore_ascii_case(word)))
}

/// Whether a hexadecimal number, whose first `keep` digits name its maker, is the same on many machines: of two digits at
/// most, or for the rest a run, or for three quarters of the rest one digit. Fewer are alike in many a machine's own number.
fn is_shared(digits: &str, keep: usize) -> bool {
    let own = digits.as_bytes().get(keep..).unwrap_or_default();
    let times = |digit: &u8| own.iter().filter(|other| *other == digit).count();
    let is_filler = own.iter().any(|digit| times(digit) * 4 >= own.len() * 3);
    digits.len() <= SHORT || own.is_empty() || has_two_at_most(digits.as_bytes()) || is_run(own) || is_filler
}

/// Whether there are at most two different letters.
fn has_two_at_most(letters: &[u8]) -> bool {
    let mut distinct = letters.to_vec();
    distinct.sort_unstable();
    distinct.dedup();
    distinct.len() <= 2
}

/// Whether each letter follows the one before it.
fn is_run(letters: &[u8]) -> bool {
    letters.windows(2).all(|pair| pair[1] == pair[0].wrapping_add(1) || (pair[0], pair[1]) == (b'9', b'0'))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `52:54:00` of `525400`.
fn pairs_of(digits: &str, separator: &str) -> String {
    let digits: Vec<char> = digits.chars().collect();
    digits.chunks(2).map(String::from_iter).collect::<Vec<_>>().join(separator)
}

/// `digits` with what stands between those of `value`.
fn like(value: &str, digits: &str) -> String {
    let mut digits = digits.chars();
    value
        .chars()
        .map(|letter| if letter.is_ascii_hexdigit() { digits.next().unwrap_or(letter) } else { letter })
        .collect()
}

fn raw(digits: &str) -> Vec<u8> {
    let byte = |at: usize| digits.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
    (0..digits.len()).step_by(2).filter_map(byte).collect()
}

/// The bytes of a UUID as SMBIOS has them since 2.6.
fn little_endian_uuid(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut bytes: [u8; 16] = bytes.try_into().ok()?;
    bytes[0..4].reverse();
    bytes[4..6].reverse();
    bytes[6..8].reverse();
    Some(bytes.to_vec())
}

/// As ATA writes text, the two letters of each word swapped, where it begins at a word's first or second letter.
fn swapped(text: &str, at: usize) -> Vec<u8> {
    let mut bytes = vec![b' '; at];
    bytes.extend(text.as_bytes());
    if bytes.len() % 2 == 1 {
        bytes.push(b' ');
    }
    bytes.chunks_exact(2).flat_map(|pair| [pair[1], pair[0]]).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn mask() -> Mask {
        Mask::new([7; 32])
    }

    fn applied(mask: &Mask, text: &str) -> String {
        String::from_utf8(mask.apply(text.as_bytes())).unwrap()
    }

    #[test]
    fn a_serial_number_is_replaced_by_one_of_its_shape_wherever_it_stands() {
        let mut mask = mask();
        mask.hide("CZ3-1234");
        let other = applied(&mask, "CZ3-1234");
        assert!(other != "CZ3-1234" && other.len() == 8 && other.as_bytes()[3] == b'-');
        assert!(other.starts_with(|c: char| ('A'..='F').contains(&c)), "{other}");
        assert_eq!(applied(&mask, "x CZ3-1234, cz3-1234"), format!("x {other}, {}", other.to_lowercase()));
        // As the kernel names NVMe namespaces, and as ATA writes text.
        let named = format!("nvme.8086-{}-00000001", hex(b"CZ3-1234"));
        assert_eq!(applied(&mask, &named), format!("nvme.8086-{}-00000001", hex(other.as_bytes())));
        for at in [0, 1] {
            assert_eq!(mask.apply(&swapped("CZ3-1234", at)), swapped(&other, at));
        }
        // Part of something longer it is not.
        assert_eq!(applied(&mask, "ACZ3-1234"), "ACZ3-1234");
    }

    #[test]
    fn a_mac_keeps_its_maker_in_all_its_forms() {
        let mut mask = mask();
        mask.hide_number("3c:ec:ef:12:ab:34", 6);
        let other = applied(&mask, "3c:ec:ef:12:ab:34");
        assert!(other.starts_with("3c:ec:ef:") && other != "3c:ec:ef:12:ab:34");
        let plain = other.replace(':', "");
        assert_eq!(
            applied(&mask, "BOOTIF=01-3C-EC-EF-12-AB-34"),
            format!("BOOTIF=01-{}", other.replace(':', "-").to_uppercase())
        );
        assert_eq!(applied(&mask, "enx3cecef12ab34"), format!("enx{plain}"));
        assert_eq!(mask.apply(&[0, 0x3c, 0xec, 0xef, 0x12, 0xab, 0x34]), [vec![0], raw(&plain)].concat());
    }

    #[test]
    fn a_uuid_is_hidden_in_both_orders_of_its_bytes() {
        let mut mask = mask();
        let uuid = "4c4c4544-0038-5010-8052-b4c04f4e3132";
        mask.hide_number(uuid, 0);
        let digits = |text: &str| text.replace('-', "");
        let other = applied(&mask, uuid);
        assert_eq!((other.len(), other.as_bytes()[8]), (36, b'-'));
        assert_eq!(mask.apply(&raw(&digits(uuid))), raw(&digits(&other)));
        let little = |text: &str| little_endian_uuid(&raw(&digits(text))).unwrap();
        assert_eq!(mask.apply(&little(uuid)), little(&other));
    }

    #[test]
    fn a_tag_of_words_is_hidden_where_it_stands_alone() {
        let mut mask = mask();
        mask.hide_tag("System-Finance");
        let file = applied(&mask, "System-Finance\n");
        assert!(!file.contains("System") && file.as_bytes()[6] == b'-' && file.ends_with('\n'), "{file}");
        let string = |tag: &str| format!("\u{1}\u{4}ACME\0{tag}\0Box\0\0");
        assert_eq!(applied(&mask, &string("System-Finance ")), string(&file.replace('\n', " ")));
        for other in ["/sys/System-Finance", "x System-Finance\n", "System-Finance x", "System-Finances"] {
            assert_eq!(applied(&mask, other), other);
        }
    }

    #[test]
    fn a_machines_half_is_hidden_though_its_digits_are_much_alike() {
        for (number, keep) in [
            ("00:25:90:00:00:a1", 6),
            ("3c:ec:ef:fa:de:ba", 6),
            ("3c:ec:ef:11:12:31", 6),
            ("5000c50000000a1b", 7),
            ("00000000000000006479a74e7a100131", 6),
        ] {
            let mut mask = mask();
            mask.hide_number(number, keep);
            let other = applied(&mask, number);
            let maker = number.len().min(keep + number[..8].matches(':').count());
            assert!(other != number && other[..maker] == number[..maker], "{number} {other}");
        }
    }

    #[test]
    fn what_many_machines_have_stays() {
        for value in [
            "To be filled by O.E.M.",
            "Default string",
            "0123456789",
            "1234567890",
            "00000000",
            "FFFFFFFF",
            "None",
            "Base Board Asset Tag",
            "A1-2",
        ] {
            let mut mask = mask();
            mask.hide(value);
            mask.hide_tag(value);
            assert!(mask.pairs.is_empty(), "{value}");
        }
        let mut mask = mask();
        mask.hide_number("ff:ff:ff:ff:ff:ff", 6);
        mask.hide_number("00000000-0000-0000-0000-000000000000", 0);
        mask.hide_number("52:54:00:12:34:56", 6);
        mask.hide_number("00:00:00:00:00:01", 6);
        mask.hide_number("03000200-0400-0500-0006-000700080009", 0);
        assert!(mask.pairs.is_empty());
    }

    proptest! {
        #[test]
        fn any_bytes_keep_their_length(value in "[ -~]{0,24}", number in "[0-9a-f:-]{0,40}", keep in 0..9_usize,
                                       bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut mask = mask();
            mask.hide(&value);
            mask.hide_tag(&value);
            mask.hide_number(&number, keep);
            prop_assert_eq!(mask.apply(&bytes).len(), bytes.len());
            prop_assert_eq!(mask.apply(value.as_bytes()).len(), value.len());
        }
    }
}
