//! The other nodes: where they listen, and connections to them that come up
//! when they are needed and again when they are lost.
//!
//! Raft's messages, snapshots and everything else go over connections of
//! their own, so that a long transfer never holds a heartbeat up.

use std::{
    collections::BTreeMap,
    sync::{Mutex, RwLock},
    time::Duration,
};

use reelraft_proto::{
    auth::Secret,
    v1::{self, peer_client::PeerClient},
};
use reelraft_storage::Identity;
use tokio::runtime::Handle;
use tonic::{
    Status,
    service::interceptor::InterceptedService,
    transport::{Channel, Endpoint},
};

use crate::{
    limits::{CONNECT_TIME, KEEPALIVE_EVERY, KEEPALIVE_TIME, MESSAGE_BYTES_MAX},
    watchdog::Watchdog,
};

/// A client for one peer.
pub type Client = PeerClient<InterceptedService<Channel, Secret>>;

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Line {
    /// Appends, heartbeats and votes.
    Raft,
    /// Snapshots.
    Snapshot,
    /// Proposals, read indexes and questions of identity.
    Call,
}

/// The address book with its connections.
#[derive(Debug)]
pub struct Peers {
    identity: Identity,
    secret: Secret,
    /// Configured addresses: they go before those that the log remembers.
    configured: BTreeMap<u64, String>,
    /// Addresses of members that are not configured.
    learnt: RwLock<BTreeMap<u64, String>>,
    channels: Mutex<BTreeMap<(u64, Line), (String, Channel)>>,
    /// Connections live on Raft's runtime, whoever asks for them first.
    runtime: Handle,
    /// Has the fence: behind it nothing is sent.
    watchdog: Watchdog,
}

impl Peers {
    /// The peers of a configuration.
    pub fn new(
        identity: Identity,
        secret: Secret,
        configured: BTreeMap<u64, String>,
        runtime: Handle,
        watchdog: Watchdog,
    ) -> Self {
        Peers {
            identity,
            secret,
            configured,
            learnt: RwLock::default(),
            channels: Mutex::default(),
            runtime,
            watchdog,
        }
    }

    /// Who this node is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The sender that stands in each request.
    pub fn sender(&self) -> v1::Sender {
        v1::Sender {
            cluster_id: self.identity.cluster_id.clone(),
            node: self.identity.node,
            incarnation: self.identity.incarnation.clone(),
        }
    }

    /// The configured nodes and their addresses.
    pub fn configured(&self) -> &BTreeMap<u64, String> {
        &self.configured
    }

    /// Where a node listens, if it is known.
    pub fn address(&self, node: u64) -> Option<String> {
        let learnt = || {
            let learnt = self.learnt.read().expect("no code that holds it panics");
            learnt.get(&node).cloned()
        };
        self.configured.get(&node).cloned().or_else(learnt)
    }

    /// Notes the address that a membership gives.
    pub fn learn(&self, node: u64, address: &str) {
        if !self.configured.contains_key(&node) {
            let mut learnt = self.learnt.write().expect("no code that holds it panics");
            learnt.insert(node, address.to_string());
        }
    }

    /// Refuses once this node's disk hangs: it must speak to nobody then, nor
    /// anybody to it.
    ///
    /// # Errors
    /// `UNAVAILABLE` behind the fence.
    pub fn check_fence(&self) -> Result<(), Status> {
        match self.watchdog.fenced() {
            true => Err(Status::unavailable(format!(
                "the disk of node {} hangs",
                self.identity.node
            ))),
            false => Ok(()),
        }
    }

    /// A client for a node. It connects at its first call.
    ///
    /// # Errors
    /// A status for a node without an address, or with one that is none, and
    /// behind the fence.
    pub fn client(&self, node: u64, line: Line) -> Result<Client, Status> {
        self.check_fence()?;
        let address = self
            .address(node)
            .ok_or_else(|| Status::unavailable(format!("no address is known for node {node}")))?;
        let mut channels = self.channels.lock().expect("no code that holds it panics");
        let current = channels
            .get(&(node, line))
            .filter(|(known, _)| *known == address)
            .map(|(_, channel)| channel.clone());
        let channel = match current {
            Some(channel) => channel,
            None => {
                let endpoint = Endpoint::from_shared(format!("http://{address}"))
                    .map_err(|error| {
                        Status::unavailable(format!("node {node} at {address}: {error}"))
                    })?
                    .connect_timeout(CONNECT_TIME)
                    .tcp_nodelay(true)
                    .http2_keep_alive_interval(KEEPALIVE_EVERY)
                    .keep_alive_timeout(KEEPALIVE_TIME)
                    .keep_alive_while_idle(true);
                let _runtime = self.runtime.enter();
                let channel = endpoint.connect_lazy();
                channels.insert((node, line), (address, channel.clone()));
                channel
            }
        };
        Ok(PeerClient::with_interceptor(channel, self.secret.clone())
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX))
    }
}

/// A call that must answer within `limit`.
///
/// # Errors
/// The call's own status, or one that says it took too long.
pub async fn within<T>(
    limit: Duration,
    call: impl Future<Output = Result<tonic::Response<T>, Status>>,
) -> Result<T, Status> {
    match tokio::time::timeout(limit, call).await {
        Ok(answer) => answer.map(tonic::Response::into_inner),
        Err(_) => Err(Status::deadline_exceeded(format!(
            "no answer within {} ms",
            limit.as_millis()
        ))),
    }
}
