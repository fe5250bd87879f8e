//! Which packages need which others: pure, over packages that are read.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail};

use super::control::{self, Alternatives};
use crate::deb::Deb;
use crate::plan;

/// Packages by name, with the names that they go by.
#[derive(Debug, Default)]
pub(super) struct Known<'a> {
    debs: BTreeMap<&'a str, &'a Deb>,
    provided: BTreeMap<String, &'a str>,
    /// Names of what the base has, and of what is left out on purpose.
    had: BTreeSet<String>,
}

impl<'a> Known<'a> {
    /// These packages, on a base that has `had`.
    pub(super) fn new(debs: impl IntoIterator<Item = &'a Deb>, had: BTreeSet<String>) -> Self {
        let mut known = Self { had, ..Self::default() };
        for deb in debs {
            let name = deb.field("Package");
            known.provided.extend(control::provides(deb).map(|other| (other, name)));
            known.debs.insert(name, deb);
        }
        known
    }

    /// What a package needs of the known ones, directly; and the first choice of each need that none of them meets.
    pub(super) fn needs(&self, deb: &Deb) -> (Vec<&'a str>, Vec<String>) {
        let (mut found, mut unmet) = (Vec::new(), Vec::new());
        for choice in control::depends(deb).iter().filter(|choice| !choice.iter().any(|name| self.had.contains(name))) {
            match self.meets(choice) {
                Some(name) if name == deb.field("Package") || found.contains(&name) => {}
                Some(name) => found.push(name),
                None => unmet.extend(choice.first().cloned()),
            }
        }
        (found, unmet)
    }

    fn meets(&self, choice: &Alternatives) -> Option<&'a str> {
        let own = choice.iter().find_map(|name| self.debs.get_key_value(name.as_str()).map(|(name, _)| *name));
        own.or_else(|| choice.iter().find_map(|name| self.provided.get(name).copied()))
    }

    /// All of `wanted` with what they need, each behind what it needs, with its own needs. A package for which `is_empty`
    /// says so is left out; what needs it needs what it needs.
    ///
    /// # Errors
    /// A need that nothing meets.
    pub(super) fn order(
        &self,
        wanted: &[String],
        is_empty: impl Fn(&str) -> bool,
    ) -> Result<Vec<(&'a str, Vec<&'a str>)>> {
        let mut needs: BTreeMap<&str, Vec<&'a str>> = BTreeMap::new();
        for (name, deb) in &self.debs {
            needs.insert(name, self.needs(deb).0);
        }
        let own = |name: &str| needs.get(name).into_iter().flatten().map(|&need| need.to_owned()).collect();
        let mut order = Vec::new();
        for name in plan::order(wanted, own) {
            let Some((&name, deb)) = self.debs.get_key_value(name.as_str()) else {
                bail!("the package {name} is not there");
            };
            if let Some(unmet) = self.needs(deb).1.first() {
                bail!("{name} needs {unmet}, which is neither among the packages nor said to be in the base (--have)");
            }
            if !is_empty(name) {
                order.push((name, solid(name, &needs, &is_empty)));
            }
        }
        Ok(order)
    }
}

/// What a package needs, where an empty one stands for what it needs itself.
fn solid<'a>(name: &str, needs: &BTreeMap<&str, Vec<&'a str>>, is_empty: impl Fn(&str) -> bool) -> Vec<&'a str> {
    let (mut found, mut seen) = (Vec::new(), BTreeSet::from([name]));
    let of = |name: &str| needs.get(name).into_iter().flatten().rev().copied();
    let mut open: Vec<&'a str> = of(name).collect();
    while let Some(need) = open.pop() {
        if !seen.insert(need) {
            continue;
        }
        if is_empty(need) {
            open.extend(of(need));
        } else {
            found.push(need);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn deb(name: &str, depends: &str, provides: &str) -> Deb {
        let fields = [("Package", name), ("Depends", depends), ("Provides", provides)];
        Deb { control: fields.map(|(k, v)| (k.to_owned(), v.to_owned())).into(), ..Deb::default() }
    }

    fn order(debs: &[Deb], had: &[&str], wanted: &str, empty: &[&str]) -> Result<String> {
        let known = Known::new(debs, had.iter().map(|&name| name.to_owned()).collect());
        let order = known.order(&[wanted.to_owned()], |name| empty.contains(&name))?;
        Ok(order.iter().map(|(name, needs)| format!("{name}({})", needs.join(","))).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn what_is_needed_comes_first_and_rings_end() {
        let debs = [
            deb("ssh", "libc6 (>= 2), libcrypt1 | libcrypt2, libssl3", ""),
            deb("libcrypt2", "libc6", ""),
            deb("libssl3", "libcrypt2, ssh", ""),
        ];
        let expected = "libcrypt2() libssl3(libcrypt2,ssh) ssh(libcrypt2,libssl3)";
        assert_eq!(order(&debs, &["libc6"], "ssh", &[]).unwrap(), expected);
    }

    #[test]
    fn provided_names_count_and_unmet_needs_are_named() {
        let debs = [deb("a", "awk", ""), deb("mawk", "", "awk")];
        assert_eq!(order(&debs, &[], "a", &[]).unwrap(), "mawk() a(mawk)");
        let error = order(&[deb("a", "b | c", "")], &[], "a", &[]).unwrap_err().to_string();
        assert!(error.contains("a needs b") && error.contains("--have"), "{error}");
        assert_eq!(order(&[deb("a", "b | c", "")], &["c"], "a", &[]).unwrap(), "a()");
    }

    #[test]
    fn a_package_without_files_stands_for_what_it_needs() {
        let debs = [deb("a", "meta, d", ""), deb("meta", "b, d", ""), deb("b", "", ""), deb("d", "", "")];
        assert_eq!(order(&debs, &[], "a", &["meta"]).unwrap(), "b() d() a(b,d)");
    }

    proptest! {
        #[test]
        fn whatever_needs_what_each_comes_once_and_order_ends(
            edges in prop::collection::vec(0_usize..6, 18), empty in prop::collection::vec(any::<bool>(), 6),
        ) {
            let name = |n: usize| format!("p{n}");
            let debs: Vec<Deb> = (0..6).map(|n| {
                deb(&name(n), &edges[n * 3..n * 3 + 3].iter().map(|&e| name(e)).collect::<Vec<_>>().join(", "), "")
            }).collect();
            let known = Known::new(&debs, BTreeSet::new());
            let wanted: Vec<String> = (0..6).map(name).collect();
            let is_empty = |name: &str| empty[name[1..].parse::<usize>().unwrap()];
            let order = known.order(&wanted, is_empty).unwrap();
            let mut names: Vec<&str> = order.iter().map(|(name, _)| *name).collect();
            names.sort_unstable();
            let expected: Vec<String> = (0..6).map(name).filter(|name| !is_empty(name)).collect();
            prop_assert_eq!(names, expected);
            prop_assert!(order.iter().flat_map(|(_, needs)| needs).all(|need| !is_empty(need)));
        }
    }
}
