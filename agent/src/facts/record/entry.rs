//! One file or link of a recording, and how it is written.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::mask::Mask;

/// Begins a header: a text with such a line is written as base64.
const HEADER: &str = "=== ";
/// Letters of base64 in a line.
const LINE: usize = 76;

/// One file or link.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    /// Absolute path without links.
    pub(super) path: String,
    /// What is there.
    pub(super) content: Content,
}

/// What an entry holds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Content {
    /// A file's bytes.
    File(Vec<u8>),
    /// A link's target.
    Link(String),
}

impl Entry {
    /// The file's name without its folder.
    pub(super) fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }

    /// The bytes of a file.
    pub(super) fn bytes(&self) -> Option<&[u8]> {
        match &self.content {
            Content::File(bytes) => Some(bytes),
            Content::Link(_) => None,
        }
    }

    /// The same with all that `mask` hides replaced, in its path too.
    pub(super) fn masked(&self, mask: &Mask) -> Self {
        let text = |text: &str| String::from_utf8_lossy(&mask.apply(text.as_bytes())).into_owned();
        Self {
            path: text(&self.path),
            content: match &self.content {
                Content::File(bytes) => Content::File(mask.apply(bytes)),
                Content::Link(target) => Content::Link(text(target)),
            },
        }
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = &self.path;
        match &self.content {
            Content::Link(target) => writeln!(out, "=== link {path} -> {target}"),
            Content::File(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) if is_plain(text) => writeln!(out, "=== file {path}\n{}", text.trim_end_matches('\n')),
                _ => {
                    writeln!(out, "=== base64 {path}")?;
                    let letters = STANDARD.encode(bytes);
                    (0..letters.len())
                        .step_by(LINE)
                        .try_for_each(|at| writeln!(out, "{}", &letters[at..letters.len().min(at + LINE)]))
                }
            },
        }
    }
}

/// Text that comes out of a recording as it went in, but for line ends at its end.
fn is_plain(text: &str) -> bool {
    !text.contains(HEADER) && text.chars().all(|letter| matches!(letter, '\n' | '\t') || !letter.is_control())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(bytes: &[u8]) -> String {
        Entry { path: "/sys/x".to_owned(), content: Content::File(bytes.to_vec()) }.to_string()
    }

    #[test]
    fn text_as_it_is_and_all_else_as_base64() {
        assert_eq!(written(b"two\nlines\n"), "=== file /sys/x\ntwo\nlines\n");
        for bytes in [&b"\0\x01"[..], b"\xff", b"a\n=== file /etc/passwd\n", b"carriage\r\n"] {
            assert_eq!(written(bytes), format!("=== base64 /sys/x\n{}\n", STANDARD.encode(bytes)));
        }
    }
}
