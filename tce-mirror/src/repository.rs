//! Texts of a repository beside the extensions themselves: `NAME.tcz.info`, `NAME.tcz.list`, `info.lst`, `provides.db`.
//! Text in, values out; CRLF, blank lines and lines that make no sense are tolerated. Pure.

use std::collections::BTreeMap;

use crate::plan::{self, SUFFIX};

/// Fields of a `.info` by their names, such as `Description`. Lines that go on are joined by line feeds.
#[must_use]
pub fn info(text: &str) -> BTreeMap<String, String> {
    let mut fields: BTreeMap<String, String> = BTreeMap::new();
    let mut last = None;
    for line in text.lines() {
        // A line that goes on is indented; its own colons are no fields.
        match line.split_once(':').filter(|(name, _)| is_field(name)) {
            Some((name, value)) => {
                fields.insert(name.to_owned(), value.trim().to_owned());
                last = Some(name.to_owned());
            }
            None => {
                if let Some(value) = last.as_ref().and_then(|name| fields.get_mut(name)) {
                    value.push('\n');
                    value.push_str(line.trim());
                }
            }
        }
    }
    fields.values_mut().for_each(|value| value.truncate(value.trim_end().len()));
    fields
}

fn is_field(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_uppercase())
        && name.chars().all(|c| c.is_ascii_alphabetic() || "-_".contains(c))
}

/// Extensions of a list such as `provides.db`, each with the lines below it: blocks that begin with an extension's name and
/// end at a blank line. Blocks that begin with anything else are passed over.
#[must_use]
pub fn blocks(text: &str) -> Vec<(String, Vec<&str>)> {
    let mut blocks: Vec<(String, Vec<&str>)> = Vec::new();
    let (mut begins, mut known) = (true, false);
    for line in text.lines().map(str::trim) {
        if line.is_empty() {
            begins = true;
        } else if begins {
            // Whatever a file's name has for the kernel stays as it is.
            let name = plan::name(line, "KERNEL").filter(|_| line.ends_with(SUFFIX));
            (begins, known) = (false, name.is_some());
            blocks.extend(name.map(|name| (name, Vec::new())));
        } else if let Some((_, lines)) = blocks.last_mut().filter(|_| known) {
            lines.push(line);
        }
    }
    blocks
}

/// Whether a path, such as one of a `.list` or of `provides.db`, is the file or ends in the file that somebody looks for.
#[must_use]
pub fn is_file(path: &str, wanted: &str) -> bool {
    // A dot that begins a file's own name stays.
    let path = path.strip_prefix('.').filter(|rest| rest.starts_with('/')).unwrap_or(path);
    let (path, wanted) = (path.trim_start_matches('/'), wanted.trim_start_matches('/'));
    !wanted.is_empty() && path.strip_suffix(wanted).is_some_and(|before| before.is_empty() || before.ends_with('/'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_info_as_mirrors_have_it() {
        let text = "Title:          bash.tcz\r\nDescription:    GNU shell\r\nComments:       PXE: no\r\n                see https://x.org\r\n\
                    \r\n                Current: 2024/01/01 first\r\nSize:\t700K\r\n";
        let info = info(text);
        assert_eq!((info["Description"].as_str(), info["Size"].as_str()), ("GNU shell", "700K"));
        assert!(
            info["Comments"].contains("see https://x.org") && info["Comments"].contains("Current: 2024"),
            "{info:?}"
        );
    }

    #[test]
    fn blocks_as_mirrors_have_them() {
        let text = "\r\na.tcz\r\nusr/bin/a\r\n./usr/lib/b c\r\n\r\n\r\n<html>\nusr/x\n\nnet-KERNEL.tcz\n\nempty.tcz";
        let found = blocks(text);
        let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["a.tcz", "net-KERNEL.tcz", "empty.tcz"]);
        assert_eq!(found[0].1, ["usr/bin/a", "./usr/lib/b c"]);
        assert!(found[1].1.is_empty());
    }

    #[test]
    fn files_by_whole_names() {
        assert!(is_file("./.profile", ".profile") && is_file("/.profile", "/.profile"));
        assert!(is_file("usr/local/lib/firmware/bnx2/x.fw", "bnx2/x.fw") && is_file("./usr/bin/a", "/usr/bin/a"));
        assert!(!is_file("usr/bin/ba", "a") && !is_file("usr/bin/a", "") && !is_file("usr/bin/a", "bin"));
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in "([a-z./:A-Z ]{0,9}(\r)?\n){0,12}\\PC{0,20}") {
            let _ = info(&text);
            for (name, lines) in blocks(&text) {
                prop_assert!(name.ends_with(SUFFIX) && !name.contains('/'));
                prop_assert!(lines.iter().all(|line| !line.is_empty()));
            }
        }
    }
}
