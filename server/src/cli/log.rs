//! `mk-server log` and `mk-server nodes log NAME`: what happened, newest last, and what goes on happening.

use std::io::IsTerminal as _;

use anyhow::anyhow;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::cli::args::LogOptions;
use crate::cli::client::Client;
use crate::cli::{is_broken_pipe, print, print_json};
use crate::human;
use crate::limits::{FOLLOW_PAUSE, SHOWN_LOG};

/// The place before the first entry.
const BEGINNING: &str = "0.0";
/// Head of the columns, as [`line`] sets them.
const HEAD: &str = "Time (UTC)           Node      Severity  What happened\n";

/// Shows the log of all nodes or of one.
///
/// # Errors
/// When the server cannot be reached or refuses. While following, a server that goes away is waited for.
pub async fn run(client: &Client, node: Option<&str>, options: &LogOptions) -> anyhow::Result<()> {
    let mut query = form_urlencoded::Serializer::new(String::new());
    if let Some(node) = node {
        query.append_pair("node", node);
    }
    if let Some(since) = &options.since {
        query.append_pair("since", &time_of(since, OffsetDateTime::now_utc())?);
    }
    let feed = Feed { client, query: query.finish(), options };
    let (items, cursor) = if options.since.is_some() {
        feed.after(BEGINNING).await?
    } else {
        let newest = feed.get(&format!("limit={SHOWN_LOG}")).await?;
        (list(&newest), word(&newest, "cursor"))
    };
    if options.json && !options.follow {
        return print_json(&json!({"items": items, "cursor": cursor}));
    }
    if items.is_empty() {
        eprintln!("Nothing has happened {}.", if options.since.is_some() { "since then" } else { "yet" });
    } else if !options.json && std::io::stdout().is_terminal() {
        print(HEAD)?;
    }
    feed.show(&items)?;
    if options.follow { feed.follow(cursor).await } else { Ok(()) }
}

struct Feed<'a> {
    client: &'a Client,
    query: String,
    options: &'a LogOptions,
}

impl Feed<'_> {
    async fn get(&self, part: &str) -> anyhow::Result<Value> {
        self.client.get(&format!("/api/collections/events?{}&{part}", self.query)).await
    }

    /// All entries after a place, and the place after them.
    async fn after(&self, cursor: &str) -> anyhow::Result<(Vec<Value>, String)> {
        let (mut items, mut cursor) = (Vec::new(), cursor.to_owned());
        loop {
            let page = self.get(&format!("after={cursor}")).await?;
            items.extend(list(&page));
            cursor = word(&page, "cursor");
            if page["more"] != true {
                return Ok((items, cursor));
            }
        }
    }

    async fn follow(&self, mut cursor: String) -> anyhow::Result<()> {
        let mut away = false;
        loop {
            tokio::time::sleep(FOLLOW_PAUSE).await;
            match self.after(&cursor).await {
                Ok((items, next)) => {
                    if away {
                        eprintln!("mk-server: the server answers again");
                    }
                    away = false;
                    self.show(&items)?;
                    cursor = next;
                }
                Err(error) if !away && !is_broken_pipe(&error) => {
                    eprintln!("mk-server: {error:#}\nWaiting for it; end with Ctrl-C.");
                    away = true;
                }
                Err(_) => {}
            }
        }
    }

    fn show(&self, items: &[Value]) -> anyhow::Result<()> {
        for entry in items {
            print(&if self.options.json { format!("{entry}\n") } else { line(entry) })?;
        }
        Ok(())
    }
}

fn list(page: &Value) -> Vec<Value> {
    page["items"].as_array().cloned().unwrap_or_default()
}

fn word(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_default().to_owned()
}

/// An entry in one line.
fn line(entry: &Value) -> String {
    let time = human::stamp(&word(entry, "timestamp"));
    let (node, severity, text) = (word(entry, "node"), word(entry, "severity"), word(entry, "text"));
    let (severity, text) = (human::part(&severity), human::plain(&text));
    format!("{}  {node:<8}  {severity:<8}  {text}\n", time.trim_end_matches(" UTC"))
}

/// The time that `--since` names: a time, or how long ago.
fn time_of(text: &str, now: OffsetDateTime) -> anyhow::Result<String> {
    let wrong = || {
        anyhow!("--since is {text:?}; give a time such as 2026-11-22T01:02:03Z, or an age such as 90s, 15m, 2h or 3d")
    };
    if OffsetDateTime::parse(text, &Rfc3339).is_ok() {
        return Ok(text.to_owned());
    }
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let seconds = match &text[digits.len()..] {
        "s" => 1,
        "m" | "min" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    let age = i64::from(digits.parse::<u32>().map_err(|_| wrong())?) * seconds;
    let then = now.checked_sub(time::Duration::seconds(age)).ok_or_else(wrong)?;
    Ok(then.format(&Rfc3339)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_is_a_time_or_an_age() {
        let now = OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap();
        for (text, want) in [
            ("2026-11-22T01:02:03Z", "2026-11-22T01:02:03Z"),
            ("90s", "2027-01-15T07:58:30Z"),
            ("15m", "2027-01-15T07:45:00Z"),
            ("15min", "2027-01-15T07:45:00Z"),
            ("2h", "2027-01-15T06:00:00Z"),
            ("3d", "2027-01-12T08:00:00Z"),
        ] {
            assert_eq!(time_of(text, now).unwrap(), want, "{text}");
        }
        for bad in ["", "h", "2", "2 h", "-2h", "yesterday", "99999999999999999999d", "9223372036854775807d", "2µ"] {
            assert!(time_of(bad, now).unwrap_err().to_string().contains("15m"), "{bad}");
        }
    }

    #[test]
    fn an_entry_is_one_line_whatever_a_machine_says() {
        let entry = json!({"timestamp": "2026-11-22T01:02:03.4Z", "node": "node1", "severity": "warn", "text": "a\u{1b}[2J\nb"});
        assert_eq!(line(&entry), "2026-11-22 01:02:03  node1     warn      a\u{fffd}[2J\u{fffd}b\n");
    }
}
