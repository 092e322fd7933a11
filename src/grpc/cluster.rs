//! The `Cluster` service.

use reelraft_proto::v1::{self, cluster_server::Cluster};
use tonic::{Request, Response, Status};

use super::{
    convert::{status, wire_status},
    convert_authorities::{rotation, wire_certificates},
    jobs::consistency,
    places::api_of,
};
use reelraft_model::Problem;

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
        let found = api.cluster_status(consistency(local));
        Ok(Response::new(wire_status(found)))
    }

    async fn certificates(
        &self,
        request: Request<v1::CertificatesRequest>,
    ) -> Result<Response<v1::CertificatesResponse>, Status> {
        let view = api_of(&request)?.certificates();
        Ok(Response::new(wire_certificates(view)))
    }

    async fn rotate_certificates(
        &self,
        request: Request<v1::RotateCertificatesRequest>,
    ) -> Result<Response<v1::CertificatesResponse>, Status> {
        let api = api_of(&request)?;
        let what = rotation(&request.into_inner()).ok_or_else(|| {
            let hint = "ask with a program of this version";
            status(Problem::new(
                "bad-request",
                "nobody knows what to rotate",
                hint,
            ))
        })?;
        let view = api.rotate_certificates(what).await.map_err(status)?;
        Ok(Response::new(wire_certificates(view)))
    }
}
