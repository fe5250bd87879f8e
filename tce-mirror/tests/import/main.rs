//! Packages made by Debian's own tools, and by hands that mean harm, to extensions that squashfs's own tools read.

#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A folder with packages and their extensions.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    /// `None` where a tool is missing.
    fn new() -> Option<Self> {
        let is_there = |tool: &&str| Command::new("which").arg(tool).output().is_ok_and(|o| o.status.success());
        if let Some(tool) = ["dpkg-deb", "ar", "unsquashfs"].iter().find(|tool| !is_there(tool)) {
            mk_tests::skip(&format!("there is no {tool} (apt-get install dpkg binutils squashfs-tools)"));
            return None;
        }
        Some(Self { folder: tempfile::tempdir().unwrap() })
    }

    fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    /// A package by `dpkg-deb`, after `make` has put its files into `$P`.
    fn package(&self, name: &str, fields: &str, make: &str) -> String {
        let script = format!(
            "P=tree-{name}; mkdir -p $P/DEBIAN; printf 'Package: {name}\\nVersion: 1:2.0-3\\nArchitecture: amd64\\nMaintainer: \
             nobody <n@example.org>\\nHomepage: https://example.org\\nDescription: The {name}\\n of this test\\n{fields}' \
             > $P/DEBIAN/control; {make}\nfind $P -exec touch -d @1700000000 {{}} +\n\
             SOURCE_DATE_EPOCH=1700000000 dpkg-deb --root-owner-group -Zxz -b $P {name}.deb"
        );
        self.sh(&script);
        self.at(&format!("{name}.deb")).to_str().unwrap().to_owned()
    }

    fn sh(&self, script: &str) -> String {
        let output = Command::new("bash").args(["-euc", script]).current_dir(self.folder.path()).output().unwrap();
        assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs `import-deb`: what it printed, or what it said when it failed.
    fn import(&self, args: &[&str]) -> Result<String, String> {
        let output = Command::new(env!("CARGO_BIN_EXE_tce-mirror"))
            .args(["import-deb", "--out", "out"])
            .args(args)
            .current_dir(self.folder.path())
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
    }

    fn out(&self, name: &str) -> String {
        fs::read_to_string(self.at("out").join(name)).unwrap()
    }
}

#[test]
fn packages_become_extensions_with_all_that_stands_beside_them() {
    let Some(place) = Place::new() else { return };
    let postinst = "mkdir -p $P/DEBIAN; printf '#!/bin/sh\\ntouch ../ran\\nadduser --system tooluser\\nldconfig\\n' > $P/DEBIAN/postinst; \
                    chmod 755 $P/DEBIAN/postinst;";
    let make = format!(
        "mkdir -p $P/usr/bin $P/bin $P/usr/share/doc/tool $P/usr/share/man/man1; echo 'echo it runs' > $P/usr/bin/tool; chmod 4755 \
         $P/usr/bin/tool; ln -s tool $P/usr/bin/link; ln $P/usr/bin/tool $P/usr/bin/same; ln -s /etc/tool $P/usr/bin/conf; echo x > \
         $P/bin/old; echo free > $P/usr/share/doc/tool/copyright; echo long > $P/usr/share/man/man1/tool.1; {postinst}"
    );
    let tool = place.package("tool", "Depends: libtool1 (>= 1), libc6, meta\\n", &make);
    let lib = "mkdir -p $P/usr/lib/x86_64-linux-gnu; echo one > $P/usr/lib/x86_64-linux-gnu/libone.so.1; echo two > \
               $P/usr/lib/x86_64-linux-gnu/libtwo.so.1";
    let lib = place.package("libtool1", "Provides: libalias\\n", lib);
    let meta = place.package(
        "meta",
        "Depends: libalias | nothing\\n",
        "mkdir -p $P/usr/share/doc/meta; echo x > $P/usr/share/doc/meta/copyright",
    );
    fs::write(place.at("have"), "libc6 # the base's\n/usr/lib/x86_64-linux-gnu/libtwo.so.1\n").unwrap();

    let made = place.import(&["--have", "have", &tool, &lib, &meta]).unwrap();
    assert_eq!(made, "libtool1.tcz\ntool.tcz\n", "what is needed comes first, what is empty not at all");
    assert_eq!(place.out("tool.tcz.dep"), "libtool1.tcz\n");
    place.sh("cd out && md5sum -c tool.tcz.md5.txt libtool1.tcz.md5.txt");
    let info = place.out("tool.tcz.info");
    for words in [
        "Title:          tool.tcz",
        "The tool",
        "1:2.0-3",
        "https://example.org",
        "the user tooluser",
        "not run: postinst",
    ] {
        assert!(info.contains(words), "{words}: {info}");
    }
    assert!(!place.at("ran").exists() && !place.at("out/ran").exists());
    let said = place.sh("unsquashfs -s out/tool.tcz");
    for words in ["SQUASHFS 4:0", "Compression gzip", "Block size 4096"] {
        assert!(said.contains(words), "{words}: {said}");
    }
    let list = place.sh("unsquashfs -lln -d '' out/tool.tcz");
    let line = |path: &str| {
        list.lines()
            .find(|l| l.contains(&format!("{path} ")) || l.ends_with(path))
            .unwrap_or_else(|| panic!("{path}: {list}"))
    };
    assert!(line("/usr/bin/tool").starts_with("-rwsr-xr-x 0/0") && line("/usr/bin/same").starts_with("-rwsr-xr-x"));
    assert!(line("/usr/bin/old").starts_with('-') && line("/usr/share/doc/tool/copyright").starts_with('-'));
    assert!(list.contains("/usr/bin/link -> tool") && list.contains("/usr/bin/conf -> /etc/tool"));
    assert!(!list.contains("man1"));
    place.sh("unsquashfs -q -n -d un out/tool.tcz >/dev/null && [ \"$(sh un/usr/bin/tool)\" = 'it runs' ]");
    let libs = place.out("libtool1.tcz.list");
    assert!(libs.contains("libone.so.1") && !libs.contains("libtwo"), "what the base has stays out: {libs}");
    assert_eq!(place.out("info.lst"), "libtool1.tcz\ntool.tcz\n");
    assert!(place.out("provides.db").contains("tool.tcz\nusr/bin/conf\n"));

    files_are_found(&place);

    let before = fs::read(place.at("out/tool.tcz")).unwrap();
    fs::remove_dir_all(place.at("out")).unwrap();
    place.import(&["--have", "have", &meta, &tool, &lib]).unwrap();
    assert!(fs::read(place.at("out/tool.tcz")).unwrap() == before, "the same package makes the same bytes");
}

fn files_are_found(place: &Place) {
    let program = env!("CARGO_BIN_EXE_tce-mirror");
    let found = place.sh(&format!("{program} find out bin/tool"));
    assert_eq!(found, "tool.tcz  The tool\n    usr/bin/tool\n");
    place.sh(&format!(
        "! {program} find out bin/gone 2> said && grep -q 'no extension of out has a file bin/gone' said"
    ));
}

#[test]
fn what_is_needed_and_not_there_is_named() {
    let Some(place) = Place::new() else { return };
    let tool = place.package("tool", "Depends: libgone1 (>= 3)\\n", "mkdir -p $P/usr/bin; echo x > $P/usr/bin/tool");
    let error = place.import(&[&tool]).unwrap_err();
    assert!(error.contains("libgone1") && error.contains("--have") && error.contains("--config"), "{error}");
    assert!(!place.at("out").exists(), "nothing is written");
    let error = place.import(&["./gone.deb"]).unwrap_err();
    assert!(error.contains("./gone.deb"), "{error}");
}

/// A package whose data archive a script makes as `data.tar`.
fn hostile(data: &str) -> Result<String, String> {
    let place = Place { folder: tempfile::tempdir().unwrap() };
    place.sh(&format!(
        "printf 'Package: evil\\nVersion: 1\\n' > control; tar cf control.tar control; mkdir d; {data}\nprintf '2.0\\n' > \
         debian-binary; ar rc evil.deb debian-binary control.tar data.tar"
    ));
    let said = place.import(&["./evil.deb"]);
    assert!(!place.at("out").exists() || said.is_ok(), "nothing is written");
    said
}

#[test]
fn packages_that_mean_harm_are_refused_by_name() {
    let Some(place) = Place::new() else { return };
    hostile("mkdir -p d/usr; echo x > d/usr/x; tar cf data.tar -C d ./usr").unwrap();
    for (data, says) in [
        ("echo x > d/x; tar cPf data.tar --transform 's,^d/x,../../etc/cron.d/x,' d/x", "leads out of its root"),
        ("echo x > d/x; tar cPf data.tar --transform 's,^d/x,/etc/cron.d/x,' d/x", "absolute path"),
        ("ln -s ../../../etc d/x; tar cf data.tar -C d ./x", "leads out of its root"),
        (
            "ln -s /etc d/x; tar cf data.tar -C d ./x; mkdir e; echo y > e/y; tar rf data.tar --transform 's,^e,./x,' e/y",
            "no folder",
        ),
        ("mkfifo d/x; tar cf data.tar -C d ./x", "of type"),
        (
            "echo x > d/x; ln d/x d/y; tar cf data.tar --transform 's,/x$,/../../x,' -C d ./x ./y",
            "leads out of its root",
        ),
        ("touch $'d/a\\nb'; tar cf data.tar -C d .", "control character"),
        ("head -c 5000 /dev/urandom > data.tar", "data.tar"),
    ] {
        let error = hostile(data).unwrap_err();
        assert!(error.contains("evil.deb") && error.contains(says), "{data}: {error}");
    }
    for (bytes, says) in [("!<arch>\nhalf", "cut short"), ("<html>", "no Debian package")] {
        fs::write(place.at("evil.deb"), bytes).unwrap();
        let error = place.import(&["./evil.deb"]).unwrap_err();
        assert!(error.contains("evil.deb") && error.contains(says), "{error}");
    }
    place.sh("printf 'Package: ../../evil\\nVersion: 1\\n' > control; tar cf control.tar control; tar cf data.tar -T /dev/null; \
              printf '2.0\\n' > debian-binary; rm evil.deb; ar rc evil.deb debian-binary control.tar data.tar");
    let error = place.import(&["./evil.deb"]).unwrap_err();
    assert!(error.contains("no name of a package"), "{error}");
}

#[test]
fn a_recipe_makes_one_extension_of_files_and_their_libraries() {
    let Some(place) = Place::new() else { return };
    let (program, needed) = own_program();
    let make = format!("mkdir -p $P/usr/bin; cp {} $P/usr/bin/tool", program.display());
    let tool = place.package("tool", "", &make);
    let copies: String =
        needed.iter().map(|lib| format!("cp -L {} $P/usr/lib/x86_64-linux-gnu/;", lib.display())).collect();
    let libs = place.package("libs", "", &format!("mkdir -p $P/usr/lib/x86_64-linux-gnu; {copies}"));
    let config = "[debian]\narchitecture = \"amd64\"\nkeyring = \"none\"\narchives = []\ncomponents = []\n\
                  [extension.mine]\npackages = [\"tool\", \"libs\"]\nfiles = [\"usr/bin/tool\"]\ndescription = \"Mine\"\n";
    fs::write(place.at("image.toml"), config).unwrap();
    let made = place.import(&["--config", "image.toml", &tool, &libs, "mine"]).unwrap();
    assert!(made.lines().any(|line| line == "mine.tcz"), "{made}");
    let list = place.out("mine.tcz.list");
    assert!(
        list.contains("usr/bin/tool\n")
            && needed.iter().all(|lib| list.contains(lib.file_name().unwrap().to_str().unwrap())),
        "{list}"
    );
    // What the base has does not come along.
    let first = needed[0].file_name().unwrap().to_str().unwrap();
    fs::write(place.at("have"), format!("/usr/lib/x86_64-linux-gnu/{first}\n")).unwrap();
    place.import(&["--config", "image.toml", "--have", "have", &tool, &libs, "mine"]).unwrap();
    assert!(!place.out("mine.tcz.list").contains(&format!("/{first}")));
}

/// A dynamic program of this machine with the libraries that it needs.
fn own_program() -> (PathBuf, Vec<PathBuf>) {
    let program = PathBuf::from("/bin/bash");
    let said = Command::new("ldd").arg(&program).output().unwrap();
    let paths = String::from_utf8(said.stdout).unwrap();
    let paths = paths.split_whitespace().filter(|word| word.starts_with('/')).map(Path::new);
    (program, paths.map(Path::to_owned).collect())
}
