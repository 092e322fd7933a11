//! The connections of the listener: so many at once, and each can be cut from
//! inside. The transport gives a stream up only with its connection, while
//! its reader takes nothing.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use futures::{Stream, StreamExt, task::AtomicWaker};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::server::Connected;
use tracing::debug;

/// One connection.
pub struct Line {
    socket: TcpStream,
    cut: Cut,
    _place: OwnedSemaphorePermit,
}

/// Cuts a connection.
#[derive(Clone, Default)]
pub struct Cut(Arc<State>);

#[derive(Default)]
struct State {
    done: AtomicBool,
    reader: AtomicWaker,
}

impl Cut {
    /// Ends the connection as if the other side had broken it.
    pub fn cut(&self) {
        self.0.done.store(true, Ordering::SeqCst);
        self.0.reader.wake();
    }

    /// Whether the connection was cut; wakes the reader when it is.
    fn is_done(&self, context: &Context<'_>) -> bool {
        self.0.reader.register(context.waker());
        self.0.done.load(Ordering::SeqCst)
    }
}

/// The connections that come in, at most `max` at once. One more is closed at
/// once: its client goes to another node.
pub fn lines(listener: TcpListener, max: usize) -> impl Stream<Item = io::Result<Line>> {
    let places = Arc::new(Semaphore::new(max));
    TcpListenerStream::new(listener).filter_map(move |accepted| {
        let place = places.clone().try_acquire_owned();
        async move {
            let socket = match accepted {
                Ok(socket) => socket,
                Err(error) => return Some(Err(error)),
            };
            let Ok(place) = place else {
                debug!(max, "a connection too many was closed");
                return None;
            };
            // A question of a few bytes must not wait for more of them.
            let _ = socket.set_nodelay(true);
            Some(Ok(Line {
                socket,
                cut: Cut::default(),
                _place: place,
            }))
        }
    })
}

impl Connected for Line {
    type ConnectInfo = Cut;

    fn connect_info(&self) -> Cut {
        self.cut.clone()
    }
}

impl AsyncRead for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.cut.is_done(context) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        Pin::new(&mut self.socket).poll_read(context, buffer)
    }
}

impl AsyncWrite for Line {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn a_line_is_cut_while_it_is_read_and_one_too_many_is_closed() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut lines = std::pin::pin!(lines(listener, 1));
        let _client = TcpStream::connect(address).await.unwrap();
        let mut line = lines.next().await.unwrap().unwrap();
        let mut second = TcpStream::connect(address).await.unwrap();
        let closed = async { second.read(&mut [0; 1]).await.unwrap() };
        let read = tokio::select! {
            _ = lines.next() => panic!("it should not come in"),
            read = closed => read,
        };
        assert_eq!(read, 0);
        let cut = line.connect_info();
        let (read, ()) = tokio::join!(async { line.read(&mut [0; 1]).await }, async {
            tokio::task::yield_now().await;
            cut.cut();
        });
        assert_eq!(read.unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
        drop(line);
        let _third = TcpStream::connect(address).await.unwrap();
        assert!(lines.next().await.unwrap().is_ok(), "its place is free");
    }
}
