//! One commit, built twice on one base: by whoever runs the tests, and, where that is root, by somebody else; in two checkouts, at
//! two times, under two umasks, each with a cache of its own. All files must be the same bytes. That the agent too comes out the
//! same is a step of `cargo xtask test` (`xtask/src/elsewhere.rs`).

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use duct::{Expression, cmd};
use nix::unistd::geteuid;
use walkdir::WalkDir;

/// The user `nobody`.
const NOBODY: u32 = 65534;
/// What of the work tree decides on an image.
const SOURCES: [&str; 4] = ["image.toml", "image.lock", "rootfs-overlay", "gem-list"];
/// Endings of the files of one image.
const FILES: [&str; 7] = ["embed.json", "initrd", "iso", "manifest.json", "sha256", "spdx.json", "vmlinuz"];

/// A folder with all that both builds need, readable by everybody.
struct Bench {
    folder: tempfile::TempDir,
}

/// Who builds, and how.
struct Builder {
    checkout: &'static str,
    umask: &'static str,
    user: Option<u32>,
}

impl Bench {
    fn new() -> Self {
        let bench = Self { folder: tempfile::tempdir().unwrap() };
        fs::set_permissions(bench.folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let variable = |name: &str| {
            PathBuf::from(std::env::var_os(name).unwrap_or_else(|| panic!("{name} is not set; use cargo xtask test")))
        };
        let agent = variable("MK_AGENT");
        let files = [
            (variable("MKISO_BIN"), "mkiso", 0o755),
            (agent.with_extension("parts.json"), "parts.json", 0o644),
            (agent, "agent", 0o644),
            (variable("MK_BASE"), "base.iso", 0o644),
        ];
        for (from, name, mode) in files {
            fs::copy(from, bench.path(name)).unwrap();
            fs::set_permissions(bench.path(name), fs::Permissions::from_mode(mode)).unwrap();
        }
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Commits the sources in one checkout, and takes the commit into the other one, as its builder would.
    fn commit(&self, one: &Builder, two: &Builder) {
        fs::create_dir(self.path(one.checkout)).unwrap();
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
        let (from, to) = (SOURCES.map(|name| Path::new(root).join(name)), self.path(one.checkout));
        cmd("cp", ["-r".into()].into_iter().chain(from).chain([to.clone()])).run().unwrap();
        let commit = "git init -q && git add . && git -c user.name=a -c user.email=a@b commit -q -m sources";
        git(&cmd!("sh", "-c", commit)).dir(&to).run().unwrap();
        let clone = format!("umask {} && git clone -q \"$1\" \"$2\"", two.umask);
        git(&cmd!("sh", "-c", clone, "sh", &to, self.path(two.checkout))).run().unwrap();
        for entry in WalkDir::new(self.path(two.checkout)) {
            chown(entry.unwrap().path(), two.user, two.user).unwrap();
        }
    }

    /// Builds a production image; gives its files by their endings, and the second in which that began.
    fn build(&self, builder: &Builder) -> (BTreeMap<String, Vec<u8>>, u64) {
        let checkout = self.path(builder.checkout);
        let mut build = Command::new("sh");
        build.arg("-c").arg(format!("umask {} && exec \"$@\"", builder.umask)).arg("sh").arg(self.path("mkiso"));
        build.args(["build", "--variant", "production", "--cache", "cache", "--out", "out"]);
        for (option, file) in [("--base", "base.iso"), ("--agent", "agent"), ("--agent-parts", "parts.json")] {
            build.arg(option).arg(self.path(file));
        }
        build.current_dir(&checkout).env_remove("SOURCE_DATE_EPOCH").env("HOME", &checkout);
        if let Some(user) = builder.user {
            build.uid(user).gid(user);
        }
        let began = now();
        let ran = build.output().unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        let files = fs::read_dir(checkout.join("out")).unwrap().map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            let (_, ending) = name.split_once("-production.").unwrap();
            (ending.to_owned(), fs::read(&path).unwrap())
        });
        (files.collect(), began)
    }
}

/// A command whose calls of git follow no settings of the machine's or the user's, such as signing commits or changing line ends.
fn git(command: &Expression) -> Expression {
    command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1")
}

/// Seconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

#[test]
fn one_commit_is_the_same_image_for_another_user_in_another_folder_at_another_time() {
    if cmd!("git", "--version").stdout_null().run().is_err() {
        return mk_tests::skip("there is no git, by which two checkouts are of one commit");
    }
    let bench = Bench::new();
    let other = geteuid().is_root().then_some(NOBODY);
    let one = Builder { checkout: "one", umask: "022", user: None };
    let two = Builder { checkout: "deep-two", umask: "077", user: other };
    bench.commit(&one, &two);
    let (first, began) = bench.build(&one);
    while now() == began {
        std::thread::sleep(Duration::from_millis(50));
    }
    let (second, began_again) = bench.build(&two);
    assert!(began_again > began);
    assert_eq!(first.keys().collect::<Vec<_>>(), FILES.iter().collect::<Vec<_>>());
    for (ending, bytes) in &first {
        assert!(second.get(ending) == Some(bytes), "{ending} differs");
    }
}
