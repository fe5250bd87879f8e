//! Which accelerator guests run under. `/dev/kvm` alone proves nothing: some hosts open it and create a machine whose
//! guest then dies or crawls. So a boot sector is run under KVM first (see [`super::probe`]), and the finding is kept
//! until the host boots again.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, bail};
use duct::cmd;
use serde::{Deserialize, Serialize};

use super::{console, guest, probe};
use crate::limits;
use crate::process::die_with_parent;

/// Accelerator of a guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accel {
    /// The host's processor.
    Kvm,
    /// QEMU's translator: ten times slower, works everywhere.
    Tcg,
    /// The same with a clock that counts instructions, 2 ns each, in place of time: on any machine, however busy, the
    /// same boot then shows the same times. One processor only.
    Counted,
}

impl Accel {
    /// As the command line has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Tcg => "tcg",
            Self::Counted => "counted",
        }
    }
}

/// What was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Choice {
    /// KVM where it works, else TCG.
    Auto,
    /// KVM or an error.
    Kvm,
    /// TCG.
    Tcg,
    /// TCG with a clock that counts instructions, 2 ns each.
    Counted,
}

/// What was found out about this host's KVM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Finding {
    /// The boot of the host that it holds for.
    boot_id: String,
    /// Why KVM does not work; absent where it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<String>,
}

/// Settles the choice; gives the reason in words.
///
/// # Errors
/// When KVM is asked for and does not work, or QEMU is missing.
pub fn choose(choice: Choice) -> anyhow::Result<(Accel, String)> {
    match choice {
        Choice::Tcg => return Ok((Accel::Tcg, "asked for".into())),
        Choice::Counted => return Ok((Accel::Counted, "asked for".into())),
        Choice::Auto | Choice::Kvm => {}
    }
    match (finding()?.fault, choice) {
        (None, _) => Ok((Accel::Kvm, "KVM runs guests here".into())),
        (Some(fault), Choice::Kvm) => bail!("KVM does not work here: {fault}; use --accel tcg or auto"),
        (Some(fault), _) => Ok((Accel::Tcg, fault)),
    }
}

/// Remembers that a guest died under KVM although the probe had passed.
///
/// # Errors
/// When the finding cannot be stored.
pub fn distrust_kvm(fault: &str) -> anyhow::Result<()> {
    store(&cache_file(), &Finding { boot_id: boot_id()?, fault: Some(fault.to_owned()) })
}

fn finding() -> anyhow::Result<Finding> {
    let (file, boot_id) = (cache_file(), boot_id()?);
    if let Some(known) = load(&file).filter(|f| f.boot_id == boot_id) {
        return Ok(known);
    }
    let found = Finding { boot_id, fault: try_kvm()? };
    store(&file, &found)?;
    Ok(found)
}

/// Runs the boot sector; gives what went wrong.
fn try_kvm() -> anyhow::Result<Option<String>> {
    let device = "/dev/kvm";
    if let Err(e) = fs::OpenOptions::new().read(true).write(true).open(device) {
        return Ok(Some(format!("{device} cannot be opened: {e}")));
    }
    let dir = tempfile::tempdir().context("cannot make a folder for the KVM probe")?;
    let (disk, errors) = (dir.path().join("probe.raw"), dir.path().join("stderr"));
    fs::write(&disk, probe::disk()).with_context(|| format!("cannot write {}", disk.display()))?;
    let drive = format!("if=none,id=probe,format=raw,snapshot=on,file={}", disk.display());
    let arguments = ["-accel", "kvm", "-cpu", "host", "-machine", "q35", "-m", "64", "-nodefaults", "-display", "none"];
    let devices =
        ["-no-reboot", "-device", probe::EXIT_DEVICE, "-drive", &drive, "-device", "ide-hd,drive=probe,bus=ide.0"];
    let expression = cmd(guest::QEMU, arguments.into_iter().chain(devices))
        .stdin_null()
        .stdout_null()
        .stderr_path(&errors)
        .unchecked()
        .before_spawn(|command| {
            die_with_parent(command, Vec::new());
            Ok(())
        });
    let child = expression.start().with_context(guest::missing_qemu)?;
    let deadline = Instant::now() + limits::PROBE;
    while Instant::now() < deadline {
        if let Some(end) = child.try_wait()? {
            if end.status.code() == Some(probe::EXIT_CODE) {
                return Ok(None);
            }
            let said = console::last_lines(&fs::read_to_string(&errors).unwrap_or_default());
            return Ok(Some(format!("a guest died under KVM ({}): {said}", end.status)));
        }
        std::thread::sleep(limits::POLL);
    }
    child.kill()?;
    Ok(Some(format!("under KVM a guest did not get through its boot sector in {} s", limits::PROBE.as_secs())))
}

fn boot_id() -> anyhow::Result<String> {
    let path = "/proc/sys/kernel/random/boot_id";
    Ok(fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?.trim().to_owned())
}

fn cache_file() -> PathBuf {
    let set = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let cache = set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache"))).unwrap_or_else(std::env::temp_dir);
    cache.join("razor-mk/accel.json")
}

fn load(file: &Path) -> Option<Finding> {
    serde_json::from_slice(&fs::read(file).ok()?).ok()
}

fn store(file: &Path, finding: &Finding) -> anyhow::Result<()> {
    let put = || -> anyhow::Result<()> {
        let dir = file.parent().context("no folder")?;
        fs::create_dir_all(dir)?;
        let mut temp = tempfile::NamedTempFile::new_in(dir)?;
        temp.write_all(&serde_json::to_vec_pretty(finding)?)?;
        temp.as_file().sync_all()?;
        temp.persist(file)?;
        Ok(())
    };
    put().with_context(|| format!("cannot store what was found about KVM in {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_reads_back_and_rubbish_is_no_finding() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("deep/accel.json");
        let finding = Finding { boot_id: "b".into(), fault: Some("dies".into()) };
        store(&file, &finding).unwrap();
        assert_eq!(load(&file), Some(finding));
        fs::write(&file, "{").unwrap();
        assert_eq!(load(&file), None);
    }

    #[test]
    fn tcg_needs_no_probe() {
        assert_eq!(choose(Choice::Tcg).unwrap().0, Accel::Tcg);
    }
}
