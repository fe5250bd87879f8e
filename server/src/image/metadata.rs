//! `iso-metadata.yaml` and the boot loader's arguments, as an image carries them. Pure.

use anyhow::{Context as _, bail, ensure};
use sha2::{Digest as _, Sha256, Sha512};

/// Digests that an image may name. The ancestor made an object of whatever class the file named; this is the whole list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// SHA-256.
    Sha256,
    /// SHA-512.
    Sha512,
}

/// A digest being made.
pub enum Hasher {
    /// SHA-256.
    Sha256(Sha256),
    /// SHA-512.
    Sha512(Sha512),
}

impl Algorithm {
    /// Begins a digest.
    #[must_use]
    pub fn hasher(self) -> Hasher {
        match self {
            Self::Sha256 => Hasher::Sha256(Sha256::new()),
            Self::Sha512 => Hasher::Sha512(Sha512::new()),
        }
    }
}

impl Hasher {
    /// Takes further bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(h) => h.update(bytes),
            Self::Sha512(h) => h.update(bytes),
        }
    }

    /// The digest in lower-case hex.
    #[must_use]
    pub fn finish(self) -> String {
        let bytes = match self {
            Self::Sha256(h) => h.finalize().to_vec(),
            Self::Sha512(h) => h.finalize().to_vec(),
        };
        bytes.iter().map(|b| format!("{b:02x}")).collect()
    }
}

/// A file in the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Path in the image.
    pub path: String,
    /// Its digest; absent for the slot that a site fills.
    pub digest: Option<String>,
}

/// What an image says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    /// Version of the image.
    pub version: String,
    /// `production`, `development` or `debug`.
    pub variant: String,
    /// How its digests are made.
    pub algorithm: Algorithm,
    /// The kernel.
    pub kernel: Member,
    /// The initrds in order of loading.
    pub initrds: Vec<Member>,
}

/// Reads `iso-metadata.yaml`.
///
/// # Errors
/// Names the key that is missing or cannot be used.
pub fn parse(text: &str) -> anyhow::Result<Metadata> {
    let value = |key: &str| {
        let lines = text.lines().filter_map(|l| l.trim().split_once(':'));
        let found =
            lines.filter(|(k, _)| *k == key).map(|(_, v)| v.trim().trim_matches(['"', '\''])).find(|v| !v.is_empty());
        found.with_context(|| format!("it has no {key}"))
    };
    let algorithm = match (value("type")?, value("bitlen")?) {
        ("Digest::SHA2", "256") => Algorithm::Sha256,
        ("Digest::SHA2", "512") => Algorithm::Sha512,
        (kind, bits) => bail!("its digests are {kind} with {bits} bits; Digest::SHA2 with 256 or 512 is known"),
    };
    let member = |path: &str, digest: Option<&str>| -> anyhow::Result<Member> {
        let path = value(path)?.trim_start_matches('/').to_owned();
        let digest = digest.map(value).transpose()?.map(str::to_lowercase);
        Ok(Member { path, digest })
    };
    let ours = "it is no image of mkiso, whose initrds the agent is in; build one with `cargo xtask build-iso`";
    let initrds = vec![
        member("initrd", Some("initrd_hash"))?,
        member("mk_initrd", Some("mk_initrd_hash")).context(ours)?,
        member("mk_site", None).context(ours)?,
    ];
    let metadata = Metadata {
        version: value("iso_version")?.to_owned(),
        variant: value("mk_variant").context(ours)?.to_owned(),
        algorithm,
        kernel: member("kernel", Some("kernel_hash"))?,
        initrds,
    };
    for word in [&metadata.version, &metadata.variant] {
        // They become part of paths, URLs and scripts.
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '+' | '~');
        ensure!(
            word.starts_with(|c: char| c.is_ascii_alphanumeric()) && word.chars().all(plain),
            "{word:?} is no version"
        );
    }
    Ok(metadata)
}

/// The kernel's arguments of the first entry in `isolinux.cfg`, without the boot loader's own `initrd=`.
#[must_use]
pub fn kernel_args(config: &str) -> Option<String> {
    let append = config.lines().filter_map(|l| l.trim().split_once(char::is_whitespace));
    let (_, line) = append.into_iter().find(|(word, _)| word.eq_ignore_ascii_case("append"))?;
    let plain = |a: &&str| !a.starts_with("initrd=") && a.bytes().all(|b| b.is_ascii_graphic() && b != b'$');
    Some(line.split_whitespace().filter(plain).collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "---\niso_version: \"0.1.0\"\nkernel: boot/vmlinuz64\ninitrd: boot/corepure64.gz\n\
        hash_description:\n  type: Digest::SHA2\n  bitlen: 256\nkernel_hash: AA\ninitrd_hash: bb\n\
        iso_build_time: \"2026-01-01 00:00:00 UTC\"\nmk_variant: production\nmk_initrd: boot/mk.gz\nmk_initrd_hash: cc\n\
        mk_site: boot/site.img\n";

    #[test]
    fn an_image_of_ours_is_read() {
        let got = parse(GOOD).unwrap();
        assert_eq!((got.version.as_str(), got.variant.as_str()), ("0.1.0", "production"));
        assert_eq!(got.kernel, Member { path: "boot/vmlinuz64".into(), digest: Some("aa".into()) });
        let paths: Vec<_> = got.initrds.iter().map(|m| (m.path.as_str(), m.digest.as_deref())).collect();
        assert_eq!(paths, [("boot/corepure64.gz", Some("bb")), ("boot/mk.gz", Some("cc")), ("boot/site.img", None)]);
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        for (from, to, word) in [
            ("Digest::SHA2", "Kernel.system", "Kernel.system"),
            ("bitlen: 256", "bitlen: 1", "1 bits"),
            ("kernel_hash: AA\n", "", "kernel_hash"),
            ("mk_initrd: boot/mk.gz\n", "", "mkiso"),
            ("0.1.0", "../../etc", "no version"),
        ] {
            let error = format!("{:#}", parse(&GOOD.replace(from, to)).unwrap_err());
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn arguments_come_from_the_first_entry() {
        let config = "default mk\nlabel mk\n  kernel /boot/vmlinuz64\n  append initrd=/a,/b rdinit=/sbin/mk-agent ${x} quiet\n\
                      label core\n  append base\n";
        assert_eq!(kernel_args(config).unwrap(), "rdinit=/sbin/mk-agent quiet");
        assert_eq!(kernel_args("default x\n"), None);
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read(text in "(?s).*", line in ".*") {
            let _ = parse(&text);
            let args = kernel_args(&format!("append {line}")).unwrap_or_default();
            proptest::prop_assert!(!args.contains('$') && !args.contains('\n'));
        }
    }
}
