//! A range server on 127.0.0.1, by which ffmpeg reads a source that lies in
//! chunks on the homes. One random token stands for one attempt's source and
//! is gone with it. Speaks just what ffmpeg asks for: `GET` and `HEAD` of
//! HTTP/1.1 with one range, and kept connections.

use std::{
    collections::HashMap,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use futures::future::BoxFuture;
use reelraft_model::Problem;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::{Semaphore, watch},
    task::AbortHandle,
};

use super::range_request::{Range, RangeRequest, ResponseHead};
use crate::data::{
    error::DataError,
    limits::{
        REQUEST_BACKLOG, REQUEST_CONNECTIONS_MAX, REQUEST_HEAD_BYTES_MAX, REQUEST_IDLE,
        REQUEST_PIECE_BYTES, REQUEST_SEND_BYTES,
    },
};

/// What can be served: bytes of a known size, read from any offset.
pub trait Ranged: Send + Sync + 'static {
    /// The size of the whole.
    fn total_bytes(&self) -> u64;

    /// Some bytes from `offset` on; none only at the end.
    fn read(&self, offset: u64) -> BoxFuture<'_, Result<Bytes, DataError>>;
}

/// The range server of a node. It ends when this is dropped.
pub struct RangeServer {
    address: SocketAddr,
    tokens: Arc<Tokens>,
    accept: AbortHandle,
}

type Tokens = Mutex<HashMap<String, Arc<Served>>>;

struct Served {
    source: Box<dyn Ranged>,
    bytes: AtomicU64,
    /// Set once the source is served no more.
    closed: watch::Sender<bool>,
    trouble: Mutex<Option<Problem>>,
}

/// One source being served, until this is dropped.
pub struct ServedSource {
    url: String,
    token: String,
    served: Arc<Served>,
    tokens: Arc<Tokens>,
}

impl RangeServer {
    /// Starts the server on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// [`DataError::Internal`] if no port can be had.
    pub async fn start() -> Result<Self, DataError> {
        let failed = |error: std::io::Error| DataError::Internal {
            cause: format!("the range server can't listen: {error}"),
        };
        let socket = TcpSocket::new_v4().map_err(failed)?;
        socket
            .set_send_buffer_size(REQUEST_SEND_BYTES)
            .map_err(failed)?;
        socket
            .bind((Ipv4Addr::LOCALHOST, 0).into())
            .map_err(failed)?;
        let listener = socket.listen(REQUEST_BACKLOG).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let tokens = Arc::new(Tokens::default());
        let accept = tokio::spawn(accept(listener, tokens.clone())).abort_handle();
        Ok(RangeServer {
            address,
            tokens,
            accept,
        })
    }

    /// Serves a source under a new random token.
    pub fn serve(&self, source: impl Ranged) -> ServedSource {
        let token = format!("{:032x}", rand::random::<u128>());
        let served = Arc::new(Served {
            source: Box::new(source),
            bytes: AtomicU64::new(0),
            closed: watch::Sender::new(false),
            trouble: Mutex::default(),
        });
        lock(&self.tokens).insert(token.clone(), served.clone());
        ServedSource {
            url: format!("http://{}/{token}", self.address),
            token,
            served,
            tokens: self.tokens.clone(),
        }
    }
}

impl Drop for RangeServer {
    fn drop(&mut self) {
        self.accept.abort();
    }
}

impl ServedSource {
    /// Where it can be read.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Bytes served so far, those read twice counted twice.
    pub fn bytes_served(&self) -> u64 {
        self.served.bytes.load(Ordering::Relaxed)
    }

    /// Asks for the same number, from anywhere.
    pub fn counter(&self) -> impl Fn() -> u64 + Send + Sync + use<> {
        let served = self.served.clone();
        move || served.bytes.load(Ordering::Relaxed)
    }

    /// Why bytes could not be served, if they could not: the reader's own
    /// error only says that its input broke off.
    pub fn trouble(&self) -> Option<Problem> {
        lock(&self.served.trouble).clone()
    }
}

impl Drop for ServedSource {
    fn drop(&mut self) {
        self.served.closed.send_replace(true);
        lock(&self.tokens).remove(&self.token);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(listener: TcpListener, tokens: Arc<Tokens>) {
    let room = Arc::new(Semaphore::new(REQUEST_CONNECTIONS_MAX));
    loop {
        let Ok(permit) = room.clone().acquire_owned().await else {
            return;
        };
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors, as a rule: a pause lets some be freed.
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            continue;
        };
        let tokens = tokens.clone();
        tokio::spawn(async move {
            // A reader that hangs up or lags is its own loss.
            let _ = serve_connection(stream, &tokens).await;
            drop(permit);
        });
    }
}

/// Answers one connection's requests, one after the other.
async fn serve_connection(stream: TcpStream, tokens: &Tokens) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    loop {
        let head = tokio::time::timeout(REQUEST_IDLE, read_head(&mut stream)).await;
        let Ok(Some(head)) = head.map_err(std::io::Error::other)? else {
            return Ok(());
        };
        let Some(request) = RangeRequest::parse(&head) else {
            let refusal = ResponseHead::refusal("400 Bad Request", false);
            return stream.write_all(refusal.as_bytes()).await;
        };
        let served = lock(tokens).get(&request.token).cloned();
        let Some(served) = served else {
            let refusal = ResponseHead::refusal("404 Not Found", request.keep_alive);
            stream.write_all(refusal.as_bytes()).await?;
            if request.keep_alive {
                continue;
            }
            return Ok(());
        };
        let whole = answer(&mut stream, &request, &served).await?;
        if !request.keep_alive || !whole {
            return stream.shutdown().await;
        }
    }
}

/// Reads a request's head; none at the end of the connection.
async fn read_head(stream: &mut BufReader<TcpStream>) -> std::io::Result<Option<String>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let room = (REQUEST_HEAD_BYTES_MAX - head.len()) as u64;
        let read = stream.take(room).read_until(b'\n', &mut head).await?;
        if read == 0 {
            return Ok(None);
        }
    }
    Ok(String::from_utf8(head).ok())
}

/// Sends one answer; `false` if it had to be cut short.
async fn answer(
    stream: &mut BufReader<TcpStream>,
    request: &RangeRequest,
    served: &Served,
) -> std::io::Result<bool> {
    let total_bytes = served.source.total_bytes();
    let range = request.range.within(total_bytes);
    let head = ResponseHead::of(range.as_ref(), total_bytes, request.keep_alive);
    stream.write_all(head.as_bytes()).await?;
    let (mut at, end) = match range {
        Some(Range { from, to, .. }) if !request.head_only => (from, to),
        _ => return Ok(true),
    };
    while at < end {
        // What an unsealed source lacks may be waited for in vain.
        let mut closed = served.closed.subscribe();
        let part = tokio::select! {
            part = served.source.read(at) => part,
            _ = closed.wait_for(|closed| *closed) => return Ok(false),
        };
        let part = match part {
            Ok(part) if !part.is_empty() && !*served.closed.borrow() => part,
            Ok(_) => return Ok(false),
            Err(error) => {
                tracing::warn!(at, %error, "a source could not be served");
                *lock(&served.trouble) = Some(error.problem());
                return Ok(false);
            }
        };
        let part = part.slice(
            ..part
                .len()
                .min(usize::try_from(end - at).unwrap_or(usize::MAX)),
        );
        // In small pieces, so that one which is not taken is not counted.
        for piece in part.chunks(REQUEST_PIECE_BYTES) {
            stream.write_all(piece).await?;
            let sent_bytes = piece.len() as u64;
            served.bytes.fetch_add(sent_bytes, Ordering::Relaxed);
        }
        at += part.len() as u64;
    }
    Ok(true)
}
