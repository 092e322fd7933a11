//! A node's place in its cluster: as its folder says, as a cluster gives it that lets
//! it in, or as it founds one itself.
//!
//! ```text
//! DATA/JOINED     what the cluster told a node that it let in: secrets, members
//! ```

use std::{collections::BTreeMap, io::ErrorKind, path::Path};

use reelraft_consensus::ClusterConfig;
use reelraft_model::{Problem, limits::FEATURE_LEVEL};
use reelraft_proto::auth::Secret;
use reelraft_storage::{
    Identity, StorageError, be_let_in, known_identity, newcomer, seal, unseal, write_secret_file,
};
use reelraft_trust::{Own, TrustError, certificates_in, new_key, public_key};
use tokio::{sync::watch, time::Instant};
use tracing::{info, warn};

use crate::{
    config::{Invitation, JOINED, NodeConfig},
    grpc::join::{NotAdmitted, ask_to_join},
    limits::{JOIN_REPORT_EVERY, JOIN_RETRY},
    node::{
        certificates::OWN_FILE,
        joining::{Admitted, Newcomer},
    },
};

/// What a node was told when it was let in.
#[derive(Debug, Default, PartialEq, Eq)]
struct Told {
    secret: String,
    peer_secret: String,
    /// Where the members listened.
    members: BTreeMap<u64, String>,
}

/// Finds a node's place, and asks to be let in where it has to. `None` where the node
/// was told to stop before it was. Secrets that the cluster told are its own from here
/// on.
///
/// # Errors
/// What the folder, the settings or the cluster refuse.
pub async fn find(
    config: &mut NodeConfig,
    stop: &mut watch::Receiver<bool>,
) -> Result<Option<ClusterConfig>, Problem> {
    let refused = |error: StorageError| Problem::new(error.kind(), error.to_string(), error.hint());
    let mut identity = known_identity(&config.data).map_err(refused)?;
    if identity.is_none()
        && let Some(invitation) = config.join.clone()
    {
        if !join(config, &invitation, stop).await? {
            return Ok(None);
        }
        identity = known_identity(&config.data).map_err(refused)?;
    }
    // A node that was given a certificate speaks by TLS, unless it is told not to.
    config.tls.on |= !config.tls.refused && config.data.join(OWN_FILE).exists();
    let told = read_told(&config.data).map_err(refused)?;
    if identity.is_none() && told.is_some() {
        let cause = "a cluster has let this disk in, and was not heard to the end";
        let hint = "start the node with --join and --token again, or empty its data folder";
        return Err(Problem::new("bad-config", cause, hint));
    }
    if let Some(told) = &told {
        take_secrets(config, told)?;
    }
    Ok(Some(settings(config, identity, told)))
}

fn settings(config: &NodeConfig, identity: Option<Identity>, told: Option<Told>) -> ClusterConfig {
    let known = identity.as_ref().map(|identity| identity.node);
    let node = config.id.or(known).unwrap_or(1);
    let mut peers = config.peers.clone();
    peers
        .entry(node)
        .or_insert_with(|| config.advertise.clone());
    let alone = config.peers.is_empty();
    let voters = match (alone, &told) {
        (false, _) => config.voters.iter().copied().collect(),
        (true, Some(_)) => Default::default(),
        (true, None) => [node].into(),
    };
    let (data, secret) = (config.data.clone(), config.peer_secret.clone());
    let mut settings = ClusterConfig::new(node, peers, voters, data, secret);
    settings.seeds = told.map(|told| told.members).unwrap_or_default();
    settings.cluster_id = match identity {
        Some(identity) => Some(identity.cluster_id),
        None => alone.then(new_cluster_id),
    };
    settings
}

/// The id of a cluster that is founded now.
pub fn new_cluster_id() -> String {
    let random: [u8; 12] = rand::random();
    let digits: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("c{digits}")
}

/// Asks until a member lets this machine in; `false` where it was told to stop first.
async fn join(
    config: &NodeConfig,
    invitation: &Invitation,
    stop: &mut watch::Receiver<bool>,
) -> Result<bool, Problem> {
    let token = invitation.token.as_ref().ok_or_else(|| {
        let cause = format!("{} lets nobody in without a token", invitation.address);
        let hint = "make one with `reelraft cluster token create` there, and give it as --token";
        Problem::new("bad-config", cause, hint)
    })?;
    let broken = |error: StorageError| Problem::new(error.kind(), error.to_string(), error.hint());
    let key = match token.authority() {
        Some(_) => Some(new_key().map_err(no_key)?),
        None => None,
    };
    let csr = key.as_deref().map(public_key).transpose().map_err(no_key)?;
    let asks = Newcomer {
        secret: token.secret().to_vec(),
        address: config.advertise.clone(),
        feature_level: FEATURE_LEVEL,
        incarnation: newcomer(&config.data).map_err(broken)?,
        csr: csr.unwrap_or_default(),
    };
    let mut reported: Option<Instant> = None;
    loop {
        let cause = match ask_to_join(&invitation.address, &asks, token.authority()).await {
            Ok(admitted) => {
                info!(
                    node = admitted.node,
                    cluster = admitted.cluster_id,
                    "let in"
                );
                if let Some(key) = key {
                    keep_certificate(&config.data, key, &admitted).map_err(no_key)?;
                }
                write_told(config, asks.incarnation, admitted).map_err(broken)?;
                return Ok(true);
            }
            Err(NotAdmitted::Refused(problem)) if !may_pass(&problem) => return Err(problem),
            Err(NotAdmitted::Refused(problem)) => problem.to_string(),
            Err(NotAdmitted::NoAnswer(cause)) => cause,
        };
        if reported.is_none_or(|at| at.elapsed() >= JOIN_REPORT_EVERY) {
            reported = Some(Instant::now());
            warn!(cause, "not let in yet, asking again");
        }
        let told = tokio::time::timeout(JOIN_RETRY, stop.wait_for(|stop| *stop)).await;
        if told.is_ok() {
            return Ok(false);
        }
    }
}

fn no_key(error: TrustError) -> Problem {
    let hint = "look at the folder `tls` in the data folder";
    Problem::new("no-certificate", error.to_string(), hint)
}

/// Keeps what the node is known by from its first word on.
fn keep_certificate(data: &Path, key: Vec<u8>, admitted: &Admitted) -> Result<(), TrustError> {
    let chain = certificates_in("the answer", admitted.certificate.as_bytes())?;
    Own::new(key, chain, 0)?.store(&data.join(OWN_FILE))
}

/// Whether a refusal is of the moment.
fn may_pass(problem: &Problem) -> bool {
    let passing = [
        "no-leader",
        "not-leader",
        "unconfirmed",
        "behind",
        "too-busy",
        "timed-out",
        "too-early",
        "stopped",
    ];
    passing.contains(&problem.kind.as_str())
}

/// What the cluster told first, as the folder is a node's once it has its identity.
fn write_told(
    config: &NodeConfig,
    incarnation: String,
    admitted: Admitted,
) -> Result<(), StorageError> {
    let told = Told {
        secret: admitted.secret,
        peer_secret: admitted.peer_secret,
        members: admitted.members,
    };
    write_secret_file(&config.data.join(JOINED), told.text().as_bytes())?;
    let identity = Identity {
        cluster_id: admitted.cluster_id,
        node: admitted.node,
        incarnation,
    };
    be_let_in(&config.data, &identity)
}

fn read_told(data: &Path) -> Result<Option<Told>, StorageError> {
    let path = data.join(JOINED);
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            let what = format!("read {}", path.display());
            return Err(StorageError::Io {
                what,
                source: error,
            });
        }
    };
    let told = Told::read(&String::from_utf8_lossy(&bytes));
    told.map(Some).ok_or(StorageError::DamagedIdentity {
        path,
        cause: "its checksum differs".to_string(),
    })
}

/// Secrets that the settings give win: all nodes may have been given others.
fn take_secrets(config: &mut NodeConfig, told: &Told) -> Result<(), Problem> {
    let bad = || {
        let hint = "empty the data folder, and let the node in anew";
        Problem::new("damaged-identity", "the secrets in JOINED are none", hint)
    };
    if !config.secret.is_set() {
        config.secret = Secret::new(&told.secret).ok_or_else(bad)?;
    }
    if !config.peer_secret.is_set() {
        config.peer_secret = Secret::new(&told.peer_secret).ok_or_else(bad)?;
    }
    config.check_door()
}

impl Told {
    fn text(&self) -> String {
        let members = self.members.iter();
        let members = members.map(|(id, address)| format!("member={id}={address}\n"));
        seal(&format!(
            "secret={}\npeer_secret={}\n{}",
            self.secret,
            self.peer_secret,
            members.collect::<String>()
        ))
    }

    fn read(text: &str) -> Option<Self> {
        let mut told = Told::default();
        for line in unseal(text)?.lines() {
            match line.split_once('=')? {
                ("secret", secret) => told.secret = secret.to_string(),
                ("peer_secret", secret) => told.peer_secret = secret.to_string(),
                ("member", member) => {
                    let (id, address) = member.split_once('=')?;
                    told.members.insert(id.parse().ok()?, address.to_string());
                }
                _ => return None,
            }
        }
        Some(told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_told_is_read_as_written_and_no_other_way() {
        let told = Told {
            secret: "a=b".into(),
            peer_secret: String::new(),
            members: [(1, "h1:7401".to_string()), (4, "[::1]:7401".to_string())].into(),
        };
        let text = told.text();
        assert_eq!(Told::read(&text), Some(told));
        assert_eq!(Told::read(&text.replace("h1", "h2")), None);
        assert_eq!(Told::read(""), None);
    }

    #[test]
    fn each_cluster_that_is_founded_has_an_id_of_its_own() {
        assert_ne!(new_cluster_id(), new_cluster_id());
    }
}
