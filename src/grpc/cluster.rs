//! The `Cluster` service.

use reelraft_proto::v1::{self, cluster_server::Cluster};
use tonic::{Request, Response, Status};

use super::{convert::wire_node, jobs::consistency};
use crate::api::{Api, ClusterStatus};

/// The `Cluster` service of one node.
#[derive(Clone)]
pub struct ClusterService {
    api: Api,
}

impl ClusterService {
    /// The service over what a client may ask.
    pub fn new(api: Api) -> Self {
        ClusterService { api }
    }
}

#[tonic::async_trait]
impl Cluster for ClusterService {
    async fn status(
        &self,
        request: Request<v1::StatusRequest>,
    ) -> Result<Response<v1::StatusResponse>, Status> {
        let local = request.into_inner().local;
        let ClusterStatus {
            cluster_id,
            leader,
            term,
            answered_by,
            applied_index,
            election_timeout_ms,
            nodes,
        } = self.api.cluster_status(consistency(local));
        Ok(Response::new(v1::StatusResponse {
            leader_id: leader.unwrap_or(0),
            term,
            answered_by,
            committed_index: applied_index,
            nodes: nodes.into_iter().map(wire_node).collect(),
            cluster_id,
            election_timeout_ms,
        }))
    }
}
