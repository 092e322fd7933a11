//! The `Cluster` service.

use reelraft_model::Problem;
use reelraft_proto::v1::{self, cluster_server::Cluster};
use tonic::{Request, Response, Status};

use super::{
    convert::{status, wire_status},
    convert_authorities::{rotation, wire_certificates},
    convert_backup::{BackupParts, wire_backup},
    convert_engines::wire_engine,
    jobs::consistency,
    listener::stream_end,
    places::api_of,
};
use crate::api::{EngineView, NewEngine, NewToken, ScrubBegun, Section};

/// The `Cluster` service of one node, over what each caller may ask.
#[derive(Clone)]
pub struct ClusterService;

type Changed = Result<Response<v1::ClusterChanged>, Status>;

fn changed(existed: bool) -> Changed {
    Ok(Response::new(v1::ClusterChanged { existed }))
}

#[tonic::async_trait]
impl Cluster for ClusterService {
    type BackupStream = BackupParts;

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

    async fn create_token(
        &self,
        request: Request<v1::CreateTokenRequest>,
    ) -> Result<Response<v1::CreatedToken>, Status> {
        let api = api_of(&request)?;
        let ttl_s = request.into_inner().ttl_s;
        let NewToken {
            text,
            expires_unix_ms,
            address,
        } = api.create_token(ttl_s).await.map_err(status)?;
        Ok(Response::new(v1::CreatedToken {
            token: text.reveal(),
            expires_unix_ms,
            address,
        }))
    }

    async fn set_voters(&self, request: Request<v1::SetVotersRequest>) -> Changed {
        let api = api_of(&request)?;
        let voters = request.into_inner().voters;
        changed(api.set_voters(voters).await.map_err(status)?)
    }

    async fn drain(&self, request: Request<v1::DrainRequest>) -> Changed {
        let api = api_of(&request)?;
        let v1::DrainRequest { node, undo } = request.into_inner();
        changed(api.drain_node(node, undo).await.map_err(status)?)
    }

    async fn remove(&self, request: Request<v1::RemoveRequest>) -> Changed {
        let api = api_of(&request)?;
        let v1::RemoveRequest { node, dead } = request.into_inner();
        changed(api.remove_node(node, dead).await.map_err(status)?)
    }

    async fn transfer_leader(
        &self,
        request: Request<v1::TransferLeaderRequest>,
    ) -> Result<Response<v1::LeaderTransferred>, Status> {
        let api = api_of(&request)?;
        let node = request.into_inner().node;
        let leader_id = api.transfer_leader(node).await.map_err(status)?;
        Ok(Response::new(v1::LeaderTransferred { leader_id }))
    }

    async fn scrub(
        &self,
        request: Request<v1::ScrubRequest>,
    ) -> Result<Response<v1::ScrubResponse>, Status> {
        let api = api_of(&request)?;
        let node = request.into_inner().node;
        let ScrubBegun { nodes, silent } = api.begin_scrub(node).await.map_err(status)?;
        Ok(Response::new(v1::ScrubResponse { nodes, silent }))
    }

    async fn diagnose(
        &self,
        request: Request<v1::DiagnoseRequest>,
    ) -> Result<Response<v1::DiagnoseResponse>, Status> {
        let api = api_of(&request)?;
        let names = request.into_inner().names;
        let sections = api.diagnose(names).await.map_err(status)?.into_iter();
        let wire = |Section { name, text }| v1::DiagnoseSection {
            name: name.to_string(),
            text,
        };
        Ok(Response::new(v1::DiagnoseResponse {
            sections: sections.map(wire).collect(),
        }))
    }

    async fn backup(
        &self,
        request: Request<v1::BackupRequest>,
    ) -> Result<Response<Self::BackupStream>, Status> {
        let api = api_of(&request)?;
        let v1::BackupRequest {
            media,
            to,
            overwrite,
        } = request.into_inner();
        let parts = match to.is_empty() {
            true => api.backup(&media),
            false => api.backup_to(&media, &to, overwrite).await,
        };
        let parts = parts.map_err(status)?;
        parts.on_stall(stream_end());
        Ok(Response::new(wire_backup(parts)))
    }

    async fn create_engine(
        &self,
        request: Request<v1::CreateEngineRequest>,
    ) -> Result<Response<v1::CreatedEngine>, Status> {
        let api = api_of(&request)?;
        let name = request.into_inner().name;
        let NewEngine {
            engine,
            text,
            server,
        } = api.create_engine(&name).await.map_err(status)?;
        Ok(Response::new(v1::CreatedEngine {
            engine: Some(wire_engine(EngineView {
                engine,
                status: None,
            })),
            token: text.reveal(),
            server,
        }))
    }

    async fn revoke_engine(
        &self,
        request: Request<v1::RevokeEngineRequest>,
    ) -> Result<Response<v1::Engine>, Status> {
        let api = api_of(&request)?;
        let name = request.into_inner().name;
        let revoked = api.revoke_engine(&name).await.map_err(status)?;
        Ok(Response::new(wire_engine(revoked)))
    }

    async fn list_engines(
        &self,
        request: Request<v1::ListEnginesRequest>,
    ) -> Result<Response<v1::ListEnginesResponse>, Status> {
        let engines = api_of(&request)?.engines().await.map_err(status)?;
        Ok(Response::new(v1::ListEnginesResponse {
            engines: engines.into_iter().map(wire_engine).collect(),
        }))
    }
}
