//! The kernel's module tables: `modules.dep`, `modules.softdep`, `modules.builtin` as text in, and for a set of wanted
//! modules the steps out that load them, each with what it must wait for. Names are written with `_`, never `-`.

use std::collections::{BTreeMap, BTreeSet};

/// What is known of all modules of a kernel.
#[derive(Debug, Default)]
pub(crate) struct ModuleTable {
    modules: BTreeMap<String, Module>,
    builtin: BTreeSet<String>,
    soft: BTreeMap<String, Soft>,
}

#[derive(Debug, Default)]
struct Module {
    /// File, relative to the folder of the kernel release.
    file: String,
    /// All modules that it needs, direct or not.
    needs: Vec<String>,
}

/// Modules that should be there before and after another, without being needed.
#[derive(Debug, Default, PartialEq, Eq)]
struct Soft {
    pre: Vec<String>,
    post: Vec<String>,
}

/// One module to load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    /// Name of the module.
    pub(crate) module: String,
    /// File, relative to the folder of the kernel release.
    pub(crate) file: String,
    /// Modules without which it cannot load.
    pub(crate) needs: Vec<String>,
    /// Modules that are tried first.
    pub(crate) after: Vec<String>,
}

/// What a name in a table or in an alias stands for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Known {
    /// Part of the kernel itself.
    Builtin,
    /// A module with a file.
    Module,
    /// Nothing that the tables know.
    Nothing,
}

impl ModuleTable {
    /// Reads the three files' texts. Lines of another form are skipped.
    pub(crate) fn parse(dep: &str, softdep: &str, builtin: &str) -> Self {
        let mut soft: BTreeMap<String, Soft> = BTreeMap::new();
        for (module, more) in softdep.lines().filter_map(soft_line) {
            let all = soft.entry(module).or_default();
            all.pre.extend(more.pre);
            all.post.extend(more.post);
        }
        let builtin = builtin.lines().filter_map(module_name).collect();
        Self { modules: dep.lines().filter_map(dep_line).collect(), builtin, soft }
    }

    /// Tells what the tables say of a name.
    pub(crate) fn known(&self, module: &str) -> Known {
        match (self.builtin.contains(module), self.modules.contains_key(module)) {
            (true, _) => Known::Builtin,
            (_, true) => Known::Module,
            _ => Known::Nothing,
        }
    }

    /// A module's file, relative to the folder of the kernel release.
    pub(crate) fn file(&self, module: &str) -> Option<&str> {
        self.modules.get(module).map(|m| m.file.as_str())
    }

    /// Steps that load `wanted`, each after its own dependencies, none twice. `named` tells what a soft dependency's name
    /// stands for when it is an alias; what neither knows is left out, as modprobe does.
    pub(crate) fn steps(&self, wanted: &[String], named: impl Fn(&str) -> Vec<String>) -> Vec<Step> {
        let mut walk = Walk { table: self, named: &named, seen: BTreeSet::new(), steps: Vec::new() };
        for module in wanted {
            walk.visit(module);
        }
        walk.steps
    }
}

struct Walk<'a> {
    table: &'a ModuleTable,
    named: &'a dyn Fn(&str) -> Vec<String>,
    seen: BTreeSet<String>,
    steps: Vec<Step>,
}

impl Walk<'_> {
    fn visit(&mut self, name: &str) {
        let Some(module) = self.table.modules.get(name) else { return };
        // A soft dependency may lead back here: who came first goes first.
        if !self.seen.insert(name.to_owned()) {
            return;
        }
        for need in &module.needs {
            self.visit(need);
        }
        let soft = self.table.soft.get(name);
        let before = self.resolve(soft.map_or(&[], |s| &s.pre));
        for module in &before {
            self.visit(module);
        }
        let done = |m: &String| self.steps.iter().any(|s| s.module == *m);
        let (needs, after) = (module.needs.clone(), before.into_iter().filter(done).collect());
        self.steps.push(Step { module: name.to_owned(), file: module.file.clone(), needs, after });
        for module in self.resolve(soft.map_or(&[], |s| &s.post)) {
            self.visit(&module);
        }
    }

    fn resolve(&self, names: &[String]) -> Vec<String> {
        let one = |name: &String| match self.table.known(&underscored(name)) {
            Known::Module => vec![underscored(name)],
            Known::Builtin => Vec::new(),
            Known::Nothing => (self.named)(name),
        };
        names.iter().flat_map(one).collect()
    }
}

/// `kernel/drivers/net/e1000e.ko.gz` to `e1000e`; `None` for what is no module file.
pub(crate) fn module_name(path: &str) -> Option<String> {
    let file = path.trim().rsplit('/').next()?;
    let (stem, _) = file.split_once(".ko")?;
    (!stem.is_empty()).then(|| underscored(stem))
}

/// A module's name as the kernel spells it.
pub(crate) fn underscored(name: &str) -> String {
    name.replace('-', "_")
}

fn dep_line(line: &str) -> Option<(String, Module)> {
    let (file, needs) = line.split_once(':')?;
    let needs = needs.split_ascii_whitespace().filter_map(module_name).collect();
    Some((module_name(file)?, Module { file: file.trim().to_owned(), needs }))
}

fn soft_line(line: &str) -> Option<(String, Soft)> {
    let mut words = line.split_ascii_whitespace();
    if words.next()? != "softdep" {
        return None;
    }
    let module = underscored(words.next()?);
    let (mut soft, mut post, mut started) = (Soft::default(), false, false);
    for word in words {
        match word {
            "pre:" => (post, started) = (false, true),
            "post:" => (post, started) = (true, true),
            // Some modules of the kernel declare names without saying when: modprobe ignores them too.
            _ if !started => {}
            name if post => soft.post.push(name.to_owned()),
            name => soft.pre.push(name.to_owned()),
        }
    }
    Some((module, soft))
}

/// For the fuzzer: all lists of modules in one text, after which all of them are wanted. Each is loaded once, after what it needs.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let table = ModuleTable::parse(&text, &text, &text);
    let alias = super::alias::AliasIndex::parse(&text);
    let named = |name: &str| alias.modules(name).into_iter().map(str::to_owned).collect();
    let wanted: Vec<String> = table.modules.keys().cloned().collect();
    let steps = table.steps(&wanted, named);
    let names: BTreeSet<&str> = steps.iter().map(|step| step.module.as_str()).collect();
    assert_eq!((names.len(), steps.len()), (wanted.len(), wanted.len()));
    let owners = super::firmware::Owners::parse(&text);
    for line in text.lines().take(16) {
        let _ = (table.known(line), alias.modules(line), owners.of(line));
        let _ = (super::coldplug::rank(line), super::coldplug::device_id(line));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DEP: &str = "kernel/fs/ext4/ext4.ko: kernel/lib/crc16.ko kernel/fs/jbd2/jbd2.ko\n\
        kernel/fs/jbd2/jbd2.ko:\n\
        kernel/lib/crc16.ko:\n\
        kernel/crypto/crc32c_generic.ko.gz:\n\
        kernel/drivers/net/mdio-bus.ko.xz:\n\
        kernel/a.ko: \nkernel/b.ko:\n";
    const SOFT: &str = "# Soft dependencies\nsoftdep ext4 pre: crypto-crc32c\nsoftdep cifs gcm ccm\n\
        softdep a pre: b post: mdio-bus gone\nsoftdep b pre: a\n";

    fn table() -> ModuleTable {
        ModuleTable::parse(DEP, SOFT, "kernel/net/packet/af_packet.ko\n")
    }

    fn steps(wanted: &[&str]) -> Vec<Step> {
        let wanted: Vec<String> = wanted.iter().map(|&w| w.to_owned()).collect();
        table().steps(&wanted, |n| if n == "crypto-crc32c" { vec!["crc32c_generic".into()] } else { vec![] })
    }

    fn order(wanted: &[&str]) -> Vec<String> {
        steps(wanted).into_iter().map(|s| s.module).collect()
    }

    #[test]
    fn dependencies_come_first_and_once() {
        assert_eq!(order(&["ext4", "jbd2"]), ["crc16", "jbd2", "crc32c_generic", "ext4"]);
        let ext4 = &steps(&["ext4"])[3];
        assert_eq!(
            (ext4.needs.as_slice(), ext4.after.as_slice()),
            (["crc16".to_owned(), "jbd2".to_owned()].as_slice(), ["crc32c_generic".to_owned()].as_slice())
        );
        assert_eq!(steps(&["crc32c_generic"])[0].file, "kernel/crypto/crc32c_generic.ko.gz");
    }

    #[test]
    fn soft_dependencies_may_form_a_ring_and_name_nothing() {
        assert_eq!(order(&["a"]), ["b", "a", "mdio_bus"]);
        assert_eq!(order(&["b"]), ["a", "mdio_bus", "b"]);
        assert!(order(&["af_packet", "unheard_of"]).is_empty());
        assert_eq!(table().known("af_packet"), Known::Builtin);
        assert_eq!((table().known("jbd2"), table().known("cifs")), (Known::Module, Known::Nothing));
    }

    #[test]
    fn names_of_files() {
        assert_eq!(module_name("kernel/x/snd-hda.ko.zst").as_deref(), Some("snd_hda"));
        assert_eq!((module_name("kernel/x/.ko"), module_name("readme")), (None, None));
    }

    proptest! {
        #[test]
        fn never_panics_and_never_repeats(
            dep in "([a-d]\\.ko: ?([a-d]\\.ko ?){0,3}\n){0,6}", soft in "(softdep [a-d] (pre: [a-d] ?)?(post: [a-d])?\n){0,6}"
        ) {
            let wanted = ["a", "b", "c", "d"].map(str::to_owned);
            let steps = ModuleTable::parse(&dep, &soft, "").steps(&wanted, |_| vec!["a".into()]);
            let names: BTreeSet<_> = steps.iter().map(|s| &s.module).collect();
            prop_assert_eq!(names.len(), steps.len());
        }

        #[test]
        fn any_text_is_read(dep in "\\PC{0,120}", soft in "\\PC{0,120}", builtin in "\\PC{0,60}") {
            let _ = ModuleTable::parse(&dep, &soft, &builtin);
        }
    }
}
