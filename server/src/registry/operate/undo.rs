//! `undo`: takes a command back by the event that it left.

use crate::registry::Refusal;
use crate::registry::operate::{Done, Operate};
use crate::store::sql::Connection;
use crate::store::undo::{Standing, Undo, Values};
use crate::store::{history, nodes};

type Outcome = anyhow::Result<Result<Done, Refusal>>;

impl Operate {
    pub(super) async fn undo(&self, db: &mut Connection, event: i64) -> Outcome {
        let Some(detail) = history::operator_event(&mut *db, event).await? else {
            let error = format!("event {event} is no command of an operator");
            let remedy = "The log of a node says with each command how it is taken back: `mk-server nodes log NAME`.";
            return Ok(Err(Refusal::new(404, "no_such_command", error, remedy)));
        };
        let Some(undo) = detail.get("undo") else {
            let name = detail["operation"]["command"].as_str().unwrap_or_default();
            let error = format!("event {event}, `{name}`, is not taken back by its event");
            return Ok(Err(Refusal::new(422, "no_undo", error, other_way(name))));
        };
        match serde_json::from_value(undo.clone())? {
            Undo::Values { keys, before, after } => {
                let ids = after.nodes();
                let now = Values::read(&mut *db, &keys, &ids).await?;
                if let Some(why) = after.changed(&now) {
                    return Ok(Err(too_late(event, &why)));
                }
                before.put_back(db, &keys).await?;
                let list = keys.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                let names = ids.iter().map(|id| nodes::name(*id)).collect::<Vec<_>>().join(" and ");
                let done =
                    Done::new(ids.first().copied(), format!("event {event} is undone: {list} of {names}, as it was"));
                Ok(Ok(Done { other: ids.get(1).copied(), ..done }))
            }
            Undo::Distinct { node, with, new, before, after } => {
                self.not_distinct(db, event, (node, with), new, (&before, &after)).await
            }
        }
    }

    async fn not_distinct(
        &self,
        db: &mut Connection,
        event: i64,
        (node, with): (i64, i64),
        new: bool,
        (before, after): (&Standing, &Standing),
    ) -> Outcome {
        let (name, other) = (nodes::name(node), nodes::name(with));
        if new && !nodes::drop_distinct(&mut *db, node, with).await? {
            return Ok(Err(too_late(event, &format!("{name} and {other} are not said to be two machines any more"))));
        }
        let now = Standing::read(&mut *db, node).await?;
        let then = if now.as_ref() == Some(after) {
            before.put_back(db, node).await?;
            format!("{name} is seen as before")
        } else if new {
            format!("{name} has checked in since, and its next report decides")
        } else {
            return Ok(Err(too_late(event, &format!("{name} has checked in since"))));
        };
        let result = format!("event {event} is undone: nobody says that {name} and {other} are two machines; {then}");
        Ok(Ok(Done::new(node, result).and(with)))
    }
}

fn too_late(event: i64, why: &str) -> Refusal {
    let error = format!("event {event} cannot be undone: {why}");
    let remedy = "Nothing was changed. `mk-server conflicts` and `mk-server nodes show NAME` tell how it stands now.";
    Refusal::new(409, "changed_since", error, remedy)
}

/// How commands without an undo of their own are taken back.
fn other_way(command: &str) -> &'static str {
    match command {
        "merge" | "resolve" => "`mk-server conflicts split NAME` makes the node that ended one of its own again.",
        "split" => "`mk-server conflicts merge NAME INTO` makes it an alias again.",
        "set-config" => "`mk-server config set` and `unset` put keys back; the event has what was set.",
        "approve-node" => "`mk-server nodes refuse NAME` takes it back.",
        "refuse-node" => "`mk-server nodes approve NAME` takes it back.",
        "create-enrolment-token" => "`mk-server enrolment revoke ID` takes it back.",
        "reinstall-node" | "register-node" => "`mk-server nodes register KIND=VALUE [--installed]` says it anew.",
        _ => "It cannot be taken back.",
    }
}
