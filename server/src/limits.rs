//! Time-outs and sizes of the server, in one place. What agent and server share is in [`wire::limits`].

use std::time::Duration;

/// Longest time for a client to send its request's headers.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest time for a client to send a check-in's body.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// Most bytes over a body's limit that are read and thrown away, so that the client can be told.
pub const MAX_DISCARDED: usize = 16 * 1024 * 1024;
/// Most memory for bodies of check-ins that are being received or worked on, in bytes: a thousand large servers at once.
pub const BODIES_MEMORY: usize = 256 * 1024 * 1024;
/// Most of it that bodies of one address may take, so that none of them keeps the others out: sixteen of the largest.
pub const PEER_BODIES_MEMORY: usize = BODIES_MEMORY / 4;
/// When a client that was refused for want of memory should come back.
pub const RETRY_AFTER: Duration = Duration::from_secs(10);
/// Longest time that running requests get when the server is told to stop.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause after a failed `accept`, such as for want of file descriptors.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Time before the certificate's end in which each day has its warning.
pub const CERTIFICATE_NEAR_END: time::Duration = time::Duration::days(30);
/// Pause between two looks at the certificate's end.
pub const CERTIFICATE_LOOK: Duration = Duration::from_secs(24 * 60 * 60);
/// Connections that the system keeps until they are accepted.
pub const BACKLOG: u32 = 1024;
/// Most connections at a time, on all ports together; one source has at most a quarter of them ([`crate::http::peer::Doors`]).
pub const MAX_CONNECTIONS: usize = 8192;
/// Open files beside those of connections: the database, its journal, images that are added.
pub const OTHER_FILES: usize = 256;
/// Open files that a connection may take: itself, and what is downloaded over it.
pub const CONNECTION_FILES: usize = 2;
/// Longest time for which a client that is sent something may take none of it.
pub const STALL_TIMEOUT: Duration = Duration::from_secs(30);
/// Shortest time between two lines of the log about connections that were closed for want of room.
pub const CROWD_PAUSE: Duration = Duration::from_secs(60);
/// Most nodes of which the number of the last question that waits is kept: more than ever wait ([`crate::waits`]).
pub const MAX_WAIT_NUMBERS: usize = 2 * MAX_CONNECTIONS;

/// Most requests that wait for the writer; further ones wait for room.
pub const WRITER_QUEUE: usize = 4096;
/// Most requests in one commit.
pub const COMMIT_GROUP: usize = 256;
/// Most check-ins that say nothing new which one statement is about; a power of two.
pub const UNCHANGED_AT_ONCE: usize = 64;
/// Pause between two looks at what other servers of the same PostgreSQL database have written, while this one writes nothing.
pub const OTHERS_PAUSE: Duration = Duration::from_secs(1);
/// Connections that only read.
pub const READERS: u32 = 4;
/// How long a request waits for a connection to PostgreSQL.
pub const DATABASE_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause before a lost connection to PostgreSQL by which servers wake each other's nodes is made again.
pub const LISTEN_PAUSE: Duration = Duration::from_secs(1);
/// After so long PostgreSQL ends a transaction of a server that says nothing more, as one whose machine has lost its power: the
/// others wait for it.
pub const TRANSACTION_SILENCE: Duration = Duration::from_secs(10);
/// How long a change waits for those of other servers.
pub const TURN_TIMEOUT: Duration = Duration::from_secs(20);
/// A look at PostgreSQL's clock that takes longer tells nothing.
pub const CLOCK_ANSWER_MS: i64 = 200;
/// Prepared statements that each connection to PostgreSQL keeps: more than there are texts of queries.
pub const STATEMENTS: usize = 500;
/// Longest wait for another process's lock on the database.
pub const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// Level of zstd for stored reports: an inventory of 40 KB takes a quarter of a millisecond.
pub const REPORT_ZSTD_LEVEL: i32 = 3;
/// Largest stored report once unpacked, in bytes.
pub const MAX_REPORT: usize = 2 * wire::limits::MAX_CHECKIN_BODY;

/// Most entries that are kept in each ring of one node's log, of what was decided and of what was said; each further one
/// takes the place of the oldest.
pub const MAX_NODE_LOG: i64 = 1000;
/// Most changes of a machine's parts that one report adds to the log; of further ones it says how many there are.
pub const MAX_TOLD: usize = 20;
/// Largest report, in bytes, of which the log tells what changed: check-ins wait for the comparison, and the inventory of the largest
/// server is a third of it.
pub const MAX_TOLD_REPORT: i64 = 512 * 1024;
/// Most switch ports of one node that are remembered while its own ports hear no switch.
pub const MAX_REMEMBERED: usize = 64;
/// Time, in milliseconds, within which an entry that comes again is counted and not added.
pub const REPEATS_WITHIN_MS: i64 = 60 * 60 * 1000;
/// Newest entries of a ring among which a repeated one is looked for: a boot loop says a few things in turn.
pub const REPEATS_AMONG: i64 = 20;
/// Most events that are kept; each further one takes the place of the oldest.
pub const MAX_EVENTS: i64 = 1_000_000;
/// Starts of the server that are kept, by which a cursor of the log is known; each further one takes the place of the oldest.
pub const STARTS: i64 = 1000;
/// Longest log message that a node may send, in bytes.
pub const MAX_LOG_MESSAGE: usize = 8 * 1024;
/// Shortest time between two events about log lines under ids that no node has.
pub const STRAY_LOG_PAUSE: Duration = Duration::from_secs(600);
/// Problems, and command results, that are kept of one check-in.
pub const MAX_MESSAGES: usize = 100;
/// Entries of a list that one answer holds unless `limit` says otherwise.
pub const DEFAULT_PAGE: i64 = 1000;
/// Most entries of a list in one answer, whatever `limit` says.
pub const MAX_PAGE: i64 = 10_000;
/// Whole nodes (`depth=1`) that one answer holds at most: each may have an inventory of 200 KB.
pub const MAX_WHOLE: i64 = 100;
/// Nodes on one page of the list.
pub const NODES_ON_PAGE: i64 = 50;
/// Entries of a node's log on its own page; all are a link away.
pub const LOG_ON_NODE_PAGE: i64 = 20;
/// Reports on a node's own page; all are a link away.
pub const REPORTS_ON_NODE_PAGE: i64 = 5;
/// Silence of an image of the Tiny Core era after which it is told to send all facts again, as the old servers did; or
/// [`ALIVE_INTERVALS`] of its check-ins, where that is longer.
pub const LEGACY_SILENCE_MS: i64 = 120_000;
/// Nodes that a dispute shows beside the one that it is about; the others are counted.
pub const MAX_RIVALS: usize = 8;
/// Conflicts in one answer of the API, whatever `limit` says.
pub const MAX_CONFLICTS: i64 = 100;
/// Conflicts on one page.
pub const CONFLICTS_ON_PAGE: i64 = 20;
/// Entries on one page of a whole log.
pub const ROWS_ON_PAGE: i64 = 100;
/// Reports on one page of a node's history: each is compared with the one before.
pub const REPORTS_ON_PAGE: i64 = 20;
/// Most changes of a report that a page of reports names; all are a link away.
pub const CHANGES_OF_REPORT: usize = 20;
/// Most changes on the page of one comparison.
pub const CHANGES_ON_PAGE: usize = 1000;
/// Reports in one answer that says what changed by each, whatever `limit` says.
pub const MAX_COMPARED_REPORTS: i64 = 100;
/// Most network ports that a bootstrap script asks for: its query must fit [`wire::limits::MAX_URI`].
pub const MAX_NICS: u32 = 256;
/// Reboots that an installed node is told in a row before it is left alone.
pub const MAX_REBOOTS: i64 = 3;
/// Silence of a node, in milliseconds, after which it is taken to have run from its own disk since its last reboot.
/// Longer than any way through firmware and back into the microkernel.
pub const REBOOTS_FORGOTTEN_MS: i64 = 60 * 60 * 1000;
/// Time, in milliseconds, for which a command to a node waits: who told a machine to reboot does not want that to happen
/// hours later. Where check-ins are rare, it waits for [`ALIVE_INTERVALS`] of them.
pub const COMMAND_VALID_MS: i64 = 15 * 60 * 1000;
/// Most commands that end in one transaction because their time is over: check-ins come between two of them.
pub const EXPIRED_AT_ONCE: usize = 500;
/// Pause between two looks for commands whose time is over, and for nodes that are forgotten.
pub const EXPIRY_PAUSE: Duration = Duration::from_secs(30);
/// Pause between two looks for reports that are not kept any more.
pub const SWEEP_PAUSE: Duration = Duration::from_secs(60 * 60);
/// Nodes, and contents of reports, that are looked through at a time.
pub const SWEPT_AT_ONCE: i64 = 500;
/// Most reports that are deleted in one transaction: check-ins come between two of them.
pub const PRUNED_AT_ONCE: usize = 200;
/// Nodes that one source may make at once: more than a hall of machines behind one address.
pub const NEW_NODES_AT_ONCE: u32 = 2000;
/// Time after which it may make one more: ten thousand machines behind one address are nodes within half an hour.
pub const NEW_NODE_PAUSE: Duration = Duration::from_millis(200);
/// Nodes that were made of a boot and never checked in, of which the newest are kept.
pub const MAX_UNHEARD: i64 = 20_000;
/// Most of them that are forgotten in one transaction: check-ins come between two of them.
pub const FORGOTTEN_AT_ONCE: i64 = 500;
/// Difference, in milliseconds, from which on the system's clock counts as put forward or back, and does not only go wrong a little.
pub const CLOCK_STEP_MS: i64 = 2000;
/// Pause between two looks at the system's clock.
pub const CLOCK_LOOK: Duration = Duration::from_secs(1);
/// Boots that are kept of each node, with their keys and numbers: what is heard of one that is not is taken for a new boot's.
pub const MAX_NODE_BOOTS: i64 = 100;
/// Boots that are kept which are no node yet, since they sent neither facts nor inventory.
pub const MAX_STRAY_BOOTS: i64 = 1000;
/// Bundles of logs and state that are kept of each node; each further one takes the place of the oldest.
pub const MAX_NODE_BUNDLES: i64 = 5;
/// The same for all nodes together.
pub const MAX_BUNDLES: i64 = 1000;
/// Bytes of all bundles together, so that nodes cannot fill the disk.
pub const BUNDLES_BYTES: i64 = 1024 * 1024 * 1024;
/// Check-in intervals after which a silent boot no longer counts as alive.
pub const ALIVE_INTERVALS: i64 = 3;
/// Time, in milliseconds, for which a report that lacked parts may be completed by a later one: the slowest of disks are up,
/// and a machine that was started anew meanwhile has reported.
pub const PROVISIONAL_MS: i64 = 60 * 60 * 1000;
/// Seconds since its kernel started for which a machine that may not be the node that it is taken for, since it has not shown
/// that one's memory or disks, is told nothing: slow disks are up by then, and those of a machine that has lost them never come.
pub const PARTS_AWAITED_S: i64 = 300;
/// Most claims on a match key for it to lead to nodes where another key does: a number that a whole delivery shares tells
/// little, and each node that it leads to is weighed. Where no key leads anywhere else, so many of its newest holders are.
pub const MAX_HOLDERS: i64 = 64;
/// Longest value of hardware, in bytes, that is compared as it is: an index of PostgreSQL holds 2700.
pub const MAX_COMPARED: usize = 1000;
/// Most nodes that a stored decision names; a log entry about a refusal goes to each of them.
pub const MAX_NAMED: usize = 32;
/// Most nodes that wait to be accepted: anybody can make up machines. Those that an operator refused are not counted.
pub const MAX_PENDING: i64 = 1000;
/// Silence, in milliseconds, after which such a node gives its place to another machine where there is no room.
pub const PENDING_SILENT_MS: i64 = 60 * 60 * 1000;
/// Most enrolment tokens that are kept; of those that no longer let anybody in, the oldest give their place.
pub const MAX_TOKENS: i64 = 1000;
/// Most machines that one enrolment token lets in.
pub const MAX_TOKEN_USES: u32 = 1_000_000;
/// Longest time, in seconds, for which an enrolment token is good: ten years.
pub const MAX_TOKEN_VALID_S: u64 = 10 * 366 * 24 * 60 * 60;
/// Longest note on an enrolment token, in bytes.
pub const MAX_TOKEN_NOTE: usize = 200;
/// Most tokens of operators that are kept; of those that are no longer good, the oldest give their place.
pub const MAX_OPERATOR_TOKENS: i64 = 1000;
/// Most browsers that are logged in with one token; of more, those that logged in first are logged out.
pub const MAX_SESSIONS: i64 = 20;
/// Time, in milliseconds, for which a browser stays logged in: a day's work.
pub const SESSION_VALID_MS: i64 = 12 * 60 * 60 * 1000;
/// Wrong tokens that one source may send at once.
pub const WRONG_TOKENS_AT_ONCE: u32 = 10;
/// Time after which it may send one more.
pub const WRONG_TOKEN_PAUSE: Duration = Duration::from_secs(6);
/// Most sources of wrong tokens that are remembered; of more, the one that has sent fewest lately is forgotten.
pub const MAX_WRONG_SOURCES: usize = 4096;
/// Largest form for the log-in, in bytes.
pub const MAX_LOGIN_BODY: usize = 4096;
/// Lines of the log about refused requests within [`REFUSALS_PERIOD`]; further ones are counted.
pub const REFUSALS_LOGGED: u32 = 100;
/// See [`REFUSALS_LOGGED`].
pub const REFUSALS_PERIOD: Duration = Duration::from_secs(10);
/// Pause between two looks for events that the log does not have yet.
pub const NARRATE_PAUSE: Duration = Duration::from_millis(500);
/// Most events that are taken at one look.
pub const NARRATED_AT_ONCE: i64 = 500;
/// Most nodes that may have a part in common for it to say anything.
pub const MAX_RELATIVES: i64 = 16;

/// Free bytes on the disk of the data folder below which the server does not call itself well.
pub const MIN_ROOM: u64 = 32 * 1024 * 1024;

/// Largest image that is accepted, in bytes.
pub const MAX_IMAGE: u64 = 2 * 1024 * 1024 * 1024;
/// Longest time for an image's upload.
pub const UPLOAD_TIMEOUT: Duration = Duration::from_secs(30 * 60);
/// Largest `iso-metadata.yaml`, in bytes.
pub const MAX_METADATA: u64 = 64 * 1024;
/// Largest kernel or initrd in an image, in bytes.
pub const MAX_IMAGE_MEMBER: u64 = 1024 * 1024 * 1024;
/// Largest boot-loader configuration in an image, in bytes.
pub const MAX_BOOT_CONFIG: u64 = 64 * 1024;
/// Bytes copied at a time.
pub const COPY_BUFFER: usize = 256 * 1024;

/// Entries that `mk-server log` shows unless `--since` says otherwise.
pub const SHOWN_LOG: i64 = 100;
/// Pause of `--follow` between two looks.
pub const FOLLOW_PAUSE: Duration = Duration::from_secs(1);
/// Longest time for the command line to reach the server.
pub const CLIENT_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest time for an answer to the command line.
pub const CLIENT_TIMEOUT: Duration = Duration::from_secs(30);
/// Most bytes that one change of a mirror has the server receive and hash: more than a node has memory for.
pub const HASHED_BYTES: u64 = 8 * 1024 * 1024 * 1024;
/// Longest time for that; shorter than [`COMMAND_TIMEOUT`], so that the operator hears of it.
pub const HASHING_TIME: Duration = Duration::from_secs(25 * 60);
/// What still runs when the server ends, such as a download, is left behind after this time.
pub const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(1);
/// Longest time for the answer to a command: to push a mirror, the server receives its extensions.
pub const COMMAND_TIMEOUT: Duration = Duration::from_secs(30 * 60);
/// Longest list of digests at the end of a backup, in bytes: some hundred thousand files.
pub const MAX_SUMS: u64 = 64 * 1024 * 1024;
/// Numbers of nodes, commands and tokens that a restored server leaves out: more than were given since the backup.
pub const RESTORED_GAP: i64 = 100_000;
/// Different machines that a simulation knows: their numbers have six hex digits.
pub const SIMULATED_MOST: u32 = 1 << 24;
/// Nodes at either end of a server's list that are looked at before a simulation fills it.
pub const SIMULATED_LOOK: i64 = 20;
/// Pause of a made-up machine after a request that was refused or not answered: shorter than an agent's, since it is load.
pub const SIMULATED_RETRY: Duration = Duration::from_millis(100);
/// Time after which made-up machines that are not served are given up.
pub const SIMULATED_PATIENCE: Duration = Duration::from_secs(120);
/// Things that a server got wrong which a simulation tells in words.
pub const SIMULATED_EXAMPLES: usize = 8;
/// Most nodes that one is compared with when its page is made.
pub const COMPARED: i64 = 100;

/// Most streams of what happens at a time: each is a connection and a few kilobytes.
pub const MAX_STREAMS: usize = 100;
/// Entries that are read at once for those who watch what happens.
pub const WATCHED_BATCH: i64 = 200;
/// Batches that a slow stream may lie behind; then it ends, and its client goes on from the last entry that it has.
pub const WATCHED_BEHIND: usize = 32;
/// Shortest time between two reads for them: what happens meanwhile comes with the next.
pub const WATCH_PAUSE: Duration = Duration::from_millis(50);
/// Pause after which a stream without news has a comment, so that nobody on the way takes it for dead.
pub const HEARTBEAT: Duration = Duration::from_secs(15);
/// Most webhooks.
pub const MAX_WEBHOOKS: usize = 32;
/// Shortest secret of a webhook, in bytes.
pub const MIN_SECRET: usize = 16;
/// Entries in one request to a webhook at most.
pub const WEBHOOK_BATCH: i64 = 100;
/// Longest time for a webhook to answer.
pub const WEBHOOK_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause after the first failure of a webhook; each further one in a row doubles it.
pub const WEBHOOK_PAUSE: Duration = Duration::from_secs(1);
/// Longest pause between two attempts.
pub const WEBHOOK_LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// Largest list of nodes that are taken over from a razor-server at once, in bytes.
pub const MAX_ADOPTED: usize = 256 * 1024 * 1024;
/// Largest number of such a node, as razor-server's own are: ids go on after it, and are to go on for ever.
pub const MAX_ADOPTED_ID: i64 = 2_147_483_647;
/// Conflicts that are named where nodes are not taken over; the others are counted.
pub const MAX_NAMED_CONFLICTS: usize = 200;
/// Most of a refusal's text that is put into the form of all others, in bytes.
pub const MAX_REASON: usize = 4096;
/// Most parts of one area of a machine that are compared with other machines.
pub const MAX_AREA_PARTS: usize = 1000;
/// Longest name or value of a part that is compared, in characters; more is cut off.
pub const MAX_PART_TEXT: usize = 100;
/// Machines of a product from which on one can be odd.
pub const LEAST_ALIKE: i64 = 3;
/// Values that are shown where none is common.
pub const MAX_SPLIT_VALUES: usize = 6;
/// Things that are shown to be odd at one machine in a list, or split at one product; the others are counted.
pub const MAX_ODD_SHOWN: usize = 8;
/// Products that one answer about outliers names, those with most machines first.
pub const MAX_PRODUCTS: usize = 200;
/// Groups of machines alike that are named for each product, the largest first.
pub const MAX_GROUPS: usize = 10;
/// Machines that are named of such a group.
pub const MAX_GROUP_NAMES: i64 = 8;
/// Odd machines on one page, and machines expected in racks.
pub const MACHINES_ON_PAGE: i64 = 50;
/// Nodes whose makeup is worked out between two looks at other work, after an upgrade.
pub const MAKEUPS_AT_ONCE: i64 = 100;
/// Most switch ports that a node is known by.
pub const MAX_NODE_PORTS: usize = 64;
/// Longest switch port that is compared, in characters.
pub const MAX_PORT_TEXT: usize = 200;
/// Largest file of expected machines, in bytes: a hundred thousand of them.
pub const MAX_RACK_FILE: usize = 32 * 1024 * 1024;
/// Largest body of the command that sets it: JSON writes a line's end as two bytes.
pub const MAX_RACK_BODY: usize = 2 * MAX_RACK_FILE;
/// Most machines in it.
pub const MAX_RACK_ROWS: usize = 200_000;
/// Longest value in it, in bytes.
pub const MAX_RACK_VALUE: usize = 200;
/// Mistakes of such a file that are named.
pub const MAX_RACK_MISTAKES: usize = 20;
/// Time within which the racks are compared for each who asks.
pub const COMPARED_FAST: Duration = Duration::from_millis(100);
/// Where it takes longer, they are compared anew after so many times the time that it took: at most a tenth of a processor is spent on it.
pub const COMPARED_AGAIN: u32 = 10;
