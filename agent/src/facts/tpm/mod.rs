//! Trusted platform module: `/sys/class/tpm` for presence and version; a chip of version 2.0 is asked for its vendor, its
//! firmware and the key that it is known by ([`key`]). Of one of version 1.2 nothing but what its files tell.
//!
//! A chip takes its time (a key takes some a second), so it is asked in a thread of its own, and once it has told all never
//! again as long as this program runs. One that did not is asked again after [`TPM_AGAIN`]; what it said before stands. One
//! that has not answered after [`TPM_WHOLE`] is gone on without; what it says later is in the next report.

mod device;
mod key;
pub(crate) mod message;
mod p256;

#[cfg(test)]
mod recorded;

use std::io::{Read, Write};
use std::path::Path;
use std::time::Instant;

use anyhow::Context as _;
use wire::inventory::Tpm;

use self::message::Command;
use super::collector::{Collector, Found, run_all};
use super::kept::Kept;
use crate::limits::{TPM_AGAIN, TPM_WHOLE};
use crate::tree::Tree;

/// Chips, and the kernel's resource managers, which chips of version 2.0 have from Linux 4.12 on.
const TPM: &str = "/sys/class/tpm";
const MANAGERS: &str = "/sys/class/tpmrm";
/// Properties of a chip: four letters of its vendor (TPM_PT_MANUFACTURER), its firmware's version
/// (TPM_PT_FIRMWARE_VERSION_1), and how many from the first to the second.
const VENDOR: u32 = 0x105;
const FIRMWARE: u32 = 0x10b;
const IDENTITY: u32 = FIRMWARE - VENDOR + 1;
/// State of a chip that did not say why there is no key.
const SILENT: &str = "it has not answered";

/// What chips told, by name.
static KEPT: Kept<Known> = Kept::new();

/// Sends a command and gives the answer.
type Talk<'a> = dyn FnMut(&Command) -> anyhow::Result<Vec<u8>> + 'a;

/// A chip, and why not all of it is known.
type Known = (Tpm, Option<String>);

/// What was learned now over what was known before: that a chip fails takes nothing back.
pub(super) fn over(new: Tpm, known: Tpm) -> Tpm {
    let ek_sha256 = new.ek_sha256.or(known.ek_sha256);
    Tpm {
        version: new.version.or(known.version),
        manufacturer: new.manufacturer.or(known.manufacturer),
        firmware: new.firmware.or(known.firmware),
        // It says why there is no key.
        state: new.state.filter(|_| ek_sha256.is_none()),
        ek_sha256,
    }
}

pub(super) fn collect(tree: &Tree) -> anyhow::Result<Found> {
    let Some(name) = tree.names(TPM).into_iter().next() else { return Ok(Found::new(|_, _| ())) };
    let tpm = read(tree, &name);
    let (tpm, failure) = match manager(tree, &name).filter(|_| tree.is_live()) {
        Some(manager) => {
            let path = tree.path(Path::new("/dev").join(manager));
            whole(tree, &name, tpm, move || device::open(&path), Instant::now() + TPM_WHOLE)
        }
        None => (tpm, None),
    };
    Ok(Found::new(|stable, volatile| {
        stable.tpm = Some(tpm);
        volatile.failures.extend(failure.map(|why| ("tpm".to_owned(), why)));
    }))
}

/// What the kernel's files tell.
fn read(tree: &Tree, name: &str) -> Tpm {
    let dir = format!("{TPM}/{name}");
    let version = tree.number(format!("{dir}/tpm_version_major"));
    // Only a chip of version 1.2 lists its capabilities in a file.
    let caps = tree.text(format!("{dir}/device/caps")).or_else(|| tree.text(format!("{dir}/caps")));
    let caps = caps.unwrap_or_default();
    Tpm {
        version: match version {
            Some(2) => Some("2.0".to_owned()),
            Some(1) => Some("1.2".to_owned()),
            // Before Linux 5.6 no file has the version.
            _ if manager(tree, name).is_some() => Some("2.0".to_owned()),
            _ => (!caps.is_empty()).then(|| "1.2".to_owned()),
        },
        manufacturer: value(&caps, "Manufacturer").and_then(vendor),
        firmware: value(&caps, "Firmware version").map(str::to_owned),
        ..Tpm::default()
    }
}

/// The resource manager of a chip of version 2.0.
fn manager(tree: &Tree, name: &str) -> Option<String> {
    let manager = format!("tpmrm{}", name.strip_prefix("tpm")?);
    tree.names(MANAGERS).contains(&manager).then_some(manager)
}

/// All of a chip: what it said before, else what it says until `deadline`.
fn whole<D: Read + Write>(
    tree: &Tree,
    name: &str,
    seen: Tpm,
    open: impl FnOnce() -> anyhow::Result<D> + Send + 'static,
    deadline: Instant,
) -> Known {
    let before = KEPT.last(name);
    if let Some(known) = before.clone()
        && (known.1.is_none() || KEPT.fresh(name, Instant::now()).is_some())
    {
        return known;
    }
    let known = before.map(|(tpm, _)| tpm);
    let (mut tpm, former, id) = (seen.clone(), known.clone(), name.to_owned());
    let read = move || {
        let asked = open().and_then(|mut device| ask(&mut |command| device::ask(&mut device, command), &mut tpm));
        let failure = asked.err().map(|why| format!("{why:#}"));
        tpm.state.clone_from(&failure);
        let answer = (over(tpm, former.unwrap_or_default()), failure);
        KEPT.keep(&id, answer.clone(), Instant::now() + TPM_AGAIN);
        Ok(answer)
    };
    let collector = Collector { name: format!("key of {name}"), read: Box::new(read) };
    let outcome = run_all(vec![collector], tree, deadline).into_iter().next();
    let answer = outcome.map_or_else(|| Err(SILENT.to_owned()), |outcome| outcome.result);
    // How long it was waited for differs from time to time, and is no state of the chip.
    answer.unwrap_or_else(|why| (known.unwrap_or(Tpm { state: Some(SILENT.to_owned()), ..seen }), Some(why)))
}

/// Asks everything; what was learned before a failure stays.
fn ask(talk: &mut Talk, tpm: &mut Tpm) -> anyhow::Result<()> {
    let command = Command::properties(VENDOR, IDENTITY);
    let numbers = message::properties(&command, &talk(&command)?).context(command.name)?;
    tpm.manufacturer = numbers.get(&VENDOR).and_then(|id| letters(*id));
    tpm.firmware = numbers.get(&FIRMWARE).map(|version| format!("{}.{}", version >> 16, version & 0xffff));
    tpm.ek_sha256 = Some(key::digest(talk)?);
    Ok(())
}

/// Value of a line `Key: value`.
fn value<'a>(caps: &'a str, key: &str) -> Option<&'a str> {
    caps.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':')).map(str::trim)
}

/// Four letters of a manufacturer id such as `0x49465800`.
fn vendor(id: &str) -> Option<String> {
    letters(u32::from_str_radix(id.strip_prefix("0x")?, 16).ok()?)
}

/// The letters of which a number is made.
fn letters(id: u32) -> Option<String> {
    let text: String = id.to_be_bytes().iter().filter(|b| b.is_ascii_graphic()).map(|b| char::from(*b)).collect();
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    use wire::inventory::{Stable, Volatile};

    use super::recorded::Recorded;
    use super::*;

    #[test]
    fn capabilities_of_version_1() {
        let caps = "Manufacturer: 0x49465800\nTCG version: 1.2\nFirmware version: 3.17\n";
        assert_eq!(value(caps, "Manufacturer").and_then(vendor).as_deref(), Some("IFX"));
        assert_eq!(value(caps, "Firmware version"), Some("3.17"));
        assert_eq!(value(caps, "Firm"), None);
        assert_eq!(vendor("0xzz"), None);
        assert_eq!(vendor("0x00000000"), None);
    }

    /// A machine with these files, and what is read of it.
    fn found(files: &[(&str, &str)]) -> Option<Tpm> {
        let dir = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = dir.path().join("sys/class").join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        let (mut stable, mut volatile) = (Stable::default(), Volatile::default());
        collect(&Tree::at(dir.path())).unwrap().put(&mut stable, &mut volatile);
        assert!(volatile.failures.is_empty(), "a recorded machine's chip is not asked");
        stable.tpm
    }

    #[test]
    fn versions() {
        let version = |files: &[(&str, &str)]| found(files).unwrap().version;
        assert_eq!(version(&[("tpm/tpm0/tpm_version_major", "2\n")]).as_deref(), Some("2.0"));
        assert_eq!(version(&[("tpm/tpm0/tpm_version_major", "1\n")]).as_deref(), Some("1.2"));
        let old = [("tpm/tpm0/dev", "10:224\n"), ("tpmrm/tpmrm0/dev", "253:65536\n")];
        assert_eq!(version(&old).as_deref(), Some("2.0"), "of a kernel before 5.6");
        assert_eq!((version(&old[..1]), found(&[])), (None, None));
    }

    #[test]
    fn a_chip_tells_who_it_is() {
        let (chip, mut tpm) = (Recorded::of("new"), Tpm::default());
        ask(&mut |command| chip.answer(command), &mut tpm).unwrap();
        let shown = [tpm.manufacturer, tpm.firmware, tpm.ek_sha256, tpm.state];
        assert_eq!(shown, [chip.vendor, chip.firmware, chip.digest, None]);
        let (chip, mut tpm) = (Recorded::of("off"), Tpm::default());
        ask(&mut |command| chip.answer(command), &mut tpm).unwrap_err();
        assert_eq!((tpm.manufacturer, tpm.ek_sha256), (chip.vendor, None), "what it did say stays");
    }

    #[test]
    fn a_chip_that_never_answers_is_named_and_the_rest_is_known() {
        let dir = tempfile::tempdir().unwrap();
        let tree = Tree::at(dir.path());
        let seen = Tpm { version: Some("2.0".to_owned()), ..Tpm::default() };
        let (ours, silent) = UnixStream::pair().unwrap();
        let known = |open: UnixStream| {
            whole(&tree, "tpm7", seen.clone(), move || Ok(open), Instant::now() + Duration::from_millis(50))
        };
        let (tpm, failure) = known(ours);
        assert_eq!((tpm.version, tpm.state.as_deref()), (Some("2.0".to_owned()), Some(SILENT)));
        assert!(failure.unwrap().starts_with("abandoned: no result after"));
        let (tpm, failure) = known(UnixStream::pair().unwrap().0);
        assert_eq!(tpm.state.as_deref(), Some(SILENT), "the same, so that it is no news");
        assert!(failure.unwrap().starts_with("still hanging"));
        // Lets the hanging thread go.
        drop(silent);
    }

    #[test]
    fn a_chip_is_asked_until_it_has_told_all_and_then_no_more() {
        let dir = tempfile::tempdir().unwrap();
        let tree = Tree::at(dir.path());
        let known = |open: fn() -> anyhow::Result<UnixStream>| {
            whole(&tree, "tpm8", Tpm::default(), open, Instant::now() + TPM_WHOLE)
        };
        let (tpm, failure) = known(|| anyhow::bail!("cannot open /dev/tpmrm8"));
        assert_eq!([tpm.state.as_deref(), failure.as_deref()], [Some("cannot open /dev/tpmrm8"); 2]);
        let (tpm, failure) = known(|| panic!("it is asked again at once"));
        assert_eq!([tpm.state.as_deref(), failure.as_deref()], [Some("cannot open /dev/tpmrm8"); 2]);
        let told = Tpm { ek_sha256: Some("ab".to_owned()), ..Tpm::default() };
        KEPT.keep("tpm8", (told.clone(), None), Instant::now());
        assert_eq!(known(|| panic!("it is asked again")), (told, None));
    }

    #[test]
    fn a_chip_that_told_a_part_is_asked_anew_in_its_time_and_nothing_is_taken_back() {
        let dir = tempfile::tempdir().unwrap();
        let tree = Tree::at(dir.path());
        let part = Tpm { manufacturer: Some("IFX".to_owned()), state: Some("no key".to_owned()), ..Tpm::default() };
        KEPT.keep("tpm9", (part.clone(), Some("no key".to_owned())), Instant::now());
        let known = |open: fn() -> anyhow::Result<UnixStream>| {
            whole(&tree, "tpm9", Tpm::default(), open, Instant::now() + TPM_WHOLE)
        };
        let (tpm, failure) = known(|| anyhow::bail!("it is gone"));
        assert_eq!((tpm.manufacturer.as_deref(), tpm.state.as_deref()), (Some("IFX"), Some("it is gone")));
        assert_eq!(failure.as_deref(), Some("it is gone"));
        let key = Tpm { ek_sha256: Some("ab".to_owned()), ..Tpm::default() };
        let both = over(part, key);
        assert_eq!((both.ek_sha256.as_deref(), both.state), (Some("ab"), None), "the key stands");
    }
}
