//! What an operator hands in: files, a server's address, CA certificates.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

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

/// A server's URL without a slash at its end. With `has_ca`, the image pins a CA and speaks HTTPS only.
///
/// # Errors
/// It is no URL of a server's root, or one that such an image would not speak to.
pub fn server_url(text: &str, has_ca: bool) -> Result<String> {
    let (is_secure, rest) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
        (Some(rest), _) => (true, rest),
        (_, Some(rest)) => (false, rest),
        _ => bail!("{text:?} is no server URL; write it such as http://10.0.0.1:8150"),
    };
    ensure!(
        has_ca || !is_secure,
        "{text:?} needs the server's CA in the image, or it would never check in; give it with --ca FILE (mk-server tls init \
         makes one), or write the server's http:// address"
    );
    ensure!(
        is_secure || !has_ca,
        "{text:?} would never be asked: the image has a CA and speaks HTTPS only; write the server's https:// address, with port \
         8151 unless it has another"
    );
    let host = rest.trim_end_matches('/');
    let plain = !host.is_empty() && !host.contains(['/', '?', '#', '@', '"', '\\']);
    ensure!(
        plain && !host.contains(|c: char| c.is_whitespace() || c.is_control()),
        "{text:?} is no server URL: it must be scheme, host and port only, such as http://10.0.0.1:8150"
    );
    Ok(text.trim_end_matches('/').to_owned())
}

/// CA certificates in PEM, without what else may stand around them.
///
/// # Errors
/// There is none, one is not understood, or a key is among them.
pub fn ca_certificates(text: &str) -> Result<String> {
    ensure!(!text.contains("PRIVATE KEY"), "there is a private key in it; give the certificate alone, such as ca.pem");
    let mut roots = RootCertStore::empty();
    let mut pem = String::new();
    for (number, certificate) in CertificateDer::pem_slice_iter(text.as_bytes()).enumerate() {
        let what = || format!("certificate {} in it is not understood", number + 1);
        roots.add(certificate.with_context(what)?).with_context(what)?;
    }
    ensure!(!roots.is_empty(), "there is no certificate in PEM in it");
    let mut within = false;
    for line in text.lines().map(str::trim_end) {
        within |= line.starts_with("-----BEGIN");
        if within {
            pem.push_str(line);
            pem.push('\n');
        }
        within &= !line.starts_with("-----END");
    }
    Ok(pem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_urls() {
        assert_eq!(server_url("http://10.0.0.1:8150/", false).unwrap(), "http://10.0.0.1:8150");
        assert_eq!(server_url("http://[fd00::1]:8150", false).unwrap(), "http://[fd00::1]:8150");
        assert_eq!(server_url("https://razor.example:8151/", true).unwrap(), "https://razor.example:8151");
        for text in ["10.0.0.1", "ftp://x", "http://", "http:///", "http://a b", "http://a/svc", "http://u@h"] {
            assert!(server_url(text, false).is_err(), "{text}");
        }
        assert!(server_url("https://x", false).unwrap_err().to_string().contains("--ca"));
        assert!(server_url("http://x", true).unwrap_err().to_string().contains("HTTPS only"));
    }

    #[test]
    fn certificates_are_taken_alone() {
        let pem = rcgen::generate_simple_self_signed(Vec::new()).unwrap().cert.pem();
        let text = format!("subject=Our CA\r\n{}\n\nsubject=again\n{pem}", pem.replace('\n', "\r\n"));
        let taken = ca_certificates(&text).unwrap();
        assert_eq!(taken, format!("{}\n{}\n", pem.trim(), pem.trim()));
        assert_eq!(ca_certificates(&taken).unwrap(), taken);
        let damaged = pem.replace("MII", "AAA");
        for (text, words) in
            [("", "no certificate"), ("-----BEGIN PRIVATE KEY-----", "private key"), (&damaged, "certificate 1 in it")]
        {
            assert!(ca_certificates(text).unwrap_err().to_string().contains(words), "{text}");
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
