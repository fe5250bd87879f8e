//! What a real emulator of a TPM (swtpm) answered, for tests: `swtpm.txt`. Each chip there is a line `= NAME`, lines
//! `vendor`, `firmware` and `digest` (of its key, as OpenSSL computes it), and pairs of a command `>` and its answer
//! `<`, in hex.

use anyhow::Context as _;

use super::message::Command;

const FILE: &str = include_str!("swtpm.txt");

/// A chip.
#[derive(Default)]
pub(super) struct Recorded {
    name: String,
    /// Its vendor's letters.
    pub(super) vendor: Option<String>,
    /// Its firmware's version.
    pub(super) firmware: Option<String>,
    /// Digest of its key.
    pub(super) digest: Option<String>,
    /// Commands and answers.
    pub(super) answers: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Recorded {
    /// All chips.
    pub(super) fn all() -> Vec<Self> {
        let mut all: Vec<Self> = Vec::new();
        for line in FILE.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (word, value) = line.split_once(' ').unwrap();
            if word == "=" {
                all.push(Self { name: value.to_owned(), ..Self::default() });
                continue;
            }
            let chip = all.last_mut().unwrap();
            match word {
                "vendor" => chip.vendor = Some(value.to_owned()),
                "firmware" => chip.firmware = Some(value.to_owned()),
                "digest" => chip.digest = Some(value.to_owned()),
                ">" => chip.answers.push((hex(value), Vec::new())),
                "<" => chip.answers.last_mut().unwrap().1 = hex(value),
                other => panic!("unknown word {other}"),
            }
        }
        all
    }

    /// One of them.
    pub(super) fn of(name: &str) -> Self {
        Self::all().into_iter().find(|chip| chip.name == name).unwrap()
    }

    /// What it answered to this very command.
    pub(super) fn answer(&self, command: &Command) -> anyhow::Result<Vec<u8>> {
        let known = self.answers.iter().find(|(asked, _)| *asked == command.bytes);
        known.map(|(_, answer)| answer.clone()).with_context(|| format!("it was not asked {command:02x?}"))
    }
}

/// Bytes of hex digits with blanks between them.
pub(super) fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}
