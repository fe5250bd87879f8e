//! Time-outs and numbers of repetitions. Time-outs are for a machine four times slower than a 2-core one under TCG.

use std::time::Duration;

/// The server opens its database and says where it listens.
pub(crate) const SERVER_START: Duration = Duration::from_secs(60);
/// From asking a program to end to killing it.
pub(crate) const PROGRAM_END: Duration = Duration::from_secs(15);
/// Between two looks at the server and the programs.
pub(crate) const POLL: Duration = Duration::from_millis(250);
/// A machine boots and checks in, unless `--timeout` says otherwise.
pub(crate) const CHECK_IN: Duration = Duration::from_secs(600);
/// After the check-in, for the slower parts of the inventory.
pub(crate) const INVENTORY: Duration = Duration::from_secs(20);
/// Console lines that a failure shows.
pub(crate) const LINES_IN_FAILURE: usize = 25;
/// Between two turns of the spinner.
pub(crate) const TICK: Duration = Duration::from_millis(250);
/// `test`: most guests at once, on a machine with twice as many cores; each takes up to 1 GiB of memory.
pub(crate) const GUESTS: usize = 4;
/// `bench`: starts of each kind of machine, by turns.
pub(crate) const BENCH_BOOTS: usize = 3;
/// `bench`: a machine boots and checks in. One with too little memory never does.
pub(crate) const BENCH_BOOT: Duration = Duration::from_secs(180);
/// `bench`: a machine with enough memory boots, counted on a busy host, or by Tiny Core's own init.
pub(crate) const BENCH_START: Duration = Duration::from_secs(600);
/// `bench`: image builds of each kind, by turns.
pub(crate) const BENCH_BUILDS: usize = 3;
/// `bench`: inventories of each kind, by turns.
pub(crate) const BENCH_INVENTORIES: usize = 9;
/// `bench`: for how long a fleet checks in as fast as it is answered.
pub(crate) const BENCH_LOAD: Duration = Duration::from_secs(15);
/// `bench`: kills of the server under load.
pub(crate) const BENCH_KILLS: usize = 200;
/// `bench`: power cuts of the server's machine under load.
pub(crate) const BENCH_POWER_CUTS: usize = 20;
/// `fuzz`: how long each target is run, unless `--seconds` says otherwise.
pub(crate) const FUZZ_SECONDS: u64 = 20;
/// `fuzz`: longest input in bytes.
pub(crate) const FUZZ_INPUT_BYTES: usize = 64 * 1024;
/// `fuzz`: longest input in bytes that is kept in the work tree.
pub(crate) const FUZZ_KEPT_BYTES: usize = 2048;
/// `fuzz`: bytes of a target's corpus in the work tree.
pub(crate) const FUZZ_CORPUS_BYTES: u64 = 5 * 1024;
/// `fuzz`: most memory, of which 150 MiB are the fuzzer's own.
pub(crate) const FUZZ_MEMORY_MIB: usize = 512;
/// `fuzz`: longest that one input may take.
pub(crate) const FUZZ_INPUT_SECONDS: usize = 5;
