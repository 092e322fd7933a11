//! A cluster of fake nodes that speak the protocol over real sockets and share
//! one table. Each lives in a runtime of its own, so that it can be killed
//! with all its connections. Faults are set on the shared [`World`].

use std::{
    pin::Pin,
    result::Result,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::Stream;
use reelraft_proto::{
    problem::to_status,
    v1::{
        cluster_server::ClusterServer,
        jobs_server::{Jobs, JobsServer},
        upload_client::Message as Up,
        upload_server::Message as Down,
        *,
    },
};
use tokio::{net::TcpListener, runtime::Runtime, sync::mpsc};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status, Streaming};

use crate::world::World;

pub const CHUNK: u32 = 64 << 10;

type Shared = Arc<Mutex<World>>;

pub struct FakeCluster {
    pub world: Shared,
    nodes: Vec<Option<Runtime>>,
    pub addresses: Vec<String>,
}

impl FakeCluster {
    pub fn start(nodes: usize) -> Self {
        let world = Shared::default();
        let (nodes, addresses) = (0..nodes)
            .map(|number| {
                let runtime = tokio::runtime::Builder::new_multi_thread()
                    .worker_threads(1)
                    .enable_all()
                    .build()
                    .unwrap();
                let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
                listener.set_nonblocking(true).unwrap();
                let address = listener.local_addr().unwrap().to_string();
                let listener = {
                    let _inside = runtime.enter();
                    TcpListener::from_std(listener).unwrap()
                };
                let node = Node {
                    world: world.clone(),
                    id: number as u64 + 1,
                };
                runtime.spawn(
                    tonic::transport::Server::builder()
                        .add_service(JobsServer::new(node.clone()))
                        .add_service(ClusterServer::new(node))
                        .serve_with_incoming(TcpListenerStream::new(listener)),
                );
                (Some(runtime), address)
            })
            .unzip();
        FakeCluster {
            world,
            nodes,
            addresses,
        }
    }

    pub fn with<T>(&self, change: impl FnOnce(&mut World) -> T) -> T {
        change(&mut self.world.lock().unwrap())
    }

    pub fn kill(&mut self, node: usize) {
        self.nodes[node].take().unwrap().shutdown_background();
    }

    /// A finished job with this output.
    pub fn finished(&self, output: Vec<u8>) {
        self.with(|world| {
            let mut job = Job {
                id: "j1".into(),
                output_hash: blake3::hash(&output).to_hex().to_string(),
                output_bytes: output.len() as u64,
                ..Default::default()
            };
            job.set_state(JobState::Succeeded);
            world.job = Some(job);
            world.output = output.into();
        });
    }
}

impl Drop for FakeCluster {
    fn drop(&mut self) {
        for runtime in self.nodes.iter_mut().filter_map(Option::take) {
            runtime.shutdown_background();
        }
    }
}

#[derive(Clone)]
pub struct Node {
    world: Shared,
    pub id: u64,
}

fn refusal(kind: &str, cause: &str) -> Status {
    to_status(&problem(kind, cause))
}

pub fn problem(kind: &str, cause: &str) -> Problem {
    Problem {
        kind: kind.into(),
        cause: cause.into(),
        hint: "do otherwise".into(),
    }
}

impl Node {
    fn led(&self) -> Result<(), Status> {
        let mut world = self.world.lock().unwrap();
        if world.leaderless > 0 {
            world.leaderless -= 1;
            return Err(refusal("no-leader", "there is no leader"));
        }
        Ok(())
    }

    fn job(&self, id: &str) -> Result<Job, Status> {
        self.led()?;
        let world = self.world.lock().unwrap();
        let job = world.job.clone().filter(|job| job.id == id);
        job.ok_or_else(|| refusal("not-found", &format!("there is no job {id}")))
    }
}

type Answer<T> = Result<Response<T>, Status>;
type Out<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl Jobs for Node {
    type UploadStream = Out<UploadServer>;
    type WatchStream = Out<WatchEvent>;
    type FetchStream = Out<FetchPart>;

    async fn submit(
        &self,
        request: Request<SubmitRequest>,
    ) -> Result<Response<SubmitResponse>, Status> {
        self.led()?;
        let request = request.into_inner();
        let mut world = self.world.lock().unwrap();
        world.submits += 1;
        if let Some(problem) = &world.refuse_submit {
            return Err(to_status(problem));
        }
        let existed = world.job.is_some();
        let job = world.job.get_or_insert_with(|| {
            let mut job = Job {
                id: "j1".into(),
                request_id: request.request_id.clone(),
                source_bytes: request.source_bytes,
                spec: request.spec.clone(),
                ..Default::default()
            };
            job.set_state(JobState::Uploading);
            job
        });
        Ok(Response::new(SubmitResponse {
            job: Some(job.clone()),
            existed,
        }))
    }

    async fn upload(
        &self,
        request: Request<Streaming<UploadClient>>,
    ) -> Result<Response<Self::UploadStream>, Status> {
        let mut incoming = request.into_inner();
        let Some(Up::Open(open)) = incoming.message().await?.and_then(|m| m.message) else {
            return Err(Status::invalid_argument("no open"));
        };
        let job = self.job(&open.job)?;
        let (down, outgoing) = mpsc::channel(8);
        let world = self.world.clone();
        tokio::spawn(async move {
            let status = serve_upload(&world, &job, &mut incoming, &down).await;
            if let Err(status) = status {
                let _ = down.send(Err(status)).await;
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(outgoing))))
    }

    async fn get(&self, request: Request<GetRequest>) -> Result<Response<Job>, Status> {
        self.job(&request.into_inner().job).map(Response::new)
    }

    async fn list(&self, request: Request<ListRequest>) -> Result<Response<ListResponse>, Status> {
        self.led()?;
        // Three pages, the token counts them.
        let page: u32 = request.into_inner().page_token.parse().unwrap_or(0);
        let mut jobs = vec![Job::default()];
        if page == 2 {
            let world = self.world.lock().unwrap();
            jobs.extend(world.listed.iter().map(|id| Job {
                id: id.clone(),
                state: world.listed_as.into(),
                ..Default::default()
            }));
        }
        Ok(Response::new(ListResponse {
            jobs,
            next_page_token: if page < 2 {
                (page + 1).to_string()
            } else {
                String::new()
            },
        }))
    }

    async fn watch(
        &self,
        request: Request<WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let job = self.job(&request.into_inner().job)?;
        let mut world = self.world.lock().unwrap();
        let event = |job| WatchEvent {
            job: Some(job),
            leader: self.id,
            term: 1,
        };
        if std::mem::take(&mut world.watch_is_silent) {
            let (keep, never) = mpsc::channel::<Result<WatchEvent, Status>>(1);
            std::mem::forget(keep);
            return Ok(Response::new(Box::pin(ReceiverStream::new(never))));
        }
        let ended = i32::from(JobState::Succeeded) <= job.state;
        let mut events = vec![Ok(event(job.clone()))];
        if std::mem::take(&mut world.watch_breaks) {
            return Ok(Response::new(Box::pin(tokio_stream::iter(events))));
        }
        if let (false, Some(end)) = (ended, world.end) {
            let (output, note) = (world.output.clone(), world.note.clone());
            let job = world.job.as_mut().unwrap();
            job.set_state(end);
            job.plan_note = note;
            job.output_hash = blake3::hash(&output).to_hex().to_string();
            job.output_bytes = output.len() as u64;
            if end == JobState::Failed {
                job.problem = Some(problem("no-video", "the source has no video"));
            }
            events.push(Ok(event(job.clone())));
        } else if !ended {
            let (keep, never) = mpsc::channel::<Result<WatchEvent, Status>>(1);
            std::mem::forget(keep);
            use tokio_stream::StreamExt;
            let stream = tokio_stream::iter(events).chain(ReceiverStream::new(never));
            return Ok(Response::new(Box::pin(stream)));
        }
        Ok(Response::new(Box::pin(tokio_stream::iter(events))))
    }

    async fn cancel(&self, request: Request<JobRef>) -> Result<Response<Job>, Status> {
        self.job(&request.into_inner().job)?;
        let mut world = self.world.lock().unwrap();
        world.cancels += 1;
        let job = world.job.as_mut().unwrap();
        job.set_state(JobState::Cancelled);
        Ok(Response::new(job.clone()))
    }

    async fn replan(&self, request: Request<JobRef>) -> Result<Response<Job>, Status> {
        let job = self.job(&request.into_inner().job)?;
        let cause = format!("job {} has already failed", job.id);
        Err(refusal("already-ended", &cause))
    }

    async fn delete(&self, request: Request<JobRef>) -> Result<Response<Job>, Status> {
        let job = self.job(&request.into_inner().job)?;
        let mut world = self.world.lock().unwrap();
        if world.deletes > 0 {
            world.deletes -= 1;
            return Ok(Response::new(job));
        }
        let cause = format!("job {} has not ended", job.id);
        Err(refusal("not-finished", &cause))
    }

    async fn tasks(&self, _: Request<TasksRequest>) -> Result<Response<TasksResponse>, Status> {
        Ok(Response::new(TasksResponse {
            tasks: vec![],
            // A page that points to itself, on the second asking.
            next_page_token: "again".into(),
        }))
    }

    async fn proof(&self, _: Request<JobRef>) -> Result<Response<ProofResponse>, Status> {
        Ok(Response::new(ProofResponse {
            json: "no json".into(),
        }))
    }

    async fn measure(&self, _: Request<JobRef>) -> Answer<MeasureResponse> {
        Ok(Response::new(Default::default()))
    }

    async fn measured(&self, _: Request<JobRef>) -> Answer<MeasureResponse> {
        Ok(Response::new(Default::default()))
    }

    async fn deliveries(&self, _: Request<JobRef>) -> Answer<DeliveriesResponse> {
        Ok(Response::new(Default::default()))
    }

    async fn set_webhook(&self, _: Request<SetWebhookRequest>) -> Answer<Webhook> {
        Ok(Response::new(Default::default()))
    }

    async fn rotate_webhook(&self, _: Request<WebhookRef>) -> Answer<Webhook> {
        Ok(Response::new(Default::default()))
    }

    async fn get_webhook(&self, _: Request<WebhookRef>) -> Answer<Webhook> {
        Ok(Response::new(Default::default()))
    }

    async fn remove_webhook(&self, _: Request<WebhookRef>) -> Answer<RemoveWebhookResponse> {
        Ok(Response::new(Default::default()))
    }

    async fn reference(&self, _: Request<JobRef>) -> Result<Response<ReferenceResponse>, Status> {
        // Hangs: the client's own deadline must end it.
        tokio::time::sleep(Duration::from_secs(3600)).await;
        Err(Status::internal("unreachable"))
    }

    async fn retry(&self, _: Request<JobRef>) -> Result<Response<Job>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn metadata(&self, _: Request<JobRef>) -> Result<Response<MetadataResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn show_task(&self, _: Request<TaskRef>) -> Result<Response<TaskDetails>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn fetch(
        &self,
        request: Request<FetchRequest>,
    ) -> Result<Response<Self::FetchStream>, Status> {
        let request = request.into_inner();
        let job = self.job(&request.job)?;
        let mut world = self.world.lock().unwrap();
        world.fetches.push(request.offset);
        if let Some(call) = &mut world.on_fetch {
            call(request.offset);
        }
        if let Some(problem) = world.refuse_fetches.pop() {
            return Err(to_status(&problem));
        }
        let limit = world.break_fetch_after.take().unwrap_or(usize::MAX);
        let rest = world.output.slice(request.offset as usize..);
        let mut parts = Vec::new();
        let mut at = 0;
        while at < rest.len() && at < limit {
            let end = rest.len().min(at + 50_000);
            parts.push(Ok(FetchPart {
                offset: request.offset + at as u64,
                data: rest.slice(at..end),
                total_bytes: job.output_bytes,
                hash: job.output_hash.clone(),
            }));
            at = end;
        }
        Ok(Response::new(Box::pin(tokio_stream::iter(parts))))
    }
}

/// Seals the source, whose chunks are all there; returns its root.
fn seal(world: &Shared) -> String {
    let mut world = world.lock().unwrap();
    let replaced = world.sealed_with.take();
    world.chunks.extend(replaced);
    let hashes: Vec<u8> = world
        .chunks
        .values()
        .flat_map(|data| *blake3::hash(data).as_bytes())
        .collect();
    let root = blake3::hash(&hashes).to_hex().to_string();
    let job = world.job.as_mut().unwrap();
    job.source_root = root.clone();
    job.set_state(JobState::Encoding);
    root
}

async fn serve_upload(
    world: &Shared,
    job: &Job,
    incoming: &mut Streaming<UploadClient>,
    down: &mpsc::Sender<Result<UploadServer, Status>>,
) -> Result<(), Status> {
    let say = async |message: Down| {
        let message = UploadServer {
            message: Some(message),
        };
        down.send(Ok(message))
            .await
            .map_err(|_| Status::cancelled("client gone"))
    };
    let chunks = job.source_bytes.div_ceil(CHUNK.into());
    let have: Vec<ChunkHash> = {
        let world = world.lock().unwrap();
        let hashes = world.chunks.iter().map(|(&number, data)| ChunkHash {
            number,
            hash: blake3::hash(data).to_hex().to_string(),
        });
        hashes.collect()
    };
    // The last chunk first, as for an index at the end.
    let mut numbers: Vec<u64> = (0..chunks)
        .filter(|number| have.iter().all(|chunk| chunk.number != *number))
        .collect();
    numbers.reverse();
    say(Down::Plan(UploadPlan {
        chunk_bytes: CHUNK,
        have,
    }))
    .await?;
    let wanted = numbers.len();
    say(Down::Ask(UploadAsk { numbers })).await?;
    for _ in 0..wanted {
        match incoming.message().await?.and_then(|m| m.message) {
            Some(Up::Chunk(chunk)) => {
                let (safe, breaks) = {
                    let mut world = world.lock().unwrap();
                    world.chunks.insert(chunk.number, chunk.data);
                    world.sent.push(chunk.number);
                    if let Some(call) = &mut world.on_chunk {
                        call(chunk.number);
                    }
                    let breaks = world.break_upload_after == Some(world.sent.len());
                    (world.chunks.len() as u64, breaks)
                };
                if breaks {
                    return Err(Status::unavailable("fake fault"));
                }
                say(Down::Acked(UploadAcked {
                    number: chunk.number,
                    chunks_safe: safe,
                }))
                .await?;
            }
            _ => return Ok(()),
        }
    }
    let root = seal(world);
    say(Down::Sealed(UploadSealed { root })).await
}
