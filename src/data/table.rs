//! What the data plane asks of the replicated table. A trait, so that it can
//! be tested, and later simulated, without a cluster beneath it.

use std::{sync::Arc, time::Duration};

use futures::{FutureExt, future::BoxFuture};
use reelraft_consensus::{Cluster, Committed};
use reelraft_model::{Command, Problem, State};
use tokio::sync::watch;

/// The replicated table as one node sees it.
pub trait Table: Send + Sync + 'static {
    /// This node's id.
    fn node(&self) -> u64;

    /// Where a member listens, as `host:port`.
    fn address(&self, node: u64) -> Option<String>;

    /// This node's own replica, however old.
    fn local(&self) -> Arc<State>;

    /// The same, and the last index that is in it.
    fn local_at(&self) -> (Arc<State>, u64);

    /// The index up to which this node has applied the log.
    fn applied(&self) -> watch::Receiver<u64>;

    /// The table as it is now, on all nodes.
    fn read(&self) -> BoxFuture<'_, Result<Arc<State>, Problem>>;

    /// Waits until this node has applied the log up to `index`.
    fn wait_applied(&self, index: u64, timeout: Duration) -> BoxFuture<'_, Result<(), Problem>>;

    /// Proposes commands; gives their place in the log and a reply for each.
    fn propose(&self, commands: Vec<Command>) -> BoxFuture<'_, Result<Committed, Problem>>;
}

impl Table for Cluster {
    fn node(&self) -> u64 {
        self.identity().node
    }

    fn address(&self, node: u64) -> Option<String> {
        let members = self.members().into_iter();
        members
            .filter(|member| member.id == node && !member.address.is_empty())
            .map(|member| member.address)
            .next()
    }

    fn local(&self) -> Arc<State> {
        Cluster::local(self)
    }

    fn local_at(&self) -> (Arc<State>, u64) {
        Cluster::local_at(self)
    }

    fn applied(&self) -> watch::Receiver<u64> {
        Cluster::applied(self)
    }

    fn read(&self) -> BoxFuture<'_, Result<Arc<State>, Problem>> {
        async {
            let state = Cluster::read(self).await;
            state.map_err(|error| error.problem())
        }
        .boxed()
    }

    fn wait_applied(&self, index: u64, timeout: Duration) -> BoxFuture<'_, Result<(), Problem>> {
        async move {
            let reached = Cluster::wait_applied(self, index, timeout).await;
            reached.map_err(|error| error.problem())
        }
        .boxed()
    }

    fn propose(&self, commands: Vec<Command>) -> BoxFuture<'_, Result<Committed, Problem>> {
        async move {
            let committed = Cluster::propose(self, commands).await;
            committed.map_err(|error| error.problem())
        }
        .boxed()
    }
}
