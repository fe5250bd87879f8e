//! Each row of the table with the least that leads to it.

use proptest::prelude::{Strategy, any};
use proptest::prop_assert;

use super::*;

fn key(kind: &str, value: &str) -> Key {
    Key { kind: kind.into(), value: value.into() }
}

/// A node that shares a serial number and of which nothing else is known.
fn candidate(id: i64, registered: bool) -> Candidate {
    Candidate {
        id,
        registered,
        held: false,
        silence_ms: None,
        alive_ms: 3 * MINUTE,
        link: Link::Holds,
        shared: vec![key("serial", "s")],
        lost: Vec::new(),
        evidence: Evidence::default(),
        reopened: false,
        ruled_out: false,
        told_apart: Vec::new(),
    }
}

fn evidence(values: &[(Group, &str)]) -> Evidence {
    let mut evidence = Evidence::default();
    for (group, value) in values {
        evidence.add(*group, [(*value).to_owned()]);
    }
    evidence
}

/// What the machine under test reports.
fn machine() -> Evidence {
    let values = Group::ALL.map(|group| (group, "mine"));
    evidence(&values)
}

/// Evidence that is the machine's in these groups and another one's in all others.
fn same_in(groups: &[Group]) -> Evidence {
    let values = Group::ALL.map(|group| (group, if groups.contains(&group) { "mine" } else { "other" }));
    evidence(&values)
}

fn other_machine(id: i64) -> Candidate {
    Candidate { evidence: same_in(&[]), ..candidate(id, true) }
}

fn own(id: i64, registered: bool) -> Option<Own> {
    Some(Own { id, registered, held: false, proven: false, newborn: false, shares: false, heard_ms: None })
}

fn node(id: i64, merge: &[i64], conflict: &[i64]) -> Verdict {
    Verdict::Node { id, merge: merge.to_vec(), conflict: conflict.to_vec(), held: false }
}

const MINUTE: i64 = 60_000;

fn at(uptime_ms: i64, own: Option<Own>, candidates: &[Candidate]) -> (u8, Verdict) {
    let machine = machine();
    let arrival = Arrival { own, evidence: &machine, uptime_ms: Some(uptime_ms), candidates, common: &[] };
    let decision = checkin(&arrival);
    (decision.row, decision.verdict)
}

fn after(own: Option<Own>, candidates: &[Candidate]) -> (u8, Verdict) {
    at(10_000, own, candidates)
}

fn created(conflict: &[i64]) -> Verdict {
    Verdict::Create { conflict: conflict.to_vec() }
}

#[test]
fn rows_2_3_and_5_boot() {
    assert_eq!(boot(&[], &machine()).verdict, created(&[]));
    let one = boot(&[candidate(4, true)], &machine());
    assert_eq!((one.row, one.verdict), (3, node(4, &[], &[])));
    assert_eq!((one.evidence[0].node, one.evidence[0].keys.as_slice()), (4, ["serial=s".to_owned()].as_slice()));
    let two = boot(&[candidate(4, true), candidate(5, false)], &machine());
    assert_eq!((two.row, two.verdict), (5, Verdict::Ambiguous { nodes: vec![4, 5], held_as: None }));
}

#[test]
fn row_3_leaves_out_vetoed_nodes_and_prefers_those_that_have_the_key_now() {
    assert_eq!(boot(&[candidate(4, true), other_machine(5)], &machine()).verdict, node(4, &[], &[]));
    let had = Candidate { link: Link::Had, ..candidate(3, true) };
    assert_eq!(boot(&[had.clone(), candidate(4, true)], &machine()).verdict, node(4, &[], &[]));
    assert_eq!(boot(&[had, other_machine(5)], &machine()).verdict, node(3, &[], &[]), "none has it now");
}

#[test]
fn another_uuid_and_other_ports_are_another_virtual_machine() {
    let machine = |uuid: &str, ports: &[&str]| {
        let mut known = evidence(&[(Group::Uuid, uuid)]);
        known.add(Group::Nic, ports.iter().map(|p| (*p).to_owned()));
        known
    };
    let donor = [Candidate { evidence: machine("a", &["1", "2"]), ..candidate(4, true) }];
    assert_eq!(boot(&donor, &machine("b", &["2", "3"])).row, 4, "it has a port of node4");
    assert_eq!(boot(&donor, &machine("b", &["1", "2"])).row, 3, "its uuid was made anew");
    assert_eq!(boot(&donor, &machine("a", &["2", "3"])).row, 3, "a port was replaced");
}

#[test]
fn row_3_takes_the_node_that_reported_all_that_the_others_share() {
    let both = Candidate { shared: vec![key("mac", "a"), key("mac", "b")], ..candidate(5, true) };
    let donor = Candidate { shared: vec![key("mac", "b")], ..candidate(4, true) };
    assert_eq!(boot(&[donor.clone(), both.clone()], &machine()).verdict, node(5, &[], &[]));
    let lost = Candidate { lost: vec![key("mac", "b")], ..both.clone() };
    assert_eq!(boot(&[donor.clone(), lost], &machine()).row, 5, "the port moved on to the other one");
    let unreported = Candidate { registered: false, ..both.clone() };
    assert_eq!(boot(&[donor, unreported], &machine()).row, 5, "only a boot said so");
    assert_eq!(boot(&[both.clone(), Candidate { id: 6, ..both }], &machine()).row, 5, "the same keys");
}

#[test]
fn a_number_of_a_whole_delivery_makes_no_decision_of_thousands() {
    let mut crowd: Vec<Candidate> = (1..=5000).map(other_machine).collect();
    let refused = boot(&crowd, &machine());
    assert_eq!((refused.row, refused.evidence.len(), refused.others().len()), (4, MAX_NAMED, MAX_NAMED));
    crowd[4000] = Candidate { evidence: machine(), ..candidate(4001, true) };
    let found = boot(&crowd, &machine());
    assert_eq!(found.verdict, node(4001, &[], &[]));
    assert!(found.evidence.iter().any(|w| w.node == 4001) && found.evidence.len() == MAX_NAMED);
}

#[test]
fn row_4_a_boot_that_none_of_the_key_holders_can_be() {
    let got = boot(&[other_machine(5)], &machine());
    assert_eq!((got.row, got.verdict), (4, created(&[5])));
    assert!(got.evidence[0].vetoed);
}

#[test]
fn a_common_fact_of_the_sites_own_outweighs_all() {
    let tagged = Candidate { shared: vec![key("fact_asset", "7")], ..other_machine(5) };
    assert_eq!(boot(&[tagged], &machine()).row, 3);
}

#[test]
fn an_operators_word_counts_as_a_veto() {
    let told = Candidate { ruled_out: true, ..candidate(5, true) };
    assert_eq!(after(None, &[told]), (9, created(&[])));
}

#[test]
fn row_6_none_registered_keeps_the_lowest_id() {
    assert_eq!(after(own(3, false), &[candidate(2, false), candidate(3, false)]), (6, node(2, &[3], &[])));
}

#[test]
fn row_6_one_registered_survives() {
    let three = [candidate(2, false), candidate(3, true), candidate(4, false)];
    assert_eq!(after(own(2, false), &three), (6, node(3, &[2, 4], &[])));
}

#[test]
fn row_6_two_registered_merge_nothing() {
    let three = [candidate(2, true), candidate(3, true), candidate(4, false)];
    assert_eq!(after(own(4, false), &three), (6, Verdict::Ambiguous { nodes: vec![2, 3], held_as: Some(4) }));
}

#[test]
fn row_6_takes_in_a_node_that_this_boot_made_by_a_port_that_proves_nothing() {
    let made = Candidate { link: Link::Hint, shared: Vec::new(), ..candidate(9, false) };
    let by_dongle = Own { shares: true, ..own(9, false).unwrap() };
    assert_eq!(after(Some(by_dongle), &[candidate(2, true), made.clone()]), (6, node(2, &[9], &[])));
    assert_eq!(after(own(9, false), &[candidate(2, true), made]), (6, node(2, &[], &[])), "nothing in common");
}

#[test]
fn a_donor_of_which_little_is_known_gives_way_to_the_machine_itself() {
    let mut little = evidence(&[(Group::Nic, "mine"), (Group::Uuid, "other")]);
    let donor = Candidate { evidence: little.clone(), ..candidate(2, true) };
    let clear = Candidate { evidence: machine(), ..candidate(3, true) };
    assert_eq!(after(None, &[donor.clone(), clear.clone()]), (6, node(3, &[], &[])));
    assert_eq!(after(None, std::slice::from_ref(&donor)), (6, node(2, &[], &[])), "alone it may be the machine");
    little.add(Group::Disk, ["mine".to_owned()]);
    let gave_more = Candidate { evidence: little.clone(), ..candidate(2, true) };
    assert_eq!(after(None, &[gave_more, clear]).1, node(3, &[], &[]), "a disk as well");
    little.add(Group::Serial, ["mine".to_owned()]);
    let rival = Candidate { evidence: little, ..candidate(2, true) };
    let renumbered = same_in(&[Group::Uuid, Group::Dimm, Group::Nic, Group::Disk, Group::Board]);
    let both = [rival, Candidate { evidence: renumbered, ..candidate(3, true) }];
    assert_eq!(after(None, &both).1, Verdict::Ambiguous { nodes: vec![2, 3], held_as: None }, "a number of its own");
}

#[test]
fn a_donor_of_parts_gives_way_to_the_node_that_the_machine_is_part_for_part() {
    let known = |ports: &[&str], disks: &[&str]| {
        let mut known = Evidence::default();
        known.add(Group::Nic, ports.iter().map(|p| (*p).to_owned()));
        known.add(Group::Disk, disks.iter().map(|d| (*d).to_owned()));
        known
    };
    let machine = known(&["p", "card"], &["a", "b"]);
    let donor = Candidate { evidence: known(&["card", "q"], &["b", "c"]), ..candidate(2, true) };
    let whole = Candidate { evidence: machine.clone(), ..candidate(3, true) };
    let decided = |own, candidates: &[Candidate]| {
        checkin(&Arrival { own, evidence: &machine, uptime_ms: Some(10_000), candidates, common: &[] }).verdict
    };
    let ambiguous = |nodes: &[i64], held_as| Verdict::Ambiguous { nodes: nodes.to_vec(), held_as };
    assert_eq!(decided(None, &[donor.clone(), whole.clone()]), node(3, &[], &[]));
    let twin = Candidate { id: 4, ..whole.clone() };
    assert_eq!(decided(None, &[donor.clone(), whole.clone(), twin]), ambiguous(&[3, 4], None));
    let held = Candidate { held: true, ..whole.clone() };
    assert_eq!(decided(None, &[donor.clone(), held]), node(2, &[], &[]), "what is disputed proves nothing");
    let newborn = Own { newborn: true, proven: true, ..own(3, true).unwrap() };
    let seemed = Candidate { silence_ms: Some(1_000), ..donor.clone() };
    assert_eq!(decided(Some(newborn), &[donor, whole.clone()]), node(2, &[3], &[]), "it knows itself alone");
    assert_eq!(decided(Some(newborn), &[seemed, whole]), node(3, &[], &[2]), "but for one that is elsewhere");
}

#[test]
fn a_held_machine_stays_the_same_node() {
    let held = Candidate { held: true, ..candidate(9, true) };
    let got = after(None, &[candidate(2, true), candidate(3, true), held]);
    assert_eq!(got.1, Verdict::Ambiguous { nodes: vec![2, 3], held_as: Some(9) });
}

#[test]
fn a_held_machine_stays_the_same_node_when_its_rival_is_gone() {
    let held = Candidate { held: true, silence_ms: Some(MINUTE), ..candidate(9, true) };
    assert_eq!(after(None, std::slice::from_ref(&held)), (6, node(9, &[], &[])), "from a medium, without an id");
    assert_eq!(after(own(10, false), &[held.clone(), candidate(10, false)]), (6, node(9, &[10], &[])));
    let speaking = Candidate { silence_ms: Some(1), ..held.clone() };
    assert_eq!(after(None, &[speaking]), (9, created(&[])), "that is another machine");
    let twin = Candidate { id: 11, ..held.clone() };
    assert_eq!(after(None, &[held, twin]), (9, created(&[])), "nothing tells which");
}

#[test]
fn row_9_a_machine_that_an_operator_told_from_its_copy_is_the_node_that_is_silent() {
    let one = |id, other, silence_ms| Candidate {
        told_apart: vec![other],
        silence_ms: Some(silence_ms),
        ..candidate(id, true)
    };
    let both = |first, second| [one(2, 3, first), one(3, 2, second)];
    let ambiguous = |held_as| Verdict::Ambiguous { nodes: vec![2, 3], held_as };
    assert_eq!(after(None, &both(MINUTE, 5_000)), (9, node(2, &[], &[])), "node3 spoke while this machine was up");
    assert_eq!(after(None, &both(5_000, MINUTE)), (9, node(3, &[], &[])));
    assert_eq!(after(None, &both(MINUTE, MINUTE)), (6, ambiguous(None)), "neither has spoken yet");
    assert_eq!(after(None, &both(5_000, 5_000)), (6, ambiguous(None)), "both speak, so it is a third");
    let held = Own { held: true, proven: true, ..own(9, true).unwrap() };
    let [first, second] = both(2 * MINUTE, 5_000);
    let own_node = Candidate { held: true, ..candidate(9, true) };
    let three = [first.clone(), second.clone(), own_node];
    assert_eq!(after(Some(held), &three), (9, node(2, &[9], &[])), "held until the other one spoke");
    let nobody_said_so = [Candidate { told_apart: Vec::new(), ..first }, second];
    assert_eq!(after(None, &nobody_said_so), (6, ambiguous(None)));
}

#[test]
fn row_7_own_registered_stays_and_names_the_conflict() {
    let three = [candidate(2, true), candidate(3, true), candidate(4, false)];
    assert_eq!(after(own(3, true), &three), (7, node(3, &[4], &[2])));
}

#[test]
fn row_7_a_node_of_this_boot_gives_way_to_the_one_it_was_all_along() {
    let newborn = Own { newborn: true, proven: true, ..own(3, true).unwrap() };
    let rebuilt = Candidate {
        link: Link::Hint,
        shared: Vec::new(),
        evidence: same_in(&[Group::Chassis, Group::Dimm, Group::Disk]),
        ..candidate(2, true)
    };
    let both = [rebuilt.clone(), candidate(3, true)];
    assert_eq!(after(Some(newborn), &both), (9, node(2, &[3], &[])));
    let held = Some(Own { held: true, ..newborn });
    let with_key = [
        Candidate {
            link: Link::Holds,
            evidence: same_in(&[Group::Chassis, Group::Dimm, Group::Disk, Group::Serial, Group::Nic]),
            ..rebuilt.clone()
        },
        candidate(3, true),
    ];
    assert_eq!(after(held, &with_key), (9, node(2, &[3], &[])), "and was held for too little");
    assert_eq!(after(Some(Own { newborn: false, ..newborn }), &both), (7, node(3, &[], &[])), "long known");
    let speaking = Candidate { silence_ms: Some(0), ..rebuilt };
    assert_eq!(after(Some(newborn), &[speaking, candidate(3, true)]).0, 7, "it is elsewhere");
}

#[test]
fn row_8_a_vetoed_own_node_is_left_alone() {
    assert_eq!(after(own(2, true), &[other_machine(2), candidate(3, true)]), (8, node(3, &[], &[])));
    let proven = Own { proven: true, ..own(2, true).unwrap() };
    assert_eq!(after(Some(proven), &[other_machine(2)]), (7, node(2, &[], &[])), "its own boot is proof");
}

#[test]
fn row_8_parts_that_come_late_take_back_what_the_first_report_seemed_to_be() {
    let proven = Some(Own { proven: true, ..own(2, true).unwrap() });
    let before = |evidence| Candidate { reopened: true, evidence, ..candidate(2, true) };
    assert_eq!(after(proven, &[before(same_in(&[]))]), (8, created(&[])), "its disks are not that node's");
    assert_eq!(after(proven, &[before(machine())]), (7, node(2, &[], &[])));
    let rebuilt = same_in(&[Group::Chassis, Group::Dimm, Group::Disk]);
    assert_eq!(after(proven, &[before(rebuilt)]), (7, node(2, &[], &[])), "with another board");
}

#[test]
fn an_id_without_a_shared_key_proves_nothing() {
    assert_eq!(after(own(7, true), &[]).1, created(&[]));
    assert_eq!(after(own(7, true), &[candidate(2, true)]).1, node(2, &[], &[]));
    let proven = Own { proven: true, ..own(7, true).unwrap() };
    assert_eq!(after(Some(proven), &[]).1, node(7, &[], &[]));
}

#[test]
fn row_9_a_replaced_board_rejoins_once_its_node_is_silent() {
    let kept = same_in(&[Group::Chassis, Group::Dimm, Group::Disk]);
    let vetoed = Candidate { evidence: kept.clone(), ..candidate(2, true) };
    assert_eq!(after(own(5, false), &[vetoed, candidate(5, false)]), (9, node(2, &[5], &[])));
    let hint = Candidate { link: Link::Hint, shared: Vec::new(), evidence: kept, ..candidate(2, true) };
    assert_eq!(after(None, std::slice::from_ref(&hint)), (9, node(2, &[], &[])), "no match key is left");
    let lately = Candidate { silence_ms: Some(MINUTE), ..hint.clone() };
    assert_eq!(after(None, &[lately]), (9, created(&[2])), "held until it is silent for long");
    let elsewhere = Candidate { alive_ms: 24 * 60 * MINUTE, silence_ms: Some(MINUTE), ..other_machine(3) };
    let minutes_ago = Candidate { silence_ms: Some(4 * MINUTE), ..hint.clone() };
    assert_eq!(after(None, &[minutes_ago.clone(), elsewhere]).0, 9, "what another node was told is no matter");
    let seldom = Candidate { alive_ms: 24 * 60 * MINUTE, ..minutes_ago };
    assert_eq!(after(None, &[seldom]), (9, created(&[2])), "it may be silent for long and run");
    let long_ago = Candidate { silence_ms: Some(4 * MINUTE), ..hint.clone() };
    assert_eq!(after(None, std::slice::from_ref(&long_ago)), (9, node(2, &[], &[])));
    assert_eq!(at(5 * MINUTE, None, &[long_ago]), (9, created(&[2])), "it spoke while this machine was up");
    let speaks = Candidate { silence_ms: Some(MINUTE), ..hint.clone() };
    let held = Own { held: true, proven: true, ..own(5, true).unwrap() };
    let still = Verdict::Node { id: 5, merge: vec![], conflict: vec![2], held: true };
    let mine = Candidate { held: true, ..candidate(5, true) };
    assert_eq!(after(Some(held), &[speaks, mine]), (7, still), "and at each later report until then");
    let twin = Candidate { id: 3, ..hint.clone() };
    assert_eq!(after(None, &[hint, twin]), (9, created(&[2, 3])), "two of them");
}

#[test]
fn row_9_holds_a_new_node_only_for_the_parts_of_another() {
    let numbers = same_in(&[Group::Uuid, Group::Serial]);
    assert_eq!(after(None, &[Candidate { evidence: numbers, ..candidate(2, true) }]), (9, created(&[])));
    let parts = same_in(&[Group::Disk, Group::Nic]);
    let donor = Candidate { evidence: parts, ..candidate(2, true) };
    assert_eq!(after(None, std::slice::from_ref(&donor)), (9, created(&[2])));
    let held = Own { held: true, proven: true, ..own(5, true).unwrap() };
    let mine = Candidate { held: true, ..candidate(5, true) };
    let still = Verdict::Node { id: 5, merge: vec![], conflict: vec![2], held: true };
    assert_eq!(after(Some(held), &[donor, mine.clone()]), (7, still));
    assert_eq!(after(Some(held), &[other_machine(2), mine]), (7, node(5, &[], &[])), "the parts are gone");
}

#[test]
fn row_11_who_spoke_while_this_machine_was_up_is_another() {
    let speaking = Candidate { silence_ms: Some(5_000), ..candidate(2, true) };
    let held = |id| Verdict::Ambiguous { nodes: vec![2], held_as: id };
    assert_eq!(at(10_000, None, std::slice::from_ref(&speaking)), (11, held(None)));
    assert_eq!(
        at(10_000, own(2, true), std::slice::from_ref(&speaking)),
        (11, held(None)),
        "the id came from the boot"
    );
    assert_eq!(at(4_000, own(2, true), std::slice::from_ref(&speaking)), (7, node(2, &[], &[])), "a reboot");
    let before = Candidate { held: true, ..candidate(9, true) };
    assert_eq!(at(10_000, None, &[speaking.clone(), before]), (11, held(Some(9))), "held before");
    let put_back = Candidate { silence_ms: Some(-5_000), ..candidate(2, true) };
    assert_eq!(at(10_000, own(2, true), &[put_back]), (7, node(2, &[], &[])), "the server's clock was put back");
    let mine = Own { proven: true, held: true, ..own(9, false).unwrap() };
    assert_eq!(at(10_000, Some(mine), &[speaking, candidate(9, false)]), (11, held(Some(9))));
}

#[test]
fn row_9_a_reboot_that_a_step_of_the_clock_made_two_machines_ends_by_itself() {
    let held = Own { held: true, proven: true, heard_ms: Some(4 * MINUTE), ..own(9, true).unwrap() };
    let both = |silence_ms, evidence| {
        let incumbent = Candidate { silence_ms: Some(silence_ms), evidence, ..candidate(2, true) };
        [incumbent, Candidate { held: true, ..candidate(9, true) }]
    };
    let uptime = 5 * MINUTE;
    assert_eq!(at(uptime, Some(held), &both(4 * MINUTE + 1, machine())), (9, node(2, &[9], &[])));
    assert_eq!(at(uptime, Some(held), &both(4 * MINUTE - 1, machine())).0, 7, "it was heard after this boot was");
    let lately = Own { heard_ms: Some(MINUTE), ..held };
    assert_eq!(at(uptime, Some(lately), &both(2 * MINUTE, machine())).0, 7, "not silent for long enough");
    let other =
        same_in(&[Group::Uuid, Group::Serial, Group::Board, Group::Chassis, Group::Dimm, Group::Disk, Group::Nic]);
    assert_eq!(at(uptime, Some(held), &both(9 * MINUTE, other)).0, 7, "something is another one");
}

#[test]
fn nodes_that_are_alive_are_not_merged() {
    let alive = Candidate { silence_ms: Some(MINUTE), ..candidate(5, false) };
    assert_eq!(after(own(6, false), &[alive.clone(), candidate(6, false)]).1, node(6, &[], &[]));
    assert_eq!(after(None, &[alive]).1, created(&[]));
}

#[test]
fn weak_links_count_only_where_nothing_better_is() {
    let weak = Candidate { link: Link::Weak, ..candidate(5, true) };
    assert_eq!(boot(&[candidate(4, true), weak.clone()], &machine()).verdict, node(4, &[], &[]));
    assert_eq!(boot(&[other_machine(4), weak], &machine()).verdict, node(5, &[], &[]));
}

/// A candidate that says anything about its machine.
fn any_candidate() -> impl Strategy<Value = Candidate> {
    let groups = proptest::sample::subsequence(Group::ALL.to_vec(), 0..=Group::ALL.len());
    let flags = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    let silence = proptest::option::of(0..10 * MINUTE);
    (0usize..4, groups.clone(), groups, flags, silence).prop_map(|(link, same, known, flags, silence_ms)| {
        let (registered, held, ruled_out, reopened) = flags;
        let value = |group| (group, if same.contains(&group) { "mine" } else { "other" });
        Candidate {
            registered,
            held: held && registered,
            // The rarer ones, so that most cases are about something else.
            ruled_out: ruled_out && same.len() == 3,
            reopened: reopened && known.len() > 5,
            silence_ms,
            link: [Link::Holds, Link::Had, Link::Weak, Link::Hint][link],
            evidence: evidence(&known.into_iter().map(value).collect::<Vec<_>>()),
            ..candidate(0, registered)
        }
    })
}

proptest::proptest! {
    /// Whatever comes: nothing vetoed is chosen but by kinship or by the boot's own word; of registered nodes only the
    /// machine's own is merged, and only where it is held or this boot made it; and what another boot speaks as is neither
    /// merged nor chosen anew.
    #[test]
    fn a_decision_never_takes_a_vetoed_node(
        mut candidates in proptest::collection::vec(any_candidate(), 0..5),
        speaks_as in proptest::option::of(0usize..5),
        (proven, newborn, shares) in any::<(bool, bool, bool)>(),
        uptime_ms in proptest::option::of(0..10 * MINUTE),
        heard_ms in proptest::option::of(0..10 * MINUTE),
        common in proptest::sample::subsequence(Group::ALL.to_vec(), 0..3),
    ) {
        for (candidate, id) in candidates.iter_mut().zip(1..) {
            candidate.id = id;
        }
        let own = speaks_as.and_then(|at| candidates.get(at)).map(|c| Own {
            id: c.id, registered: c.registered, held: c.held, proven, newborn: newborn && c.registered, shares, heard_ms,
        });
        let machine = machine();
        let arrival = Arrival { own, evidence: &machine, uptime_ms, candidates: &candidates, common: &common };
        let decision = checkin(&arrival);
        let of = |id: i64| decision.evidence.iter().find(|w| w.node == id).unwrap();
        let candidate = |id: i64| candidates.iter().find(|c| c.id == id).unwrap();
        let is_own = |id: i64| own.is_some_and(|own| own.id == id);
        if let Verdict::Node { id, merge, .. } = &decision.verdict {
            prop_assert!(decision.row == 9 || (proven && is_own(*id)) || !of(*id).vetoed);
            prop_assert!(is_own(*id) || !candidate(*id).ruled_out);
            prop_assert!(is_own(*id) || !arrival.speaks_elsewhere(candidate(*id)));
            prop_assert!(!merge.contains(id));
            for merged in merge.iter().map(|id| candidate(*id)) {
                let gives_way = is_own(merged.id) && (merged.held || newborn);
                prop_assert!(!merged.registered || gives_way, "{merged:?}");
                prop_assert!(is_own(merged.id) || !of(merged.id).vetoed);
                prop_assert!(is_own(merged.id) || !arrival.is_alive(merged));
            }
        }
    }
}

#[test]
fn row_9_a_machine_without_match_keys_may_be_booted_twice_in_a_row() {
    let known = |silence_ms, evidence| Candidate {
        link: Link::Hint,
        shared: Vec::new(),
        silence_ms: Some(silence_ms),
        evidence,
        ..candidate(1, true)
    };
    assert_eq!(at(12_000, None, &[known(30_000, machine())]), (9, node(1, &[], &[])), "nothing speaks against it");
    assert_eq!(at(12_000, None, &[known(5_000, machine())]), (9, created(&[1])), "its former boot still speaks");
    let other_ports =
        same_in(&[Group::Uuid, Group::Serial, Group::Board, Group::Chassis, Group::Tpm, Group::Dimm, Group::Disk]);
    assert_eq!(at(12_000, None, &[known(30_000, other_ports.clone())]), (9, created(&[1])), "something is another one");
    assert_eq!(at(12_000, None, &[known(4 * MINUTE, other_ports)]), (9, node(1, &[], &[])), "and silent long enough");
}
