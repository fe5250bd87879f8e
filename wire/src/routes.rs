//! Paths, ports and header names of protocol A. They are fixed: other people's scripts use them.

/// Port of the server for HTTP.
pub const HTTP_PORT: u16 = 8150;
/// Port of the server with TLS.
pub const HTTPS_PORT: u16 = 8151;
/// Ports on the node's loopback: status and configuration, extension mirror, gem mirror.
pub const CONTROL_PORT: u16 = 2156;
/// See [`CONTROL_PORT`].
pub const MIRROR_PORT: u16 = 2157;
/// See [`CONTROL_PORT`].
pub const GEM_PORT: u16 = 2158;

/// iPXE bootstrap script.
pub const BOOTSTRAP: &str = "/api/microkernel/bootstrap";
/// iPXE script for one machine.
pub const BOOT: &str = "/svc/boot";
/// Id of the machine that a query describes.
pub const NODE_ID: &str = "/svc/nodeid";
/// Check-in; `/{id}` may follow.
pub const CHECKIN: &str = "/svc/checkin";
/// Says what this server is, before anybody sends it an inventory.
pub const HELLO: &str = "/svc/hello";
/// Log line of a node; `/{id}` follows.
pub const LOG: &str = "/svc/log";

/// Takes the logs and state that a node was told to collect; `/{id}` follows.
pub const BUNDLE: &str = "/svc/bundle";
/// Answers once a node has something to be told, or after a while; `/{id}` follows.
pub const WAIT: &str = "/svc/wait";

/// Media type of a bundle: a tar archive, packed by gzip.
pub const GZIP: &str = "application/gzip";
/// Media type of a check-in, without parameters: an original server compares it literally.
pub const JSON: &str = "application/json";
/// Request header: base64 of the 32 byte Ed25519 public key that the agent made at this boot.
pub const KEY_HEADER: &str = "razor-key";
/// Request header: base64 of the 64 byte Ed25519 signature over what [`crate::sign`] makes of the request.
pub const SIGNATURE_HEADER: &str = "razor-signature";
