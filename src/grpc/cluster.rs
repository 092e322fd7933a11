//! The `Cluster` service.

use reelraft_proto::v1::{self, cluster_server::Cluster};
use tonic::{Request, Response, Status};

use super::{convert::wire_status, jobs::consistency};
use crate::api::Api;

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
        let status = self.api.cluster_status(consistency(local));
        Ok(Response::new(wire_status(status)))
    }
}
