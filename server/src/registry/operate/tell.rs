//! Commands that a node carries out itself: they wait until it checks in.

use serde_json::{Map, Value};
use wire::command::{EXTENSION, SECONDS};
use wire::limits::{DEFAULT_IDENTIFY_S, MAX_EXTENSION_NAME, MAX_IDENTIFY_S};

use crate::human;
use crate::registry::Refusal;
use crate::registry::configs::Wanted;
use crate::registry::kind::Kind;
use crate::registry::operate::{Done, Operate, named};
use crate::registry::queue;
use crate::store::sql::Connection;
use crate::store::view::timestamp;
use crate::store::{commands, nodes};

impl Operate {
    pub(super) async fn tell(
        &self,
        db: &mut Connection,
        name: &str,
        kind: Kind,
        args: Map<String, Value>,
    ) -> anyhow::Result<Result<Done, Refusal>> {
        let node = match named(&mut *db, name).await? {
            Ok(node) => node,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let name = nodes::name(node.id);
        if node.is_held() && !kind.is_for_held() {
            let error =
                format!("{name} is held: it is not certain which machine it is, so it is not told {}", kind.verb());
            let remedy =
                "`mk-server conflicts` says why, and how that ends. It can be told refresh, doctor and collect.";
            return Ok(Err(Refusal::new(409, "held", error, remedy)));
        }
        if node.is_left_alone() && !kind.is_for_held() {
            let error = format!("{name} waits to be accepted, so it is not told {}", kind.verb());
            let remedy = format!("`mk-server nodes approve {name}` first. It can be told refresh, doctor and collect.");
            return Ok(Err(Refusal::new(409, "pending", error, remedy)));
        }
        if kind != Kind::Reboot && node.is_registered() && node.boot_id.is_none() {
            let error = format!("{name} runs an original client, which can only be told to reboot");
            let remedy = match kind {
                Kind::Poweroff | Kind::Identify => "Use its BMC, or its buttons.",
                _ => "Boot it from an image of this version.",
            };
            return Ok(Err(Refusal::new(422, "not_supported", error, remedy)));
        }
        queue::replace(&mut *db, self.now, node.id, kind).await?;
        let interval_s = Wanted::of(&mut *db, node.id).await?.interval(self.config.checkin_interval);
        let expires = self.now + queue::valid_ms(interval_s);
        let args = Value::Object(args).to_string();
        let id = commands::add(db, node.id, kind.word(), &args, self.now, expires).await?;
        let until = human::stamp(&timestamp(expires));
        let last = node.last_checkin.map_or_else(
            || "it has not checked in yet".to_owned(),
            |at| format!("it last checked in {} ago", human::duration((self.now - at).max(0) / 1000)),
        );
        let verb = kind.verb();
        Ok(Ok(Done::new(
            node.id,
            format!("{name} is told {verb} at its next check-in until {until} (command {id}); {last}"),
        )))
    }
}

/// The arguments of [`Kind::Identify`].
///
/// # Errors
/// When that is too long.
pub(super) fn seconds(asked: Option<u32>) -> Result<Map<String, Value>, Refusal> {
    let seconds = asked.unwrap_or(DEFAULT_IDENTIFY_S);
    if seconds > MAX_IDENTIFY_S {
        let error = format!("a light cannot be told to blink for {seconds} s");
        let remedy = format!("Name at most {MAX_IDENTIFY_S} s; give the command again when they are over.");
        return Err(Refusal::new(422, "bad_command", error, remedy));
    }
    Ok(Map::from_iter([(SECONDS.to_owned(), seconds.into())]))
}

/// The arguments of [`Kind::LoadExtension`].
///
/// # Errors
/// When that is no name of a file.
pub(super) fn extension(name: &str) -> Result<Map<String, Value>, Refusal> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._+-".contains(c);
    if name.is_empty() || name.len() > MAX_EXTENSION_NAME || name.starts_with('.') || !name.chars().all(is_plain) {
        let error = format!("{:?} is no extension's name", human::part(name));
        return Err(Refusal::new(422, "bad_command", error, "Write it as htop or htop.tcz."));
    }
    Ok(Map::from_iter([(EXTENSION.to_owned(), name.into())]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_checked_before_they_wait() {
        assert_eq!(seconds(None).unwrap()[SECONDS], DEFAULT_IDENTIFY_S);
        assert_eq!(seconds(Some(0)).unwrap()[SECONDS], 0, "off");
        assert_eq!(seconds(Some(MAX_IDENTIFY_S + 1)).unwrap_err().status, 422);
        for good in ["htop", "htop.tcz", "net-modules-6.1.0-13_amd64.tcz", "g++.tcz"] {
            assert_eq!(extension(good).unwrap()[EXTENSION], good);
        }
        for bad in ["", ".tcz", "../../etc/shadow", "a b", "a\n", &"x".repeat(MAX_EXTENSION_NAME + 1)] {
            assert_eq!(extension(bad).unwrap_err().status, 422, "{bad:?}");
        }
    }
}
