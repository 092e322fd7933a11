//! The `Cluster` service: who is who, from the members, this node's own
//! knowledge and the leader's last word on liveness.

use std::{collections::BTreeMap, sync::Arc};

use reelraft_proto::v1::{self, cluster_server};
use tonic::{Request, Response, Status};

use crate::node::{Shared, view::View};

/// The `Cluster` service.
#[derive(Clone)]
pub struct ClusterFace {
    shared: Arc<Shared>,
    view: Arc<View>,
}

impl ClusterFace {
    /// The service of this node.
    pub fn new(shared: Arc<Shared>, view: Arc<View>) -> Self {
        ClusterFace { shared, view }
    }
}

#[tonic::async_trait]
impl cluster_server::Cluster for ClusterFace {
    async fn status(
        &self,
        request: Request<v1::StatusRequest>,
    ) -> Result<Response<v1::StatusResponse>, Status> {
        let local = request.into_inner().local;
        let cluster = &self.shared.cluster;
        let identity = cluster.identity();
        let leadership = cluster.leadership().borrow().clone();
        let told = if local { None } else { self.view.fresh() };
        let known: BTreeMap<u64, v1::NodeStatus> = told
            .into_iter()
            .flat_map(|view| view.nodes)
            .map(|node| (node.id, node))
            .collect();
        let nodes = cluster.members().into_iter().map(|member| {
            let mut node = known.get(&member.id).cloned().unwrap_or_default();
            node.id = member.id;
            node.address = member.address;
            node.role = match (leadership.leader == Some(member.id), member.voter) {
                (true, _) => "leader",
                (false, true) => "voter",
                (false, false) => "learner",
            }
            .to_string();
            if member.id == identity.node {
                node.reachable = true;
                node.pid = std::process::id();
                node.slots = self.shared.config.slots;
                node.build = self.shared.build();
                node.applied_index = *cluster.applied().borrow();
                node.incarnation = identity.incarnation.clone();
                node.version = env!("CARGO_PKG_VERSION").to_string();
            }
            node
        });
        Ok(Response::new(v1::StatusResponse {
            leader_id: leadership.leader.unwrap_or(0),
            term: leadership.term,
            answered_by: identity.node,
            committed_index: *cluster.applied().borrow(),
            nodes: nodes.collect(),
            cluster_id: identity.cluster_id.clone(),
        }))
    }
}
