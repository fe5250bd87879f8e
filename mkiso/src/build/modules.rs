//! Kernel modules of a base: whether those that the image cannot do without are there. Pure functions over the text of
//! `modules.builtin` and `modules.dep`.

use std::collections::{BTreeMap, BTreeSet};

/// Where a module's file must be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In the base's own initrd: before any extension can be mounted.
    Initrd,
    /// There, or in an extension that is mounted before drivers are loaded.
    Early,
}

/// The modules that a base has.
#[derive(Debug, Default)]
pub struct Modules<'a> {
    builtin: BTreeSet<String>,
    /// File and the files that it needs, by name.
    files: BTreeMap<String, (&'a str, Vec<&'a str>)>,
}

impl<'a> Modules<'a> {
    /// Reads the two index files.
    #[must_use]
    pub fn parse(builtin: &str, dep: &'a str) -> Self {
        let files = dep.lines().filter_map(|line| {
            let (file, needs) = line.split_once(':')?;
            Some((name_of(file), (file.trim(), needs.split_whitespace().collect())))
        });
        Self { builtin: builtin.lines().map(name_of).collect(), files: files.collect() }
    }

    /// What is missing for the module `name` to be loaded, given the files at hand (paths below the folder of the
    /// index). `None` if nothing is.
    #[must_use]
    pub fn missing(&self, name: &str, has: impl Fn(&str) -> bool) -> Option<String> {
        let name = name.replace('-', "_");
        if self.builtin.contains(&name) {
            return None;
        }
        let Some((file, needs)) = self.files.get(&name) else {
            return Some(format!("{name} (neither built in nor in modules.dep)"));
        };
        let absent = std::iter::once(file).chain(needs).find(|file| !has(file))?;
        Some(format!("{name} ({absent} is not there)"))
    }
}

/// A module's name from its file's path.
fn name_of(path: &str) -> String {
    let file = path.trim().rsplit('/').next().unwrap_or_default();
    file.split_once(".ko").map_or(file, |(name, _)| name).replace('-', "_")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BUILTIN: &str = "kernel/net/packet/af_packet.ko\nkernel/drivers/net/loopback.ko\n";
    const DEP: &str = "kernel/drivers/block/loop.ko:\n\
                       kernel/drivers/net/e1000e.ko.xz: kernel/drivers/pps/pps_core.ko.xz kernel/lib/x-y.ko.xz\n\
                       kernel/lib/x-y.ko.xz:\n";

    #[test]
    fn built_in_and_complete_modules_miss_nothing() {
        let modules = Modules::parse(BUILTIN, DEP);
        assert_eq!(modules.missing("af_packet", |_| false), None);
        assert_eq!(modules.missing("loop", |file| file == "kernel/drivers/block/loop.ko"), None);
        assert_eq!(modules.missing("x-y", |_| true), None);
    }

    #[test]
    fn what_is_missing_is_named() {
        let modules = Modules::parse(BUILTIN, DEP);
        assert!(modules.missing("squashfs", |_| true).unwrap().starts_with("squashfs"));
        let missing = modules.missing("e1000e", |file| !file.contains("pps_core")).unwrap();
        assert!(missing.contains("e1000e") && missing.contains("pps_core.ko.xz"), "{missing}");
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(builtin in "\\PC{0,80}", dep in "[a-z/.: \\n]{0,80}", name in "\\PC{0,9}") {
            let _ = Modules::parse(&builtin, &dep).missing(&name, |_| true);
        }
    }
}
