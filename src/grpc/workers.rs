//! The `Workers` service: the leader's side of the sessions.

use std::pin::Pin;

use futures::StreamExt;
use reelraft_proto::v1::{self, workers_server::Workers};
use reelraft_trust::Holder;
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tonic::{Request, Response, Status, Streaming};

use super::{
    convert::status,
    convert_session::{model_from_worker, model_hello, wire_to_worker},
};
use crate::node::leader::intake::Intake;

/// The `Workers` service of one node.
#[derive(Clone)]
pub struct WorkerService {
    intake: Intake,
}

impl WorkerService {
    /// The service over the leader's intake.
    pub fn new(intake: Intake) -> Self {
        WorkerService { intake }
    }
}

#[tonic::async_trait]
impl Workers for WorkerService {
    type SessionStream = Pin<Box<dyn Stream<Item = Result<v1::ToWorker, Status>> + Send>>;

    async fn session(
        &self,
        request: Request<Streaming<v1::FromWorker>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        self.intake.check_leading().map_err(status)?;
        let holder = request.extensions().get::<Holder>().cloned();
        let mut incoming = request.into_inner();
        let first = incoming.message().await?;
        let hello = first
            .and_then(model_hello)
            .ok_or_else(|| Status::invalid_argument("a session begins with a hello"))?;
        if let Some(holder) = holder
            && holder.as_node() != Some((hello.node, &hello.incarnation))
        {
            let cause = format!("{holder} says that it is node {}", hello.node);
            return Err(Status::unauthenticated(cause));
        }
        let (session, out) = self.intake.open(hello).await.map_err(status)?;
        tokio::spawn(async move {
            while let Some(Ok(message)) = incoming.next().await {
                // What this version does not know is no reason to end a session.
                if let Some(message) = model_from_worker(message) {
                    session.receive(message);
                }
            }
        });
        let out = ReceiverStream::new(out).map(|message| Ok(wire_to_worker(message)));
        Ok(Response::new(Box::pin(out)))
    }
}
