//! `/svc/boot`, `/svc/boot/why`, `/svc/nodeid` and the bootstrap script: what a machine asks before it runs anything of
//! ours.

use std::net::SocketAddr;

use axum::Json;
use axum::extract::{ConnectInfo, Query, State as Handle};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use wire::error::Problem;

use crate::http::State;
use crate::http::base::Base;
use crate::http::ipxe::{self, Microkernel};
use crate::http::openapi::forms;
use crate::http::problem::Failure;
use crate::http::query::{self, Pairs};
use crate::image::Image;
use crate::limits::MAX_NICS;
use crate::registry::Refusal;
use crate::registry::lookup::{Asked, Found, Lookup};
use crate::store::{nodes, now_ms};

/// NICs that the bootstrap script asks for unless `nic_max` says otherwise.
const DEFAULT_NICS: u32 = 4;

/// `GET /svc/boot`: the script for one machine.
///
/// # Errors
/// When it cannot be told which machine asks.
#[utoipa::path(
    get,
    path = "/svc/boot",
    params(forms::Hardware),
    responses(
        (status = 200, description = "A script for iPXE", body = String, content_type = "text/plain; charset=utf-8"),
        (status = 400, description = "no_match_value, duplicate_node, bad_host, bad_request"),
        (status = 503, description = "too_many_new, too_many_pending")
    )
)]
pub async fn boot(
    Handle(state): Handle<State>,
    Base(base): Base,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Query(pairs): Query<Pairs>,
) -> Result<Response, Failure> {
    let image = state.images.current().await?;
    let found = lookup(&state, peer, &pairs, Asked::Boot { image: image.is_some() }).await??;
    Ok(script(script_for(&state, &base, found, image.as_ref()).await?))
}

/// `GET /svc/boot/why`: shows on the machine's screen why `/svc/boot` refused it, and boots the microkernel without an id,
/// so that its check-in settles the matter.
///
/// # Errors
/// When the server itself fails.
#[utoipa::path(
    get,
    path = "/svc/boot/why",
    params(forms::Hardware),
    responses(
        (status = 200, description = "A script for iPXE", body = String, content_type = "text/plain; charset=utf-8")
    )
)]
pub async fn why(
    Handle(state): Handle<State>,
    Base(base): Base,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Query(pairs): Query<Pairs>,
) -> Result<Response, Failure> {
    let image = state.images.current().await?;
    Ok(script(match lookup(&state, peer, &pairs, Asked::Id).await? {
        Ok(found) => script_for(&state, &base, found, image.as_ref()).await?,
        Err(Refusal { problem, .. }) => {
            let then = match &image {
                Some(image) => microkernel(&state, &base, image, "An unrecognised machine", ""),
                None => ipxe::nothing_to_boot("An unrecognised machine", &no_image()),
            };
            ipxe::refused(&problem, &then)
        }
    }))
}

/// `GET /svc/nodeid`: the id of the machine that the query describes.
///
/// # Errors
/// When it cannot be told which machine it is.
#[utoipa::path(
    get,
    path = "/svc/nodeid",
    params(forms::Hardware),
    responses(
        (status = 200, description = "As asked", body = forms::NodeId),
        (status = 400, description = "no_match_value, duplicate_node, bad_request"),
        (status = 503, description = "too_many_new, too_many_pending")
    )
)]
pub async fn node_id(
    Handle(state): Handle<State>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Query(pairs): Query<Pairs>,
) -> Result<Json<Value>, Failure> {
    let found = lookup(&state, peer, &pairs, Asked::Id).await??;
    Ok(Json(json!({"id": found.id})))
}

/// `GET /api/microkernel/bootstrap`: the script that DHCP hands to every machine.
///
/// # Errors
/// With razor-server's messages for a bad `nic_max` or `http_port`.
#[utoipa::path(
    get,
    path = "/api/microkernel/bootstrap",
    params(("nic_max" = Option<u32>, Query), ("http_port" = Option<u16>, Query)),
    responses(
        (status = 200, description = "A script for iPXE", body = String, content_type = "text/plain; charset=utf-8"),
        (status = 400, description = "bad_nic_max, bad_http_port, bad_host, bad_request")
    )
)]
pub async fn bootstrap(Base(mut base): Base, Query(pairs): Query<Pairs>) -> Result<Response, Failure> {
    let value = |name: &str| pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let nics = match value("nic_max") {
        Some(text) => nic_max(text)?,
        None => DEFAULT_NICS,
    };
    if let Some(port) = value("http_port") {
        base = with_port(&base, http_port(port)?);
    }
    Ok(script(ipxe::bootstrap(&base, nics)))
}

fn nic_max(text: &str) -> Result<u32, Refusal> {
    let remedy = format!("Give a number from 1 to {MAX_NICS}, or leave it out for {DEFAULT_NICS}.");
    let number = number(text).ok_or_else(|| {
        Refusal::new(400, "bad_nic_max", "The nic_max parameter must be an integer not starting with 0", remedy.clone())
    })?;
    u32::try_from(number).ok().filter(|n| *n <= MAX_NICS).ok_or_else(|| {
        Refusal::new(400, "bad_nic_max", format!("The nic_max parameter must be at most {MAX_NICS}"), remedy)
    })
}

fn http_port(text: &str) -> Result<u16, Refusal> {
    number(text).and_then(|n| u16::try_from(n).ok()).ok_or_else(|| {
        let error = "The http_port parameter must be an integer between 1 and 65535";
        Refusal::new(400, "bad_http_port", error, "Leave it out for the port of this request.")
    })
}

/// Digits that do not begin with zero.
fn number(text: &str) -> Option<u64> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
    text.parse().ok().filter(|_| plain)
}

/// The base URL with another port.
pub(crate) fn with_port(base: &str, port: u16) -> String {
    let host_end = base.rfind(']').or_else(|| base.rfind("//").map(|at| at + 1)).unwrap_or(0);
    let end = base[host_end..].find(':').map_or(base.len(), |at| host_end + at);
    format!("{}:{port}", &base[..end])
}

async fn lookup(
    state: &State,
    peer: SocketAddr,
    pairs: &Pairs,
    asked: Asked,
) -> anyhow::Result<Result<Found, Refusal>> {
    let query::Machine { info, dhcp_mac } = query::machine(pairs);
    let room = state.newcomers.of(peer.ip());
    state.store.writer.write(Lookup { config: state.config.clone(), now: now_ms(), info, dhcp_mac, asked, room }).await
}

async fn script_for(state: &State, base: &str, found: Found, image: Option<&Image>) -> anyhow::Result<String> {
    let title = nodes::name(found.id);
    if found.boot_local {
        let mut reader = state.store.readers.acquire().await?;
        // razor-server's rule: an exit is only for machines that are known to be physical.
        let sanboot = nodes::is_virtual(&mut reader, found.id).await? != Some(false);
        return Ok(ipxe::boot_local(&title, sanboot));
    }
    Ok(match image {
        Some(image) => microkernel(state, base, image, &title, &format!("/{}", found.id)),
        None => ipxe::nothing_to_boot(&title, &no_image()),
    })
}

fn microkernel(state: &State, base: &str, image: &Image, title: &str, id: &str) -> String {
    let kernel = Microkernel {
        files: format!("{base}/svc/repo/microkernel/{}", image.name),
        checkin: format!("{base}/svc/checkin{id}"),
        image_args: &image.kernel_args,
        kernel_args: &state.config.kernel_args,
        debug_level: &state.config.debug_level,
        interval: state.config.checkin_interval,
    };
    ipxe::microkernel(title, &kernel)
}

fn no_image() -> Problem {
    Problem::new(
        "no_image",
        "this server has no microkernel image in use, so there is nothing to boot",
        "On the server: mk-server image add razor-mk-VERSION-production.iso",
    )
}

fn script(text: String) -> Response {
    (StatusCode::OK, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response()
}

/// For the fuzzer: numbers of a query.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(text: &str) {
    assert!(nic_max(text).is_ok_and(|most| most <= MAX_NICS) || nic_max(text).is_err());
    let _ = http_port(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nic_max_and_http_port_are_checked_in_the_originals_words() {
        assert_eq!(nic_max("12").unwrap(), 12);
        for bad in ["0", "04", "", "x", "-1", "+1", "1.5"] {
            assert_eq!(
                nic_max(bad).unwrap_err().problem.error,
                "The nic_max parameter must be an integer not starting with 0",
                "{bad:?}"
            );
        }
        assert!(nic_max("100000").unwrap_err().problem.error.contains("256"));
        assert_eq!(http_port("65535").unwrap(), 65535);
        for bad in ["0", "080", "65536", "", "http"] {
            let error = http_port(bad).unwrap_err().problem.error;
            assert_eq!(error, "The http_port parameter must be an integer between 1 and 65535", "{bad:?}");
        }
    }

    #[test]
    fn the_port_is_replaced_or_added() {
        for (base, want) in [
            ("http://h", "http://h:80"),
            ("http://h:8150", "http://h:80"),
            ("http://[fe80::1]", "http://[fe80::1]:80"),
            ("http://[fe80::1]:8150", "http://[fe80::1]:80"),
        ] {
            assert_eq!(with_port(base, 80), want);
        }
    }
}
