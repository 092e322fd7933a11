//! Conversion between openraft's types and ours, for peers and for the disk.
//! The protocol's messages are the only layout: nothing depends on how a
//! library serializes its types.

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

/// Bytes or a message that no version of reelraft has written.
#[derive(Debug, Clone, thiserror::Error)]
#[error("a message can't be understood: {0}")]
pub struct DecodeError(pub &'static str);

impl From<DecodeError> for tonic::Status {
    fn from(error: DecodeError) -> Self {
        tonic::Status::invalid_argument(error.to_string())
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

pub fn log_id_to_wire(id: &LogId) -> v1::LogId {
    let at = position(id);
    v1::LogId {
        term: at.term,
        node: at.node,
        index: at.index,
    }
}

pub fn log_id_from_wire(id: &v1::LogId) -> LogId {
    log_id(LogPosition {
        term: id.term,
        node: id.node,
        index: id.index,
    })
}

pub fn vote_to_wire(vote: &Vote) -> v1::RaftVote {
    v1::RaftVote {
        term: vote.leader_id.term,
        node: vote.leader_id.node_id,
        committed: vote.committed,
    }
}

pub fn vote_from_wire(vote: &v1::RaftVote) -> Vote {
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
    vote_from_wire(&v1::RaftVote {
        term: vote.term,
        node: vote.node,
        committed: vote.committed,
    })
}

fn membership_to_wire(membership: &Membership) -> v1::Membership {
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

fn membership_from_wire(membership: &v1::Membership) -> Result<Membership, DecodeError> {
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
    Membership::new(configs, nodes).map_err(|_| DecodeError("a membership without its nodes"))
}

fn payload_to_wire(entry: &Entry) -> v1::log_entry::Payload {
    use v1::log_entry::Payload;
    match &entry.payload {
        EntryPayload::Blank => Payload::Blank(true),
        EntryPayload::Normal(bytes) => Payload::Command(bytes.0.clone()),
        EntryPayload::Membership(membership) => Payload::Membership(membership_to_wire(membership)),
    }
}

pub fn entry_to_wire(entry: &Entry) -> v1::LogEntry {
    v1::LogEntry {
        log_id: Some(log_id_to_wire(&entry.log_id())),
        payload: Some(payload_to_wire(entry)),
    }
}

pub fn entry_from_wire(entry: v1::LogEntry) -> Result<Entry, DecodeError> {
    let id = entry
        .log_id
        .ok_or(DecodeError("an entry without its position"))?;
    entry_at(log_id_from_wire(&id), entry.payload)
}

fn entry_at(id: LogId, payload: Option<v1::log_entry::Payload>) -> Result<Entry, DecodeError> {
    use v1::log_entry::Payload;
    let payload = match payload.ok_or(DecodeError("an entry of an unknown kind"))? {
        Payload::Blank(_) => EntryPayload::Blank,
        Payload::Command(bytes) => EntryPayload::Normal(EntryBytes(bytes)),
        Payload::Membership(membership) => {
            EntryPayload::Membership(membership_from_wire(&membership)?)
        }
    };
    Ok(Entry::new(id, payload))
}

/// An entry for the disk, where its position is stored beside it.
pub fn entry_to_disk(entry: &Entry) -> LogRecord {
    let message = v1::LogEntry {
        log_id: None,
        payload: Some(payload_to_wire(entry)),
    };
    LogRecord {
        position: position(&entry.log_id()),
        payload: message.encode_to_vec().into(),
    }
}

pub fn entry_from_disk(record: LogRecord) -> Result<Entry, DecodeError> {
    let message = v1::LogEntry::decode(record.payload)
        .map_err(|_| DecodeError("bytes on the disk that are no entry"))?;
    entry_at(log_id(record.position), message.payload)
}

/// The membership with its position in the log, for table and snapshot.
pub fn membership_to_disk(stored: &StoredMembership) -> Vec<u8> {
    let message = v1::LogEntry {
        log_id: stored.log_id().as_ref().map(log_id_to_wire),
        payload: Some(v1::log_entry::Payload::Membership(membership_to_wire(
            stored.membership(),
        ))),
    };
    message.encode_to_vec()
}

pub fn membership_from_disk(bytes: &[u8]) -> Result<StoredMembership, DecodeError> {
    if bytes.is_empty() {
        return Ok(StoredMembership::default());
    }
    let message =
        v1::LogEntry::decode(bytes).map_err(|_| DecodeError("bytes that are no membership"))?;
    match message.payload {
        Some(v1::log_entry::Payload::Membership(membership)) => Ok(StoredMembership::new(
            message.log_id.as_ref().map(log_id_from_wire),
            membership_from_wire(&membership)?,
        )),
        _ => Err(DecodeError("bytes that are no membership")),
    }
}

pub fn append_to_wire(
    request: &AppendEntriesRequest<TypeConfig>,
    entries: usize,
    stretch_percent: u32,
) -> v1::AppendBody {
    v1::AppendBody {
        vote: Some(vote_to_wire(&request.vote)),
        prev: request.prev_log_id.as_ref().map(log_id_to_wire),
        entries: request.entries[..entries]
            .iter()
            .map(entry_to_wire)
            .collect(),
        leader_commit: request.leader_commit.as_ref().map(log_id_to_wire),
        stretch_percent,
    }
}

pub fn append_from_wire(
    body: v1::AppendBody,
) -> Result<AppendEntriesRequest<TypeConfig>, DecodeError> {
    Ok(AppendEntriesRequest {
        vote: vote_from_wire(&body.vote.ok_or(DecodeError("an append without a vote"))?),
        prev_log_id: body.prev.as_ref().map(log_id_from_wire),
        entries: body
            .entries
            .into_iter()
            .map(entry_from_wire)
            .collect::<Result<_, _>>()?,
        leader_commit: body.leader_commit.as_ref().map(log_id_from_wire),
    })
}

pub fn append_answer_to_wire(answer: &AppendEntriesResponse<TypeConfig>) -> v1::AppendAnswer {
    use v1::append_answer::Outcome;
    let outcome = match answer {
        AppendEntriesResponse::Success => Some(Outcome::Success(true)),
        // No receiver answers this; an empty answer makes the leader try again.
        AppendEntriesResponse::PartialSuccess(None) => None,
        AppendEntriesResponse::PartialSuccess(Some(id)) => {
            Some(Outcome::PartialSuccess(log_id_to_wire(id)))
        }
        AppendEntriesResponse::Conflict => Some(Outcome::Conflict(true)),
        AppendEntriesResponse::HigherVote(vote) => Some(Outcome::HigherVote(vote_to_wire(vote))),
    };
    v1::AppendAnswer { outcome }
}

pub fn append_answer_from_wire(
    answer: v1::AppendAnswer,
) -> Result<AppendEntriesResponse<TypeConfig>, DecodeError> {
    use v1::append_answer::Outcome;
    match answer.outcome.ok_or(DecodeError("an empty answer"))? {
        Outcome::Success(_) => Ok(AppendEntriesResponse::Success),
        Outcome::PartialSuccess(id) => Ok(AppendEntriesResponse::PartialSuccess(Some(
            log_id_from_wire(&id),
        ))),
        Outcome::Conflict(_) => Ok(AppendEntriesResponse::Conflict),
        Outcome::HigherVote(vote) => Ok(AppendEntriesResponse::HigherVote(vote_from_wire(&vote))),
    }
}

pub fn vote_request_to_wire(request: &VoteRequest<TypeConfig>) -> v1::VoteBody {
    v1::VoteBody {
        vote: Some(vote_to_wire(&request.vote)),
        last: request.last_log_id.as_ref().map(log_id_to_wire),
        leader_transfer: request.leadership_transfer,
    }
}

pub fn vote_request_from_wire(body: v1::VoteBody) -> Result<VoteRequest<TypeConfig>, DecodeError> {
    let vote = vote_from_wire(&body.vote.ok_or(DecodeError("a vote request without one"))?);
    let mut request = VoteRequest::new(vote, body.last.as_ref().map(log_id_from_wire));
    request.leadership_transfer = body.leader_transfer;
    Ok(request)
}

pub fn vote_answer_to_wire(answer: &VoteResponse<TypeConfig>) -> v1::VoteAnswer {
    v1::VoteAnswer {
        vote: Some(vote_to_wire(&answer.vote)),
        last: answer.last_log_id.as_ref().map(log_id_to_wire),
        granted: answer.vote_granted,
    }
}

pub fn vote_answer_from_wire(
    answer: v1::VoteAnswer,
) -> Result<VoteResponse<TypeConfig>, DecodeError> {
    let vote = vote_from_wire(
        &answer
            .vote
            .ok_or(DecodeError("a vote answer without one"))?,
    );
    let last = answer.last.as_ref().map(log_id_from_wire);
    Ok(VoteResponse::new(vote, last, answer.granted))
}

pub fn transfer_to_wire(request: &TransferLeaderRequest<TypeConfig>) -> v1::TransferBody {
    v1::TransferBody {
        from_leader: Some(vote_to_wire(request.from_leader())),
        to_node: *request.to_node_id(),
        last: request.last_log_id().map(log_id_to_wire),
    }
}

pub fn transfer_from_wire(
    body: v1::TransferBody,
) -> Result<TransferLeaderRequest<TypeConfig>, DecodeError> {
    let from = body
        .from_leader
        .ok_or(DecodeError("a transfer without its leader"))?;
    Ok(TransferLeaderRequest::new(
        vote_from_wire(&from),
        body.to_node,
        body.last.as_ref().map(log_id_from_wire),
    ))
}

/// Replies to the commands of one entry, as one message.
#[derive(Clone, PartialEq, Message)]
pub struct Replies {
    #[prost(message, repeated, tag = "1")]
    pub replies: Vec<reelraft_model::Reply>,
}

/// How many entries fit in one append: at least one.
pub fn entries_that_fit(entries: &[Entry], bytes_max: u64) -> usize {
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
            assert_eq!(entry_from_wire(entry_to_wire(&entry)).unwrap(), entry);
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
        let back = append_from_wire(append_to_wire(&request, 3, 100)).unwrap();
        assert_eq!(format!("{back:?}"), format!("{request:?}"));
        assert_eq!(append_to_wire(&request, 1, 100).entries.len(), 1);

        for answer in [
            AppendEntriesResponse::Success,
            AppendEntriesResponse::PartialSuccess(Some(id(9))),
            AppendEntriesResponse::Conflict,
            AppendEntriesResponse::HigherVote(Vote::new(9, 1)),
        ] {
            assert_eq!(
                append_answer_from_wire(append_answer_to_wire(&answer)).unwrap(),
                answer
            );
        }

        let mut request = VoteRequest::new(Vote::new(9, 1), Some(id(9)));
        request.leadership_transfer = true;
        assert_eq!(
            vote_request_from_wire(vote_request_to_wire(&request)).unwrap(),
            request
        );
        let answer = VoteResponse::new(Vote::new(9, 1), None, true);
        assert_eq!(
            vote_answer_from_wire(vote_answer_to_wire(&answer)).unwrap(),
            answer
        );
        let request = TransferLeaderRequest::new(Vote::new_committed(3, 2), 1, Some(id(9)));
        assert_eq!(
            transfer_from_wire(transfer_to_wire(&request)).unwrap(),
            request
        );
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
        assert_eq!(entries_that_fit(&entries, 0), 1);
        assert_eq!(entries_that_fit(&entries, 70), 2);
        assert_eq!(entries_that_fit(&entries, 1_000), 3);
        assert_eq!(entries_that_fit(&[], 0), 0);
    }
}
