//! `mk-server enrolment`: tokens that let machines in.

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::cli::args::Enrolment;
use crate::cli::client::Client;
use crate::cli::{give, log, print, print_json, table};
use crate::human;

/// Carries out a command.
///
/// # Errors
/// When the server cannot be reached or refuses.
pub async fn run(client: &Client, command: Enrolment) -> anyhow::Result<()> {
    match command {
        Enrolment::Create { uses, expires, note, how } => {
            let expires_s = log::seconds(&expires)
                .with_context(|| format!("--expires is {expires:?}; give a time such as 90s, 15m, 2h or 7d"))?;
            let body = json!({"uses": uses, "expires_s": expires_s, "note": note});
            if how.dry_run || how.json {
                return give(client, "create-enrolment-token", body, how).await;
            }
            let made = client.command("/api/commands/create-enrolment-token", &body).await?;
            // So that the token alone goes where the output goes, such as into a file.
            eprintln!("{}", human::plain(made["result"].as_str().unwrap_or_default()));
            print(&format!("{}\n", human::plain(made["token"].as_str().unwrap_or_default())))
        }
        Enrolment::List { json } => {
            let document = client.get("/api/collections/enrolment-tokens").await?;
            if json { print_json(&document) } else { print(&list(&document)) }
        }
        Enrolment::Revoke { id, how } => give(client, "revoke-enrolment-token", json!({"id": id}), how).await,
    }
}

fn list(document: &Value) -> String {
    let items = document["items"].as_array().into_iter().flatten();
    let row = |token: &Value| {
        let word = |key: &str| token[key].as_str().unwrap_or_default().to_owned();
        let used = format!("{} of {}", token["used"], token["uses"]);
        vec![token["id"].to_string(), word("state"), used, human::time(&word("expires")), word("note")]
    };
    let rows: Vec<Vec<String>> = items.map(row).collect();
    if rows.is_empty() {
        return "There is no enrolment token; make one with: mk-server enrolment create\n".to_owned();
    }
    table::table(&["Token", "State", "Used", "Expires", "Note"], &rows)
}
