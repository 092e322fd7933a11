//! What bounds a call before its service sees it. A request that is one small
//! message is taken in whole, up to a size and within a time; calls that need
//! no secret are few at once.
//!
//! Not here: who may call; see `places.rs`.

use std::{
    convert::Infallible,
    future::ready,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::{Request, Response};
use reelraft_model::Problem;
use tokio::sync::Semaphore;
use tonic::{body::Body, codegen::Service, server::NamedService};

use super::{
    convert::status,
    limits::{REQUEST_PATIENCE, SMALL_REQUEST_BYTES_MAX},
    places::{Connection, too_busy},
};

type Answer = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

/// A service whose requests are one small message each.
#[derive(Clone)]
pub struct SmallCalls<S> {
    inner: S,
    /// The call whose requests are many and large.
    streaming: Option<&'static str>,
    patience: Duration,
}

impl<S> SmallCalls<S> {
    /// Bounds every call of a service.
    pub fn new(inner: S) -> Self {
        SmallCalls {
            inner,
            streaming: None,
            patience: REQUEST_PATIENCE,
        }
    }

    /// Leaves one call to the service, by its name in the protocol.
    pub fn but(self, streaming: &'static str) -> Self {
        SmallCalls {
            streaming: Some(streaming),
            ..self
        }
    }
}

impl<S: NamedService> NamedService for SmallCalls<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<Request<Body>> for SmallCalls<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S: Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answer;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Answer {
        let call = request.uri().path().rsplit('/').next();
        if self.streaming.is_some() && call == self.streaming {
            return Box::pin(self.inner.call(request));
        }
        // Services of ours are always ready.
        let (mut inner, patience) = (self.inner.clone(), self.patience);
        Box::pin(async move {
            let (head, body) = request.into_parts();
            match whole(body, patience).await {
                Ok(body) => inner.call(Request::from_parts(head, body)).await,
                Err(problem) => Ok(status(problem).into_http()),
            }
        })
    }
}

/// A request's body, once all of it is there.
async fn whole(body: Body, patience: Duration) -> Result<Body, Problem> {
    let taken = Limited::new(body, SMALL_REQUEST_BYTES_MAX).collect();
    let Ok(taken) = tokio::time::timeout(patience, taken).await else {
        let cause = format!("the request did not come within {} s", patience.as_secs());
        return Err(Problem::new("timed-out", cause, "send it in one go"));
    };
    match taken {
        Ok(taken) => Ok(Body::new(Full::new(taken.to_bytes()))),
        Err(error) if error.is::<LengthLimitError>() => Err(Problem::new(
            "too-large",
            format!("a request of this kind has at most {SMALL_REQUEST_BYTES_MAX} bytes"),
            "send a smaller one",
        )),
        Err(error) => Err(Problem::new(
            "client-lost",
            format!("the request broke off: {error}"),
            "send it again",
        )),
    }
}

/// A service that needs no secret, of which few calls are open at once.
#[derive(Clone)]
pub struct FewCalls<S> {
    inner: S,
    /// Of all connections; without, each has its own.
    room: Option<Arc<Semaphore>>,
}

impl<S> FewCalls<S> {
    /// Bounds the open calls of each connection.
    pub fn on_a_connection(inner: S) -> Self {
        FewCalls { inner, room: None }
    }

    /// Bounds the open calls of all connections together, and of whatever else
    /// shares the room.
    pub fn within(inner: S, room: Arc<Semaphore>) -> Self {
        FewCalls {
            inner,
            room: Some(room),
        }
    }
}

impl<S: NamedService> NamedService for FewCalls<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<Request<Body>> for FewCalls<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answer;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Answer {
        let connection = request.extensions().get::<Connection>();
        let room = self.room.as_ref();
        let room = room.or_else(|| connection.map(Connection::calls_without_secret));
        // There is no connection without a listener.
        let permit = room.map(|room| room.clone().try_acquire_owned());
        let Ok(permit) = permit.transpose() else {
            let refusal = too_busy("this node has as many such calls as it takes without a secret");
            return Box::pin(ready(Ok(status(refusal).into_http())));
        };
        let answer = self.inner.call(request);
        Box::pin(async move {
            let held = move |frame| {
                let _ = &permit;
                frame
            };
            Ok(answer.await?.map(|body| Body::new(body.map_frame(held))))
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use futures::StreamExt;
    use http_body_util::StreamBody;
    use hyper::body::{Bytes, Frame};
    use reelraft_proto::problem;
    use tonic::Status;

    use super::*;
    use crate::grpc::{limits::CALLS_WITHOUT_SECRET_MAX, places::Places};

    /// Answers once it has read its request, and never ends its answer.
    #[derive(Clone)]
    struct Reader;

    impl Service<Request<Body>> for Reader {
        type Response = Response<Body>;
        type Error = Infallible;
        type Future = Answer;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, request: Request<Body>) -> Answer {
            Box::pin(async move {
                request.into_body().collect().await.unwrap();
                let endless = futures::stream::pending::<Result<Frame<Bytes>, Status>>();
                Ok(Response::new(Body::new(StreamBody::new(endless))))
            })
        }
    }

    /// A request that sends so many bytes and then ends or does not.
    fn request(call: &str, bytes: usize, ends: bool) -> Request<Body> {
        let part = Frame::data(Bytes::from(vec![0; bytes]));
        let parts = futures::stream::iter([Ok::<_, Status>(part)]);
        let body = match ends {
            true => Body::new(StreamBody::new(parts)),
            false => Body::new(StreamBody::new(parts.chain(futures::stream::pending()))),
        };
        let uri = format!("/service/{call}");
        Request::builder().uri(uri).body(body).unwrap()
    }

    /// The kind of the refusal, if it is one.
    fn refusal(answer: &Response<Body>) -> Option<String> {
        let status = Status::from_header_map(answer.headers())?;
        Some(problem::of_status(&status).unwrap().kind)
    }

    fn impatient() -> SmallCalls<Reader> {
        SmallCalls {
            patience: Duration::from_millis(20),
            ..SmallCalls::new(Reader)
        }
    }

    #[tokio::test]
    async fn a_request_is_small_and_soon_there() {
        let max = SMALL_REQUEST_BYTES_MAX;
        for (bytes, ends, told) in [
            (max, true, None),
            (max + 1, true, Some("too-large")),
            (max + 1, false, Some("too-large")),
            (1, false, Some("timed-out")),
        ] {
            let answer = impatient().call(request("Check", bytes, ends)).await;
            assert_eq!(refusal(&answer.unwrap()).as_deref(), told, "{bytes} {ends}");
        }
    }

    #[tokio::test]
    async fn one_call_may_be_left_to_the_service() {
        let large = || request("Upload", SMALL_REQUEST_BYTES_MAX + 1, true);
        let answer = impatient().but("Upload").call(large()).await.unwrap();
        assert_eq!(refusal(&answer), None);
        let answer = impatient().but("Download").call(large()).await.unwrap();
        assert_eq!(refusal(&answer).as_deref(), Some("too-large"));
    }

    #[tokio::test]
    async fn few_calls_are_open_at_once_and_an_answer_counts_until_it_ends() {
        let places = Places::default();
        let [crowded, other] = [(); 2].map(|()| places.enter());
        let mut service = FewCalls::on_a_connection(Reader);
        let mut call = |connection: &Connection| {
            let mut request = request("Watch", 1, true);
            request.extensions_mut().insert(connection.clone());
            service.call(request)
        };
        let mut open = Vec::new();
        for _ in 0..CALLS_WITHOUT_SECRET_MAX {
            open.push(call(&crowded).await.unwrap());
        }
        let refused = call(&crowded).await.unwrap();
        assert_eq!(refusal(&refused).as_deref(), Some("too-busy"));
        assert_eq!(refusal(&call(&other).await.unwrap()), None);
        open.pop();
        assert_eq!(refusal(&call(&crowded).await.unwrap()), None);
        let mut service = FewCalls::within(Reader, Arc::new(Semaphore::new(1)));
        let _open = service.call(request("Watch", 1, true)).await.unwrap();
        let refused = service.call(request("Watch", 1, true)).await.unwrap();
        assert_eq!(refusal(&refused).as_deref(), Some("too-busy"));
    }
}
