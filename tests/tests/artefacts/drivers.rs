//! Drivers of a built image, as kmod's own `modinfo` sees them: those that `image.toml` requires are there, with every
//! module that they need and every firmware file that they name.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use duct::cmd;
use walkdir::WalkDir;

use super::image::Image;

/// What mounting needs, before any extension is there.
const FIRST: [&str; 2] = ["loop", "squashfs"];
/// Not everybody's search path has it.
const MODINFO: &str = "/sbin/modinfo";

#[test]
fn required_drivers_are_there_with_what_they_need_and_their_firmware() {
    let image = Image::open("production");
    let drivers = Drivers::open(image);
    let all = image.everything();
    let (mut open, mut seen, mut wrong) = (required(), BTreeSet::new(), Vec::new());
    let mut firmware = 0;
    while let Some(name) = open.pop() {
        if drivers.builtin.contains(&name) || !seen.insert(name.clone()) {
            continue;
        }
        let Some(file) = drivers.files.get(&name) else {
            wrong.push(format!("{name} is not there"));
            continue;
        };
        for (key, value) in modinfo(file) {
            match key.as_str() {
                "depends" => open.extend(value.split(',').filter(|need| !need.is_empty()).map(name_of)),
                "firmware" if all.iter().any(|path| path.ends_with(&format!("/lib/firmware/{value}"))) => firmware += 1,
                "firmware" => wrong.push(format!("{name} lacks its firmware {value}")),
                _ => {}
            }
        }
    }
    println!("{} modules with {firmware} firmware files", seen.len());
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(seen.len() > required().len() && firmware > 0, "nothing was looked at: this test reads the wrong words");
}

/// The modules that `image.toml` requires, and those without which none of them is reached.
fn required() -> Vec<String> {
    let config = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../image.toml")).unwrap();
    let config: toml::Table = toml::from_str(&config).unwrap();
    let names = config["image"]["required_modules"].as_array().unwrap().iter().map(|name| name.as_str().unwrap());
    names.chain(FIRST).map(name_of).collect()
}

/// The modules of an image, by name.
struct Drivers {
    files: BTreeMap<String, PathBuf>,
    builtin: BTreeSet<String>,
}

impl Drivers {
    fn open(image: &Image) -> Self {
        let core = image.path("core");
        fs::create_dir_all(&core).unwrap();
        let unpack = cmd!("cpio", "-idmu", "--quiet", "--no-absolute-filenames", "*lib/modules/*");
        unpack.stdin_path(image.path("base.cpio")).dir(&core).run().unwrap();
        let (mut files, mut builtin) = (BTreeMap::new(), BTreeSet::new());
        for folder in [core, image.path("tcz")] {
            for entry in WalkDir::new(folder) {
                let path = entry.unwrap().into_path();
                if path.extension().is_some_and(|ending| ending == "ko") {
                    files.insert(name_of(path.file_stem().unwrap().to_str().unwrap()), path);
                } else if path.ends_with("modules.builtin") {
                    let list = fs::read_to_string(&path).unwrap();
                    let stems = list.lines().filter_map(|line| Path::new(line).file_stem()?.to_str());
                    builtin.extend(stems.map(name_of));
                }
            }
        }
        Self { files, builtin }
    }
}

/// A module's name as the kernel has it.
fn name_of(name: &str) -> String {
    name.replace('-', "_")
}

/// What a module says of itself, in order.
fn modinfo(file: &Path) -> Vec<(String, String)> {
    let text = cmd!(MODINFO, file).read().unwrap();
    let pairs = text.lines().filter_map(|line| line.split_once(':'));
    pairs.map(|(key, value)| (key.to_owned(), value.trim().to_owned())).collect()
}
