//! A source as request bodies. The upload engine asks for chunks, in order; they
//! are cut from a body as it comes. What was acknowledged is kept whatever
//! becomes of the request: the next one, to any node, brings the rest.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use axum::{
    body::{Body, BodyDataStream},
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
    openapi::Binary,
    refusal::{Answer, Refusal},
    request::{content_length, known},
};
use crate::{
    api::{Api, Consistency},
    data::{
        limits::{CHUNK_BYTES, UPLOAD_WINDOW},
        upload::{BrokenOff, Order, UploadReply, UploadRequest},
    },
    grpc::convert::wire_job,
};

/// Takes a job's whole source. Sent again after a break, only what is missing is
/// written.
#[utoipa::path(
    put, path = "/jobs/{id}/source", operation_id = "put_source", tag = "jobs",
    request_body(content = Binary, content_type = "application/octet-stream"),
    responses((status = 200, description = "It is safe", body = Job)),
)]
pub async fn put(
    faces: Faces,
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
/// it is safe. Where it is safe already, the body is compared with it.
///
/// # Errors
/// `client-lost` where the body ends early or stands still, `bad-request` for
/// one that is longer or differs from what was sent before, `other-source` where
/// the job has another file, and what the upload engine refuses.
pub async fn whole(api: &Api, job: &str, body: Body, total: u64) -> Result<(), Problem> {
    let mut source = Source::new(body, total);
    let Some(root) = append(api, job, &mut source).await? else {
        return Err(lost("the body ended before the source was whole"));
    };
    let mut welcome = api.welcome();
    while source.at() < total {
        if welcome.during(source.read()).await?.is_none() {
            return Err(lost("the body ended before the source was whole"));
        }
    }
    match source.root.finalize().to_hex().as_str() == root {
        true => Ok(()),
        false => Err(Problem::new(
            "other-source",
            format!("job {job} was made of another file"),
            "make another job for this one, under another Idempotency-Key",
        )),
    }
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
    let replies = api
        .upload(ReceiverStream::new(incoming), Order::Rising)
        .await?;
    Ok((requests, replies))
}

/// Gives a job what a body has; the root once the source is whole, none where
/// the body ends before that and all that it had is safe.
///
/// # Errors
/// `client-lost` where the body breaks off, `wrong-offset` where it begins
/// behind what is safe, `bad-request` for another file than before, and what the
/// upload engine refuses.
pub async fn append(api: &Api, job: &str, source: &mut Source) -> Result<Option<String>, Problem> {
    let (requests, mut replies) = open(api, job).await?;
    let mut asked: VecDeque<u64> = VecDeque::new();
    let mut ended = false;
    let mut broken = None;
    loop {
        // However the body ended: what came of it before that is kept.
        if ended && source.unsafe_chunks.is_empty() {
            return broken.map_or(Ok(None), Err);
        }
        let wanted = asked.front().copied().filter(|_| !ended);
        // Replies are taken while the body is read: an engine that finds nobody
        // there would let go of a client that is only slow.
        let reply = tokio::select! {
            biased;
            reply = replies.next() => {
                reply.ok_or_else(|| lost("the upload ended without an answer"))??
            }
            chunk = source.chunk(wanted.unwrap_or_default()), if wanted.is_some() => {
                let data = match chunk {
                    Ok(Some(data)) => data,
                    Ok(None) => {
                        ended = true;
                        continue;
                    }
                    Err(problem) => {
                        (ended, broken) = (true, Some(problem));
                        continue;
                    }
                };
                let number = wanted.unwrap_or_default();
                asked.pop_front();
                // An engine that has ended says why in its last reply.
                let _ = requests.send(Ok(UploadRequest::Chunk { number, data })).await;
                continue;
            }
        };
        match reply {
            UploadReply::Plan { have, .. } => {
                let known = have.into_iter().map(|safe| (safe.number, safe.hash));
                source.known = known.collect();
            }
            UploadReply::Ask { numbers } => {
                source.check_begin(numbers.first())?;
                asked.extend(numbers);
            }
            UploadReply::Acked { number, .. } => drop(source.unsafe_chunks.remove(&number)),
            UploadReply::Sealed { root } => return Ok(Some(root)),
        }
    }
}

/// The refusal of a body that broke off or stood still.
pub const BROKEN_OFF: &str = "client-lost";

fn lost(cause: impl Into<String>) -> Problem {
    let hint = "send the same request again; what is safe already is not written twice";
    Problem::new(BROKEN_OFF, cause, hint)
}

/// The refusal of a body that does not begin where what is safe ends.
pub fn wrong_offset(cause: String) -> Problem {
    let hint = "ask for the offset with HEAD, and go on from there";
    Problem::new("wrong-offset", cause, hint)
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
    /// Where what is safe must end before the body begins; none: anywhere.
    begins: Option<u64>,
    /// The first chunk that was asked for of a body which begins somewhere.
    safe: u64,
    /// Hashes of chunks that were safe before, by number.
    known: BTreeMap<u64, String>,
    /// Chunks that were given and are not safe yet: a home that fails has them
    /// asked for once more.
    unsafe_chunks: BTreeMap<u64, Bytes>,
    /// Over the hashes of all chunks that were read.
    root: blake3::Hasher,
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
            begins: None,
            safe: 0,
            known: BTreeMap::new(),
            unsafe_chunks: BTreeMap::new(),
            root: blake3::Hasher::new(),
            idle_max: SOURCE_IDLE_MAX,
        }
    }

    /// A body that goes on after so many chunks, and after the rest that came
    /// with them.
    pub fn after(chunks: u64, rest: &[u8], body: Body, total: u64) -> Self {
        let mut source = Source::new(body, total);
        (source.next, source.begins) = (chunks, Some(chunks));
        source.buffer.extend_from_slice(rest);
        source
    }

    /// Where the next chunk begins that is not safe.
    pub fn at(&self) -> u64 {
        (self.next.max(self.safe) * CHUNK_BYTES as u64).min(self.total)
    }

    /// What came after the last whole chunk; nothing where that was safe before.
    pub fn rest(&self) -> &[u8] {
        match self.next < self.safe {
            true => &[],
            false => &self.buffer,
        }
    }

    /// Compares the first chunk that is asked for with where the body begins: it
    /// may repeat what has become safe meanwhile, and leaves nothing out.
    fn check_begin(&mut self, first: Option<&u64>) -> Result<(), Problem> {
        let begins = self.begins.take();
        if let (Some(begins), Some(&first)) = (begins, first) {
            self.safe = first;
            if begins > first {
                let safe = first * CHUNK_BYTES as u64;
                let cause = format!("{safe} bytes are safe, and the body begins beyond");
                return Err(wrong_offset(cause));
            }
        }
        Ok(())
    }

    /// A chunk that was asked for; none if the body ends before it does. Those
    /// before it are read over and compared with what was safe already. May be
    /// dropped and called again.
    async fn chunk(&mut self, number: u64) -> Result<Option<Bytes>, Problem> {
        if let Some(data) = self.unsafe_chunks.get(&number) {
            return Ok(Some(data.clone()));
        }
        if number < self.next {
            let cause = format!("chunk {number} is wanted, and the body is beyond it");
            return Err(wrong_offset(cause));
        }
        loop {
            let at = self.next;
            let Some((data, hash)) = self.read().await? else {
                return Ok(None);
            };
            if at == number {
                self.unsafe_chunks.insert(at, data.clone());
                return Ok(Some(data));
            }
            let safe = self.known.get(&at);
            if safe.is_some_and(|safe| safe != hash.to_hex().as_str()) {
                let cause = format!("chunk {at} differs from what was sent before");
                let hint = "send the same file, or make another job for this one";
                return Err(Problem::new("bad-request", cause, hint));
            }
        }
    }

    /// The next chunk and its hash, if the body has all of it. With the last one
    /// the body must end.
    async fn read(&mut self) -> Result<Option<(Bytes, blake3::Hash)>, Problem> {
        let left = self.total.saturating_sub(self.next * CHUNK_BYTES as u64);
        let bytes = usize::try_from(left).map_or(CHUNK_BYTES, |left| left.min(CHUNK_BYTES));
        let last = left <= CHUNK_BYTES as u64;
        while self.buffer.len() < bytes || last {
            if self.buffer.len() > bytes {
                return Err(Problem::new(
                    "bad-request",
                    format!("the body is longer than the {} bytes", self.total),
                    "send the file that the job was made for",
                ));
            }
            let next = tokio::time::timeout(self.idle_max, self.body.next()).await;
            match next.map_err(|_| lost("nothing of the body came for too long"))? {
                Some(Ok(data)) => self.buffer.extend_from_slice(&data),
                Some(Err(error)) => return Err(lost(format!("the body broke off: {error}"))),
                None if self.buffer.len() < bytes => return Ok(None),
                None => break,
            }
        }
        self.next += 1;
        let data = self.buffer.split_to(bytes).freeze();
        let hash = blake3::hash(&data);
        self.root.update(hash.as_bytes());
        Ok(Some((data, hash)))
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

    async fn refused(source: &mut Source, number: u64) -> String {
        source.chunk(number).await.unwrap_err().kind
    }

    #[tokio::test]
    async fn chunks_are_cut_from_a_body_as_it_comes() {
        let mut source = source(CHUNK_BYTES + 10);
        assert_eq!(length(&mut source, 0).await, Some(CHUNK_BYTES));
        assert_eq!(length(&mut source, 1).await, Some(10));
        assert_eq!(length(&mut source, 0).await, Some(CHUNK_BYTES));
        source.unsafe_chunks.remove(&0);
        assert_eq!(refused(&mut source, 0).await, "wrong-offset");
    }

    #[tokio::test]
    async fn a_body_may_end_within_a_chunk_and_the_next_one_go_on() {
        let total = 2 * CHUNK_BYTES as u64;
        let mut first = Source::new(body(CHUNK_BYTES + 10), total);
        assert_eq!(length(&mut first, 0).await, Some(CHUNK_BYTES));
        assert_eq!(length(&mut first, 1).await, None);
        assert_eq!((first.at(), first.rest().len()), (CHUNK_BYTES as u64, 10));
        let mut second = Source::after(1, first.rest(), body(CHUNK_BYTES - 10), total);
        assert!(second.check_begin(Some(&1)).is_ok());
        assert_eq!(length(&mut second, 1).await, Some(CHUNK_BYTES));
        assert_eq!(second.at(), total);
        let mut elsewhere = Source::after(1, b"", body(10), total);
        assert_eq!(
            elsewhere.check_begin(Some(&0)).unwrap_err().kind,
            "wrong-offset"
        );
    }

    #[tokio::test]
    async fn a_body_may_repeat_what_became_safe_meanwhile() {
        let total = 3 * CHUNK_BYTES as u64;
        let mut source = Source::after(0, b"", body(CHUNK_BYTES + 10), total);
        assert!(source.check_begin(Some(&1)).is_ok());
        assert_eq!(length(&mut source, 1).await, None);
        assert_eq!((source.at(), source.rest().len()), (CHUNK_BYTES as u64, 10));
        let mut short = Source::after(0, b"", body(10), total);
        assert!(short.check_begin(Some(&2)).is_ok());
        assert_eq!(length(&mut short, 2).await, None);
        let reached = (short.at(), short.rest().len());
        assert_eq!(reached, (2 * CHUNK_BYTES as u64, 0));
    }

    #[tokio::test]
    async fn what_was_safe_is_read_over_and_compared() {
        let first = source(CHUNK_BYTES).chunk(0).await.unwrap().unwrap();
        let safe = |hash: blake3::Hash| BTreeMap::from([(0, hash.to_hex().to_string())]);
        let mut same = source(CHUNK_BYTES + 10);
        same.known = safe(blake3::hash(&first));
        assert_eq!(length(&mut same, 1).await, Some(10));
        let mut other = source(CHUNK_BYTES + 10);
        other.known = safe(blake3::hash(b""));
        assert_eq!(refused(&mut other, 1).await, "bad-request");
    }

    #[tokio::test]
    async fn a_body_that_is_too_long_or_stands_still_is_refused() {
        let mut long = Source::new(body(CHUNK_BYTES + 11), CHUNK_BYTES as u64 + 10);
        assert_eq!(length(&mut long, 0).await, Some(CHUNK_BYTES));
        assert_eq!(refused(&mut long, 1).await, "bad-request");
        let still = futures::stream::pending::<Result<Bytes, std::io::Error>>();
        let mut source = Source::new(Body::from_stream(still), 10);
        source.idle_max = Duration::from_millis(20);
        assert_eq!(refused(&mut source, 0).await, "client-lost");
    }
}
