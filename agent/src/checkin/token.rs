//! Whom the enrolment token of the image is told. Pure.
//!
//! An image that pins a CA speaks only to servers that have proved who they are. Without one, a token goes to the server that
//! the site or the kernel line names; where neither names one, to the server that is found. One that has accepted this machine
//! is not told it again.

use wire::checkin::NodeState;

use crate::settings::Settings;
use crate::state::{Checkin, ServerHint};

/// The token, if this server is to be told it.
pub(super) fn for_server(settings: &Settings, hint: &ServerHint, checkin: &Checkin) -> Option<String> {
    let is_named = settings.line.server.is_some() || settings.line.checkin.is_some();
    let may_know = settings.is_pinned() || !hint.guessed || !is_named;
    let knows_us = checkin.server.as_ref() == Some(&hint.url) && checkin.state == Some(NodeState::Normal);
    settings.site.enrolment.clone().filter(|_| may_know && !knows_us)
}

#[cfg(test)]
mod tests {
    use wire::site::Site;

    use super::*;
    use crate::cmdline::{GivenUrl, Source};

    #[test]
    fn a_token_is_told_to_the_sites_own_server_until_that_accepts_the_machine() {
        let hint = |guessed| ServerHint { url: "u".into(), checkin: None, source: String::new(), guessed };
        let seen = |server: &str, state| Checkin { server: Some(server.into()), state, ..Checkin::default() };
        let named = Some(GivenUrl { url: "n".into(), source: Source::Site });
        let (none, normal) = (Checkin::default(), Some(NodeState::Normal));
        for (named, pinned, guessed, checkin, told) in [
            (&named, false, false, &none, true),
            (&named, false, true, &none, false),
            (&None, false, true, &none, true),
            (&named, true, true, &none, true),
            (&named, false, false, &seen("u", normal), false),
            (&named, false, false, &seen("u", Some(NodeState::Pending)), true),
            (&named, false, false, &seen("another", normal), true),
        ] {
            let ca_pem = pinned.then(|| "pem".to_owned());
            let site = Site { enrolment: Some("t".into()), ca_pem, ..Site::default() };
            let mut settings = Settings { site, ..Settings::default() };
            settings.line.server.clone_from(named);
            let got = for_server(&settings, &hint(guessed), checkin);
            assert_eq!(got.is_some(), told, "{named:?} pinned {pinned} guessed {guessed} {checkin:?}");
        }
        assert_eq!(for_server(&Settings::default(), &hint(false), &none), None);
    }
}
