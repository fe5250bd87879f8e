//! Speaks with a TPM: a command goes in, its answer comes out, by way of the kernel's resource manager, which lends the chip
//! to one user after the other and takes back what is left when the device is closed. (`/dev/tpm0` would be taken away from
//! others.) Reading blocks until the chip has answered: callers have a thread for it.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::path::Path;
use std::thread;

use anyhow::{Context as _, ensure};

use super::message::{self, Command};
use crate::limits::{TPM_ANSWER, TPM_PAUSE, TPM_TRIES};

/// Opens the device.
///
/// # Errors
/// Names it and the kernel's reason.
pub(super) fn open(path: &Path) -> anyhow::Result<File> {
    let opened = OpenOptions::new().read(true).write(true).open(path);
    opened.with_context(|| format!("cannot open {}", path.display()))
}

/// Sends a command and gives the answer; asks again for a while where the chip is only busy.
///
/// # Errors
/// The device does not take the command, or gives no whole answer.
pub(super) fn ask(device: &mut (impl Read + Write), command: &Command) -> anyhow::Result<Vec<u8>> {
    for _ in 1..TPM_TRIES {
        let answer = once(device, command).context(command.name)?;
        if !message::is_busy(&answer) {
            return Ok(answer);
        }
        thread::sleep(TPM_PAUSE);
    }
    once(device, command).context(command.name)
}

fn once(device: &mut (impl Read + Write), command: &Command) -> anyhow::Result<Vec<u8>> {
    device.write_all(&command.bytes).context("the TPM does not take the command")?;
    let (mut answer, mut part) = (Vec::new(), [0; TPM_ANSWER]);
    while message::length(&answer).is_none_or(|length| answer.len() < length) {
        let count = match device.read(&mut part) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            count => count.context("the TPM's answer cannot be read")?,
        };
        ensure!(count > 0, "the TPM's answer ends after {} bytes", answer.len());
        answer.extend(part.iter().take(count));
        ensure!(answer.len() <= TPM_ANSWER, "the TPM's answer has more than {TPM_ANSWER} bytes");
    }
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;
    use std::path::PathBuf;

    use mk_tests::tpm::{Channel, Emulator};

    use super::*;
    use crate::facts::tpm::key;

    /// The key of an emulated chip with its memory in this folder, switched on anew.
    fn key_in(state: &Path) -> String {
        let socket: PathBuf = state.join("commands");
        let _emulator = Emulator::start(state, &Channel::Commands(socket.clone())).unwrap();
        let mut device = UnixStream::connect(socket).unwrap();
        key::digest(&mut |command| ask(&mut device, command)).unwrap()
    }

    #[test]
    fn an_emulated_chip_keeps_its_key_and_another_has_another() {
        if !Emulator::is_installed() {
            return mk_tests::skip("there is no emulated TPM (apt-get install swtpm)");
        }
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let key = key_in(one.path());
        assert!(key.len() == 64 && key.bytes().all(|b| b.is_ascii_hexdigit()), "{key}");
        assert_eq!(key_in(one.path()), key, "after a restart");
        assert_ne!(key_in(other.path()), key);
    }

    /// Gives these answers, one to each command, in parts of so many bytes.
    struct Device(Vec<&'static [u8]>, usize);

    impl Write for Device {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl Read for Device {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let Some(answer) = self.0.first_mut() else { return Ok(0) };
            let count = self.1.min(answer.len());
            buffer[..count].copy_from_slice(&answer[..count]);
            *answer = &answer[count..];
            if answer.is_empty() {
                self.0.remove(0);
            }
            Ok(count)
        }
    }

    const BUSY: &[u8] = b"\x80\x01\0\0\0\x0a\0\0\x09\x22";
    const DONE: &[u8] = b"\x80\x01\0\0\0\x0b\0\0\0\0x";

    #[test]
    fn a_busy_chip_is_asked_again_and_answers_come_in_parts() {
        let command = Command::index(1);
        let asked = |answers: &[&'static [u8]], parts| {
            ask(&mut Device(answers.to_vec(), parts), &command).map_err(|why| format!("{why:#}"))
        };
        assert_eq!(asked(&[BUSY, BUSY, DONE], 4096).unwrap(), DONE);
        assert_eq!(asked(&[DONE], 3).unwrap(), DONE);
        let tries = usize::try_from(TPM_TRIES).unwrap();
        assert_eq!(asked(&vec![BUSY; tries], 4096).unwrap(), BUSY, "that is the answer, then");
        let gone = asked(&[&DONE[..10]], 4096).unwrap_err();
        assert_eq!(gone, "TPM2_NV_ReadPublic: the TPM's answer ends after 10 bytes");
        assert!(asked(&[&[0xff; 4096], b"x"], 4096).unwrap_err().contains("more than 4096 bytes"));
    }
}
