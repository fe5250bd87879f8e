//! Completion by a real bash, and manual pages.

use std::process::{Command, Stdio};

use crate::support::PROGRAM;

/// What bash offers for the last of these words.
fn offered(words: &[&str]) -> Vec<String> {
    let script = "source <(\"$MK\" completions bash) && COMP_WORDS=(\"$@\") COMP_CWORD=$(($# - 1)) \
                  && [[ $(complete -p mk-server) =~ -F\\ ([^ ]+) ]] && \"${BASH_REMATCH[1]}\" mk-server \"${@: -1}\" \"${@: -2:1}\" && printf '%s\\n' \"${COMPREPLY[@]}\"";
    let mut bash = Command::new("bash");
    let output = bash.args(["--norc", "-c", script, "bash"]).args(words).env("MK", PROGRAM).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_commands_and_options() {
    assert_eq!(offered(&["mk-server", "tok"]), ["token"]);
    assert_eq!(offered(&["mk-server", "token", "r"]), ["revoke"]);
    assert_eq!(offered(&["mk-server", "token", "create", "--read"]), ["--read-only"]);
    assert_eq!(offered(&["mk-server", "serve", "--log-format", ""]), ["text", "json"]);
    assert!(offered(&["mk-server", "nodes", ""]).contains(&"identify".to_owned()));
}

#[test]
fn zsh_and_fish_have_a_script_too_and_other_shells_are_refused() {
    for (shell, words) in [("zsh", "#compdef mk-server"), ("fish", "complete -c mk-server")] {
        let output = Command::new(PROGRAM).args(["completions", shell]).output().unwrap();
        assert!(String::from_utf8_lossy(&output.stdout).contains(words), "{shell}");
    }
    assert!(!Command::new(PROGRAM).args(["completions", "csh"]).stderr(Stdio::null()).status().unwrap().success());
}

#[test]
fn every_command_has_a_manual_page() {
    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().join("man1");
    assert!(Command::new(PROGRAM).arg("man").arg(&pages).env("MK_TOKEN", "s3cret").status().unwrap().success());
    for (page, words) in [
        ("mk-server.1", "token\\-file"),
        ("mk-server-serve.1", "log\\-format"),
        ("mk-server-nodes-identify.1", "seconds"),
        ("mk-server-token-create.1", "MK_TOKEN"),
    ] {
        let text = std::fs::read_to_string(pages.join(page)).unwrap();
        assert!(text.contains(".TH ") && text.contains(".SH NAME") && text.contains(words), "{page}: {text}");
    }
    let pages: Vec<_> = std::fs::read_dir(&pages).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(pages.iter().all(|page| !std::fs::read_to_string(page).unwrap().contains("s3cret")));
    // Where groff is installed it has nothing to say against any page.
    let groff = Command::new("groff").args(["-man", "-Tascii", "-ww", "-z"]).args(&pages).output();
    let Ok(output) = groff else { return eprintln!("groff is not installed; the pages' own form was looked at") };
    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}
