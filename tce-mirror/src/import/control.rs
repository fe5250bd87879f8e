//! What a package's control archive says: which packages it needs, what its files are called elsewhere, and what its
//! scripts would do. Pure; scripts are read and never run.

use std::collections::BTreeSet;

use crate::deb::Deb;

/// Packages of which one is enough, in order of preference.
pub type Alternatives = Vec<String>;

/// What a package must have: the fields `Pre-Depends` and `Depends`.
#[must_use]
pub fn depends(deb: &Deb) -> Vec<Alternatives> {
    ["Pre-Depends", "Depends"].into_iter().flat_map(|field| relations(deb.field(field))).collect()
}

/// Other names by which a package is asked for: the field `Provides`.
pub fn provides(deb: &Deb) -> impl Iterator<Item = String> {
    relations(deb.field("Provides")).into_iter().flatten()
}

/// A relation field such as `libc6 (>= 2.36), default-mta | mail-transport-agent, python3:any`, without versions and
/// architectures. What is no package's name is left out.
#[must_use]
pub fn relations(field: &str) -> Vec<Alternatives> {
    let name = |text: &str| {
        let name = text.trim().split([' ', '\t', '\n', '(', '[', '<', ':']).next().unwrap_or_default();
        is_name(name).then(|| name.to_owned())
    };
    let groups = field.split(',').map(|group| group.split('|').filter_map(name).collect::<Vec<_>>());
    groups.filter(|group| !group.is_empty()).collect()
}

/// Whether Debian allows it as the name of a package.
#[must_use]
pub fn is_name(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "+-.".contains(c);
    text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit()) && text.chars().all(allowed)
}

/// What the package's scripts and triggers would do that the files alone do not, a sentence each.
#[must_use]
pub fn notes(deb: &Deb) -> Vec<String> {
    let mut notes = BTreeSet::new();
    let script = |name: &str| deb.scripts.get(name).map_or("", String::as_str);
    let package = deb.field("Package");
    let run = ["preinst", "postinst"].map(script).join("\n");
    for line in run.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        for (at, word) in words.iter().enumerate() {
            let last = || words[at + 1..].iter().rev().find(|word| is_account(word)).copied().unwrap_or("…");
            let note = match word.rsplit('/').next().unwrap_or(word) {
                "ldconfig" => "the loader's cache is renewed (ldconfig); the agent does that after loading".to_owned(),
                "adduser" | "useradd" => format!("{package} makes the user {}: add it where it is needed", last()),
                "addgroup" | "groupadd" => format!("{package} makes the group {}: add it where it is needed", last()),
                "update-alternatives" => format!("{package} sets links by update-alternatives, which are not set here"),
                "deb-systemd-helper" | "deb-systemd-invoke" | "update-rc.d" | "invoke-rc.d" => {
                    format!("{package} starts services: start them by a unit file or a tce.installed script")
                }
                "depmod" => "modules are indexed (depmod); the agent does that after loading".to_owned(),
                _ => continue,
            };
            notes.insert(note);
        }
    }
    if script("triggers").lines().any(|line| line.split_ascii_whitespace().nth(1) == Some("ldconfig")) {
        notes.insert("the loader's cache is renewed (ldconfig); the agent does that after loading".to_owned());
    }
    let there: Vec<&str> = ["preinst", "postinst"].into_iter().filter(|name| deb.scripts.contains_key(*name)).collect();
    if !there.is_empty() {
        notes.insert(format!("scripts of {package} that were not run: {}", there.join(", ")));
    }
    notes.into_iter().collect()
}

/// Whether a word of a script can be the name of an account that is made.
fn is_account(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && word.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c))
        && !matches!(word, "true" | "fi" | "then" | "exit")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn deb(scripts: &[(&str, &str)]) -> Deb {
        let own = |(name, text): &(&str, &str)| ((*name).to_owned(), (*text).to_owned());
        let control = [("Package".to_owned(), "tool".to_owned())].into();
        Deb { control, scripts: scripts.iter().map(own).collect(), ..Deb::default() }
    }

    #[test]
    fn relations_as_packages_have_them() {
        let field = "libc6 (>= 2.36), default-mta | mail-transport-agent,\n python3:any (>= 3~), libx [amd64] <!nocheck>, , Bad";
        let expected: [&[&str]; 4] = [&["libc6"], &["default-mta", "mail-transport-agent"], &["python3"], &["libx"]];
        assert_eq!(relations(field), expected);
        assert!(relations("").is_empty());
    }

    #[test]
    fn what_scripts_would_do_is_said() {
        let postinst = "#!/bin/sh\nset -e\nif [ \"$1\" = configure ]; then\n  adduser --quiet --system --no-create-home \
                        --home /run/sshd --shell /usr/sbin/nologin sshd || true\nfi\nupdate-rc.d ssh defaults >/dev/null\n\
                        # addgroup nobody\n";
        let notes = notes(&deb(&[("postinst", postinst), ("triggers", "activate-noawait ldconfig\n")])).join("\n");
        for words in ["the user sshd", "starts services", "ldconfig", "not run: postinst"] {
            assert!(notes.contains(words), "{words}: {notes}");
        }
        assert!(!notes.contains("group"), "a comment is no command: {notes}");
        assert!(super::notes(&deb(&[])).is_empty());
    }

    proptest! {
        #[test]
        fn any_field_gives_plain_names(field in "\\PC{0,60}") {
            prop_assert!(relations(&field).iter().flatten().all(|name| is_name(name) && !name.contains('/')));
        }

        #[test]
        fn any_script_is_read(text in "\\PC{0,80}") {
            let _ = notes(&deb(&[("postinst", &text), ("triggers", &text)]));
        }
    }
}
