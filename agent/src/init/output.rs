//! What the units write: a thread per process reads lines, keeps the last ones and passes each on to the kernel's log
//! as `mk-agent: UNIT: text` with the priority that the line begins with.

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::sync::{Arc, Mutex, PoisonError};

use wire::checkin::Unit;

use crate::limits::{LOG_LINE, SMALL_STACK, TAIL_LINES};
use crate::log;
use crate::text::plain;

/// Last lines by unit, shared with the threads that read them.
#[derive(Clone, Default)]
pub(super) struct Tails(Arc<Mutex<BTreeMap<String, VecDeque<String>>>>);

impl Tails {
    /// Reads `output` to its end in the background.
    pub(super) fn follow(&self, unit: &str, output: impl std::io::Read + Send + 'static) -> std::io::Result<()> {
        let (tails, unit) = (self.clone(), unit.to_owned());
        let follow = move || {
            let mut kernel = log::open_kmsg();
            each_line(BufReader::new(output), |line| {
                let (priority, text) = log::split_priority(line);
                tails.push(&unit, text);
                let record = format!("<{priority}>mk-agent: {unit}: {text}\n");
                match &mut kernel {
                    // The kernel refuses a record when it has too many at once: the tail has it anyway.
                    Some(kernel) => drop(kernel.write_all(record.as_bytes())),
                    None => eprint!("{record}"),
                }
            });
        };
        std::thread::Builder::new().name("output".to_owned()).stack_size(SMALL_STACK).spawn(follow).map(drop)
    }

    /// The last lines of a unit, oldest first.
    pub(super) fn of(&self, unit: &str) -> Vec<String> {
        let tails = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tails.get(unit).map(|lines| lines.iter().cloned().collect()).unwrap_or_default()
    }

    /// Forgets those that are no unit's any more.
    pub(super) fn keep(&self, units: &[Unit]) {
        let mut tails = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tails.retain(|name, _| units.iter().any(|u| u.name == *name));
    }

    fn push(&self, unit: &str, text: &str) {
        let mut tails = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let lines = tails.entry(unit.to_owned()).or_default();
        if lines.len() == TAIL_LINES {
            lines.pop_front();
        }
        lines.push_back(text.to_owned());
    }
}

/// Calls `take` for each line that is not blank. A line longer than [`LOG_LINE`] bytes comes in pieces; bytes that are
/// no UTF-8 are replaced, and control characters too: they would work on the operator's terminal.
fn each_line(mut from: impl BufRead, mut take: impl FnMut(&str)) {
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        let limit = u64::try_from(LOG_LINE).unwrap_or(u64::MAX);
        match from.by_ref().take(limit).read_until(b'\n', &mut bytes) {
            Ok(0) => return,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => return,
            Ok(_) => {
                let text = String::from_utf8_lossy(&bytes);
                let line = plain(text.trim_end());
                if !line.is_empty() {
                    take(&line);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lines(bytes: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        each_line(bytes, |line| lines.push(line.to_owned()));
        lines
    }

    #[test]
    fn lines_are_cut_cleaned_and_kept() {
        assert_eq!(lines(b"a\n\n b\xff\x1b[2J\nend"), ["a", " b\u{fffd} [2J", "end"]);
        let long = lines(&[b'x'; 2 * LOG_LINE + 1]);
        assert_eq!(long.iter().map(String::len).collect::<Vec<_>>(), [LOG_LINE, LOG_LINE, 1]);
    }

    #[test]
    fn only_the_last_lines_are_kept() {
        let tails = Tails::default();
        for n in 0..TAIL_LINES + 5 {
            tails.push("net", &n.to_string());
        }
        let kept = tails.of("net");
        assert_eq!((kept.len(), kept[0].as_str()), (TAIL_LINES, "5"));
        assert!(tails.of("other").is_empty());
        tails.keep(&[]);
        assert!(tails.of("net").is_empty(), "it is no unit any more");
    }

    proptest! {
        #[test]
        fn no_output_panics_or_makes_a_long_line(bytes in proptest::collection::vec(any::<u8>(), 0..4096)) {
            for line in lines(&bytes) {
                prop_assert!(line.chars().count() <= LOG_LINE && !line.contains('\n'));
            }
        }
    }
}
