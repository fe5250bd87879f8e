//! No secret is in an image: neither private keys nor passwords nor tokens, which all its copies would share. `grep` looks for
//! them in every archive and in every file of every extension, those of the internal mirror included.

use std::fs;
use std::path::{Path, PathBuf};

use duct::cmd;

use super::image::{Image, VARIANTS};

/// What secrets look like; programs have the words of the first line alone, and not what follows it in a key.
const LOOKS: [&str; 6] = [
    "-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----\\r?\\n([A-Za-z-]+: [^\\n]*\\n)*\\s*[A-Za-z0-9+/=]{48}",
    "b3BlbnNzaC1rZXktdjE[A-Za-z0-9+/=]{20}",
    "encrypted secret key\\n[A-Za-z0-9+/=]{40}",
    // A line of passwd or shadow whose second field is a password's digest.
    "(^|\\n)[a-z_][a-z0-9_-]*:(\\$[0-9a-z]{1,3}\\$[./A-Za-z0-9,=]{3,}\\$|[./A-Za-z0-9]{13}:)",
    "AGE-SECRET-KEY-1[0-9A-Z]{20}",
    "(AKIA[0-9A-Z]{16}|gh[pousr]_[A-Za-z0-9]{36}|[a-z]+://[^/\\s:@]{1,40}:[^/\\s:@%<>\\[\\]]{4,40}@[a-z])",
];
/// How names of files that hold keys end, or what they are.
const NAMES: [&str; 9] = [".key", ".p12", ".pfx", ".jks", "_rsa", "_ecdsa", "_ed25519", ".netrc", ".pgpass"];

#[test]
fn no_image_holds_a_secret() {
    for image in VARIANTS.into_iter().map(Image::open) {
        let archives = ["base", "first", "second", "site"].map(|name| image.path(&format!("{name}.cpio")));
        let mut places = archives.to_vec();
        places.extend([image.path("tcz"), unpacked_rest(image)]);
        assert_eq!(with_secrets(&places), "", "{}", image.variant);
        let mut names = image.everything();
        names.extend(walkdir::WalkDir::new(&places[5]).into_iter().map(|e| e.unwrap().path().display().to_string()));
        let keys: Vec<_> = names.iter().filter(|name| NAMES.iter().any(|end| name.ends_with(end))).collect();
        assert!(keys.is_empty() && names.len() > 1000, "{}: {keys:?}", image.variant);
        // An operator's own line is all that a slot has of keys.
        if image.has_ssh() {
            let site = fs::read_to_string(image.path("site.cpio")).unwrap();
            assert_eq!(site.matches("ssh-ed25519 ").count(), 1, "{}", image.variant);
        }
    }
}

/// Extensions that are in the image and not loaded at boot, taken apart.
fn unpacked_rest(image: &Image) -> PathBuf {
    let (rest, loaded) = (image.path("rest"), image.extensions());
    fs::create_dir_all(&rest).unwrap();
    let all = fs::read_dir(image.path("root/tmp/builtin/optional")).unwrap().map(|entry| entry.unwrap().path());
    let name = |file: &Path| file.file_name().unwrap().to_str().unwrap().to_owned();
    let others: Vec<_> = all.filter(|file| name(file).ends_with(".tcz") && !loaded.contains(&name(file))).collect();
    assert!(!others.is_empty(), "{}: the mirror has extensions of its own", image.variant);
    for file in others {
        cmd!("unsquashfs", "-q", "-n", "-d", rest.join(name(&file)), file).stdout_null().run().unwrap();
    }
    rest
}

/// Files below these places in which something looks like a secret, one a line.
fn with_secrets(places: &[PathBuf]) -> String {
    let pattern = LOOKS.join("|");
    let begin = ["-r", "-l", "-a", "-z", "-P", "-e", &pattern, "--"].map(PathBuf::from);
    let run = cmd("grep", [&begin, places].concat()).env("LC_ALL", "C").stdout_capture().unchecked().run().unwrap();
    assert!(matches!(run.status.code(), Some(0 | 1)), "grep has failed");
    String::from_utf8_lossy(&run.stdout).trim().to_owned()
}

#[test]
fn each_kind_of_secret_would_be_found() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    for (kind, bits) in [("ed25519", "256"), ("rsa", "2048")] {
        for format in ["RFC4716", "PEM", "PKCS8"] {
            let key = file(&format!("{kind}-{format}"));
            cmd!("ssh-keygen", "-q", "-t", kind, "-b", bits, "-m", format, "-N", "", "-f", &key).run().unwrap();
            assert_eq!(with_secrets(std::slice::from_ref(&key)), key.to_str().unwrap());
            let public = key.with_extension("pub");
            assert_eq!(with_secrets(&[public]), "");
            fs::remove_file(key.with_extension("pub")).unwrap();
        }
    }
    let words = |word: &str, times: usize| word.repeat(times);
    for (name, secret) in [
        ("old", format!("root:{}:19000:0:::\n", words("a", 13))),
        ("new", format!("daemon:*:1::::\nroot:$6${}${}:19000:0:::\n", words("s", 8), words("h", 86))),
        ("yescrypt", format!("tc:$y$j9T${}${}:19000::::::\n", words("s", 22), words("h", 43))),
        ("minisign", format!("untrusted comment: minisign encrypted secret key\n{}\n", words("RWRT", 40))),
        ("age", format!("AGE-SECRET-KEY-1{}\n", words("QR", 29))),
        ("token", format!("machine = ghp_{}\n", words("a1", 18))),
        ("url", "mirror = https://robot:secret@mirror.example/\n".to_owned()),
    ] {
        // Among other bytes, as it lies in an archive.
        fs::write(file(name), [&b"\0\xff\0"[..], secret.as_bytes(), b"\0\0"].concat()).unwrap();
        assert_eq!(with_secrets(&[file(name)]), file(name).to_str().unwrap());
    }
    fs::write(
        file("none"),
        "root:*:20089:0:99999:7:::\nroot:x:0:0:root:/root:/bin/sh\n-----BEGIN OPENSSH PRIVATE KEY-----\0\0%s",
    )
    .unwrap();
    assert_eq!(with_secrets(&[file("none")]), "");
}
