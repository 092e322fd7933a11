//! What the data plane asks of the replicated table. A trait, so that it can
//! be tested, and later simulated, without a cluster beneath it.

use std::{sync::Arc, time::Duration};

use futures::future::BoxFuture;
use reelraft_model::{Command, Problem, Reply, State};
use tokio::sync::watch;

/// The replicated table as one node sees it.
pub trait Table: Send + Sync + 'static {
    /// This node's id.
    fn node(&self) -> u64;

    /// Where a member listens, as `host:port`.
    fn address(&self, node: u64) -> Option<String>;

    /// This node's own replica, however old.
    fn local(&self) -> Arc<State>;

    /// The index up to which this node has applied the log.
    fn applied(&self) -> watch::Receiver<u64>;

    /// The table as it is now, on all nodes.
    fn read(&self) -> BoxFuture<'_, Result<Arc<State>, Problem>>;

    /// Waits until this node has applied the log up to `index`.
    fn wait_applied(&self, index: u64, timeout: Duration) -> BoxFuture<'_, Result<(), Problem>>;

    /// Proposes commands; one reply for each.
    fn propose(&self, commands: Vec<Command>) -> BoxFuture<'_, Result<Vec<Reply>, Problem>>;
}
