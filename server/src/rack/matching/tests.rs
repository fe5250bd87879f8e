//! Racks and nodes that fit, are exchanged, go or come twice.

use proptest::prelude::*;

use super::*;
use crate::rack::Row;

/// What a node claims and hears: its serial number and switch port.
type Node = (i64, Option<String>, Option<String>);

fn row(n: usize, serial: Option<usize>, port: Option<usize>) -> Row {
    Row {
        line: 0,
        name: format!("m{n}"),
        serial: serial.map(|n| format!("SRV-{n}")),
        switch: port.map(|_| "leaf".to_owned()),
        port: port.map(|n| format!("Ethernet1/{n}")),
        ..Row::default()
    }
}

fn node(n: i64, serial: Option<usize>, port: Option<usize>) -> Node {
    (n, serial.map(|n| format!("srv-{n}")), port.map(|n| format!("leaf et1/{n}")))
}

fn run(rows: &[Row], nodes: &[Node]) -> Matched {
    let rack = Rack::new(1, 0, rows.to_vec());
    let mut matching = Matching::new(&rack);
    for (node, serial, port) in nodes {
        if let Some(serial) = serial {
            matching.claim(*node, "serial", serial);
        }
        if let Some(port) = port {
            matching.port(*node, port);
        }
    }
    let nodes: BTreeMap<i64, usize> =
        nodes.iter().filter_map(|(node, ..)| Some((*node, matching.row_of(*node)?))).collect();
    let matched = matching.done();
    assert_eq!(nodes, matched.rows, "one by one as all together");
    matched
}

fn standings(matched: &Matched) -> Vec<Standing> {
    matched.found.iter().map(|found| found.standing).collect()
}

#[test]
fn two_machines_with_each_others_place_are_swapped() {
    let rows = [row(0, Some(0), Some(0)), row(1, Some(1), Some(1)), row(2, Some(2), Some(2))];
    let matched = run(&rows, &[node(1, Some(0), Some(1)), node(2, Some(1), Some(0)), node(3, Some(2), Some(9))]);
    assert_eq!(standings(&matched), [Standing::Swapped, Standing::Swapped, Standing::Moved]);
    assert_eq!(
        (matched.found[0].rows.as_slice(), matched.found[0].others.as_slice()),
        ([1].as_slice(), [2].as_slice())
    );
    assert_eq!(matched.found[2].at, ["leaf et1/9"]);
    assert_eq!(matched.rows, BTreeMap::from([(1, 0), (2, 1), (3, 2)]), "a name goes with the hardware");
}

#[test]
fn a_machine_that_hears_no_switch_is_present_and_one_of_which_nothing_is_seen_is_missing() {
    let rows = [row(0, Some(0), Some(0)), row(1, Some(1), Some(1)), row(2, Some(2), None)];
    let matched = run(&rows, &[node(1, Some(0), None), node(2, None, Some(1))]);
    assert_eq!(standings(&matched), [Standing::Present, Standing::Missing, Standing::Missing]);
    assert_eq!(matched.found[1].others, [2], "another one is plugged in there");
    assert!(!matched.rows.contains_key(&2));
}

#[test]
fn a_port_alone_is_whoever_is_plugged_in_there_but_not_another_rows_machine() {
    let rows = [row(0, None, Some(0)), row(1, None, Some(1)), row(2, Some(2), None)];
    let matched = run(&rows, &[node(1, Some(7), Some(0)), node(2, Some(2), Some(1))]);
    assert_eq!(standings(&matched), [Standing::Present, Standing::Missing, Standing::Present]);
    assert_eq!(matched.rows, BTreeMap::from([(1, 0), (2, 2)]));
}

#[test]
fn what_may_be_several_is_ambiguous_and_nobody_gets_the_name() {
    let rows = [row(0, Some(0), None), row(1, None, Some(1))];
    let nodes = [node(1, Some(0), None), node(2, Some(0), None), node(3, None, Some(1)), node(4, None, Some(1))];
    let matched = run(&rows, &nodes);
    assert_eq!(standings(&matched), [Standing::Ambiguous, Standing::Ambiguous]);
    assert_eq!(
        (matched.found[0].others.as_slice(), matched.found[1].others.as_slice()),
        ([1, 2].as_slice(), [3, 4].as_slice())
    );
    assert!(matched.rows.is_empty() && matched.unsure == BTreeSet::from([1, 2, 3, 4]));

    // One machine with the values of two rows.
    let mac = Row { mac: Some("00:1b:21:00:00:01".into()), ..row(1, None, None) };
    let rack = Rack::new(1, 0, vec![row(0, Some(0), None), mac]);
    let mut matching = Matching::new(&rack);
    matching.claim(1, "serial", "srv-0");
    matching.claim(1, "mac", "00-1b-21-00-00-01");
    let matched = matching.done();
    assert_eq!(standings(&matched), [Standing::Ambiguous, Standing::Ambiguous]);
    assert_eq!(matched.found[0].rows, [1]);
}

fn some(most: usize) -> impl Strategy<Value = Vec<(Option<usize>, Option<usize>)>> {
    proptest::collection::vec((proptest::option::of(0..most), proptest::option::of(0..most)), 0..8)
}

/// Rows as a file may have them: each value once, and none without any.
fn rows(values: &[(Option<usize>, Option<usize>)]) -> Vec<Row> {
    let (mut serials, mut ports) = (BTreeSet::new(), BTreeSet::new());
    let once = |n: &Option<usize>, seen: &mut BTreeSet<usize>| n.filter(|n| seen.insert(*n));
    let values = values.iter().map(|(s, p)| (once(s, &mut serials), once(p, &mut ports)));
    let values: Vec<_> = values.filter(|(s, p)| s.is_some() || p.is_some()).collect();
    values.into_iter().enumerate().map(|(n, (serial, port))| row(n, serial, port)).collect()
}

fn nodes(values: &[(Option<usize>, Option<usize>)]) -> Vec<Node> {
    (1..).zip(values).map(|(n, (serial, port))| node(n, *serial, *port)).collect()
}

proptest! {
    #[test]
    fn a_name_goes_to_one_node_and_a_node_has_one_name(expected in some(6), found in some(6)) {
        let (rows, nodes) = (rows(&expected), nodes(&found));
        let matched = run(&rows, &nodes);
        prop_assert_eq!(matched.found.len(), rows.len());
        let named: Vec<i64> = matched.found.iter().filter_map(|f| f.node).collect();
        prop_assert_eq!(named.len(), matched.rows.len(), "no node is two rows");
        for (row, found) in matched.found.iter().enumerate() {
            let has_node = matches!(found.standing, Standing::Present | Standing::Swapped | Standing::Moved);
            prop_assert_eq!(found.node.is_some(), has_node);
            if let Some(node) = found.node {
                prop_assert_eq!(matched.rows[&node], row);
                prop_assert!(!matched.unsure.contains(&node));
            }
        }
    }

    #[test]
    fn the_order_of_rows_and_nodes_changes_nothing(expected in some(6), found in some(6)) {
        let (rows, nodes) = (rows(&expected), nodes(&found));
        let forth = run(&rows, &nodes);
        let (back_rows, back_nodes) = (rows.iter().rev().cloned().collect::<Vec<_>>(), nodes.iter().rev().cloned().collect::<Vec<_>>());
        let back = run(&back_rows, &back_nodes);
        for (one, other) in forth.found.iter().zip(back.found.iter().rev()) {
            prop_assert_eq!((one.standing, one.node, &one.others, &one.at), (other.standing, other.node, &other.others, &other.at));
        }
    }

    /// Racks in which everything is as written, and then is not.
    #[test]
    fn what_fits_is_present_exchanged_ports_are_swapped_and_what_goes_is_missing(n in 3usize..10, a in 0usize..10, b in 0usize..10) {
        let (a, b) = (a % n, b % n);
        prop_assume!(a != b);
        let rows: Vec<Row> = (0..n).map(|i| row(i, Some(i), Some(i))).collect();
        let at = |i: usize| if i == a { b } else if i == b { a } else { i };
        let plain: Vec<Node> = (0..n).map(|i| node(i64::try_from(i).unwrap(), Some(i), Some(i))).collect();
        prop_assert!(standings(&run(&rows, &plain)).iter().all(|s| *s == Standing::Present));
        let swapped: Vec<Node> = (0..n).map(|i| node(i64::try_from(i).unwrap(), Some(i), Some(at(i)))).collect();
        for (i, found) in run(&rows, &swapped).found.iter().enumerate() {
            prop_assert_eq!(found.standing == Standing::Swapped, i == a || i == b);
            prop_assert!(found.standing != Standing::Swapped || found.rows == [at(i)]);
        }
        let gone: Vec<Node> = plain.into_iter().filter(|(node, ..)| usize::try_from(*node).unwrap() != a).collect();
        for (i, standing) in standings(&run(&rows, &gone)).into_iter().enumerate() {
            prop_assert_eq!(standing == Standing::Missing, i == a);
        }
    }
}
