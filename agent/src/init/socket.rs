//! The supervisor's socket: a thread that takes one request after the other and waits for the loop to answer it.

use std::fs;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};

use anyhow::Context as _;
use nix::sys::socket::{getsockopt, sockopt};
use nix::sys::stat::{Mode, umask};

use super::Message;
use super::client::{self, Reply, Request};
use crate::limits::{SMALL_STACK, SOCKET_READ, SOCKET_REPLY};

/// Listens in the background. Call it while there is one thread only: it changes the process's file mode mask.
///
/// # Errors
/// Names the path when the socket cannot be made there.
pub(super) fn listen(path: &Path, inbox: Sender<Message>) -> anyhow::Result<()> {
    let bind = || -> anyhow::Result<UnixListener> {
        fs::create_dir_all(path.parent().context("it has no folder")?)?;
        if path.exists() {
            fs::remove_file(path)?;
        }
        let usual = umask(Mode::from_bits_truncate(0o177));
        let listener = UnixListener::bind(path);
        umask(usual);
        Ok(listener?)
    };
    let listener = bind().with_context(|| format!("cannot listen at {}", path.display()))?;
    let serve = move || {
        for stream in listener.incoming().flatten() {
            if let Err(error) = answer(stream, &inbox) {
                tracing::debug!("a request to the supervisor failed: {error:#}");
            }
        }
    };
    std::thread::Builder::new().name("socket".to_owned()).stack_size(SMALL_STACK).spawn(serve)?;
    Ok(())
}

fn answer(mut stream: UnixStream, inbox: &Sender<Message>) -> anyhow::Result<()> {
    stream.set_read_timeout(Some(SOCKET_READ))?;
    stream.set_write_timeout(Some(SOCKET_READ))?;
    let sender = getsockopt(&stream, sockopt::PeerCredentials)?.pid();
    let reply = match client::receive::<Request>(&stream) {
        Ok(request) => {
            let (reply_to, reply): (_, Receiver<Reply>) = channel();
            inbox.send(Message::Asked { sender, request, reply_to })?;
            reply.recv_timeout(SOCKET_REPLY)?
        }
        Err(error) => Reply::Refused(format!("{error:#}")),
    };
    client::send(&mut stream, &reply)
}
