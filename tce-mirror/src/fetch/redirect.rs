//! Which redirections of a mirror are followed. Checksums come from where the file comes from, so that whoever stands in
//! a plain connection can change both: who has asked by HTTPS is not led out of it. And what listens on loopback trusts
//! who is on this machine: nobody elsewhere leads to it.

use std::net::IpAddr;

use anyhow::anyhow;
use reqwest::Url;
use reqwest::redirect::Policy;

use crate::limits::REDIRECTS;

/// Follows some redirections, but none from HTTPS to plain HTTP, and none from elsewhere to this machine. With
/// `https_only` no other machine is asked by plain HTTP at all.
pub(super) fn policy(https_only: bool) -> Policy {
    Policy::custom(move |attempt| {
        let reason = refused(attempt.previous(), attempt.url(), https_only);
        match reason {
            Some(reason) => attempt.error(anyhow!(reason)),
            None => attempt.follow(),
        }
    })
}

/// Why a redirection is not followed.
fn refused(previous: &[Url], to: &Url, https_only: bool) -> Option<String> {
    if is_loopback(to) && !previous.iter().all(is_loopback) {
        return Some(format!("the mirror leads to {to}, which is not asked, since that is this machine itself"));
    }
    let by_https = https_only || previous.iter().any(|url| url.scheme() == "https");
    if by_https && to.scheme() != "https" && !is_here(to) {
        return Some(format!("the mirror leads to {to}, which is not asked, since that would leave HTTPS"));
    }
    (previous.len() > REDIRECTS).then(|| format!("the mirror redirects more than {REDIRECTS} times, lastly to {to}"))
}

/// Whether a URL is this machine's own in one of the usual forms, which is what may be asked by plain HTTP.
pub(super) fn is_here(url: &Url) -> bool {
    matches!(url.host_str(), Some("localhost" | "127.0.0.1"))
}

/// Whether a URL leads to this machine in any form, as far as it tells.
fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']', '.']);
    match host.parse::<IpAddr>().map(|address| address.to_canonical()) {
        Ok(address) => address.is_loopback() || address.is_unspecified(),
        Err(_) => host == "localhost" || host.ends_with(".localhost"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn urls(urls: &[&str]) -> Vec<Url> {
        urls.iter().map(|url| Url::parse(url).unwrap()).collect()
    }

    #[test]
    fn https_is_not_left() {
        let plain = "http://mirror.example.org/a.tcz";
        let safe = "https://mirror.example.org/a.tcz";
        let own = "http://127.0.0.1:2157/a.tcz";
        for (from, to, https_only, followed) in [
            (&[plain][..], plain, false, true),
            (&[plain], safe, false, true),
            (&[safe], safe, false, true),
            (&[safe], plain, false, false),
            (&[plain, safe], plain, false, false),
            (&[safe], own, true, false),
            (&[safe], own, false, false),
            (&[own], own, true, true),
            (&[own], plain, true, false),
            (&[own], safe, true, true),
            (&[own], "http://127.0.0.1.example.org/a.tcz", true, false),
        ] {
            let why = refused(&urls(from), &urls(&[to])[0], https_only);
            assert_eq!(why.is_none(), followed, "{from:?} to {to}: {why:?}");
            let reason = if to == own { "this machine" } else { "leave HTTPS" };
            assert!(followed || why.is_some_and(|why| why.contains(to) && why.contains(reason)));
        }
    }

    #[test]
    fn nobody_elsewhere_leads_to_this_machine() {
        let mirror = urls(&["http://mirror.example.org/a.tcz"]);
        for host in
            ["127.0.0.1:8150", "127.1", "localhost", "a.localhost.", "[::1]:1", "[::ffff:127.0.0.1]", "0", "[::]"]
        {
            let to = &urls(&[&format!("http://{host}/api")])[0];
            let why = refused(&mirror, to, false);
            assert!(why.is_some_and(|why| why.contains("this machine")), "{to}");
            assert_eq!(refused(&urls(&["http://127.0.0.1/a"]), to, false), None, "it may lead to itself: {to}");
        }
        for host in ["10.0.2.2", "localhost.example.org", "[2001:db8::1]"] {
            assert_eq!(refused(&mirror, &urls(&[&format!("http://{host}/api")])[0], false), None, "{host}");
        }
    }

    #[test]
    fn some_are_followed_and_no_more() {
        let all = |count| urls(&vec!["http://mirror.example.org"; count]);
        let to = &all(1)[0];
        assert_eq!(refused(&all(REDIRECTS), to, false), None);
        assert!(refused(&all(REDIRECTS + 1), to, false).is_some_and(|why| why.contains("more than")));
    }
}
