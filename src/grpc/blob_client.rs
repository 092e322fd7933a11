//! Other nodes' disks over gRPC: the client's side of the `Blobs` service.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use futures::{FutureExt, StreamExt};
use reelraft_proto::{
    auth::Secret,
    dial, problem,
    v1::{self, blobs_client::BlobsClient},
};
use reelraft_storage::journal::Chunk;
use reelraft_trust::Trust;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, service::interceptor::InterceptedService, transport::Channel};

use super::{
    convert::model_problem,
    limits::{
        BLOB_TIMING, CONNECTION_WINDOW_BYTES, FRAME_BYTES, MESSAGE_BYTES_MAX, STREAM_WINDOW_BYTES,
    },
};
use crate::data::{
    Answer, DataError, HomeTransport, Parts, Peer, PutTicket,
    limits::{CALL_TIMEOUT, PARTS_AHEAD, STALL_TIMEOUT},
};

type Client = BlobsClient<InterceptedService<Channel, Secret>>;

/// One connection to each node, kept apart from those of Raft.
pub struct BlobClients {
    secret: Secret,
    trust: Trust,
    /// By node, with the address that each leads to.
    channels: Mutex<BTreeMap<u64, (String, Channel)>>,
}

impl BlobClients {
    /// Nothing is connected before it is used.
    pub fn new(secret: Secret, trust: Trust) -> Self {
        BlobClients {
            secret,
            trust,
            channels: Mutex::default(),
        }
    }

    fn client(&self, peer: &Peer) -> Result<Client, DataError> {
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        let channel = match channels.get(&peer.node) {
            Some((known, channel)) if *known == peer.address => channel.clone(),
            _ => {
                let endpoint = dial::endpoint(&peer.address, BLOB_TIMING);
                let endpoint = endpoint.map_err(|error| DataError::Unreachable {
                    node: peer.node,
                    cause: error.to_string(),
                })?;
                let endpoint = endpoint
                    .initial_stream_window_size(STREAM_WINDOW_BYTES)
                    .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
                    .max_frame_size(FRAME_BYTES);
                let channel = self.trust.channel_lazy(&endpoint, Some(peer.node));
                channels.insert(peer.node, (peer.address.clone(), channel.clone()));
                channel
            }
        };
        let client = BlobsClient::with_interceptor(channel, self.secret.clone());
        Ok(client
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX))
    }
}

impl HomeTransport for BlobClients {
    fn put_chunk(
        &self,
        to: &Peer,
        ticket: &PutTicket,
        number: u64,
        hash: &str,
        data: Bytes,
    ) -> Answer<Vec<u64>> {
        let (client, node) = (self.client(to), to.node);
        let request = v1::PutChunkRequest {
            job: ticket.job.clone(),
            epoch: ticket.epoch,
            number,
            hash: hash.to_string(),
            data,
            log_index: ticket.log_index,
        };
        async move {
            let answer = client?.put_chunk(request).await;
            let answer = answer.map_err(|status| refusal(node, &status))?;
            Ok(answer.into_inner().awaited)
        }
        .boxed()
    }

    fn await_chunk(&self, of: &Peer, job: &str, number: u64) -> Answer<Option<String>> {
        let (client, node) = (self.client(of), of.node);
        let request = v1::AwaitChunkRequest {
            job: job.to_string(),
            number,
        };
        async move {
            let answer = client?.await_chunk(request).await;
            let answer = answer.map_err(|status| refusal(node, &status))?;
            Ok(Some(answer.into_inner().hash).filter(|hash| !hash.is_empty()))
        }
        .boxed()
    }

    fn put(
        &self,
        to: &Peer,
        ticket: &PutTicket,
        hash: &str,
        bytes: u64,
        parts: mpsc::Receiver<Bytes>,
    ) -> Answer<()> {
        let (client, node) = (self.client(to), to.node);
        let head = v1::PutPart {
            head: Some(v1::PutHead {
                job: ticket.job.clone(),
                epoch: ticket.epoch,
                hash: hash.to_string(),
                bytes,
                log_index: ticket.log_index,
            }),
            data: Bytes::new(),
        };
        let parts = ReceiverStream::new(parts).map(|data| v1::PutPart { head: None, data });
        let parts = futures::stream::iter([head]).chain(parts);
        async move {
            let answer = client?.put(parts).await;
            answer.map(drop).map_err(|status| refusal(node, &status))
        }
        .boxed()
    }

    fn read(&self, from: &Peer, job: &str, hash: &str, offset: u64, bytes: u64) -> Answer<Parts> {
        let (client, node) = (self.client(from), from.node);
        let request = v1::ReadRequest {
            job: job.to_string(),
            hash: hash.to_string(),
            offset,
            bytes,
        };
        async move {
            let answer = client?.read(request).await;
            let incoming = answer.map_err(|status| refusal(node, &status))?;
            let (sender, parts) = mpsc::channel(PARTS_AHEAD);
            tokio::spawn(hand_on(node, incoming.into_inner(), sender));
            Ok(parts)
        }
        .boxed()
    }

    fn journal(&self, of: &Peer, job: &str, log_index: u64) -> Answer<BTreeMap<u64, Chunk>> {
        let (client, node) = (self.client(of), of.node);
        let request = v1::JournalRequest {
            job: job.to_string(),
            log_index,
        };
        async move {
            let mut client = client?;
            let answer = within(node, CALL_TIMEOUT, client.journal(request)).await?;
            let mut pages = answer.into_inner();
            let mut chunks = BTreeMap::new();
            while let Some(page) = within(node, STALL_TIMEOUT, pages.message()).await? {
                chunks.extend(page.chunks.into_iter().map(|chunk| {
                    let v1::JournalChunk {
                        number,
                        hash,
                        bytes,
                    } = chunk;
                    (number, Chunk { hash, bytes })
                }));
            }
            Ok(chunks)
        }
        .boxed()
    }

    fn begin_scrub(&self, of: &Peer) -> Answer<()> {
        let (client, node) = (self.client(of), of.node);
        async move {
            let answer = client?.begin_scrub(v1::BeginScrubRequest {}).await;
            answer.map(drop).map_err(|status| refusal(node, &status))
        }
        .boxed()
    }

    fn stat(&self, of: &Peer, job: &str, hashes: Vec<String>) -> Answer<Vec<bool>> {
        let (client, node) = (self.client(of), of.node);
        let request = v1::StatRequest {
            job: job.to_string(),
            hashes,
        };
        async move {
            let answer = client?.stat(request).await;
            let answer = answer.map_err(|status| refusal(node, &status))?;
            Ok(answer.into_inner().present)
        }
        .boxed()
    }
}

/// Hands a blob's parts on until it ends, fails, or nobody takes them.
async fn hand_on(
    node: u64,
    mut incoming: tonic::Streaming<v1::ReadPart>,
    sender: mpsc::Sender<Result<(u64, Bytes), DataError>>,
) {
    let mut total_bytes = 0;
    loop {
        let part = match within(node, STALL_TIMEOUT, incoming.message()).await {
            Ok(None) => return,
            Ok(Some(part)) => {
                // Only the first part says the size.
                total_bytes = part.total_bytes.max(total_bytes);
                Ok((total_bytes, part.data))
            }
            Err(error) => Err(error),
        };
        let ended = part.is_err();
        if sender.send(part).await.is_err() || ended {
            return;
        }
    }
}

/// What a node's status says. One without a problem is the connection's own:
/// the node was not reached.
fn refusal(node: u64, status: &Status) -> DataError {
    match problem::of_status(status) {
        Some(problem) => DataError::Refused {
            node,
            problem: model_problem(problem),
        },
        None => DataError::Unreachable {
            node,
            cause: format!("{:?}: {}", status.code(), status.message()),
        },
    }
}

async fn within<A>(
    node: u64,
    timeout: Duration,
    answer: impl Future<Output = Result<A, Status>>,
) -> Result<A, DataError> {
    let answer = dial::within(timeout, answer).await;
    answer.map_err(|status| refusal(node, &status))
}
