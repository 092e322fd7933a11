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
use reelraft_trust::{Anchor, SPEAKS_HTTPS, certificate_trouble, is_loopback};
use reqwest::{Body, Client, Method, Response, Url, header};
use rustls::crypto::ring;
use serde_json::Value;
use tracing::debug;

use crate::limits::{ENGINE_ANSWER_MAX, ENGINE_CONNECT_MAX};

/// The refusal of a port that was asked by `http` and speaks by TLS alone.
pub const ONLY_HTTPS: &str = "speaks-https";

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

/// The way to the members, as all commands have it.
#[derive(Clone, Debug, Default)]
pub struct Way {
    /// Their HTTP ports.
    pub servers: Vec<String>,
    /// What they are known by.
    pub anchor: Option<String>,
    /// Whether the token may be said in clear, whoever can hear it.
    pub plaintext: bool,
}

/// The members, of which one is asked. Clones share all.
#[derive(Clone)]
pub struct Members {
    client: Client,
    token: Arc<str>,
    known: Arc<RwLock<Vec<String>>>,
    /// How many of these were named by whoever started the engine.
    given: usize,
    current: Arc<AtomicUsize>,
    plaintext: bool,
}

/// Whether what is said to a URL can be heard by others on the way.
fn is_in_clear(url: &Url) -> bool {
    url.scheme() == "http" && !url.host_str().is_some_and(is_loopback)
}

/// A URL of a member's HTTP port.
fn port_of(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok();
    url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
}

impl Members {
    /// The members at the end of this way.
    ///
    /// # Errors
    /// `bad-config` for what is no URL of one, where the token would be said in clear to
    /// a network, and where they can't be known by what is said.
    pub fn new(way: Way, token: String) -> Result<Self, Problem> {
        let Way {
            servers,
            anchor,
            plaintext,
        } = way;
        let trimmed = servers
            .iter()
            .map(|url| url.trim().trim_end_matches('/').to_string());
        let servers: Vec<String> = trimmed.collect();
        let urls = servers.iter().map(|server| check(server, plaintext));
        let urls = urls.collect::<Result<Vec<_>, _>>()?;
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
        // A proxy for the outside would be told what is for this machine alone.
        let here = |url: &Url| url.scheme() == "http" && !is_in_clear(url);
        let builder = match urls.iter().all(here) {
            true => builder.no_proxy(),
            false => builder,
        };
        let client = builder.build().map_err(|error| bad(error.to_string()))?;
        Ok(Members {
            client,
            token: token.into(),
            given: servers.len(),
            known: Arc::new(RwLock::new(servers)),
            current: Arc::default(),
            plaintext,
        })
    }

    /// Whether this member was named by whoever started the engine.
    pub fn was_given(&self, member: &str) -> bool {
        let known = self.known();
        known.iter().take(self.given).any(|given| given == member)
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

    /// Learns of further members, but for those that the token would be said to in clear.
    pub fn learn(&self, servers: &[String]) {
        let mut known = self.known.write().expect("no holder of this lock panics");
        for server in servers {
            let server = server.trim_end_matches('/');
            if check(server, self.plaintext).is_err() {
                debug!(server, "is no place for a token");
            } else if !known.iter().any(|one| one == server) {
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

/// Where a member is asked, if a token may be said there.
fn check(server: &str, plaintext: bool) -> Result<Url, Problem> {
    let bad = |cause: String, hint: &str| Problem::new("bad-config", cause, hint);
    let url = port_of(server).ok_or_else(|| {
        let cause = format!("'{server}' is no URL of an HTTP port");
        bad(cause, "give --server as https://HOST:PORT")
    })?;
    match is_in_clear(&url) && !plaintext {
        true => Err(bad(
            format!("the engine's token would go to '{server}' in clear, for all to read"),
            "give --server as https://…, and --ca where a certificate of the cluster's is shown; \
             --plaintext sends it all the same",
        )),
        false => Ok(url),
    }
}

fn lost(error: reqwest::Error) -> LinkError {
    LinkError::Lost(match certificate_trouble(&error) {
        Some(trouble) => format!("the node can't be trusted: {trouble}; see --ca"),
        None => error.without_url().to_string(),
    })
}

async fn answered(sent: Result<Response, reqwest::Error>) -> Result<Response, LinkError> {
    let answer = sent.map_err(lost)?;
    if answer.status().is_success() {
        return Ok(answer);
    }
    let status = answer.status();
    let said = answer.bytes().await.unwrap_or_default();
    if String::from_utf8_lossy(&said).contains(SPEAKS_HTTPS) {
        let hint = "give it to --server as https://…, and its authority as --ca";
        let cause = format!("the node answers: {SPEAKS_HTTPS}");
        return Err(LinkError::Refused(Problem::new(ONLY_HTTPS, cause, hint)));
    }
    let said: Value = serde_json::from_slice(&said).unwrap_or_default();
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    fn members(servers: &[&str], plaintext: bool) -> Result<Members, Problem> {
        let way = Way {
            servers: servers.iter().map(|server| (*server).to_string()).collect(),
            anchor: None,
            plaintext,
        };
        Members::new(way, "token".into())
    }

    #[test]
    fn a_token_is_not_said_in_clear_to_a_network() {
        for fine in [
            "https://node1:8401/",
            "http://127.0.0.1:8401",
            "http://localhost:8401",
            "http://[::1]:8401",
        ] {
            assert!(members(&[fine], false).is_ok(), "{fine}");
        }
        for clear in [
            "http://node1:8401",
            "HTTP://10.0.0.1",
            "http://localhost@10.0.0.1:8401",
        ] {
            let refused = members(&["https://node2:8401", clear], false);
            let refused = refused.err().unwrap();
            assert_eq!(refused.kind, "bad-config");
            assert!(refused.cause.contains("in clear"), "{refused}");
            assert!(refused.hint.contains("--ca"), "{refused}");
            assert!(members(&[clear], true).is_ok(), "{clear}");
        }
        assert!(members(&["node1:8401"], true).is_err());
    }

    /// Nor where another member says so.
    #[test]
    fn a_member_that_is_asked_in_clear_is_not_learnt_of() {
        let told = ["http://node2:8401".to_string(), "https://node3:8401".into()];
        let careful = members(&["https://node1:8401"], false).unwrap();
        careful.learn(&told);
        assert_eq!(
            careful.known(),
            ["https://node1:8401", "https://node3:8401"]
        );
        let bold = members(&["https://node1:8401"], true).unwrap();
        bold.learn(&told);
        assert_eq!(bold.known().len(), 3);
        assert!(bold.was_given("https://node1:8401"));
        assert!(!bold.was_given("https://node3:8401"));
    }

    #[tokio::test]
    async fn a_port_that_speaks_https_alone_is_told_by_name() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut asked = [0; 4096];
            let _ = socket.read(&mut asked).await;
            let length = SPEAKS_HTTPS.len();
            let answer = format!(
                "HTTP/1.1 400 Bad Request\r\nContent-Length: {length}\r\n\r\n{SPEAKS_HTTPS}"
            );
            socket.write_all(answer.as_bytes()).await.unwrap();
        });
        let members = members(&[&server], false).unwrap();
        match members.ask(&server, "register", &Value::Null).await {
            Err(LinkError::Refused(problem)) => {
                assert_eq!(problem.kind, ONLY_HTTPS);
                assert!(problem.hint.contains("https://"), "{problem}");
            }
            other => panic!("{other:?}"),
        }
    }
}
