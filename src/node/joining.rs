//! Letting a machine in: what a member does when a newcomer shows it a token.

use std::{collections::BTreeMap, sync::Arc};

use reelraft_model::{AdmitNode, Command, Problem, check_address, limits::NODES_MAX, token_digest};
use reelraft_proto::auth::Secret;

use super::context::NodeContext;
use crate::clock::unix_ms;

/// What a newcomer says of itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Newcomer {
    /// The secret of its token.
    pub secret: Vec<u8>,
    /// Where it will listen, as `host:port`.
    pub address: String,
    /// Up to which level it can read the log.
    pub feature_level: u32,
    /// Random, drawn for its disk.
    pub incarnation: String,
    /// A certificate signing request (DER); empty without TLS.
    pub csr: Vec<u8>,
}

/// What a newcomer is told.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Admitted {
    pub node: u64,
    pub cluster_id: String,
    /// The members, with where they listen.
    pub members: BTreeMap<u64, String>,
    /// What clients know; empty where they need no secret.
    pub secret: String,
    /// What nodes alone know; empty where they need no secret.
    pub peer_secret: String,
    /// The certificate of the cluster's authority (PEM); empty without TLS.
    pub ca_certificate: String,
    /// The newcomer's own certificate (PEM); empty without TLS.
    pub certificate: String,
}

/// Lets newcomers in on behalf of one node.
#[derive(Clone)]
pub struct Joining {
    context: Arc<NodeContext>,
}

impl Joining {
    pub fn new(context: Arc<NodeContext>) -> Self {
        Joining { context }
    }

    /// Lets a newcomer in by its token. The same disk is told the same again.
    ///
    /// # Errors
    /// `bad-request` for an address that nobody can reach, `address-taken`, the table's
    /// refusals of the token and of the newcomer, and what keeps the cluster from
    /// writing.
    pub async fn admit(&self, newcomer: Newcomer) -> Result<Admitted, Problem> {
        let cluster = &self.context.cluster;
        // Whoever has none costs the log nothing.
        self.check_token(&newcomer).await?;
        check_address(&newcomer.address)?;
        self.check_nobody_at(&newcomer).await?;
        let command = Command::AdmitNode(AdmitNode {
            digest: token_digest(&newcomer.secret),
            incarnation: newcomer.incarnation,
            address: newcomer.address,
            feature_level: newcomer.feature_level,
            unix_ms: unix_ms(),
            above: cluster.highest_configured(),
            nodes_max: NODES_MAX,
        });
        let committed = cluster.propose(vec![command]).await;
        let committed = committed.map_err(|error| error.problem())?;
        let reply = committed.replies.into_iter().next().unwrap_or_default();
        let node = reply.accepted()?.node;
        let members = cluster.members().into_iter();
        let members = members.filter(|member| !member.address.is_empty());
        let text = |secret: &Secret| secret.text().unwrap_or_default().to_string();
        let config = &self.context.config;
        tracing::info!(node, "a newcomer was let in");
        Ok(Admitted {
            node,
            cluster_id: cluster.identity().cluster_id.clone(),
            members: members.map(|it| (it.id, it.address)).collect(),
            secret: text(&config.secret),
            peer_secret: text(&config.peer_secret),
            ca_certificate: String::new(),
            certificate: String::new(),
        })
    }

    /// Refuses whoever has no token of use: before this node calls at the address that
    /// it is given, as it names the nodes' secret there.
    async fn check_token(&self, newcomer: &Newcomer) -> Result<(), Problem> {
        let digest = token_digest(&newcomer.secret);
        // It may have been made, or used, a moment ago by another node.
        let state = self.context.cluster.read().await;
        let state = state.map_err(|error| error.problem())?;
        let Newcomer {
            incarnation,
            address,
            ..
        } = newcomer;
        let invited = state.invitation(&digest, incarnation, address, unix_ms());
        invited.map(drop)
    }

    /// Refuses an address at which another node answers: both would be taken for one.
    async fn check_nobody_at(&self, newcomer: &Newcomer) -> Result<(), Problem> {
        let cluster = &self.context.cluster;
        let Some(other) = cluster.node_at(&newcomer.address).await else {
            return Ok(());
        };
        let known = cluster.local().incarnation_of(other);
        if known.as_ref() == Some(&newcomer.incarnation) {
            return Ok(());
        }
        Err(Problem::new(
            "address-taken",
            format!("node {other} listens at {}", newcomer.address),
            "say with --listen and --advertise where the other nodes reach the newcomer",
        ))
    }
}
