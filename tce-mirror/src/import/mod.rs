//! Debian packages to extensions. A name that a recipe describes becomes one extension of the files and libraries that it
//! needs, as `mkiso base` makes it; any other package becomes an extension of its own, beside one for each package that it
//! needs and the base lacks.
//!
//! Packages' scripts are not run: what they would do is said in `NAME.tcz.info`. The same packages make the same bytes.

pub mod closure;
pub mod control;
pub mod have;
mod store;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::apt::Sources;
use crate::fetch;
use crate::recipe::{self, Packages, Present, Recipe};
use crate::tcz::{self, Info, Packing};
use crate::tree::{Kind, Tree};

use closure::Known;
use store::Read;

/// What is wanted.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// Names of recipes or packages.
    pub names: Vec<String>,
    /// Files of packages.
    pub files: Vec<PathBuf>,
    /// Descriptions of extensions, by name.
    pub recipes: BTreeMap<String, Recipe>,
    /// Where packages that are not given come from; without it, none may be missing.
    pub sources: Option<Sources>,
    /// What the base has.
    pub present: Present,
}

/// An extension that is ready to be written.
#[derive(Debug)]
struct Made {
    tree: Tree,
    info: Info,
    time: u32,
}

/// Makes the extensions in the folder `out`; gives their file names, each behind those that it depends on. `said` gets a
/// line for each.
///
/// # Errors
/// A package that is damaged, missing or made to harm, by name; nothing is written then.
pub fn run(request: &Request, out: &Path, mut said: impl FnMut(&str)) -> Result<Vec<String>> {
    let mut read = request.files.iter().map(|path| store::file(path)).collect::<Result<Vec<_>>>()?;
    let mut had: BTreeSet<String> = request.present.packages.clone();
    had.extend(request.sources.iter().flat_map(|sources| sources.without.keys().cloned()));
    for name in missing(request, &read, &had) {
        said(&format!("{name}: from Debian's archives"));
    }
    read.extend(fetched(request, &read, &had)?);
    let mut made = recipes(request, &read)?;
    made.extend(packages(request, &read, had)?);
    fetch::folder(out)?;
    for one in &made {
        said(&one.write(out)?);
    }
    Ok(made.iter().map(|one| format!("{}.tcz", one.info.name)).collect())
}

/// Names that must be taken from archives: what was asked for, and what given files need.
fn missing(request: &Request, given: &[Read], had: &BTreeSet<String>) -> Vec<String> {
    let known = Known::new(given.iter().map(|read| &read.deb), had.clone());
    let mut names = BTreeSet::new();
    for name in &request.names {
        match request.recipes.get(name) {
            Some(recipe) => names.extend(recipe.packages.iter().cloned()),
            None => drop(names.insert(name.clone())),
        }
    }
    names.extend(given.iter().flat_map(|read| known.needs(&read.deb).1));
    names.into_iter().filter(|name| !given.iter().any(|read| read.name() == name)).collect()
}

fn fetched(request: &Request, given: &[Read], had: &BTreeSet<String>) -> Result<Vec<Read>> {
    let names = missing(request, given, had);
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let Some(sources) = &request.sources else {
        bail!(
            "{} must come from Debian's archives: name a description of them with --config, give the packages' files, or \
             say with --have that the base has them",
            names.join(", ")
        );
    };
    let mut sources = sources.clone();
    let there = had.iter().map(String::as_str).chain(given.iter().map(Read::name));
    sources.without.extend(there.map(|name| (name.to_owned(), String::new())));
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    store::archive(&names, &sources)
}

fn recipes(request: &Request, read: &[Read]) -> Result<Vec<Made>> {
    let packages = Packages(read.iter().map(|read| (&read.package, read.deb.tree.clone())).collect());
    let mut made = Vec::new();
    for name in &request.names {
        let Some(recipe) = request.recipes.get(name) else { continue };
        let (tree, mut info) = recipe::build(name, recipe, &packages, &request.present)?;
        let parts = || read.iter().filter(|read| recipe.packages.iter().any(|package| package == read.name()));
        info.notes = parts().flat_map(|read| control::notes(&read.deb)).collect();
        made.push(Made { tree, info, time: parts().map(|read| read.deb.built).max().unwrap_or_default() });
    }
    Ok(made)
}

fn packages(request: &Request, read: &[Read], had: BTreeSet<String>) -> Result<Vec<Made>> {
    let given = read.iter().take(request.files.len()).map(|read| read.name().to_owned());
    let named = request.names.iter().filter(|name| !request.recipes.contains_key(*name)).cloned();
    let wanted: Vec<String> = given.chain(named).collect();
    let mut trees: BTreeMap<&str, Tree> = BTreeMap::new();
    for read in read {
        trees.insert(read.name(), lacking(&read.deb.tree, &request.present)?);
    }
    let known = Known::new(read.iter().map(|read| &read.deb), had);
    let is_empty = |name: &str| trees.get(name).is_none_or(|tree| !has_files(tree));
    let order = known.order(&wanted, is_empty)?;
    let mut made = Vec::new();
    for (name, needs) in order {
        let one = read.iter().find(|read| read.name() == name).context("a package got lost")?;
        let info = Info {
            name: name.to_owned(),
            description: one.deb.field("Description").lines().next().unwrap_or_default().to_owned(),
            version: one.package.version.clone(),
            site: Some(one.deb.field("Homepage"))
                .filter(|site| !site.is_empty())
                .unwrap_or(&one.package.uri)
                .to_owned(),
            made_of: vec![format!("{name} {}", one.package.version)],
            depends: needs.into_iter().map(str::to_owned).collect(),
            notes: control::notes(&one.deb),
        };
        made.push(Made { tree: trees.remove(name).unwrap_or_default(), info, time: one.deb.built });
    }
    Ok(made)
}

/// A package's files without the libraries that the base has.
fn lacking(tree: &Tree, present: &Present) -> Result<Tree> {
    let mut lacking = Tree::default();
    for (path, node) in tree.iter().filter(|(path, _)| !present.libraries.contains(*path)) {
        lacking.insert(path, node.clone())?;
    }
    Ok(lacking)
}

/// Whether there is more in it than folders and licences.
fn has_files(tree: &Tree) -> bool {
    tree.iter().any(|(path, node)| node.kind != Kind::Dir && !path.starts_with("usr/share/doc/"))
}

impl Made {
    /// Writes the extension and what stands beside it; says what it is.
    fn write(&self, out: &Path) -> Result<String> {
        let Self { tree, info, time } = self;
        let image = tcz::write(tree, Packing::TinyCore, *time).with_context(|| info.name.clone())?;
        let at = |ending: &str| out.join(format!("{}.tcz{ending}", info.name));
        let list: String = files(tree).map(|path| format!("{path}\n")).collect();
        if info.depends.is_empty() {
            // One of an earlier import must not stay.
            let _ = std::fs::remove_file(at(".dep"));
        } else {
            fetch::place(&at(".dep"), info.dep().as_bytes())?;
        }
        fetch::place(&at(".info"), info.text(image.len()).as_bytes())?;
        fetch::place(&at(".list"), list.as_bytes())?;
        fetch::place(&at(".md5.txt"), tcz::md5_txt(&info.name, &image).as_bytes())?;
        fetch::place(&at(""), &image)?;
        Ok(format!("{}.tcz: {} bytes, {}", info.name, image.len(), info.version))
    }
}

/// Paths of what is no folder.
fn files(tree: &Tree) -> impl Iterator<Item = &str> {
    tree.iter().filter(|(_, node)| node.kind != Kind::Dir).map(|(path, _)| path)
}
