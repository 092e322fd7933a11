//! The worker's side of the sessions: the client of the `Workers` service.

use futures::{FutureExt, StreamExt, future::BoxFuture, stream};
use reelraft_proto::{auth::Secret, dial, v1::workers_client::WorkersClient};
use reelraft_trust::Trust;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::{
    convert_session::{model_to_worker, wire_from_worker, wire_hello},
    limits::SESSION_TIMING,
};
use crate::{
    limits::SESSION_QUEUE,
    node::{
        messages::Hello,
        worker::link::{LeaderLink, LeaderSession, LinkError},
    },
};

/// Opens sessions with the leader of the moment.
pub struct WorkerClient {
    secret: Secret,
    trust: Trust,
}

impl WorkerClient {
    /// A client with the nodes' secret, and certificates where they have some.
    pub fn new(secret: Secret, trust: Trust) -> Self {
        WorkerClient { secret, trust }
    }
}

impl LeaderLink for WorkerClient {
    fn open(
        &self,
        address: &str,
        hello: Hello,
    ) -> BoxFuture<'static, Result<LeaderSession, LinkError>> {
        let endpoint = dial::endpoint(address, SESSION_TIMING);
        let (secret, trust) = (self.secret.clone(), self.trust.clone());
        async move {
            let endpoint = endpoint.map_err(|error| error.to_string())?;
            let channel = trust.channel(&endpoint, None).await;
            let channel = channel.map_err(|error| error.to_string())?;
            let (to_leader, outgoing) = mpsc::channel(SESSION_QUEUE);
            let outgoing = ReceiverStream::new(outgoing).map(wire_from_worker);
            let outgoing = stream::iter([wire_hello(hello)]).chain(outgoing);
            let mut client = WorkersClient::with_interceptor(channel, secret);
            let incoming = client.session(outgoing).await.map_err(in_words)?;
            // What this version does not know is no reason to end a session.
            let from_leader = incoming
                .into_inner()
                .filter_map(async |message| match message {
                    Ok(message) => model_to_worker(message).map(Ok),
                    Err(status) => Some(Err(in_words(status))),
                });
            Ok(LeaderSession {
                to_leader,
                from_leader: from_leader.boxed(),
            })
        }
        .boxed()
    }
}

fn in_words(status: Status) -> LinkError {
    format!("{:?}: {}", status.code(), status.message())
}
