//! When the server's certificate ends: the day after, no machine that pins its CA checks in any more, so it is said in time.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use time::OffsetDateTime;
use tokio::sync::watch::Receiver;

use super::Files;
use crate::limits::{CERTIFICATE_LOOK, CERTIFICATE_NEAR_END};

/// The first certificate in a file, as DER.
///
/// # Errors
/// The file cannot be read, or has none.
pub fn first(path: &Path) -> anyhow::Result<Vec<u8>> {
    let shown = path.display();
    let pem = fs::read(path).with_context(|| format!("cannot read {shown}"))?;
    let der = CertificateDer::from_pem_slice(&pem).with_context(|| format!("{shown} has no certificate in PEM"))?;
    Ok(der.to_vec())
}

/// When the first certificate in a file ends.
///
/// # Errors
/// As for [`first`], or it is none of X.509.
pub fn end(path: &Path) -> anyhow::Result<OffsetDateTime> {
    let der = first(path)?;
    let (_, certificate) = x509_parser::parse_x509_certificate(&der)
        .map_err(|why| anyhow!("the certificate in {} is not understood: {why}", path.display()))?;
    Ok(certificate.validity().not_after.to_datetime())
}

/// A line for the log, a warning where the end is near.
fn told(path: &Path, now: OffsetDateTime) -> Result<String, String> {
    let end = end(path).map_err(|why| format!("cannot tell when the certificate ends: {why:#}"))?;
    let text = format!("the certificate {} ends on {}", path.display(), end.date());
    if end - now > CERTIFICATE_NEAR_END {
        return Ok(text);
    }
    Err(format!(
        "{text}: no machine that trusts its CA alone checks in after that; renew it with `mk-server tls renew`"
    ))
}

/// Says when the certificate ends, now and where that is near each day, until the sender is dropped.
pub async fn watch(files: Option<Files>, mut ended: Receiver<()>) {
    let Some(path) = files.map(|files: Files| -> PathBuf { files.certificate() }) else { return };
    let mut is_first = true;
    loop {
        match told(&path, OffsetDateTime::now_utc()) {
            Ok(text) if is_first => tracing::info!("{text}"),
            Ok(_) => {}
            Err(text) => tracing::warn!("{text}"),
        }
        is_first = false;
        tokio::select! {
            changed = ended.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(CERTIFICATE_LOOK) => {}
        }
    }
}

/// For the fuzzer: a certificate in PEM or as DER.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(bytes: &[u8]) {
    let pem = CertificateDer::from_pem_slice(bytes).ok();
    if let Ok((_, certificate)) = x509_parser::parse_x509_certificate(pem.as_deref().unwrap_or(bytes)) {
        let _ = certificate.validity().not_after.to_datetime();
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    #[test]
    fn an_end_that_is_near_or_past_is_a_warning() {
        let mut params = CertificateParams::new(vec!["razor.example".to_owned()]).unwrap();
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2030, 6, 30));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("server.pem");
        fs::write(&path, params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem()).unwrap();
        assert_eq!(end(&path).unwrap(), date_time_ymd(2030, 6, 30));
        for (now, is_near) in [((2030, 5, 30), false), ((2030, 6, 1), true), ((2031, 1, 1), true)] {
            let told = told(&path, date_time_ymd(now.0, now.1, now.2));
            assert_eq!(told.is_err(), is_near, "{told:?}");
            assert!(told.unwrap_or_else(|warning| warning).contains("ends on 2030-06-30"));
        }
        fs::write(&path, "no certificate").unwrap();
        assert!(told(&path, date_time_ymd(2030, 1, 1)).unwrap_err().contains("no certificate in PEM"));
    }
}
