//! Limits and defaults that agent and server share. Everything larger or longer is refused with a message that names
//! the constant's value.

use std::ops::RangeInclusive;

/// Largest check-in body in bytes. Recorded inventories of large servers are 40 to 200 KB.
pub const MAX_CHECKIN_BODY: usize = 4 * 1024 * 1024;
/// Largest bundle of logs and state in bytes, as packed.
pub const MAX_BUNDLE: usize = 4 * 1024 * 1024;
/// Largest reply that an agent reads, in bytes.
pub const MAX_REPLY_BODY: usize = 4 * 1024 * 1024;
/// Largest operator command body in bytes.
pub const MAX_COMMAND_BODY: usize = 1024 * 1024;
/// Longest request path with its query, in bytes: a hundred NICs in a boot query still fit.
pub const MAX_URI: usize = 16 * 1024;
/// Largest sum of request headers in bytes.
pub const MAX_HEADERS: usize = 16 * 1024;
/// Longest fact name in bytes.
pub const MAX_FACT_NAME: usize = 256;
/// Most flat facts in one check-in.
pub const MAX_FACTS: usize = 20_000;
/// Most network ports, and most disks, in one inventory: each costs the server a few look-ups.
pub const MAX_COMPONENTS: usize = 4096;

/// Seconds between check-ins until the server says otherwise.
pub const DEFAULT_INTERVAL_S: u32 = 60;
/// Largest random delay in seconds that is added once after start and after each new configuration.
pub const DEFAULT_SKEW_S: u32 = 5;
/// Shortest interval in seconds that a server may ask for.
pub const MIN_INTERVAL_S: u32 = 1;
/// Longest interval in seconds that a server may ask for: a day.
pub const MAX_INTERVAL_S: u32 = 86_400;
/// Longest regular expression in a pushed configuration, in bytes.
pub const MAX_PATTERN: usize = 4096;
/// Most extensions whose digests one configuration carries.
pub const MAX_EXTENSIONS: usize = 10_000;
/// Most keys of mirrors of which a server keeps the highest number that a node said.
pub const MAX_MIRROR_KEYS: usize = 16;
/// Longest file name of an extension in bytes, as in file systems.
pub const MAX_EXTENSION_NAME: usize = 255;
/// Most files with facts that one configuration carries.
pub const MAX_FACT_FILES: usize = 64;
/// Most bytes of these files together: they are sent with every change of the configuration.
pub const MAX_FACT_FILES_BYTES: usize = 256 * 1024;
/// Most units that one configuration carries.
pub const MAX_UNITS: usize = 32;
/// Most bytes of these units together, as JSON.
pub const MAX_UNITS_BYTES: usize = 64 * 1024;
/// Longest name of a unit in bytes, so that it fits the kernel's log and the name of a folder.
pub const MAX_UNIT_NAME: usize = 64;
/// What a unit's file may say of its start, in seconds.
pub const START_TIMEOUTS: RangeInclusive<i64> = 1..=3600;
/// What it may say of its stop, in seconds: a shutdown waits for the longest.
pub const STOP_TIMEOUTS: RangeInclusive<i64> = 1..=60;
/// What it may say of memory, in bytes: with less no program starts.
pub const MEMORY_MAX: RangeInclusive<u64> = 1 << 20..=1 << 40;
/// What it may say of processes: up to the kernel's own default for the whole machine.
pub const PIDS_MAX: RangeInclusive<i64> = 1..=32768;
/// What it may say of processors: the kernel's own range.
pub const CPU_WEIGHT: RangeInclusive<i64> = 1..=10000;
/// Size in bytes of the slot for a site's own configuration in every image, unless the builder is told otherwise.
pub const DEFAULT_SITE_SLOT: u64 = 1024 * 1024;
/// Largest file in bytes in which an image describes itself, or carries its site's settings: those may have several CA
/// certificates.
pub const MAX_SETTINGS_FILE: u64 = 1024 * 1024;
/// Longest time in seconds for which a server keeps a node's question waiting: proxies cut what is silent for a minute.
pub const MAX_WAIT_S: u64 = 50;
/// Seconds for which a machine's light blinks unless the operator says otherwise: the way to its rack.
pub const DEFAULT_IDENTIFY_S: u32 = 300;
/// Longest time in seconds for which a machine's light blinks.
pub const MAX_IDENTIFY_S: u32 = 3600;
