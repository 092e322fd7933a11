//! The `Blobs` service: the wire around [`LocalStore`], and nothing else.

use std::pin::Pin;

use futures::{Stream, StreamExt, TryStreamExt, stream};
use reelraft_proto::v1::{self, blobs_server::Blobs};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::{
    convert,
    limits::{JOURNAL_PAGE, READ_TURN, READS_MAX},
};
use crate::{
    api::{Door, Outgoing, Welcome},
    data::{
        DataError, LocalStore, PutTicket,
        limits::{PARTS_AHEAD, STALL_TIMEOUT},
    },
};

type ServedStream<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// The `Blobs` service of one node.
pub struct BlobService {
    store: LocalStore,
    reads: Door,
}

impl BlobService {
    /// The service over a node's disk.
    pub fn new(store: LocalStore) -> Self {
        BlobService {
            store,
            reads: Door::new("reads of other nodes", READS_MAX),
        }
    }
}

fn status(error: DataError) -> Status {
    convert::status(error.problem())
}

#[tonic::async_trait]
impl Blobs for BlobService {
    async fn put_chunk(
        &self,
        request: Request<v1::PutChunkRequest>,
    ) -> Result<Response<v1::PutChunkResponse>, Status> {
        let v1::PutChunkRequest {
            job,
            epoch,
            number,
            hash,
            data,
            log_index,
        } = request.into_inner();
        let ticket = PutTicket {
            job,
            epoch,
            log_index,
        };
        let awaited = self
            .store
            .put_chunk(&ticket, number, &hash, data)
            .await
            .map_err(status)?;
        Ok(Response::new(v1::PutChunkResponse { awaited }))
    }

    async fn await_chunk(
        &self,
        request: Request<v1::AwaitChunkRequest>,
    ) -> Result<Response<v1::AwaitChunkResponse>, Status> {
        let v1::AwaitChunkRequest { job, number } = request.into_inner();
        let hash = self.store.await_chunk(&job, number).await.map_err(status)?;
        let hash = hash.unwrap_or_default();
        Ok(Response::new(v1::AwaitChunkResponse { hash }))
    }

    async fn put(
        &self,
        request: Request<Streaming<v1::PutPart>>,
    ) -> Result<Response<v1::PutResponse>, Status> {
        let mut incoming = request.into_inner();
        let first = next_part(&mut incoming).await?;
        let Some(v1::PutPart {
            head: Some(head),
            data,
        }) = first
        else {
            return Err(Status::invalid_argument(
                "the first part must say whose bytes follow",
            ));
        };
        let ticket = PutTicket {
            job: head.job,
            epoch: head.epoch,
            log_index: head.log_index,
        };
        let (sender, parts) = mpsc::channel(PARTS_AHEAD);
        let feed = async move {
            // The store may end first, with an error that says more.
            if sender.send(data).await.is_err() {
                return Ok(());
            }
            while let Some(part) = next_part(&mut incoming).await? {
                if sender.send(part.data).await.is_err() {
                    return Ok(());
                }
            }
            Ok::<(), Status>(())
        };
        let stored = self.store.put_parts(&ticket, &head.hash, head.bytes, parts);
        let (fed, stored) = futures::join!(feed, stored);
        fed?;
        stored.map_err(status)?;
        Ok(Response::new(v1::PutResponse {}))
    }

    type ReadStream = ServedStream<v1::ReadPart>;

    async fn read(
        &self,
        request: Request<v1::ReadRequest>,
    ) -> Result<Response<Self::ReadStream>, Status> {
        let v1::ReadRequest {
            job,
            hash,
            offset,
            bytes,
        } = request.into_inner();
        let pass = self.reads.enter_within(READ_TURN).await;
        let pass = pass.map_err(convert::status)?;
        let mut parts = self.store.read(&job, &hash, offset, bytes);
        // A refusal is the answer itself, not the end of a stream that began.
        let first = parts.recv().await.transpose().map_err(status)?;
        let rest = ReceiverStream::new(parts).map(|part| match part {
            Ok((_, data)) => Ok(v1::ReadPart {
                data,
                total_bytes: 0,
            }),
            Err(error) => Err(error.problem()),
        });
        let first = first.map(|(total_bytes, data)| Ok(v1::ReadPart { data, total_bytes }));
        let parts = Outgoing::new(
            stream::iter(first).chain(rest),
            pass,
            Welcome::for_good(),
            STALL_TIMEOUT,
        );
        Ok(Response::new(Box::pin(parts.map_err(convert::status))))
    }

    type JournalStream = ServedStream<v1::JournalPart>;

    async fn journal(
        &self,
        request: Request<v1::JournalRequest>,
    ) -> Result<Response<Self::JournalStream>, Status> {
        let v1::JournalRequest { job, log_index } = request.into_inner();
        let chunks = self.store.journal(&job, log_index).await.map_err(status)?;
        let chunks = chunks.into_iter().map(|(number, chunk)| v1::JournalChunk {
            number,
            hash: chunk.hash,
            bytes: chunk.bytes,
        });
        let pages = stream::iter(chunks)
            .chunks(JOURNAL_PAGE)
            .map(|chunks| Ok(v1::JournalPart { chunks }));
        Ok(Response::new(Box::pin(pages)))
    }

    async fn begin_scrub(
        &self,
        _: Request<v1::BeginScrubRequest>,
    ) -> Result<Response<v1::BeginScrubResponse>, Status> {
        self.store.begin_scrub();
        Ok(Response::new(v1::BeginScrubResponse {}))
    }

    async fn stat(
        &self,
        request: Request<v1::StatRequest>,
    ) -> Result<Response<v1::StatResponse>, Status> {
        let v1::StatRequest { job, hashes } = request.into_inner();
        let present = self.store.stat(&job, hashes).await.map_err(status)?;
        Ok(Response::new(v1::StatResponse { present }))
    }
}

/// The next part, unless the sender has gone silent.
async fn next_part(incoming: &mut Streaming<v1::PutPart>) -> Result<Option<v1::PutPart>, Status> {
    tokio::time::timeout(STALL_TIMEOUT, incoming.message())
        .await
        .map_err(|_| Status::deadline_exceeded("the parts stopped coming"))?
}
