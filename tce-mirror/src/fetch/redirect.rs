//! Which redirections of a mirror are followed. Checksums come from where the file comes from, so that whoever stands in a plain
//! connection can change both: who has asked by HTTPS is not led out of it.

use anyhow::anyhow;
use reqwest::Url;
use reqwest::redirect::Policy;

use crate::limits::REDIRECTS;

/// Follows some redirections, but none from HTTPS to plain HTTP. With `https_only` no other machine is asked by plain HTTP at all.
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
    let by_https = https_only || previous.iter().any(|url| url.scheme() == "https");
    // What listens here trusts who is on this machine, so that nobody elsewhere leads to it.
    let from_here = is_here(to) && previous.iter().all(is_here);
    if by_https && to.scheme() != "https" && !from_here {
        return Some(format!("the mirror leads to {to}, which is not asked, since that would leave HTTPS"));
    }
    (previous.len() > REDIRECTS).then(|| format!("the mirror redirects more than {REDIRECTS} times, lastly to {to}"))
}

/// Whether a URL is this machine's own.
pub(super) fn is_here(url: &Url) -> bool {
    matches!(url.host_str(), Some("localhost" | "127.0.0.1"))
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
            assert!(followed || why.is_some_and(|why| why.contains(to) && why.contains("leave HTTPS")));
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
