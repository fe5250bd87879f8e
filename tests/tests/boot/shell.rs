//! The root shell that a debug image has on its serial port.

use mk_tests::limits;
use mk_tests::vm::Guest;

use super::lab::wait;

/// A shell that answers.
pub(crate) struct Shell<'a>(&'a Guest);

impl<'a> Shell<'a> {
    /// Waits for the shell, and keeps the kernel's messages from its terminal.
    pub(crate) fn open(guest: &'a Guest) -> Self {
        let shell = Self(guest);
        let answers = || {
            let from = guest.console().position();
            guest.console().send("\necho 1 > /proc/sys/kernel/printk; echo sh\"\"ell\n").unwrap();
            guest.console().wait_for("shell", from, limits::POLL * 20).ok()
        };
        wait("the debug image has a root shell on ttyS0", limits::CHECK_IN, guest, answers);
        shell
    }

    /// What a command prints.
    pub(crate) fn run(&self, command: &str) -> String {
        let console = self.0.console();
        let from = console.position();
        // The echo of what is typed holds the quotes, so only the output matches.
        console.send(&format!("echo be\"\"gin; {command}; echo fin\"\"ish\n")).unwrap();
        let begin = console.wait_for("begin", from, limits::SHELL).unwrap();
        console.wait_for("finish", begin, limits::SHELL).unwrap();
        let text = console.text(begin).replace('\r', "");
        text.split_once("finish").unwrap().0.trim().to_owned()
    }
}
