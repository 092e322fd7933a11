//! How a worker reaches the leader. A trait, so that a session can cross gRPC,
//! or nothing at all.

use futures::{future::BoxFuture, stream::BoxStream};
use tokio::sync::mpsc;

use crate::node::messages::{FromWorker, Hello, ToWorker};

/// Why a session could not be opened, or broke off; for the log alone.
pub type LinkError = String;

/// An open session with the leader.
pub struct LeaderSession {
    /// Closed when the session has ended.
    pub to_leader: mpsc::Sender<FromWorker>,
    pub from_leader: BoxStream<'static, Result<ToWorker, LinkError>>,
}

/// Opens sessions.
pub trait LeaderLink: Send + Sync + 'static {
    /// Says hello to the node that listens at `address`.
    fn open(
        &self,
        address: &str,
        hello: Hello,
    ) -> BoxFuture<'static, Result<LeaderSession, LinkError>>;
}
