//! Every time-out and size of the agent, in one place. Durations are wall times on a healthy machine times four: a
//! loaded hypervisor or an emulated CPU must not look like a fault.

use std::time::Duration;

/// A unit that ended is started again after this time at first; the time doubles with each further end.
pub(crate) const RESTART_DELAY: Duration = Duration::from_millis(250);
/// Longest time between two starts of a unit that keeps ending.
pub(crate) const RESTART_DELAY_MAX: Duration = Duration::from_secs(30);
/// A unit that ran for this long is taken as healthy: its next restart is quick again.
pub(crate) const STABLE_AFTER: Duration = Duration::from_secs(60);
/// So many ends in a row without a stable run are called a crash loop. The unit is still restarted, for ever.
pub(crate) const CRASH_LOOP: u32 = 5;
/// A pushed unit on trial must run for so long without an end, or be done.
pub(crate) const UNIT_TRIAL: Duration = Duration::from_secs(30);
/// What the supervisor publishes counts so long after it has heard of them.
pub(crate) const UNIT_SETTLE: Duration = Duration::from_secs(2);
/// Last lines of a unit that failed which the server is told, and the most characters of each.
pub(crate) const UNIT_LINES: usize = 5;
/// See [`UNIT_LINES`].
pub(crate) const UNIT_LINE: usize = 200;
/// A pushed configuration is begun so often; one that never came to its end is refused then.
pub(crate) const CANDIDATE_STARTS: u32 = 2;
/// A mirror's index whose signature does not fit is fetched again after this time: it may just be signed.
pub(crate) const INDEX_PAUSE: Duration = Duration::from_secs(2);
/// From TERM to KILL, where the unit's file does not say otherwise.
pub(crate) const STOP_TIMEOUT: Duration = Duration::from_secs(5);
/// From KILL until the process counts as stuck in the kernel and is abandoned.
pub(crate) const KILL_GRACE: Duration = Duration::from_secs(2);
/// Longest run of a unit's preparatory command, and until it is ready, where its file does not say otherwise.
pub(crate) const START_TIMEOUT: Duration = Duration::from_secs(60);
/// The file by which a unit is ready is looked for this often.
pub(crate) const READY_LOOK: Duration = Duration::from_millis(50);
/// A unit waits so long for those that it comes after; then it starts without them.
pub(crate) const AFTER_WAIT: Duration = Duration::from_secs(60);
/// Pause after a panic of PID 1's loop, so that one that repeats does not eat the machine.
pub(crate) const PANIC_PAUSE: Duration = Duration::from_secs(1);
/// Processes that are no unit's get so long between TERM and KILL at shutdown.
pub(crate) const STRAY_GRACE: Duration = Duration::from_secs(1);
/// Longest wait for dirty pages at shutdown: nothing of ours is on disk, and a dead disk must not keep a machine up.
pub(crate) const SYNC: Duration = Duration::from_secs(5);
/// PID 1 says that the kernel did not reboot, and asks it again, after this time.
pub(crate) const REBOOT_RETRY: Duration = Duration::from_secs(30);

/// Lines of output that are kept per unit.
pub(crate) const TAIL_LINES: usize = 200;
/// Longest line of a unit that is kept and sent to the kernel log, in bytes; the kernel's own limit is just below 1 KiB.
pub(crate) const LOG_LINE: usize = 900;
/// Lines that a process may write at once to the kernel's log: some fifth of what that keeps.
pub(crate) const LOG_BURST: u32 = 500;
/// Lines a second afterwards: the longest ones take the time of a serial console then, and no more.
pub(crate) const LOG_RATE: u32 = 10;
/// Bytes of a process's output that PID 1 reads in [`LOG_READ_TIME`]; one that writes more waits. It takes a hundredth of a
/// processor.
pub(crate) const LOG_READ: usize = 1 << 20;
pub(crate) const LOG_READ_TIME: Duration = Duration::from_secs(1);
/// Stack of PID 1's helper threads in bytes.
pub(crate) const SMALL_STACK: usize = 128 * 1024;

/// Largest message on PID 1's socket in bytes: a whole tail as JSON.
pub(crate) const SOCKET_MESSAGE: u64 = 512 * 1024;
/// PID 1 waits so long for the rest of a message.
pub(crate) const SOCKET_READ: Duration = Duration::from_secs(1);
/// A client waits so long for PID 1's reply.
pub(crate) const SOCKET_REPLY: Duration = Duration::from_secs(10);

/// Most unit files in one folder.
pub(crate) const UNIT_FILES: usize = 64;
/// Bytes of what is said of a unit file that is wrong, which may repeat what stands in it.
pub(crate) const UNIT_PROBLEM: usize = 500;
/// Largest unit file, and file with facts, in bytes.
pub(crate) const UNIT_FILE: u64 = 1024 * 1024;
/// Most bytes of an outside program's output that are kept.
pub(crate) const COMMAND_OUTPUT: usize = 64 * 1024;
/// Longest that is waited for the rest of a command's output once the command has ended.
pub(crate) const COMMAND_DRAIN: Duration = Duration::from_secs(1);

/// A collector of facts that has not ended after this time is abandoned; the others' results are used without it.
pub(crate) const COLLECTOR_DEADLINE: Duration = Duration::from_secs(5);
/// A collection waits so long for the ports and for what the firmware says of the machine while these were never read in this
/// boot; below [`CHECKIN_FACTS`].
pub(crate) const TELLING_DEADLINE: Duration = Duration::from_secs(12);
/// Longest run of one of the site's programs that print facts.
pub(crate) const FACT_PROGRAM: Duration = Duration::from_secs(60);
/// From the end of such a program until it is asked again.
pub(crate) const FACT_PROGRAM_PAUSE: Duration = Duration::from_secs(60);
/// A collection waits so long for such programs that have said nothing yet; well below [`COLLECTOR_DEADLINE`].
pub(crate) const FACT_PROGRAM_WAIT: Duration = Duration::from_secs(2);
/// `mk-agent facts` waits so long for programs that it runs itself: until each has ended or was ended, and its output
/// is read.
pub(crate) const FACT_PROGRAM_END: Duration = Duration::from_secs(65);
/// What a program said is called old after this time: its longest run, the pause, and a minute between two check-ins.
pub(crate) const FACT_PROGRAM_OLD: Duration = Duration::from_secs(180);

/// A BMC gets so long for one answer: over a serial bus each takes tens of milliseconds.
pub(crate) const BMC_ANSWER: Duration = Duration::from_secs(2);
/// A BMC gets so long for all answers; below [`COLLECTOR_DEADLINE`], so that what it did say is used.
pub(crate) const BMC_WHOLE: Duration = Duration::from_secs(4);
/// Most bytes of one answer of a BMC: the kernel's own limit.
pub(crate) const BMC_MESSAGE: usize = 272;
/// Most IPv6 addresses of a kind that a BMC is asked for; each is a question of its own.
pub(crate) const BMC_ADDRESSES: u8 = 16;
/// A disk that has not told its health after this time is gone on without; below [`COLLECTOR_DEADLINE`].
pub(crate) const DISK_HEALTH: Duration = Duration::from_secs(3);
/// The kernel waits so long for a disk's answer. Much longer than we do: it resets a disk that is late, and one that is
/// just spinning up is not ill.
pub(crate) const DISK_COMMAND: Duration = Duration::from_secs(60);
/// A TPM that has not told its key after this time is gone on without; below [`COLLECTOR_DEADLINE`].
pub(crate) const TPM_WHOLE: Duration = Duration::from_secs(4);
/// A TPM that did not tell all is asked again after this time: each key takes it a second.
pub(crate) const TPM_AGAIN: Duration = Duration::from_secs(60);
/// A TPM that says that it is busy is asked again after this time, and so often in all: a second.
pub(crate) const TPM_PAUSE: Duration = Duration::from_millis(20);
pub(crate) const TPM_TRIES: u32 = 50;
/// Most bytes of one answer of a TPM: the kernel's own limit.
pub(crate) const TPM_ANSWER: usize = 4096;
/// Bytes that are read at a time of what a TPM stores: every chip gives so many.
pub(crate) const TPM_CHUNK: u16 = 256;
/// Largest certificate in a TPM, in bytes; they have one or two thousand.
pub(crate) const TPM_CERTIFICATE: u16 = 8192;
/// What a BMC, a disk or a module said is used for so long before it is asked again.
pub(crate) const HARDWARE_KEPT: Duration = Duration::from_secs(600);
/// A disk that could not be asked is left alone for [`HARDWARE_KEPT`], and twice as long after each further failure, up to
/// this time: the kernel resets its whole controller each time.
pub(crate) const DISK_FAILED_MAX: Duration = Duration::from_secs(24 * 3600);
/// A collection waits so long for modules in the cages of ports that are being read; the reading goes on. A cage that is
/// empty takes a second with some drivers.
pub(crate) const CAGES: Duration = Duration::from_secs(2);

/// Largest kernel module in bytes after inflating; the largest of Debian's has 12 MB.
pub(crate) const MAX_MODULE: u64 = 64 * 1024 * 1024;
/// Modules that are loaded at the same time: their initialisation waits for hardware more than it computes.
pub(crate) const MODULES_AT_ONCE: usize = 8;
/// A module whose initialisation takes longer is gone on without. Large RAID controllers take half a minute.
pub(crate) const MODULE_LOAD: Duration = Duration::from_secs(60);
/// Devices have come to rest when nothing happened for this time.
pub(crate) const DEVICES_QUIET: Duration = Duration::from_millis(150);
/// After this time the first pass over the devices counts as done, even if they have not come to rest.
pub(crate) const DEVICES_SETTLE: Duration = Duration::from_secs(20);
/// Longest sleep of a loop that only waits for events.
pub(crate) const IDLE_WAKE: Duration = Duration::from_secs(3600);
/// Receive buffer in bytes for the kernel's device events.
pub(crate) const UEVENT_BUFFER: usize = 4 * 1024 * 1024;
/// Largest device event in bytes; the kernel's own limit is 2 KiB of variables and a path.
pub(crate) const UEVENT_MAX: usize = 8 * 1024;
/// Largest record of the kernel's log in bytes.
pub(crate) const KMSG_RECORD: usize = 8 * 1024;

/// Most files in one extension.
pub(crate) const EXTENSION_ENTRIES: usize = 200_000;
/// Free loop devices that others may snatch from us before we give up.
pub(crate) const LOOP_ATTEMPTS: usize = 16;
/// Longest run of an extension's script.
pub(crate) const EXTENSION_SCRIPT: Duration = Duration::from_secs(60);
/// Longest installation of one gem with all that it needs; one with native code is compiled.
pub(crate) const GEM_INSTALL: Duration = Duration::from_secs(300);
/// Longest run of ldconfig.
pub(crate) const LDCONFIG: Duration = Duration::from_secs(30);

/// Longest run of depmod: a second for all of Debian's modules, on one slow processor a minute.
pub(crate) const DEPMOD: Duration = Duration::from_secs(120);

/// Most connections at a time on each of the ports on loopback; further ones wait to be accepted.
pub(crate) const LOOPBACK_CONNECTIONS: usize = 32;
/// A client on loopback gets so long to send a request's headers.
pub(crate) const LOOPBACK_HEADERS: Duration = Duration::from_secs(10);
/// Longest life of a connection on loopback. The largest extension takes a second.
pub(crate) const LOOPBACK_CONNECTION: Duration = Duration::from_secs(120);
/// Pause after a failed accept, which is a lack of file descriptors or memory.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(500);
/// Largest configuration that is posted to a node, in bytes: all its files, and what their form needs besides.
pub(crate) const CONFIG_BODY: usize = 1024 * 1024;
/// Who posts a configuration waits so long for what comes of it.
pub(crate) const POSTED_ANSWER: Duration = Duration::from_secs(5);
/// How often that is looked for.
pub(crate) const POSTED_LOOK: Duration = Duration::from_millis(20);

/// A DHCP request without answer is repeated after this time at first; the time doubles with each repeat. A shorter one
/// was measured to win nothing (`docs/BENCHMARKS.md`), and makes servers that take a quarter of a second offer twice.
pub(crate) const DHCP_FIRST_RETRY: Duration = Duration::from_millis(300);
/// Longest time between two DHCP requests: a switch port that forwards after half a minute is then not missed for long.
pub(crate) const DHCP_LONGEST_RETRY: Duration = Duration::from_secs(10);
/// Shortest time between two requests for the extension of a lease.
pub(crate) const DHCP_RENEW_RETRY: Duration = Duration::from_secs(10);
/// An offer is asked for so often before others are looked for.
pub(crate) const DHCP_REQUESTS: u32 = 4;
/// A former address is asked about so often before new ones are looked for.
pub(crate) const DHCP_VERIFIES: u32 = 3;
/// Unanswered DHCP requests from which on that is an error to be shown: about 2 seconds.
pub(crate) const DHCP_SILENCE: u32 = 4;
/// A port that cannot be brought up is tried again after this time: its firmware may have come meanwhile.
pub(crate) const PORT_RETRY: Duration = Duration::from_secs(5);
/// What the kernel refuses of a port again and again is tried after twice the time each time, and at last so often.
pub(crate) const PORT_RETRY_MAX: Duration = Duration::from_secs(60);
/// All ports are looked at this often even if the kernel reports nothing.
pub(crate) const PORT_RESCAN: Duration = Duration::from_secs(10);
/// A bond that has no link for so long although ports of it have one is said to be idle: LACP takes some seconds.
pub(crate) const BOND_IDLE: Duration = Duration::from_secs(10);
/// A port that heard no LLDP for this time says so: twice the 30 s after which most switches speak again, and a little.
pub(crate) const LLDP_SILENCE: Duration = Duration::from_secs(65);
/// A neighbour that does not say how long it holds is held so long: four times 30 s, as the standard has it.
pub(crate) const LLDP_DEFAULT_TTL: Duration = Duration::from_secs(120);
/// A neighbour is held no longer than this without another word, whatever it says: 18 hours can be said.
pub(crate) const LLDP_LONGEST_TTL: Duration = Duration::from_secs(3600);
/// Pause after an LLDP frame, so that a flood of them does not keep the unit from its work.
pub(crate) const LLDP_PAUSE: Duration = Duration::from_millis(50);
/// Largest LLDP frame that is read, in bytes: as large as jumbo frames are.
pub(crate) const LLDP_FRAME: usize = 9216;
/// Of a neighbour's TLVs so many bytes are kept as they came: all that an ordinary frame holds.
pub(crate) const LLDP_RAW: usize = 1500;
/// Most management addresses of a neighbour.
pub(crate) const LLDP_ADDRESSES: usize = 8;
/// Most neighbours of one port. A switch is one; more are there behind one that passes LLDP on.
pub(crate) const LLDP_NEIGHBOURS: usize = 8;
/// Most neighbours of a machine: with texts and TLVs of the largest size they take half of what a check-in may hold.
pub(crate) const LLDP_MACHINE: usize = 128;
/// One DNS server's time for one answer.
pub(crate) const DNS_ANSWER: Duration = Duration::from_millis(1500);
/// A DNS server is asked so often.
pub(crate) const DNS_TRIES: u32 = 2;
/// DNS is asked for our server again after this time while it knows none.
pub(crate) const DNS_RETRY: Duration = Duration::from_secs(30);

/// Longest sleep of the supervisor's loop. Nothing depends on it: a lost signal is made good by the next turn.
pub(crate) const LONGEST_SLEEP: Duration = Duration::from_secs(60);
/// The status page is painted at most this often.
pub(crate) const CONSOLE_PAUSE: Duration = Duration::from_millis(100);
/// The status page looks this often even if nobody published anything: times go on, and screens change their size.
pub(crate) const CONSOLE_TICK: Duration = Duration::from_secs(5);
/// The whole status page is written anew after this time: something else may have written over it.
pub(crate) const CONSOLE_REPAINT: Duration = Duration::from_secs(60);

/// The first check-in waits so long for devices and an address; then it is tried with what there is.
pub(crate) const CHECKIN_START: Duration = Duration::from_secs(10);
/// Time for a whole collection of facts; a longer one is gone on without.
pub(crate) const CHECKIN_FACTS: Duration = Duration::from_secs(15);
/// Time for the resolution of a server's name: the C library asks each of two name servers once in it.
pub(crate) const CHECKIN_NAME: Duration = Duration::from_secs(5);
/// Time for the TCP connection to a server, over one port.
pub(crate) const CHECKIN_CONNECT: Duration = Duration::from_secs(5);
/// Time for a whole exchange with a server, its body included.
pub(crate) const CHECKIN_EXCHANGE: Duration = Duration::from_secs(30);
/// Wait after the first failed check-in; it doubles with each further one.
pub(crate) const CHECKIN_RETRY: Duration = Duration::from_secs(1);
/// A request whose answer was lost is sent again unchanged for so long: a slow server's whole time and one repeat.
pub(crate) const CHECKIN_REPEAT: Duration = Duration::from_secs(60);
/// Longest wait between two attempts while no server answers.
pub(crate) const CHECKIN_RETRY_MAX: Duration = Duration::from_secs(60);
/// Longest wait that a server is granted when it asks for one by Retry-After.
pub(crate) const CHECKIN_RETRY_ASKED: Duration = Duration::from_secs(300);
/// Shortest time between two check-ins that are due to changes on the node, such as a link that comes and goes; and in the
/// long run between two that are due to the server, and between two questions that wait there.
pub(crate) const CHECKIN_GAP: Duration = Duration::from_secs(1);
/// So many check-ins that are due to the server may follow each other at once, and so many questions: two commands in a row are
/// two check-ins that fetch and two that acknowledge.
pub(crate) const CHECKIN_BURST: u32 = 4;
/// Check-ins that fetch or acknowledge commands say of the machine what was found so long ago at most.
pub(crate) const CHECKIN_STOCK: Duration = HARDWARE_KEPT;
/// So many waits in a row are cut short by changes on a node that has an address: each of four ports that come up one
/// after the other is a link, then an address. And so many questions in a row may be answered at once.
pub(crate) const CHECKIN_HURRIES: u32 = 8;
/// A clock that differs this much from the server's is reported.
pub(crate) const CLOCK_OFF: Duration = Duration::from_secs(300);
/// Volatile parts of the inventory are sent this often.
pub(crate) const CHECKIN_VOLATILE: Duration = Duration::from_secs(3600);
/// Problems that are kept for the server until it answers.
pub(crate) const CHECKIN_PROBLEMS: usize = 50;
/// Largest answer in bytes to all but check-ins: a greeting, or a few words.
pub(crate) const SMALL_ANSWER: usize = 4 * 1024;
/// Time for the whole upload of a bundle: the largest over a line of a megabit a second.
pub(crate) const BUNDLE_UPLOAD: Duration = Duration::from_secs(60);
/// An upload that did not arrive is tried so often.
pub(crate) const BUNDLE_TRIES: u32 = 3;
/// Pause before an upload is tried again.
pub(crate) const BUNDLE_RETRY: Duration = Duration::from_secs(5);
/// Most bytes of one file in a bundle; its newest are kept. Fewer where the archive would be larger than a server takes.
pub(crate) const BUNDLE_FILE: usize = 1024 * 1024;
/// Most bytes of the kernel's log in a bundle: all that the kernel keeps by default, four times.
pub(crate) const KERNEL_LOG: usize = 1024 * 1024;
/// Most characters of a command's result: what a server keeps of it.
pub(crate) const COMMAND_DETAIL: usize = 8 * 1024;
/// A server is given so long beyond the time for which it keeps a question waiting.
pub(crate) const WAIT_MARGIN: Duration = Duration::from_secs(10);
/// A question that is answered sooner counts as answered at once.
pub(crate) const WAIT_PROMPT: Duration = Duration::from_secs(5);
/// A question that could not wait longer than this is not asked.
pub(crate) const WAIT_SHORTEST: Duration = Duration::from_secs(2);
/// Questions in a row that wait their whole time before a longer one is tried again.
pub(crate) const WAIT_WHOLE: u32 = 10;
/// A server that does not know such questions is asked again after this time: it may have been renewed.
pub(crate) const WAIT_UNKNOWN: Duration = Duration::from_secs(3600);
/// A network port's light is asked for so long at a time, so that it can be switched off early.
pub(crate) const LIGHT_SLICE: Duration = Duration::from_secs(2);
/// A BMC's light is asked for anew this long before it would go out.
pub(crate) const LIGHT_MARGIN: Duration = Duration::from_secs(15);
/// How often a light that blinks is looked after.
pub(crate) const LIGHT_LOOK: Duration = Duration::from_millis(500);
/// The lock of the site's facts is tried so often, [`CHECKIN_LOOK`] apart, before it counts as another's.
pub(crate) const FACT_LOCK_TRIES: u32 = 10;
/// How long a check-in that was started again leaves a server with what it was told before, where something that was read
/// then cannot be read now.
pub(crate) const FORMER_HOLD: Duration = Duration::from_secs(600);
/// How often a running collection of facts is looked at: it usually takes some ten milliseconds.
pub(crate) const CHECKIN_LOOK: Duration = Duration::from_millis(5);
/// Used when a DHCP server grants a lease without an end, as some do against the standard.
pub(crate) const DEFAULT_LEASE: Duration = Duration::from_secs(3600);
/// A shorter lease is held this long: nobody can renew faster than that.
pub(crate) const SHORTEST_LEASE: Duration = Duration::from_secs(10);
