//! A source as one request body. The upload engine asks for chunks, in order;
//! they are cut from the body as it comes. What was acknowledged is kept
//! whatever becomes of the request: the same one again sends only the rest.

use std::{collections::BTreeMap, time::Duration};

use axum::{
    body::{Body, BodyDataStream},
    extract::State,
    http::{HeaderMap, StatusCode, Uri},
};
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use reelraft_model::Problem;
use reelraft_proto::documents::Job;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::{
    documents::json,
    faces::{Faces, JobId},
    limits::SOURCE_IDLE_MAX,
    refusal::{Answer, Refusal},
    request::{content_length, known},
};
use crate::{
    api::{Api, Consistency},
    data::{
        limits::{CHUNK_BYTES, UPLOAD_WINDOW},
        upload::{SafeChunk, UploadReply, UploadRequest},
    },
    grpc::convert::wire_job,
};

/// `PUT /jobs/{id}/source`.
pub async fn put(
    State(faces): State<Faces>,
    JobId(id): JobId,
    headers: HeaderMap,
    uri: Uri,
    body: Body,
) -> Answer {
    let [] = known(&uri, [])?;
    let job = faces.api.job(&id, Consistency::Linearizable).await?.job;
    let bytes = content_length(&headers)?;
    if bytes.is_some_and(|bytes| bytes != job.source_bytes) {
        return Err(Refusal::bad_request(
            format!(
                "the body has {} bytes, and the job's source {}",
                bytes.unwrap_or_default(),
                job.source_bytes
            ),
            "send the file that the job was made for, whole",
        ));
    }
    upload(&faces.api, &id, body).await?;
    let job = wire_job(faces.api.job(&id, Consistency::Linearizable).await?);
    Ok(json(StatusCode::OK, &Job::from(&job)))
}

/// Gives a body to a job as its source, and waits until all of it is safe.
///
/// # Errors
/// `client-lost` where the body ends early or stands still, `bad-request` for
/// another file than before, and what the upload engine refuses.
pub async fn upload(api: &Api, job: &str, body: Body) -> Result<(), Problem> {
    let (requests, incoming) = mpsc::channel(UPLOAD_WINDOW);
    let say = async |request| {
        // One that has ended says why in its last reply.
        let _ = requests.send(Ok(request)).await;
    };
    say(UploadRequest::Open {
        job: job.to_string(),
    })
    .await;
    let mut replies = api.upload(ReceiverStream::new(incoming)).await?;
    let mut source = Source::new(body);
    while let Some(reply) = replies.next().await {
        match reply? {
            UploadReply::Plan {
                chunk_bytes: _,
                have,
            } => source.known = have,
            UploadReply::Ask { numbers } => {
                for number in numbers {
                    let data = source.chunk(number).await?;
                    say(UploadRequest::Chunk { number, data }).await;
                }
            }
            UploadReply::Acked { number, .. } => drop(source.unsafe_chunks.remove(&number)),
            UploadReply::Sealed { .. } => return Ok(()),
        }
    }
    Err(lost("the upload ended without an answer"))
}

fn lost(cause: impl Into<String>) -> Problem {
    let hint = "send the same request again; what is safe already is not written twice";
    Problem::new("client-lost", cause, hint)
}

/// A body as chunks.
struct Source {
    body: BodyDataStream,
    /// Bytes that have come and are in no chunk yet.
    buffer: BytesMut,
    /// The number of the next chunk.
    next: u64,
    /// Chunks that were safe before, by number.
    known: Vec<SafeChunk>,
    /// Chunks that were given and are not safe yet: a home that fails has them
    /// asked for once more.
    unsafe_chunks: BTreeMap<u64, Bytes>,
    idle_max: Duration,
}

impl Source {
    fn new(body: Body) -> Self {
        Source {
            body: body.into_data_stream(),
            buffer: BytesMut::new(),
            next: 0,
            known: Vec::new(),
            unsafe_chunks: BTreeMap::new(),
            idle_max: SOURCE_IDLE_MAX,
        }
    }

    /// A chunk that was asked for. Those before it are read over and compared
    /// with what was safe already.
    async fn chunk(&mut self, number: u64) -> Result<Bytes, Problem> {
        if let Some(data) = self.unsafe_chunks.get(&number) {
            return Ok(data.clone());
        }
        if number < self.next {
            return Err(lost(format!("chunk {number} is wanted once more")));
        }
        loop {
            let at = self.next;
            let data = self.read().await?;
            if at == number {
                self.unsafe_chunks.insert(at, data.clone());
                return Ok(data);
            }
            let safe = self.known.iter().find(|safe| safe.number == at);
            if safe.is_some_and(|safe| safe.hash != blake3::hash(&data).to_hex().as_str()) {
                let cause = format!("chunk {at} differs from what was sent before");
                let hint = "send the same file, or make another job for this one";
                return Err(Problem::new("bad-request", cause, hint));
            }
        }
    }

    async fn read(&mut self) -> Result<Bytes, Problem> {
        while self.buffer.len() < CHUNK_BYTES {
            let next = tokio::time::timeout(self.idle_max, self.body.next()).await;
            match next.map_err(|_| lost("nothing of the body came for too long"))? {
                Some(Ok(data)) => self.buffer.extend_from_slice(&data),
                Some(Err(error)) => return Err(lost(format!("the body broke off: {error}"))),
                None => break,
            }
        }
        if self.buffer.is_empty() {
            return Err(lost("the body ended before the source was whole"));
        }
        self.next += 1;
        let bytes = self.buffer.len().min(CHUNK_BYTES);
        Ok(self.buffer.split_to(bytes).freeze())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn source(bytes: usize) -> Source {
        let parts: Vec<Result<Bytes, std::io::Error>> = (0..bytes)
            .step_by(300_000)
            .map(|from| Ok(vec![(from / 300_000) as u8; 300_000.min(bytes - from)].into()))
            .collect();
        Source::new(Body::from_stream(futures::stream::iter(parts)))
    }

    #[tokio::test]
    async fn chunks_are_cut_from_a_body_as_it_comes() {
        let mut source = source(CHUNK_BYTES + 10);
        assert_eq!(source.chunk(0).await.unwrap().len(), CHUNK_BYTES);
        assert_eq!(source.chunk(1).await.unwrap().len(), 10);
        assert_eq!(source.chunk(0).await.unwrap().len(), CHUNK_BYTES);
        source.unsafe_chunks.remove(&0);
        assert_eq!(source.chunk(0).await.unwrap_err().kind, "client-lost");
        assert_eq!(source.chunk(2).await.unwrap_err().kind, "client-lost");
    }

    #[tokio::test]
    async fn what_was_safe_is_read_over_and_compared() {
        let first = source(CHUNK_BYTES).chunk(0).await.unwrap();
        let safe = |hash: String| vec![SafeChunk { number: 0, hash }];
        let mut same = source(CHUNK_BYTES + 10);
        same.known = safe(blake3::hash(&first).to_hex().to_string());
        assert_eq!(same.chunk(1).await.unwrap().len(), 10);
        let mut other = source(CHUNK_BYTES + 10);
        other.known = safe(blake3::hash(b"").to_hex().to_string());
        assert_eq!(other.chunk(1).await.unwrap_err().kind, "bad-request");
    }

    #[tokio::test]
    async fn a_body_that_stands_still_is_given_up() {
        let mut source = Source::new(Body::from_stream(futures::stream::pending::<
            Result<Bytes, std::io::Error>,
        >()));
        source.idle_max = Duration::from_millis(20);
        assert_eq!(source.chunk(0).await.unwrap_err().kind, "client-lost");
    }
}
