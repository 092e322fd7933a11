//! The other nodes: their addresses, and connections to them, which are made
//! when first needed and remade when lost.
//!
//! Raft's messages, snapshots and other calls each have a connection of their
//! own, so that a long transfer never delays a heartbeat.

use std::{
    collections::BTreeMap,
    sync::{Mutex, RwLock},
    time::Duration,
};

use reelraft_model::Problem;
use reelraft_proto::{
    auth::Secret,
    dial::{self, Timing},
    problem,
    v1::{self, peer_client::PeerClient},
};
use reelraft_storage::Identity;
use reelraft_trust::{Holder, Trust};
use tokio::{runtime::Handle, sync::watch};
use tonic::{Status, service::interceptor::InterceptedService, transport::Channel};

use crate::{
    limits::{CONNECT_TIME, KEEPALIVE_EVERY, KEEPALIVE_TIME, MESSAGE_BYTES_MAX},
    pace::quorum_round_trip,
    watchdog::Watchdog,
};

const TIMING: Timing = Timing {
    connect: CONNECT_TIME,
    keepalive_every: KEEPALIVE_EVERY,
    keepalive_timeout: KEEPALIVE_TIME,
};

pub type Client = PeerClient<InterceptedService<Channel, Secret>>;

/// What a connection carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChannelKind {
    /// Appends, heartbeats and votes.
    Raft,
    Snapshot,
    /// Proposals, read indexes and questions of identity.
    Call,
}

/// The address book and the open connections.
#[derive(Debug)]
pub struct Peers {
    identity: Identity,
    secret: Secret,
    trust: Trust,
    /// Configured addresses. They win over those that the log remembers.
    configured: BTreeMap<u64, String>,
    /// Where others listened when this node was let in.
    seeds: BTreeMap<u64, String>,
    /// Addresses of members that are not configured here; none for one whose place
    /// another has taken.
    learned: RwLock<BTreeMap<u64, Option<String>>>,
    /// Set once another node says that this one was removed.
    removed: watch::Sender<bool>,
    channels: Mutex<BTreeMap<(u64, ChannelKind), (String, Channel)>>,
    /// How long nodes took to answer the last heartbeat, until it is taken.
    round_trips: Mutex<BTreeMap<u64, Duration>>,
    /// Connections live on Raft's runtime, whoever uses them first.
    runtime: Handle,
    /// Holds the fence: once it is closed, nothing is sent.
    watchdog: Watchdog,
}

impl Peers {
    pub fn new(
        identity: Identity,
        (secret, trust): (Secret, Trust),
        (configured, seeds): (BTreeMap<u64, String>, BTreeMap<u64, String>),
        runtime: Handle,
        watchdog: Watchdog,
    ) -> Self {
        Peers {
            identity,
            secret,
            trust,
            configured,
            seeds,
            learned: RwLock::default(),
            removed: watch::Sender::new(false),
            channels: Mutex::default(),
            round_trips: Mutex::default(),
            runtime,
            watchdog,
        }
    }

    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    pub fn trust(&self) -> &Trust {
        &self.trust
    }

    /// Refuses a sender who says that it is another than its certificate does.
    ///
    /// # Errors
    /// `UNAUTHENTICATED`.
    pub fn check_sender(&self, holder: Option<&Holder>, sender: &v1::Sender) -> Result<(), Status> {
        let named = Holder::node(&sender.cluster_id, sender.node, &sender.incarnation);
        match holder {
            Some(holder) if *holder != named => {
                let cause = format!("{holder} says that it is {named}");
                self.trust.refuse(&cause);
                Err(Status::unauthenticated(cause))
            }
            _ => Ok(()),
        }
    }

    /// This node, as each request names it.
    pub fn sender(&self) -> v1::Sender {
        v1::Sender {
            cluster_id: self.identity.cluster_id.clone(),
            node: self.identity.node,
            incarnation: self.identity.incarnation.clone(),
        }
    }

    /// The nodes that this one was told of at its start, with their addresses.
    pub fn first_known(&self) -> BTreeMap<u64, String> {
        let mut known = self.seeds.clone();
        known.extend(self.configured.clone());
        known
    }

    /// Where a node listens, if that is known.
    pub fn address(&self, node: u64) -> Option<String> {
        if let Some(configured) = self.configured.get(&node) {
            return Some(configured.clone());
        }
        let learned = self.learned.read().expect("no holder of this lock panics");
        match learned.get(&node) {
            Some(known) => known.clone(),
            None => self.seeds.get(&node).cloned(),
        }
    }

    /// Remembers where a new member listens, unless more is known of it.
    pub fn learn(&self, node: u64, address: &str) {
        let mut learned = self.learned.write().expect("no holder of this lock panics");
        learned
            .entry(node)
            .or_insert_with(|| Some(address.to_string()));
    }

    /// Takes over what the table says of where nodes listen: none for those whose
    /// place another has taken.
    pub fn learn_all(&self, known: BTreeMap<u64, Option<String>>) {
        let mut learned = self.learned.write().expect("no holder of this lock panics");
        learned.extend(known);
    }

    /// Whether this node was removed from the cluster.
    pub fn removed(&self) -> &watch::Sender<bool> {
        &self.removed
    }

    /// Looks at why another node refuses: one that says that this one was removed
    /// ends it.
    pub fn note_refusal(&self, status: &Status) {
        let refused = problem::of_status(status);
        let told = refused.is_some_and(|problem| problem.kind == Problem::NODE_REMOVED);
        // By TLS nobody gets as far as being told in words.
        if told || reelraft_trust::was_revoked(status) {
            self.removed.send_replace(true);
        }
    }

    /// Notes how long a node took to answer a heartbeat.
    pub fn note_round_trip(&self, node: u64, time: Duration) {
        let mut times = self
            .round_trips
            .lock()
            .expect("no holder of this lock panics");
        times.insert(node, time);
    }

    /// Takes what was noted since enough of the voters had answered last, if
    /// they have again.
    pub fn take_quorum_round_trip(&self, voters: &[u64]) -> Option<Duration> {
        let mut times = self
            .round_trips
            .lock()
            .expect("no holder of this lock panics");
        let others = times.iter().filter(|(node, _)| voters.contains(node));
        let others: Vec<Duration> = others.map(|(_, time)| *time).collect();
        let quorum = quorum_round_trip(others, voters.len());
        if quorum.is_some() {
            times.clear();
        }
        quorum
    }

    /// Refuses once this node's disk hangs: from then on it neither sends nor
    /// answers.
    ///
    /// # Errors
    /// `UNAVAILABLE` once the fence is closed.
    pub fn check_fence(&self) -> Result<(), Status> {
        match self.watchdog.fenced() {
            true => Err(Status::unavailable(format!(
                "the disk of node {} hangs",
                self.identity.node
            ))),
            false => Ok(()),
        }
    }

    /// A client for a node. It connects with its first call.
    ///
    /// # Errors
    /// `UNAVAILABLE` for a node without a usable address, and once the fence is
    /// closed.
    pub fn client(&self, node: u64, kind: ChannelKind) -> Result<Client, Status> {
        self.check_fence()?;
        let address = self
            .address(node)
            .ok_or_else(|| Status::unavailable(format!("no address is known for node {node}")))?;
        let mut channels = self.channels.lock().expect("no holder of this lock panics");
        let current = channels
            .get(&(node, kind))
            .filter(|(known, _)| *known == address)
            .map(|(_, channel)| channel.clone());
        let channel = match current {
            Some(channel) => channel,
            None => {
                let channel = self.channel(&address, Some(node))?;
                channels.insert((node, kind), (address, channel.clone()));
                channel
            }
        };
        Ok(self.client_of(channel))
    }

    /// A client for whoever listens at an address.
    ///
    /// # Errors
    /// `UNAVAILABLE` for what is no address.
    pub fn client_at(&self, address: &str) -> Result<Client, Status> {
        self.channel(address, None)
            .map(|channel| self.client_of(channel))
    }

    fn channel(&self, address: &str, node: Option<u64>) -> Result<Channel, Status> {
        let endpoint = dial::endpoint(address, TIMING)
            .map_err(|error| Status::unavailable(error.to_string()))?;
        let _runtime = self.runtime.enter();
        Ok(self.trust.channel_lazy(&endpoint, node))
    }

    fn client_of(&self, channel: Channel) -> Client {
        PeerClient::with_interceptor(channel, self.secret.clone())
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX)
    }
}

/// The answer to a call, if it comes within `limit`.
///
/// # Errors
/// The call's own status, or `DEADLINE_EXCEEDED`.
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
