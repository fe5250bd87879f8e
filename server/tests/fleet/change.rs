//! What happens to machines between two boots.

use crate::hardware::{Factory, Hardware, Port};
use crate::random::Random;

/// One change to a fleet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Change {
    Reboot,
    NicReplaced,
    NicMovedBetweenKnown,
    NicMovedToNew,
    NicMovedFromNew,
    BoardSwappedSerialKept,
    BoardSwappedChassisKept,
    DimmSwapped,
    DimmMoved,
    DiskSwapped,
    DiskMoved,
    BmcSwapped,
    SerialBlanked,
    UuidBlanked,
    BoardBlanked,
    DongleMoved,
    NewMachines,
    VirtualInterfaces,
    LostReplies,
    MovedToAnotherHost,
}

/// All of them, with how often each is drawn.
pub(crate) const CHANGES: [(Change, usize); 20] = [
    (Change::Reboot, 4),
    (Change::NicReplaced, 8),
    (Change::NicMovedBetweenKnown, 8),
    (Change::NicMovedToNew, 6),
    (Change::NicMovedFromNew, 6),
    (Change::BoardSwappedSerialKept, 8),
    (Change::BoardSwappedChassisKept, 8),
    (Change::DimmSwapped, 5),
    (Change::DimmMoved, 5),
    (Change::DiskSwapped, 5),
    (Change::DiskMoved, 5),
    (Change::BmcSwapped, 3),
    (Change::SerialBlanked, 5),
    (Change::UuidBlanked, 5),
    (Change::BoardBlanked, 3),
    (Change::DongleMoved, 6),
    (Change::NewMachines, 5),
    (Change::VirtualInterfaces, 3),
    (Change::LostReplies, 3),
    (Change::MovedToAnotherHost, 20),
];

impl Change {
    /// Draws one.
    pub(crate) fn any(random: &mut Random) -> Self {
        let mut left = random.below(CHANGES.iter().map(|(_, weight)| weight).sum());
        for (change, weight) in CHANGES {
            if left < weight {
                return change;
            }
            left -= weight;
        }
        unreachable!("the weights add up")
    }

    /// Machines that are new with it.
    pub(crate) fn new_machines(self) -> usize {
        match self {
            Self::NicMovedToNew | Self::NicMovedFromNew | Self::VirtualInterfaces => 1,
            Self::NewMachines => 2,
            _ => 0,
        }
    }

    /// Known machines that it touches.
    pub(crate) fn known_machines(self) -> usize {
        match self {
            Self::NicMovedBetweenKnown | Self::DimmMoved | Self::DiskMoved | Self::DongleMoved => 2,
            Self::NewMachines | Self::VirtualInterfaces => 0,
            _ => 1,
        }
    }

    /// Virtual machines have no parts but ports, no board that could be replaced, and a uuid always.
    fn happens_to_virtual_ones(self) -> bool {
        let never = [
            Self::BoardSwappedSerialKept,
            Self::BoardSwappedChassisKept,
            Self::DimmSwapped,
            Self::DimmMoved,
            Self::DiskSwapped,
            Self::DiskMoved,
            Self::BmcSwapped,
            Self::NicMovedFromNew,
            Self::UuidBlanked,
        ];
        !never.contains(&self)
    }

    /// Carries it out; `parts` are the machines that it touches, known ones first. False when they lack the part.
    pub(crate) fn apply(self, parts: &mut [&mut Hardware], random: &mut Random, factory: &mut Factory) -> bool {
        let virtual_ones = parts.iter().filter(|it| it.virtual_one).count();
        if virtual_ones > 0 && !self.happens_to_virtual_ones() {
            return false;
        }
        match (self, parts) {
            (Self::MovedToAnotherHost, [it]) if virtual_ones > 0 => {
                it.chassis = factory.number("CHS");
                it.serial = format!("S{}", it.chassis);
            }
            (Self::NicReplaced, [it]) => {
                let at = random.below(it.ports.len());
                it.ports[at] = Port { mac: factory.mac(), onboard: it.ports[at].onboard };
            }
            (Self::NicMovedBetweenKnown | Self::NicMovedToNew, [from, to]) => return move_nic(from, to),
            (Self::NicMovedFromNew, [known, new]) => {
                new.ports.push(factory.port(false));
                return move_nic(new, known);
            }
            (Self::BoardSwappedSerialKept, [it]) if it.shows_serial() => swap_board(it, factory),
            (Self::BoardSwappedChassisKept, [it]) if it.shows_chassis() => {
                swap_board(it, factory);
                it.serial =
                    if random.percent(50) { "To be filled by O.E.M.".to_owned() } else { factory.number("SYS") };
            }
            (Self::DimmSwapped, [it]) => {
                let at = random.below(it.dimms.len());
                let new = factory.number("DIMM");
                return replace(&mut it.dimms, at, new, "00000000");
            }
            (Self::DiskSwapped, [it]) if !it.disks.is_empty() => {
                let at = random.below(it.disks.len());
                it.disks[at] = factory.number("DISK");
            }
            (Self::DimmMoved, [from, to]) => return from.dimms.len() > 1 && move_part(&mut from.dimms, &mut to.dimms),
            (Self::DiskMoved, [from, to]) => return from.disks.len() > 1 && move_part(&mut from.disks, &mut to.disks),
            (Self::BmcSwapped, [it]) => it.bmc = factory.mac(),
            (Self::SerialBlanked, [it]) => it.serial = (*random.pick(&["", "None", "System Serial Number"])).to_owned(),
            (Self::UuidBlanked, [it]) => it.uuid = "00000000-0000-0000-0000-000000000000".to_owned(),
            (Self::BoardBlanked, [it]) => it.board = "Base Board Serial Number".to_owned(),
            (Self::DongleMoved, [from, to]) => {
                to.dongle = Some(from.dongle.take().unwrap_or_else(|| factory.mac()));
            }
            (Self::Reboot | Self::LostReplies | Self::NewMachines | Self::VirtualInterfaces, _) => {}
            _ => return false,
        }
        true
    }
}

/// The board with all that is soldered to it: uuid, board serial, TPM, ports.
fn swap_board(it: &mut Hardware, factory: &mut Factory) {
    it.uuid = factory.uuid();
    it.board = factory.number("BRD");
    it.tpm = it.tpm.as_ref().map(|_| factory.number("ek"));
    for port in it.ports.iter_mut().filter(|p| p.onboard) {
        port.mac = factory.mac();
    }
    it.bmc = factory.mac();
}

fn move_nic(from: &mut Hardware, to: &mut Hardware) -> bool {
    let card = from.ports.iter().rposition(|p| !p.onboard).filter(|_| from.ports.len() > 1);
    let Some(at) = card else { return false };
    to.ports.push(from.ports.remove(at));
    true
}

fn move_part(from: &mut Vec<String>, to: &mut Vec<String>) -> bool {
    let part = from.remove(0);
    // It takes a slot where there was another part.
    to.pop();
    to.push(part);
    true
}

fn replace(list: &mut [String], at: usize, new: String, blank: &str) -> bool {
    let has_numbers = list[at] != blank;
    if has_numbers {
        list[at] = new;
    }
    has_numbers
}
