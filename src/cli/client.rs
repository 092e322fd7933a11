//! The connection to a cluster of several endpoints: asks any of them, goes on
//! to the next when one is gone, and waits through an election. A command that
//! follows a job is patient: the job goes on when its cluster does. Any other
//! tells soon that there is nobody to serve it.
//!
//! Every request that goes through here may be sent twice: reads by nature,
//! writes because they carry a request id or name a state (P5). What a command
//! asks for is not decided here.

use std::{
    error::Error as _,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{FutureExt, StreamExt, stream::FuturesUnordered};
use reelraft_proto::{
    auth::Secret,
    v1::{cluster_client::ClusterClient, jobs_client::JobsClient},
};
use tonic::{
    Code, Request, Response, Status,
    service::interceptor::InterceptedService,
    transport::{Channel, Endpoint},
};

use crate::{
    error::{CliError, problem_of},
    limits::{
        ANSWER_MS, BACKOFF_MS_MAX, BACKOFF_MS_MIN, CALL_MS, CONNECT_MS, CONNECT_STAGGER_MS,
        FOLLOW_MS, KEEPALIVE_MS, KEEPALIVE_TIMEOUT_MS, MESSAGE_BYTES_MAX, UNREACHABLE_MS,
        WAIT_NOTICE_MS,
    },
    screen::Screen,
};

/// A connection that attaches the cluster's secret to every call.
pub type Link = InterceptedService<Channel, Secret>;

/// Several endpoints, of which one is in use.
pub struct Client {
    names: Vec<String>,
    endpoints: Vec<Endpoint>,
    at: usize,
    channel: Option<Channel>,
    /// Whether any node ever answered this process.
    reached: bool,
    /// Whether the command follows a job.
    follows: bool,
    secret: Secret,
    screen: Arc<Screen>,
}

/// Bounds the opening of a stream as a call is bounded: a node that takes the
/// request and says nothing is as good as gone.
///
/// # Errors
/// The node's status, or [`Code::DeadlineExceeded`].
pub async fn opened<T>(
    opening: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<T, Status> {
    match tokio::time::timeout(Duration::from_millis(CALL_MS), opening).await {
        Ok(answer) => answer.map(Response::into_inner),
        Err(_) => Err(Status::deadline_exceeded("no answer in time")),
    }
}

/// Whether something answered that speaks HTTP but no gRPC: a proxy, or
/// another program on the port. tonic says so only in words.
fn foreign(status: &Status) -> bool {
    status.message().starts_with("grpc-status header missing")
}

/// One stretch of time in which nothing works, from the first failure on.
/// Progress ends it: make a new one.
#[derive(Default)]
pub struct Outage {
    since: Option<Instant>,
    failures: usize,
    pauses: u32,
    told: bool,
}

impl Client {
    /// Takes `host:port` names; nothing is connected yet.
    ///
    /// # Errors
    /// [`CliError::Usage`] if there is none, or one can't be an address.
    pub fn new(names: &[String], secret: Secret, screen: Arc<Screen>) -> Result<Self, CliError> {
        let hint = "give host:port, several with commas, such as 127.0.0.1:7401,127.0.0.1:7402";
        let mut kept: Vec<String> = Vec::new();
        let mut endpoints = Vec::new();
        for name in names.iter().map(|name| name.trim()) {
            let bare = name.strip_prefix("http://").unwrap_or(name);
            if bare.is_empty() || kept.iter().any(|known| known == bare) {
                continue;
            }
            let port = bare.rsplit_once(':').map(|(_, port)| port.parse::<u16>());
            let endpoint = Endpoint::from_shared(format!("http://{bare}"));
            let (Ok(endpoint), Some(Ok(_))) = (endpoint, port) else {
                return Err(CliError::usage(format!("'{name}' is no endpoint"), hint));
            };
            endpoints.push(
                endpoint
                    .connect_timeout(Duration::from_millis(CONNECT_MS))
                    .tcp_nodelay(true)
                    .http2_keep_alive_interval(Duration::from_millis(KEEPALIVE_MS))
                    .keep_alive_timeout(Duration::from_millis(KEEPALIVE_TIMEOUT_MS)),
            );
            kept.push(bare.to_string());
        }
        if kept.is_empty() {
            return Err(CliError::usage("no endpoint is given", hint));
        }
        Ok(Client {
            names: kept,
            endpoints,
            at: 0,
            channel: None,
            reached: false,
            follows: false,
            secret,
            screen,
        })
    }

    /// From here on the command follows a job, and is patient.
    pub fn follow(&mut self) {
        self.follows = true;
    }

    /// How long it is tried to be served.
    fn patience(&self) -> Duration {
        Duration::from_millis(match (self.follows, self.reached) {
            (false, _) => ANSWER_MS,
            (true, false) => UNREACHABLE_MS,
            (true, true) => FOLLOW_MS,
        })
    }

    /// Where notices go.
    pub fn screen(&self) -> &Arc<Screen> {
        &self.screen
    }

    async fn link(&mut self) -> Result<Link, Status> {
        let channel = match &self.channel {
            Some(channel) => channel.clone(),
            None => {
                let (at, channel) = self.connect().await?;
                self.at = at;
                self.channel.insert(channel).clone()
            }
        };
        Ok(InterceptedService::new(channel, self.secret.clone()))
    }

    /// Connects to the endpoint whose turn it is, or to the first of the others
    /// that answers: they are tried beside it, one after the other.
    async fn connect(&self) -> Result<(usize, Channel), Status> {
        let count = self.endpoints.len();
        let mut tries = FuturesUnordered::new();
        let mut begun = 0;
        loop {
            if begun < count {
                let at = (self.at + begun) % count;
                let connecting = self.endpoints[at].connect();
                tries.push(connecting.map(move |connected| (at, connected)));
                begun += 1;
            }
            let stagger = tokio::time::sleep(Duration::from_millis(CONNECT_STAGGER_MS));
            tokio::select! {
                Some((at, connected)) = tries.next() => match connected {
                    Ok(channel) => return Ok((at, channel)),
                    Err(error) if begun == count && tries.is_empty() => {
                        return Err(Status::from_error(Box::new(error)));
                    }
                    Err(_) => {}
                },
                () = stagger, if begun < count => {}
            }
        }
    }

    /// The jobs service of the endpoint in use.
    ///
    /// # Errors
    /// A status to hand to [`Client::survive`].
    pub async fn jobs(&mut self) -> Result<JobsClient<Link>, Status> {
        let link = self.link().await?;
        Ok(JobsClient::new(link).max_decoding_message_size(MESSAGE_BYTES_MAX))
    }

    /// One unary call to the jobs service, tried until it is answered.
    ///
    /// # Errors
    /// The node's refusal, or that none can be had.
    pub async fn call<M, T>(
        &mut self,
        message: M,
        method: impl AsyncFn(JobsClient<Link>, Request<M>) -> Result<Response<T>, Status>,
    ) -> Result<T, CliError>
    where
        M: Clone,
    {
        self.ask(message, async |link, request| {
            let jobs = JobsClient::new(link).max_decoding_message_size(MESSAGE_BYTES_MAX);
            method(jobs, request).await
        })
        .await
    }

    /// One unary call to the cluster service, tried until it is answered.
    ///
    /// # Errors
    /// The node's refusal, or that none can be had.
    pub async fn call_cluster<M, T>(
        &mut self,
        message: M,
        method: impl AsyncFn(ClusterClient<Link>, Request<M>) -> Result<Response<T>, Status>,
    ) -> Result<T, CliError>
    where
        M: Clone,
    {
        self.ask(message, async |link, request| {
            method(ClusterClient::new(link), request).await
        })
        .await
    }

    async fn ask<M, T>(
        &mut self,
        message: M,
        method: impl AsyncFn(Link, Request<M>) -> Result<Response<T>, Status>,
    ) -> Result<T, CliError>
    where
        M: Clone,
    {
        let deadline = Duration::from_millis(CALL_MS);
        // A node that itself waits for a leader uses the patience up.
        let mut outage = Outage {
            since: Some(Instant::now()),
            ..Outage::default()
        };
        loop {
            let answer = match self.link().await {
                Err(status) => Err(status),
                Ok(link) => {
                    let mut request = Request::new(message.clone());
                    request.set_timeout(deadline);
                    tokio::time::timeout(deadline, method(link, request))
                        .await
                        .unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer in time")))
                }
            };
            match answer {
                Ok(answer) => {
                    self.reached = true;
                    return Ok(answer.into_inner());
                }
                Err(status) => self.survive(&mut outage, &status).await?,
            }
        }
    }

    /// Told that a stream made progress: the next failure starts a new outage.
    pub fn works(&mut self, outage: &mut Outage) {
        self.reached = true;
        *outage = Outage::default();
    }

    /// After a failure: goes to the next endpoint, and pauses when all have
    /// failed in a row.
    ///
    /// # Errors
    /// If the failure is a refusal, or the outage has lasted too long.
    pub async fn survive(&mut self, outage: &mut Outage, status: &Status) -> Result<(), CliError> {
        // Only a transport failure has a source: a status that a node sent is
        // all there is to it. A port that accepts and then breaks off is no
        // node yet, nor is one that never answers.
        let broken = status.source().is_some() || foreign(status);
        self.reached |= !broken && status.code() != Code::DeadlineExceeded;
        let passing = matches!(
            status.code(),
            Code::Unavailable | Code::Cancelled | Code::DeadlineExceeded
        );
        if !broken && !passing {
            return Err(CliError::from_status(status));
        }

        let since = *outage.since.get_or_insert_with(Instant::now);
        outage.failures += 1;
        if since.elapsed() >= self.patience() {
            let silent = broken || status.code() == Code::DeadlineExceeded;
            return Err(if silent {
                CliError::Unreachable {
                    endpoints: self.names.join(", "),
                }
            } else {
                CliError::from_status(status)
            });
        }

        let gone = self.at;
        let was_connected = self.channel.take().is_some();
        self.at = (self.at + 1) % self.endpoints.len();
        self.tell(outage, gone, was_connected && broken, since, status);
        // Connecting has tried them all.
        if !was_connected || outage.failures.is_multiple_of(self.endpoints.len()) {
            let doubled = BACKOFF_MS_MIN << outage.pauses.min(6);
            outage.pauses += 1;
            tokio::time::sleep(Duration::from_millis(doubled.min(BACKOFF_MS_MAX))).await;
        }
        Ok(())
    }

    /// At most one notice an outage: that a node is gone, or what is waited for.
    fn tell(&self, outage: &mut Outage, gone: usize, lost: bool, since: Instant, status: &Status) {
        if outage.told {
            return;
        }
        let text = if lost && self.names.len() > 1 {
            format!(
                "node {} is gone, asking {}",
                self.names[gone], self.names[self.at]
            )
        } else if lost {
            format!("node {} is gone, trying again", self.names[gone])
        } else if since.elapsed() >= Duration::from_millis(WAIT_NOTICE_MS) {
            match status.source() {
                Some(_) => "no node answers, trying again".to_string(),
                None => format!("waiting: {}", problem_of(status).cause),
            }
        } else {
            return;
        };
        outage.told = true;
        self.screen.notice(&text);
    }
}
