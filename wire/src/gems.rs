//! `gem.list` in the original's format: a gem a line, its name and, where that matters, what is required of its version
//! (`json_pure  >= 1.7.7`), with comments after `#`. The builder mirrors what it lists, the agent installs it. Pure.

/// Names and requirements of a list; an empty requirement is none. Lines are counted from 1.
pub fn lines(text: &str) -> impl Iterator<Item = (usize, &str, &str)> {
    text.lines().enumerate().filter_map(|(at, line)| {
        let line = line.split('#').next().unwrap_or_default().trim();
        let (name, requirement) = line.split_once([' ', '\t']).unwrap_or((line, ""));
        (!name.is_empty()).then(|| (at + 1, name, requirement.trim()))
    })
}

/// Whether RubyGems allows it as a gem's name; no such name is an option of a program or leads out of a folder.
#[must_use]
pub fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_originals_list() {
        let list = "facter\r\njson_pure  >= 1.7.7\n\n# remark\n\tstomp\t1.2.8 # exactly\n";
        let found: Vec<_> = lines(list).collect();
        assert_eq!(found, [(1, "facter", ""), (2, "json_pure", ">= 1.7.7"), (5, "stomp", "1.2.8")]);
        for name in ["-v", "../x", "a/b", "", ".a", "a b"] {
            assert!(!is_name(name), "{name:?}");
        }
        assert!(is_name("json_pure") && is_name("net-http2"));
    }

    proptest! {
        #[test]
        fn any_list_is_read(text in "\\PC{0,60}") {
            for (_, name, _) in lines(&text).filter(|(_, name, _)| is_name(name)) {
                prop_assert!(!name.contains('/') && !name.starts_with(['-', '.']));
            }
        }
    }
}
