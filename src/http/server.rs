//! The connections of the HTTP port.

use std::{convert::Infallible, sync::Arc};

use axum::{Router, body::Body, extract::FromRequestParts, http::request::Parts};
use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Notify, OwnedSemaphorePermit, Semaphore, watch},
    task::JoinSet,
};
use tower_service::Service;
use tracing::debug;

use super::limits::{ACCEPT_PAUSE, CONNECTIONS_MAX, HEAD_BYTES_MAX, HEAD_TIME_MAX};

/// Ends the connection that a request came by: what its reader does not take
/// lies in buffers that nothing else lets go of.
#[derive(Clone, Default)]
pub struct Cut(Arc<Notify>);

impl Cut {
    /// Ends it.
    pub fn cut(&self) {
        self.0.notify_one();
    }
}

impl<S: Sync> FromRequestParts<S> for Cut {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        // A request without a connection, as tests make them, has nothing to end.
        Ok(parts.extensions.get::<Cut>().cloned().unwrap_or_default())
    }
}

/// Serves until `stop` is set and the open requests have ended.
pub async fn serve(router: Router, listener: TcpListener, mut stop: watch::Receiver<bool>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        // Who finds no place waits in the listener's own queue.
        let accepted = async {
            let place = places.clone().acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => break,
            Some(_) = connections.join_next() => continue,
            accepted = accepted => accepted,
        };
        match (place, accepted) {
            (Ok(place), Ok((socket, _))) => {
                connections.spawn(converse(router.clone(), socket, place, stop.clone()));
            }
            (_, Err(error)) => {
                debug!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
            (Err(_), Ok(_)) => break,
        }
    }
    // Nobody else gets in while the last requests end.
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// Serves one connection until it ends, is cut, or `stop` is set.
async fn converse(
    router: Router,
    socket: TcpStream,
    _place: OwnedSemaphorePermit,
    mut stop: watch::Receiver<bool>,
) {
    // An answer of a few bytes must not wait for more of them.
    let _ = socket.set_nodelay(true);
    let cut = Cut::default();
    let handle = cut.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(handle.clone());
        let mut router = router.clone();
        // A router is always ready.
        async move { router.call(request).await }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(socket), service);
    let mut connection = std::pin::pin!(connection);
    let mut stopping = false;
    loop {
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    debug!(%error, "a connection broke");
                }
                return;
            }
            () = cut.0.notified() => return,
            _ = stop.wait_for(|stop| *stop), if !stopping => {
                stopping = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}
