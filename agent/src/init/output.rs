//! What the units write: a thread per process reads lines, keeps the last ones and passes each on to the kernel's log
//! as `mk-agent: UNIT: text` with the priority that the line begins with. One that writes without end harms nobody else: of
//! its lines only so many are passed on ([`Allowance`]), and it is read no faster than [`LOG_READ`], so that it waits.

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead, BufReader, Read, Write as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use wire::checkin::Unit;

use crate::limits::{LOG_BURST, LOG_LINE, LOG_RATE, LOG_READ, LOG_READ_TIME, SMALL_STACK, TAIL_LINES};
use crate::log::{self, Level};
use crate::text::plain;

/// Last lines by unit, shared with the threads that read them.
#[derive(Clone, Default)]
pub(super) struct Tails(Arc<Mutex<BTreeMap<String, VecDeque<String>>>>);

impl Tails {
    /// Reads `output` to its end in the background.
    pub(super) fn follow(&self, unit: &str, output: impl Read + Send + 'static) -> std::io::Result<()> {
        let (tails, unit) = (self.clone(), unit.to_owned());
        let follow = move || {
            let mut kernel = log::open_kmsg();
            let mut pass_on = |priority: u8, text: &str| {
                let record = format!("<{priority}>mk-agent: {unit}: {text}\n");
                match &mut kernel {
                    // The kernel refuses a record when it has too many at once: the tail has it anyway.
                    Some(kernel) => drop(kernel.write_all(record.as_bytes())),
                    None => eprint!("{record}"),
                }
            };
            let mut allowance = Allowance::new(Instant::now());
            each_line(BufReader::new(Paced::new(output)), |line| {
                let (priority, text) = log::split_priority(line);
                tails.push(&unit, text);
                let Some(suppressed) = allowance.take(Instant::now()) else { return };
                if suppressed > 0 {
                    pass_on(Level::Warn.priority(), &too_many(suppressed));
                }
                pass_on(priority, text);
            });
            if allowance.suppressed > 0 {
                pass_on(Level::Warn.priority(), &too_many(allowance.suppressed));
            }
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

fn too_many(suppressed: u64) -> String {
    format!("{suppressed} lines are not shown: it writes more than {LOG_RATE} a second; the last ones are kept")
}

/// Lines of one process that may be passed on: [`LOG_BURST`] at once, and then [`LOG_RATE`] a second.
struct Allowance {
    left: u32,
    refilled: Instant,
    suppressed: u64,
}

impl Allowance {
    fn new(now: Instant) -> Self {
        Self { left: LOG_BURST, refilled: now, suppressed: 0 }
    }

    /// Whether a line may be passed on now: the number of those before it that were not and have not been told.
    fn take(&mut self, now: Instant) -> Option<u64> {
        let more = now.saturating_duration_since(self.refilled).as_secs().saturating_mul(u64::from(LOG_RATE));
        if more > 0 {
            self.left = self.left.saturating_add(u32::try_from(more).unwrap_or(u32::MAX)).min(LOG_BURST);
            self.refilled = now;
        }
        if self.left == 0 {
            self.suppressed += 1;
            return None;
        }
        self.left -= 1;
        Some(std::mem::take(&mut self.suppressed))
    }
}

/// Gives [`LOG_READ`] bytes in [`LOG_READ_TIME`] at most.
struct Paced<R> {
    from: R,
    left: usize,
    since: Instant,
}

impl<R> Paced<R> {
    fn new(from: R) -> Self {
        Self { from, left: LOG_READ, since: Instant::now() }
    }
}

impl<R: Read> Read for Paced<R> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        if self.left == 0 {
            std::thread::sleep(LOG_READ_TIME.saturating_sub(self.since.elapsed()));
        }
        if self.since.elapsed() >= LOG_READ_TIME {
            (self.left, self.since) = (LOG_READ, Instant::now());
        }
        let end = into.len().min(self.left);
        let count = self.from.read(&mut into[..end])?;
        self.left -= count;
        Ok(count)
    }
}

/// Calls `take` for each line that is not blank. A line longer than [`LOG_LINE`] bytes comes in pieces; bytes that are
/// no UTF-8 are replaced, and control characters too: they would work on the operator's terminal. What then has become
/// longer is cut.
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
                let line = &line[..line.floor_char_boundary(LOG_LINE)];
                if !line.is_empty() {
                    take(line);
                }
            }
        }
    }
}

/// For the fuzzer: whatever a unit prints, its lines are short, not blank, and work on no terminal.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(bytes: &[u8]) {
    let mut lines = 0;
    each_line(bytes, |line| {
        assert!(!line.is_empty() && line.len() <= LOG_LINE && !line.chars().any(char::is_control), "{line:?}");
        lines += 1;
    });
    assert!(lines <= bytes.len());
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

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
    fn of_lines_without_end_only_so_many_are_passed_on() {
        let start = Instant::now();
        let mut allowance = Allowance::new(start);
        let flood = |allowance: &mut Allowance, at: Duration| {
            (0..10_000).filter_map(|_| allowance.take(start + at)).fold((0, 0), |(n, told), more| (n + 1, told + more))
        };
        assert_eq!(flood(&mut allowance, Duration::ZERO), (LOG_BURST, 0));
        let suppressed = 10_000 - u64::from(LOG_BURST);
        assert_eq!(flood(&mut allowance, Duration::from_millis(999)), (0, 0));
        assert_eq!(
            flood(&mut allowance, Duration::from_secs(2)),
            (2 * LOG_RATE, suppressed + 10_000),
            "told with the next"
        );
        assert_eq!(flood(&mut allowance, Duration::from_secs(3600)).0, LOG_BURST, "and never more at once");
    }

    #[test]
    fn no_more_is_read_than_can_be_dealt_with() {
        let begun = Instant::now();
        let read = std::io::copy(&mut Paced::new(std::io::repeat(0).take(3 << 20)), &mut std::io::sink()).unwrap();
        assert_eq!(read, 3 << 20);
        let least = Duration::from_secs((3 << 20) / u64::try_from(LOG_READ).unwrap() - 1);
        assert!(begun.elapsed() >= least, "{:?}", begun.elapsed());
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
                prop_assert!(line.len() <= LOG_LINE && !line.contains('\n'));
            }
        }
    }
}
