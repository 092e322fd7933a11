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
    pub feature_level: u32,
    pub voters_wanted: u32,
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
    pub feature_level: u32,
    pub note: Option<&'a str>,
    pub zone: Option<&'a str>,
    pub copies: Copies,
    pub scrub: Scrub,
}

/// What a node copies, as it is to have it and has not.
#[derive(Serialize, ToSchema)]
pub struct Copies {
    pub jobs: u64,
    pub bytes_left: u64,
    pub copied_bytes: u64,
    pub bytes_per_second_max: Option<u64>,
}

/// How far a node's scrub is, and what the last one found.
#[derive(Serialize, ToSchema)]
pub struct Scrub {
    pub running: bool,
    pub done_bytes: u64,
    pub total_bytes: u64,
    pub ended_unix_ms: Option<u64>,
    pub blobs: u64,
    pub damaged: u64,
    pub unread: u64,
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
            feature_level: node.feature_level,
            note: text(&node.note),
            zone: text(&node.zone),
            copies: Copies::of(node.upkeep.unwrap_or_default()),
            scrub: Scrub::of(node.upkeep.and_then(|it| it.scrub).unwrap_or_default()),
        }
    }
}

impl Copies {
    fn of(upkeep: v1::Upkeep) -> Self {
        Copies {
            jobs: upkeep.copy_jobs,
            bytes_left: upkeep.copy_bytes,
            copied_bytes: upkeep.copied_bytes,
            bytes_per_second_max: above_zero(upkeep.copy_rate),
        }
    }
}

impl Scrub {
    fn of(scrub: v1::Scrub) -> Self {
        Scrub {
            running: scrub.running,
            done_bytes: scrub.done_bytes,
            total_bytes: scrub.total_bytes,
            ended_unix_ms: above_zero(scrub.ended_unix_ms),
            blobs: scrub.blobs,
            damaged: scrub.damaged,
            unread: scrub.unread,
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
            feature_level: status.feature_level,
            voters_wanted: status.voters_wanted,
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

/// That the members were changed.
#[derive(Serialize, ToSchema)]
pub struct Changed {
    /// Whether it was so already.
    pub existed: bool,
}

/// Who leads from now on.
#[derive(Serialize, ToSchema)]
pub struct LeaderTransferred {
    pub leader_id: u64,
}

/// Who was asked to check all that it keeps.
#[derive(Serialize, ToSchema)]
pub struct ScrubBegun {
    /// Those that begin.
    pub nodes: Vec<u64>,
    /// Those that could not be reached.
    pub silent: Vec<u64>,
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

/// A token for a newcomer.
#[derive(Serialize)]
pub struct Token<'a> {
    pub token: &'a str,
    pub address: &'a str,
    pub expires_unix_ms: u64,
}

impl<'a> From<&'a v1::CreatedToken> for Token<'a> {
    fn from(created: &'a v1::CreatedToken) -> Self {
        Token {
            token: &created.token,
            address: &created.address,
            expires_unix_ms: created.expires_unix_ms,
        }
    }
}

/// How far an upgrade of the nodes is.
#[derive(Serialize, ToSchema)]
pub struct Upgrade {
    /// Up to which level the log may be written.
    pub feature_level: u32,
    /// The highest that some node can read.
    pub newest: u32,
    /// The nodes that keep the log from being written up to that.
    pub held_by: Vec<u64>,
    pub nodes: Vec<NodeLevel>,
}

/// What one node can read.
#[derive(Serialize, ToSchema)]
pub struct NodeLevel {
    pub id: u64,
    pub feature_level: u32,
    pub version: Option<String>,
    pub reachable: bool,
}

impl From<&v1::StatusResponse> for Upgrade {
    fn from(status: &v1::StatusResponse) -> Self {
        let levels = || status.nodes.iter().map(|node| node.feature_level);
        let newest = levels().max().unwrap_or(0).max(status.feature_level);
        let behind = status.nodes.iter();
        let behind = behind.filter(|node| node.feature_level < newest);
        let level = |node: &v1::NodeStatus| NodeLevel {
            id: node.id,
            feature_level: node.feature_level,
            version: text(&node.version).map(str::to_string),
            reachable: node.reachable,
        };
        Upgrade {
            feature_level: status.feature_level,
            newest,
            held_by: behind.map(|node| node.id).collect(),
            nodes: status.nodes.iter().map(level).collect(),
        }
    }
}
