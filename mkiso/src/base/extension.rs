//! An extension made of packages: the files that `image.toml` names, and the libraries that they need and the base
//! lacks.

use anyhow::{Result, anyhow};
use tce_mirror::tcz::Info;
use tce_mirror::tree::{Kind, Tree, usr_merged};

use super::config::Extension;
use super::libraries::Libraries;
use super::lock::Package;

/// The content of an extension and what is said of it.
///
/// # Errors
/// A file or a library that no package has.
pub fn build(name: &str, config: &Extension, packages: &Packages<'_>, base: &Tree) -> Result<(Tree, Info)> {
    let mut tree = Tree::default();
    for file in &config.files {
        let path = usr_merged(file);
        let (_, node) = config
            .packages
            .iter()
            .filter_map(|package| packages.tree(package))
            .find_map(|tree| tree.resolve(&path))
            .ok_or_else(|| anyhow!("no package of the extension {name} has {file}; correct image.toml"))?;
        tree.insert(&path, node.clone())?;
    }
    let programs = tree.iter().filter_map(|(path, node)| match &node.kind {
        Kind::File(bytes) => Some((path, bytes.as_slice())),
        Kind::Dir | Kind::Link(_) => None,
    });
    let libraries = Libraries::beside(packages.all(), base).closure(programs)?;
    tree.merge(libraries)?;
    let main = config.packages.first().and_then(|p| packages.locked(p));
    let info = Info {
        name: name.to_owned(),
        description: config.description.clone(),
        version: main.map_or_else(String::new, |p| p.version.clone()),
        site: main.map_or_else(String::new, |p| p.uri.clone()),
        made_of: config
            .packages
            .iter()
            .filter_map(|p| packages.locked(p))
            .map(|p| format!("{} {}", p.name, p.version))
            .collect(),
        depends: Vec::new(),
    };
    Ok((tree, info))
}

/// Unpacked packages with what the lock says of them.
#[derive(Debug, Default)]
pub struct Packages<'a>(pub Vec<(&'a Package, Tree)>);

impl Packages<'_> {
    /// The files of a package.
    #[must_use]
    pub fn tree(&self, name: &str) -> Option<&Tree> {
        self.0.iter().find(|(package, _)| package.name == name).map(|(_, tree)| tree)
    }

    /// What the lock says of a package.
    #[must_use]
    pub fn locked(&self, name: &str) -> Option<&Package> {
        self.0.iter().find(|(package, _)| package.name == name).map(|(package, _)| *package)
    }

    /// The files of all packages.
    #[must_use]
    pub fn all(&self) -> Vec<&Tree> {
        self.0.iter().map(|(_, tree)| tree).collect()
    }
}
