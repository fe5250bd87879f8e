//! `mk-server image add`, `list` and `use`.

use serde_json::{Value, json};

use crate::cli::args::Image;
use crate::cli::client::Client;
use crate::cli::{print, print_json, table};
use crate::human;

/// Path of the images in the API.
const IMAGES: &str = "/api/collections/images";

/// Carries out a command.
///
/// # Errors
/// When the server cannot be reached or refuses.
pub async fn run(client: &Client, command: Image) -> anyhow::Result<()> {
    match command {
        Image::Add { file } => {
            let image = client.upload(IMAGES, &file).await?;
            let current = client.get(IMAGES).await?["current"].clone();
            let name = image["name"].as_str().unwrap_or_default();
            let next = if current == image["name"] {
                "It is in use: machines that boot by PXE get it.".to_owned()
            } else {
                format!(
                    "{} is still in use; change that with: mk-server image use {name}",
                    current.as_str().unwrap_or("None")
                )
            };
            print(&format!("Added {name}.\n{next}\n"))
        }
        Image::List { json } => {
            let document = client.get(IMAGES).await?;
            if json { print_json(&document) } else { print(&list(&document)) }
        }
        Image::Use { version } => {
            let image = client.command("/api/commands/use-image", &json!({"version": version})).await?;
            print(&format!(
                "{} is in use: machines that boot by PXE get it.\n",
                image["name"].as_str().unwrap_or_default()
            ))
        }
    }
}

fn list(document: &Value) -> String {
    let rows: Vec<Vec<String>> = document["items"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|image| {
            let word = |key: &str| image[key].as_str().unwrap_or_default().to_owned();
            let size = |key: &str| image[key].as_u64().map(human::disk).unwrap_or_default();
            let used = if image["name"] == document["current"] { "in use" } else { "" };
            vec![word("name"), size("kernel_bytes"), size("initrd_bytes"), human::time(&word("added")), used.into()]
        })
        .collect();
    if rows.is_empty() {
        return "There is no image yet; add one with: mk-server image add FILE.iso\n".to_owned();
    }
    table::table(&["Name", "Kernel", "Initrd", "Added", ""], &rows)
}
