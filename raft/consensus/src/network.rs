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
use tokio::{sync::mpsc, task::spawn_blocking};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

use crate::{
    limits::{
        APPEND_BYTES_MAX, APPEND_TIME, SNAPSHOT_PIECE_BYTES, SNAPSHOT_PIECES_AHEAD, SNAPSHOT_TIME,
        VOTE_TIME,
    },
    peers::{Line, Peers, within},
    types::{Snapshot, SnapshotData, TypeConfig, Vote},
    wire::{
        Garbled, append_answer_in, append_out, fitting, log_id_out, transfer_out, vote_answer_in,
        vote_in, vote_out, vote_request_out,
    },
};

/// Makes connections for openraft.
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

type Refused = RPCError<TypeConfig>;

impl Network {
    /// Over an address book.
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

/// A node that doesn't answer is let alone for a moment; one that answers
/// with nonsense, too.
fn refused(status: Status) -> Refused {
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

fn garbled(error: Garbled) -> Refused {
    RPCError::Unreachable(Unreachable::new(&error))
}

fn unexpected() -> Refused {
    garbled(Garbled("an answer to another question"))
}

impl Connection {
    fn request(&self, body: RequestBody) -> v1::RaftRequest {
        v1::RaftRequest {
            sender: Some(self.peers.sender()),
            body: Some(body),
        }
    }

    fn client(&self, line: Line) -> Result<crate::peers::Client, Refused> {
        self.peers.client(self.node, line).map_err(refused)
    }
}

impl RaftNetworkV2<TypeConfig> for Connection {
    type SnapshotData = SnapshotData;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, Refused> {
        let count = fitting(&request.entries, APPEND_BYTES_MAX);
        let limit = if count == 0 { VOTE_TIME } else { APPEND_TIME };
        let body = RequestBody::Append(append_out(&request, count));
        let message = self.request(body);
        let mut client = self.client(Line::Raft)?;
        let answer = within(limit, client.append(message))
            .await
            .map_err(refused)?;
        let Some(ResponseBody::Append(answer)) = answer.body else {
            return Err(unexpected());
        };
        let answer = append_answer_in(answer).map_err(garbled)?;
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
    ) -> Result<VoteResponse<TypeConfig>, Refused> {
        let message = self.request(RequestBody::Vote(vote_request_out(&request)));
        let mut client = self.client(Line::Raft)?;
        let answer = within(VOTE_TIME, client.vote(message))
            .await
            .map_err(refused)?;
        match answer.body {
            Some(ResponseBody::Vote(answer)) => vote_answer_in(answer).map_err(garbled),
            _ => Err(unexpected()),
        }
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, Refused> {
        let message = self.request(RequestBody::Vote(vote_request_out(&request)));
        let mut client = self.client(Line::Raft)?;
        let answer = within(VOTE_TIME, client.pre_vote(message))
            .await
            .map_err(refused)?;
        match answer.body {
            Some(ResponseBody::Vote(answer)) => vote_answer_in(answer).map_err(garbled),
            _ => Err(unexpected()),
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, Refused> {
        let message = self.request(RequestBody::Transfer(transfer_out(&request)));
        let mut client = self.client(Line::Raft)?;
        within(APPEND_TIME, client.transfer_leader(message))
            .await
            .map_err(refused)?;
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
            vote: Some(vote_out(&vote)),
            last: snapshot.meta.last_log_id.as_ref().map(log_id_out),
            bytes: snapshot.snapshot.bytes(),
            ..Default::default()
        };
        let reading = send_pieces(head, snapshot.snapshot, sender);
        let mut client = self
            .client(Line::Snapshot)
            .map_err(StreamingError::<TypeConfig>::from)?;
        let sending = within(
            SNAPSHOT_TIME,
            client.snapshot(ReceiverStream::new(receiver)),
        );
        let answer = tokio::select! {
            (answer, ()) = async { tokio::join!(sending, reading) } => answer.map_err(refused)?,
            closed = cancel => return Err(StreamingError::Closed(closed)),
        };
        match answer.body {
            Some(ResponseBody::Snapshot(vote)) => Ok(SnapshotResponse::new(vote_in(&vote))),
            _ => Err(unexpected().into()),
        }
    }
}

/// Reads a snapshot in pieces, as fast as they are taken. A piece that can't
/// be read ends the stream early, which the receiver refuses as not whole.
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
