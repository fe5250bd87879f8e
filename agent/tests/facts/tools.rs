//! Runs the agent and the programs that it is compared with.

use std::process::{Command, Stdio};

use serde_json::Value;

/// Standard output of a command; `None` if it is not installed, fails or prints nothing.
pub(crate) fn text(command: &[&str]) -> Option<String> {
    #[expect(clippy::disallowed_methods, reason = "the rule is for the agent, not for its tests")]
    let output = Command::new(command[0]).args(&command[1..]).stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.status.success() && !text.trim().is_empty()).then_some(text)
}

/// JSON that a command prints, whatever its exit status says about single values.
pub(crate) fn json(command: &[&str]) -> Option<Value> {
    serde_json::from_str(&text(command)?).ok()
}

/// JSON that the agent prints.
pub(crate) fn agent(args: &[&str]) -> Value {
    let command = [&[env!("CARGO_BIN_EXE_mk-agent")], args].concat();
    json(&command).unwrap_or_else(|| panic!("mk-agent {} printed no JSON", args.join(" ")))
}

/// Says that a comparison did not take place.
pub(crate) fn skip(program: &str) {
    #[expect(clippy::disallowed_methods, reason = "the rule is for the agent, not for its tests")]
    let installed = Command::new(program).arg("--version").stdin(Stdio::null()).output().is_ok();
    match installed {
        true => mk_tests::skip_even_there(&format!("{program} cannot read this machine")),
        false => mk_tests::skip(&format!("{program} is not installed")),
    }
}

/// All devices of lshw's tree in one list.
pub(crate) fn flatten(device: &Value, list: &mut Vec<Value>) {
    for one in device.as_array().into_iter().flatten() {
        flatten(one, list);
    }
    if device.is_object() {
        list.push(device.clone());
        flatten(&device["children"], list);
    }
}
