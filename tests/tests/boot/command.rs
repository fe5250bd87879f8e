//! `cargo xtask boot` itself, as a developer types it: every medium under both firmwares, and the base's own init from both
//! boot loaders. What it prints is read as its users read it.

use std::fs;
use std::net::TcpStream;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use duct::cmd;
use mk_tests::limits;
use mk_tests::process::die_with_parent;
use serde_json::Value;
use tempfile::TempDir;

use super::lab::tool;

/// One run of the command.
#[derive(Debug, Clone, Copy)]
struct Run<'a> {
    medium: &'static str,
    firmware: &'static str,
    /// What comes besides.
    more: &'a [&'a str],
    /// What the guest's console says when it boots this way.
    sign: &'static str,
}

const fn run<'a>(medium: &'static str, firmware: &'static str, more: &'a [&'a str], sign: &'static str) -> Run<'a> {
    Run { medium, firmware, more, sign }
}

/// The boot loader of CD and stick says on the kernel line what it has loaded; iPXE says who the machine is.
const LOADER: &str = "BOOT_IMAGE=/boot/vmlinuz64";
const ID: &str = "/svc/checkin/1";
/// Takes the boot loader's second entry.
const CORE: &[&str] = &["--variant", "development", "--init", "core", "--json"];
/// The base's own init has handed over to the agent.
const BASE_IS_UP: &str = "base is up";
/// Tiny Core's own init reads the kernel line.
const TINY_CORE: &str = "Checking boot options";

/// Held by a run: the command allows one of itself in a work tree.
static TURN: Mutex<()> = Mutex::new(());

/// Each combination.
const RUNS: [Run<'static>; 8] = [
    run("iso", "bios", &[], LOADER),
    run("iso", "uefi", &["--json"], "QEMU DVD-ROM"),
    run("usb", "bios", &["--json"], LOADER),
    run("usb", "uefi", &["--json"], "USB HARDDRIVE"),
    run("pxe", "bios", &["--json"], ID),
    run("pxe", "uefi", &["--json"], ID),
    run("iso", "bios", CORE, BASE_IS_UP),
    run("usb", "uefi", CORE, BASE_IS_UP),
];

#[test]
fn each_medium_with_each_firmware_and_either_init_checks_in() {
    let failures: Vec<String> = RUNS.iter().filter_map(|run| wrong(*run).err()).collect();
    assert!(failures.is_empty(), "{} of {} failed:\n\n{}", failures.len(), RUNS.len(), failures.join("\n\n"));
}

/// The same on a base ISO of Tiny Core, from CD under BIOS, with either init.
pub(super) fn either_init_checks_in_on(base: &str) {
    let more = ["--base", base, "--json"];
    wrong(run("iso", "bios", &more, LOADER)).unwrap();
    wrong(run("iso", "bios", &[&more, &CORE[..4]].concat(), TINY_CORE)).unwrap();
}

/// Runs the command to its end, and says what is wrong with that.
fn wrong(run: Run<'_>) -> Result<(), String> {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let (dir, started) = (TempDir::new().unwrap(), Instant::now());
    let errors = dir.path().join("errors");
    let (timeout, fixed) = (limits::CHECK_IN.as_secs().to_string(), ["boot", "--until", "checkin", "--accel", "tcg"]);
    let chosen = ["--media", run.medium, "--firmware", run.firmware, "--timeout", &timeout];
    let arguments = [&fixed[..], &chosen, run.more].concat();
    let shown = format!("cargo xtask {}", arguments.join(" "));
    let command = cmd(tool("MK_XTASK"), arguments).stdin_null().stdout_capture().stderr_path(&errors).unchecked();
    let command = command.before_spawn(|command| {
        die_with_parent(command, Vec::new());
        Ok(())
    });
    let output = command.run().expect("cargo xtask starts");
    println!("{shown}: {:.1} s", started.elapsed().as_secs_f64());
    let said = fs::read_to_string(&errors).unwrap();
    let result = String::from_utf8_lossy(&output.stdout);
    let json = run.more.contains(&"--json");
    let verdict = if !output.status.success() {
        Err(format!("it ended with {}", output.status))
    } else if !said.contains(run.sign) {
        Err(format!("the console has no {:?}", run.sign))
    } else if json {
        node(run, &result)
    } else {
        table(&result)
    };
    verdict.map_err(|why| format!("{shown}\n{why}\nstandard output:\n{result}\nstandard error:\n{said}"))
}

/// With `--json` standard output is the node and nothing else.
fn node(run: Run<'_>, result: &str) -> Result<(), String> {
    let node: Value = serde_json::from_str(result).map_err(|error| format!("no JSON: {error}"))?;
    let mode = node.pointer("/inventory/stable/boot/mode").and_then(Value::as_str);
    let is_right = node["name"] == "node1" && mode == Some(run.firmware);
    is_right.then_some(()).ok_or_else(|| format!("it is {}, booted by {mode:?}", node["name"]))
}

/// Without it: tables, and the line that says which node it is and where to look at it. Nothing is left running.
fn table(result: &str) -> Result<(), String> {
    let last = result.lines().last().unwrap_or_default();
    let address = last.strip_prefix("checked in: node1 http://").and_then(|rest| rest.strip_suffix("/nodes/node1"));
    let address = address.ok_or_else(|| format!("it closes with {last:?}"))?;
    let listens = TcpStream::connect(address).is_ok();
    (!listens).then_some(()).ok_or_else(|| format!("the server at {address} has outlived the command"))
}
