//! TLS with the CA that an image pins. Nothing else is trusted, and a clock that is behind does not make the server look false: its
//! certificate is judged at the latest of three times, this machine's clock, the image's date, and the time from which the certificate
//! says that it is valid. One that is not valid yet by a dead clock is no forgery, since the CA has signed it; one that has
//! ended by any of the three is refused.

use std::sync::Arc;
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

/// Longest chain whose times are looked at, in certificates.
const CHAIN: usize = 8;

/// What an image pins.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ca<'a> {
    /// Certificates of one or more CAs, in PEM.
    pub(crate) pem: &'a str,
    /// Date of the image in seconds since 1970.
    pub(crate) image_date: i64,
}

/// TLS that trusts these CAs only.
///
/// # Errors
/// There is no certificate in it, one is not understood, or TLS cannot be set up.
pub(crate) fn pinned(ca: Ca<'_>) -> Result<ClientConfig, String> {
    let judge = Arc::new(Judge::new(ca)?);
    let config =
        ClientConfig::builder_with_provider(Arc::new(default_provider())).with_safe_default_protocol_versions();
    let config = config.map_err(|why| why.to_string())?.dangerous();
    Ok(config.with_custom_certificate_verifier(judge).with_no_client_auth())
}

/// Judges a certificate as rustls does, but for the time.
#[derive(Debug)]
struct Judge {
    verifier: Arc<WebPkiServerVerifier>,
    least: UnixTime,
}

impl Judge {
    fn new(Ca { pem, image_date }: Ca<'_>) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            roots.add(certificate.map_err(|why| why.to_string())?).map_err(|why| why.to_string())?;
        }
        if roots.is_empty() {
            return Err("there is no certificate in it".to_owned());
        }
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::new(default_provider())).build();
        let least = UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(image_date).unwrap_or(0)));
        Ok(Self { verifier: verifier.map_err(|why| why.to_string())?, least })
    }
}

impl ServerCertVerifier for Judge {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let mut time = now.max(self.least);
        for _ in 0..CHAIN {
            let judged = self.verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, time);
            match judged {
                Err(Error::InvalidCertificate(CertificateError::NotValidYetContext { not_before, .. }))
                    if not_before > time =>
                {
                    time = not_before;
                }
                judged => return judged,
            }
        }
        Err(Error::InvalidCertificate(CertificateError::NotValidYet))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

/// For the fuzzer: certificates in PEM, of which there has to be one.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(bytes: &[u8]) {
    let pem = String::from_utf8_lossy(bytes);
    let judge = Judge::new(Ca { pem: &pem, image_date: 0 });
    assert!(judge.is_err() || pem.contains("-----BEGIN CERTIFICATE-----"));
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};

    use super::*;

    /// A CA of 2020 to 2060, and by it a certificate for `razor.example` from one year to another.
    fn certificate(from: i32, to: i32) -> (String, CertificateDer<'static>) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2060, 1, 1));
        let ca = params.self_signed(&key).unwrap().pem();
        let issuer = Issuer::new(params, key);
        let mut params = CertificateParams::new(vec!["razor.example".to_owned()]).unwrap();
        (params.not_before, params.not_after) = (date_time_ymd(from, 1, 1), date_time_ymd(to, 1, 1));
        let certificate = params.signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap();
        (ca, certificate.der().clone())
    }

    /// Whether a machine whose clock and image are of these years accepts it for this name.
    fn accepts(made: &(String, CertificateDer<'_>), clock: i32, image: i32, name: &'static str) -> Result<(), Error> {
        let seconds = |year| date_time_ymd(year, 6, 1).unix_timestamp();
        let judge = Judge::new(Ca { pem: &made.0, image_date: seconds(image) }).unwrap();
        let now = UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(seconds(clock)).unwrap()));
        judge.verify_server_cert(&made.1, &[], &ServerName::try_from(name).unwrap(), &[], now).map(drop)
    }

    const NAME: &str = "razor.example";

    #[test]
    fn a_clock_that_is_behind_does_not_make_the_server_look_false() {
        let renewed = certificate(2030, 2032);
        for (clock, image) in [(2031, 2025), (1999, 2025), (1970, 1970), (2025, 2025), (1999, 2031)] {
            assert_eq!(accepts(&renewed, clock, image, NAME), Ok(()), "clock {clock}, image {image}");
        }
    }

    #[test]
    fn what_has_ended_or_is_another_s_is_refused() {
        let renewed = certificate(2030, 2032);
        for (clock, image) in [(2033, 2025), (2031, 2033)] {
            let refused = accepts(&renewed, clock, image, NAME).unwrap_err().to_string();
            assert!(refused.contains("expired"), "clock {clock}, image {image}: {refused}");
        }
        assert!(accepts(&renewed, 1999, 2025, "other.example").unwrap_err().to_string().contains("name"));
        let other = (certificate(2030, 2032).0, renewed.1);
        for clock in [1999, 2031] {
            let refused = accepts(&other, clock, 2025, NAME).unwrap_err();
            assert!(matches!(refused, Error::InvalidCertificate(_)), "{refused}");
        }
        for pem in ["", "no certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            assert!(pinned(Ca { pem, image_date: 0 }).is_err(), "{pem}");
        }
    }
}
