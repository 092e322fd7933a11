//! A source as request bodies. The upload engine asks for chunks, in order; they
//! are cut from a body as it comes. What was acknowledged is kept whatever
//! becomes of the request: the next one, to any node, brings the rest.

use std::{collections::BTreeMap, time::Duration};

use axum::{
    body::{Body, BodyDataStream},
    extract::State,
    http::{HeaderMap, StatusCode, Uri},
};
use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt};
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
    tails::Reached,
};
use crate::{
    api::{Api, Consistency},
    data::{
        limits::{CHUNK_BYTES, UPLOAD_WINDOW},
        upload::{BrokenOff, SafeChunk, UploadReply, UploadRequest},
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
    let total = faces
        .api
        .job(&id, Consistency::Linearizable)
        .await?
        .job
        .source_bytes;
    let bytes = content_length(&headers)?;
    if bytes.is_some_and(|bytes| bytes != total) {
        return Err(Refusal::bad_request(
            format!(
                "the body has {} bytes, and the job's source {total}",
                bytes.unwrap_or_default(),
            ),
            "send the file that the job was made for, whole",
        ));
    }
    whole(&faces.api, &id, body, total).await?;
    let job = wire_job(faces.api.job(&id, Consistency::Linearizable).await?);
    Ok(json(StatusCode::OK, &Job::from(&job)))
}

/// Gives a body of `total` bytes to a job as its source, and waits until all of
/// it is safe.
///
/// # Errors
/// `client-lost` where the body ends early or stands still, `bad-request` for
/// another file than before, and what the upload engine refuses.
pub async fn whole(api: &Api, job: &str, body: Body, total: u64) -> Result<(), Problem> {
    let source = Source::new(body, total);
    match append(api, job, source).await? {
        Reached { bytes, .. } if bytes == total => Ok(()),
        _ => Err(lost("the body ended before the source was whole")),
    }
}

/// How many bytes of a job's source are safe, from its beginning on.
///
/// # Errors
/// What the upload engine refuses.
pub async fn reached(api: &Api, job: &str, total: u64) -> Result<u64, Problem> {
    let (_hold, mut replies) = open(api, job).await?;
    while let Some(reply) = replies.next().await {
        match reply? {
            UploadReply::Ask { numbers } => {
                let first = numbers.first().copied().unwrap_or_default();
                return Ok((first * CHUNK_BYTES as u64).min(total));
            }
            UploadReply::Sealed { .. } => return Ok(total),
            UploadReply::Plan { .. } | UploadReply::Acked { .. } => {}
        }
    }
    Err(lost("the upload ended without an answer"))
}

type Requests = mpsc::Sender<Result<UploadRequest, BrokenOff>>;

async fn open(
    api: &Api,
    job: &str,
) -> Result<
    (
        Requests,
        impl Stream<Item = Result<UploadReply, Problem>> + Unpin,
    ),
    Problem,
> {
    let (requests, incoming) = mpsc::channel(UPLOAD_WINDOW);
    let open = UploadRequest::Open {
        job: job.to_string(),
    };
    // There is room for it, and the other end is here.
    let _ = requests.try_send(Ok(open));
    let replies = api.upload(ReceiverStream::new(incoming)).await?;
    Ok((requests, replies))
}

/// Gives a job what a body has, until it ends or the source is whole.
///
/// # Errors
/// `client-lost` where the body breaks off, `wrong-offset` where it begins
/// elsewhere than what is safe ends, `bad-request` for another file than before,
/// and what the upload engine refuses.
pub async fn append(api: &Api, job: &str, mut source: Source) -> Result<Reached, Problem> {
    let (requests, mut replies) = open(api, job).await?;
    let mut ended = false;
    while let Some(reply) = replies.next().await {
        match reply? {
            UploadReply::Plan { have, .. } => source.known = have,
            UploadReply::Ask { numbers } => {
                for number in numbers {
                    let Some(data) = source.chunk(number).await? else {
                        ended = true;
                        break;
                    };
                    let chunk = UploadRequest::Chunk { number, data };
                    // An engine that has ended says why in its last reply.
                    let _ = requests.send(Ok(chunk)).await;
                }
            }
            UploadReply::Acked { number, .. } => drop(source.unsafe_chunks.remove(&number)),
            UploadReply::Sealed { .. } => {
                return Ok(Reached {
                    bytes: source.total,
                    ..Default::default()
                });
            }
        }
        if ended && source.unsafe_chunks.is_empty() {
            return Ok(source.reached());
        }
    }
    Err(lost("the upload ended without an answer"))
}

fn lost(cause: impl Into<String>) -> Problem {
    let hint = "send the same request again; what is safe already is not written twice";
    Problem::new("client-lost", cause, hint)
}

/// A source, or what follows of it from an offset on, cut into chunks.
pub struct Source {
    body: BodyDataStream,
    /// Size of the whole source.
    total: u64,
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
    /// A body with the whole source.
    pub fn new(body: Body, total: u64) -> Self {
        Source {
            body: body.into_data_stream(),
            total,
            buffer: BytesMut::new(),
            next: 0,
            known: Vec::new(),
            unsafe_chunks: BTreeMap::new(),
            idle_max: SOURCE_IDLE_MAX,
        }
    }

    /// A body that goes on after `bytes` of the source, which are whole chunks,
    /// and the rest that came with them.
    pub fn after(reached: Reached, body: Body, total: u64) -> Self {
        let mut source = Source::new(body, total);
        source.next = reached.bytes / CHUNK_BYTES as u64;
        source.buffer.extend_from_slice(&reached.rest);
        source
    }

    /// A chunk that was asked for; none if the body ends before it does. Those
    /// before it are read over and compared with what was safe already.
    async fn chunk(&mut self, number: u64) -> Result<Option<Bytes>, Problem> {
        if let Some(data) = self.unsafe_chunks.get(&number) {
            return Ok(Some(data.clone()));
        }
        if number < self.next {
            let cause = format!("chunk {number} is wanted, and the body begins after it");
            let hint = "ask how much is safe, and go on from there";
            return Err(Problem::new("wrong-offset", cause, hint));
        }
        loop {
            let at = self.next;
            let Some(data) = self.read().await? else {
                return Ok(None);
            };
            if at == number {
                self.unsafe_chunks.insert(at, data.clone());
                return Ok(Some(data));
            }
            let safe = self.known.iter().find(|safe| safe.number == at);
            if safe.is_some_and(|safe| safe.hash != blake3::hash(&data).to_hex().as_str()) {
                let cause = format!("chunk {at} differs from what was sent before");
                let hint = "send the same file, or make another job for this one";
                return Err(Problem::new("bad-request", cause, hint));
            }
        }
    }

    /// The next chunk, if the body has all of it.
    async fn read(&mut self) -> Result<Option<Bytes>, Problem> {
        let left = self.total.saturating_sub(self.next * CHUNK_BYTES as u64);
        let bytes = usize::try_from(left).map_or(CHUNK_BYTES, |left| left.min(CHUNK_BYTES));
        while self.buffer.len() < bytes {
            let next = tokio::time::timeout(self.idle_max, self.body.next()).await;
            match next.map_err(|_| lost("nothing of the body came for too long"))? {
                Some(Ok(data)) => self.buffer.extend_from_slice(&data),
                Some(Err(error)) => return Err(lost(format!("the body broke off: {error}"))),
                None => return Ok(None),
            }
        }
        self.next += 1;
        Ok(Some(self.buffer.split_to(bytes).freeze()))
    }

    /// Where the next body has to begin, once all that was given is safe.
    fn reached(self) -> Reached {
        Reached {
            bytes: (self.next * CHUNK_BYTES as u64).min(self.total),
            rest: self.buffer.freeze(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn body(bytes: usize) -> Body {
        let parts: Vec<Result<Bytes, std::io::Error>> = (0..bytes)
            .step_by(300_000)
            .map(|from| Ok(vec![(from / 300_000) as u8; 300_000.min(bytes - from)].into()))
            .collect();
        Body::from_stream(futures::stream::iter(parts))
    }

    fn source(bytes: usize) -> Source {
        Source::new(body(bytes), bytes as u64)
    }

    async fn length(source: &mut Source, number: u64) -> Option<usize> {
        let chunk = source.chunk(number).await.unwrap();
        chunk.map(|chunk| chunk.len())
    }

    #[tokio::test]
    async fn chunks_are_cut_from_a_body_as_it_comes() {
        let mut source = source(CHUNK_BYTES + 10);
        assert_eq!(length(&mut source, 0).await, Some(CHUNK_BYTES));
        assert_eq!(length(&mut source, 1).await, Some(10));
        assert_eq!(length(&mut source, 0).await, Some(CHUNK_BYTES));
        source.unsafe_chunks.remove(&0);
        assert_eq!(source.chunk(0).await.unwrap_err().kind, "wrong-offset");
    }

    #[tokio::test]
    async fn a_body_may_end_within_a_chunk_and_the_next_one_go_on() {
        let total = 2 * CHUNK_BYTES as u64;
        let mut first = Source::new(body(CHUNK_BYTES + 10), total);
        assert_eq!(length(&mut first, 0).await, Some(CHUNK_BYTES));
        assert_eq!(length(&mut first, 1).await, None);
        let reached = first.reached();
        assert_eq!(
            (reached.bytes, reached.rest.len()),
            (CHUNK_BYTES as u64, 10)
        );
        let mut second = Source::after(reached, body(CHUNK_BYTES - 10), total);
        assert_eq!(length(&mut second, 1).await, Some(CHUNK_BYTES));
        assert_eq!(second.reached().bytes, total);
    }

    #[tokio::test]
    async fn what_was_safe_is_read_over_and_compared() {
        let first = source(CHUNK_BYTES).chunk(0).await.unwrap().unwrap();
        let safe = |hash: String| vec![SafeChunk { number: 0, hash }];
        let mut same = source(CHUNK_BYTES + 10);
        same.known = safe(blake3::hash(&first).to_hex().to_string());
        assert_eq!(length(&mut same, 1).await, Some(10));
        let mut other = source(CHUNK_BYTES + 10);
        other.known = safe(blake3::hash(b"").to_hex().to_string());
        assert_eq!(other.chunk(1).await.unwrap_err().kind, "bad-request");
    }

    #[tokio::test]
    async fn a_body_that_stands_still_is_given_up() {
        let still = futures::stream::pending::<Result<Bytes, std::io::Error>>();
        let mut source = Source::new(Body::from_stream(still), 10);
        source.idle_max = Duration::from_millis(20);
        assert_eq!(source.chunk(0).await.unwrap_err().kind, "client-lost");
    }
}
