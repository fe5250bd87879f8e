//! In which order extensions are loaded: list files (`onboot.lst`, `NAME.tcz.dep`) as text in, names out, each behind
//! those that it depends on and none twice. Pure; reading the files is the caller's.

use std::collections::BTreeSet;

/// What stands for the kernel's release in an extension's name, as in `scsi-KERNEL.tcz`.
const KERNEL: &str = "KERNEL";
/// How every extension's file name ends.
pub const SUFFIX: &str = ".tcz";

/// Names in a list file: one a line, without blank lines and comments, with [`SUFFIX`], and with the kernel's release in
/// place of `KERNEL`. What cannot be the name of a file in the extensions' folder (`../x`) is left out.
#[must_use]
pub fn names(list: &str, release: &str) -> Vec<String> {
    list.lines().filter_map(|line| name(line, release)).collect()
}

/// One extension's file name as people and lists write it; `None` if it cannot be one.
#[must_use]
pub fn name(text: &str, release: &str) -> Option<String> {
    let word = text.split('#').next()?.split_ascii_whitespace().next()?;
    let stem = word.strip_suffix(SUFFIX).unwrap_or(word).replace(KERNEL, release);
    let plain = |c: char| c.is_ascii_alphanumeric() || "._+-~".contains(c);
    let sound = !stem.starts_with('.') && !stem.is_empty() && stem.chars().all(plain);
    sound.then(|| format!("{stem}{SUFFIX}"))
}

/// All of `wanted` with what they depend on, in order of load. `dependencies` gives the direct ones of a name; a ring of
/// dependencies is cut where it would close.
pub fn order(wanted: &[String], mut dependencies: impl FnMut(&str) -> Vec<String>) -> Vec<String> {
    let mut order = Vec::new();
    let mut seen = BTreeSet::new();
    // Depth first without recursion: a hostile list must not decide how deep our stack is. `true` marks a name whose
    // dependencies are all in `order`.
    let mut stack: Vec<(String, bool)> = wanted.iter().rev().map(|name| (name.clone(), false)).collect();
    while let Some((name, ready)) = stack.pop() {
        if ready {
            order.push(name);
        } else if seen.insert(name.clone()) {
            let needs = dependencies(&name);
            stack.push((name, true));
            stack.extend(needs.into_iter().rev().map(|need| (need, false)));
        }
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn own(names: &[&str]) -> Vec<String> {
        names.iter().map(|&n| n.to_owned()).collect()
    }

    #[test]
    fn lists_as_tiny_core_writes_them() {
        let list =
            "bash.tcz\n\n  readline \r\n# comment\nscsi-KERNEL.tcz # with a remark\n../etc/shadow.tcz\n.hidden\n.tcz\n";
        assert_eq!(names(list, "6.18.2-tinycore64"), ["bash.tcz", "readline.tcz", "scsi-6.18.2-tinycore64.tcz"]);
        assert_eq!(name("gtk+3.tcz", "x"), Some("gtk+3.tcz".into()));
        assert_eq!(name("a/b", "x"), None);
    }

    #[test]
    fn dependencies_come_first() {
        let needs = |name: &str| match name {
            "bash.tcz" => own(&["readline.tcz", "ncurses.tcz"]),
            "readline.tcz" => own(&["ncurses.tcz"]),
            "ring.tcz" => own(&["bash.tcz", "ring.tcz"]),
            _ => Vec::new(),
        };
        let order = order(&own(&["bash.tcz", "ring.tcz", "ncurses.tcz"]), needs);
        assert_eq!(order, ["ncurses.tcz", "readline.tcz", "bash.tcz", "ring.tcz"]);
    }

    proptest! {
        #[test]
        fn any_list_gives_plain_file_names(list in "\\PC{0,80}", release in "[a-z0-9.-]{1,12}") {
            for name in names(&list, &release) {
                prop_assert!(!name.contains('/') && !name.starts_with('.') && name.ends_with(SUFFIX));
            }
        }

        #[test]
        fn whatever_depends_on_what_each_comes_once(edges in prop::collection::vec(0_usize..8, 24)) {
            let all: Vec<String> = (0..8).map(|n| format!("{n}.tcz")).collect();
            let needs = |name: &str| {
                let at: usize = name[..1].parse().unwrap();
                edges[at * 3..at * 3 + 3].iter().map(|n| format!("{n}.tcz")).collect()
            };
            let mut order = order(&all, needs);
            order.sort();
            prop_assert_eq!(order, all);
        }
    }
}
