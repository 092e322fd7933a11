//! The connections of the HTTP port.

use std::{
    convert::Infallible,
    future::poll_fn,
    os::fd::{AsRawFd, RawFd},
    pin::Pin,
    sync::Arc,
};

use axum::{Router, body::Body, extract::FromRequestParts, http::request::Parts};
use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use reelraft_trust::{Acceptor, Stream};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{Notify, OwnedSemaphorePermit, Semaphore, watch},
    task::JoinSet,
};
use tower_service::Service;
use tracing::debug;

use super::limits::{
    ACCEPT_PAUSE, ANSWER_STALL_MAX, CONNECTIONS_MAX, CONNECTIONS_RESERVED, DOWNLOAD_STALL_MAX,
    DOWNLOAD_UNSENT_BYTES, HEAD_BYTES_MAX, HEAD_TIME_MAX, KEEPALIVE_AFTER_S, LINGER_BYTES_MAX,
    LINGER_TIME_MAX,
};

/// A hold on the connection that a request came by.
#[derive(Clone, Default)]
pub struct Cut(Arc<Hold>);

#[derive(Default)]
struct Hold {
    ends: Notify,
    downloads: Notify,
}

impl Cut {
    /// Ends it: what its reader does not take lies in buffers that nothing else lets go
    /// of.
    pub fn cut(&self) {
        self.0.ends.notify_one();
    }

    /// Has it bear a reader that is slow, or pauses: what it downloads has a place of its
    /// own, which it loses where others want it.
    pub fn bear_slow_reader(&self) {
        self.0.downloads.notify_one();
    }
}

impl<S: Sync> FromRequestParts<S> for Cut {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        // A request without a connection, as tests make them, has nothing to end.
        Ok(parts.extensions.get::<Cut>().cloned().unwrap_or_default())
    }
}

/// Tells a stream without an end that the node stops.
#[derive(Clone, Default)]
pub struct Stopping(Option<watch::Receiver<bool>>);

impl Stopping {
    /// Waits for it.
    pub async fn wait(mut self) {
        match &mut self.0 {
            Some(stop) => drop(stop.wait_for(|stop| *stop).await),
            None => std::future::pending().await,
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Stopping {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get().cloned().unwrap_or_default())
    }
}

/// Whether a request came by a connection that is kept for checks of health.
#[derive(Clone, Copy, Default)]
pub struct Crowded(pub bool);

/// Serves until `stop` is set and the open requests have ended.
pub async fn serve(
    router: Router,
    listener: TcpListener,
    acceptor: Acceptor,
    mut stop: watch::Receiver<bool>,
) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let reserved = Arc::new(Semaphore::new(CONNECTIONS_RESERVED));
    let mut connections = JoinSet::new();
    loop {
        // Who finds no place at all waits in the listener's own queue.
        let accepted = async {
            let place = match places.clone().try_acquire_owned() {
                Ok(place) => Ok((place, Crowded(false))),
                Err(_) => {
                    let place = reserved.clone().acquire_owned().await;
                    place.map(|place| (place, Crowded(true)))
                }
            };
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => break,
            Some(_) = connections.join_next() => continue,
            accepted = accepted => accepted,
        };
        match (place, accepted) {
            (Ok(place), Ok((socket, _))) => {
                let taken = take_in(
                    router.clone(),
                    socket,
                    acceptor.clone(),
                    place,
                    stop.clone(),
                );
                connections.spawn(taken);
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

/// Has the kernel end a connection whose other side takes nothing, as an answer
/// would wait for it in memory, or is gone.
fn limit_silence(socket: RawFd) {
    let stall_ms = ANSWER_STALL_MAX.as_millis() as libc::c_int;
    set_options(
        socket,
        &[
            (libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT, stall_ms),
            (libc::SOL_SOCKET, libc::SO_KEEPALIVE, 1),
            (libc::IPPROTO_TCP, libc::TCP_KEEPIDLE, KEEPALIVE_AFTER_S),
            (
                libc::IPPROTO_TCP,
                libc::TCP_KEEPINTVL,
                KEEPALIVE_AFTER_S / 4,
            ),
            (libc::IPPROTO_TCP, libc::TCP_KEEPCNT, 3),
        ],
    );
}

/// Gives the reader of a download more time. The kernel counts it also while a reader that
/// is slow, and not gone, has its own buffer full.
fn bear_slow_reader(socket: RawFd) {
    let stall_ms = DOWNLOAD_STALL_MAX.as_millis() as libc::c_int;
    set_options(
        socket,
        &[
            (libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT, stall_ms),
            (
                libc::IPPROTO_TCP,
                libc::TCP_NOTSENT_LOWAT,
                DOWNLOAD_UNSENT_BYTES,
            ),
        ],
    );
}

fn set_options(socket: RawFd, options: &[(libc::c_int, libc::c_int, libc::c_int)]) {
    for (level, option, value) in options {
        // SAFETY: the caller has the socket open, and the value is as long as is said.
        let set = unsafe {
            libc::setsockopt(
                socket,
                *level,
                *option,
                (&raw const *value).cast(),
                size_of_val(value) as libc::socklen_t,
            )
        };
        if set != 0 {
            let error = std::io::Error::last_os_error();
            debug!(%error, option, "a connection has no limit for silence");
        }
    }
}

/// Closes a connection, and takes in for a while what its client still sends.
async fn linger(mut socket: Stream) {
    let drained = async {
        socket.shutdown().await?;
        let mut rest = socket.take(LINGER_BYTES_MAX);
        tokio::io::copy(&mut rest, &mut tokio::io::sink()).await
    };
    // Whoever sends on is cut off.
    let _ = tokio::time::timeout(LINGER_TIME_MAX, drained).await;
}

/// Makes the handshake, if there is one, and serves the connection.
async fn take_in(
    router: Router,
    socket: TcpStream,
    acceptor: Acceptor,
    place: (OwnedSemaphorePermit, Crowded),
    stop: watch::Receiver<bool>,
) {
    // An answer of a few bytes must not wait for more of them.
    let _ = socket.set_nodelay(true);
    let descriptor = socket.as_raw_fd();
    limit_silence(descriptor);
    match acceptor.accept(socket).await {
        Ok((stream, _)) => converse(router, (stream, descriptor), place, stop).await,
        Err(error) => debug!(%error, "no handshake"),
    }
}

/// Serves one connection until it ends, is cut, or `stop` is set.
async fn converse(
    router: Router,
    (stream, descriptor): (Stream, RawFd),
    (_place, crowded): (OwnedSemaphorePermit, Crowded),
    mut stop: watch::Receiver<bool>,
) {
    let cut = Cut::default();
    let handle = cut.clone();
    let stopping = Stopping(Some(stop.clone()));
    let service = service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(handle.clone());
        request.extensions_mut().insert(crowded);
        request.extensions_mut().insert(stopping.clone());
        let mut router = router.clone();
        // A router is always ready.
        Box::pin(async move { router.call(request).await })
    });
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .keep_alive(!crowded.0)
        .serve_connection(TokioIo::new(stream), service);
    let mut stopping = false;
    loop {
        let told_to_stop = async {
            let _ = stop.wait_for(|stop| *stop).await;
        };
        let ended = tokio::select! {
            ended = poll_fn(|context| connection.poll_without_shutdown(context)) => Some(ended),
            () = cut.0.ends.notified() => return,
            () = cut.0.downloads.notified() => {
                // The connection has it open.
                bear_slow_reader(descriptor);
                continue;
            }
            () = told_to_stop, if !stopping => None,
        };
        match ended {
            None => {
                stopping = true;
                Pin::new(&mut connection).graceful_shutdown();
            }
            Some(Ok(())) => return linger(connection.into_parts().io.into_inner()).await,
            Some(Err(error)) => return debug!(%error, "a connection broke"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use axum::routing::get;
    use reelraft_trust::{Port, Trust};
    use tokio::time::timeout;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    async fn served(router: Router) -> (TcpStream, watch::Sender<bool>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stopper, stop) = watch::channel(false);
        let acceptor = Acceptor::new(&Trust::default(), Port::Http).unwrap();
        tokio::spawn(serve(router, listener, acceptor, stop));
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

    /// A socket's option, of the end that a request came by.
    fn option(socket: RawFd, option: libc::c_int) -> libc::c_int {
        let (mut value, mut bytes) = (0, size_of::<libc::c_int>() as libc::socklen_t);
        // SAFETY: the value is as long as is said.
        let read = unsafe {
            let value = (&raw mut value).cast();
            libc::getsockopt(socket, libc::IPPROTO_TCP, option, value, &raw mut bytes)
        };
        assert_eq!(read, 0);
        value
    }

    /// What the reader's own buffer keeps back is no silence for long: not of a download.
    #[tokio::test]
    async fn a_download_bears_a_reader_that_is_slow() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (_stopper, stop) = watch::channel(false);
        let acceptor = Acceptor::new(&Trust::default(), Port::Http).unwrap();
        let download = async |cut: Cut| cut.bear_slow_reader();
        let router = Router::new()
            .route("/", get(async || ()))
            .route("/download", get(download));
        let mut client = TcpStream::connect(address).await.unwrap();
        let (socket, _) = listener.accept().await.unwrap();
        let descriptor = socket.as_raw_fd();
        let [place, other] = [1, 1].map(|places| Arc::new(Semaphore::new(places)));
        drop(other);
        let place = (place.acquire_owned().await.unwrap(), Crowded(false));
        let served = tokio::spawn(take_in(router, socket, acceptor, place, stop));
        let limits = || {
            let limit = option(descriptor, libc::TCP_USER_TIMEOUT);
            (limit, option(descriptor, libc::TCP_NOTSENT_LOWAT))
        };
        let mut bytes = [0; 4096];
        for (path, limit) in [("/", ANSWER_STALL_MAX), ("/download", DOWNLOAD_STALL_MAX)] {
            let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
            client.write_all(request.as_bytes()).await.unwrap();
            timeout(PATIENCE, client.read(&mut bytes))
                .await
                .unwrap()
                .unwrap();
            for _ in 0..100 {
                if limits().0 == limit.as_millis() as libc::c_int {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            assert_eq!(limits().0, limit.as_millis() as libc::c_int, "{path}");
        }
        assert_eq!(limits().1, DOWNLOAD_UNSENT_BYTES);
        served.abort();
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
