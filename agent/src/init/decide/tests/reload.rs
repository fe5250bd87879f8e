//! What follows when the unit files say something else.

use super::*;

#[test]
fn unit_files_that_were_read_anew() {
    let other = |name: &str| Unit { command: vec!["/bin/other".to_owned()], ..unit(name) };
    let term = Signal::SIGTERM;
    let spawned = |actions: &[Action]| spawns(actions).len();
    // Units before; what then happens to `b`; units after; signals, starts and state of `b` at once.
    type Case = (&'static str, Vec<Unit>, fn(&mut Paper), Vec<Unit>, Vec<Signal>, usize, Option<&'static str>);
    let nothing: fn(&mut Paper) = |_| {};
    let stop: fn(&mut Paper) = |paper| drop(paper.ask(Request::Stop("b".to_owned())));
    let crash: fn(&mut Paper) = |paper| drop(paper.exit("b", CRASH));
    let (ab, aob) = (vec![unit("a"), unit("b")], vec![unit("a"), other("b")]);
    let cases: Vec<Case> = vec![
        ("the same", ab.clone(), nothing, ab.clone(), vec![], 0, Some("running")),
        ("in another order", ab.clone(), nothing, vec![unit("b"), unit("a")], vec![], 0, Some("running")),
        ("added", vec![unit("a")], nothing, ab.clone(), vec![], 1, Some("running")),
        ("changed", ab.clone(), nothing, aob.clone(), vec![term], 0, Some("stopping")),
        ("changed while it stops", ab.clone(), stop, aob.clone(), vec![], 0, Some("stopping")),
        ("changed while it waits", ab.clone(), crash, aob.clone(), vec![], 1, Some("running")),
        ("removed", ab.clone(), nothing, vec![unit("a")], vec![term], 0, Some("stopping")),
        ("removed while it stops", ab.clone(), stop, vec![unit("a")], vec![], 0, Some("stopping")),
        ("removed while it waits", ab, crash, vec![unit("a")], vec![], 0, None),
    ];
    for (what, before, then, after, expected_signals, expected_spawns, state) in cases {
        let mut paper = Paper::new(before);
        then(&mut paper);
        let untouched = paper.pid("a");
        let actions = paper.reload(after);
        assert_eq!((signals(&actions), spawned(&actions)), (expected_signals, expected_spawns), "{what}");
        let states = paper.state.published().units;
        let found = states.iter().find(|u| u.name == "b").map(|u| u.state.as_str());
        assert_eq!((found, paper.pid("a")), (state, untouched), "{what}");
        assert!(actions.contains(&Action::Reply { ticket: 8, reply: Reply::Accepted }), "{what}");
    }
}

#[test]
fn what_has_changed_or_is_gone_ends_first() {
    let other = Unit { command: vec!["/bin/other".to_owned()], after: vec!["c".to_owned()], ..unit("b") };
    let late = Unit { ready: Readiness::Told, ..unit("c") };
    let mut paper = Paper::new(vec![unit("a"), unit("b")]);
    paper.reload(vec![late.clone(), other.clone()]);
    assert_eq!(paper.exit("a", Exit::Status(0)).len(), 1, "the rest of its group goes");
    assert!(paper.state.published().units.iter().all(|u| u.name != "a"));
    assert_eq!(spawns(&paper.exit("b", Exit::Signal(libc::SIGTERM))), [], "it comes after c now");
    let sender = paper.pid("c");
    let actions = paper.hear(&Event::Asked { ticket: 1, sender, request: Request::Ready });
    let [(number, 0)] = spawns(&actions)[..] else { panic!("{actions:?}") };
    assert_eq!(paper.state.unit(number), Some(&other));
}

#[test]
fn a_unit_that_comes_back_while_it_leaves_is_started_again() {
    let mut paper = Paper::new(vec![unit("a"), unit("b")]);
    paper.reload(vec![unit("a")]);
    assert!(matches!(paper.ask(Request::Start("b".to_owned())), Reply::Refused(_)), "it is no unit any more");
    paper.reload(vec![unit("a"), unit("b")]);
    assert_eq!(spawns(&paper.exit("b", Exit::Signal(libc::SIGTERM))).len(), 1);
    assert_eq!(paper.state("b"), "running");
}

#[test]
fn skipped_files_are_told_once_and_while_they_are_there() {
    let bad =
        Definitions { units: vec![unit("a")], problems: vec![Problem::new("bad_unit_file", "b is bad", "Mend it.")] };
    let mut paper = Paper::new(vec![unit("a")]);
    let warnings = |actions: &[Action]| actions.iter().filter(|a| matches!(a, Action::Log(Level::Warn, _))).count();
    for said in [1, 0] {
        let actions = paper.hear(&Event::UnitsRead { ticket: 8, found: bad.clone() });
        assert_eq!(warnings(&actions), said);
        assert!(actions.contains(&Action::Reply { ticket: 8, reply: Reply::Skipped(bad.problems.clone()) }));
        assert_eq!(paper.state.published().problems, bad.problems);
    }
    paper.reload(vec![unit("a")]);
    assert_eq!(paper.state.published().problems, []);
}

#[test]
fn nothing_is_read_anew_during_a_shutdown() {
    let mut paper = Paper::new(vec![unit("a")]);
    let actions = paper.hear(&Event::Asked { ticket: 8, sender: 1, request: Request::Reload });
    assert_eq!(actions, [Action::ReadUnits { ticket: 8 }]);
    paper.hear(&Event::Shutdown(Goal::Reboot));
    let actions = paper.reload(vec![unit("a"), unit("b")]);
    assert!(matches!(&actions[..], [Action::Reply { reply: Reply::Refused(_), .. }]), "{actions:?}");
}
