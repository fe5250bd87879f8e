//! Time-outs and sizes of the QEMU harness, chosen for a machine four times slower than a 2-core one under TCG.

use std::time::Duration;

/// QEMU creates its machine and answers the first QMP command; a second at most on an idle machine.
pub const QEMU_START: Duration = Duration::from_secs(60);
/// An answer to one QMP command.
pub const QMP_ANSWER: Duration = Duration::from_secs(30);
/// From `quit` to the end of QEMU's process; then it is killed.
pub const QEMU_QUIT: Duration = Duration::from_secs(10);
/// The accelerator probe under KVM: well below half a second where KVM is sound, for ever where it is not.
pub const PROBE: Duration = Duration::from_secs(5);
/// The emulated TPM makes its seeds and listens; half a second on an idle machine.
pub const TPM_START: Duration = Duration::from_secs(30);
/// Between two looks at a guest that is being waited for.
pub const POLL: Duration = Duration::from_millis(50);
/// Between two looks at whether a drive has lost its power.
pub const DRIVE_LOOK: Duration = Duration::from_millis(1);
/// Longest message that QMP may send, in bytes.
pub const QMP_MESSAGE: u64 = 4 * 1024 * 1024;
/// Console output that is kept for searching, in bytes. What is older is in the log file only.
pub const CONSOLE_KEPT: usize = 4 * 1024 * 1024;
/// Console and QEMU lines that an error message carries.
pub const LINES_IN_ERRORS: usize = 20;
/// A guest boots and checks in.
pub const CHECK_IN: Duration = Duration::from_secs(400);
/// From then on until the slowest part of its inventory has arrived.
pub const INVENTORY: Duration = Duration::from_secs(200);
/// A killed unit is restarted, a check-in follows, a trouble is shown.
pub const REACTION: Duration = Duration::from_secs(200);
/// A command typed into a guest's shell.
pub const SHELL: Duration = Duration::from_secs(60);
/// The server says where it listens.
pub const SERVER_START: Duration = Duration::from_secs(60);
/// Changed inputs of each target in the short form of fuzzing.
pub const FUZZ_CHANGES: usize = 2000;
/// Longest example of which changes are made, in bytes.
pub const FUZZ_LONGEST: usize = 64 * 1024;
/// Longest that one input may take: far beyond any that does, in code that is not optimised, on a busy machine.
pub const FUZZ_INPUT: Duration = Duration::from_secs(30);
