//! The connection to a cluster of several endpoints: asks any of them, moves on
//! to the next when one is gone, and waits through an election. A command that
//! follows a job retries for long, since the job outlives an outage of the
//! cluster. Any other command reports soon that no node serves it.
//!
//! Every request made here may be sent twice: reads by nature, writes because
//! they carry a request id or name a state (P5). What a command asks for is not
//! decided here.

use std::{
    error::Error as _,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{FutureExt, StreamExt, stream::FuturesUnordered};
use reelraft_proto::{
    auth::Secret,
    dial,
    v1::{access_client::AccessClient, cluster_client::ClusterClient, jobs_client::JobsClient},
};
use reelraft_trust::Connector;
use tonic::{Code, Request, Response, Status, Streaming, service::interceptor::InterceptedService};

use crate::{
    door::{Door, ENDPOINT_HINT, HttpDoor, Showing, Wire},
    error::{CliError, problem_of},
    limits::{
        ANSWER_MS, BACKOFF_MS_MAX, BACKOFF_MS_MIN, CALL_MS, CONNECT_STAGGER_MS, FOLLOW_MS,
        MESSAGE_BYTES_MAX, UNREACHABLE_MS, WAIT_NOTICE_MS,
    },
    render::screen::Screen,
};

/// A connection that attaches the cluster's secret, or a key, to every call.
pub type Link = InterceptedService<Wire, Secret>;

/// Several endpoints, of which one is in use.
pub struct Client {
    names: Vec<String>,
    doors: Vec<Door>,
    /// The door in use, or the next to try.
    current: usize,
    wire: Option<Wire>,
    /// Whether any node ever answered this process.
    reached: bool,
    follows_job: bool,
    secret: Secret,
    screen: Arc<Screen>,
}

/// Bounds the opening of a stream as a call is bounded: a node that accepts the
/// request and stays silent is as good as gone.
///
/// # Errors
/// The node's status, or [`Code::DeadlineExceeded`].
pub async fn open_stream<T>(
    opening: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<T, Status> {
    let opened = dial::within(Duration::from_millis(CALL_MS), opening).await;
    opened.map(Response::into_inner)
}

/// The next message of a stream. A node may answer pings and yet be stuck, so
/// one that says nothing for too long is as good as gone.
///
/// # Errors
/// The node's status, or [`Code::DeadlineExceeded`].
pub async fn next_message<T>(
    stream: &mut Streaming<T>,
    silence_ms_max: u64,
) -> Result<Option<T>, Status> {
    let patience = Duration::from_millis(silence_ms_max);
    match tokio::time::timeout(patience, stream.message()).await {
        Ok(message) => message,
        Err(_) => Err(Status::deadline_exceeded(format!(
            "the node was silent for {} s",
            patience.as_secs()
        ))),
    }
}

/// Whether another node may do what this one can't: its disk is the trouble,
/// or it has an old copy of the table.
fn is_of_this_node(code: Code) -> bool {
    matches!(
        code,
        Code::ResourceExhausted | Code::Internal | Code::Aborted
    )
}

/// Whether the answer came from something that speaks HTTP but not gRPC: a
/// proxy, or another program on the port. tonic says so only in its message.
fn is_not_grpc(status: &Status) -> bool {
    status.message().starts_with("grpc-status header missing")
}

/// What has been spent on retries since anything last worked. Progress restores
/// it: see [`Client::record_progress`].
#[derive(Default)]
pub struct RetryBudget {
    /// The first failure in a row.
    since: Option<Instant>,
    failures: usize,
    pauses: u32,
    /// Refusals that another node may not share.
    refusals: usize,
    told_gone: bool,
    told_waiting: bool,
}

impl Client {
    /// Takes `host:port` names; nothing is connected yet.
    ///
    /// # Errors
    /// [`CliError::Usage`] if there is no name, or one is not an address, or no place
    /// for a secret.
    pub fn new(names: &[String], showing: &Showing, screen: Arc<Screen>) -> Result<Self, CliError> {
        let mut kept: Vec<String> = Vec::new();
        let mut doors = Vec::new();
        for name in names.iter().map(|name| name.trim()) {
            if name.starts_with("https://") {
                let cause = format!("'{name}' is a URL of HTTP");
                let hint = "give it as --server, and host:port of gRPC as --endpoints";
                return Err(CliError::usage(cause, hint));
            }
            let address = name.strip_prefix("http://").unwrap_or(name);
            if address.is_empty() || kept.iter().any(|known| known == address) {
                continue;
            }
            doors.push(Door::grpc(address, showing)?);
            kept.push(address.to_string());
        }
        if kept.is_empty() {
            return Err(CliError::usage("there are no endpoints", ENDPOINT_HINT));
        }
        Ok(Client::of(kept, doors, showing.secret.clone(), screen))
    }

    /// Takes URLs of HTTP ports; nothing is connected yet.
    ///
    /// # Errors
    /// [`CliError::Usage`] for what is no such URL, or no place for a secret.
    pub fn over_http(
        urls: &[&String],
        showing: &Showing,
        screen: Arc<Screen>,
    ) -> Result<Self, CliError> {
        let names: Vec<String> = urls.iter().map(|url| url.trim().to_string()).collect();
        let doors = names.iter().map(|url| HttpDoor::new(url, showing));
        let doors: Result<Vec<_>, _> = doors.map(|door| Ok(Door::Http(door?))).collect();
        Ok(Client::of(names, doors?, showing.secret.clone(), screen))
    }

    /// Takes the one node whose process this is.
    ///
    /// # Errors
    /// [`CliError::Usage`], never in practice.
    pub fn of_node(
        address: &str,
        secret: Secret,
        connector: Option<Connector>,
        screen: Arc<Screen>,
    ) -> Result<Self, CliError> {
        let door = Door::to_node(address, connector).ok_or_else(|| {
            let cause = format!("'{address}' is not an endpoint");
            CliError::usage(cause, "give the node another --listen")
        })?;
        let names = vec![address.to_string()];
        Ok(Client::of(names, vec![door], secret, screen))
    }

    fn of(names: Vec<String>, doors: Vec<Door>, secret: Secret, screen: Arc<Screen>) -> Self {
        Client {
            names,
            doors,
            current: 0,
            wire: None,
            reached: false,
            follows_job: false,
            secret,
            screen,
        }
    }

    /// Another client of the same endpoints, with a connection of its own, whose
    /// words go to another screen.
    pub fn beside(&self, screen: Arc<Screen>) -> Self {
        let mut beside = Client::of(
            self.names.clone(),
            self.doors.clone(),
            self.secret.clone(),
            screen,
        );
        beside.current = self.current;
        beside.follows_job = self.follows_job;
        beside
    }

    /// From here on the command follows a job: it retries for minutes rather than seconds.
    pub fn follow_job(&mut self) {
        self.follows_job = true;
    }

    fn retry_limit(&self) -> Duration {
        Duration::from_millis(match (self.follows_job, self.reached) {
            (false, _) => ANSWER_MS,
            (true, false) => UNREACHABLE_MS,
            (true, true) => FOLLOW_MS,
        })
    }

    /// Where notices go.
    pub fn screen(&self) -> &Arc<Screen> {
        &self.screen
    }

    async fn wire(&mut self) -> Result<Wire, Status> {
        match &self.wire {
            Some(wire) => Ok(wire.clone()),
            None => {
                let (connected, wire) = self.connect().await?;
                self.current = connected;
                Ok(self.wire.insert(wire).clone())
            }
        }
    }

    async fn link(&mut self) -> Result<Link, Status> {
        let wire = self.wire().await?;
        Ok(InterceptedService::new(wire, self.secret.clone()))
    }

    /// The HTTP port in use, if that is the way to the node.
    ///
    /// # Errors
    /// A status to hand to [`Client::retry_or_fail`].
    pub async fn http(&mut self) -> Result<Option<HttpDoor>, Status> {
        Ok(match self.wire().await? {
            Wire::Grpc(_) => None,
            Wire::Http(_, door) => Some(door),
        })
    }

    /// Connects to the current endpoint, or to whichever other answers first:
    /// they are tried in parallel, each starting a moment after the one before.
    async fn connect(&self) -> Result<(usize, Wire), Status> {
        let count = self.doors.len();
        let mut tries = FuturesUnordered::new();
        let mut started = 0;
        loop {
            if started < count {
                let number = (self.current + started) % count;
                let connecting = self.doors[number].connect();
                tries.push(connecting.map(move |connected| (number, connected)));
                started += 1;
            }
            let stagger = tokio::time::sleep(Duration::from_millis(CONNECT_STAGGER_MS));
            tokio::select! {
                Some((number, connected)) = tries.next() => match connected {
                    Ok(wire) => return Ok((number, wire)),
                    Err(status) if started == count && tries.is_empty() => return Err(status),
                    Err(_) => {}
                },
                () = stagger, if started < count => {}
            }
        }
    }

    /// The jobs service of the endpoint in use.
    ///
    /// # Errors
    /// A status to hand to [`Client::retry_or_fail`].
    pub async fn jobs(&mut self) -> Result<JobsClient<Link>, Status> {
        let link = self.link().await?;
        Ok(JobsClient::new(link).max_decoding_message_size(MESSAGE_BYTES_MAX))
    }

    /// The cluster service of the endpoint in use.
    ///
    /// # Errors
    /// A status to hand to [`Client::retry_or_fail`].
    pub async fn cluster(&mut self) -> Result<ClusterClient<Link>, Status> {
        Ok(ClusterClient::new(self.link().await?))
    }

    /// One unary call to the jobs service, retried until it is answered.
    ///
    /// # Errors
    /// The node's refusal, or that no node answers.
    pub async fn call<M, T>(
        &mut self,
        message: M,
        method: impl AsyncFn(JobsClient<Link>, Request<M>) -> Result<Response<T>, Status>,
    ) -> Result<T, CliError>
    where
        M: Clone,
    {
        self.call_any(message, async |link, request| {
            let jobs = JobsClient::new(link).max_decoding_message_size(MESSAGE_BYTES_MAX);
            method(jobs, request).await
        })
        .await
    }

    /// One unary call to the cluster service, retried until it is answered.
    ///
    /// # Errors
    /// The node's refusal, or that no node answers.
    pub async fn call_cluster<M, T>(
        &mut self,
        message: M,
        method: impl AsyncFn(ClusterClient<Link>, Request<M>) -> Result<Response<T>, Status>,
    ) -> Result<T, CliError>
    where
        M: Clone,
    {
        self.call_any(message, async |link, request| {
            let cluster = ClusterClient::new(link).max_decoding_message_size(MESSAGE_BYTES_MAX);
            method(cluster, request).await
        })
        .await
    }

    /// One unary call about keys and tenants, retried until it is answered.
    ///
    /// # Errors
    /// The node's refusal, or that no node answers.
    pub async fn call_access<M, T>(
        &mut self,
        message: M,
        method: impl AsyncFn(AccessClient<Link>, Request<M>) -> Result<Response<T>, Status>,
    ) -> Result<T, CliError>
    where
        M: Clone,
    {
        self.call_any(message, async |link, request| {
            method(AccessClient::new(link), request).await
        })
        .await
    }

    async fn call_any<M, T>(
        &mut self,
        message: M,
        method: impl AsyncFn(Link, Request<M>) -> Result<Response<T>, Status>,
    ) -> Result<T, CliError>
    where
        M: Clone,
    {
        let deadline = Duration::from_millis(CALL_MS);
        // The time a node itself waits for a leader counts, too.
        let mut retries = RetryBudget {
            since: Some(Instant::now()),
            ..RetryBudget::default()
        };
        loop {
            let answer = match self.link().await {
                Err(status) => Err(status),
                Ok(link) => {
                    let mut request = Request::new(message.clone());
                    request.set_timeout(deadline);
                    dial::within(deadline, method(link, request)).await
                }
            };
            match answer {
                Ok(answer) => {
                    self.reached = true;
                    return Ok(answer.into_inner());
                }
                Err(status) => self.retry_or_fail(&mut retries, &status).await?,
            }
        }
    }

    /// A stream made progress: the next failure has the full budget again.
    pub fn record_progress(&mut self, retries: &mut RetryBudget) {
        self.reached = true;
        *retries = RetryBudget::default();
    }

    /// After a failure: moves on to the next endpoint, and pauses when all have
    /// failed in a row.
    ///
    /// # Errors
    /// If the failure is a refusal, or the budget is spent.
    pub async fn retry_or_fail(
        &mut self,
        retries: &mut RetryBudget,
        status: &Status,
    ) -> Result<(), CliError> {
        // Only a transport failure has a source; a status that a node sent has
        // none. A port that accepts and then breaks off is not a node yet, nor
        // is one that never answers.
        let broken = status.source().is_some() || is_not_grpc(status);
        self.reached |= !broken && status.code() != Code::DeadlineExceeded;
        let transient = matches!(
            status.code(),
            Code::Unavailable | Code::Cancelled | Code::DeadlineExceeded
        );
        if !broken && is_of_this_node(status.code()) {
            retries.refusals += 1;
        }
        let may_pass = is_of_this_node(status.code())
            && self.follows_job
            && retries.refusals < self.doors.len();
        if !broken && !transient && !may_pass {
            return Err(CliError::from_status(status));
        }

        // A node that has no room now serves its turn: whoever follows a job
        // waits for that, and does not take it for an outage.
        let kind = problem_of(status).kind;
        let busy = matches!(kind.as_str(), "too-busy" | "too-many-requests");
        if busy && self.follows_job {
            retries.since = None;
        }
        let since = *retries.since.get_or_insert_with(Instant::now);
        retries.failures += 1;
        if since.elapsed() >= self.retry_limit() {
            let silent = broken || status.code() == Code::DeadlineExceeded;
            return Err(if silent {
                CliError::Unreachable {
                    endpoints: self.names.join(", "),
                }
            } else {
                CliError::from_status(status)
            });
        }

        let gone = self.current;
        let was_connected = self.wire.take().is_some();
        self.current = (self.current + 1) % self.doors.len();
        self.announce(retries, gone, was_connected && broken, since, status);
        // Connecting has tried them all.
        if !was_connected || retries.failures.is_multiple_of(self.doors.len()) {
            let doubled = BACKOFF_MS_MIN << retries.pauses.min(6);
            retries.pauses += 1;
            tokio::time::sleep(Duration::from_millis(doubled.min(BACKOFF_MS_MAX))).await;
        }
        Ok(())
    }

    /// At most two notices in a row of failures, that a node is gone and what is
    /// waited for; then the bar shows how long already.
    fn announce(
        &self,
        retries: &mut RetryBudget,
        gone: usize,
        lost: bool,
        since: Instant,
        status: &Status,
    ) {
        let waited = since.elapsed();
        if lost && !retries.told_gone {
            retries.told_gone = true;
            let next = match self.names.len() {
                1 => "retrying".to_string(),
                _ => format!("asking {}", self.names[self.current]),
            };
            let name = &self.names[gone];
            self.screen.notice(&format!("node {name} is gone, {next}"));
        }
        if waited < Duration::from_millis(WAIT_NOTICE_MS) {
            return;
        }
        let limit_s = self.retry_limit().as_secs();
        if !retries.told_waiting {
            retries.told_waiting = true;
            let cause = match status.source() {
                Some(_) => "no node answers".to_string(),
                None => problem_of(status).cause,
            };
            let text = format!("waiting for up to {limit_s} s: {cause}");
            self.screen.notice(&text);
        } else if self.follows_job && self.screen.due() {
            let waited_s = waited.as_secs();
            let line = format!("{:<10}  {waited_s} of {limit_s} s for a node", "waiting");
            self.screen.progress(&line);
        }
    }
}
