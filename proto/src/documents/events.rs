//! The documents of events that tell of many jobs and of the cluster.

use serde::Serialize;
use utoipa::ToSchema;

use super::{field::text, job::Problem, words::job_states};
use crate::v1;

/// A job came into a state.
#[derive(Serialize, ToSchema)]
pub struct JobTurn<'a> {
    pub job: &'a str,
    pub tenant: &'a str,
    #[schema(schema_with = job_states)]
    pub state: &'a str,
    pub source_name: &'a str,
    pub output_bytes: Option<u64>,
    pub problem: Option<Problem<'a>>,
}

/// How far a job is.
#[derive(Serialize, ToSchema)]
pub struct JobProgress<'a> {
    pub job: &'a str,
    pub tenant: &'a str,
    pub shards_total: u32,
    pub shards_done: u32,
    pub shards_running: u32,
    pub frames_total: u64,
    pub frames_done: u64,
    pub speed: Option<f64>,
    pub eta_s: Option<u64>,
    pub estimated_output_bytes: Option<u64>,
}

/// Who leads, and which nodes there are.
#[derive(Serialize, ToSchema)]
pub struct ClusterNews<'a> {
    pub leader_id: Option<u64>,
    pub term: u64,
    pub nodes: Vec<NodeNews<'a>>,
}

/// A node as far as it comes and goes.
#[derive(Serialize, ToSchema)]
pub struct NodeNews<'a> {
    pub id: u64,
    pub address: &'a str,
    pub role: &'a str,
    pub reachable: bool,
    pub trouble: Option<&'a str>,
}

impl<'a> From<&'a v1::StatusResponse> for ClusterNews<'a> {
    fn from(status: &'a v1::StatusResponse) -> Self {
        let nodes = status.nodes.iter().map(|node| NodeNews {
            id: node.id,
            address: &node.address,
            role: &node.role,
            reachable: node.reachable,
            trouble: text(&node.trouble),
        });
        ClusterNews {
            leader_id: super::field::above_zero(status.leader_id),
            term: status.term,
            nodes: nodes.collect(),
        }
    }
}
