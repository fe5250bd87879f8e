//! `GET /svc/wait/{id}`: a node's question whether there is something to tell it, answered as soon as there is, or after the
//! time that the node named.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Json;
use axum::extract::{ConnectInfo, Path, State as Handle};
use axum::http::{HeaderMap, Uri};
use serde::Deserialize;
use wire::checkin::{CheckinReply, NodeState, WaitReply};
use wire::limits::MAX_WAIT_S;
use wire::sign;

use crate::http::problem::Failure;
use crate::http::svc::node_id;
use crate::http::{State, message};
use crate::registry::configs::Wanted;
use crate::registry::queue;
use crate::registry::signed::Speaker;
use crate::store::boots::Boot;
use crate::store::nodes::Node;
use crate::store::now_ms;
use crate::store::sql::Connection;

/// The query.
#[derive(Debug, Deserialize)]
struct Asked {
    boot_id: String,
    /// Version of the configuration that the last answer named.
    config: i64,
    /// Rises with each question of a boot.
    number: u64,
    /// Seconds.
    wait: u64,
}

/// `GET /svc/wait/{id}?boot_id=…&config=…&number=…&wait=…`, signed by the boot's key. What there is to be told comes with
/// the answer to a check-in.
///
/// # Errors
/// When it is from somebody else, or too many wait.
#[utoipa::path(
    get,
    path = "/svc/wait/{id}",
    params(
        ("id" = i64, Path, description = "Number of a node"),
        ("boot_id" = String, Query),
        ("config" = i64, Query),
        ("number" = u64, Query),
        ("wait" = u64, Query)
    ),
    responses(
        (status = 200, description = "As asked", body = Object),
        (status = 400, description = "bad_node_id, bad_query, bad_signature"),
        (status = 401, description = "not_signed"),
        (status = 404, description = "no_such_node, no_such_boot"),
        (status = 409, description = "wrong_key, wrong_node, not_newest, not_asked, replay"),
        (status = 503, description = "busy")
    )
)]
pub async fn wait(
    Handle(state): Handle<State>,
    Path(id): Path<String>,
    uri: Uri,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
) -> Result<Json<WaitReply>, Failure> {
    let id = node_id(&id)?;
    let asked: Asked = message::query(&uri)?;
    let key = message::speaker(&headers, &sign::wait(id.unsigned_abs(), uri.query().unwrap_or_default()))?;
    let speaker = Speaker { id, boot_id: asked.boot_id, key };
    let mut db = state.store.readers.acquire().await.map_err(anyhow::Error::new)?;
    let (node, boot) = speaker.newest(&mut db).await??;
    // First in line, so that nothing that comes while the database is read is missed.
    let mut waiting = state.waits.enter(node.id, &boot.boot_id, asked.number, peer.ip())?;
    let due = is_due(&mut db, &node, &boot, asked.config).await?;
    // There are few such connections.
    drop(db);
    let time = Duration::from_secs(asked.wait.min(MAX_WAIT_S));
    let due = due || tokio::time::timeout(time, waiting.told()).await.unwrap_or(false);
    Ok(Json(WaitReply { due }))
}

/// Whether something waits that this boot has not heard of.
async fn is_due(db: &mut Connection, node: &Node, boot: &Boot, config: i64) -> anyhow::Result<bool> {
    if Wanted::of(&mut *db, node.id).await?.version() != config {
        return Ok(true);
    }
    // It was let in, or refused, since it was answered.
    let told: CheckinReply = serde_json::from_str(&boot.reply)?;
    if (told.state == Some(NodeState::Pending)) != (node.standing()?.0 == NodeState::Pending) {
        return Ok(true);
    }
    let now = now_ms();
    // By the uptime that it said last: its next check-in says that nothing is awaited any more.
    let left = node.is_left_alone() || node.awaits_parts(now, boot.uptime_s);
    queue::is_due(db, now, node.id, left, &boot.boot_id).await
}
