//! The first virtual terminal as a screen that is painted: only lines that changed are written, the cursor is hidden, the
//! kernel's messages go to another terminal, and nothing typed appears. Writing never blocks: a screen that was stopped
//! by Scroll Lock must not stop us.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::OpenOptionsExt as _;

use anyhow::Context as _;
use nix::libc;
use nix::sys::termios::{InputFlags, LocalFlags, SetArg, tcgetattr, tcsetattr};

use super::page::{Line, Style};

/// Where the page is shown.
const SCREEN: &str = "/dev/tty1";
/// Number of the terminal that gets the kernel's messages.
const KERNEL_VT: u8 = 10;
/// Subcode of `TIOCLINUX` that sends the kernel's messages to another terminal.
const TIOCL_SETKMSGREDIRECT: u8 = 11;
/// UTF-8, no line wrap, no cursor, never blank.
const SETUP: &str = "\x1b%G\x1b[?7l\x1b[?25l\x1b[9;0]\x1b[0m\x1b[2J";
/// Screen size that is assumed when the terminal does not tell one.
const USUAL: (usize, usize) = (80, 25);

nix::ioctl_read_bad!(window_size, libc::TIOCGWINSZ, libc::winsize);
nix::ioctl_write_ptr_bad!(linux_terminal, libc::TIOCLINUX, [u8; 2]);

/// The painted terminal.
#[derive(Debug)]
pub(super) struct Screen {
    terminal: File,
    /// Kept open, since a terminal that nobody has open may be given back by the kernel.
    _kernel: Option<File>,
    shown: Vec<Line>,
    size: (usize, usize),
}

impl Screen {
    /// Takes the terminal.
    ///
    /// # Errors
    /// When there is no such terminal, as on a machine with a serial console only.
    pub(super) fn open() -> anyhow::Result<Self> {
        let terminal = open(SCREEN).with_context(|| format!("cannot open {SCREEN}"))?;
        quiet(&terminal);
        let kernel = redirect(&terminal).map_err(|e| tracing::warn!("kernel messages stay on the screen: {e:#}")).ok();
        Ok(Self { terminal, _kernel: kernel, shown: Vec::new(), size: (0, 0) })
    }

    /// Columns and lines, as they are now.
    pub(super) fn size(&self) -> (usize, usize) {
        let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
        // SAFETY: the kernel fills a struct of this layout.
        let asked = unsafe { window_size(self.terminal.as_raw_fd(), &raw mut size) };
        match asked {
            Ok(_) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col.into(), size.ws_row.into()),
            _ => USUAL,
        }
    }

    /// Has all lines written at the next [`Self::paint`], whatever happened to the screen meanwhile.
    pub(super) fn forget(&mut self) {
        self.shown.clear();
    }

    /// Shows the lines; `size` is the size that they were made for.
    pub(super) fn paint(&mut self, lines: Vec<Line>, size: (usize, usize)) {
        if size != self.size {
            self.forget();
        }
        let text = difference(&self.shown, &lines);
        if text.is_empty() {
            return;
        }
        // A stopped terminal takes a part or nothing: then all is written again next time.
        let whole = self.terminal.write(text.as_bytes()).is_ok_and(|written| written == text.len());
        self.shown = if whole { lines } else { Vec::new() };
        self.size = size;
    }
}

fn open(path: &str) -> std::io::Result<File> {
    OpenOptions::new().read(true).write(true).custom_flags(libc::O_NOCTTY | libc::O_NONBLOCK).open(path)
}

/// Nothing typed is shown, and Ctrl-S does not stop the screen.
fn quiet(terminal: &File) {
    if let Ok(mut modes) = tcgetattr(terminal) {
        modes.local_flags.remove(LocalFlags::ECHO | LocalFlags::ECHONL);
        modes.input_flags.remove(InputFlags::IXON);
        _ = tcsetattr(terminal, SetArg::TCSANOW, &modes);
    }
}

/// Sends the kernel's messages to a terminal of their own.
fn redirect(terminal: &File) -> anyhow::Result<File> {
    let path = format!("/dev/tty{KERNEL_VT}");
    // Opening makes the kernel create it: messages to one that does not exist stay where they are.
    let kernel = open(&path).with_context(|| format!("cannot open {path}"))?;
    // SAFETY: the kernel reads two bytes.
    unsafe { linux_terminal(terminal.as_raw_fd(), &[TIOCL_SETKMSGREDIRECT, KERNEL_VT]) }
        .with_context(|| format!("the kernel does not send its messages to {path}"))?;
    Ok(kernel)
}

/// What to write so that `new` is shown where `old` is. With nothing shown, the terminal is set up first.
fn difference(old: &[Line], new: &[Line]) -> String {
    let mut text = if old.is_empty() { SETUP.to_owned() } else { String::new() };
    for (row, line) in new.iter().enumerate() {
        if old.get(row) != Some(line) {
            let (colour, row) = (colour(line.style), row + 1);
            // The line is cleared in its own colour, so that a title is a bar; and first, since behind a full line the
            // cursor stands on its last letter.
            text.push_str(&format!("\x1b[{row};1H\x1b[{colour}m\x1b[K{}\x1b[0m", line.text));
        }
    }
    text
}

fn colour(style: Style) -> &'static str {
    match style {
        Style::Plain => "0;37",
        Style::Title => "0;1;37;44",
        Style::Good => "0;1;32",
        Style::Busy => "0;1;33",
        Style::Bad => "0;1;31",
        Style::Faint => "0;36",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Line {
        Line { style: Style::Plain, text: text.into() }
    }

    #[test]
    fn only_what_changed_is_written() {
        let (old, new) = ([line("a"), line("b")], [line("a"), line("c")]);
        assert_eq!(difference(&old, &new), "\x1b[2;1H\x1b[0;37m\x1b[Kc\x1b[0m");
        assert_eq!(difference(&old, &old), "");
        assert!(difference(&[], &new).starts_with(SETUP));
    }
}
