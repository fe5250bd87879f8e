//! What speaks for a machine being a node and what against it: which groups of evidence agree and which differ, and what
//! follows from that. A veto says that it cannot be the node; a rejoin that it is, although every match key has changed.

use crate::identity::evidence::{Evidence, Group, SETS};

/// Groups that are on the main board, beside ports.
const ON_BOARD: [Group; 3] = [Group::Uuid, Group::Board, Group::Tpm];
/// What became of the groups between a node and a machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Comparison {
    /// Groups with the same value, or sets that share at least half of the smaller one.
    pub agree: Vec<Group>,
    /// Groups with another value, or sets that share nothing.
    pub differ: Vec<Group>,
    /// Sets without any difference.
    pub same: Vec<Group>,
    /// Sets that share something, but less than half of the smaller one.
    pub partly: Vec<Group>,
    /// Numbers that agree, but prove nothing: other nodes show them too, or the board that they are on is another one.
    pub copied: Vec<Group>,
    /// Groups that the node has and the machine does not show, or not yet.
    pub unseen: Vec<Group>,
    /// Sets of which something that the node has is not in the machine.
    pub lacking: Vec<Group>,
}

impl Comparison {
    /// Compares what is known of a node with what a machine says. `common` are groups whose number several nodes show.
    #[must_use]
    pub fn of(node: &Evidence, machine: &Evidence, common: &[Group]) -> Self {
        let mut result = Self::default();
        for group in Group::ALL {
            let Some(old) = node.values(group) else { continue };
            let Some(new) = machine.values(group) else {
                result.unseen.push(group);
                continue;
            };
            let shared = old.intersection(new).count();
            if group.is_set() && old == new {
                result.same.push(group);
            }
            if group.is_set() && shared < old.len() {
                result.lacking.push(group);
            }
            if 2 * shared >= old.len().min(new.len()) && shared > 0 {
                result.agree.push(group);
            } else if shared == 0 {
                result.differ.push(group);
            } else {
                result.partly.push(group);
            }
        }
        result.copied = result.agree.iter().copied().filter(|g| common.contains(g)).collect();
        if result.has_another_board() && result.agree.contains(&Group::Uuid) && !result.copied.contains(&Group::Uuid) {
            result.copied.push(Group::Uuid);
        }
        result
    }

    /// True when what is on the board is another one's, ports included.
    fn has_another_board(&self) -> bool {
        let differs = |group| self.differ.contains(&group);
        differs(Group::Nic) && (differs(Group::Board) || differs(Group::Tpm))
    }

    /// True when these groups agree, and not by copied numbers.
    fn proves(&self, groups: &[Group]) -> bool {
        groups.iter().all(|g| self.agree.contains(g) && !self.copied.contains(g))
    }

    /// True when memory or disks are known, and all that the node has of them is there.
    fn has_all_parts(&self) -> bool {
        let parts = [Group::Dimm, Group::Disk];
        parts.iter().any(|g| self.same.contains(g)) && parts.iter().all(|g| self.same.contains(g) || !self.knows(g))
    }

    /// True when the node has a value in this group.
    fn knows(&self, group: &Group) -> bool {
        [&self.agree, &self.differ, &self.partly, &self.unseen].iter().any(|list| list.contains(group))
    }

    /// True when nothing but the board is another one: it stands in the same enclosure by both its numbers, with a network
    /// card of before.
    fn is_but_for_board(&self) -> bool {
        let enclosure = self.proves(&[Group::Serial, Group::Chassis]);
        let card = self.agree.contains(&Group::Nic) || self.partly.contains(&Group::Nic);
        enclosure && card && self.differ.iter().all(|g| ON_BOARD.contains(g))
    }

    /// True when nothing that is known of both is another's.
    #[must_use]
    pub fn is_without_difference(&self) -> bool {
        self.differ.is_empty() && self.partly.is_empty()
    }

    /// True when the machine is the node by its parts, and nothing at all speaks against it.
    #[must_use]
    pub fn is_untouched(&self) -> bool {
        self.differ.is_empty() && self.agree.contains(&Group::Nic) && self.rejoins()
    }

    /// True when these cannot be one machine, unless it was rebuilt around its old parts. `nics_changed`: the sets of
    /// ports are not the same.
    #[must_use]
    pub fn vetoes(&self, nics_changed: bool) -> bool {
        // Vendors who leave the board's number out may have given it a TPM.
        let board = [Group::Board, Group::Tpm].iter().any(|g| self.differ.contains(g));
        let parts = usize::from(board) + [Group::Dimm, Group::Disk].iter().filter(|g| self.differ.contains(g)).count();
        let kept = [Group::Dimm, Group::Disk].iter().any(|g| self.agree.contains(g));
        // Numbers may all be copies of the vendor's; two parts are not replaced at once along with the ports.
        let outweighed = self.differ.len() >= 2 && self.differ.len() > self.agree.len() - self.copied.len();
        // All that is known beside the ports may be one set: memory or disks, of firmware without any number. Then ports prove
        // nothing of which some are gone: others may have come out of it.
        let ports_kept = self.agree.contains(&Group::Nic) && !self.lacking.contains(&Group::Nic);
        let proved = ports_kept || self.agree.iter().any(|g| *g != Group::Nic && !self.copied.contains(g));
        let parts_alone = parts > usize::from(board) && !proved && nics_changed;
        // Less than half of the ports in common, and nothing else: a card of it, or of the other one. Disks that come late may
        // show yet which.
        let all_is_seen = self.unseen.iter().all(|g| !g.is_set());
        let few_ports = nics_changed
            && all_is_seen
            && self.partly == [Group::Nic]
            && self.agree.iter().all(|g| self.copied.contains(g));
        few_ports || (outweighed && !self.is_but_for_board()) || (parts >= 2 && !kept && nics_changed) || parts_alone
    }

    /// True when all that speaks for this node speaks for the other one too, and more speaks against it, not ports alone.
    #[must_use]
    pub fn is_outdone_by(&self, other: &Self) -> bool {
        let within = |few: &[Group], many: &[Group]| few.iter().all(|g| many.contains(g));
        self.differ.iter().any(|g| *g != Group::Nic)
            && within(&self.agree, &other.agree)
            && within(&other.differ, &self.differ)
            && other.differ.len() < self.differ.len()
    }

    /// True when this node has only numbers in common with the machine, and other ports, while all that is known of the other
    /// node is in it, parts and these numbers included: they are copies.
    #[must_use]
    pub fn is_copied_from(&self, other: &Self) -> bool {
        let has_parts =
            |one: &Self| [Group::Dimm, Group::Disk, Group::Tpm].iter().any(|group| one.agree.contains(group));
        self.differ == [Group::Nic]
            && other.differ.is_empty()
            && has_parts(other)
            && !has_parts(self)
            && self.agree.iter().all(|group| other.agree.contains(group))
    }

    /// True when this node has some parts in common with the machine and no number, while the machine is the other node
    /// part for part: what of this one is in it came there before the other one last spoke.
    #[must_use]
    pub fn gave_parts_to(&self, other: &Self) -> bool {
        let sets = |one: &Self, groups: &[Group]| groups.iter().all(|g| !g.is_set() || one.same.contains(g));
        let whole = other.is_without_difference() && other.unseen.is_empty() && sets(other, &other.agree);
        let ports_and_parts = other.same.contains(&Group::Nic) && other.same.len() > 1;
        let lacks_some = self.agree.iter().any(|g| !self.same.contains(g));
        let parts_alone = self.agree.iter().all(|g| g.is_set() && other.same.contains(g));
        whole && ports_and_parts && parts_alone && lacks_some
    }

    /// True when two groups beside the ports agree, and more agree than differ. Of a virtual machine little more than uuid
    /// and ports is known, and of one whose firmware has no number ports and memory or disks: these are enough where nothing
    /// differs.
    #[must_use]
    pub fn is_clear(&self) -> bool {
        let beside_ports = self.agree.iter().filter(|g| **g != Group::Nic).count();
        let ports_and = [Group::Uuid, Group::Dimm, Group::Disk].iter().any(|g| self.agree.contains(g));
        let all_that_is_known = self.differ.is_empty() && self.agree.contains(&Group::Nic) && ports_and;
        (beside_ports >= 2 && self.agree.len() > self.differ.len()) || all_that_is_known
    }

    /// True when the machine is the node with a part replaced: its parts are there, and its enclosure or its numbers say
    /// so too. Copied numbers say so only where memory and disks are all the same: half of them may be in a neighbour.
    #[must_use]
    pub fn rejoins(&self) -> bool {
        let agrees = |group: &Group| self.agree.contains(group);
        let whole = self.has_all_parts();
        let counts = |group: &Group| agrees(group) && (whole || !self.copied.contains(group));
        let sets = self.agree.iter().filter(|g| g.is_set()).count();
        let numbers = self.agree.iter().filter(|g| !g.is_set() && counts(g)).count();
        let enclosure = counts(&Group::Chassis) || counts(&Group::Serial);
        // What is not on a board: nothing of it is another, and memory or disks are one and all the same.
        let some_whole = self.same.iter().any(|g| *g != Group::Nic);
        let beside_board = [Group::Chassis, Group::Dimm, Group::Disk];
        // All that can be taken out is there, and no number is another one: all three sets, or two, one of them with all that was
        // known of it, where the third was never seen.
        let is_kept = |group: &Group| agrees(group) && !self.lacking.contains(group);
        let two_sets = sets == 2 && SETS.iter().any(is_kept) && SETS.iter().all(|g| agrees(g) || !self.knows(g));
        let all_parts = (sets == SETS.len() || two_sets) && self.differ.is_empty();
        let untouched = some_whole && beside_board.iter().all(|g| !self.differ.contains(g));
        let board_replaced = enclosure && (sets >= 2 || untouched);
        // Vendors copy uuid and serial alike, but seldom the board's serial too.
        let enough = sets + numbers >= 3 && numbers >= 1 && (sets >= 1 || agrees(&Group::Board));
        // Uuid and TPM key prove the board, and are all that a virtual machine has beside its ports. Both are copied along with a
        // virtual machine.
        let proven = self.proves(&[Group::Uuid, Group::Tpm]);
        // A board with all the parts that were beside it.
        let same_inside = whole && ON_BOARD.iter().any(|g| self.proves(&[*g]));
        let ports_replaced = (enough || proven || same_inside) && self.differ.iter().all(|g| *g == Group::Nic);
        // Memory or disks alone are others; the rest of what can be replaced is there, or all numbers are, the enclosure's too, or
        // the board is with all ports.
        let board_and_ports = self.proves(&[Group::Uuid, Group::Board]) && self.same.contains(&Group::Nic);
        let all_else = (numbers >= 1 && sets >= 2) || (numbers >= 3 && enclosure && sets >= 1) || board_and_ports;
        let set_replaced = all_else && self.differ.iter().all(|g| g.is_set()) && self.differ.len() <= 1;
        // Firmware without any number, or none any more: one set is another, and the other two are the same.
        let parts_kept = matches!(self.differ.as_slice(), [one] if one.is_set())
            && self.unseen.iter().all(|g| !g.is_set())
            && SETS.iter().all(|g| self.same.contains(g) || self.differ.contains(g));
        parts_kept || board_replaced || ports_replaced || set_replaced || all_parts || self.is_but_for_board()
    }
}

#[cfg(test)]
mod tests {
    use Group::{Board, Chassis, Dimm, Disk, Nic, Serial, Tpm, Uuid};

    use super::*;

    fn evidence(values: &[(Group, &[&str])]) -> Evidence {
        let mut evidence = Evidence::default();
        for (group, list) in values {
            evidence.add(*group, list.iter().map(|v| (*v).to_owned()));
        }
        evidence
    }

    fn compared(agree: &[Group], differ: &[Group]) -> Comparison {
        Comparison { agree: agree.into(), differ: differ.into(), ..Comparison::default() }
    }

    #[test]
    fn sets_agree_by_half_of_the_smaller_and_differ_when_disjoint() {
        let compare = |a: &[&str], b: &[&str]| Comparison::of(&evidence(&[(Disk, a)]), &evidence(&[(Disk, b)]), &[]);
        assert_eq!(compare(&["a", "b", "c", "d"], &["a", "x"]).agree, [Disk]);
        let unknown = compare(&["a", "b", "c"], &["a", "x", "y"]);
        let one_of_three = Comparison { partly: vec![Disk], lacking: vec![Disk], ..Comparison::default() };
        assert_eq!(unknown, one_of_three);
        assert_eq!(compare(&["a"], &["b"]).differ, [Disk]);
        assert_eq!(compare(&[], &["b"]), Comparison::default(), "no disk known yet says nothing");
        let unseen = Comparison { unseen: vec![Disk], ..Comparison::default() };
        assert_eq!(compare(&["a"], &[]), unseen, "nor does one that is not seen yet");
    }

    #[test]
    fn veto_needs_two_groups_and_a_majority() {
        assert!(!compared(&[], &[Uuid]).vetoes(true), "one alone");
        assert!(compared(&[Nic], &[Uuid, Serial]).vetoes(true));
        assert!(!compared(&[Serial, Chassis], &[Uuid, Board]).vetoes(true), "a tie");
        assert!(compared(&[Uuid, Serial, Board, Chassis], &[Dimm, Disk]).vetoes(true), "a clone of all numbers");
        assert!(!compared(&[Uuid, Serial, Board, Chassis], &[Dimm, Disk]).vetoes(false), "the same ports");
        assert!(
            compared(&[Uuid, Serial, Chassis], &[Board, Disk, Nic]).vetoes(true),
            "a neighbour with the same numbers"
        );
        assert!(!compared(&[Serial, Chassis, Disk], &[Uuid, Board, Nic]).vetoes(true), "a new board");
    }

    #[test]
    fn uuid_and_ports_are_clear_only_where_nothing_differs() {
        let (own, donor) = (compared(&[Uuid, Nic], &[]), compared(&[Nic], &[Uuid]));
        assert!(own.is_clear() && donor.is_outdone_by(&own), "a port of another virtual machine");
        let (own, donor) = (compared(&[Disk, Nic], &[]), Comparison { partly: vec![Nic], ..compared(&[], &[Disk]) });
        assert!(own.is_clear() && donor.is_outdone_by(&own), "a port of another machine without any number");
        assert!(donor.vetoes(true), "also where it comes into one that is new");
        assert!(!donor.vetoes(false) && !compared(&[Nic], &[Disk]).vetoes(true), "other disks alone");
        let some_ports = Comparison { lacking: vec![Nic], ..compared(&[Nic], &[Dimm]) };
        assert!(some_ports.vetoes(true), "one with a port of it, and other memory");
        let few = Comparison { partly: vec![Nic], ..Comparison::default() };
        assert!(few.vetoes(true), "a few ports in common, and nothing else is known");
        let late = Comparison { unseen: vec![Disk], ..few.clone() };
        assert!(!late.vetoes(true), "its disks are not seen yet, and may be the node's");
        assert!(Comparison { unseen: vec![Serial], ..few.clone() }.vetoes(true), "a number does not come late");
        assert!(!Comparison { agree: vec![Disk], ..few.clone() }.vetoes(true) && !compared(&[Nic], &[]).vetoes(true));
        assert!(Comparison { agree: vec![Serial], copied: vec![Serial], ..few }.vetoes(true), "and a number of all");
        assert!(!compared(&[Uuid, Nic], &[Serial]).is_clear());
        assert!(!compared(&[Nic], &[]).is_clear());
    }

    #[test]
    fn ports_alone_count_against_a_copied_number_where_parts_show_the_other_node() {
        let copy = compared(&[Uuid], &[Nic]);
        let whole = compared(&[Uuid, Tpm, Disk, Nic], &[]);
        assert!(copy.is_copied_from(&whole), "all of the other node is in the machine");
        assert!(!copy.is_copied_from(&compared(&[Uuid, Serial, Nic], &[])), "it may be this one with the other's port");
        assert!(!copy.is_copied_from(&compared(&[Uuid, Disk, Nic], &[Serial])), "the other one's disks may be in it");
        assert!(!compared(&[Uuid, Disk], &[Nic]).is_copied_from(&compared(&[Uuid, Disk, Nic], &[])), "parts of both");
    }

    #[test]
    fn what_is_one_node_part_for_part_is_not_another_that_shares_some() {
        let ports = ["p", "card", "late"];
        let known = |disks: &[&str], ports: &[&str]| evidence(&[(Disk, disks), (Nic, ports)]);
        let machine = known(&["a", "b"], &ports);
        let all = Comparison::of(&machine, &machine, &[]);
        let donor = Comparison::of(&known(&["b", "c"], &["card", "q"]), &machine, &[]);
        assert_eq!((donor.agree.as_slice(), donor.differ.len()), ([Disk, Nic].as_slice(), 0), "half of each");
        assert!(donor.gave_parts_to(&all) && !all.gave_parts_to(&donor));
        assert!(!all.gave_parts_to(&all), "two nodes that it is alike");
        let fewer = Comparison::of(&known(&["a"], &ports), &machine, &[]);
        assert!(!donor.gave_parts_to(&fewer), "a disk came since, which may be the donor's");
        let more = Comparison::of(&known(&["a", "b"], &["p", "card", "late", "gone"]), &machine, &[]);
        assert!(!donor.gave_parts_to(&more), "a port is gone");
        let alone = Comparison::of(&known(&[], &ports), &machine, &[]);
        assert!(!donor.gave_parts_to(&alone), "its ports alone are known");
        let numbered = Comparison { agree: vec![Serial, Disk, Nic], ..donor };
        assert!(!numbered.gave_parts_to(&all), "a number of its own");
    }

    #[test]
    fn rejoin_needs_parts_and_numbers() {
        assert!(compared(&[Chassis, Dimm, Disk], &[Uuid, Serial, Board, Tpm, Nic]).rejoins(), "board replaced");
        assert!(!compared(&[Dimm, Disk], &[Uuid, Serial, Board, Nic]).rejoins(), "parts went to another machine");
        assert!(compared(&[Uuid, Board, Dimm], &[Nic]).rejoins(), "the only port replaced");
        let diskless = compared(&[Serial, Dimm], &[Uuid, Board, Nic]);
        assert!(!diskless.rejoins(), "half of its memory may be in a neighbour that shows the same serial number");
        assert!(Comparison { same: vec![Dimm], ..diskless.clone() }.rejoins(), "all of its memory");
        let other_disks = compared(&[Serial, Dimm], &[Uuid, Board, Nic, Disk]);
        assert!(!Comparison { same: vec![Dimm], ..other_disks }.rejoins(), "but other disks");
        assert!(!compared(&[Uuid, Serial], &[Nic]).rejoins(), "cloned numbers alone");
        let inside = Comparison { same: vec![Disk], ..compared(&[Uuid, Disk], &[Nic]) };
        assert!(inside.rejoins(), "the only port of a machine replaced, whose memory shows no numbers");
        assert!(!Comparison { same: vec![], ..inside.clone() }.rejoins(), "half of its disks");
        assert!(!Comparison { copied: vec![Uuid], ..inside }.rejoins(), "and the uuid of all");
        let blanked = Comparison { same: vec![Disk, Nic], unseen: vec![Serial], ..compared(&[Disk, Nic], &[]) };
        assert!(blanked.rejoins(), "its only number was blanked");
        assert!(!Comparison { unseen: vec![Dimm], ..blanked.clone() }.rejoins(), "memory was known and is not seen");
        assert!(Comparison { same: vec![Disk], ..blanked.clone() }.rejoins(), "and a port was added");
        assert!(Comparison { same: vec![Nic], ..blanked.clone() }.rejoins(), "or half of its disks replaced");
        let some = Comparison { same: vec![], lacking: vec![Disk, Nic], ..blanked };
        assert!(!some.rejoins(), "some of each");
        let all_ports = Comparison { lacking: vec![Disk], ..some };
        assert!(all_ports.rejoins(), "some of its disks, all of its ports, and one more");
        let board_chassis = compared(&[Uuid, Board, Chassis, Nic], &[Disk]);
        assert!(board_chassis.rejoins(), "the only disk replaced, in its chassis");
        assert!(compared(&[Uuid, Board, Dimm, Nic], &[Disk]).rejoins(), "the only disk replaced");
        let board = compared(&[Uuid, Board, Nic], &[Disk]);
        assert!(!board.rejoins(), "a board with half of its ports in another machine");
        assert!(Comparison { same: vec![Nic], ..board }.rejoins(), "with all of them, whatever it stands in");
        let twin = Comparison { copied: vec![Serial], ..compared(&[Serial, Dimm, Disk], &[Uuid, Board, Nic]) };
        assert!(!twin.rejoins(), "half of its memory and disks in a machine that shows the serial number of all");
        let late = Comparison { same: vec![Dimm], unseen: vec![Disk], agree: vec![Serial, Dimm], ..twin.clone() };
        assert!(!late.rejoins(), "all of its memory, and its disks are not seen yet");
        assert!(Comparison { same: vec![Dimm, Disk], ..twin }.rejoins(), "all of its memory and disks");
        let cloned = Comparison { copied: vec![Uuid, Serial], ..compared(&[Uuid, Serial, Dimm], &[Nic]) };
        assert!(!cloned.rejoins(), "one of its modules in a machine of its model");
        assert!(compared(&[Uuid, Tpm], &[Nic]).rejoins(), "a virtual machine's only port replaced");
        let copied = Comparison { copied: vec![Uuid, Tpm], ..compared(&[Uuid, Tpm], &[Nic]) };
        assert!(!copied.rejoins(), "copied along with the machine");
        assert!(!compared(&[Uuid, Tpm], &[Nic, Dimm]).rejoins(), "the board is in another machine now");
        assert!(compared(&[Uuid, Serial, Board], &[Nic]).rejoins(), "the board itself");
        let bare = Comparison { same: vec![Dimm, Disk], ..compared(&[Dimm, Disk], &[Nic]) };
        assert!(bare.rejoins(), "the only port of a machine without any number");
        assert!(!compared(&[Dimm, Disk], &[Nic]).rejoins(), "half of its parts");
        let disk = Comparison { same: vec![Dimm, Nic], ..compared(&[Dimm, Nic], &[Disk]) };
        assert!(disk.rejoins(), "its only disk");
        assert!(Comparison { unseen: vec![Serial], ..bare }.rejoins(), "its number is gone too");
        assert!(!compared(&[Uuid, Serial, Dimm], &[Nic, Disk]).rejoins(), "more than the ports differs");
    }

    #[test]
    fn a_number_that_several_nodes_show_proves_nothing() {
        let node = evidence(&[(Uuid, &["clone"]), (Serial, &["1"]), (Board, &["1"]), (Nic, &["a", "b"])]);
        let neighbour = evidence(&[(Uuid, &["clone"]), (Serial, &["2"]), (Board, &["2"]), (Nic, &["b", "c"])]);
        assert!(!Comparison::of(&node, &neighbour, &[]).vetoes(true), "a tie as far as is known");
        assert!(Comparison::of(&node, &neighbour, &[Uuid]).vetoes(true), "a card of it in a machine of its model");
    }

    #[test]
    fn a_uuid_on_another_board_is_a_copy() {
        let node = evidence(&[
            (Uuid, &["u"]),
            (Serial, &["s"]),
            (Chassis, &["c"]),
            (Tpm, &["1"]),
            (Board, &["1"]),
            (Nic, &["a"]),
        ]);
        let neighbour = evidence(&[
            (Uuid, &["u"]),
            (Serial, &["s"]),
            (Chassis, &["c"]),
            (Tpm, &["2"]),
            (Board, &["2"]),
            (Nic, &["b"]),
        ]);
        let found = Comparison::of(&node, &neighbour, &[]);
        assert_eq!(found.copied, [Uuid]);
        assert!(found.vetoes(true), "machines of one chassis with the numbers of the chassis");
    }

    #[test]
    fn another_tpm_is_another_board() {
        assert!(compared(&[Uuid, Serial, Chassis], &[Tpm, Dimm, Nic]).vetoes(true), "a clone of all numbers");
        assert!(!compared(&[Uuid, Serial, Chassis], &[Tpm, Nic]).vetoes(true), "only its board is another one");
    }

    #[test]
    fn a_machine_without_numbered_parts_keeps_its_node_with_another_board() {
        let swapped = Comparison { partly: vec![Nic], ..compared(&[Serial, Chassis], &[Uuid, Board, Tpm]) };
        assert!(swapped.rejoins() && !swapped.vetoes(true), "a card and both numbers of the enclosure are there");
        let copied = Comparison { copied: vec![Serial], ..swapped.clone() };
        assert!(!copied.rejoins() && copied.vetoes(true), "but not where other nodes show its serial number too");
        let cardless = Comparison { partly: Vec::new(), ..swapped };
        assert!(!cardless.rejoins() && cardless.vetoes(true), "nor without a card of before");
    }

    #[test]
    fn nothing_speaks_against_an_untouched_machine() {
        assert!(compared(&[Dimm, Disk, Nic], &[]).is_untouched(), "firmware without any number");
        assert!(!compared(&[Dimm, Disk, Nic], &[Chassis]).rejoins(), "its parts in another enclosure");
        assert!(!compared(&[Chassis, Dimm, Disk], &[]).is_untouched(), "its ports are unknown");
    }
}
