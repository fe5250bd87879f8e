//! The mirrors over real connections.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::loopback::tests as http;

/// A running mirror over a folder of its own.
struct Mirror {
    address: SocketAddr,
    folder: tempfile::TempDir,
}

fn start(routes: fn(&Folders) -> Router) -> Mirror {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let folders = Folders { mirror: at("tinycorelinux"), builtin: at("builtin"), gems: at("gem-mirror") };
    Mirror { address: http::start(move || routes(&folders)), folder }
}

impl Mirror {
    fn put(&self, path: &str, text: &str) {
        let path = self.folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).unwrap();
        fs::write(path, text).unwrap();
    }

    /// HTTP status, headers in lower case, body.
    fn ask(&self, request: &str, headers: &str) -> (u16, String, String) {
        let answer = http::ask(self.address, request, headers, "");
        (answer.code, answer.headers, answer.body)
    }
}

#[test]
fn extensions_at_the_original_paths() {
    let mirror = start(extension_routes);
    mirror.put("builtin/optional/bash.tcz", "squashfs");
    mirror.put("builtin/optional/bash.tcz.dep", "readline.tcz\n");
    mirror.put("builtin/onboot.lst", "bash.tcz\n");
    let (status, headers, body) = mirror.ask("GET /tinycorelinux/17.x/x86_64/tcz/bash.tcz", "");
    assert_eq!((status, body.as_str()), (200, "squashfs"));
    assert!(headers.contains("content-length: 8") && headers.contains("last-modified: "), "{headers}");
    assert_eq!(mirror.ask("GET /tinycorelinux/4.x/x86/tcz/bash.tcz.dep", "").2, "readline.tcz\n");
    assert_eq!(mirror.ask("GET /tinycorelinux/tce-install-list", "").2, r#"["bash.tcz"]"#);
    assert_eq!(mirror.ask("GET /tinycorelinux/kmod-install-list", "").2, "[]");
    // A tree of one's own comes first.
    mirror.put("tinycorelinux/17.x/x86_64/tcz/bash.tcz", "newer");
    mirror.put("tinycorelinux/tce-install-list", r#"["open_vm_tools.tcz"]"#);
    assert_eq!(mirror.ask("GET /tinycorelinux/17.x/x86_64/tcz/bash.tcz", "").2, "newer");
    assert_eq!(mirror.ask("GET /tinycorelinux/tce-install-list", "").2, r#"["open_vm_tools.tcz"]"#);
}

#[test]
fn ranges_conditions_and_heads() {
    let mirror = start(extension_routes);
    mirror.put("builtin/optional/bash.tcz", "squashfs");
    let path = "/tinycorelinux/17.x/x86_64/tcz/bash.tcz";
    let (_, headers, _) = mirror.ask(&format!("HEAD {path}"), "");
    let field = |name: &str| headers.lines().find_map(|line| line.strip_prefix(&format!("{name}: "))).unwrap();
    let (tag, later) = (field("etag"), "If-Modified-Since: Fri, 31 Dec 2100 23:59:59 GMT");
    assert_eq!((field("content-length"), field("accept-ranges")), ("8", "bytes"));
    assert!(headers.contains("last-modified: "), "{headers}");
    for (method, sent, status, said, body) in [
        ("HEAD", "Range: bytes=2-4".into(), 200, "content-length: 8", ""),
        ("GET", "Range: bytes=2-4".into(), 206, "content-range: bytes 2-4/8", "uas"),
        ("GET", "Range: bytes=-99".into(), 206, "content-range: bytes 0-7/8", "squashfs"),
        ("GET", "Range: bytes=6-99".into(), 206, "content-length: 2", "fs"),
        ("GET", "Range: bytes=8-".into(), 416, "content-range: bytes */8", ""),
        ("GET", "Range: bytes=0-1,4-5".into(), 200, "content-length: 8", "squashfs"),
        ("GET", "Range: lines=1-2".into(), 200, "content-length: 8", "squashfs"),
        ("GET", format!("Range: bytes=2-4\r\nIf-Range: {tag}"), 206, "content-length: 3", "uas"),
        ("GET", "Range: bytes=2-4\r\nIf-Range: \"of-another-file\"".into(), 200, "content-length: 8", "squashfs"),
        ("GET", format!("If-None-Match: \"old\", W/{tag}"), 304, tag, ""),
        ("GET", "If-None-Match: *".into(), 304, tag, ""),
        ("GET", format!("If-None-Match: \"old\"\r\n{later}"), 200, tag, "squashfs"),
        ("GET", later.into(), 304, tag, ""),
        ("GET", "If-Match: \"old\"".into(), 412, tag, ""),
        ("GET", format!("If-Match: {tag}\r\nRange: bytes=0-0"), 206, "content-range: bytes 0-0/8", "s"),
    ] {
        let (code, headers, text) = mirror.ask(&format!("{method} {path}"), &format!("{sent}\r\n"));
        let sent = format!("{method} {sent}");
        assert_eq!((code, text.as_str()), (status, body), "{sent}: {headers}");
        assert!(headers.contains(said) && headers.contains(&format!("etag: {tag}")), "{sent}: {headers}");
    }
}

#[test]
fn no_file_has_the_tag_of_the_one_that_it_replaces() {
    let mirror = start(extension_routes);
    let folder = "tinycorelinux/17.x/x86_64/tcz";
    let stop = AtomicBool::new(false);
    let exchange = |length: usize| {
        mirror.put(&format!("{folder}/new"), &"x".repeat(length));
        fs::rename(mirror.folder.path().join(folder).join("new"), mirror.folder.path().join(folder).join("a.tcz"))
    };
    exchange(1).unwrap();
    let ask = || {
        let (status, headers, body) = mirror.ask(&format!("GET /{folder}/a.tcz"), "");
        // The tag begins with the file's length.
        let tag = headers.lines().find_map(|line| line.strip_prefix("etag: \"")).unwrap_or_default();
        let is_own = status == 503 || tag.starts_with(&format!("{:x}-", body.len()));
        (status, (!is_own).then(|| format!("{status}, {} bytes: {headers}", body.len())))
    };
    let answers = std::thread::scope(|scope| {
        scope.spawn(|| {
            for length in (1..100).cycle().take_while(|_| !stop.load(Ordering::Relaxed)) {
                exchange(length).unwrap();
            }
        });
        let answers: Vec<_> = (0..300).map(|_| ask()).collect();
        stop.store(true, Ordering::Relaxed);
        answers
    });
    let wrong: Vec<_> = answers.iter().filter_map(|(_, wrong)| wrong.as_ref()).collect();
    assert!(wrong.is_empty(), "{} of {}: {wrong:?}", wrong.len(), answers.len());
    assert_eq!(ask().0, 200, "once it stays the same");
}

#[test]
fn nothing_outside_the_folders() {
    let mirror = start(extension_routes);
    mirror.put("secret", "secret");
    mirror.put("builtin/secret", "secret");
    mirror.put("builtin/optional/bash.tcz", "squashfs");
    mirror.put("tinycorelinux/17.x/x86_64/tcz/bash.tcz", "squashfs");
    for path in [
        "/tinycorelinux/../secret",
        "/tinycorelinux/%2e%2e/secret",
        "/tinycorelinux/..%2fsecret",
        "/tinycorelinux/17.x/x86_64/tcz/..%2fsecret",
        "/tinycorelinux/17.x/x86_64/tcz/%2e%2e%2fsecret",
        "/tinycorelinux/17.x/x86_64/tcz/..%5csecret",
        "/tinycorelinux/17.x/x86_64/tcz/../../../../secret",
        "/tinycorelinux/17.x/x86_64/tcz/%2fetc%2fpasswd",
        "/tinycorelinux//etc/passwd",
        "/tinycorelinux/17.x/x86_64/tcz/",
        "/tinycorelinux/17.x",
        "/secret",
        "/",
    ] {
        let (status, _, body) = mirror.ask(&format!("GET {path}"), "");
        assert!(status != 200, "{path}: {status}");
        assert!(!body.contains("root:") && body != "secret", "{path}: {body}");
    }
}

#[test]
fn refusals_say_why() {
    let mirror = start(gem_routes);
    let (status, headers, body) = mirror.ask("GET /gem-mirror/gems/gem.list", "");
    assert_eq!(status, 404);
    assert!(headers.contains("content-type: application/json"), "{headers}");
    assert!(body.contains("the gem mirror of this image has no /gem-mirror/gems/gem.list"), "{body}");
    let (status, _, body) = mirror.ask("DELETE /gem-mirror/gems/gem.list", "");
    assert_eq!(status, 405);
    assert!(body.contains("only gives files away"), "{body}");
}

#[test]
fn real_rubygems_installs_from_the_gem_mirror_what_the_list_names() {
    let mirror = start(gem_routes);
    let (at, run) = (
        |path: &str| mirror.folder.path().join(path),
        |script: &str| {
            let command = ["/bin/sh", "-euc", &format!("cd {}; {script}", mirror.folder.path().display())];
            crate::exec::run(&command, crate::limits::GEM_INSTALL).unwrap()
        },
    );
    if !run("gem --version").success {
        return mk_tests::skip("there is no RubyGems (apt-get install ruby)");
    }
    // The program as it is, but for where it installs to.
    mirror.put("gem", &format!("#!/bin/sh\nexec gem \"$@\" --install-dir {}\n", at("inst").display()));
    mirror.put("bin/mk-tool", "puts :it_runs\n");
    let spec = "Gem::Specification.new do |s| s.name = 'mk-tool'; s.version = '1.2'; s.summary = 'x'; s.authors = ['x']; \
                s.files = s.executables = ['mk-tool']; s.files = ['bin/mk-tool'] end";
    mirror.put("x.gemspec", spec);
    let made = run(
        "chmod 755 gem bin/mk-tool; mkdir -p gem-mirror/gems; gem build x.gemspec -o gem-mirror/gems/mk-tool-1.2.gem; \
                    gem generate_index -d gem-mirror",
    );
    assert!(made.success, "{}", made.text);
    let own = crate::gems::Source {
        mirror: format!("http://{}/gem-mirror", mirror.address),
        list: format!("http://{}/gem-mirror/gems/gem.list", mirror.address),
        chosen: false,
    };
    crate::gems::install(&at("gem"), &own, None).unwrap();
    assert!(!at("inst").exists(), "an image without a list installs nothing");
    let chosen = crate::gems::Source { chosen: true, ..own };
    let error = crate::gems::install(&at("gem"), &chosen, None).unwrap_err().to_string();
    assert!(error.contains("gems/gem.list is not there"), "{error}");

    mirror.put("gem-mirror/gems/gem.list", "mk-gone\n--help\nmk-tool  >= 1.0 # ours\n");
    let error = crate::gems::install(&at("gem"), &chosen, None).unwrap_err().to_string();
    assert!(error.contains("mk-gone") && error.contains("line 2") && !error.contains("mk-tool"), "{error}");
    let ran = run("GEM_HOME=$PWD/inst GEM_PATH=$PWD/inst inst/bin/mk-tool");
    assert!(ran.success && ran.text.trim() == "it_runs", "{}", ran.text);
}
