//! What a fake node says of its cluster. It has no members to change.

use reelraft_proto::v1::{cluster_server::Cluster, *};
use tonic::{Request, Response, Status};

use crate::fake::Node;

type Changed = Result<Response<ClusterChanged>, Status>;

fn not_here<T>() -> Result<T, Status> {
    Err(Status::unimplemented("a fake node has no members"))
}

#[tonic::async_trait]
impl Cluster for Node {
    type BackupStream = tokio_stream::Empty<Result<BackupPart, Status>>;

    async fn scrub(&self, _: Request<ScrubRequest>) -> Result<Response<ScrubResponse>, Status> {
        not_here()
    }

    async fn diagnose(
        &self,
        _: Request<DiagnoseRequest>,
    ) -> Result<Response<DiagnoseResponse>, Status> {
        not_here()
    }

    async fn backup(
        &self,
        _: Request<BackupRequest>,
    ) -> Result<Response<Self::BackupStream>, Status> {
        not_here()
    }

    async fn certificates(
        &self,
        _: tonic::Request<reelraft_proto::v1::CertificatesRequest>,
    ) -> Result<tonic::Response<reelraft_proto::v1::CertificatesResponse>, tonic::Status> {
        Ok(tonic::Response::new(Default::default()))
    }

    async fn rotate_certificates(
        &self,
        _: tonic::Request<reelraft_proto::v1::RotateCertificatesRequest>,
    ) -> Result<tonic::Response<reelraft_proto::v1::CertificatesResponse>, tonic::Status> {
        Ok(tonic::Response::new(Default::default()))
    }

    async fn status(&self, _: Request<StatusRequest>) -> Result<Response<StatusResponse>, Status> {
        Ok(Response::new(StatusResponse {
            leader_id: 0,
            answered_by: self.id,
            ..Default::default()
        }))
    }

    async fn create_token(
        &self,
        _: Request<CreateTokenRequest>,
    ) -> Result<Response<CreatedToken>, Status> {
        not_here()
    }

    async fn set_voters(&self, _: Request<SetVotersRequest>) -> Changed {
        not_here()
    }

    async fn drain(&self, _: Request<DrainRequest>) -> Changed {
        not_here()
    }

    async fn remove(&self, _: Request<RemoveRequest>) -> Changed {
        not_here()
    }

    async fn create_engine(
        &self,
        _: Request<CreateEngineRequest>,
    ) -> Result<Response<CreatedEngine>, Status> {
        not_here()
    }

    async fn revoke_engine(
        &self,
        _: Request<RevokeEngineRequest>,
    ) -> Result<Response<Engine>, Status> {
        not_here()
    }

    async fn list_engines(
        &self,
        _: Request<ListEnginesRequest>,
    ) -> Result<Response<ListEnginesResponse>, Status> {
        not_here()
    }

    async fn transfer_leader(
        &self,
        _: Request<TransferLeaderRequest>,
    ) -> Result<Response<LeaderTransferred>, Status> {
        not_here()
    }
}
