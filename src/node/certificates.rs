//! This node's certificate, and whom it trusts: kept up with the table.
//!
//! ```text
//! first start      a founding authority, of the nodes' secret, signs for each node
//! founded          the leader mints the cluster's own, which the founding one vouches
//!                  for; every node signs for itself with it, and the first one goes
//! from then on     each node renews by itself; `cluster cert rotate` has all do so at
//!                  once, with another authority or with the same
//! ```
//! Nothing is asked of another node: each has the authority in its own table.

use std::{path::PathBuf, sync::Arc, time::SystemTime};

use reelraft_consensus::Cluster;
use reelraft_model::{
    Authorities, Command, Problem, SetAuthorities, State, limits::AUTHORITIES_LEVEL,
};
use reelraft_proto::auth::Secret;
use reelraft_trust::{
    Authority, Holder, Own, Trust, TrustError, new_key, pem, public_key, sha256_hex,
};
use tokio::{sync::watch, task::spawn_blocking};
use tracing::{info, warn};

use super::{
    authorities::{self, opened},
    context::NodeContext,
};
use crate::{
    config::NodeConfig,
    limits::{CERTIFICATES_EVERY, CERTIFICATES_PAUSE},
};

/// Where the node's key and certificate are, below its data folder.
pub const OWN_FILE: &str = "tls/node.pem";

/// Where the authorities that it trusts are, for clients to be given.
const AUTHORITIES_FILE: &str = "tls/ca.pem";

/// Keeps a node's certificate.
pub struct Keeper {
    cluster: Cluster,
    data: PathBuf,
    /// Under which others find this node.
    names: Vec<String>,
    peer_secret: Secret,
    /// Whether other nodes found the cluster with this one.
    in_company: bool,
    /// The authority that the cluster is founded with, once it was asked for.
    founding: Option<Arc<Authority>>,
}

fn refused(error: &TrustError) -> Problem {
    let hint = "look at the folder `tls` in the data folder, and at this machine's clock";
    Problem::new("no-certificate", error.to_string(), hint)
}

/// The names under which this node may be called.
fn names(config: &NodeConfig) -> Vec<String> {
    let host = |address: &str| {
        let (host, _) = address.rsplit_once(':').unwrap_or((address, ""));
        host.trim_matches(['[', ']']).to_string()
    };
    let public = config.http_public.as_deref().unwrap_or_default();
    let public = public.split_once("://").map_or("", |(_, rest)| rest);
    let listens = [Some(config.listen), config.http].into_iter().flatten();
    let mut names = vec![host(&config.advertise), host(public)];
    names.extend(listens.map(|address| address.ip().to_string()));
    names.extend(["localhost", "127.0.0.1", "::1"].map(String::from));
    names.retain(|name| !name.is_empty());
    names.sort();
    names.dedup();
    names
}

impl Keeper {
    /// Gives this node a certificate before it speaks with anybody.
    ///
    /// # Errors
    /// `no-certificate`.
    pub async fn begin(config: &NodeConfig, cluster: &Cluster) -> Result<Self, Problem> {
        let mut keeper = Keeper {
            cluster: cluster.clone(),
            data: config.data.clone(),
            names: names(config),
            peer_secret: config.peer_secret.clone(),
            in_company: config.peers.len() > 1,
            founding: None,
        };
        let state = cluster.local();
        keeper
            .follow(&state)
            .await
            .map_err(|error| refused(&error))?;
        Ok(keeper)
    }

    fn trust(&self) -> &Trust {
        self.cluster.trust()
    }

    /// The authority that the cluster is founded with: the one of the nodes' secret,
    /// or of nobody's where this node is alone.
    async fn founding(&mut self) -> Result<Arc<Authority>, TrustError> {
        if let Some(founding) = &self.founding {
            return Ok(founding.clone());
        }
        let secret = self.peer_secret.text().map(String::from);
        let made = match secret {
            None if self.in_company => {
                let cause = "is what they know each other by before they have certificates: give all \
                    of them the same one, as REELRAFT_PEER_SECRET";
                return Err(TrustError::bad("a secret of the nodes", cause));
            }
            Some(secret) => spawn_blocking(move || Authority::of_secret(&secret)).await,
            None => Ok(Authority::mint(SystemTime::now())),
        };
        let made = Arc::new(made.expect("it is not aborted and does not panic")?);
        self.founding = Some(made.clone());
        Ok(made)
    }

    /// Takes over what the table says.
    async fn follow(&mut self, state: &State) -> Result<(), TrustError> {
        let authorities = state.authorities();
        let signer = match &authorities.current {
            Some(row) => Arc::new(opened(row)?),
            // A newcomer that a token let in has what it was given, until it has
            // caught up.
            None if self.take_given()? => return Ok(()),
            None => self.founding().await?,
        };
        let former = authorities.former();
        self.believe(state, &signer, former)?;
        let own = self.own(&signer, former, authorities.renewals)?;
        self.trust().change(|view| {
            view.own = Some(own);
            Ok(())
        })
    }

    /// What another node gave this one when it joined; whether it did.
    fn take_given(&self) -> Result<bool, TrustError> {
        let Some(own) = Own::load(&self.data.join(OWN_FILE))? else {
            return Ok(false);
        };
        let ours = own.holder == self.holder() && !own.is_due(SystemTime::now());
        if !ours || own.founding() {
            return Ok(false);
        }
        let roots = own.chain.get(1..).unwrap_or_default().to_vec();
        self.trust().change(|view| {
            view.own = Some(Arc::new(own));
            view.trust_only(roots)
        })?;
        Ok(true)
    }

    /// Trusts these authorities, and knows who is a member.
    fn believe(
        &self,
        state: &State,
        signer: &Authority,
        former: Option<&[u8]>,
    ) -> Result<(), TrustError> {
        let mut roots = vec![signer.certificate.clone()];
        roots.extend(former.map(|former| former.to_vec().into()));
        let members = state.nodes();
        let members = members
            .map(|node| (node.id, node.incarnation.clone()))
            .collect();
        let removed = state.removed_nodes().collect();
        let view = self.trust().view();
        let same_roots = view.roots() == roots;
        if same_roots && view.members == members && view.removed == removed {
            return Ok(());
        }
        self.trust().change(|view| {
            (view.members, view.removed) = (members, removed);
            view.trust_only(roots)
        })?;
        if !same_roots {
            let text = |root: &[u8]| pem("CERTIFICATE", root);
            let roots = self.trust().view();
            let text: String = roots.roots().iter().map(|root| text(root)).collect();
            let path = self.data.join(AUTHORITIES_FILE);
            if let Err(error) = reelraft_trust::write_file(&path, &text) {
                warn!(%error, "the authorities' file is not up to date");
            }
            info!(authority = %sha256_hex(&signer.certificate), "nodes are known by this authority");
        }
        Ok(())
    }

    fn holder(&self) -> Holder {
        let identity = self.cluster.identity();
        Holder::node(&identity.cluster_id, identity.node, &identity.incarnation)
    }

    /// The certificate to show: the one that there is, or another if its time has
    /// come.
    fn own(
        &self,
        signer: &Authority,
        former: Option<&[u8]>,
        renewals: u64,
    ) -> Result<Arc<Own>, TrustError> {
        let now = SystemTime::now();
        let between = signer.chain(former);
        let good = |own: &Own| {
            let whole = own.chain.get(1..).is_some_and(|rest| rest == between);
            own.holder == self.holder() && whole && own.renewals >= renewals && !own.is_due(now)
        };
        let held = self.trust().view().own.clone();
        if let Some(own) = held.filter(|own| good(own)) {
            return Ok(own);
        }
        let path = self.data.join(OWN_FILE);
        let stored = Own::load(&path).unwrap_or_else(|error| {
            warn!(%error, "this node makes itself another certificate");
            None
        });
        if let Some(own) = stored.filter(|own| good(own)) {
            return Ok(Arc::new(own));
        }
        let key = new_key()?;
        let first = signer.sign(&self.holder(), &self.names, &public_key(&key)?, now)?;
        let chain = [vec![first], between].concat();
        let own = Own::new(key, chain, renewals)?;
        if let Err(error) = own.store(&path) {
            warn!(%error, "this node's certificate is not on its disk");
        }
        info!(by = %signer.name, "this node has a new certificate");
        Ok(Arc::new(own))
    }

    /// Keeps up until `stop` is set.
    pub async fn keep(mut self, context: Arc<NodeContext>, mut stop: watch::Receiver<bool>) {
        let mut applied = self.cluster.applied();
        loop {
            applied.borrow_and_update();
            let state = self.cluster.local();
            if let Err(error) = self.follow(&state).await {
                warn!(%error, "this node's certificate is not up to date");
            }
            if self.cluster.leadership().borrow().leading
                && let Some(next) = self.next_authorities(&state, &context).await
            {
                let command = Command::SetAuthorities(SetAuthorities { authorities: next });
                if let Err(error) = self.cluster.propose_local(vec![command]).await {
                    warn!(%error, "the authorities stay as they are for now");
                }
            }
            drop(state);
            let changed = async {
                let _ = tokio::time::timeout(CERTIFICATES_EVERY, applied.changed()).await;
                // A table in use changes many times a second.
                tokio::time::sleep(CERTIFICATES_PAUSE).await;
            };
            tokio::select! {
                () = changed => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
        }
    }

    /// What the leader writes into the table, if there is something to write: the
    /// cluster's own authority, and later that the founding one is no more.
    async fn next_authorities(
        &mut self,
        state: &State,
        context: &NodeContext,
    ) -> Option<Authorities> {
        if state.feature_level() < AUTHORITIES_LEVEL {
            return None;
        }
        let known = state.authorities();
        let Some(current) = &known.current else {
            return self
                .first(&known)
                .await
                .inspect_err(|error| {
                    warn!(%error, "the cluster has no authority of its own yet");
                })
                .ok();
        };
        let waits = || authorities::without(state, context, &sha256_hex(&current.certificate));
        (known.founding && waits().is_empty()).then(|| {
            info!("all nodes have certificates of the cluster's own authority");
            authorities::alone(&known)
        })
    }

    async fn first(&mut self, known: &Authorities) -> Result<Authorities, TrustError> {
        let founding = self.founding().await?;
        authorities::founded(known, &founding)
    }
}
