//! Which server is asked next, and at which URL. Pure.

use std::collections::{BTreeMap, BTreeSet};

use wire::routes::CHECKIN;

use crate::state::ServerHint;

/// What is known of servers from earlier answers.
#[derive(Debug, Default)]
pub(super) struct Route {
    /// Base URL of the one that answered last.
    pub(super) current: Option<String>,
    /// This machine's id by base URL: each server has its own.
    ids: BTreeMap<String, u64>,
    /// Guessed servers that said hello.
    greeted: BTreeSet<String>,
    /// Servers that do not know the id of this machine's boot line any more.
    stale: BTreeSet<String>,
}

impl Route {
    /// The servers in the order in which they are asked: those that the operator named, then those that were guessed,
    /// and among both the one that answered last first. So a guess only stands in until a named server answers again.
    pub(super) fn order<'a>(&self, hints: &'a [ServerHint]) -> Vec<&'a ServerHint> {
        let mut order: Vec<&ServerHint> = hints.iter().collect();
        order.sort_by_key(|hint| (hint.guessed, Some(&hint.url) != self.current.as_ref()));
        order
    }

    /// Where this server is sent a check-in: with the id that it gave, else with the boot line's, else without.
    pub(super) fn url(&self, hint: &ServerHint) -> String {
        match (self.ids.get(&hint.url), &hint.checkin) {
            (Some(id), _) => format!("{}{CHECKIN}/{id}", hint.url),
            (None, Some(checkin)) if !self.stale.contains(&hint.url) => checkin.clone(),
            (None, _) => format!("{}{CHECKIN}", hint.url),
        }
    }

    /// Whether this server must say hello before it is sent anything.
    pub(super) fn must_greet(&self, hint: &ServerHint) -> bool {
        hint.guessed && !self.greeted.contains(&hint.url)
    }

    /// A guessed server said hello.
    pub(super) fn greeted(&mut self, hint: &ServerHint) {
        self.greeted.insert(hint.url.clone());
    }

    /// This server answered, perhaps with this machine's id.
    pub(super) fn answered(&mut self, hint: &ServerHint, id: Option<u64>) {
        self.current = Some(hint.url.clone());
        if let Some(id) = id {
            self.ids.insert(hint.url.clone(), id);
        }
    }

    /// This server failed, perhaps with an HTTP status. On 404 the id in the URL may be one that it has forgotten: the
    /// next attempt goes without, and the one after that with the boot line's again, since an original server knows no
    /// other URL.
    pub(super) fn failed(&mut self, hint: &ServerHint, status: Option<u16>) {
        self.greeted.remove(&hint.url);
        if status != Some(404) {
            return;
        }
        let had_own_id = self.ids.remove(&hint.url).is_some();
        if had_own_id || !self.stale.remove(&hint.url) {
            self.stale.insert(hint.url.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hint(url: &str, checkin: Option<&str>, guessed: bool) -> ServerHint {
        ServerHint { url: url.to_owned(), checkin: checkin.map(str::to_owned), source: String::new(), guessed }
    }

    #[test]
    fn named_servers_come_before_guesses_and_the_one_that_answered_before_its_like() {
        let hints =
            [("a", false), ("b", false), ("c", true), ("d", true)].map(|(url, guessed)| hint(url, None, guessed));
        let mut route = Route::default();
        let order = |route: &Route| route.order(&hints).iter().map(|h| h.url.clone()).collect::<Vec<_>>().join(" ");
        assert_eq!(order(&route), "a b c d");
        for (answered, expected) in [(3, "a b d c"), (1, "b a c d")] {
            route.answered(&hints[answered], None);
            assert_eq!(order(&route), expected);
        }
    }

    #[test]
    fn guessed_servers_greet_first_and_again_after_a_failure() {
        let (guessed, given) = (hint("http://a", None, true), hint("http://b", None, false));
        let mut route = Route::default();
        assert!(route.must_greet(&guessed) && !route.must_greet(&given));
        route.greeted(&guessed);
        assert!(!route.must_greet(&guessed));
        route.failed(&guessed, None);
        assert!(route.must_greet(&guessed));
    }

    #[test]
    fn ids_belong_to_the_server_that_gave_them() {
        let a = hint("http://a", Some("http://a/svc/checkin/7"), false);
        let b = hint("http://b", None, false);
        let mut route = Route::default();
        assert_eq!((route.url(&a), route.url(&b)), ("http://a/svc/checkin/7".into(), "http://b/svc/checkin".into()));
        route.answered(&a, Some(9));
        route.failed(&a, None);
        assert_eq!((route.url(&a), route.url(&b)), ("http://a/svc/checkin/9".into(), "http://b/svc/checkin".into()));
    }

    #[test]
    fn a_forgotten_id_is_dropped_and_the_boot_lines_tried_again() {
        let a = hint("http://a", Some("http://a/svc/checkin/7"), false);
        let mut route = Route::default();
        let mut urls = Vec::new();
        for _ in 0..4 {
            urls.push(route.url(&a));
            route.failed(&a, Some(404));
        }
        let (with, without) = ("http://a/svc/checkin/7", "http://a/svc/checkin");
        assert_eq!(urls, [with, without, with, without]);
        route.answered(&a, Some(9));
        route.failed(&a, Some(404));
        assert_eq!(route.url(&a), without);
        route.answered(&a, Some(12));
        assert_eq!(route.url(&a), "http://a/svc/checkin/12");
    }
}
