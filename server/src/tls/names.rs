//! Names that the server's certificate is for.

use std::path::Path;

use x509_parser::extensions::GeneralName;

use super::expiry;

/// The DNS names of the first certificate in a file; none where there is no such file, or it is not understood.
#[must_use]
pub fn of(path: &Path) -> Vec<String> {
    let Ok(der) = expiry::first(path) else { return Vec::new() };
    let Ok((_, certificate)) = x509_parser::parse_x509_certificate(&der) else { return Vec::new() };
    let Ok(Some(names)) = certificate.subject_alternative_name() else { return Vec::new() };
    let dns = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        _ => None,
    };
    names.value.general_names.iter().filter_map(dns).collect()
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    #[test]
    fn names_are_read_and_addresses_are_none() {
        let names = ["razor.example", "10.0.0.1", "*.lab.example"].map(str::to_owned).to_vec();
        let certificate = CertificateParams::new(names).unwrap().self_signed(&KeyPair::generate().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("server.pem");
        std::fs::write(&path, certificate.pem()).unwrap();
        assert_eq!(of(&path), ["razor.example", "*.lab.example"]);
        assert!(of(&folder.path().join("none")).is_empty());
        std::fs::write(&path, "no certificate").unwrap();
        assert!(of(&path).is_empty());
    }
}
