//! openraft's messages to the other nodes.

use std::sync::Arc;

use openraft::{
    BasicNode, OptionalSend, RaftNetworkFactory, RaftNetworkV2,
    errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable},
    network::RPCOption,
    raft::{
        AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
        TransferLeaderResponse, VoteRequest, VoteResponse,
    },
};
use reelraft_proto::v1::{
    self, raft_request::Body as RequestBody, raft_response::Body as ResponseBody,
};
use tokio::{sync::mpsc, task::spawn_blocking, time::Instant};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

use crate::{
    limits::{
        APPEND_BYTES_MAX, APPEND_TIME, HEARTBEAT_LATE, SNAPSHOT_PIECE_BYTES, SNAPSHOT_PIECES_AHEAD,
        SNAPSHOT_TIME, VOTE_TIME,
    },
    peers::{ChannelKind, Peers, within},
    raft_clock::{own_percent, stretched},
    types::{Snapshot, SnapshotData, TypeConfig, Vote},
    wire::{
        DecodeError, append_answer_from_wire, append_to_wire, entries_that_fit, log_id_to_wire,
        transfer_to_wire, vote_answer_from_wire, vote_from_wire, vote_request_to_wire,
        vote_to_wire,
    },
};

/// Makes openraft's connections.
#[derive(Clone, Debug)]
pub struct Network {
    peers: Arc<Peers>,
}

/// The connection to one node.
#[derive(Debug)]
pub struct Connection {
    peers: Arc<Peers>,
    node: u64,
}

type RpcError = RPCError<TypeConfig>;

impl Network {
    pub fn new(peers: Arc<Peers>) -> Self {
        Network { peers }
    }
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Connection;

    async fn new_client(&mut self, node: u64, known: &BasicNode) -> Connection {
        self.peers.learn(node, &known.addr);
        Connection {
            peers: self.peers.clone(),
            node,
        }
    }
}

/// openraft waits a moment before it tries an unreachable node again. A node
/// whose answers make no sense is treated alike.
fn rpc_error(status: Status) -> RpcError {
    match status.code() {
        Code::DeadlineExceeded | Code::Cancelled => {
            RPCError::Network(NetworkError::from_string(status.message()))
        }
        _ => RPCError::Unreachable(Unreachable::from_string(format!(
            "{:?}: {}",
            status.code(),
            status.message()
        ))),
    }
}

fn undecodable(error: DecodeError) -> RpcError {
    RPCError::Unreachable(Unreachable::new(&error))
}

fn wrong_answer() -> RpcError {
    undecodable(DecodeError("an answer of another kind"))
}

impl Connection {
    fn request(&self, body: RequestBody) -> v1::RaftRequest {
        v1::RaftRequest {
            sender: Some(self.peers.sender()),
            to: self.node,
            body: Some(body),
        }
    }

    fn refused(&self, status: Status) -> RpcError {
        self.peers.note_refusal(&status);
        rpc_error(status)
    }

    fn client(&self, kind: ChannelKind) -> Result<crate::peers::Client, RpcError> {
        self.peers.client(self.node, kind).map_err(rpc_error)
    }

    /// Sends a heartbeat, and notes how long its answer takes. That goes on when
    /// openraft has given the answer up: it would never learn that it must wait
    /// longer.
    async fn heartbeat(&self, message: v1::RaftRequest) -> Result<v1::RaftResponse, RpcError> {
        let mut client = self.client(ChannelKind::Raft)?;
        let (peers, node) = (self.peers.clone(), self.node);
        let sent = Instant::now();
        let sending = tokio::spawn(async move {
            let answer = within(HEARTBEAT_LATE, client.append(message)).await;
            if answer.is_ok() {
                peers.note_round_trip(node, sent.elapsed());
            }
            answer
        });
        let answer = sending.await.map_err(|error| {
            // The runtime is shutting down.
            RPCError::Network(NetworkError::new(&error))
        })?;
        answer.map_err(|status| self.refused(status))
    }
}

impl RaftNetworkV2<TypeConfig> for Connection {
    type SnapshotData = SnapshotData;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RpcError> {
        let count = entries_that_fit(&request.entries, APPEND_BYTES_MAX);
        let body = RequestBody::Append(append_to_wire(&request, count, own_percent()));
        let message = self.request(body);
        let answer = match count {
            0 => self.heartbeat(message).await?,
            _ => {
                let mut client = self.client(ChannelKind::Raft)?;
                within(APPEND_TIME, client.append(message))
                    .await
                    .map_err(rpc_error)?
            }
        };
        let Some(ResponseBody::Append(answer)) = answer.body else {
            return Err(wrong_answer());
        };
        let answer = append_answer_from_wire(answer).map_err(undecodable)?;
        if count < request.entries.len() && answer.is_success() {
            use openraft::entry::RaftEntry;
            let last = request.entries[count - 1].log_id();
            return Ok(AppendEntriesResponse::PartialSuccess(Some(last)));
        }
        Ok(answer)
    }

    async fn vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RpcError> {
        let message = self.request(RequestBody::Vote(vote_request_to_wire(&request)));
        let mut client = self.client(ChannelKind::Raft)?;
        let answer = within(stretched(VOTE_TIME), client.vote(message))
            .await
            .map_err(|status| self.refused(status))?;
        match answer.body {
            Some(ResponseBody::Vote(answer)) => vote_answer_from_wire(answer).map_err(undecodable),
            _ => Err(wrong_answer()),
        }
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RpcError> {
        let message = self.request(RequestBody::Vote(vote_request_to_wire(&request)));
        let mut client = self.client(ChannelKind::Raft)?;
        let answer = within(stretched(VOTE_TIME), client.pre_vote(message))
            .await
            .map_err(|status| self.refused(status))?;
        match answer.body {
            Some(ResponseBody::Vote(answer)) => vote_answer_from_wire(answer).map_err(undecodable),
            _ => Err(wrong_answer()),
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, RpcError> {
        let message = self.request(RequestBody::Transfer(transfer_to_wire(&request)));
        let mut client = self.client(ChannelKind::Raft)?;
        within(APPEND_TIME, client.transfer_leader(message))
            .await
            .map_err(rpc_error)?;
        Ok(Ok(()))
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let (sender, receiver) = mpsc::channel(SNAPSHOT_PIECES_AHEAD);
        let head = v1::SnapshotHead {
            sender: Some(self.peers.sender()),
            vote: Some(vote_to_wire(&vote)),
            last: snapshot.meta.last_log_id.as_ref().map(log_id_to_wire),
            bytes: snapshot.snapshot.bytes(),
            to: self.node,
            ..Default::default()
        };
        let reading = send_pieces(head, snapshot.snapshot, sender);
        let mut client = self
            .client(ChannelKind::Snapshot)
            .map_err(StreamingError::<TypeConfig>::from)?;
        let sending = within(
            SNAPSHOT_TIME,
            client.snapshot(ReceiverStream::new(receiver)),
        );
        let answer = tokio::select! {
            (answer, ()) = async { tokio::join!(sending, reading) } => answer.map_err(rpc_error)?,
            closed = cancel => return Err(StreamingError::Closed(closed)),
        };
        match answer.body {
            Some(ResponseBody::Snapshot(vote)) => Ok(SnapshotResponse::new(vote_from_wire(&vote))),
            _ => Err(wrong_answer().into()),
        }
    }
}

/// Reads a snapshot in pieces, as fast as the receiver takes them. A piece that
/// can't be read ends the stream early, and the receiver refuses the rest.
async fn send_pieces(
    head: v1::SnapshotHead,
    snapshot: SnapshotData,
    sender: mpsc::Sender<v1::SnapshotPart>,
) {
    let mut offset = 0;
    let mut head = Some(head);
    loop {
        let source = snapshot.clone();
        let piece = spawn_blocking(move || source.piece(offset, SNAPSHOT_PIECE_BYTES)).await;
        let data = match piece {
            Ok(Ok(piece)) => piece,
            Ok(Err(error)) => {
                tracing::error!(%error, "a snapshot can't be sent");
                return;
            }
            // The runtime is shutting down.
            Err(_) => return,
        };
        if data.is_empty() {
            return;
        }
        offset += data.len() as u64;
        let part = v1::SnapshotPart {
            head: head.take(),
            data: data.into(),
        };
        if sender.send(part).await.is_err() {
            return;
        }
    }
}
