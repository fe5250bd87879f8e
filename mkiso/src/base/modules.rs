//! Which kernel modules the image has: what `image.toml` names, and what those modules need. A pure decision over what
//! the modules say of themselves; nothing that is named but does not exist is passed over in silence.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use tce_mirror::tree::{Kind, Tree};

use super::config::Modules;
use super::elf;

/// Ending of modules in Debian's packages.
const SUFFIX: &str = ".ko";

/// One module of the kernel's package.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Module {
    /// Names of modules that it cannot be loaded without.
    pub depends: Vec<String>,
    /// Names of modules that it wants to be loaded around it.
    pub wants: Vec<String>,
    /// Firmware files that it may ask for.
    pub firmware: Vec<String>,
}

/// All modules, by path below `kernel/` and without ending.
pub type Modinfos = BTreeMap<String, Module>;

/// The modules of the image, by path.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// In the initrd.
    pub early: BTreeSet<String>,
    /// In the drivers' extension.
    pub drivers: BTreeSet<String>,
}

/// A module's name as the kernel has it.
#[must_use]
pub fn name_of(path: &str) -> String {
    let file = path.rsplit_once('/').map_or(path, |(_, file)| file);
    file.replace('-', "_")
}

/// Reads what all modules below `folder` (`…/kernel/`) of a tree say of themselves.
///
/// # Errors
/// A module is damaged; it is named.
pub fn read(tree: &Tree, folder: &str) -> Result<Modinfos> {
    let mut modules = Modinfos::new();
    for (path, node) in tree.iter() {
        let Some(module) = path.strip_prefix(folder).and_then(|p| p.strip_suffix(SUFFIX)) else { continue };
        let Kind::File(bytes) = &node.kind else { continue };
        let fields = elf::modinfo(bytes).with_context(|| format!("module {path} is damaged"))?;
        modules.insert(module.to_owned(), parse(&fields));
    }
    ensure!(!modules.is_empty(), "the kernel's package has no modules below {folder}");
    Ok(modules)
}

fn parse(fields: &[(String, String)]) -> Module {
    let mut module = Module::default();
    for (key, value) in fields {
        match key.as_str() {
            "depends" => module.depends.extend(value.split(',').filter(|n| !n.is_empty()).map(name_of)),
            "softdep" => module.wants.extend(
                value.split_whitespace().filter(|word| !matches!(*word, "pre:" | "post:" | "platform:")).map(name_of),
            ),
            "firmware" => module.firmware.push(value.clone()),
            _ => {}
        }
    }
    module
}

/// Chooses modules.
///
/// # Errors
/// An entry that names nothing, or a module that needs one which is denied or does not exist.
pub fn select(modules: &Modinfos, config: &Modules) -> Result<Selection> {
    let by_name: BTreeMap<String, &str> = modules.keys().map(|path| (name_of(path), path.as_str())).collect();
    let denied: BTreeSet<String> = config.deny.keys().map(|name| name_of(name)).collect();
    let absent: Vec<&str> = config
        .early
        .iter()
        .chain(&config.include)
        .chain(config.exclude.keys())
        .filter(|entry| matching(modules, entry).is_empty())
        .map(String::as_str)
        .collect();
    ensure!(absent.is_empty(), "this kernel has no module {}; correct [modules] in image.toml", absent.join(", "));
    let of = |entries: &mut dyn Iterator<Item = &String>| -> BTreeSet<String> {
        entries.flat_map(|entry| matching(modules, entry)).collect()
    };
    let excluded = of(&mut config.exclude.keys());
    let mut included = of(&mut config.include.iter());
    included.retain(|path| !excluded.contains(path) && !denied.contains(&name_of(path)));
    let early = of(&mut config.early.iter());
    let early = closure(modules, &by_name, &denied, early)?;
    let drivers = closure(modules, &by_name, &denied, included)?.difference(&early).cloned().collect();
    Ok(Selection { early, drivers })
}

/// The modules that an entry names.
fn matching(modules: &Modinfos, entry: &str) -> Vec<String> {
    if entry.ends_with('/') {
        modules.range(entry.to_owned()..).map(|(path, _)| path).take_while(|p| p.starts_with(entry)).cloned().collect()
    } else {
        modules.get_key_value(entry).map(|(path, _)| path.clone()).into_iter().collect()
    }
}

fn closure(
    modules: &Modinfos,
    by_name: &BTreeMap<String, &str>,
    denied: &BTreeSet<String>,
    mut chosen: BTreeSet<String>,
) -> Result<BTreeSet<String>> {
    let mut todo: Vec<String> = chosen.iter().cloned().collect();
    while let Some(path) = todo.pop() {
        let module = modules.get(&path).ok_or_else(|| anyhow!("this kernel has no module {path}"))?;
        for name in &module.depends {
            let Some(needed) = by_name.get(name) else { bail!("{path} needs the module {name}, which does not exist") };
            if denied.contains(name) {
                bail!("{path} needs {name}, which image.toml denies; exclude the one or allow the other");
            }
            if chosen.insert((*needed).to_owned()) {
                todo.push((*needed).to_owned());
            }
        }
        for wanted in module.wants.iter().filter(|n| !denied.contains(*n)).filter_map(|name| by_name.get(name)) {
            if chosen.insert((*wanted).to_owned()) {
                todo.push((*wanted).to_owned());
            }
        }
    }
    Ok(chosen)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn kernel() -> Modinfos {
        let module = |depends: &[&str], wants: &[&str]| Module {
            depends: depends.iter().map(ToString::to_string).collect(),
            wants: wants.iter().map(ToString::to_string).collect(),
            firmware: Vec::new(),
        };
        [
            ("drivers/block/loop", module(&[], &[])),
            ("drivers/net/ethernet/a/a-card", module(&["mii"], &["crc32c", "not_there"])),
            ("drivers/net/ethernet/a/b-card", module(&["md_mod"], &[])),
            ("drivers/net/mii", module(&[], &[])),
            ("drivers/md/md-mod", module(&[], &[])),
            ("lib/crc32c", module(&[], &[])),
        ]
        .map(|(path, module)| (path.to_owned(), module))
        .into()
    }

    fn config(text: &str) -> Modules {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn what_modules_need_comes_along() {
        let config = config(
            "early = [\"drivers/block/loop\"]\ninclude = [\"drivers/net/ethernet/\"]\n\
             exclude = {\"drivers/net/ethernet/a/b-card\" = \"why\"}\ndeny = {\"md-mod\" = \"why\"}",
        );
        let selection = select(&kernel(), &config).unwrap();
        assert_eq!(Vec::from_iter(selection.early), ["drivers/block/loop"]);
        assert_eq!(
            Vec::from_iter(selection.drivers),
            ["drivers/net/ethernet/a/a-card", "drivers/net/mii", "lib/crc32c"]
        );
    }

    #[test]
    fn a_typing_error_and_a_denied_dependency_are_named() {
        let error = select(&kernel(), &config("early = []\ninclude = [\"drivers/net/etherned/\"]")).unwrap_err();
        assert!(error.to_string().contains("etherned"), "{error}");
        let denying = config("early = []\ninclude = [\"drivers/net/ethernet/\"]\ndeny = {md_mod = \"why\"}");
        let error = select(&kernel(), &denying).unwrap_err().to_string();
        assert!(error.contains("b-card") && error.contains("md_mod"), "{error}");
    }

    #[test]
    fn fields_become_names_of_modules() {
        let field = |k: &str, v: &str| (k.to_owned(), v.to_owned());
        let module = parse(&[
            field("depends", "ptp,mdio-x"),
            field("softdep", "pre: crc32c-intel post: b"),
            field("firmware", "a/b.fw"),
            field("depends", ""),
        ]);
        assert_eq!(module.depends, ["ptp", "mdio_x"]);
        assert_eq!(module.wants, ["crc32c_intel", "b"]);
        assert_eq!(module.firmware, ["a/b.fw"]);
    }

    proptest! {
        #[test]
        fn a_selection_is_closed_and_denies_hold(edges in proptest::collection::vec((0usize..8, 0usize..8), 0..20), deny in 0usize..8) {
            let mut modules: Modinfos = (0..8).map(|i| (format!("d/m{i}"), Module::default())).collect();
            for (from, to) in edges {
                modules.get_mut(&format!("d/m{from}")).unwrap().depends.push(format!("m{to}"));
            }
            let config = config(&format!("early = []\ninclude = [\"d/m0\"]\ndeny = {{m{deny} = \"why\"}}"));
            if let Ok(selection) = select(&modules, &config) {
                let denied = format!("d/m{deny}");
                prop_assert!(!selection.drivers.contains(&denied));
                for path in &selection.drivers {
                    for needed in &modules[path].depends {
                        let needed = format!("d/{needed}");
                        prop_assert!(selection.drivers.contains(&needed));
                    }
                }
            }
        }
    }
}
