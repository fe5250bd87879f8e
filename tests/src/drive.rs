//! A drive that loses power: an NBD server for one image file, for QEMU. What a guest writes is kept in memory until the guest
//! flushes, as in a disk's own cache. When the power is cut, a part of what was not flushed is written all the same, sector by sector
//! and in no order, and the rest is gone.
//!
//! Speaks as much of the protocol as QEMU does: <https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md>.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::limits::DRIVE_LOOK;

/// Bytes that are written whole or not at all.
const SECTOR: usize = 512;
/// Largest transfer that is served.
const MOST: u32 = 64 << 20;

/// Handshake.
const GREETING: &[u8] = b"NBDMAGICIHAVEOPT";
const OPTION: &[u8] = b"IHAVEOPT";
const OPTION_REPLY: u64 = 0x0003_e889_0455_65a9;
const FIXED_NEWSTYLE_NO_ZEROES: u16 = 3;
const OPT_ABORT: u32 = 2;
const OPT_GO: u32 = 7;
const REP_ACK: u32 = 1;
const REP_INFO: u32 = 3;
const REP_UNSUPPORTED: u32 = (1 << 31) + 1;
/// The drive flushes, also with single writes.
const FLAGS: u16 = 1 | 4 | 8;

/// Transmission.
const REQUEST: u32 = 0x2560_9513;
const REPLY: u32 = 0x6744_6698;
const READ: u16 = 0;
const WRITE: u16 = 1;
const DISCONNECT: u16 = 2;
const FLUSH: u16 = 3;
const FUA: u16 = 1;
const INVALID: u32 = 22;

type Unflushed = BTreeMap<u64, [u8; SECTOR]>;

/// A drive.
#[derive(Debug)]
pub struct Drive {
    disk: Arc<Disk>,
}

#[derive(Debug)]
struct Disk {
    file: File,
    bytes: u64,
    unflushed: Mutex<Unflushed>,
    /// The next flush that has something to flush never ends.
    fails: AtomicBool,
    /// One does not end.
    failed: AtomicBool,
}

/// What a cut did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// Sectors that were written and are gone.
    pub lost: usize,
    /// Sectors that were not flushed and are there all the same.
    pub kept: usize,
}

impl Drive {
    /// Serves the image at a socket, to one guest after the other.
    ///
    /// # Errors
    /// When the image or the socket cannot be used.
    pub fn serve(image: &Path, socket: &Path) -> io::Result<Self> {
        let file = File::options().read(true).write(true).open(image)?;
        let bytes = file.metadata()?.len();
        let disk = Arc::new(Disk {
            file,
            bytes,
            unflushed: Mutex::default(),
            fails: AtomicBool::new(false),
            failed: AtomicBool::new(false),
        });
        let (listener, served) = (UnixListener::bind(socket)?, Arc::clone(&disk));
        thread::spawn(move || {
            for guest in listener.incoming().flatten() {
                // It ends with the guest's connection, however that ends.
                let _ = served.talk(guest);
            }
        });
        Ok(Self { disk })
    }

    /// Has the power fail as the guest next flushes something; tells whether that came in time. Nothing is written from then on.
    #[must_use]
    pub fn fails_at_a_flush(&self, within: Duration) -> bool {
        self.disk.fails.store(true, Ordering::SeqCst);
        let end = Instant::now() + within;
        while !self.disk.failed.load(Ordering::SeqCst) && Instant::now() < end {
            thread::sleep(DRIVE_LOOK);
        }
        self.disk.failed.load(Ordering::SeqCst)
    }

    /// The power is gone; call it once the guest is. `keeps` tells of each sector whether it has got as far as the medium.
    ///
    /// # Errors
    /// When the image cannot be written.
    pub fn cut(&self, mut keeps: impl FnMut() -> bool) -> io::Result<Cut> {
        let unflushed = std::mem::take(&mut *self.disk.unflushed());
        self.disk.fails.store(false, Ordering::SeqCst);
        let (mut lost, mut kept) = (0, 0);
        for (sector, bytes) in unflushed {
            if keeps() {
                self.disk.file.write_all_at(&bytes, sector * SECTOR as u64)?;
                kept += 1;
            } else {
                lost += 1;
            }
        }
        Ok(Cut { lost, kept })
    }
}

impl Disk {
    fn unflushed(&self) -> std::sync::MutexGuard<'_, Unflushed> {
        self.unflushed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn talk(&self, mut guest: UnixStream) -> io::Result<()> {
        guest.write_all(GREETING)?;
        guest.write_all(&FIXED_NEWSTYLE_NO_ZEROES.to_be_bytes())?;
        let _: [u8; 4] = take(&mut guest)?;
        while !self.option(&mut guest)? {}
        while self.request(&mut guest)? {}
        Ok(())
    }

    /// Answers an option; true once transmission begins.
    fn option(&self, guest: &mut UnixStream) -> io::Result<bool> {
        let magic: [u8; 8] = take(guest)?;
        let (option, length) = (u32::from_be_bytes(take(guest)?), u32::from_be_bytes(take(guest)?));
        if magic != *OPTION || length > MOST {
            return Err(io::ErrorKind::InvalidData.into());
        }
        io::copy(&mut guest.take(length.into()), &mut io::sink())?;
        let mut reply = |kind: u32, data: &[u8]| {
            let length = u32::try_from(data.len()).unwrap_or(0).to_be_bytes();
            let head = [&OPTION_REPLY.to_be_bytes()[..], &option.to_be_bytes(), &kind.to_be_bytes(), &length];
            guest.write_all(&[&head.concat(), data].concat())
        };
        match option {
            OPT_GO => {
                let export = [&[0, 0][..], &self.bytes.to_be_bytes(), &FLAGS.to_be_bytes()].concat();
                reply(REP_INFO, &export)?;
                reply(REP_ACK, &[])?;
                Ok(true)
            }
            OPT_ABORT => Err(io::ErrorKind::ConnectionAborted.into()),
            _ => reply(REP_UNSUPPORTED, &[]).map(|()| false),
        }
    }

    /// Carries out a request; false when the guest has no more.
    fn request(&self, guest: &mut UnixStream) -> io::Result<bool> {
        let magic = u32::from_be_bytes(take(guest)?);
        let (flags, kind) = (u16::from_be_bytes(take(guest)?), u16::from_be_bytes(take(guest)?));
        let handle: [u8; 8] = take(guest)?;
        let (at, length) = (u64::from_be_bytes(take(guest)?), u32::from_be_bytes(take(guest)?));
        if magic != REQUEST || length > MOST || at.checked_add(length.into()).is_none_or(|end| end > self.bytes) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut data = vec![0; if matches!(kind, READ | WRITE) { length as usize } else { 0 }];
        let mut error = 0_u32;
        match kind {
            READ => self.read(at, &mut data)?,
            WRITE => {
                guest.read_exact(&mut data)?;
                self.write(at, &data);
                data.clear();
            }
            FLUSH => {}
            DISCONNECT => return Ok(false),
            _ => error = INVALID,
        }
        if kind == FLUSH || flags & FUA != 0 {
            self.flush()?;
        }
        guest.write_all(&[&REPLY.to_be_bytes()[..], &error.to_be_bytes(), &handle, &data].concat())?;
        Ok(true)
    }

    fn read(&self, at: u64, data: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(data, at)?;
        let unflushed = self.unflushed();
        for (sector, part) in (at / SECTOR as u64..).zip(data.chunks_mut(SECTOR)) {
            if let Some(bytes) = unflushed.get(&sector) {
                part.copy_from_slice(&bytes[..part.len()]);
            }
        }
        Ok(())
    }

    /// Guests write whole sectors: QEMU sees to it.
    fn write(&self, at: u64, data: &[u8]) {
        let mut unflushed = self.unflushed();
        for (sector, part) in (at / SECTOR as u64..).zip(data.chunks(SECTOR)) {
            let mut bytes = [0; SECTOR];
            bytes[..part.len()].copy_from_slice(part);
            unflushed.insert(sector, bytes);
        }
    }

    fn flush(&self) -> io::Result<()> {
        if self.fails.load(Ordering::SeqCst) && !self.unflushed().is_empty() {
            self.failed.store(true, Ordering::SeqCst);
            while self.fails.load(Ordering::SeqCst) {
                thread::sleep(DRIVE_LOOK);
            }
            self.failed.store(false, Ordering::SeqCst);
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        for (sector, bytes) in std::mem::take(&mut *self.unflushed()) {
            self.file.write_all_at(&bytes, sector * SECTOR as u64)?;
        }
        Ok(())
    }
}

fn take<const N: usize>(guest: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    guest.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drive(sectors: usize) -> (tempfile::TempDir, Drive) {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("image");
        std::fs::write(&image, vec![b'-'; sectors * SECTOR]).unwrap();
        let drive = Drive::serve(&image, &folder.path().join("socket")).unwrap();
        (folder, drive)
    }

    /// The first letter of each sector, as the guest reads them.
    fn letters(drive: &Drive, sectors: usize) -> String {
        let mut data = vec![0; sectors * SECTOR];
        drive.disk.read(0, &mut data).unwrap();
        data.iter().step_by(SECTOR).map(|b| char::from(*b)).collect()
    }

    #[test]
    fn what_was_flushed_stays_and_of_the_rest_a_part() {
        let (_folder, drive) = drive(4);
        drive.disk.write(0, &[b'a'; SECTOR]);
        drive.disk.flush().unwrap();
        drive.disk.write(0, &[b'b'; 2 * SECTOR]);
        drive.disk.write(3 * SECTOR as u64, &[b'c'; SECTOR]);
        assert_eq!(letters(&drive, 4), "bb-c", "the guest reads what it wrote");
        let mut turn = false;
        let every_other = || {
            turn = !turn;
            turn
        };
        assert_eq!(drive.cut(every_other).unwrap(), Cut { lost: 1, kept: 2 });
        assert_eq!(letters(&drive, 4), "b--c");
        drive.disk.write(SECTOR as u64, &[b'd'; SECTOR]);
        assert_eq!(drive.cut(|| false).unwrap(), Cut { lost: 1, kept: 0 });
        assert_eq!(letters(&drive, 4), "b--c");
    }
}
