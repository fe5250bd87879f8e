//! The module tables of the running kernel, read from `/lib/modules/RELEASE`, and the answer to "what serves this device?".

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::alias::AliasIndex;
use super::table::{Known, ModuleTable, Step, underscored};

/// Tables of one kernel release.
#[derive(Debug, Default)]
pub(crate) struct Database {
    folder: PathBuf,
    aliases: AliasIndex,
    table: ModuleTable,
    /// Modules that are never loaded, with the reason.
    denied: BTreeMap<String, String>,
}

impl Database {
    /// Reads the tables of `release`.
    ///
    /// # Errors
    /// Names the table without which no driver can be found.
    pub(crate) fn load(release: &str, denied: &BTreeMap<String, String>) -> anyhow::Result<Self> {
        Self::at(Path::new("/lib/modules").join(release), denied)
    }

    fn at(folder: PathBuf, denied: &BTreeMap<String, String>) -> anyhow::Result<Self> {
        let needed = |name: &str| {
            let path = folder.join(name);
            fs::read_to_string(&path).with_context(|| {
                format!("cannot read {}: no driver can be loaded; build the image for this kernel", path.display())
            })
        };
        // A kernel without soft dependencies or built-in modules has no such file.
        let optional = |name: &str| fs::read_to_string(folder.join(name)).unwrap_or_default();
        let table =
            ModuleTable::parse(&needed("modules.dep")?, &optional("modules.softdep"), &optional("modules.builtin"));
        let aliases = AliasIndex::parse(&needed("modules.alias")?);
        let denied = denied.iter().map(|(name, why)| (underscored(name), why.clone())).collect();
        Ok(Self { folder, aliases, table, denied })
    }

    /// Modules that say they serve a device of this modalias. What is built into the kernel is not among them.
    pub(crate) fn serving(&self, modalias: &str) -> Vec<String> {
        let names = self.aliases.modules(modalias).into_iter().map(underscored);
        names.filter(|name| self.table.known(name) != Known::Builtin).collect()
    }

    /// Steps that load `wanted`, denied ones among them (see [`Self::denied`]).
    pub(crate) fn steps(&self, wanted: &[String]) -> Vec<Step> {
        self.table.steps(wanted, |alias| self.serving(alias))
    }

    /// A part of the kernel itself.
    pub(crate) fn is_built_in(&self, module: &str) -> bool {
        self.table.known(module) == Known::Builtin
    }

    /// Why a module must not be loaded.
    pub(crate) fn denied(&self, module: &str) -> Option<&str> {
        self.denied.get(module).map(String::as_str)
    }

    /// Full path of a module's file by its path in the tables.
    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.folder.join(file)
    }

    /// The module's file if the tables name one, whether it is there or not.
    pub(crate) fn file(&self, module: &str) -> Option<PathBuf> {
        self.table.file(module).map(|file| self.path(file))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Tables as depmod writes them, for a handful of modules.
    pub(in crate::devices) fn sample() -> (tempfile::TempDir, Database) {
        let dir = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        put("modules.dep", "kernel/e1000e.ko: kernel/ptp.ko\nkernel/ptp.ko:\nkernel/iTCO-wdt.ko:\nkernel/bnx2.ko:\n");
        put("modules.builtin", "kernel/ahci.ko\n");
        put(
            "modules.alias",
            "alias pci:v00008086d000010D3sv*sd*bc*sc*i* e1000e\nalias pci:v*d*sv*sd*bc01sc06i01* ahci\n\
            alias pci:v00008086d00002918sv*sd*bc*sc*i* iTCO_wdt\nalias pci:v000014E4d00001639sv*sd*bc*sc*i* bnx2\nalias net-pf-1 ptp\n",
        );
        put("modules.softdep", "softdep bnx2 pre: net-pf-1\n");
        let denied = BTreeMap::from([("iTCO-wdt".to_owned(), "a watchdog resets the machine".to_owned())]);
        let database = Database::at(dir.path().to_owned(), &denied).unwrap();
        (dir, database)
    }

    #[test]
    fn devices_find_their_modules() {
        let (_dir, database) = sample();
        let names =
            |module: &str| database.steps(&[module.to_owned()]).into_iter().map(|s| s.module).collect::<Vec<_>>();
        assert_eq!(database.serving("pci:v00008086d000010D3sv00008086sd0000A01Fbc02sc00i00"), ["e1000e"]);
        assert!(database.serving("pci:v00008086d00002922sv0sd0bc01sc06i01").is_empty(), "ahci is built in");
        assert_eq!(names("e1000e"), ["ptp", "e1000e"]);
        assert_eq!(names("bnx2"), ["ptp", "bnx2"]);
        assert_eq!(database.denied("iTCO_wdt"), Some("a watchdog resets the machine"));
        assert!(database.file("e1000e").unwrap().ends_with("kernel/e1000e.ko"));
    }

    #[test]
    fn a_missing_table_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let error = Database::at(dir.path().to_owned(), &BTreeMap::new()).unwrap_err().to_string();
        assert!(error.contains("modules.dep"), "{error}");
    }
}
