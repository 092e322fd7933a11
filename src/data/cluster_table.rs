//! The cluster's own table as the data plane asks for it.

use std::{sync::Arc, time::Duration};

use futures::{FutureExt, future::BoxFuture};
use reelraft_consensus::Cluster;
use reelraft_model::{Command, Problem, Reply, State};
use tokio::sync::watch;

use super::Table;

impl Table for Cluster {
    fn node(&self) -> u64 {
        self.identity().node
    }

    fn address(&self, node: u64) -> Option<String> {
        let members = self.members().into_iter();
        members
            .filter(|member| member.id == node)
            .map(|member| member.address)
            .next()
    }

    fn local(&self) -> Arc<State> {
        Cluster::local(self)
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

    fn propose(&self, commands: Vec<Command>) -> BoxFuture<'_, Result<Vec<Reply>, Problem>> {
        async move {
            let committed = Cluster::propose(self, commands).await;
            committed
                .map(|committed| committed.replies)
                .map_err(|error| error.problem())
        }
        .boxed()
    }
}
