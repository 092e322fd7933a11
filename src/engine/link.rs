//! Requests to members of the cluster.

use std::{
    sync::{
        Arc, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use reelraft_model::Problem;
use reelraft_trust::Anchor;
use reqwest::{Body, Client, Method, Response, header};
use rustls::crypto::ring;
use serde_json::Value;

use crate::limits::{ENGINE_ANSWER_MAX, ENGINE_CONNECT_MAX};

/// Why a request gave nothing.
#[derive(Clone, Debug)]
pub enum LinkError {
    /// No answer: this member, or the way to it, is lost for now.
    Lost(String),
    /// The member's own refusal.
    Refused(Problem),
}

impl std::fmt::Display for LinkError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            LinkError::Lost(cause) => f.write_str(cause),
            LinkError::Refused(problem) => write!(f, "{problem}"),
        }
    }
}

/// The members, of which one is asked. Clones share all.
#[derive(Clone)]
pub struct Members {
    client: Client,
    token: Arc<str>,
    known: Arc<RwLock<Vec<String>>>,
    current: Arc<AtomicUsize>,
}

impl Members {
    /// Members at these addresses.
    ///
    /// # Errors
    /// `bad-config` where they can't be known by what is said.
    pub fn new(
        servers: Vec<String>,
        token: String,
        anchor: Option<String>,
    ) -> Result<Self, Problem> {
        // Another part of the program may have done so, with the same one.
        let _ = ring::default_provider().install_default();
        let bad = |cause: String| Problem::new("bad-config", cause, "see --ca");
        let anchor = anchor.map(|text| Anchor::parse(&text)).transpose();
        let config = anchor
            .and_then(|anchor| anchor.map(|anchor| anchor.http_config()).transpose())
            .map_err(|error| bad(error.to_string()))?;
        let builder = Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(ENGINE_CONNECT_MAX)
            .read_timeout(ENGINE_ANSWER_MAX);
        let builder = match config {
            Some(config) => builder.tls_backend_preconfigured(config),
            None => builder,
        };
        let client = builder.build().map_err(|error| bad(error.to_string()))?;
        let trimmed = servers
            .into_iter()
            .map(|url| url.trim_end_matches('/').to_string());
        Ok(Members {
            client,
            token: token.into(),
            known: Arc::new(RwLock::new(trimmed.collect())),
            current: Arc::default(),
        })
    }

    fn known(&self) -> Vec<String> {
        let known = self.known.read();
        known.expect("no holder of this lock panics").clone()
    }

    /// The member that is asked now.
    pub fn current(&self) -> String {
        let known = self.known();
        known[self.current.load(Ordering::Relaxed) % known.len()].clone()
    }

    /// Goes to the next one.
    pub fn next(&self) {
        self.current.fetch_add(1, Ordering::Relaxed);
    }

    /// Learns of further members.
    pub fn learn(&self, servers: &[String]) {
        let mut known = self.known.write().expect("no holder of this lock panics");
        for server in servers {
            let server = server.trim_end_matches('/');
            if !known.iter().any(|one| one == server) {
                known.push(server.to_string());
            }
        }
    }

    /// Asks a member with the engine's token.
    ///
    /// # Errors
    /// [`LinkError`].
    pub async fn ask(&self, at: &str, path: &str, said: &Value) -> Result<Value, LinkError> {
        let url = format!("{at}/api/v1/engines/{path}");
        let request = self.client.post(url).bearer_auth(&self.token);
        let request = request.header(header::CONTENT_TYPE, "application/json");
        document(answered(request.body(said.to_string()).send().await).await?).await
    }

    /// Sends something of a task.
    ///
    /// # Errors
    /// [`LinkError`].
    pub async fn tell(
        &self,
        place: &Place,
        method: Method,
        path: &str,
        body: impl Into<Body>,
    ) -> Result<Value, LinkError> {
        let url = format!("{}/api/v1/engines/tasks/{}{path}", place.member, place.task);
        let sent = self.client.request(method, url).body(body).send().await;
        document(answered(sent).await?).await
    }

    /// Some bytes of a task's input.
    ///
    /// # Errors
    /// [`LinkError`].
    pub async fn input(&self, place: &Place, from: u64, to: u64) -> Result<Bytes, LinkError> {
        let Place { member, task } = place;
        let url = format!("{member}/api/v1/engines/tasks/{task}/input/0");
        let range = format!("bytes={from}-{}", to.saturating_sub(1));
        let asked = self.client.get(url).header(header::RANGE, range).send();
        let bytes = answered(asked.await).await?.bytes().await.map_err(lost)?;
        match bytes.len() as u64 == to - from {
            true => Ok(bytes),
            false => Err(LinkError::Lost("the answer was cut short".into())),
        }
    }
}

/// Where a task is known, and as what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub member: String,
    pub task: String,
}

fn lost(error: reqwest::Error) -> LinkError {
    LinkError::Lost(error.without_url().to_string())
}

async fn answered(sent: Result<Response, reqwest::Error>) -> Result<Response, LinkError> {
    let answer = sent.map_err(lost)?;
    if answer.status().is_success() {
        return Ok(answer);
    }
    let status = answer.status();
    let said = document(answer).await.unwrap_or_default();
    let text = |name: &str| said[name].as_str().unwrap_or_default().to_string();
    match text("kind") {
        // A proxy's own, as a rule.
        kind if kind.is_empty() => Err(LinkError::Lost(format!("the answer was {status}"))),
        kind => Err(LinkError::Refused(Problem::new(
            &kind,
            text("cause"),
            text("hint"),
        ))),
    }
}

async fn document(answer: Response) -> Result<Value, LinkError> {
    let bytes = answer.bytes().await.map_err(lost)?;
    if bytes.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(&bytes)
        .map_err(|error| LinkError::Lost(format!("the answer can't be read: {error}")))
}

/// Pauses before something is tried again, longer each time.
#[derive(Debug, Default)]
pub struct Pauses(u32);

impl Pauses {
    /// The next one.
    pub async fn pause(&mut self) {
        self.0 = (self.0 + 1).min(PAUSES_MAX);
        tokio::time::sleep(PAUSE * self.0).await;
    }

    /// It went well.
    pub fn reset(&mut self) {
        self.0 = 0;
    }
}

/// The first pause, and how many of it the longest has.
const PAUSE: Duration = Duration::from_millis(250);
const PAUSES_MAX: u32 = 8;
