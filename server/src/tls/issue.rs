//! Making the CA and the server's certificate. Keys are ECDSA P-256, and readable for their owner only. A certificate that is
//! renewed is by the same CA, so that images go on trusting it.

use std::fs::{self, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::Path;

use anyhow::{Context as _, bail, ensure};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PublicKeyData as _,
};
use sha2::{Digest as _, Sha256};
use time::{Duration, OffsetDateTime};

use super::{Files, expiry};

/// For how long the CA is valid: longer than the machines whose images pin it are used.
const CA_VALID: Duration = Duration::days(20 * 365);
/// For how long the server's certificate is.
const CERTIFICATE_VALID: Duration = Duration::days(2 * 365);
/// Both are valid from so long ago, for clocks that are behind.
const BEFORE: Duration = Duration::days(2);
/// Digits of its key's digest in the CA's name, so that two CAs can be told apart.
const NAME_DIGITS: usize = 8;

/// Makes a CA and a certificate for these names and addresses.
///
/// # Errors
/// There is a CA, a key or a certificate already, a name is none, or a file cannot be written. A CA whose certificate could not be
/// written is completed by [`renew`].
pub fn init(files: &Files, names: &[String]) -> anyhow::Result<()> {
    let folder = &files.folder;
    for path in [files.ca(), files.ca_key(), files.certificate()] {
        ensure!(
            !path.exists(),
            "there is {} already, which images or this server may depend on; for a new certificate by the same CA use \
             `mk-server tls renew`, for a new CA move the folder {} aside",
            path.display(),
            folder.display()
        );
    }
    let names = checked(names)?;
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.with_context(|| format!("cannot make the folder {}", folder.display()))?;
    let key = KeyPair::generate().context("cannot make a key")?;
    let ca = authority(&key)?.self_signed(&key).context("cannot make the CA's certificate")?;
    put(&files.ca_key(), &key.serialize_pem(), 0o600)?;
    put(&files.ca(), &ca.pem(), 0o644)?;
    // Last: with it a server speaks TLS.
    certify(files, &names, &key)
}

/// Makes a new key and certificate by the CA, for these names, or without any for those of before.
///
/// # Errors
/// There is no CA, or its key is elsewhere or another one's; a name is none; or a file cannot be written.
pub fn renew(files: &Files, names: &[String]) -> anyhow::Result<()> {
    let path = files.ca_key();
    let pem = fs::read_to_string(&path).with_context(|| {
        format!(
            "cannot read the CA's key {}; make a CA with `mk-server tls init`, or put its key there",
            path.display()
        )
    })?;
    let key = KeyPair::from_pem(&pem).with_context(|| format!("{} is no key in PEM", path.display()))?;
    let ca = expiry::first(&files.ca())?;
    ensure!(
        contains(&ca, key.der_bytes()),
        "{} is not the key of {}: no image that trusts this CA would trust its certificates",
        path.display(),
        files.ca().display()
    );
    let before;
    let names = match names {
        [] => {
            let path = files.names();
            let text = fs::read_to_string(&path);
            let text = text.with_context(|| format!("cannot read {}; give the names with --name", path.display()))?;
            before = text.lines().map(str::to_owned).collect::<Vec<_>>();
            checked(&before)?
        }
        names => checked(names)?,
    };
    certify(files, &names, &key)
}

/// Whether a certificate is for this public key, which stands in it as it is.
fn contains(certificate: &[u8], key: &[u8]) -> bool {
    certificate.windows(key.len()).any(|window| window == key)
}

/// The names, if a certificate can be for them.
fn checked(names: &[String]) -> anyhow::Result<Vec<String>> {
    if names.is_empty() {
        bail!(
            "say under which names and addresses machines reach this server, such as --name razor.example --name 10.0.0.1"
        );
    }
    for name in names {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':');
        ensure!(
            !name.is_empty() && name.chars().all(plain),
            "{name:?} is no name or address; write it without scheme and port, such as razor.example or 10.0.0.1"
        );
    }
    Ok(names.to_vec())
}

/// The CA's own certificate. Made of its key alone, so that it can be made again to sign by.
fn authority(key: &KeyPair) -> anyhow::Result<CertificateParams> {
    let digest: String = Sha256::digest(key.der_bytes()).iter().map(|b| format!("{b:02x}")).collect();
    let mut params = CertificateParams::new(Vec::new())?;
    let name = format!("Razor Microkernel CA {}", digest.get(..NAME_DIGITS).unwrap_or_default());
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    valid(&mut params, CA_VALID);
    Ok(params)
}

/// Makes the server's key and certificate.
fn certify(files: &Files, names: &[String], ca_key: &KeyPair) -> anyhow::Result<()> {
    let issuer = Issuer::new(authority(ca_key)?, ca_key);
    let mut params = CertificateParams::new(names).context("cannot make a certificate for these names")?;
    params.distinguished_name.push(DnType::CommonName, "Razor Microkernel server");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    valid(&mut params, CERTIFICATE_VALID);
    let key = KeyPair::generate().context("cannot make a key")?;
    let certificate = params.signed_by(&key, &issuer).context("cannot make the server's certificate")?;
    put(&files.names(), &(names.join("\n") + "\n"), 0o644)?;
    // Key and certificate in one file, so that a running server never reads one of two pairs.
    put(&files.certificate(), &format!("{}{}", certificate.pem(), key.serialize_pem()), 0o600)
}

fn valid(params: &mut CertificateParams, time: Duration) {
    let now = OffsetDateTime::now_utc();
    (params.not_before, params.not_after) = (now - BEFORE, now + time);
}

/// Writes a file whole or not at all.
fn put(path: &Path, text: &str, mode: u32) -> anyhow::Result<()> {
    let write = || -> std::io::Result<()> {
        let folder = path.parent().unwrap_or(Path::new("."));
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.as_file().set_permissions(Permissions::from_mode(mode))?;
        file.write_all(text.as_bytes())?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        fs::File::open(folder)?.sync_all()
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}
