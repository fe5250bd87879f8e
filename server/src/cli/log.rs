//! `mk-server log` and `mk-server nodes log NAME`: what happened, newest last, and what goes on happening.

use std::io::IsTerminal as _;

use anyhow::anyhow;
use reqwest::StatusCode;
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::cli::args::LogOptions;
use crate::cli::client::{Client, Refused};
use crate::cli::{is_broken_pipe, json, print};
use crate::human;
use crate::limits::{FOLLOW_PAUSE, SHOWN_LOG};

/// The place before the first entry.
const BEGINNING: &str = "0.0";
/// Head of the columns, as [`line`] sets them.
const HEAD: &str = "Time (UTC)           Node      Severity  What happened\n";
/// What stands before the first entry of a JSON document.
const DOCUMENT: &str = "{\"items\": [\n";

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
    let feed = Feed { client, query: query.finish() };
    let mut output = Output::new(options);
    let cursor = if options.since.is_some() {
        feed.show_after(BEGINNING, &mut output).await?
    } else {
        feed.show_newest(&mut output).await?
    };
    if output.shown == 0 {
        eprintln!("Nothing has happened {}.", if options.since.is_some() { "since then" } else { "yet" });
    }
    if options.follow { feed.follow(cursor, &mut output).await } else { output.end(&cursor) }
}

struct Feed<'a> {
    client: &'a Client,
    query: String,
}

impl Feed<'_> {
    async fn get(&self, part: &str) -> anyhow::Result<Value> {
        self.client.get(&format!("/api/collections/events?{}&{part}", self.query)).await
    }

    /// Shows the newest entries; gives the place after them.
    async fn show_newest(&self, output: &mut Output) -> anyhow::Result<String> {
        let newest = self.get(&format!("limit={SHOWN_LOG}")).await?;
        output.show(&newest)?;
        Ok(word(&newest, "cursor"))
    }

    /// Shows all entries after a place, page by page as they come; gives the place after them.
    async fn show_after(&self, cursor: &str, output: &mut Output) -> anyhow::Result<String> {
        let mut cursor = cursor.to_owned();
        loop {
            let page = self.get(&format!("after={cursor}")).await?;
            output.show(&page)?;
            cursor = word(&page, "cursor");
            if page["more"] != true {
                return Ok(cursor);
            }
        }
    }

    /// Goes on for ever. A server that is away is waited for; one that refuses ends it, such as for a node that was deleted.
    async fn follow(&self, cursor: String, output: &mut Output) -> anyhow::Result<()> {
        let (mut cursor, mut away) = (Some(cursor), false);
        loop {
            tokio::time::sleep(FOLLOW_PAUSE).await;
            let next = match &cursor {
                Some(cursor) => self.show_after(cursor, output).await,
                None => self.show_newest(output).await,
            };
            let error = match next {
                Ok(next) => {
                    if away {
                        eprintln!("mk-server: the server answers again");
                    }
                    (cursor, away) = (Some(next), false);
                    continue;
                }
                Err(error) if is_broken_pipe(&error) => return Err(error),
                Err(error) => error,
            };
            match error.downcast_ref::<Refused>().map(|refused| refused.status) {
                Some(StatusCode::GONE) => {
                    let Refused { problem, .. } = error.downcast()?;
                    eprintln!("mk-server: {}\nIts newest entries follow.", problem.error);
                    cursor = None;
                }
                Some(status) if status.is_client_error() => return Err(error),
                _ if !away => {
                    eprintln!("mk-server: {error:#}\nWaiting for it; end with Ctrl-C.");
                    away = true;
                }
                _ => {}
            }
        }
    }
}

/// How entries are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// A line for people.
    Line,
    /// A JSON object in one line.
    Object,
    /// All in one JSON document, an entry a line.
    Document,
}

/// Entries on their way to standard output. None is kept: a log may have a million.
struct Output {
    form: Form,
    shown: u64,
}

impl Output {
    fn new(options: &LogOptions) -> Self {
        let form = match (options.json, options.follow) {
            (false, _) => Form::Line,
            (true, true) => Form::Object,
            (true, false) => Form::Document,
        };
        Self { form, shown: 0 }
    }

    /// Prints the entries of an answer.
    fn show(&mut self, page: &Value) -> anyhow::Result<()> {
        for entry in page["items"].as_array().into_iter().flatten() {
            let first = self.shown == 0;
            self.shown += 1;
            print(&match self.form {
                Form::Line if first && std::io::stdout().is_terminal() => format!("{HEAD}{}", line(entry)),
                Form::Line => line(entry),
                Form::Object => format!("{}\n", json::line(entry)),
                Form::Document => format!("{}{}", if first { DOCUMENT } else { ",\n" }, json::line(entry)),
            })?;
        }
        Ok(())
    }

    /// Prints what comes after the last entry.
    fn end(&self, cursor: &str) -> anyhow::Result<()> {
        if self.form != Form::Document {
            return Ok(());
        }
        let begin = if self.shown == 0 { DOCUMENT } else { "" };
        print(&format!("{begin}\n], \"cursor\": {}}}\n", json::line(&cursor.into())))
    }
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
    let age = seconds(text).ok_or_else(wrong)?;
    let then = now.checked_sub(time::Duration::seconds(age)).ok_or_else(wrong)?;
    Ok(then.format(&Rfc3339)?)
}

/// A span of time such as 90s, 15m, 2h or 3d, in seconds.
pub(super) fn seconds(text: &str) -> Option<i64> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = match &text[digits.len()..] {
        "s" => 1,
        "m" | "min" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return None,
    };
    Some(i64::from(digits.parse::<u32>().ok()?) * unit)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

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
