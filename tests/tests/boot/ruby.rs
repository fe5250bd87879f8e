//! Ruby as an extension, a gem that the image mirrors, and a fact of the site's own that needs it. Only where
//! `MK_GEM_SOURCE` names a gem server or a folder of gems (`docs/TESTING.md`): Ruby comes from Debian's archives, and
//! nothing of either is in this project. Prints the image's size and when each step ended.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use duct::cmd;
use mk_tests::limits;
use mk_tests::vm::{Firmware, Machine};
use serde_json::json;

use super::lab::{Lab, tool, wait, written};

/// Names where gems come from.
const SOURCE: &str = "MK_GEM_SOURCE";
/// A gem in plain Ruby that needs another one.
const GEM: &str = "pastel";
/// The fact, by a program that cannot run without the gem.
const FACT: &str = "#!/usr/bin/env ruby
require 'pastel'
require 'json'
plain = Pastel.new(enabled: true).strip(\"\\e[32mrow 4\\e[0m\")
puts JSON.generate('site_place' => {'row' => plain, 'ruby' => RUBY_ENGINE})
";

#[test]
fn ruby_a_gem_and_a_fact_that_needs_it() {
    let Some(source) = std::env::var_os(SOURCE) else {
        return mk_tests::skip_even_there(&format!("{SOURCE} names no gem server and no folder of gems"));
    };
    let lab = Lab::new();
    let server = lab.serve(0);
    let site = Site { folder: lab.path("site") };
    site.describe();
    let base = site.base_with_ruby(&lab.path("base.iso"));
    let address = format!("http://10.0.2.2:{}", server.port);
    let built = cmd!(
        tool("MKISO_BIN"),
        "build",
        "--base",
        base,
        "--agent",
        tool("MK_AGENT"),
        "--config",
        site.at("image.toml"),
        "--gem-source",
        source,
        "--server",
        address,
        "--out",
        lab.path("dist")
    );
    let image = PathBuf::from(built.read().expect("an image with Ruby and the gem is built"));
    println!("the image has {} bytes", fs::metadata(&image).unwrap().len());

    let machine = Machine::example(0x71, 1024, 2);
    let begun = Instant::now();
    let at = |what: &str| println!("{what} {} s after the start", begun.elapsed().as_secs());
    let guest = lab.boot(&machine, &image, Firmware::Bios);
    server.await_node(&guest);
    at("checked in");
    for unit in ["ext", "gems"] {
        let done = format!("{unit} is done");
        wait(&done, limits::REACTION, &guest, || guest.console().find(&done, 0));
        at(&done);
    }
    let fact = wait("the server shows the fact", limits::INVENTORY, &guest, || {
        Some(server.show()["facts"]["site_place"].clone()).filter(|fact| !fact.is_null())
    });
    at("the fact is shown");
    assert_eq!(fact, json!({"row": "row 4", "ruby": "ruby"}));
    assert_eq!(written(&guest), 0, "something was written to the disks");
    guest.quit().unwrap();
}

/// An operator's own description of an image.
struct Site {
    folder: PathBuf,
}

impl Site {
    fn at(&self, path: &str) -> PathBuf {
        self.folder.join(path)
    }

    /// The project's description, with Ruby, the gem and the fact.
    fn describe(&self) {
        let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        fs::create_dir_all(self.at("gem-list")).unwrap();
        fs::write(self.at("gem-list/gem.list"), format!("{GEM}\n")).unwrap();
        cmd!("cp", "-R", own.join("rootfs-overlay"), &self.folder).run().unwrap();
        let fact = "etc/razor-mk/facts.d/10-place";
        fs::create_dir_all(self.at("rootfs-overlay/etc/razor-mk/facts.d")).unwrap();
        fs::write(self.at("rootfs-overlay").join(fact), FACT).unwrap();
        // A folder that has files is no empty one.
        let empty = "[path.\"etc/razor-mk/facts.d\"]\ndir = true\n";
        self.change("rootfs-overlay/MANIFEST.toml", &self.at("rootfs-overlay/MANIFEST.toml"), |text| {
            assert!(text.contains(empty), "{text}");
            text.replace(empty, &format!("[path.\"{fact}\"]\nmode = \"0755\"\n"))
        });
        self.change("image.toml", &own.join("image.toml"), |text| {
            let mut all: toml::Table = toml::from_str(&text).unwrap();
            let extensions = all["image"]["extensions"].as_array_mut().unwrap();
            extensions.push("ruby.tcz".into());
            toml::to_string(&all).unwrap()
        });
    }

    /// Writes a file that another one becomes by a change.
    fn change(&self, path: &str, from: &Path, by: impl FnOnce(String) -> String) {
        fs::write(self.at(path), by(fs::read_to_string(from).unwrap())).unwrap();
    }

    /// The base, with Ruby and all that it needs beside its own extensions.
    fn base_with_ruby(&self, to: &Path) -> PathBuf {
        let (base, extensions) = (tool("MK_BASE"), self.at("extensions"));
        let import = tool("MKISO_BIN").with_file_name("tce-mirror");
        let config = self.at("image.toml");
        let imported = cmd!(import, "import-deb", "--config", config, "--base", &base, "--out", &extensions, "ruby");
        let names = imported.stderr_null().read().expect("Debian's packages become extensions");
        assert!(names.lines().any(|name| name == "ruby.tcz"), "{names}");
        println!("Ruby is {} extensions", names.lines().count());
        let add = ["-map".as_ref(), extensions.as_os_str(), "/cde/optional".as_ref()];
        let from = ["-indev".as_ref(), base.as_os_str(), "-outdev".as_ref(), to.as_os_str()];
        cmd("xorriso", from.into_iter().chain(add))
            .stdout_null()
            .stderr_null()
            .run()
            .expect("they are put on the base");
        to.to_owned()
    }
}
