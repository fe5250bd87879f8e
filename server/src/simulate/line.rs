//! One connection to the server, kept open between requests and made anew when it has ended. A request whose connection ended before
//! the answer came goes out once more, byte for byte, as an agent's does.

use std::net::{IpAddr, SocketAddr};

use axum::body::Bytes;
use axum::http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpSocket;

use crate::limits::{CLIENT_CONNECT_TIMEOUT, CLIENT_TIMEOUT};

/// An answer.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
}

/// A connection.
#[derive(Debug)]
pub(super) struct Line {
    server: SocketAddr,
    host: String,
    source: Option<IpAddr>,
    open: Option<SendRequest<Full<Bytes>>>,
}

impl Line {
    /// To this server, from this address if one is named.
    pub(super) fn new(server: SocketAddr, host: String, source: Option<IpAddr>) -> Self {
        Self { server, host, source, open: None }
    }

    /// Sends a request; nothing when no answer came. `headers` are ASCII.
    pub(super) async fn send(
        &mut self,
        method: &'static str,
        path: &str,
        headers: &[(&'static str, String)],
        body: Bytes,
    ) -> Option<Answer> {
        let had = self.open.is_some();
        let answer = self.once(method, path, headers, body.clone()).await;
        match answer {
            None if had => self.once(method, path, headers, body).await,
            answer => answer,
        }
    }

    async fn once(
        &mut self,
        method: &'static str,
        path: &str,
        headers: &[(&'static str, String)],
        body: Bytes,
    ) -> Option<Answer> {
        let mut request = Request::builder().method(method).uri(path).header(header::HOST, &self.host);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let request = request.body(Full::new(body)).ok()?;
        let mut open = match self.open.take() {
            Some(open) => open,
            None => tokio::time::timeout(CLIENT_CONNECT_TIMEOUT, self.connect()).await.ok()??,
        };
        let exchange = async {
            open.ready().await.ok()?;
            let response = open.send_request(request).await.ok()?;
            let status = response.status();
            let body = response.into_body().collect().await.ok()?.to_bytes();
            Some(Answer { status, body })
        };
        let answer = tokio::time::timeout(CLIENT_TIMEOUT, exchange).await.ok()??;
        self.open = Some(open).filter(|open| !open.is_closed());
        Some(answer)
    }

    async fn connect(&self) -> Option<SendRequest<Full<Bytes>>> {
        let socket = if self.server.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }.ok()?;
        if let Some(source) = self.source {
            socket.bind(SocketAddr::new(source, 0)).ok()?;
        }
        let stream = socket.connect(self.server).await.ok()?;
        // Without it a request is only slower.
        let _ = stream.set_nodelay(true);
        let (open, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
        tokio::spawn(connection);
        Some(open)
    }
}
