//! The listener: HTTP/2 connections and their streams. Each stream is a task
//! that can be ended by itself, which the transport's own server does not
//! offer: there a stream whose reader takes nothing lasts as long as its
//! connection, and holds a message and more.

use std::convert::Infallible;

use futures::future::{AbortHandle, Abortable};
use http_body_util::BodyExt;
use hyper::{
    Request, Response,
    body::{Body, Incoming},
    server::conn::http2,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use reelraft_trust::{Acceptor, Caller, Stream, Trust};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};
use tonic::codegen::{Service, StdError};
use tracing::debug;

use super::{
    limits::{
        ACCEPT_PAUSE, CONNECTION_WINDOW_BYTES, FRAME_BYTES, KEEPALIVE_TIMEOUT, NEWCOMER_PATIENCE,
        SILENT_ASKED_EVERY, STREAM_WINDOW_BYTES, STREAMS_MAX,
    },
    places::{Connection, Places},
};

tokio::task_local! {
    /// Ends the stream whose task this is.
    static STREAM: AbortHandle;
}

/// What ends the stream of the call that is being answered, as if the node had
/// broken off: its reader is told so, and the rest of the connection goes on.
pub(super) fn stream_end() -> impl FnOnce() + Send + 'static {
    let stream = STREAM.try_with(AbortHandle::clone).ok();
    move || {
        if let Some(stream) = stream {
            stream.abort();
        }
    }
}

/// Runs each stream in a task that [`stream_end`] can end.
#[derive(Clone)]
struct Streams;

impl<F> hyper::rt::Executor<F> for Streams
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, stream: F) {
        let (handle, registration) = AbortHandle::new_pair();
        tokio::spawn(STREAM.scope(handle, Abortable::new(stream, registration)));
    }
}

/// How connections are taken in.
#[derive(Clone)]
pub struct Entrance {
    /// The room for them.
    pub places: Places,
    /// The handshake, if there is one.
    pub acceptor: Acceptor,
    /// Ends those of nodes that were removed.
    pub trust: Trust,
}

/// Serves until `stop` is set and the open calls have ended.
pub async fn serve<S, B>(
    services: S,
    entrance: Entrance,
    listener: TcpListener,
    mut stop: watch::Receiver<bool>,
) where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    S: Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<StdError>,
{
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((socket, _)) => {
                let taken = take_in(services.clone(), socket, entrance.clone(), stop.clone());
                connections.spawn(taken);
            }
            Err(error) => {
                debug!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    // Nobody else gets in while the last calls end.
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// Makes the handshake, and serves the connection.
async fn take_in<S, B>(
    services: S,
    socket: TcpStream,
    entrance: Entrance,
    stop: watch::Receiver<bool>,
) where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    S: Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<StdError>,
{
    let connection = entrance.places.enter();
    // A question of a few bytes must not wait for more of them.
    let _ = socket.set_nodelay(true);
    let shaken = tokio::select! {
        () = connection.cut() => None,
        shaken = entrance.acceptor.accept(socket) => match shaken {
            Ok(shaken) => Some(shaken),
            Err(error) => {
                debug!(%error, "no handshake");
                None
            }
        },
    };
    if let Some((stream, caller)) = shaken {
        let refused = entrance.trust.until_refused(&caller);
        let speaking = converse(services, stream, caller.clone(), connection.clone(), stop);
        tokio::select! {
            () = speaking => {}
            () = refused => {}
        }
    }
    connection.leave();
}

/// Serves one connection until it ends, must give way, or `stop` is set.
async fn converse<S, B>(
    services: S,
    stream: Stream,
    caller: Caller,
    connection: Connection,
    mut stop: watch::Receiver<bool>,
) where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    S: Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<StdError>,
{
    let here = connection.clone();
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(here.clone());
        if let Some(holder) = &caller.holder {
            request.extensions_mut().insert(holder.clone());
        }
        let call = here.begin_call();
        // One that routes is always ready.
        let answer = services.clone().call(request);
        async move {
            let keep = move |frame| {
                let _ = &call;
                frame
            };
            answer
                .await
                .map(|answer| answer.map(|body| body.map_frame(keep)))
        }
    });
    let mut http = http2::Builder::new(Streams);
    tune(&mut http);
    let mut serving = std::pin::pin!(http.serve_connection(TokioIo::new(stream), service));
    let mut stopping = false;
    let newcomer = tokio::time::sleep(NEWCOMER_PATIENCE);
    let mut newcomer = std::pin::pin!(newcomer);
    let mut known = false;
    loop {
        tokio::select! {
            ended = serving.as_mut() => {
                if let Err(error) = ended {
                    debug!(%error, "a connection broke");
                }
                break;
            }
            () = connection.cut() => break,
            () = newcomer.as_mut(), if !known => match connection.is_newcomer() {
                true => break,
                false => known = true,
            },
            _ = stop.wait_for(|stop| *stop), if !stopping => {
                stopping = true;
                serving.as_mut().graceful_shutdown();
            }
        }
    }
}

/// The windows and frames that bytes want, and pings that notice when a reader
/// is gone: its stream would hold a thread and a file.
fn tune(http: &mut http2::Builder<Streams>) {
    http.timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(FRAME_BYTES)
        .max_concurrent_streams(STREAMS_MAX)
        .keep_alive_interval(SILENT_ASKED_EVERY)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{pin::Pin, time::Duration};

    use futures::{Stream, StreamExt, stream};
    use reelraft_proto::v1::{
        FromWorker, JobProgress, LeaderReport, ToWorker, to_worker,
        workers_client::WorkersClient,
        workers_server::{Workers, WorkersServer},
    };
    use reelraft_trust::Port;
    use tokio::{net::TcpStream, sync::mpsc};
    use tonic::{Code, Status, Streaming, service::Routes, transport::Endpoint};

    use super::*;

    /// Answers without end, until it is told to break off.
    struct Endless {
        end: watch::Receiver<bool>,
        /// Told when the transport has let go of an answer.
        dropped: mpsc::UnboundedSender<()>,
    }

    struct OnDrop(mpsc::UnboundedSender<()>);

    impl Drop for OnDrop {
        fn drop(&mut self) {
            let _ = self.0.send(());
        }
    }

    #[tonic::async_trait]
    impl Workers for Endless {
        type SessionStream = Pin<Box<dyn Stream<Item = Result<ToWorker, Status>> + Send>>;

        async fn session(
            &self,
            request: tonic::Request<Streaming<FromWorker>>,
        ) -> Result<tonic::Response<Self::SessionStream>, Status> {
            if request.metadata().contains_key("ends") {
                let (end, mut told) = (stream_end(), self.end.clone());
                tokio::spawn(async move {
                    let _ = told.wait_for(|told| *told).await;
                    end();
                });
            }
            let guard = OnDrop(self.dropped.clone());
            let answers = stream::repeat_with(move || {
                let _ = &guard;
                Ok(answer())
            });
            Ok(tonic::Response::new(Box::pin(answers)))
        }
    }

    fn entrance(places: Places) -> Entrance {
        let trust = Trust::default();
        Entrance {
            places,
            acceptor: Acceptor::new(&trust, Port::Grpc).unwrap(),
            trust,
        }
    }

    /// 64 KiB, so that a window is soon full.
    fn answer() -> ToWorker {
        let job = JobProgress {
            waiting: "x".repeat(64 << 10),
            ..Default::default()
        };
        let report = LeaderReport {
            jobs: vec![job],
            ..Default::default()
        };
        ToWorker {
            message: Some(to_worker::Message::Report(report)),
        }
    }

    #[tokio::test]
    async fn a_stream_that_nobody_reads_is_ended_alone() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (end, told) = watch::channel(false);
        let (dropped, mut drops) = mpsc::unbounded_channel();
        let service = WorkersServer::new(Endless { end: told, dropped });
        let (_stop, stopped) = watch::channel(false);
        let entrance = entrance(Places::default());
        tokio::spawn(serve(Routes::new(service), entrance, listener, stopped));
        let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
        let client = WorkersClient::new(endpoint.connect().await.unwrap());
        let open = async |ends: bool| {
            let mut request = tonic::Request::new(stream::pending::<FromWorker>());
            if ends {
                request
                    .metadata_mut()
                    .insert("ends", "yes".parse().unwrap());
            }
            client.clone().session(request).await.unwrap().into_inner()
        };
        let (mut unread, mut read) = (open(true).await, open(false).await);
        for _ in 0..8 {
            read.next().await.unwrap().unwrap();
        }
        end.send(true).unwrap();
        let let_go = tokio::time::timeout(Duration::from_secs(20), drops.recv());
        let_go.await.expect("the transport holds on to it").unwrap();
        for _ in 0..64 {
            read.next().await.unwrap().unwrap();
        }
        let end = loop {
            match unread.next().await.unwrap() {
                Ok(_) => {}
                Err(status) => break status,
            }
        };
        assert_eq!(end.code(), Code::Cancelled, "{end:?}");
    }

    #[tokio::test]
    async fn who_says_nothing_makes_room_for_who_comes_later() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (_stop, stopped) = watch::channel(false);
        let entrance = entrance(Places::new(8, 8, 1));
        let routes = Routes::default();
        tokio::spawn(serve(routes, entrance, listener, stopped));
        let mut silent = TcpStream::connect(address).await.unwrap();
        let _later = TcpStream::connect(address).await.unwrap();
        let mut said = Vec::new();
        let closed = tokio::io::AsyncReadExt::read_to_end(&mut silent, &mut said);
        let closed = tokio::time::timeout(Duration::from_secs(20), closed);
        // Either end of it may be first to notice.
        let _ = closed.await.expect("it is cut");
    }
}
