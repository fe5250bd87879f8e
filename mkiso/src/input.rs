//! What an operator hands in: files, a server's address, kernel arguments.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};

use crate::limits::MAX_INPUT;

/// Reads a file that an operator named; `what` says what it is to be.
///
/// # Errors
/// It cannot be read, or is too large to be what it should be.
pub fn read(path: &Path, what: &str) -> Result<Vec<u8>> {
    read_up_to(path, what, MAX_INPUT)
}

/// The same for what may have `limit` bytes.
///
/// # Errors
/// As for [`read`].
pub fn read_up_to(path: &Path, what: &str, limit: u64) -> Result<Vec<u8>> {
    let file = File::open(path).with_context(|| format!("cannot open the {what} {}", path.display()))?;
    all_of(file, limit).with_context(|| format!("cannot read the {what} {}", path.display()))
}

/// All bytes of a reader that must not have more than `limit`.
///
/// # Errors
/// It fails, or has more.
pub fn all_of(from: impl Read, limit: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(limit + 1).read_to_end(&mut bytes)?;
    ensure!(bytes.len() as u64 <= limit, "it has more than {limit} bytes");
    Ok(bytes)
}

/// A server's URL without a slash at its end.
///
/// # Errors
/// It is no `http` URL of a server's root.
pub fn server_url(text: &str) -> Result<String> {
    ensure!(
        !text.starts_with("https://"),
        "{text:?} needs the server's CA in the image, which cannot be given yet, so that no such image would ever check \
         in; write the server's http:// address"
    );
    let Some(rest) = text.strip_prefix("http://") else {
        bail!("{text:?} is no server URL; write it such as http://10.0.0.1:8150");
    };
    let host = rest.trim_end_matches('/');
    let plain = !host.is_empty() && !host.contains(['/', '?', '#', '@', '"', '\\']);
    ensure!(
        plain && !host.contains(|c: char| c.is_whitespace() || c.is_control()),
        "{text:?} is no server URL: it must be scheme, host and port only, such as http://10.0.0.1:8150"
    );
    Ok(text.trim_end_matches('/').to_owned())
}

/// Whether this can stand on a machine's kernel line as an argument of ours. What it means, the agent judges.
///
/// # Errors
/// It cannot; says why.
pub fn kernel_argument(text: &str) -> Result<()> {
    let key = text.split('=').next().unwrap_or_default();
    let name = key.strip_prefix("razor.").unwrap_or_default();
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    ensure!(
        !name.is_empty() && name.chars().all(allowed),
        "{text:?} is no kernel argument of ours; write it such as razor.vlan=5"
    );
    ensure!(
        !text.contains(|c: char| c == '"' || c.is_whitespace() || c.is_control()),
        "{text:?} has a blank or a quote in it; write --arg once for each argument, without either"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_urls() {
        assert_eq!(server_url("http://10.0.0.1:8150/").unwrap(), "http://10.0.0.1:8150");
        assert_eq!(server_url("http://[fd00::1]:8150").unwrap(), "http://[fd00::1]:8150");
        for text in
            ["https://x", "10.0.0.1", "ftp://x", "http://", "http:///", "http://a b", "http://a/svc", "http://u@h"]
        {
            assert!(server_url(text).is_err(), "{text}");
        }
    }

    #[test]
    fn kernel_arguments() {
        for text in ["razor.vlan=eth0,5", "razor.bond=802.3ad,eth0,eth1", "razor.fact.rack=a=b", "razor.log"] {
            assert!(kernel_argument(text).is_ok(), "{text}");
        }
        for text in
            ["", "quiet", "razor.", "razor.=5", "vlan=5", "razor.vlan=5 razor.log=debug", "razor.a=\"b\"", "razor.a=\n"]
        {
            assert!(kernel_argument(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = format!("{:#}", read(Path::new("/nonexistent/agent"), "agent").unwrap_err());
        assert!(error.contains("the agent /nonexistent/agent"), "{error}");
    }

    #[test]
    fn nothing_is_cut_at_its_limit() {
        assert_eq!(all_of(&b"abc"[..], 3).unwrap(), b"abc");
        assert_eq!(all_of(&b"abcd"[..], 3).unwrap_err().to_string(), "it has more than 3 bytes");
    }
}
