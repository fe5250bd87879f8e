//! `POST /api/commands/NAME`: what operators tell the server to do with nodes, under razor-server's names.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State as Handle;
use axum::http::StatusCode;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sqlx::SqliteConnection;
use wire::limits::MAX_COMMAND_BODY;

use crate::http::State;
use crate::http::problem::Failure;
use crate::registry::Refusal;
use crate::store::nodes::Node;
use crate::store::writer::Work;
use crate::store::{history, nodes, now_ms};

/// Reads a command's body; `form` shows a person what it must look like.
///
/// # Errors
/// When it is too large or not of that form.
pub fn read<T: DeserializeOwned>(body: &[u8], form: &str) -> Result<T, Failure> {
    if body.len() > MAX_COMMAND_BODY {
        let error = format!("the command has {} bytes; at most {MAX_COMMAND_BODY} are taken", body.len());
        return Err(Failure::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", error, format!("Send {form}.")));
    }
    serde_json::from_slice(body).map_err(|e| {
        let error = format!("the body is no command: {e}");
        Failure::new(StatusCode::BAD_REQUEST, "bad_json", error, format!("Send {form}."))
    })
}

/// Body of `POST /api/commands/reinstall-node`.
#[derive(Debug, Deserialize)]
struct Reinstall {
    /// Name of the node.
    name: String,
}

/// `POST /api/commands/reinstall-node`: the node no longer counts as installed, so that it boots the microkernel and
/// stays there.
///
/// # Errors
/// When there is no such node.
pub async fn reinstall_node(Handle(state): Handle<State>, body: Bytes) -> Result<(StatusCode, Json<Value>), Failure> {
    let Reinstall { name } = read(&body, "{\"name\": \"node1\"}")?;
    let result = state.store.writer.write(Release { name, now: now_ms() }).await??;
    Ok((StatusCode::ACCEPTED, Json(json!({"result": result}))))
}

struct Release {
    name: String,
    now: i64,
}

impl Work for Release {
    type Output = Result<String, Refusal>;

    async fn run(&self, db: &mut SqliteConnection) -> anyhow::Result<Self::Output> {
        let asked = self.name.strip_prefix("node").and_then(|id| id.parse().ok());
        let id = match asked {
            Some(id) => nodes::resolve(&mut *db, id).await?,
            None => None,
        };
        let node = match id {
            Some(id) => Node::get(&mut *db, id).await?,
            None => None,
        };
        let Some(node) = node else {
            let error = format!("there is no node {:?}", self.name);
            return Ok(Err(Refusal::new(404, "no_such_node", error, "List them with `mk-server nodes list`.")));
        };
        let name = nodes::name(node.id);
        let Some(installed) = node.installed else {
            return Ok(Ok(format!("{name} does not count as installed; nothing was changed")));
        };
        nodes::release(&mut *db, node.id).await?;
        let entry = json!({"event": "reinstall", "msg": format!("no longer counts as installed ({installed})")});
        history::log_decision(db, self.now, node.id, "info", &entry).await?;
        Ok(Ok(format!("{name} no longer counts as installed ({installed})")))
    }
}
