//! Bundles of logs and state: `POST /svc/bundle/{id}` takes one from a node that was told to send it, and
//! `/api/collections/nodes/{name}/bundles` hands them out.

use std::io::ErrorKind;
use std::net::SocketAddr;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, Path, State as Handle};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use wire::digest::sha256_hex;
use wire::routes::GZIP;
use wire::sign;

use crate::http::body::{BUNDLE, Received};
use crate::http::openapi::forms;
use crate::http::problem::Failure;
use crate::http::svc::node_id;
use crate::http::{State, api, message};
use crate::registry::Refusal;
use crate::registry::signed::{Keep, Speaker};
use crate::store::bundles::{self, Bundle};
use crate::store::view::timestamp;
use crate::store::{nodes, now_ms};

/// What every archive that is packed by gzip begins with.
const MAGIC: [u8; 2] = [0x1f, 0x8b];

/// The query of a bundle.
#[derive(Debug, Deserialize)]
struct Sent {
    boot_id: String,
    command: i64,
}

/// `POST /svc/bundle/{id}?boot_id=…&command=…`: the body is a tar archive packed by gzip, signed by the key of the boot
/// that was told the command. It is kept whole or not at all.
///
/// # Errors
/// When it is from somebody else, was not asked for, is too large, or did not come whole.
#[utoipa::path(
    post,
    path = "/svc/bundle/{id}",
    params(
        ("id" = i64, Path, description = "Number of a node"),
        ("boot_id" = String, Query),
        ("command" = i64, Query)
    ),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses(
        (status = 200, description = "As asked", body = Object),
        (status = 400, description = "bad_node_id, bad_query, bad_signature, body_broke_off"),
        (status = 401, description = "not_signed"),
        (status = 404, description = "no_such_node, no_such_boot"),
        (status = 409, description = "wrong_key, wrong_node, not_newest, not_asked, replay"),
        (status = 422, description = "bad_bundle"),
        (status = 503, description = "busy")
    )
)]
pub async fn add(
    Handle(state): Handle<State>,
    Path(id): Path<String>,
    uri: Uri,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Failure> {
    let id = node_id(&id)?;
    let sent: Sent = message::query(&uri)?;
    let received = state.bodies.receive(body, peer, BUNDLE).await?;
    let body = &received.bytes;
    let key = message::speaker(&headers, &sign::bundle(id.unsigned_abs(), uri.query().unwrap_or_default(), body))?;
    if !body.starts_with(&MAGIC) {
        let remedy = "Send a tar archive packed by gzip, as mk-agent does.";
        return Err(Refusal::new(422, "bad_bundle", "the body is not packed by gzip", remedy).into());
    }
    let speaker = Speaker { id, boot_id: sent.boot_id, key };
    let mut db = state.store.readers.acquire().await.map_err(anyhow::Error::new)?;
    speaker.collects(&mut db, sent.command).await??;
    drop(db);
    let (command, sha256, bytes) = (sent.command, sha256_hex(body), i64::try_from(body.len()).unwrap_or(i64::MAX));
    let answer = json!({"bytes": bytes, "sha256": sha256});
    let keep = Keep { now: now_ms(), speaker, command, bytes, sha256 };
    // To its end, also where the client goes away meanwhile.
    tokio::spawn(keep_file(state, keep, received)).await.map_err(anyhow::Error::new)??;
    Ok(Json(answer))
}

/// Puts the file into its place, then its row.
async fn keep_file(state: State, keep: Keep, received: Received) -> Result<(), Failure> {
    let _turn = state.bundles.turn().await;
    let (files, command, sha256) = (state.bundles.clone(), keep.command, keep.sha256.clone());
    let saved = tokio::task::spawn_blocking(move || files.save(command, &sha256, &received.bytes)).await;
    let kept = match saved.map_err(anyhow::Error::new)? {
        Ok(()) => state.store.writer.write(keep).await,
        Err(why) => Err(why),
    };
    // What was pruned goes with what was refused in between.
    remove_old(&state).await;
    Ok(kept??)
}

/// Removes the files of bundles that are not kept any more, to the end also where the client goes away meanwhile: nobody may
/// save one in between.
pub async fn tidy(state: &State) {
    let state = state.clone();
    let tidied = tokio::spawn(async move {
        let _turn = state.bundles.turn().await;
        remove_old(&state).await;
    });
    if let Err(error) = tidied.await {
        tracing::warn!("old bundles stay: {error:#}");
    }
}

/// The same for who has the turn. One that stays is no harm, and goes with the next.
async fn remove_old(state: &State) {
    let tidied = async {
        let known = bundles::all(&state.store.readers).await?;
        let files = state.bundles.clone();
        tokio::task::spawn_blocking(move || files.keep_only(&known)).await?
    };
    if let Err(error) = tidied.await {
        tracing::warn!("old bundles stay: {error:#}");
    }
}

/// `GET /api/collections/nodes/{name}/bundles`, newest first.
///
/// # Errors
/// When there is no such node.
#[utoipa::path(
    get,
    path = "/api/collections/nodes/{name}/bundles",
    params(("name" = String, Path, description = "Name of a node, such as node1")),
    responses(
        (status = 200, description = "As asked", body = forms::Page),
        (status = 404, description = "no_such_node")
    )
)]
pub async fn list(Handle(state): Handle<State>, Path(name): Path<String>) -> Result<Json<Value>, Failure> {
    let id = api::find(&state, &name).await?;
    let items = of_node(&state, id).await?;
    Ok(Json(json!({"total": items.len(), "items": items})))
}

/// A node's bundles as the API shows them.
///
/// # Errors
/// When the database fails.
pub async fn of_node(state: &State, node: i64) -> anyhow::Result<Vec<Value>> {
    let shown = |Bundle { command, at, bytes, sha256, .. }: Bundle| json!({"command": command, "timestamp": timestamp(at), "bytes": bytes, "sha256": sha256});
    Ok(bundles::of_node(&state.store.readers, node).await?.into_iter().map(shown).collect())
}

/// `GET /api/collections/nodes/{name}/bundles/{command}`: the archive.
///
/// # Errors
/// When there is no such node or bundle.
#[utoipa::path(
    get,
    path = "/api/collections/nodes/{name}/bundles/{command}",
    params(("name" = String, Path, description = "Name of a node, such as node1"), ("command" = i64, Path)),
    responses(
        (status = 200, description = "The archive", body = Vec<u8>, content_type = "application/gzip"),
        (status = 404, description = "no_such_node, no_such_bundle")
    )
)]
pub async fn get(
    Handle(state): Handle<State>,
    Path((name, command)): Path<(String, String)>,
) -> Result<Response, Failure> {
    let id = api::find(&state, &name).await?;
    let mut known = bundles::of_node(&state.store.readers, id).await?.into_iter();
    let found = command.parse().ok().and_then(|command: i64| known.find(|b| b.command == command));
    let missing = |error: String, remedy: String| Failure::new(StatusCode::NOT_FOUND, "no_such_bundle", error, remedy);
    let Some(bundle) = found else {
        let error = format!("{name} has no bundle of command {command:?}");
        return Err(missing(error, format!("List them with `mk-server nodes bundles {name}`.")));
    };
    let path = state.bundles.file(bundle.command, &bundle.sha256);
    let bytes = tokio::fs::read(&path).await.map_err(|why| match why.kind() {
        ErrorKind::NotFound => {
            let error = format!(
                "the file of this bundle is gone, or at another server of this database: there is no {}",
                path.display()
            );
            missing(error, format!("Have it send another one with `mk-server nodes collect {name}`."))
        }
        _ => anyhow::Error::new(why).context(format!("cannot read {}", path.display())).into(),
    })?;
    let file = format!("attachment; filename=\"{}-{}.tar.gz\"", nodes::name(id), bundle.command);
    let headers = [(header::CONTENT_TYPE, GZIP.to_owned()), (header::CONTENT_DISPOSITION, file)];
    Ok((headers, Bytes::from(bytes)).into_response())
}
