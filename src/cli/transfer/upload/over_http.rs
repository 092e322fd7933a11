//! An upload through the HTTP port, in the words of tus 1.0: asks how far it
//! is, and sends the rest as one request. What the cluster already has is
//! compared when all of it is there, by the root.

use std::{future::pending, io, time::Duration};

use bytes::Bytes;
use reelraft_proto::v1::{GetRequest, Job, JobState, Problem};
use reqwest::{
    Body, Method, StatusCode,
    header::{CONTENT_LENGTH, CONTENT_TYPE},
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

use super::sending::{Broken, Upload, nonsense};
use crate::{
    client::{Client, RetryBudget},
    door::{HttpDoor, answered},
    error::CliError,
    limits::{CALL_MS, CHUNKS_IN_FLIGHT, HTTP_SILENCE_MS},
};

const OFFSET: &str = "upload-offset";

/// The media type of what follows an offset.
const OFFSET_TYPE: &str = "application/offset+octet-stream";

/// The protocol's version, in every request.
const VERSION: (&str, &str) = ("tus-resumable", "1.0.0");

fn broken(error: reqwest::Error) -> Status {
    Status::from_error(Box::new(error))
}

fn too_large_for_a_proxy() -> CliError {
    let problem = Problem {
        kind: "too-large".into(),
        cause: "a proxy before the node takes no request of this size".into(),
        hint: "have it pass bodies of any size to /api/v1/uploads, or ask a node without it".into(),
    };
    CliError::Refused {
        code: Code::InvalidArgument,
        problem,
    }
}

impl Upload {
    /// Sends what is missing, and returns the root it was sealed under.
    pub(super) async fn over_one_request(
        &mut self,
        client: &mut Client,
        door: &HttpDoor,
        retries: &mut RetryBudget,
    ) -> Result<String, Broken> {
        let offset = self.offset(client, door).await?;
        if offset > self.source.bytes {
            return Err(nonsense("more bytes are there than the source has"));
        }
        // What was sent is no progress yet: a proxy may have dropped it.
        if offset > self.reached {
            self.reached = offset;
            client.record_progress(retries);
        }
        self.send_from(offset, client, door).await?;
        let job = self.job(client).await?;
        match job.source_root.is_empty() {
            // It ended in another way: the next look says how.
            true => Err(Broken::Status(Status::unavailable(
                "the source is not sealed yet",
            ))),
            false => Ok(job.source_root),
        }
    }

    async fn job(&self, client: &mut Client) -> Result<Job, Broken> {
        let get = GetRequest {
            job: self.job.clone(),
            local: false,
        };
        client
            .call(get, async |mut jobs, request| jobs.get(request).await)
            .await
            .map_err(Broken::Final)
    }

    /// How many bytes are safe, or kept by this node.
    async fn offset(&self, client: &mut Client, door: &HttpDoor) -> Result<u64, Broken> {
        let asked = door
            .request(Method::HEAD, &self.path())
            .header(VERSION.0, VERSION.1)
            .timeout(Duration::from_millis(CALL_MS));
        let answer = asked.send().await.map_err(broken)?;
        let status = answer.status();
        if !status.is_success() {
            // A refusal of HEAD has no body that could say why; a call does.
            let job = self.job(client).await?;
            return Err(Broken::Status(match job.state() {
                JobState::Uploading => Status::unavailable(format!("the node answered {status}")),
                _ => Status::failed_precondition("the job takes no upload any more"),
            }));
        }
        let offset = answer.headers().get(OFFSET);
        let offset = offset.and_then(|value| value.to_str().ok()?.parse().ok());
        offset.ok_or_else(|| nonsense("an upload without an offset"))
    }

    async fn send_from(
        &mut self,
        offset: u64,
        client: &Client,
        door: &HttpDoor,
    ) -> Result<(), Broken> {
        let (queue, body) = mpsc::channel::<io::Result<Bytes>>(CHUNKS_IN_FLIGHT);
        let request = door
            .request(Method::PATCH, &self.path())
            .header(VERSION.0, VERSION.1)
            .header(CONTENT_TYPE, OFFSET_TYPE)
            .header(OFFSET, offset)
            .header(CONTENT_LENGTH, self.source.bytes - offset)
            .body(Body::wrap_stream(ReceiverStream::new(body)));
        let answer = request.send();
        tokio::pin!(answer);
        let silence = Duration::from_millis(HTTP_SILENCE_MS);
        let chunk_bytes = u64::from(self.chunk_bytes);
        let mut queue = (offset < self.source.bytes).then_some(queue);
        let mut at = offset;
        let answer = loop {
            self.show(client, at);
            let room = async {
                match &queue {
                    Some(queue) => queue.clone().reserve_owned().await,
                    None => pending().await,
                }
            };
            tokio::select! {
                answer = &mut answer => break answer.map_err(broken)?,
                room = room => {
                    // The request is over, and its answer comes next.
                    let Ok(permit) = room else { queue = None; continue };
                    let number = at / chunk_bytes;
                    let data = self.read_chunk(number).await?;
                    let beyond = (at - number * chunk_bytes) as usize;
                    at += (data.len() - beyond) as u64;
                    permit.send(Ok(data.slice(beyond..)));
                    if at == self.source.bytes {
                        queue = None;
                    }
                }
                () = tokio::time::sleep(silence) => {
                    let status = Status::deadline_exceeded("the upload stands still");
                    return Err(Broken::Status(status));
                }
            }
        };
        let refused = match answered(answer).await.map_err(broken)? {
            Ok(answer) if answer.status().is_success() => return Ok(()),
            Ok(answer) if answer.status() == StatusCode::PAYLOAD_TOO_LARGE => {
                return Err(Broken::Final(too_large_for_a_proxy()));
            }
            Ok(answer) => Status::unavailable(format!("a proxy answered {}", answer.status())),
            Err(status) => status,
        };
        // The node has another count of bytes: ask again.
        Err(Broken::Status(match refused.code() {
            Code::FailedPrecondition => Status::unavailable(refused.message()),
            _ => refused,
        }))
    }

    fn path(&self) -> String {
        format!("/api/v1/uploads/{}", self.job)
    }
}
