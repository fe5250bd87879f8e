//! Kinds of commands to nodes, and their arguments by name ([`crate::checkin::Command`]).

/// Boot anew.
pub const REBOOT: &str = "reboot";
/// Switch off.
pub const POWEROFF: &str = "poweroff";
/// Take stock again and send everything.
pub const REFRESH: &str = "refresh";
/// Walk the way to the server, and say what was found.
pub const DOCTOR: &str = "doctor";
/// Send a bundle of logs and state to [`crate::routes::BUNDLE`].
pub const COLLECT_LOGS: &str = "collect-logs";
/// Have a light of the machine blink for [`SECONDS`].
pub const IDENTIFY: &str = "identify";
/// Load the extension [`EXTENSION`].
pub const LOAD_EXTENSION: &str = "load-extension";

/// Argument of [`IDENTIFY`]: a number of seconds; 0 switches the light off.
pub const SECONDS: &str = "seconds";
/// Argument of [`LOAD_EXTENSION`]: the name, with or without `.tcz`.
pub const EXTENSION: &str = "extension";
