//! `mk-server token`: tokens by which operators on other machines are let in.

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::cli::args::Token;
use crate::cli::client::Client;
use crate::cli::{give, log, print, print_json, table};
use crate::human;

/// Carries out a command.
///
/// # Errors
/// When the server cannot be reached or refuses.
pub async fn run(client: &Client, command: Token) -> anyhow::Result<()> {
    match command {
        Token::Create { note, expires, read_only, how } => {
            let seconds = |text: &String| {
                log::seconds(text).with_context(|| format!("--expires is {text:?}; give a time such as 12h or 90d"))
            };
            let expires_s = expires.as_ref().map(seconds).transpose()?;
            let body = json!({"note": note, "expires_s": expires_s, "read_only": read_only});
            if how.dry_run || how.json {
                return give(client, "create-token", body, how).await;
            }
            let made = client.command("/api/commands/create-token", &body).await?;
            // So that the token alone goes where the output goes, such as into a file.
            eprintln!("{}", human::plain(made["result"].as_str().unwrap_or_default()));
            print(&format!("{}\n", human::plain(made["token"].as_str().unwrap_or_default())))
        }
        Token::List { json } => {
            let document = client.get("/api/collections/tokens").await?;
            if json { print_json(&document) } else { print(&list(&document)) }
        }
        Token::Revoke { id, how } => give(client, "revoke-token", json!({"id": id}), how).await,
    }
}

fn list(document: &Value) -> String {
    let items = document["items"].as_array().into_iter().flatten();
    let row = |token: &Value| {
        let word = |key: &str| token[key].as_str().unwrap_or_default().to_owned();
        let may = if token["read_only"] == true { "see" } else { "everything" };
        let end = token["expires"].as_str().map_or_else(|| "never".to_owned(), human::time);
        vec![token["id"].to_string(), word("state"), may.to_owned(), end, word("note")]
    };
    let rows: Vec<Vec<String>> = items.map(row).collect();
    if rows.is_empty() {
        return "There is no token; make one with: mk-server token create\n".to_owned();
    }
    table::table(&["Token", "State", "May", "Expires", "Note"], &rows)
}
