//! The `Cluster` service.

use reelraft_proto::v1::{self, cluster_server::Cluster};
use tonic::{Request, Response, Status};

use super::{convert::wire_status, jobs::consistency, places::api_of};

/// The `Cluster` service of one node, over what each caller may ask.
#[derive(Clone)]
pub struct ClusterService;

#[tonic::async_trait]
impl Cluster for ClusterService {
    async fn status(
        &self,
        request: Request<v1::StatusRequest>,
    ) -> Result<Response<v1::StatusResponse>, Status> {
        let api = api_of(&request)?;
        let local = request.into_inner().local;
        let status = api.cluster_status(consistency(local));
        Ok(Response::new(wire_status(status)))
    }
}
