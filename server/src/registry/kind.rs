//! The kinds of commands to nodes, and what may be done with each. Pure.

use wire::command;

/// What a node is told to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Boot anew.
    Reboot,
    /// Switch off.
    Poweroff,
    /// Take stock again.
    Refresh,
    /// Walk the way to this server.
    Doctor,
    /// Send logs and state.
    CollectLogs,
    /// Have a light blink.
    Identify,
    /// Load an extension.
    LoadExtension,
}

impl Kind {
    const ALL: [Self; 7] = [
        Self::Reboot,
        Self::Poweroff,
        Self::Refresh,
        Self::Doctor,
        Self::CollectLogs,
        Self::Identify,
        Self::LoadExtension,
    ];

    /// How it is written on the wire and in the database.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Reboot => command::REBOOT,
            Self::Poweroff => command::POWEROFF,
            Self::Refresh => command::REFRESH,
            Self::Doctor => command::DOCTOR,
            Self::CollectLogs => command::COLLECT_LOGS,
            Self::Identify => command::IDENTIFY,
            Self::LoadExtension => command::LOAD_EXTENSION,
        }
    }

    /// The kind that is written so.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.word() == word)
    }

    /// What a node is told.
    #[must_use]
    pub fn verb(self) -> &'static str {
        match self {
            Self::Reboot => "to reboot",
            Self::Poweroff => "to switch off",
            Self::Refresh => "to take stock again",
            Self::Doctor => "to examine its way to this server",
            Self::CollectLogs => "to send its logs and state",
            Self::Identify => "to have a light blink",
            Self::LoadExtension => "to load an extension",
        }
    }

    /// It ends the boot: it is obeyed once it is acknowledged, and must not reach the boot after it.
    #[must_use]
    pub fn is_power(self) -> bool {
        matches!(self, Self::Reboot | Self::Poweroff)
    }

    /// It must not reach another boot than the one that was told it: nobody knows what came of it there, and what ended that
    /// boot may have been the command.
    #[must_use]
    pub fn is_for_one_boot(self) -> bool {
        self.is_power() || self == Self::LoadExtension
    }

    /// It says something of the machine and changes nothing, so that one whose identity is disputed may be told it: that
    /// is how one finds out.
    #[must_use]
    pub fn is_for_held(self) -> bool {
        matches!(self, Self::Refresh | Self::Doctor | Self::CollectLogs)
    }

    /// Whether it takes the place of a waiting one of that kind.
    #[must_use]
    pub fn replaces(self, other: Self) -> bool {
        self == other || (self.is_power() && other.is_power())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_read_as_it_is_written() {
        for kind in Kind::ALL {
            assert_eq!(Kind::of_word(kind.word()), Some(kind));
        }
        assert_eq!(Kind::of_word("dance"), None);
    }

    #[test]
    fn a_machine_in_dispute_is_only_asked() {
        let told: Vec<&str> = Kind::ALL.into_iter().filter(|k| k.is_for_held()).map(Kind::word).collect();
        assert_eq!(told, ["refresh", "doctor", "collect-logs"]);
    }

    #[test]
    fn of_reboot_and_power_off_the_later_counts() {
        assert!(Kind::Reboot.replaces(Kind::Poweroff) && Kind::Poweroff.replaces(Kind::Reboot));
        assert!(Kind::Doctor.replaces(Kind::Doctor) && !Kind::Doctor.replaces(Kind::Reboot));
        assert!(!Kind::Reboot.replaces(Kind::CollectLogs));
    }
}
