//! The connections of the HTTP port.

use std::{convert::Infallible, os::fd::AsRawFd, sync::Arc};

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

use super::limits::{
    ACCEPT_PAUSE, ANSWER_STALL_MAX, CONNECTIONS_MAX, HEAD_BYTES_MAX, HEAD_TIME_MAX,
};

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

/// Has the kernel end a connection whose other side takes nothing: an answer
/// would wait for it in memory.
fn limit_stalls(socket: &TcpStream) {
    let limit_ms = ANSWER_STALL_MAX.as_millis() as libc::c_uint;
    // SAFETY: the socket is open, and the value is as long as is said.
    let set = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_USER_TIMEOUT,
            (&raw const limit_ms).cast(),
            size_of_val(&limit_ms) as libc::socklen_t,
        )
    };
    if set != 0 {
        let error = std::io::Error::last_os_error();
        debug!(%error, "a connection has no limit for stalls");
    }
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
    limit_stalls(&socket);
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use axum::routing::get;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        time::timeout,
    };

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    async fn served(router: Router) -> (TcpStream, watch::Sender<bool>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stopper, stop) = watch::channel(false);
        tokio::spawn(serve(router, listener, stop));
        (TcpStream::connect(address).await.unwrap(), stopper)
    }

    async fn read_all(socket: &mut TcpStream) -> Vec<u8> {
        let mut bytes = Vec::new();
        let read = timeout(PATIENCE, socket.read_to_end(&mut bytes)).await;
        // A connection that is cut may be reset.
        let _ = read.expect("the connection ends");
        bytes
    }

    #[tokio::test]
    async fn a_reader_that_is_cut_off_loses_its_connection() {
        async fn cut(cut: Cut) -> Body {
            cut.cut();
            Body::from_stream(futures::stream::pending::<Result<&[u8], Infallible>>())
        }
        let (mut socket, _stopper) = served(Router::new().route("/", get(cut))).await;
        socket.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        read_all(&mut socket).await;
    }

    #[tokio::test]
    async fn a_stop_lets_what_was_asked_end() {
        async fn slow() -> &'static str {
            tokio::time::sleep(Duration::from_millis(300)).await;
            "whole"
        }
        let (mut socket, stopper) = served(Router::new().route("/", get(slow))).await;
        socket.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
        stopper.send(true).unwrap();
        assert!(read_all(&mut socket).await.ends_with(b"whole"));
    }

    #[tokio::test]
    async fn a_head_has_a_size() {
        let (mut socket, _stopper) = served(Router::new()).await;
        let long = format!(
            "GET / HTTP/1.1\r\nA: {}\r\n",
            "a".repeat(2 * HEAD_BYTES_MAX)
        );
        let _ = socket.write_all(long.as_bytes()).await;
        let answer = read_all(&mut socket).await;
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 431"));
    }
}
