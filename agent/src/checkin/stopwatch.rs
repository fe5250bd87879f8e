//! Times how long connections take, for the report card: a layer around what makes them. Of a connection by TLS the handshake is
//! part.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use tower::{Layer, Service};
use wire::card::Span;

use crate::state::uptime_ms;

/// The connection that was made last, of all clients that share this.
#[derive(Debug, Clone, Default)]
pub(super) struct Stopwatch(Arc<Mutex<Option<Span>>>);

impl Stopwatch {
    /// The last connection, once.
    pub(super) fn take(&self) -> Option<Span> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn set(&self, connection: Span) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(connection);
    }
}

impl<S> Layer<S> for Stopwatch {
    type Service = Timed<S>;

    fn layer(&self, inner: S) -> Timed<S> {
        Timed { inner, stopwatch: self.clone() }
    }
}

/// A maker of connections whose time is taken.
#[derive(Debug, Clone)]
pub(super) struct Timed<S> {
    inner: S,
    stopwatch: Stopwatch,
}

impl<S, R> Service<R> for Timed<S>
where
    S: Service<R>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: R) -> Self::Future {
        let (connecting, stopwatch, begin) = (self.inner.call(request), self.stopwatch.clone(), uptime_ms());
        Box::pin(async move {
            let connection = connecting.await?;
            stopwatch.set(Span::between(begin, uptime_ms()));
            Ok(connection)
        })
    }
}
