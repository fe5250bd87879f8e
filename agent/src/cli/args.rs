//! From words to a command. Touches nothing of the system.

use std::ffi::OsString;

use lexopt::ValueExt as _;
use lexopt::prelude::{Long, Short, Value};

/// Printed for `help`, and after words that are not understood.
pub(super) const HELP: &str = "\
mk-agent: the Razor Microkernel's agent

  mk-agent status                      what this node is doing; exit code 3 when something is wrong
  mk-agent doctor                      the way to the server, step by step, up to the first that fails; exit code 3 then
  mk-agent facts [--flat]              this machine's inventory as JSON, or as flat facts
  mk-agent facts --record              what it is read from, for a report of a fault: numbers of the machine are replaced
  mk-agent unit list                   supervised units
  mk-agent unit start|stop|restart NAME
  mk-agent unit reload                 take up unit files that were added, changed or removed
  mk-agent logs NAME                   last lines of a unit
  mk-agent tce load NAME               load an extension with all it needs, from the image or the pushed mirror
  mk-agent reboot | poweroff           in order, units first
  mk-agent run UNIT                    one built-in unit in the foreground, as the supervisor runs it
  mk-agent daemon [--foreground]       supervise under another init
  mk-agent --help | --version
";

/// A command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Command {
    /// Print [`HELP`].
    Help,
    /// Print the version.
    Version,
    /// Run a built-in unit in this process.
    Run(String),
    /// Supervise under another init.
    Daemon {
        /// Stay in the foreground.
        foreground: bool,
    },
    /// Print the node's state.
    Status,
    /// Walk the way to the server.
    Doctor,
    /// Print the inventory.
    Facts(Facts),
    /// Print the units.
    Units,
    /// Change a unit.
    Unit(UnitCommand),
    /// Print a unit's last lines.
    Logs(String),
    /// Load an extension.
    LoadExtension(String),
    /// Restart the machine.
    Reboot,
    /// Switch the machine off.
    Poweroff,
}

/// How the inventory is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Facts {
    /// As it is.
    Inventory,
    /// As flat facts.
    Flat,
    /// What it is read from.
    Recording,
}

/// What to do with a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum UnitCommand {
    /// Start it.
    Start(String),
    /// Stop it.
    Stop(String),
    /// Stop and start it.
    Restart(String),
    /// Read the unit files anew.
    Reload,
}

/// Reads the words after the program's name.
pub(super) fn parse(words: impl Iterator<Item = OsString>) -> Result<Command, lexopt::Error> {
    let mut words = lexopt::Parser::from_args(words);
    let command = match words.next()? {
        None | Some(Short('h') | Long("help")) => Command::Help,
        Some(Short('V') | Long("version")) => Command::Version,
        Some(Value(word)) => match word.string()?.as_str() {
            "help" => Command::Help,
            "run" => Command::Run(name(&mut words)?),
            "daemon" => Command::Daemon { foreground: flag(&mut words, "foreground")? },
            "status" => Command::Status,
            "doctor" => Command::Doctor,
            "facts" => Command::Facts(facts(&mut words)?),
            "unit" => unit(&mut words)?,
            "logs" => Command::Logs(name(&mut words)?),
            "tce" => match name(&mut words)?.as_str() {
                "load" => Command::LoadExtension(name(&mut words)?),
                other => return Err(format!("`tce {other}` is no command").into()),
            },
            "reboot" => Command::Reboot,
            "poweroff" => Command::Poweroff,
            other => return Err(format!("there is no command {other}").into()),
        },
        Some(argument) => return Err(argument.unexpected()),
    };
    match words.next()? {
        None => Ok(command),
        Some(argument) => Err(argument.unexpected()),
    }
}

fn facts(words: &mut lexopt::Parser) -> Result<Facts, lexopt::Error> {
    Ok(match words.next()? {
        None => Facts::Inventory,
        Some(Long("flat")) => Facts::Flat,
        Some(Long("record")) => Facts::Recording,
        Some(argument) => return Err(argument.unexpected()),
    })
}

fn unit(words: &mut lexopt::Parser) -> Result<Command, lexopt::Error> {
    Ok(match name(words)?.as_str() {
        "list" => Command::Units,
        "start" => Command::Unit(UnitCommand::Start(name(words)?)),
        "stop" => Command::Unit(UnitCommand::Stop(name(words)?)),
        "restart" => Command::Unit(UnitCommand::Restart(name(words)?)),
        "reload" => Command::Unit(UnitCommand::Reload),
        other => return Err(format!("`unit {other}` is no command").into()),
    })
}

fn name(words: &mut lexopt::Parser) -> Result<String, lexopt::Error> {
    words.value()?.string()
}

fn flag(words: &mut lexopt::Parser, flag: &str) -> Result<bool, lexopt::Error> {
    match words.next()? {
        None => Ok(false),
        Some(Long(given)) if given == flag => Ok(true),
        Some(argument) => Err(argument.unexpected()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Command, String> {
        parse(line.split_whitespace().map(OsString::from)).map_err(|e| e.to_string())
    }

    #[test]
    fn commands() {
        for (line, command) in [
            ("", Command::Help),
            ("--version", Command::Version),
            ("run net", Command::Run("net".to_owned())),
            ("daemon", Command::Daemon { foreground: false }),
            ("daemon --foreground", Command::Daemon { foreground: true }),
            ("facts", Command::Facts(Facts::Inventory)),
            ("facts --flat", Command::Facts(Facts::Flat)),
            ("facts --record", Command::Facts(Facts::Recording)),
            ("doctor", Command::Doctor),
            ("unit list", Command::Units),
            ("unit restart net", Command::Unit(UnitCommand::Restart("net".to_owned()))),
            ("unit reload", Command::Unit(UnitCommand::Reload)),
            ("logs net", Command::Logs("net".to_owned())),
            ("tce load bash", Command::LoadExtension("bash".to_owned())),
            ("reboot", Command::Reboot),
        ] {
            assert_eq!(read(line).as_ref(), Ok(&command), "{line}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for line in [
            "frob",
            "run",
            "run net now",
            "unit",
            "unit kick net",
            "tce",
            "tce load",
            "tce drop x",
            "facts --round",
            "status x",
            "--frob",
        ] {
            assert!(read(line).is_err(), "{line}");
        }
    }
}
