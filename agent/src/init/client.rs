//! Requests to the supervisor, for the units and the command line: one JSON line each way over a Unix socket that
//! only root may open. The supervisor knows the sender by its process id, which the kernel vouches for.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use wire::error::Problem;

use crate::limits::{SOCKET_MESSAGE, SOCKET_REPLY};

/// Where the supervisor listens.
pub(crate) const SOCKET: &str = "/run/razor-mk/init.sock";

/// What can be asked of the supervisor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Request {
    /// The unit that sends this has done what others wait for.
    Ready,
    /// Stop all units and restart the machine.
    Reboot {
        /// Why, for the log.
        reason: String,
    },
    /// Stop all units and switch the machine off.
    Poweroff {
        /// Why, for the log.
        reason: String,
    },
    /// Start a unit that is stopped, at once.
    Start(String),
    /// Start a unit that has ended as it should; one that waits after a failure goes on waiting.
    Want(String),
    /// Stop a unit and keep it stopped.
    Stop(String),
    /// Stop a unit and start it again; one that still waits for others is not started before them.
    Restart(String),
    /// The last lines that a unit wrote.
    Logs(String),
    /// Read the unit files anew: start what is added, restart what has changed, stop what is gone.
    Reload,
}

/// The supervisor's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Reply {
    /// It is being done.
    Accepted,
    /// The answer to [`Request::Logs`], oldest line first.
    Lines(Vec<String>),
    /// The answer to [`Request::Reload`] when files were skipped: why each was. The others are in force.
    Skipped(Vec<Problem>),
    /// It is not done, and why.
    Refused(String),
}

/// Tells the supervisor that this unit has done what others wait for. Without a supervisor, as in development, this
/// does nothing.
pub(crate) fn ready() {
    if !Path::new(SOCKET).exists() {
        return;
    }
    if let Err(error) = request(&Request::Ready) {
        tracing::warn!("cannot tell the supervisor that this unit is ready: {error:#}");
    }
}

/// Asks the supervisor.
///
/// # Errors
/// Names the socket when the supervisor cannot be reached, and its reason when it refuses.
pub(crate) fn request(request: &Request) -> anyhow::Result<Reply> {
    let reply = exchange(Path::new(SOCKET), request).with_context(|| {
        format!("cannot ask the supervisor through {SOCKET}: does mk-agent run as init or daemon, and are you root?")
    })?;
    match reply {
        Reply::Refused(reason) => anyhow::bail!("{reason}"),
        reply => Ok(reply),
    }
}

/// One request and its reply over a socket.
pub(super) fn exchange(socket: &Path, request: &Request) -> anyhow::Result<Reply> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(SOCKET_REPLY))?;
    stream.set_write_timeout(Some(SOCKET_REPLY))?;
    send(&mut stream, request)?;
    receive(&stream)
}

/// Writes one message.
pub(super) fn send(stream: &mut UnixStream, message: &impl Serialize) -> anyhow::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    Ok(stream.write_all(&line)?)
}

/// Reads one message; a longer one than [`SOCKET_MESSAGE`] is cut and then refused as bad JSON.
pub(super) fn receive<T: for<'a> Deserialize<'a>>(stream: &UnixStream) -> anyhow::Result<T> {
    let mut line = Vec::new();
    BufReader::new(stream).take(SOCKET_MESSAGE).read_until(b'\n', &mut line)?;
    serde_json::from_slice(&line).context("the message is not understood")
}
