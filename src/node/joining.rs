//! Letting a machine in: what a member does when a newcomer shows it a token.

use std::{collections::BTreeMap, sync::Arc, time::SystemTime};

use reelraft_model::{AdmitNode, Command, Problem, check_address, limits::NODES_MAX, token_digest};
use reelraft_proto::auth::Secret;

use reelraft_trust::{Holder, pem};

use super::{authorities::opened, context::NodeContext};
use crate::clock::unix_ms;

/// What a newcomer says of itself. Nothing shows it: its secret lets a machine in.
#[derive(Clone, Default, PartialEq)]
pub struct Newcomer {
    /// The secret of its token.
    pub secret: Vec<u8>,
    /// Where it will listen, as `host:port`.
    pub address: String,
    /// Up to which level it can read the log.
    pub feature_level: u32,
    /// Random, drawn for its disk.
    pub incarnation: String,
    /// The public key that it wants a certificate for: a point of P-256; empty without
    /// TLS.
    pub csr: Vec<u8>,
}

/// What a newcomer is told. Nothing shows it: the cluster's secrets are in it.
#[derive(Clone, Default, PartialEq)]
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
            incarnation: newcomer.incarnation.clone(),
            address: newcomer.address.clone(),
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
        let (ca_certificate, certificate) = self.certify(node, &newcomer)?;
        tracing::info!(node, "a newcomer was let in");
        Ok(Admitted {
            node,
            cluster_id: cluster.identity().cluster_id.clone(),
            members: members.map(|it| (it.id, it.address)).collect(),
            secret: text(&config.secret),
            peer_secret: text(&config.peer_secret),
            ca_certificate,
            certificate,
        })
    }

    /// The authority's certificate and the newcomer's own, with what leads from one to
    /// the other; both empty without TLS.
    fn certify(&self, node: u64, newcomer: &Newcomer) -> Result<(String, String), Problem> {
        let cluster = &self.context.cluster;
        if !cluster.trust().is_on() {
            return Ok(Default::default());
        }
        let authorities = cluster.local().authorities();
        let current = authorities.current.as_ref().ok_or_else(no_authority)?;
        let holder = Holder::node(&cluster.identity().cluster_id, node, &newcomer.incarnation);
        let host = newcomer
            .address
            .rsplit_once(':')
            .map_or("", |(host, _)| host);
        let names = [
            host.trim_matches(['[', ']']).to_string(),
            "localhost".into(),
        ];
        let signed = opened(current).and_then(|signer| {
            let own = signer.sign(&holder, &names, &newcomer.csr, SystemTime::now())?;
            Ok([vec![own], signer.chain(authorities.former())].concat())
        });
        let chain = signed.map_err(|error| {
            let hint = "give the newcomer a token of this cluster, and TLS";
            Problem::new("bad-request", error.to_string(), hint)
        })?;
        let text = |der: &[u8]| pem("CERTIFICATE", der);
        let chain = chain.iter().map(|der| text(der)).collect();
        Ok((text(&current.certificate), chain))
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

fn no_authority() -> Problem {
    let cause = "the cluster has no authority of its own yet";
    let hint = "wait a moment, until its nodes have certificates";
    Problem::new("too-early", cause, hint)
}
