//! What the keys of a unit file change: readiness, deadlines, limits.

use super::*;

#[test]
fn a_unit_that_is_not_ready_in_time_is_started_again() {
    let limit = Duration::from_secs(9);
    let ready = Readiness::File("/run/a.pid".into());
    let slow = Unit { ready, start_timeout: limit, stop_timeout: Duration::from_secs(3), ..unit("a") };
    let after = Unit { after: vec!["a".to_owned()], ..unit("b") };
    let mut paper = Paper::new(vec![slow.clone(), after]);
    assert_eq!(signals(&paper.pass(limit)), [Signal::SIGTERM]);
    assert_eq!(signals(&paper.pass(limit + Duration::from_secs(3))), [Signal::SIGKILL], "by its own deadline");
    paper.exit("a", Exit::Signal(libc::SIGKILL));
    let unit = paper.state.published().units.remove(0);
    assert_eq!(unit.last_exit.as_deref(), Some("/run/a.pid was not made within 9 s"));
    let due = paper.state.next_deadline().unwrap();
    paper.pass(due);
    assert_eq!((paper.state("a").as_str(), paper.state("b").as_str()), ("starting", "waiting"));
    let pid = paper.pid("a");
    paper.hear(&Event::Ready { pid });
    assert_eq!((paper.state("a").as_str(), paper.state("b").as_str()), ("running", "running"));
    paper.pass(LONG);
    assert_eq!(paper.pid("a"), pid, "its time counts no more");

    let mut told = Paper::new(vec![Unit { ready: Readiness::Told, ..slow }]);
    told.pass(LONG);
    assert_eq!(told.state("a"), "starting", "one that says it itself may take any time");
}

#[test]
fn ends_say_why() {
    for (exit, why) in [
        (Exit::Status(3), "exit status 3"),
        (Exit::Signal(libc::SIGSEGV), "killed by SIGSEGV"),
        (Exit::Signal(34), "killed by signal 34"),
        (Exit::OutOfMemory(Some(32 << 20)), "out of memory: limit 32 MiB"),
        (Exit::OutOfMemory(None), "out of memory: the machine has none left"),
    ] {
        let mut paper = Paper::new(vec![unit("a")]);
        paper.exit("a", exit);
        assert_eq!(paper.state.published().units[0].last_exit.as_deref(), Some(why));
    }
}

#[test]
fn a_limit_that_is_not_in_force_is_a_problem_while_the_unit_is_there() {
    let greedy = Unit { limits: Limits { pids_max: Some(5), ..Limits::default() }, ..unit("b") };
    let mut paper = Paper::new(vec![unit("a")]);
    paper.state.controllers.pids = false;
    let warnings = |actions: &[Action]| actions.iter().filter(|a| matches!(a, Action::Log(Level::Warn, _))).count();
    for said in [1, 0] {
        assert_eq!(warnings(&paper.reload(vec![unit("a"), greedy.clone()])), said, "once");
        assert_eq!(paper.state.published().problems[0].code, "limit_not_in_force");
    }
    paper.reload(vec![unit("a")]);
    paper.exit("b", Exit::Status(0));
    assert_eq!(paper.state.published().problems, []);
}
