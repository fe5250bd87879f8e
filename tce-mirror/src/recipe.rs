//! Extensions made of Debian packages by a description: the files that it names, and the libraries that they need and
//! the base lacks. `mkiso base` and `tce-mirror import-deb` make them by the same code.

use std::collections::BTreeSet;

use anyhow::{Result, anyhow};
use serde::{Deserialize, Serialize};

use crate::libraries::Libraries;
use crate::package::Package;
use crate::tcz::Info;
use crate::tree::{Kind, Node, Tree, usr_merged};

/// `[extension.NAME]` of `image.toml`: an extension made of packages.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Packages that it is made of.
    pub packages: Vec<String>,
    /// Files that are taken from them; one that ends in `/` is a folder with all that is in it.
    pub files: Vec<String>,
    /// One line.
    pub description: String,
}

/// What a base has already, so that no extension need bring it.
#[derive(Debug, Clone, Default)]
pub struct Present {
    /// Names of packages.
    pub packages: BTreeSet<String>,
    /// Paths of shared libraries.
    pub libraries: BTreeSet<String>,
}

/// The content of an extension and what is said of it.
///
/// # Errors
/// A file or a library that no package has.
pub fn build(name: &str, recipe: &Recipe, packages: &Packages<'_>, present: &Present) -> Result<(Tree, Info)> {
    let mut tree = Tree::default();
    for file in &recipe.files {
        let path = usr_merged(file);
        let found = taken(&path, recipe.packages.iter().filter_map(|package| packages.tree(package)));
        if found.is_empty() {
            return Err(anyhow!("no package of the extension {name} has {file}; correct its description"));
        }
        for (path, node) in found {
            tree.insert(&path, node)?;
        }
    }
    let programs = tree.iter().filter_map(|(path, node)| match &node.kind {
        Kind::File(bytes) => Some((path, bytes.as_slice())),
        Kind::Dir | Kind::Link(_) => None,
    });
    let there = present.libraries.iter().map(String::as_str);
    let libraries = Libraries::beside(packages.all(), there).closure(programs)?;
    tree.merge(libraries)?;
    let main = recipe.packages.first().and_then(|p| packages.locked(p));
    let info = Info {
        name: name.to_owned(),
        description: recipe.description.clone(),
        version: main.map_or_else(String::new, |p| p.version.clone()),
        site: main.map_or_else(String::new, |p| p.uri.clone()),
        made_of: recipe
            .packages
            .iter()
            .filter_map(|p| packages.locked(p))
            .map(|p| format!("{} {}", p.name, p.version))
            .collect(),
        ..Info::default()
    };
    Ok((tree, info))
}

/// What a path of a description takes out of packages: of a file what the first has that has it, of a folder all.
fn taken<'a>(path: &str, mut packages: impl Iterator<Item = &'a Tree>) -> Vec<(String, Node)> {
    if path.ends_with('/') {
        let within = |tree: &'a Tree| tree.iter().filter(|(at, node)| at.starts_with(path) && node.kind != Kind::Dir);
        return packages.flat_map(within).map(|(at, node)| (at.to_owned(), node.clone())).collect();
    }
    let found = packages.find_map(|tree| tree.resolve(path));
    found.map(|(_, node)| (path.to_owned(), node.clone())).into_iter().collect()
}

/// Where a packaged file lies in an image; nowhere, if no image needs it.
#[must_use]
pub fn place(path: &str) -> Option<String> {
    const LEFT_OUT: [&str; 3] = ["usr/share/", "boot/System.map", "boot/config"];
    let licence = path.starts_with("usr/share/doc/") && path.ends_with("/copyright");
    (licence || !LEFT_OUT.iter().any(|prefix| path.starts_with(prefix))).then(|| usr_merged(path))
}

/// Unpacked packages with what is known of them.
#[derive(Debug, Default)]
pub struct Packages<'a>(pub Vec<(&'a Package, Tree)>);

impl Packages<'_> {
    /// The files of a package.
    #[must_use]
    pub fn tree(&self, name: &str) -> Option<&Tree> {
        self.0.iter().find(|(package, _)| package.name == name).map(|(_, tree)| tree)
    }

    /// What is known of a package.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn package() -> Package {
        let text = |text: &str| text.to_owned();
        Package { name: text("tool"), version: text("1"), size: 0, sha256: text(""), uri: text("tool.deb") }
    }

    #[test]
    fn files_and_whole_folders_are_taken_and_missing_ones_named() {
        let (package, mut tree) = (package(), Tree::default());
        for path in ["usr/bin/tool", "usr/lib/tool/plugins/a", "usr/lib/tool/plugins/deep/b", "usr/lib/tool/other"] {
            tree.file(path, 0o755, path).unwrap();
        }
        let packages = Packages(vec![(&package, tree)]);
        let recipe = |files: &[&str]| Recipe {
            packages: vec!["tool".to_owned()],
            files: files.iter().map(|&file| file.to_owned()).collect(),
            description: "A tool".to_owned(),
        };
        let made = build("x", &recipe(&["bin/tool", "lib/tool/plugins/"]), &packages, &Present::default()).unwrap();
        let files: Vec<&str> = made.0.iter().filter(|(_, n)| n.kind != Kind::Dir).map(|(path, _)| path).collect();
        assert_eq!(files, ["usr/bin/tool", "usr/lib/tool/plugins/a", "usr/lib/tool/plugins/deep/b"]);
        assert_eq!((made.1.version.as_str(), made.1.made_of), ("1", vec!["tool 1".to_owned()]));
        for gone in ["usr/bin/gone", "usr/lib/gone/"] {
            let error = build("x", &recipe(&[gone]), &packages, &Present::default()).unwrap_err().to_string();
            assert!(error.contains("extension x") && error.contains(gone), "{error}");
        }
    }
}
