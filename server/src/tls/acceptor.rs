//! Accepting TLS with the server's certificate. One that is renewed is taken up with the next connection.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use anyhow::Context as _;
use rustls::ServerConfig;
use rustls::crypto::ring::{default_provider, sign::any_supported_type};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio_rustls::TlsAcceptor;

use super::Files;

/// What a server with a certificate accepts TLS by; nothing where there is none.
///
/// # Errors
/// The file cannot be read, or is no certificate with its key.
pub fn acceptor(files: &Files) -> anyhow::Result<Option<TlsAcceptor>> {
    let path = files.certificate();
    if !path.exists() {
        return Ok(None);
    }
    let certified = Certified::load(path)?;
    let config =
        ServerConfig::builder_with_provider(Arc::new(default_provider())).with_safe_default_protocol_versions();
    let mut config =
        config.context("TLS cannot be set up")?.with_no_client_auth().with_cert_resolver(Arc::new(certified));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Some(TlsAcceptor::from(Arc::new(config))))
}

/// The certificate in force, by the time of its file.
#[derive(Debug)]
struct Certified {
    path: PathBuf,
    current: RwLock<(Option<SystemTime>, Arc<CertifiedKey>)>,
}

impl Certified {
    fn load(path: PathBuf) -> anyhow::Result<Self> {
        let current = RwLock::new((changed(&path), read(&path)?));
        Ok(Self { path, current })
    }
}

impl ResolvesServerCert for Certified {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let now = changed(&self.path);
        let (then, key) = self.current.read().unwrap_or_else(PoisonError::into_inner).clone();
        if now == then || now.is_none() {
            return Some(key);
        }
        let key = read(&self.path).unwrap_or_else(|why| {
            tracing::warn!("goes on with the certificate of before: {why:#}");
            key
        });
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = (now, Arc::clone(&key));
        Some(key)
    }
}

fn changed(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|file| file.modified()).ok()
}

fn read(path: &Path) -> anyhow::Result<Arc<CertifiedKey>> {
    let shown = path.display();
    let pem = fs::read(path).with_context(|| format!("cannot read {shown}"))?;
    let chain = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
    let chain = chain.with_context(|| format!("{shown} has no certificate in PEM"))?;
    anyhow::ensure!(!chain.is_empty(), "{shown} has no certificate in PEM");
    let key = PrivateKeyDer::from_pem_slice(&pem);
    let key = key.with_context(|| format!("{shown} has no key in PEM behind its certificate"))?;
    let key = any_supported_type(&key).with_context(|| format!("the key in {shown} cannot be used"))?;
    let certified = CertifiedKey::new(chain, key);
    certified.keys_match().with_context(|| format!("key and certificate in {shown} are not of one pair"))?;
    Ok(Arc::new(certified))
}
