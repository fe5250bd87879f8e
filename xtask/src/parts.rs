//! What the agent is compiled from: crates as cargo resolves them for it and its target alone, Rust's standard library, and the
//! C library that is linked in. Written as JSON for `mkiso build --agent-parts`, which needs no cargo then.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use xshell::cmd;

use crate::{place, programs};

/// What `cargo tree` prints of a crate: name and version, path of one of ours, and the licence behind this.
const BETWEEN: char = '|';

/// Of the list's name, behind the agent's.
const ENDING: &str = "parts.json";

/// Writes the list beside the agent; gives its place.
///
/// # Errors
/// Cargo or the compiler cannot be asked, or the list cannot be written.
pub(crate) fn write(agent: &Path) -> anyhow::Result<PathBuf> {
    let sh = programs::shell()?;
    let format = format!("{{p}}{BETWEEN}{{l}}");
    let tree = programs::cargo(&sh).args(["tree", "--locked", "-p", "mk-agent", "--target", programs::TARGET]);
    let tree = tree.args(["-e", "normal,no-proc-macro", "--prefix", "none", "--no-dedupe", "--format", &format]);
    let tree = tree.read().context("cargo cannot list the agent's crates")?;
    let mut list = crates(&tree, &digests(&sh.read_file("Cargo.lock")?)?)?;
    let rustc = cmd!(sh, "rustc --version").quiet().read().context("rustc does not tell its version")?;
    let rust = rustc.split_whitespace().nth(1).with_context(|| format!("rustc says {rustc:?} of its version"))?;
    list.push(json!({"name": "rust-std", "version": rust, "license": "MIT OR Apache-2.0"}));
    // The one of this machine, since the agent is linked statically.
    let glibc = cmd!(sh, "getconf GNU_LIBC_VERSION").quiet().read().context("getconf does not tell the C library")?;
    let glibc = glibc.split_whitespace().nth(1).with_context(|| format!("getconf says {glibc:?} of the C library"))?;
    list.push(json!({"name": "glibc", "version": glibc, "license": "LGPL-2.1-or-later"}));
    let path = agent.with_extension(ENDING);
    sh.write_file(&path, serde_json::to_vec_pretty(&list)?)
        .with_context(|| format!("cannot write {}", place::shown(&path)))?;
    Ok(path)
}

/// The list beside an agent, where it was built here.
pub(crate) fn beside(agent: &Path) -> Option<PathBuf> {
    Some(agent.with_extension(ENDING)).filter(|path| path.is_file())
}

/// SHA-256 by name and version of all crates that come from the registry.
fn digests(lock: &str) -> anyhow::Result<BTreeMap<(String, String), String>> {
    let lock: toml::Table = toml::from_str(lock).context("Cargo.lock cannot be read")?;
    let packages = lock.get("package").and_then(toml::Value::as_array).context("Cargo.lock has no packages")?;
    let text = |package: &toml::Value, key: &str| Some(package.get(key)?.as_str()?.to_owned());
    let digest = |package| Some(((text(package, "name")?, text(package, "version")?), text(package, "checksum")?));
    Ok(packages.iter().filter_map(digest).collect())
}

/// The crates that `cargo tree` lists, each once, without the agent itself.
fn crates(tree: &str, digests: &BTreeMap<(String, String), String>) -> anyhow::Result<Vec<Value>> {
    let mut list = BTreeMap::new();
    for line in tree.lines() {
        let said = || format!("cargo tree says {line:?}");
        let (package, license) = line.split_once(BETWEEN).with_context(said)?;
        let mut words = package.split_whitespace();
        let (name, version) = (words.next().with_context(said)?, words.next().with_context(said)?);
        let version = version.strip_prefix('v').with_context(said)?;
        if name == "mk-agent" {
            continue;
        }
        // Some still write licences as cargo had it before it took SPDX's form.
        let mut part = json!({"name": name, "version": version, "license": license.replace('/', " OR ")});
        if let Some(digest) = digests.get(&(name.to_owned(), version.to_owned())) {
            part["sha256"] = json!(digest);
            part["download"] = json!(format!("https://static.crates.io/crates/{name}/{name}-{version}.crate"));
            part["purl"] = json!(format!("pkg:cargo/{name}@{}", version.replace('+', "%2B")));
        }
        list.insert((name.to_owned(), version.to_owned()), part);
    }
    ensure!(
        list.contains_key(&("wire".to_owned(), env!("CARGO_PKG_VERSION").to_owned())),
        "cargo tree lists no `wire`"
    );
    Ok(list.into_values().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_crate_is_there_once_with_digest_and_licence_and_ours_without_a_path() {
        let lock = "[[package]]\nname = \"ring\"\nversion = \"0.17.14\"\nchecksum = \"ab\"\n\
                    [[package]]\nname = \"wire\"\nversion = \"0.1.0\"\n";
        let version = env!("CARGO_PKG_VERSION");
        let tree = format!(
            "mk-agent v{version} (/home/x/agent)|MIT\nring v0.17.14|Apache-2.0/ISC\nwire v{version} (/home/x/wire)|MIT\n\
             ring v0.17.14|Apache-2.0/ISC\n"
        );
        let list = crates(&tree, &digests(lock).unwrap()).unwrap();
        assert_eq!(list.len(), 2);
        assert_eq!(list[0]["license"], "Apache-2.0 OR ISC");
        assert_eq!((&list[0]["sha256"], &list[0]["purl"]), (&json!("ab"), &json!("pkg:cargo/ring@0.17.14")));
        assert_eq!(list[1], json!({"name": "wire", "version": version, "license": "MIT"}));
        assert!(crates("ring", &BTreeMap::new()).is_err());
    }
}
