//! `mk-server tls`: works on the data folder itself, so that the CA's key never goes over a network.

use super::args::{Certificate, Tls};
use super::print;
use crate::tls::{Files, expiry, issue};

/// Carries out a command.
///
/// # Errors
/// When the CA or the certificate cannot be made.
pub fn run(command: Tls) -> anyhow::Result<()> {
    match command {
        Tls::Init(Certificate { data, name }) => {
            let files = Files::of(&data);
            issue::init(&files, &name)?;
            let (ca, key) = (files.ca(), files.ca_key());
            print(&format!(
                "The CA is {ca}, its key {key}: keep that where nobody else can read it; `tls renew` needs it.\n\
                 The server listens with TLS from its next start, with a certificate that ends on {end}.\n\
                 Images trust it, and nothing else, after: mkiso customize IMAGE --server https://{name}:{port} --ca {ca}\n",
                ca = ca.display(),
                key = key.display(),
                name = name.first().map_or("", String::as_str),
                port = wire::routes::HTTPS_PORT,
                end = expiry::end(&files.certificate())?.date(),
            ))
        }
        Tls::Renew(Certificate { data, name }) => {
            let files = Files::of(&data);
            issue::renew(&files, &name)?;
            let path = files.certificate();
            let end = expiry::end(&path)?.date();
            print(&format!("Made {}, which ends on {end}; a running server uses it from now on.\n", path.display()))
        }
    }
}
