//! Firmware that a driver asked for and did not get, from the kernel's log: records of `/dev/kmsg` in, file and device out.
//! A record is `PRIORITY,SEQUENCE,TIME,FLAGS;TEXT` and may be followed by lines such as ` DEVICE=+pci:0000:02:00.0`.

use std::fs::File;
use std::io::Read as _;

use anyhow::Context as _;
use nix::errno::Errno;

use crate::limits::KMSG_RECORD;

/// A firmware file that was not there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct MissingFirmware {
    /// Name below `/lib/firmware`.
    pub(crate) file: String,
    /// The device that needs it, such as `0000:02:00.0`; the driver's name if no device is told.
    pub(crate) device: String,
    /// Error number as the kernel gives it, negative.
    pub(crate) errno: i32,
}

/// Reads a record; `None` if it tells of no missing firmware.
pub(crate) fn parse(record: &[u8]) -> Option<MissingFirmware> {
    let record = String::from_utf8_lossy(record);
    let (_, body) = record.split_once(';')?;
    let mut lines = body.lines();
    let text = lines.next()?;
    let (head, file, errno) = debian(text).or_else(|| upstream(text))?;
    if file.is_empty() || file.contains(char::is_whitespace) {
        return None;
    }
    let tagged = lines.find_map(|l| l.strip_prefix(" DEVICE=+")?.split_once(':').map(|(_, device)| device));
    let device =
        tagged.or_else(|| head.split_ascii_whitespace().nth(1)).or_else(|| head.split_ascii_whitespace().next());
    Some(MissingFirmware {
        file: file.to_owned(),
        device: device.unwrap_or_default().trim_end_matches(':').to_owned(),
        errno,
    })
}

/// `bnx2 0000:02:00.0: firmware: failed to load bnx2/x.fw (-2)`
fn debian(text: &str) -> Option<(&str, &str, i32)> {
    let (head, rest) = text.split_once("firmware: failed to load ")?;
    let (file, errno) = rest.trim_end().strip_suffix(')')?.rsplit_once(" (")?;
    Some((head, file, errno.parse().ok()?))
}

/// `bnx2 0000:02:00.0: Direct firmware load for bnx2/x.fw failed with error -2`
fn upstream(text: &str) -> Option<(&str, &str, i32)> {
    let (head, rest) = text.split_once("Direct firmware load for ")?;
    let (file, errno) = rest.trim_end().split_once(" failed with error ")?;
    Some((head, file, errno.parse().ok()?))
}

/// Reads the kernel's log from its oldest record on and hands over each missing firmware, for ever.
///
/// # Errors
/// When the log cannot be read.
pub(crate) fn follow(mut found: impl FnMut(MissingFirmware)) -> anyhow::Result<()> {
    let mut log = File::open("/dev/kmsg").context("cannot open /dev/kmsg: missing firmware stays unreported")?;
    let mut buffer = vec![0; KMSG_RECORD];
    loop {
        match log.read(&mut buffer) {
            Ok(length) => parse(&buffer[..length]).into_iter().for_each(&mut found),
            // The oldest record was overwritten while we read; the next read goes on behind the gap.
            Err(e) if e.raw_os_error() == Some(Errno::EPIPE as i32) => {}
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e).context("cannot read /dev/kmsg: missing firmware stays unreported"),
        }
    }
}

/// For the fuzzer.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(bytes: &[u8]) {
    assert!(parse(bytes).is_none_or(|found| !found.file.is_empty() && !found.file.contains(char::is_whitespace)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn missing(file: &str, device: &str) -> Option<MissingFirmware> {
        Some(MissingFirmware { file: file.into(), device: device.into(), errno: -2 })
    }

    #[test]
    fn both_wordings() {
        let upstream = b"4,812,2914077,-;bnx2x 0000:02:00.0: Direct firmware load for bnx2x/bnx2x-e2-7.13.21.0.fw failed with error -2\n SUBSYSTEM=pci\n DEVICE=+pci:0000:02:00.0\n";
        assert_eq!(parse(upstream), missing("bnx2x/bnx2x-e2-7.13.21.0.fw", "0000:02:00.0"));
        let debian = b"3,812,2914077,-;bnx2 0000:02:00.1: firmware: failed to load bnx2/bnx2-mips-09-6.2.1b.fw (-2)\n";
        assert_eq!(parse(debian), missing("bnx2/bnx2-mips-09-6.2.1b.fw", "0000:02:00.1"));
        assert_eq!(
            parse(b"4,1,2,-;platform regulatory.0: Direct firmware load for regulatory.db failed with error -2\n"),
            missing("regulatory.db", "regulatory.0")
        );
    }

    #[test]
    fn the_rest_of_the_log_is_none() {
        for record in [
            &b"6,1,0,-;Linux version 6.1.0"[..],
            b"",
            b"no record",
            b"3,1,0,-;firmware: failed to load  (-2)",
            b"3,1,0,-;x: Direct firmware load for a failed with error many",
        ] {
            assert_eq!(parse(record), None, "{}", String::from_utf8_lossy(record));
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC{0,40}(firmware: failed to load |Direct firmware load for )?\\PC{0,40}") {
            let _ = parse(format!("3,1,0,-;{text}").as_bytes());
            let _ = parse(text.as_bytes());
        }
    }
}
