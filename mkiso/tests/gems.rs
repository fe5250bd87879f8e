//! Real gems, made by RubyGems, through our mirror and back into RubyGems; and servers that lie. Needs `gem`.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may fail loudly")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use mk_tests::web::{Answer, Server};
use mkiso::build::place::Kind;
use mkiso::gems;
use mkiso::gems::pins::Pins;

/// A folder with a list and gems, `mk-a` that needs `mk-b`.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    /// `None` where there is no RubyGems.
    fn new() -> Option<Self> {
        let there = Command::new("gem").arg("--version").output().is_ok_and(|output| output.status.success());
        if !there {
            mk_tests::skip("there is no RubyGems (apt-get install ruby)");
            return None;
        }
        let place = Self { folder: tempfile::tempdir().unwrap() };
        place.sh("mkdir -p src/bin gems && echo 'puts :made_by_mk_b' > src/bin/mk-b && chmod 755 src/bin/mk-b");
        for (name, version, more) in [
            ("mk-a", "1.2.0", "s.add_dependency 'mk-b', '~> 1.0', '>= 1.0.1'"),
            (
                "mk-b",
                "1.0.5",
                "s.bindir = 'bin'; s.executables = ['mk-b']; s.files = ['bin/mk-b']; s.required_ruby_version = '>= 2.0'",
            ),
            ("mk-b", "1.0.0", ""),
            ("mk-b", "2.0.0", ""),
            ("mk-b", "1.9.0.rc1", ""),
        ] {
            let spec = format!(
                "Gem::Specification.new do |s| s.name = '{name}'; s.version = '{version}'; s.summary = 'Ä test'; s.authors = \
                 ['nobody']; s.license = 'MIT'; s.homepage = 'https://example.org'; {more} end"
            );
            fs::write(place.at("src/x.gemspec"), spec).unwrap();
            place.sh(&format!("cd src && gem build -q x.gemspec -o ../gems/{name}-{version}.gem"));
        }
        Some(place)
    }

    fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn sh(&self, script: &str) -> String {
        let output = Command::new("bash").args(["-euc", script]).current_dir(self.folder.path()).output().unwrap();
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        assert!(output.status.success(), "{script}: {}{}", text(&output.stdout), text(&output.stderr));
        text(&output.stdout)
    }

    /// The mirror of a list, by path; or why there is none.
    fn mirror(&self, list: &str, from: &str) -> Result<BTreeMap<String, Vec<u8>>, String> {
        fs::write(self.at("gem.list"), list).unwrap();
        let made =
            gems::mirror(&self.at("gem.list"), Some(from), &Pins::default()).map_err(|error| format!("{error:#}"))?;
        let files = made.items.into_iter().map(|item| {
            let Kind::File(bytes) = item.kind else { panic!("{} is no file", item.path) };
            (item.path.strip_prefix("tmp/gem-mirror/").unwrap().to_owned(), bytes)
        });
        Ok(files.collect())
    }

    fn folder_mirror(&self, list: &str) -> BTreeMap<String, Vec<u8>> {
        self.mirror(list, self.at("gems").to_str().unwrap()).unwrap()
    }
}

fn serve(files: &BTreeMap<String, Vec<u8>>) -> Server {
    let server = Server::start();
    for (path, bytes) in files {
        server.put(&format!("/gem-mirror/{path}"), Answer::ok(bytes.clone()));
    }
    server
}

fn gems_of(files: &BTreeMap<String, Vec<u8>>) -> Vec<&str> {
    files.keys().filter_map(|path| path.strip_prefix("gems/")?.strip_suffix(".gem")).collect()
}

#[test]
fn what_the_list_names_is_mirrored_and_installed_by_real_rubygems() {
    let Some(place) = Place::new() else { return };
    let files = place.folder_mirror("mk-a # ours\n");
    assert_eq!(gems_of(&files), ["mk-a-1.2.0", "mk-b-1.0.5"], "the newest that fits, no pre-release");
    assert_eq!(files, place.folder_mirror("mk-a # ours\n"), "the same gems make the same mirror");
    assert_eq!(files["gems/gem.list"], b"mk-a # ours\n");
    let server = serve(&files);
    let url = format!("{}/gem-mirror/", server.url());
    place.sh(&format!(
        "gem install --no-document --install-dir inst --clear-sources --source {url} mk-a --version '>= 1.0'"
    ));
    assert_eq!(place.sh("GEM_PATH=$PWD/inst GEM_HOME=$PWD/inst inst/bin/mk-b").trim(), "made_by_mk_b");
    let listed = place.sh(&format!("gem list --remote --clear-sources --source {url} --details mk-"));
    for words in ["mk-a (1.2.0)", "mk-b (1.0.5)", "Ä test"] {
        assert!(listed.contains(words), "{words}: {listed}");
    }
    // The indexes that Ruby makes of the same gems say the same.
    place.sh(
        "mkdir -p ruby/gems && cp gems/mk-a-1.2.0.gem gems/mk-b-1.0.5.gem ruby/gems && gem generate_index -d ruby -q",
    );
    for (path, bytes) in files.iter().filter(|(path, _)| path.starts_with("quick/") || path.ends_with(".4.8.gz")) {
        let ours = place.at("ours");
        fs::write(&ours, bytes).unwrap();
        let read = if path.ends_with(".rz") { "Zlib::Inflate.inflate(b)" } else { "Zlib.gunzip(b)" };
        let script = format!(
            "x = ARGV.map {{ |f| b = File.binread(f); Marshal.load({read}) }}; \
             x.map! {{ |s| s.is_a?(Array) ? s.sort_by(&:to_s) : [s.name, s.version, s.platform.to_s, s.dependencies, s.date, s.summary, \
             s.authors, s.licenses, s.homepage, s.required_ruby_version, s.required_rubygems_version] }}; exit(x[0] == x[1] ? 0 : (p x; 1))"
        );
        fs::write(place.at("same.rb"), script).unwrap();
        place.sh(&format!("ruby -rzlib -rrubygems same.rb ours ruby/{path}"));
    }
}

#[test]
fn a_gem_server_is_verified_and_its_lies_are_named() {
    let Some(place) = Place::new() else { return };
    let files = place.folder_mirror("mk-a\n");
    // Our own mirror is a server that this builder can take gems from.
    let good = serve(&files);
    let from = |server: &Server| place.mirror("mk-a\n", &format!("{}/gem-mirror", server.url()));
    assert_eq!(from(&good).unwrap(), files);
    let at = |path: &str| format!("/gem-mirror/{path}");
    let lies: [(&str, Answer, &[&str]); 6] = [
        ("gems/mk-b-1.0.5.gem", Answer::ok("other bytes"), &["mk-b-1.0.5.gem", "SHA-256", "--gem-source"]),
        ("gems/mk-b-1.0.5.gem", Answer::status(404), &["mk-b-1.0.5.gem", "does not have it"]),
        ("gems/mk-b-1.0.5.gem", Answer::ok(files["gems/mk-b-1.0.5.gem"].clone()).cut_at(100), &["mk-b-1.0.5.gem"]),
        ("info/mk-b", Answer::status(404), &["mk-a 1.2.0 asks for the gem mk-b", "no gem of that name"]),
        ("info/mk-b", Answer::ok("<!DOCTYPE html>"), &["info/mk-b", "web page"]),
        ("info/mk-b", Answer::ok("1.0.5 |checksum:12\n"), &["info/mk-b", "line 1"]),
    ];
    for (path, answer, says) in lies {
        let server = serve(&files);
        server.put(&at(path), answer);
        let error = from(&server).unwrap_err();
        for word in says {
            assert!(error.contains(word), "{path}: {word:?} is not in: {error}");
        }
    }
    // Other bytes with their own digest: a gem that says that it is another one.
    let server = serve(&files);
    let other = &files["gems/mk-a-1.2.0.gem"];
    server.put(&at("gems/mk-b-1.0.5.gem"), Answer::ok(other.clone()));
    server.put(&at("info/mk-b"), Answer::ok(format!("1.0.5 |checksum:{}\n", mkiso::cache::sha256(other))));
    let error = from(&server).unwrap_err();
    assert!(error.contains("says of itself that it is mk-a-1.2.0"), "{error}");
}

#[test]
fn a_list_that_cannot_be_met_is_said() {
    let Some(place) = Place::new() else { return };
    let from = place.at("gems");
    let error = |list: &str, from: &str| place.mirror(list, from).unwrap_err();
    let said = error("mk-a\nmk-b >= 2\n", from.to_str().unwrap());
    assert!(said.contains("mk-a 1.2.0 needs mk-b") && said.contains("2.0.0"), "{said}");
    let said = error("gone\n", from.to_str().unwrap());
    assert!(said.contains("gone") && said.contains("gem-list/gem.list"), "{said}");
    assert!(error("mk-a\n", "/no/such/folder").contains("/no/such/folder"));
    fs::write(from.join("bad.gem"), "<html>").unwrap();
    assert!(error("mk-a\n", from.to_str().unwrap()).contains("bad.gem"));
    assert!(
        gems::mirror(&place.at("gem.list"), None, &Pins::default()).unwrap_err().to_string().contains("--gem-source")
    );
    assert!(gems::mirror(Path::new("/no/list"), None, &Pins::default()).unwrap().items.is_empty());
}

#[test]
fn a_gem_that_changed_between_builds_is_refused_until_it_is_taken_anew() {
    let Some(place) = Place::new() else { return };
    let files = place.folder_mirror("mk-a\n");
    let server = serve(&files);
    place.sh("mkdir -p site/gem-list && echo mk-a > site/gem-list/gem.list");
    fs::write(
        place.at("site/image.toml"),
        format!("[image]\nearly = []\nextensions = []\nremote = []\nrequired_modules = []\n[gems]\nsource = \"{}/gem-mirror\"\n", server.url()),
    )
    .unwrap();
    let mkiso = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mkiso"));
        command.current_dir(place.at("site")).arg("gems").args(args).output().unwrap()
    };
    let taken = |args: &[&str]| {
        let output = mkiso(args);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(|line| line.rsplit_once(' ').unwrap().0.to_owned()).collect::<Vec<_>>()
    };
    let lock = || fs::read_to_string(place.at("site/image.lock")).unwrap();
    assert_eq!(taken(&[]), ["mk-a 1.2.0", "mk-b 1.0.5"]);
    let before = lock();
    for gem in ["mk-a-1.2.0", "mk-b-1.0.5"] {
        assert!(before.contains(&mkiso::cache::sha256(&files[&format!("gems/{gem}.gem")])), "{gem}: {before}");
    }

    // The server has a newer version, and another gem in place of the one that was taken; with the right digests.
    let spec = "Gem::Specification.new do |s| s.name = 'mk-b'; s.version = 'VERSION'; s.summary = 'other'; s.authors = ['x'] end";
    for version in ["1.0.5", "1.1.0"] {
        fs::write(place.at("src/x.gemspec"), spec.replace("VERSION", version)).unwrap();
        place.sh(&format!("cd src && gem build -q x.gemspec -o ../gems/mk-b-{version}.gem 2>/dev/null"));
    }
    let newer = place.folder_mirror("mk-a\nmk-b 1.1.0\n");
    let other = place.folder_mirror("mk-a\nmk-b 1.0.5\n");
    let digest =
        |files: &BTreeMap<String, Vec<u8>>, gem: &str| mkiso::cache::sha256(&files[&format!("gems/{gem}.gem")]);
    let both = |first: &BTreeMap<String, Vec<u8>>| {
        let (one, two) = (digest(first, "mk-b-1.0.5"), digest(&newer, "mk-b-1.1.0"));
        server.put("/gem-mirror/info/mk-b", Answer::ok(format!("---\n1.0.5 |checksum:{one}\n1.1.0 |checksum:{two}\n")));
        server.put("/gem-mirror/gems/mk-b-1.0.5.gem", Answer::ok(first["gems/mk-b-1.0.5.gem"].clone()));
        server.put("/gem-mirror/gems/mk-b-1.1.0.gem", Answer::ok(newer["gems/mk-b-1.1.0.gem"].clone()));
    };
    both(&files);
    assert_eq!(taken(&[]), ["mk-a 1.2.0", "mk-b 1.0.5"], "what was taken, although there is a newer one");
    both(&other);
    let refused = mkiso(&[]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("the gem mk-b 1.0.5 is another one"), "{said}");
    assert!(said.contains(&digest(&files, "mk-b-1.0.5")) && said.contains("mkiso gems --update-lock"), "{said}");
    assert_eq!(lock(), before);

    // What cannot be had does not cost the pins.
    server.put("/gem-mirror/gems/mk-b-1.1.0.gem", Answer::status(404));
    assert!(!mkiso(&["--update-lock"]).status.success());
    assert_eq!(lock(), before);
    both(&other);
    assert_eq!(taken(&["--update-lock"]), ["mk-a 1.2.0", "mk-b 1.1.0"]);
    assert_eq!(taken(&[]), ["mk-a 1.2.0", "mk-b 1.1.0"]);
}
