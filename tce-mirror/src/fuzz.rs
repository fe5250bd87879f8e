//! What is fuzzed of extensions and packages: each parser of bytes from outside by a name, with what must be true of it, and folders or files of
//! the work tree that have examples.
//!
//! `cargo xtask fuzz` runs them guided by coverage; the test below runs what that has found, and changes of it.

use crate::{apt, checksum, deb, elf, import, plan, recipe, repository, serve, tree};

/// Name, what is checked of any bytes, and where examples are.
pub type Target = (&'static str, fn(&[u8]), &'static [&'static str]);

/// All of them.
pub const TARGETS: &[Target] = &[
    ("apt_uris", apt::fuzz, &[]),
    ("checksum", checksum, &[]),
    ("control", control, &[]),
    ("deb", deb, &[]),
    ("elf_needed", elf_needed, &[]),
    ("extension_names", extension_names, &[]),
    ("extension_texts", extension_texts, &[]),
    ("package_list", package_list, &[]),
    ("paths", paths, &[]),
    ("request_conditions", serve::fuzz_conditions, &[]),
];

/// Most bytes that a package may unpack to here.
const UNPACKED: u64 = 1 << 20;

fn checksum(bytes: &[u8]) {
    let Ok(sum) = checksum::parse(&String::from_utf8_lossy(bytes), "a.tcz") else { return };
    let again = format!("{}  a.tcz\n", checksum::hex(&sum));
    assert!(checksum::parse(&again, "a.tcz").is_ok_and(|read| read == sum));
}

fn control(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut package = deb::Deb { control: deb::parse_control(&text), ..deb::Deb::default() };
    package.scripts.insert("postinst".to_owned(), text.clone().into_owned());
    let names = import::control::depends(&package).into_iter().flatten();
    assert!(names.chain(import::control::provides(&package)).all(|name| import::control::is_name(&name)));
    assert!(import::control::notes(&package).len() <= text.len() + 1);
}

/// However small a package is, what is kept of it is bounded, and lies within its root.
fn deb(bytes: &[u8]) {
    let Ok(package) = deb::read(bytes, UNPACKED, |path| Some(path.to_owned())) else { return };
    let mut kept = 0;
    for (path, node) in package.tree.iter() {
        assert!(tree::clean(path).is_ok_and(|clean| clean == path), "{path:?}");
        if let tree::Kind::File(bytes) = &node.kind {
            kept += bytes.len() as u64;
        }
    }
    assert!(kept <= 2 * UNPACKED, "{kept} bytes");
}

fn elf_needed(bytes: &[u8]) {
    let names = elf::needed(bytes).unwrap_or_default();
    assert!(names.iter().all(|name| name.len() < bytes.len()));
}

/// A name that was read is read as the same again, and is one of a file in its folder.
fn extension_names(bytes: &[u8]) {
    let names = plan::names(&String::from_utf8_lossy(bytes), "6.1.0-amd64");
    assert!(names.iter().all(|name| !name.contains('/') && !name.starts_with('.')), "{names:?}");
    assert_eq!(plan::names(&names.join("\n"), "6.1.0-amd64"), names);
    let needs = |name: &str| names.iter().skip(name.len() % 3).take(4).cloned().collect();
    let order = plan::order(&names, needs);
    assert!(order.len() <= names.len());
}

fn extension_texts(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let _ = repository::info(&text);
    let lines: usize = repository::blocks(&text).iter().map(|(_, lines)| lines.len() + 1).sum();
    assert!(lines <= text.lines().count());
    for line in text.lines().take(16) {
        assert!(
            repository::is_file(line, line) || line.trim_matches('/').is_empty() || line.starts_with("./"),
            "{line:?}"
        );
    }
}

fn package_list(bytes: &[u8]) {
    let Ok(present) = import::have::list(&String::from_utf8_lossy(bytes)) else { return };
    assert!(present.packages.iter().all(|name| import::control::is_name(name)));
}

/// A path, a line feed, and what a link there leads to.
fn paths(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (path, target) = text.split_once('\n').unwrap_or((&text, ""));
    let Ok(clean) = tree::clean(path) else { return };
    assert!(tree::clean(&clean).is_ok_and(|again| again == clean));
    let merged = tree::usr_merged(&clean);
    assert_eq!(tree::usr_merged(&merged), merged);
    let _ = recipe::place(&clean);
    let mut files = tree::Tree::default();
    let linked = files.link(&clean, target).is_ok() && files.file("a/b", 0o644, *b"").is_ok();
    if linked && let Some((found, _)) = files.resolve(&clean) {
        assert!(files.get(&found).is_some(), "{found:?}");
    }
    let _ = tree::stays_within(&clean, target);
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_parser_keeps_its_promises_on_the_corpus_and_on_changes_of_it() {
        mk_tests::fuzz::check(super::TARGETS);
    }
}
