//! Which addresses are open, and which want a token.

use super::*;

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    pairs.iter().map(|(name, value)| (header::HeaderName::from_static(name), value.parse().unwrap())).collect()
}

fn code<T>(outcome: Result<T, Failure>) -> Option<String> {
    outcome.err().map(|failure| failure.problem().code.clone())
}

fn checked(scheme: Scheme, host: &str, origin: Option<&str>) -> Option<String> {
    let mut pairs = vec![("host", host)];
    pairs.extend(origin.map(|origin| ("origin", origin)));
    let certified = || vec!["mk.lab.example".to_owned(), "*.wild.example".to_owned()];
    code(proper(scheme, &headers(&pairs), &Names { own: Some("razor.example"), certified: &certified }))
}

#[test]
fn any_name_of_this_machine_will_do() {
    for host in ["127.0.0.1:8150", "localhost:9000", "[::1]:8150", "[::1]", "razor", "RAZOR.example:8150", "10.0.0.1"] {
        assert_eq!(checked(Scheme::Http, host, None), None, "{host}");
    }
    for host in ["mk.lab.example:8151", "MK.lab.example", "a.wild.example"] {
        assert_eq!(checked(Scheme::Https, host, None), None, "{host}");
        assert_eq!(
            checked(Scheme::Http, host, None).as_deref(),
            Some("foreign_host"),
            "{host}: nothing vouches for it"
        );
    }
    for host in ["a.b.wild.example", "wild.example", "lab.example", "mk.lab.example.evil.example"] {
        assert_eq!(checked(Scheme::Https, host, None).as_deref(), Some("foreign_host"), "{host}");
    }
}

#[test]
fn who_is_on_this_machine_is_told_from_who_is_not() {
    for peer in ["127.0.0.1", "127.0.0.2", "::1", "::ffff:127.0.0.1"] {
        assert!(is_local(peer.parse().unwrap(), Scheme::Http), "{peer}");
        assert!(!is_local(peer.parse().unwrap(), Scheme::Https), "{peer}: a proxy here passes TLS on unseen");
    }
    for peer in ["10.0.0.7", "::ffff:10.0.0.7", "fe80::1", "2001:db8::1"] {
        assert!(!is_local(peer.parse().unwrap(), Scheme::Http), "{peer}");
    }
}

#[test]
fn callers_elsewhere_need_a_token_and_tls() {
    let (token, session) = (Shown::Token("t"), Shown::Session("s"));
    for (scheme, shown, has_tokens, expected) in [
        (Scheme::Http, Shown::Nothing, false, Some("not_local")),
        (Scheme::Https, Shown::Nothing, false, Some("not_local")),
        (Scheme::Https, token, false, Some("not_local")),
        (Scheme::Http, token, false, Some("token_in_the_clear")),
        (Scheme::Http, token, true, Some("token_in_the_clear")),
        (Scheme::Http, session, true, Some("token_in_the_clear")),
        (Scheme::Http, Shown::Nothing, true, Some("needs_tls")),
        (Scheme::Https, Shown::Nothing, true, None),
        (Scheme::Https, token, true, None),
    ] {
        for https in [None, Some(8151)] {
            let peer = "10.0.0.7".parse().unwrap();
            let refused = elsewhere(peer, scheme, shown, has_tokens, https);
            assert_eq!(code(refused).as_deref(), expected, "{scheme:?} {shown:?} {has_tokens}");
        }
    }
}

#[test]
fn a_foreign_name_that_resolves_to_this_machine_is_refused() {
    for host in ["evil.example:8150", "localhost.evil.example", "razor.evil.example", "127.0.0.1.evil.example", ""] {
        assert_eq!(checked(Scheme::Http, host, None).as_deref(), Some("foreign_host"), "{host}");
        assert_eq!(checked(Scheme::Https, host, None).as_deref(), Some("foreign_host"), "{host}");
    }
}

#[test]
fn a_page_of_another_site_cannot_command() {
    let (plain, secured) = ("http://127.0.0.1:8150", "https://127.0.0.1:8150");
    assert_eq!(checked(Scheme::Http, "127.0.0.1:8150", Some(plain)), None);
    assert_eq!(checked(Scheme::Https, "127.0.0.1:8150", Some(secured)), None);
    for (scheme, other) in [(Scheme::Http, secured), (Scheme::Https, plain)] {
        for origin in ["http://evil.example", "https://evil.example", "http://127.0.0.1:3000", other, "null"] {
            assert_eq!(checked(scheme, "127.0.0.1:8150", Some(origin)).as_deref(), Some("foreign_origin"), "{origin}");
        }
    }
}

#[test]
fn only_what_changes_nothing_is_for_tokens_that_only_see_and_for_cookies_of_unknown_pages() {
    let (none, own) = (headers(&[]), headers(&[("origin", "https://razor")]));
    let (token, session) = (Shown::Token("t"), Shown::Session("s"));
    for (method, headers, shown, read_only, expected) in [
        (Method::GET, &none, token, true, None),
        (Method::HEAD, &none, session, true, None),
        (Method::POST, &none, token, true, Some("read_only_token")),
        (Method::DELETE, &own, session, true, Some("read_only_token")),
        (Method::POST, &none, token, false, None),
        (Method::POST, &own, session, false, None),
        (Method::POST, &none, session, false, Some("foreign_origin")),
    ] {
        let outcome = code(may_send(&method, headers, shown, read_only));
        assert_eq!(outcome.as_deref(), expected, "{method} {shown:?} {read_only}");
    }
}

#[test]
fn what_is_not_named_as_open_is_not() {
    for path in ["/svc/hello", "/svc/repo/tce/x", "/api/microkernel/bootstrap", "/healthz", "/assets/style.css"] {
        assert_eq!(Area::of(path), Area::Open, "{path}");
    }
    for path in ["/api/collections/nodes", "/api/new", "/metrics", "/api/microkernel/bootstrap/", "/api"] {
        assert_eq!(Area::of(path), Area::Api, "{path}");
    }
    for path in ["/", "/nodes", "/new", "/svc", "//svc/hello", "/assets", "/Login", "/%73vc/x", ""] {
        assert_eq!(Area::of(path), Area::Page, "{path}");
    }
}

#[test]
fn a_token_comes_before_a_cookie_and_other_cookies_are_not_ours() {
    let cookie = format!("a=b; {COOKIE}=abc; x{COOKIE}=d");
    assert_eq!(Shown::by(&headers(&[("cookie", &cookie)])), Shown::Session("abc"));
    assert_eq!(Shown::by(&headers(&[("cookie", &cookie), ("authorization", "bearer  t1")])), Shown::Token("t1"));
    assert_eq!(Shown::by(&headers(&[("authorization", "Basic dTpw")])), Shown::Nothing, "no token of ours");
    assert_eq!(Shown::by(&headers(&[("authorization", "Bearer ")])), Shown::Token(""));
    assert_eq!(Shown::by(&headers(&[("cookie", "razormk=abc")])), Shown::Nothing);
}

proptest::proptest! {
    #[test]
    fn any_host_and_any_cookie_is_read(host in ".*", own in ".*", line in ".*") {
        let names = Names { own: Some(&own), certified: &|| vec![line.clone()] };
        let _ = names.have(&host, Scheme::Https);
        if let Ok(value) = header::HeaderValue::from_str(&line) {
            let _ = Shown::by(&HeaderMap::from_iter([(header::COOKIE, value)]));
        }
    }
}
