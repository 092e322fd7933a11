//! The `Join` service, and a newcomer's call of it.

use reelraft_model::Problem;
use reelraft_proto::{
    dial, problem,
    v1::{self, join_client::JoinClient, join_server::Join},
};
use reelraft_trust::{Anchor, certificate_trouble};
use tonic::{Request, Response, Status};

use super::{
    convert::{model_problem, status},
    limits::{JOIN_TIME, SESSION_TIMING},
};
use crate::node::joining::{Admitted, Joining, Newcomer};

/// The `Join` service of one node.
#[derive(Clone)]
pub struct JoinService {
    joining: Joining,
}

impl JoinService {
    pub fn new(joining: Joining) -> Self {
        JoinService { joining }
    }
}

#[tonic::async_trait]
impl Join for JoinService {
    async fn join(
        &self,
        request: Request<v1::JoinRequest>,
    ) -> Result<Response<v1::JoinResponse>, Status> {
        let v1::JoinRequest {
            secret,
            address,
            feature_level,
            incarnation,
            csr,
        } = request.into_inner();
        let newcomer = Newcomer {
            secret: secret.to_vec(),
            address,
            feature_level,
            incarnation,
            csr: csr.to_vec(),
        };
        let admitted = self.joining.admit(newcomer).await.map_err(|problem| {
            tracing::warn!(%problem, "a newcomer was refused");
            status(problem)
        })?;
        let member = |(id, address)| v1::JoinMember { id, address };
        Ok(Response::new(v1::JoinResponse {
            node: admitted.node,
            cluster_id: admitted.cluster_id,
            members: admitted.members.into_iter().map(member).collect(),
            peer_secret: admitted.peer_secret,
            ca_certificate: admitted.ca_certificate,
            certificate: admitted.certificate,
            secret: admitted.secret,
        }))
    }
}

/// Why a newcomer was not let in.
#[derive(Debug)]
pub enum NotAdmitted {
    /// A member says so.
    Refused(Problem),
    /// Nobody has judged it: asking again may help.
    NoAnswer(String),
}

/// Asks a member of a cluster to let this machine in.
///
/// # Errors
/// [`NotAdmitted`].
pub async fn ask_to_join(
    address: &str,
    newcomer: &Newcomer,
    authority: Option<&str>,
) -> Result<Admitted, NotAdmitted> {
    let no_answer = |cause: String| NotAdmitted::NoAnswer(cause);
    let endpoint = dial::endpoint(address, SESSION_TIMING);
    let endpoint = endpoint.map_err(|error| no_answer(error.to_string()))?;
    // Whoever can't show the authority that the token names never sees its secret.
    let channel = match authority {
        Some(hash) => {
            let known_by = Anchor::of_hash(hash).map_err(|error| no_answer(error.to_string()))?;
            endpoint.connect_with_connector(known_by.connector()).await
        }
        None => endpoint.connect().await,
    };
    let channel = channel.map_err(|error| match certificate_trouble(&error) {
        Some(trouble) => no_answer(format!("{address} is not what the token names: {trouble}")),
        None => no_answer(format!("{address}: {error}")),
    })?;
    let newcomer = newcomer.clone();
    let request = v1::JoinRequest {
        secret: newcomer.secret.into(),
        address: newcomer.address,
        feature_level: newcomer.feature_level,
        incarnation: newcomer.incarnation,
        csr: newcomer.csr.into(),
    };
    let mut client = JoinClient::new(channel);
    let answer = dial::within(JOIN_TIME, client.join(request)).await;
    let answer = answer.map_err(|status| match problem::of_status(&status) {
        Some(problem) => NotAdmitted::Refused(model_problem(problem)),
        None => no_answer(format!("{address}: {}", status.message())),
    })?;
    let answer = answer.into_inner();
    let members = answer.members.into_iter();
    Ok(Admitted {
        node: answer.node,
        cluster_id: answer.cluster_id,
        members: members.map(|it| (it.id, it.address)).collect(),
        secret: answer.secret,
        peer_secret: answer.peer_secret,
        ca_certificate: answer.ca_certificate,
        certificate: answer.certificate,
    })
}
