//! What a guest has written to a disk, one by one: read from the log that QEMU's block driver `blklogwrites` keeps of
//! each disk, in the form of the kernel's `dm-log-writes`. Pure.
//!
//! The log is a header of one sector, then for each write a sector that describes it and what was written. QEMU counts the
//! entries in the header late, so that the header is not looked at.

/// Size of the log's sectors, and of the disk's, in bytes.
const SECTOR: usize = 512;
/// Flags of an entry: the disk's cache was to be emptied; sectors were given back.
const FLUSH: u64 = 1;
const DISCARD: u64 = 4;

/// What was done to a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// Sectors were written.
    Write,
    /// Sectors were given back.
    Discard,
    /// The cache was emptied.
    Flush,
}

/// An entry of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trapped {
    /// What was done.
    pub deed: Deed,
    /// First sector.
    pub sector: u64,
    /// Number of sectors.
    pub sectors: u64,
}

/// All entries of a log, up to one that is cut off.
#[must_use]
pub fn entries(log: &[u8]) -> Vec<Trapped> {
    let mut found = Vec::new();
    let mut at = SECTOR;
    while let Some(entry) = log.get(at..).and_then(|rest| rest.get(..SECTOR)) {
        let [sector, sectors, flags] = [0, 8, 16].map(|from| number(entry, from));
        if sectors == 0 && flags == 0 {
            break;
        }
        let deed = match flags {
            discard if discard & DISCARD != 0 => Deed::Discard,
            flush if flush & FLUSH != 0 && sectors == 0 => Deed::Flush,
            _ => Deed::Write,
        };
        found.push(Trapped { deed, sector, sectors });
        let written = if deed == Deed::Write { usize::try_from(sectors).unwrap_or(usize::MAX) } else { 0 };
        at = at.saturating_add(written.saturating_add(1).saturating_mul(SECTOR));
    }
    found
}

fn number(entry: &[u8], from: usize) -> u64 {
    entry.get(from..).and_then(<[u8]>::first_chunk).map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A log of these entries: sector, sectors, flags.
    fn log(entries: &[(u64, u64, u64)]) -> Vec<u8> {
        let mut log = vec![0xff; SECTOR];
        for (sector, sectors, flags) in entries {
            let mut entry: Vec<u8> = [sector, sectors, flags].iter().flat_map(|n| n.to_le_bytes()).collect();
            let written = if flags & DISCARD == 0 { usize::try_from(*sectors).unwrap() } else { 0 };
            entry.resize(SECTOR * (1 + written), 0);
            log.extend(entry);
        }
        log
    }

    #[test]
    fn every_entry_is_found() {
        let found = entries(&log(&[(7, 2, 0), (0, 0, FLUSH), (64, 1 << 40, DISCARD), (9, 1, 2)]));
        let expected = [(Deed::Write, 7, 2), (Deed::Flush, 0, 0), (Deed::Discard, 64, 1 << 40), (Deed::Write, 9, 1)];
        assert_eq!(found, expected.map(|(deed, sector, sectors)| Trapped { deed, sector, sectors }));
        assert_eq!(entries(&[]), []);
        assert_eq!(entries(&log(&[])), []);
        assert_eq!(entries(&log(&[(0, 0, 0), (7, 2, 0)])), [], "a sector that nobody wrote");
        let mut absurd = log(&[(1, 1, 0), (7, 2, 0)]);
        absurd[SECTOR + 8..SECTOR + 16].fill(0xff);
        assert_eq!(entries(&absurd).len(), 1, "what follows an absurd count is not looked at");
    }
}
