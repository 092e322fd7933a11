//! The client: one request at a time, no proxies, redirects by hand.

use std::{
    error::Error,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use futures::{Stream, TryStreamExt, stream};
use reqwest::{
    Body, Client, Method, Response, StatusCode, Url,
    header::{CONTENT_LENGTH, HeaderMap, HeaderValue, LOCATION},
};
use rustls::crypto::ring;
use tracing::warn;

use super::{
    addresses::AllowedAddresses,
    guard::{Guard, Lookup, RefusedHost},
    limits::{CONNECT_MAX, PUT_PIECE_BYTES, REDIRECTS_MAX, SILENCE_MAX},
    s3::{Buckets, is_bucket},
    s3_sign::Subject,
    url,
};
use crate::clock::unix_ms;

/// An answer, of which only the head was read.
pub type Answer = Response;

/// What helps where [`OutsideError::Refused`] says no.
pub const REFUSED_HINT: &str = "give a public address, or have --allow-addresses set for this one";

/// Why a request got no answer.
#[derive(Debug, thiserror::Error)]
pub enum OutsideError {
    /// The guard does not let this node connect there.
    #[error("{0} has an address that this node may not connect to")]
    Refused(String),
    /// There is no bucket of that name.
    #[error("no bucket '{0}' is known to this node")]
    NoBucket(String),
    /// Outputs may not be put there.
    #[error("this node may only read the bucket '{0}'")]
    ReadOnlyBucket(String),
    /// A redirect that leads nowhere, in a circle, or to no web address.
    #[error("it redirects {0}")]
    BadRedirect(String),
    /// No connection, no answer, or one that is none.
    #[error("{0}")]
    Unreachable(String),
}

impl OutsideError {
    /// Whether the same request may succeed later.
    pub fn is_passing(&self) -> bool {
        matches!(
            self,
            OutsideError::Unreachable(_)
                | OutsideError::NoBucket(_)
                | OutsideError::ReadOnlyBucket(_)
        )
    }
}

/// The clients of one way to find hosts.
#[derive(Clone)]
struct Clients {
    answered: Client,
    /// For what is put, which has no answer before all of it was sent, however long that
    /// takes.
    putting: Client,
}

impl Clients {
    async fn send(
        &self,
        method: Method,
        url: Url,
        headers: HeaderMap,
        body: Option<Body>,
    ) -> Result<Answer, OutsideError> {
        let client = match method {
            Method::PUT => &self.putting,
            _ => &self.answered,
        };
        let mut request = client.request(method, url).headers(headers);
        if let Some(body) = body {
            request = request.body(body);
        }
        request.send().await.map_err(judged)
    }
}

/// Requests to the outside. Clones share one client.
#[derive(Clone)]
pub struct Outside {
    guarded: Clients,
    guard: Guard,
    buckets: Buckets,
    /// For those: the operator has named where it connects to.
    unguarded: Clients,
}

impl Outside {
    /// Requests to global addresses and to those allowed, and to buckets. A system without root
    /// certificates reaches nothing by https.
    ///
    /// # Panics
    /// Never: what it is built of does not fail.
    pub fn new(allowed: AllowedAddresses, buckets: Buckets, lookup: Arc<dyn Lookup>) -> Self {
        // Another part of the program may have done so, with the same one.
        let _ = ring::default_provider().install_default();
        let guard = Guard::new(allowed, lookup);
        let builder = || {
            Client::builder()
                .redirect(reqwest::redirect::Policy::none())
                .retry(reqwest::retry::never())
                .no_proxy()
                .referer(false)
                .connect_timeout(CONNECT_MAX)
                // Each request makes its own connection, and is judged anew.
                .pool_max_idle_per_host(0)
        };
        let answered = || builder().read_timeout(SILENCE_MAX);
        let guarded = || answered().dns_resolver(guard.clone());
        let putting = || builder().dns_resolver(guard.clone());
        Outside {
            guarded: Clients {
                answered: built(&guarded),
                putting: built(&putting),
            },
            unguarded: Clients {
                answered: built(&answered),
                putting: built(&builder),
            },
            guard,
            buckets,
        }
    }

    /// The buckets that requests may name.
    pub fn buckets(&self) -> &Buckets {
        &self.buckets
    }

    /// Judges the host of a URL, where it is written as an address: a name may
    /// lead elsewhere when it is asked for.
    ///
    /// # Errors
    /// [`OutsideError::Refused`].
    pub fn check(&self, url: &Url) -> Result<(), OutsideError> {
        let host = url.host_str().unwrap_or_default();
        if is_bucket(url) {
            // Whose it is was judged when it was named.
            return Ok(());
        }
        let refused = |refused: RefusedHost| OutsideError::Refused(refused.host);
        self.guard.check_literal(host).map_err(refused)
    }

    /// Asks once, and follows no redirect. Whoever puts says how long that may take.
    ///
    /// # Errors
    /// Where nothing answers, or must not be asked.
    pub async fn send(
        &self,
        method: Method,
        url: &Url,
        headers: HeaderMap,
        body: Option<Body>,
    ) -> Result<Answer, OutsideError> {
        if is_bucket(url) {
            return self.send_to_bucket(method, (url, &[]), headers, body).await;
        }
        self.check(url)?;
        let url = url.clone();
        self.guarded.send(method, url, headers, body).await
    }

    /// Asks a bucket once, of an object or of what `subject` says of it.
    ///
    /// # Errors
    /// As [`Outside::send`].
    pub(super) async fn send_to_bucket(
        &self,
        method: Method,
        subject: (&Url, &Subject<'_>),
        headers: HeaderMap,
        body: Option<Body>,
    ) -> Result<Answer, OutsideError> {
        let signed = self.signed(&method, subject)?;
        self.unguarded.send(method, signed, headers, body).await
    }

    /// Puts so many bytes into a bucket, once. It may take any time, as long as they move.
    ///
    /// # Errors
    /// As [`Outside::send`].
    pub(super) async fn put_to_bucket(
        &self,
        subject: (&Url, &Subject<'_>),
        (bytes, content): (u64, impl Content),
    ) -> Result<Answer, OutsideError> {
        let headers = HeaderMap::from_iter([(CONTENT_LENGTH, HeaderValue::from(bytes))]);
        let (body, taken) = watched(content);
        let mut sending = pin!(self.send_to_bucket(Method::PUT, subject, headers, Some(body)));
        let mut seen = 0;
        loop {
            tokio::select! {
                answer = &mut sending => return answer,
                () = tokio::time::sleep(SILENCE_MAX) => {}
            }
            let now = taken.load(Ordering::Relaxed);
            if now == seen {
                let silent = SILENCE_MAX.as_secs();
                let cause = format!("it took no bytes and gave no answer for {silent} s");
                return Err(OutsideError::Unreachable(cause));
            }
            seen = now;
        }
    }

    fn signed(
        &self,
        method: &Method,
        (url, subject): (&Url, &Subject<'_>),
    ) -> Result<Url, OutsideError> {
        let signed = self
            .buckets
            .signed(method, (url, subject), unix_ms() / 1000);
        let name = url.host_str().unwrap_or_default().to_string();
        if method != Method::GET && signed.is_some() && !self.buckets.may_write(&name) {
            return Err(OutsideError::ReadOnlyBucket(name));
        }
        signed.ok_or(OutsideError::NoBucket(name))
    }

    /// Asks with GET, and follows a few redirects. What `headers` say goes to
    /// every one of them: they must not hold a secret.
    ///
    /// # Errors
    /// As [`Outside::send`], and for redirects that are none.
    pub async fn get(&self, url: &Url, headers: &HeaderMap) -> Result<Answer, OutsideError> {
        let mut url = url.clone();
        for _ in 0..=REDIRECTS_MAX {
            let answer = self.send(Method::GET, &url, headers.clone(), None).await?;
            match redirect(&answer, &url)? {
                Some(next) => url = next,
                None => return Ok(answer),
            }
        }
        Err(OutsideError::BadRedirect(format!(
            "more than {REDIRECTS_MAX} times"
        )))
    }
}

/// Bytes as they are read; or why they can't be.
pub trait Content: Stream<Item = Result<Bytes, String>> + Send + 'static {}

impl<T: Stream<Item = Result<Bytes, String>> + Send + 'static> Content for T {}

/// What is read as a body, and how many bytes of it were taken.
fn watched(content: impl Content) -> (Body, Arc<AtomicU64>) {
    let taken = Arc::new(AtomicU64::new(0));
    let counted = taken.clone();
    let pieces = content.map_ok(|bytes| stream::iter(pieces(bytes).map(Ok::<_, String>)));
    let pieces = pieces.try_flatten().inspect_ok(move |piece: &Bytes| {
        counted.fetch_add(piece.len() as u64, Ordering::Relaxed);
    });
    (Body::wrap_stream(pieces), taken)
}

/// Bytes in pieces that are small enough to be counted as they go.
fn pieces(mut bytes: Bytes) -> impl Iterator<Item = Bytes> {
    std::iter::from_fn(move || {
        let piece = bytes.split_to(bytes.len().min(PUT_PIECE_BYTES));
        (!piece.is_empty()).then_some(piece)
    })
}

/// A client; one that trusts nobody by https where this system has no roots.
fn built(builder: &dyn Fn() -> reqwest::ClientBuilder) -> Client {
    builder().build().unwrap_or_else(|error| {
        let cause = cause_of(&error);
        warn!(
            cause,
            "https reaches nothing: are ca-certificates installed?"
        );
        let none = rustls::ClientConfig::builder()
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        let client = builder().tls_backend_preconfigured(none).build();
        client.expect("a client with its TLS given has nothing left to fail at")
    })
}

/// Where an answer leads to, if it is a redirect.
fn redirect(answer: &Answer, from: &Url) -> Result<Option<Url>, OutsideError> {
    let redirects = matches!(
        answer.status(),
        StatusCode::MOVED_PERMANENTLY
            | StatusCode::FOUND
            | StatusCode::SEE_OTHER
            | StatusCode::TEMPORARY_REDIRECT
            | StatusCode::PERMANENT_REDIRECT
    );
    if !redirects {
        return Ok(None);
    }
    if is_bucket(from) {
        let cause = "elsewhere: is the bucket's region or endpoint another?".to_string();
        return Err(OutsideError::BadRedirect(cause));
    }
    let nowhere = || OutsideError::BadRedirect("to nowhere".to_string());
    let to = answer.headers().get(LOCATION).ok_or_else(nowhere)?;
    let to = to.to_str().map_err(|_| nowhere())?;
    let to = from.join(to).map_err(|_| nowhere())?;
    if from.scheme() == "https" && to.scheme() != "https" {
        let cause = "from https to another protocol".to_string();
        return Err(OutsideError::BadRedirect(cause));
    }
    let checked = url::check("redirect", to.as_str(), false);
    let bad = |_| OutsideError::BadRedirect("to what is no plain web address".to_string());
    checked.map(Some).map_err(bad)
}

/// What a failed request comes down to, without its URL.
fn judged(error: reqwest::Error) -> OutsideError {
    let mut cause: Option<&(dyn Error + 'static)> = Some(&error);
    while let Some(inner) = cause {
        if let Some(refused) = inner.downcast_ref::<RefusedHost>() {
            return OutsideError::Refused(refused.host.clone());
        }
        cause = inner.source();
    }
    OutsideError::Unreachable(cause_of(&error.without_url()))
}

/// An error with its causes, each once.
pub(super) fn cause_of(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}
