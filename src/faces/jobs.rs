//! The `Jobs` service, the same on every node: writes go through the log
//! (the consensus room forwards them to the leader), reads are linearizable
//! unless asked otherwise, bytes come from the data plane.

use std::{pin::Pin, sync::Arc, time::Instant};

use reelraft_consensus::{Cluster, ConsensusError};
use reelraft_model::{
    CancelJob, Command, CreateJob, DeleteJob, JobEntry, JobState, Problem, State,
    limits::{NAME_BYTES_MAX, SOURCE_BYTES_MAX},
    spec,
};
use reelraft_proto::v1::{self, jobs_server::Jobs};
use tokio::sync::mpsc;
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tonic::{Code, Request, Response, Status, Streaming};

use crate::{
    faces::convert::{refusal, spec_request, status, wire_job, wire_task},
    limits::{PAGE_DEFAULT, PAGE_MAX, WATCH_EVERY, WATCH_KEEPALIVE, WATCH_LEADERLESS},
    node::{Shared, leader::unix_ms, view::View},
};

/// The `Jobs` service.
#[derive(Clone)]
pub struct JobsFace {
    shared: Arc<Shared>,
    view: Arc<View>,
}

/// Hex digits of a BLAKE3 hash.
const FINGERPRINT_DIGITS: usize = 64;

type Out<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

fn not_found(id: &str) -> Status {
    refusal(&Problem::new(
        "not-found",
        format!("there is no job {id}"),
        "see `reelraft job list`",
    ))
}

fn bad_request(cause: impl Into<String>, hint: &str) -> Status {
    refusal(&Problem::new("bad-request", cause, hint))
}

/// A consensus error as a status: all of them may pass by themselves.
pub fn consensus_status(error: &ConsensusError) -> Status {
    status(Code::Unavailable, &error.problem())
}

impl JobsFace {
    /// The service of this node.
    pub fn new(shared: Arc<Shared>, view: Arc<View>) -> Self {
        JobsFace { shared, view }
    }

    fn cluster(&self) -> &Cluster {
        &self.shared.cluster
    }

    async fn state(&self) -> Result<Arc<State>, Status> {
        self.cluster()
            .read()
            .await
            .map_err(|error| consensus_status(&error))
    }

    /// A job that exists for users: a tombstone does not.
    async fn entry(&self, id: &str) -> Result<Arc<JobEntry>, Status> {
        visible(&*self.state().await?, id)
    }

    /// As [`Self::entry`], from this replica where there is no quorum: what
    /// is finished can be read from a living home whatever else is down.
    async fn entry_or_local(&self, id: &str) -> Result<Arc<JobEntry>, Status> {
        match self.cluster().read().await {
            Ok(state) => visible(&state, id),
            Err(_) => visible(&self.cluster().local(), id),
        }
    }

    async fn propose(&self, command: Command) -> Result<(u64, reelraft_model::Reply), Status> {
        let committed = self
            .cluster()
            .propose(vec![command])
            .await
            .map_err(|error| consensus_status(&error))?;
        let reply = committed.replies.into_iter().next().unwrap_or_default();
        let reply = reply.accepted().map_err(|problem| refusal(&problem))?;
        Ok((committed.index, reply))
    }

    fn wire(&self, entry: &JobEntry) -> v1::Job {
        wire_job(entry, self.view.job(&entry.job.id).as_ref())
    }

    async fn change(&self, command: Command, id: &str) -> Result<Response<v1::Job>, Status> {
        self.propose(command).await?;
        let state = self.state().await?;
        let entry = state.job(id).ok_or_else(|| not_found(id))?;
        Ok(Response::new(self.wire(entry)))
    }
}

fn visible(state: &State, id: &str) -> Result<Arc<JobEntry>, Status> {
    state
        .job(id)
        .filter(|entry| entry.job.state() != JobState::Deleted)
        .cloned()
        .ok_or_else(|| not_found(id))
}

fn check_submit(request: &v1::SubmitRequest) -> Result<(), Status> {
    for (what, text) in [
        ("tenant", &request.tenant),
        ("request id", &request.request_id),
        ("source name", &request.source_name),
    ] {
        if text.len() > NAME_BYTES_MAX {
            return Err(bad_request(
                format!("the {what} is longer than {NAME_BYTES_MAX} bytes"),
                "shorten it",
            ));
        }
    }
    if request.request_id.is_empty() {
        return Err(bad_request(
            "no request id",
            "send one; the CLI makes one by itself",
        ));
    }
    let hex = request
        .source_fingerprint
        .bytes()
        .all(|digit| digit.is_ascii_hexdigit());
    if !hex || request.source_fingerprint.len() != FINGERPRINT_DIGITS {
        return Err(bad_request(
            format!("the source's fingerprint is not {FINGERPRINT_DIGITS} hex digits"),
            "send BLAKE3 over the length, the head and the tail of the source",
        ));
    }
    if request.source_bytes == 0 {
        return Err(refusal(&Problem::new(
            "empty-source",
            "the source is empty",
            "choose a file with video in it",
        )));
    }
    if request.source_bytes > SOURCE_BYTES_MAX {
        return Err(bad_request(
            format!("the source is larger than {SOURCE_BYTES_MAX} bytes"),
            "split it first",
        ));
    }
    Ok(())
}

fn page_size(asked: u32) -> usize {
    (if asked == 0 {
        PAGE_DEFAULT
    } else {
        asked.min(PAGE_MAX)
    }) as usize
}

#[tonic::async_trait]
impl Jobs for JobsFace {
    type UploadStream = Out<v1::UploadServer>;
    type WatchStream = Out<v1::WatchEvent>;
    type FetchStream = Out<v1::FetchPart>;

    async fn submit(
        &self,
        request: Request<v1::SubmitRequest>,
    ) -> Result<Response<v1::SubmitResponse>, Status> {
        let request = request.into_inner();
        check_submit(&request)?;
        let spec = spec::resolve(&spec_request(request.spec.unwrap_or_default()))
            .map_err(|error| refusal(&Problem::new("bad-spec", error.to_string(), error.hint())))?;
        let tenant = if request.tenant.is_empty() {
            "default".to_string()
        } else {
            request.tenant
        };
        let command = Command::CreateJob(CreateJob {
            tenant,
            request_id: request.request_id,
            spec,
            source_name: request.source_name,
            source_bytes: request.source_bytes,
            source_fingerprint: request.source_fingerprint,
            unix_ms: unix_ms(),
        });
        let (_, reply) = self.propose(command).await?;
        let state = self.state().await?;
        let entry = state.job(&reply.job).ok_or_else(|| not_found(&reply.job))?;
        Ok(Response::new(v1::SubmitResponse {
            job: Some(self.wire(entry)),
            existed: reply.existed,
        }))
    }

    async fn upload(
        &self,
        request: Request<Streaming<v1::UploadClient>>,
    ) -> Result<Response<Self::UploadStream>, Status> {
        let stream = crate::data::upload::serve(self.shared.data.clone(), request.into_inner());
        Ok(Response::new(Box::pin(stream)))
    }

    async fn get(&self, request: Request<v1::GetRequest>) -> Result<Response<v1::Job>, Status> {
        let request = request.into_inner();
        let entry = if request.local {
            visible(&self.cluster().local(), &request.job)?
        } else {
            self.entry(&request.job).await?
        };
        Ok(Response::new(self.wire(&entry)))
    }

    async fn list(
        &self,
        request: Request<v1::ListRequest>,
    ) -> Result<Response<v1::ListResponse>, Status> {
        let request = request.into_inner();
        let before = match request.page_token.as_str() {
            "" => u64::MAX,
            token => token.parse().map_err(|_| {
                bad_request(
                    "the page token is not one of ours",
                    "start again without it",
                )
            })?,
        };
        let size = page_size(request.page_size);
        let state = if request.local {
            self.cluster().local()
        } else {
            self.state().await?
        };
        let mut matching = state
            .newest_before(before)
            .filter(|entry| entry.job.state() != JobState::Deleted)
            .filter(|entry| request.tenant.is_empty() || entry.job.tenant == request.tenant);
        let page: Vec<_> = matching.by_ref().take(size).collect();
        let more = matching.next().is_some();
        let next_page_token = match page.last() {
            Some(last) if more => last.job.created_index.to_string(),
            _ => String::new(),
        };
        let jobs = page.into_iter().map(|entry| self.wire(entry)).collect();
        Ok(Response::new(v1::ListResponse {
            jobs,
            next_page_token,
        }))
    }

    async fn watch(
        &self,
        request: Request<v1::WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let id = request.into_inner().job;
        self.entry(&id).await?;
        let (out, events) = mpsc::channel(4);
        let face = self.clone();
        tokio::spawn(async move { face.follow(&id, out).await });
        Ok(Response::new(Box::pin(ReceiverStream::new(events))))
    }

    async fn cancel(&self, request: Request<v1::JobRef>) -> Result<Response<v1::Job>, Status> {
        let id = request.into_inner().job;
        self.change(
            Command::CancelJob(CancelJob {
                job: id.clone(),
                unix_ms: unix_ms(),
            }),
            &id,
        )
        .await
    }

    /// A job that is deleted already is no error: the answer to the first
    /// request may have been lost on its way.
    async fn delete(&self, request: Request<v1::JobRef>) -> Result<Response<v1::Job>, Status> {
        let id = request.into_inner().job;
        self.change(
            Command::DeleteJob(DeleteJob {
                job: id.clone(),
                unix_ms: unix_ms(),
            }),
            &id,
        )
        .await
    }

    async fn tasks(
        &self,
        request: Request<v1::TasksRequest>,
    ) -> Result<Response<v1::TasksResponse>, Status> {
        let request = request.into_inner();
        let skip: usize = match request.page_token.as_str() {
            "" => 0,
            token => token.parse().map_err(|_| {
                bad_request(
                    "the page token is not one of ours",
                    "start again without it",
                )
            })?,
        };
        let entry = self.entry(&request.job).await?;
        let size = page_size(request.page_size);
        let tasks: Vec<v1::Task> = entry
            .tasks
            .values()
            .skip(skip)
            .take(size)
            .map(|task| wire_task(task))
            .collect();
        let end = skip + tasks.len();
        let next_page_token = if end < entry.tasks.len() {
            end.to_string()
        } else {
            String::new()
        };
        Ok(Response::new(v1::TasksResponse {
            tasks,
            next_page_token,
        }))
    }

    async fn proof(
        &self,
        request: Request<v1::JobRef>,
    ) -> Result<Response<v1::ProofResponse>, Status> {
        let entry = self.entry_or_local(&request.into_inner().job).await?;
        let job = &entry.job;
        if job.proof_hash.is_empty() {
            return Err(refusal(&Problem::new(
                "not-finished",
                format!(
                    "job {} is {} and has no proof yet",
                    job.id,
                    job.state().name()
                ),
                "wait for it with `reelraft job wait`",
            )));
        }
        let bytes = self
            .shared
            .blob(&entry, &job.proof_hash)
            .await
            .map_err(|problem| refusal(&problem))?;
        let json =
            String::from_utf8(bytes).map_err(|_| Status::data_loss("the proof is not UTF-8"))?;
        Ok(Response::new(v1::ProofResponse { json }))
    }

    async fn reference(
        &self,
        request: Request<v1::JobRef>,
    ) -> Result<Response<v1::ReferenceResponse>, Status> {
        let entry = self.entry_or_local(&request.into_inner().job).await?;
        let job = &entry.job;
        if job.index_hash.is_empty() {
            return Err(refusal(&Problem::new(
                "not-analysed",
                format!(
                    "job {} is {}: its source has not been looked at yet",
                    job.id,
                    job.state().name()
                ),
                "ask again when it is encoding",
            )));
        }
        let args = self
            .shared
            .reference(&entry)
            .await
            .map_err(|problem| refusal(&problem))?;
        Ok(Response::new(v1::ReferenceResponse {
            args,
            note: job.plan_note.clone(),
        }))
    }

    async fn fetch(
        &self,
        request: Request<v1::FetchRequest>,
    ) -> Result<Response<Self::FetchStream>, Status> {
        let request = request.into_inner();
        let entry = self.entry_or_local(&request.job).await?;
        let job = &entry.job;
        if job.state() != JobState::Succeeded {
            return Err(refusal(&Problem::new(
                "not-finished",
                format!(
                    "job {} is {}: there is no output",
                    job.id,
                    job.state().name()
                ),
                "wait for it with `reelraft job wait`",
            )));
        }
        if request.offset > job.output_bytes {
            return Err(bad_request(
                format!(
                    "offset {} lies beyond the output's {} bytes",
                    request.offset, job.output_bytes
                ),
                "remove the partial file and fetch again",
            ));
        }
        let stream = crate::data::fetch::serve(self.shared.data.clone(), entry, request.offset);
        Ok(Response::new(Box::pin(stream)))
    }
}

impl JobsFace {
    /// Sends the job now and whenever it changes, until it has ended or
    /// nobody listens.
    async fn follow(&self, id: &str, out: mpsc::Sender<Result<v1::WatchEvent, Status>>) {
        let mut applied = self.cluster().applied();
        let mut last: Option<v1::WatchEvent> = None;
        let mut sent = Instant::now();
        let mut led = Instant::now();
        loop {
            applied.borrow_and_update();
            let Some(entry) = self.cluster().local().job(id).cloned() else {
                let _ = out.send(Err(not_found(id))).await;
                return;
            };
            let leadership = self.cluster().leadership().borrow().clone();
            if leadership.leader.is_some() {
                led = Instant::now();
            } else if led.elapsed() >= WATCH_LEADERLESS {
                let waited_ms = led.elapsed().as_millis() as u64;
                let _ = out
                    .send(Err(consensus_status(&ConsensusError::NoLeader {
                        waited_ms,
                    })))
                    .await;
                return;
            }
            let event = v1::WatchEvent {
                job: Some(self.wire(&entry)),
                leader: leadership.leader.unwrap_or(0),
                term: leadership.term,
            };
            if last.as_ref() != Some(&event) || sent.elapsed() >= WATCH_KEEPALIVE {
                sent = Instant::now();
                last = Some(event.clone());
                if out.send(Ok(event)).await.is_err() {
                    return;
                }
            }
            if entry.job.state().ended() {
                return;
            }
            // Progress is no table change, so look again after a while; and
            // never more often than a person can read.
            tokio::time::sleep(WATCH_EVERY).await;
            tokio::select! {
                changed = applied.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(WATCH_EVERY) => {}
                () = out.closed() => return,
            }
        }
    }
}
