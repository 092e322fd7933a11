//! The documents of the cluster and its nodes.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::field::{above_zero, text};
use crate::v1;

/// The cluster as one node sees it.
#[derive(Serialize, ToSchema)]
pub struct Status<'a> {
    pub leader_id: Option<u64>,
    pub term: u64,
    pub answered_by: u64,
    pub committed_index: u64,
    pub cluster_id: &'a str,
    pub election_timeout_ms: u64,
    pub nodes: Vec<Node<'a>>,
}

/// One node.
#[derive(Serialize, ToSchema)]
pub struct Node<'a> {
    pub id: u64,
    pub address: &'a str,
    pub http: Option<&'a str>,
    pub role: &'a str,
    pub reachable: bool,
    pub pid: Option<u32>,
    pub load_milli: u32,
    pub slots: u32,
    pub slots_busy: u32,
    pub disk_free_bytes: u64,
    pub disk_total_bytes: u64,
    pub build: Option<&'a str>,
    pub build_words: Option<&'a str>,
    pub lacks: Vec<Lack<'a>>,
    pub speeds: BTreeMap<&'a str, u64>,
    pub memory_mib: Option<u64>,
    pub applied_index: u64,
    pub incarnation: Option<&'a str>,
    pub version: Option<&'a str>,
    pub trouble: Option<&'a str>,
}

/// Something that a node can't make.
#[derive(Serialize, ToSchema)]
pub struct Lack<'a> {
    pub what: &'a str,
    pub why: &'a str,
}

impl<'a> From<&'a v1::Lack> for Lack<'a> {
    fn from(lack: &'a v1::Lack) -> Self {
        Lack {
            what: &lack.what,
            why: &lack.why,
        }
    }
}

impl<'a> From<&'a v1::NodeStatus> for Node<'a> {
    fn from(node: &'a v1::NodeStatus) -> Self {
        Node {
            id: node.id,
            address: &node.address,
            http: text(&node.http),
            role: &node.role,
            reachable: node.reachable,
            pid: above_zero(node.pid),
            load_milli: node.load_milli,
            slots: node.slots,
            slots_busy: node.slots_busy,
            disk_free_bytes: node.disk_free_bytes,
            disk_total_bytes: node.disk_total_bytes,
            build: text(&node.build),
            build_words: text(&node.build_words),
            lacks: node.lacks.iter().map(Lack::from).collect(),
            speeds: (node.speeds.iter())
                .map(|(codec, speed)| (codec.as_str(), *speed))
                .collect(),
            memory_mib: above_zero(node.memory_mib),
            applied_index: node.applied_index,
            incarnation: text(&node.incarnation),
            version: text(&node.version),
            trouble: text(&node.trouble),
        }
    }
}

impl<'a> From<&'a v1::StatusResponse> for Status<'a> {
    fn from(status: &'a v1::StatusResponse) -> Self {
        Status {
            leader_id: above_zero(status.leader_id),
            term: status.term,
            answered_by: status.answered_by,
            committed_index: status.committed_index,
            cluster_id: &status.cluster_id,
            election_timeout_ms: status.election_timeout_ms,
            nodes: status.nodes.iter().map(Node::from).collect(),
        }
    }
}

/// All nodes.
#[derive(Serialize, ToSchema)]
pub struct Nodes<'a> {
    pub nodes: Vec<Node<'a>>,
}

impl<'a> From<&'a v1::StatusResponse> for Nodes<'a> {
    fn from(status: &'a v1::StatusResponse) -> Self {
        Nodes {
            nodes: status.nodes.iter().map(Node::from).collect(),
        }
    }
}

/// The leader.
#[derive(Serialize, ToSchema)]
pub struct Leader<'a> {
    pub leader_id: u64,
    pub term: u64,
    pub address: Option<&'a str>,
}

impl<'a> From<&'a v1::StatusResponse> for Leader<'a> {
    fn from(status: &'a v1::StatusResponse) -> Self {
        let leader = status.nodes.iter().find(|node| node.id == status.leader_id);
        Leader {
            leader_id: status.leader_id,
            term: status.term,
            address: leader.map(|node| node.address.as_str()),
        }
    }
}
