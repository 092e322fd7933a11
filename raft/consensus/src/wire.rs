//! openraft's types as ours, for peers and for the disk. The protocol's
//! messages are the one layout; nothing depends on how a library lays out
//! its memory.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use openraft::{
    BasicNode, EntryPayload,
    entry::RaftEntry,
    raft::{
        AppendEntriesRequest, AppendEntriesResponse, TransferLeaderRequest, VoteRequest,
        VoteResponse,
    },
    vote::RaftLeaderIdExt,
};
use prost::Message;
use reelraft_proto::v1;
use reelraft_storage::{LogPosition, LogRecord};

use crate::types::{Entry, EntryBytes, LogId, Membership, StoredMembership, TypeConfig, Vote};

type LeaderId = openraft::alias::LeaderIdOf<TypeConfig>;

/// Bytes or a message that no version of ours has written.
#[derive(Debug, Clone, thiserror::Error)]
#[error("a message can't be understood: {0}")]
pub struct Garbled(pub &'static str);

impl From<Garbled> for tonic::Status {
    fn from(garbled: Garbled) -> Self {
        tonic::Status::invalid_argument(garbled.to_string())
    }
}

pub fn position(id: &LogId) -> LogPosition {
    LogPosition {
        term: id.committed_leader_id().term,
        node: id.committed_leader_id().node_id,
        index: id.index(),
    }
}

pub fn log_id(at: LogPosition) -> LogId {
    LogId::new(LeaderId::new_committed(at.term, at.node), at.index)
}

pub fn log_id_out(id: &LogId) -> v1::LogId {
    let at = position(id);
    v1::LogId {
        term: at.term,
        node: at.node,
        index: at.index,
    }
}

pub fn log_id_in(id: &v1::LogId) -> LogId {
    log_id(LogPosition {
        term: id.term,
        node: id.node,
        index: id.index,
    })
}

pub fn vote_out(vote: &Vote) -> v1::RaftVote {
    v1::RaftVote {
        term: vote.leader_id.term,
        node: vote.leader_id.node_id,
        committed: vote.committed,
    }
}

pub fn vote_in(vote: &v1::RaftVote) -> Vote {
    if vote.committed {
        Vote::new_committed(vote.term, vote.node)
    } else {
        Vote::new(vote.term, vote.node)
    }
}

pub fn vote_to_disk(vote: &Vote) -> reelraft_storage::Vote {
    reelraft_storage::Vote {
        term: vote.leader_id.term,
        node: vote.leader_id.node_id,
        committed: vote.committed,
    }
}

pub fn vote_from_disk(vote: reelraft_storage::Vote) -> Vote {
    vote_in(&v1::RaftVote {
        term: vote.term,
        node: vote.node,
        committed: vote.committed,
    })
}

fn membership_out(membership: &Membership) -> v1::Membership {
    let configs = membership.get_joint_config().iter();
    v1::Membership {
        configs: configs
            .map(|voters| v1::MemberConfig {
                voters: voters.iter().copied().collect(),
            })
            .collect(),
        members: membership
            .nodes()
            .map(|(id, node)| v1::Member {
                id: *id,
                address: node.addr.clone(),
            })
            .collect(),
    }
}

fn membership_in(membership: &v1::Membership) -> Result<Membership, Garbled> {
    let configs: Vec<BTreeSet<u64>> = membership
        .configs
        .iter()
        .map(|config| config.voters.iter().copied().collect())
        .collect();
    let nodes: BTreeMap<u64, BasicNode> = membership
        .members
        .iter()
        .map(|member| (member.id, BasicNode::new(&member.address)))
        .collect();
    Membership::new(configs, nodes).map_err(|_| Garbled("a membership without its nodes"))
}

fn payload_out(entry: &Entry) -> v1::log_entry::Payload {
    use v1::log_entry::Payload;
    match &entry.payload {
        EntryPayload::Blank => Payload::Blank(true),
        EntryPayload::Normal(bytes) => Payload::Command(bytes.0.clone()),
        EntryPayload::Membership(membership) => Payload::Membership(membership_out(membership)),
    }
}

pub fn entry_out(entry: &Entry) -> v1::LogEntry {
    v1::LogEntry {
        log_id: Some(log_id_out(&entry.log_id())),
        payload: Some(payload_out(entry)),
    }
}

pub fn entry_in(entry: v1::LogEntry) -> Result<Entry, Garbled> {
    let id = entry.log_id.ok_or(Garbled("an entry without its place"))?;
    entry_at(log_id_in(&id), entry.payload)
}

fn entry_at(id: LogId, payload: Option<v1::log_entry::Payload>) -> Result<Entry, Garbled> {
    use v1::log_entry::Payload;
    let payload = match payload.ok_or(Garbled("an entry of an unknown kind"))? {
        Payload::Blank(_) => EntryPayload::Blank,
        Payload::Command(bytes) => EntryPayload::Normal(EntryBytes(bytes)),
        Payload::Membership(membership) => EntryPayload::Membership(membership_in(&membership)?),
    };
    Ok(Entry::new(id, payload))
}

/// An entry for the disk; its place stands beside it there.
pub fn entry_to_disk(entry: &Entry) -> LogRecord {
    let message = v1::LogEntry {
        log_id: None,
        payload: Some(payload_out(entry)),
    };
    LogRecord {
        position: position(&entry.log_id()),
        payload: message.encode_to_vec().into(),
    }
}

pub fn entry_from_disk(record: LogRecord) -> Result<Entry, Garbled> {
    let message = v1::LogEntry::decode(record.payload)
        .map_err(|_| Garbled("an entry on the disk that is none"))?;
    entry_at(log_id(record.position), message.payload)
}

/// The membership and where it stands in the log, for table and snapshot.
pub fn membership_to_disk(stored: &StoredMembership) -> Vec<u8> {
    let message = v1::LogEntry {
        log_id: stored.log_id().as_ref().map(log_id_out),
        payload: Some(v1::log_entry::Payload::Membership(membership_out(
            stored.membership(),
        ))),
    };
    message.encode_to_vec()
}

pub fn membership_from_disk(bytes: &[u8]) -> Result<StoredMembership, Garbled> {
    if bytes.is_empty() {
        return Ok(StoredMembership::default());
    }
    let message = v1::LogEntry::decode(bytes).map_err(|_| Garbled("a membership that is none"))?;
    match message.payload {
        Some(v1::log_entry::Payload::Membership(membership)) => Ok(StoredMembership::new(
            message.log_id.as_ref().map(log_id_in),
            membership_in(&membership)?,
        )),
        _ => Err(Garbled("a membership that is none")),
    }
}

pub fn append_out(request: &AppendEntriesRequest<TypeConfig>, entries: usize) -> v1::AppendBody {
    v1::AppendBody {
        vote: Some(vote_out(&request.vote)),
        prev: request.prev_log_id.as_ref().map(log_id_out),
        entries: request.entries[..entries].iter().map(entry_out).collect(),
        leader_commit: request.leader_commit.as_ref().map(log_id_out),
    }
}

pub fn append_in(body: v1::AppendBody) -> Result<AppendEntriesRequest<TypeConfig>, Garbled> {
    Ok(AppendEntriesRequest {
        vote: vote_in(&body.vote.ok_or(Garbled("an append without a vote"))?),
        prev_log_id: body.prev.as_ref().map(log_id_in),
        entries: body
            .entries
            .into_iter()
            .map(entry_in)
            .collect::<Result<_, _>>()?,
        leader_commit: body.leader_commit.as_ref().map(log_id_in),
    })
}

pub fn append_answer_out(answer: &AppendEntriesResponse<TypeConfig>) -> v1::AppendAnswer {
    use v1::append_answer::Outcome;
    let outcome = match answer {
        AppendEntriesResponse::Success => Some(Outcome::Success(true)),
        // A receiver never answers so; the empty answer makes the leader try
        // again.
        AppendEntriesResponse::PartialSuccess(None) => None,
        AppendEntriesResponse::PartialSuccess(Some(id)) => {
            Some(Outcome::PartialSuccess(log_id_out(id)))
        }
        AppendEntriesResponse::Conflict => Some(Outcome::Conflict(true)),
        AppendEntriesResponse::HigherVote(vote) => Some(Outcome::HigherVote(vote_out(vote))),
    };
    v1::AppendAnswer { outcome }
}

pub fn append_answer_in(
    answer: v1::AppendAnswer,
) -> Result<AppendEntriesResponse<TypeConfig>, Garbled> {
    use v1::append_answer::Outcome;
    match answer.outcome.ok_or(Garbled("an empty answer"))? {
        Outcome::Success(_) => Ok(AppendEntriesResponse::Success),
        Outcome::PartialSuccess(id) => {
            Ok(AppendEntriesResponse::PartialSuccess(Some(log_id_in(&id))))
        }
        Outcome::Conflict(_) => Ok(AppendEntriesResponse::Conflict),
        Outcome::HigherVote(vote) => Ok(AppendEntriesResponse::HigherVote(vote_in(&vote))),
    }
}

pub fn vote_request_out(request: &VoteRequest<TypeConfig>) -> v1::VoteBody {
    v1::VoteBody {
        vote: Some(vote_out(&request.vote)),
        last: request.last_log_id.as_ref().map(log_id_out),
        leader_transfer: request.leadership_transfer,
    }
}

pub fn vote_request_in(body: v1::VoteBody) -> Result<VoteRequest<TypeConfig>, Garbled> {
    let vote = vote_in(&body.vote.ok_or(Garbled("a vote request without one"))?);
    let mut request = VoteRequest::new(vote, body.last.as_ref().map(log_id_in));
    request.leadership_transfer = body.leader_transfer;
    Ok(request)
}

pub fn vote_answer_out(answer: &VoteResponse<TypeConfig>) -> v1::VoteAnswer {
    v1::VoteAnswer {
        vote: Some(vote_out(&answer.vote)),
        last: answer.last_log_id.as_ref().map(log_id_out),
        granted: answer.vote_granted,
    }
}

pub fn vote_answer_in(answer: v1::VoteAnswer) -> Result<VoteResponse<TypeConfig>, Garbled> {
    let vote = vote_in(&answer.vote.ok_or(Garbled("a vote answer without one"))?);
    let last = answer.last.as_ref().map(log_id_in);
    Ok(VoteResponse::new(vote, last, answer.granted))
}

pub fn transfer_out(request: &TransferLeaderRequest<TypeConfig>) -> v1::TransferBody {
    v1::TransferBody {
        from_leader: Some(vote_out(request.from_leader())),
        to_node: *request.to_node_id(),
        last: request.last_log_id().map(log_id_out),
    }
}

pub fn transfer_in(body: v1::TransferBody) -> Result<TransferLeaderRequest<TypeConfig>, Garbled> {
    let from = body
        .from_leader
        .ok_or(Garbled("a transfer without its leader"))?;
    Ok(TransferLeaderRequest::new(
        vote_in(&from),
        body.to_node,
        body.last.as_ref().map(log_id_in),
    ))
}

/// Replies to the commands of one entry, as one message.
#[derive(Clone, PartialEq, Message)]
pub struct Replies {
    #[prost(message, repeated, tag = "1")]
    pub replies: Vec<reelraft_model::Reply>,
}

/// How many entries fit an append: at least one.
pub fn fitting(entries: &[Entry], bytes_max: u64) -> usize {
    let mut bytes = 0;
    for (count, entry) in entries.iter().enumerate() {
        bytes += match &entry.payload {
            EntryPayload::Normal(EntryBytes(payload)) => Bytes::len(payload) as u64,
            _ => 64,
        };
        if bytes > bytes_max && count > 0 {
            return count;
        }
    }
    entries.len()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn id(index: u64) -> LogId {
        log_id(LogPosition {
            term: 3,
            node: 2,
            index,
        })
    }

    fn entries() -> Vec<Entry> {
        let membership = Membership::new(
            vec![BTreeSet::from([1, 2, 3])],
            BTreeMap::from([1, 2, 3, 4].map(|id| (id, BasicNode::new(format!("h{id}:1"))))),
        );
        vec![
            Entry::new(id(5), EntryPayload::Blank),
            Entry::new(
                id(6),
                EntryPayload::Normal(EntryBytes(Bytes::from_static(b"x"))),
            ),
            Entry::new(id(7), EntryPayload::Membership(membership.unwrap())),
        ]
    }

    #[test]
    fn entries_come_back_from_wire_and_disk() {
        for entry in entries() {
            assert_eq!(entry_in(entry_out(&entry)).unwrap(), entry);
            assert_eq!(entry_from_disk(entry_to_disk(&entry)).unwrap(), entry);
        }
    }

    /// A later version's entry must stop a node, never be skipped.
    #[test]
    fn an_unknown_kind_of_entry_is_refused() {
        let record = LogRecord {
            position: position(&id(5)),
            payload: Bytes::from_static(&[0xf8, 0x01, 0x01]),
        };
        assert!(entry_from_disk(record).is_err());
    }

    #[test]
    fn messages_come_back() {
        let request = AppendEntriesRequest {
            vote: Vote::new_committed(3, 2),
            prev_log_id: Some(id(4)),
            entries: entries(),
            leader_commit: Some(id(2)),
        };
        let back = append_in(append_out(&request, 3)).unwrap();
        assert_eq!(format!("{back:?}"), format!("{request:?}"));
        assert_eq!(append_out(&request, 1).entries.len(), 1);

        for answer in [
            AppendEntriesResponse::Success,
            AppendEntriesResponse::PartialSuccess(Some(id(9))),
            AppendEntriesResponse::Conflict,
            AppendEntriesResponse::HigherVote(Vote::new(9, 1)),
        ] {
            assert_eq!(
                append_answer_in(append_answer_out(&answer)).unwrap(),
                answer
            );
        }

        let mut request = VoteRequest::new(Vote::new(9, 1), Some(id(9)));
        request.leadership_transfer = true;
        assert_eq!(
            vote_request_in(vote_request_out(&request)).unwrap(),
            request
        );
        let answer = VoteResponse::new(Vote::new(9, 1), None, true);
        assert_eq!(vote_answer_in(vote_answer_out(&answer)).unwrap(), answer);
        let request = TransferLeaderRequest::new(Vote::new_committed(3, 2), 1, Some(id(9)));
        assert_eq!(transfer_in(transfer_out(&request)).unwrap(), request);
    }

    #[test]
    fn a_membership_keeps_its_place() {
        let EntryPayload::Membership(membership) = entries().remove(2).payload else {
            panic!("the third is one");
        };
        let stored = StoredMembership::new(Some(id(7)), membership);
        let bytes = membership_to_disk(&stored);
        assert_eq!(membership_from_disk(&bytes).unwrap(), stored);
        assert_eq!(
            membership_from_disk(&[]).unwrap(),
            StoredMembership::default()
        );
    }

    #[test]
    fn an_append_takes_at_least_one_entry() {
        let entries = entries();
        assert_eq!(fitting(&entries, 0), 1);
        assert_eq!(fitting(&entries, 70), 2);
        assert_eq!(fitting(&entries, 1_000), 3);
        assert_eq!(fitting(&[], 0), 0);
    }
}
