//! `mk-server nodes`: what is known of nodes, and commands about them.

use anyhow::bail;
use serde_json::{Map, Value, json};
use time::OffsetDateTime;

use crate::cli::args::Nodes;
use crate::cli::client::Client;
use crate::cli::{bundles, give, history, log, print, print_json, show, table};
use crate::describe::Node;
use crate::human;

/// Carries out a command.
///
/// # Errors
/// When the server cannot be reached or refuses.
pub async fn run(client: &Client, command: Nodes) -> anyhow::Result<()> {
    match command {
        Nodes::List { filter, json } => {
            let query = filter.query();
            let document = client.all(&format!("/api/collections/nodes?depth=1&{query}")).await?;
            match json {
                true => print_json(&document),
                false => print(&list(&document, if query.is_empty() { NONE_YET } else { NONE_FITS })?),
            }
        }
        Nodes::Show { name, json } => {
            let document = client.get(&format!("/api/collections/nodes/{name}")).await?;
            if json { print_json(&document) } else { print(&show::node(document)?) }
        }
        Nodes::Log { name, options } => log::run(client, Some(&name), &options).await,
        Nodes::History { name, json } => history::history(client, &name, json).await,
        Nodes::Diff { one, other, json } => history::diff(client, &one, other.as_deref(), json).await,
        Nodes::Register { values, installed, how } => {
            let body = json!({"hw_info": hw_info(&values)?, "installed": installed});
            give(client, "register-node", body, how).await
        }
        Nodes::Approve { name, fingerprint, how } => {
            give(client, "approve-node", json!({"name": name, "fingerprint": fingerprint}), how).await
        }
        Nodes::Refuse { name, how } => give(client, "refuse-node", json!({"name": name}), how).await,
        Nodes::Reinstall { name, how } => give(client, "reinstall-node", json!({"name": name}), how).await,
        Nodes::Reboot { name, how } => give(client, "reboot-node", json!({"name": name}), how).await,
        Nodes::Poweroff { name, how } => give(client, "poweroff-node", json!({"name": name}), how).await,
        Nodes::Refresh { name, how } => give(client, "refresh-node", json!({"name": name}), how).await,
        Nodes::Doctor { name, how } => give(client, "doctor-node", json!({"name": name}), how).await,
        Nodes::Identify { name, seconds, how } => {
            give(client, "identify-node", json!({"name": name, "seconds": seconds}), how).await
        }
        Nodes::LoadExtension { name, extension, how } => {
            give(client, "load-extension", json!({"name": name, "extension": extension}), how).await
        }
        Nodes::Collect { name, how } => give(client, "collect-logs", json!({"name": name}), how).await,
        Nodes::Bundles { name, json } => bundles::list(client, &name, json).await,
        Nodes::Bundle { name, command, out } => bundles::save(client, &name, command, out).await,
        Nodes::SetHwInfo { name, values, how } => {
            let body = json!({"node": name, "hw_info": hw_info(&values)?});
            give(client, "set-node-hw-info", body, how).await
        }
        Nodes::Delete { name, how } => give(client, "delete-node", json!({"name": name}), how).await,
    }
}

/// Values as commands take them: a kind that comes several times has a list.
fn hw_info(values: &[String]) -> anyhow::Result<Value> {
    let mut info: Map<String, Value> = Map::new();
    for text in values {
        let Some((kind, value)) = text.split_once('=') else {
            bail!("{text:?} is no hardware value\nWrite KIND=VALUE, such as mac=00:11:22:33:44:55 or serial=S1.")
        };
        if let Some(Value::Array(list)) = info.get_mut(kind) {
            list.push(value.into());
        } else {
            info.insert(kind.to_owned(), json!([value]));
        }
    }
    Ok(info.into())
}

/// What stands in the place of a list without nodes.
const NONE_YET: &str = "No machine has been seen yet. Boot one from the microkernel's ISO, or by PXE with the script at\n\
    /api/microkernel/bootstrap.\n";
/// The same where some were asked for.
const NONE_FITS: &str = "No node fits.\n";

fn list(document: &Value, none: &str) -> anyhow::Result<String> {
    let now = OffsetDateTime::now_utc();
    let items = document["items"].as_array().into_iter().flatten();
    let rows: Vec<Vec<String>> =
        items.map(|node| Ok(row(&Node::read(node.clone())?, now))).collect::<anyhow::Result<_>>()?;
    if rows.is_empty() {
        return Ok(none.to_owned());
    }
    Ok(table::table(&["Name", "Expected", "State", "System", "Serial", "CPUs", "Memory", "MAC", "Check-in"], &rows))
}

fn row(node: &Node, now: OffsetDateTime) -> Vec<String> {
    let brief = node.brief();
    let last = node.time("last_checkin").map_or_else(|| "none yet".to_owned(), |t| human::age(t, now));
    let mac = brief.macs.into_iter().next().unwrap_or_default();
    vec![
        node.name().to_owned(),
        node.expected().unwrap_or_default().to_owned(),
        node.state().to_owned(),
        brief.machine,
        brief.serial,
        brief.cpus,
        brief.memory,
        mac,
        last,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_one_kind_are_a_list() {
        let values = ["mac=a", "serial=S=1", "mac=b"].map(String::from);
        assert_eq!(hw_info(&values).unwrap(), json!({"mac": ["a", "b"], "serial": ["S=1"]}));
        assert!(hw_info(&["node1".to_owned()]).unwrap_err().to_string().contains("node1"));
    }
}
