//! The peer service: what other nodes ask of this one.
//!
//! Each request names its cluster and its sender's disk. A stranger is refused,
//! and so is a new disk under a known id. While this node's own disk is not
//! admitted, it answers no Raft message.

use std::sync::Arc;

use openraft::{
    errors::RaftError,
    raft::{AppendEntriesRequest, AppendEntriesResponse, VoteResponse},
};
use prost::Message;
use reelraft_model::Problem;
use reelraft_proto::{
    problem,
    v1::{
        self, peer_server::Peer, raft_request::Body as RequestBody,
        raft_response::Body as ResponseBody,
    },
};
use reelraft_storage::UNWATCHED;
use reelraft_trust::Holder;
use tokio::{task::spawn_blocking, time::sleep};
use tonic::{Request, Response, Status, Streaming};

use crate::{
    core::Core,
    error::ConsensusError,
    limits::HEARTBEAT_SYNC_WAIT,
    propose::check_foreign,
    state_machine::describe,
    types::TypeConfig,
    wire::{
        DecodeError, Replies, append_answer_to_wire, append_from_wire, transfer_from_wire,
        vote_answer_to_wire, vote_from_wire, vote_request_from_wire, vote_to_wire,
    },
};

#[derive(Clone, Debug)]
pub struct PeerService {
    core: Arc<Core>,
}

/// Whose certificate the request came with.
fn holder<T>(request: &Request<T>) -> Option<Holder> {
    request.extensions().get::<Holder>().cloned()
}

type Answer = Result<Response<v1::RaftResponse>, Status>;

fn answer(body: ResponseBody) -> Answer {
    Ok(Response::new(v1::RaftResponse { body: Some(body) }))
}

fn refusal(error: impl Into<ConsensusError>) -> Status {
    let Problem { kind, cause, hint } = error.into().problem();
    problem::to_status(&v1::Problem { kind, cause, hint })
}

/// Raft itself failed: this node is about to end.
fn failed(error: impl std::fmt::Display) -> Status {
    refusal(ConsensusError::Stopped {
        cause: error.to_string(),
    })
}

impl PeerService {
    pub fn new(core: Arc<Core>) -> Self {
        PeerService { core }
    }

    /// Refuses strangers and disks that are not the known one of their node,
    /// and everybody behind the fence.
    fn check(
        &self,
        holder: Option<Holder>,
        sender: Option<v1::Sender>,
    ) -> Result<v1::Sender, Status> {
        self.core.peers.check_fence()?;
        let sender = sender.ok_or(DecodeError("a request without its sender"))?;
        self.core.peers.check_sender(holder.as_ref(), &sender)?;
        let own = self.core.identity();
        if sender.cluster_id != own.cluster_id {
            return Err(refusal(ConsensusError::OtherCluster {
                node: sender.node,
                found: sender.cluster_id,
                own: own.cluster_id.clone(),
            }));
        }
        if self.core.replica.state().is_removed(sender.node) {
            return Err(refusal(ConsensusError::Removed { node: sender.node }));
        }
        match self.core.known_incarnation(sender.node) {
            Some(known) if known != sender.incarnation => {
                Err(refusal(ConsensusError::OtherIncarnation {
                    node: sender.node,
                    known,
                    own: sender.incarnation,
                }))
            }
            _ => Ok(sender),
        }
    }

    /// Checks the sender of a Raft message, and that this disk may answer.
    fn body(&self, request: Request<v1::RaftRequest>) -> Result<RequestBody, Status> {
        let holder = holder(&request);
        let request = request.into_inner();
        self.check(holder, request.sender)?;
        self.check_meant(request.to)?;
        self.check_admitted()?;
        Ok(request.body.ok_or(DecodeError("an empty request"))?)
    }

    /// A heartbeat asks whom this node follows, and not what is on its disk. But
    /// openraft answers it only when everything that came before is synced,
    /// which takes seconds on a busy disk. Once this node is known to follow its
    /// sender, that is the answer. One that conflicts with the log is answered
    /// by openraft at once.
    async fn take_heartbeat(
        &self,
        request: AppendEntriesRequest<TypeConfig>,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RaftError<TypeConfig>> {
        let vote = request.vote;
        let followed = async {
            sleep(HEARTBEAT_SYNC_WAIT).await;
            // Taken up behind the heartbeat.
            let state = self
                .core
                .raft
                .with_raft_state(move |state| *state.vote_ref() == vote);
            state.await
        };
        tokio::select! {
            biased;
            given = self.core.raft.append_entries(request) => given,
            Ok(true) = followed => Ok(AppendEntriesResponse::Success),
        }
    }

    /// Refuses what is for a node that listened here before: one disk must not answer
    /// for two.
    fn check_meant(&self, to: u64) -> Result<(), Status> {
        let own = self.core.node();
        match to {
            0 => Ok(()),
            asked if asked == own => Ok(()),
            asked => Err(refusal(ConsensusError::OtherNode { asked, own })),
        }
    }

    fn check_admitted(&self) -> Result<(), Status> {
        if *self.core.admitted.borrow() {
            return Ok(());
        }
        Err(Status::unavailable(
            "this disk is new and not yet admitted to the cluster",
        ))
    }

    /// Receives a snapshot piece by piece. Blocking threads write to the disk.
    async fn receive(
        &self,
        first: v1::SnapshotPart,
        mut parts: Streaming<v1::SnapshotPart>,
    ) -> Result<reelraft_storage::SnapshotFile, Status> {
        let snapshots = self.core.snapshots.clone();
        let mut incoming = spawn_blocking(move || snapshots.receive())
            .await
            .map_err(failed)?
            .map_err(refusal)?;
        let mut next = Some(first);
        while let Some(part) = next {
            incoming = spawn_blocking(move || incoming.write(&part.data).map(|()| incoming))
                .await
                .map_err(failed)?
                .map_err(refusal)?;
            next = parts.message().await?;
        }
        spawn_blocking(move || incoming.finish(UNWATCHED))
            .await
            .map_err(failed)?
            .map_err(refusal)
    }
}

#[tonic::async_trait]
impl Peer for PeerService {
    async fn append(&self, request: Request<v1::RaftRequest>) -> Answer {
        let RequestBody::Append(body) = self.body(request)? else {
            return Err(DecodeError("an append without its body").into());
        };
        let stretch_percent = body.stretch_percent;
        let request = append_from_wire(body)?;
        let entries = request.entries.iter().map(|entry| &entry.log_id);
        let named = request.prev_log_id.iter().chain(entries);
        self.core.check_history(named).map_err(refusal)?;
        self.core.hear_leader(&request.vote, stretch_percent);
        let given = match request.entries.is_empty() {
            true => self.take_heartbeat(request).await,
            false => self.core.raft.append_entries(request).await,
        };
        let given = given.map_err(failed)?;
        answer(ResponseBody::Append(append_answer_to_wire(&given)))
    }

    async fn vote(&self, request: Request<v1::RaftRequest>) -> Answer {
        let RequestBody::Vote(body) = self.body(request)? else {
            return Err(DecodeError("a vote without its body").into());
        };
        let request = vote_request_from_wire(body)?;
        let given: VoteResponse<TypeConfig> = self.core.raft.vote(request).await.map_err(failed)?;
        answer(ResponseBody::Vote(vote_answer_to_wire(&given)))
    }

    async fn pre_vote(&self, request: Request<v1::RaftRequest>) -> Answer {
        let RequestBody::Vote(body) = self.body(request)? else {
            return Err(DecodeError("a vote without its body").into());
        };
        let request = vote_request_from_wire(body)?;
        let given: VoteResponse<TypeConfig> =
            self.core.raft.pre_vote(request).await.map_err(failed)?;
        answer(ResponseBody::Vote(vote_answer_to_wire(&given)))
    }

    async fn transfer_leader(&self, request: Request<v1::RaftRequest>) -> Answer {
        let RequestBody::Transfer(body) = self.body(request)? else {
            return Err(DecodeError("a transfer without its body").into());
        };
        let request = transfer_from_wire(body)?;
        let handled = self
            .core
            .raft
            .handle_transfer_leader(request)
            .await
            .map_err(failed)?;
        handled.map_err(|error| Status::failed_precondition(error.to_string()))?;
        answer(ResponseBody::Done(true))
    }

    async fn snapshot(&self, request: Request<Streaming<v1::SnapshotPart>>) -> Answer {
        let holder = holder(&request);
        let mut parts = request.into_inner();
        let mut first = parts
            .message()
            .await?
            .ok_or(DecodeError("a snapshot without parts"))?;
        let head = first
            .head
            .take()
            .ok_or(DecodeError("a snapshot without its head"))?;
        let sender = self.check(holder, head.sender)?;
        self.check_meant(head.to)?;
        self.check_admitted()?;
        let vote = vote_from_wire(&head.vote.ok_or(DecodeError("a snapshot without a vote"))?);
        let received = self.receive(first, parts).await?;
        if received.bytes() != head.bytes {
            return Err(Status::data_loss("the snapshot has another length"));
        }
        tracing::info!(from = sender.node, bytes = head.bytes, "a snapshot came in");
        let snapshot = describe(&Arc::new(received)).map_err(failed)?;
        let last = &snapshot.meta.last_log_id;
        self.core.check_history(last).map_err(refusal)?;
        let given = self
            .core
            .raft
            .install_full_snapshot(vote, snapshot)
            .await
            .map_err(failed)?;
        answer(ResponseBody::Snapshot(vote_to_wire(&given.vote)))
    }

    async fn propose(
        &self,
        request: Request<v1::ProposeRequest>,
    ) -> Result<Response<v1::ProposeResponse>, Status> {
        let holder = holder(&request);
        let request = request.into_inner();
        self.check(holder, request.sender)?;
        check_foreign(&request.command).map_err(refusal)?;
        let committed = self
            .core
            .propose_local(request.command)
            .await
            .map_err(refusal)?;
        let replies = Replies {
            replies: committed.replies,
        };
        Ok(Response::new(v1::ProposeResponse {
            reply: replies.encode_to_vec().into(),
            index: committed.index,
        }))
    }

    async fn read_index(
        &self,
        request: Request<v1::ReadIndexRequest>,
    ) -> Result<Response<v1::ReadIndexResponse>, Status> {
        self.check(holder(&request), request.into_inner().sender)?;
        let index = self.core.lead_read_index().await;
        let index = index.ok_or_else(|| {
            refusal(ConsensusError::NotLeader {
                leader: self.core.leader(),
            })
        })?;
        Ok(Response::new(v1::ReadIndexResponse { index }))
    }

    async fn identify(
        &self,
        request: Request<v1::IdentifyRequest>,
    ) -> Result<Response<v1::IdentifyResponse>, Status> {
        self.core.peers.check_fence()?;
        let about = request.into_inner().about;
        let initialized = self.core.raft.is_initialized().await.map_err(failed)?;
        let state = self.core.replica.state();
        let known = state.node(about).map(|node| node.address.clone());
        Ok(Response::new(v1::IdentifyResponse {
            own: Some(self.core.peers.sender()),
            known_incarnation: self.core.known_incarnation(about).unwrap_or_default(),
            initialized,
            removed: state.is_removed(about),
            known_address: known.unwrap_or_default(),
        }))
    }

    async fn hand_over(
        &self,
        request: Request<v1::HandOverRequest>,
    ) -> Result<Response<v1::HandOverResponse>, Status> {
        let holder = holder(&request);
        let request = request.into_inner();
        self.check(holder, request.sender)?;
        let to = Some(request.to).filter(|to| *to != 0);
        let leader = self.core.hand_over(to).await.map_err(refusal)?;
        Ok(Response::new(v1::HandOverResponse { leader }))
    }
}
