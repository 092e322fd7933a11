//! A file behind a URL: what it is, and its bytes from an offset on. A server that
//! breaks off is asked for the rest; whether the file is still the same is told by
//! its entity tag or the time of its last change, and by its length.

use bytes::Bytes;
use reelraft_model::{Problem, shown_url};
use reqwest::{
    StatusCode, Url,
    header::{
        ACCEPT_ENCODING, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderMap,
        HeaderName, HeaderValue, IF_RANGE, LAST_MODIFIED, RANGE,
    },
};

use super::{
    client::{Answer, Outside, OutsideError, REFUSED_HINT, cause_of},
    url::{name_of, plain_name},
};

/// What a server says of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub bytes: u64,
    /// Its name, for display.
    pub name: String,
    /// Its entity tag or the time of its last change; empty if there is neither.
    pub validator: String,
}

/// Why a file, or the rest of it, can't be had.
#[derive(Debug)]
pub enum SourceError {
    /// It may be had later.
    Later(String),
    /// The server refuses by this status, which may pass.
    Status(u16),
    /// It is not what it was, or not what can be fetched.
    Never(Problem),
}

impl From<OutsideError> for SourceError {
    fn from(error: OutsideError) -> Self {
        match &error {
            OutsideError::Unreachable(cause) => SourceError::Later(cause.clone()),
            OutsideError::Refused(_) => SourceError::Never(Problem::new(
                "refused-address",
                error.to_string(),
                REFUSED_HINT,
            )),
            // Another node knew it: somebody may still tell this one.
            OutsideError::NoBucket(_) | OutsideError::ReadOnlyBucket(_) => {
                SourceError::Later(error.to_string())
            }
            OutsideError::BadRedirect(_) => SourceError::Never(Problem::new(
                "source-refused",
                error.to_string(),
                "give the URL of the file itself",
            )),
        }
    }
}

impl SourceError {
    /// The refusal as users see it; `url` is what was asked for.
    pub fn problem(self, url: &str) -> Problem {
        let shown = shown_url(url);
        match self {
            SourceError::Never(problem) => Problem {
                cause: format!("{shown}: {}", problem.cause),
                ..problem
            },
            SourceError::Later(cause) => Problem::new(
                "source-unreachable",
                format!("{shown} can't be fetched: {cause}"),
                "check the URL, and that the nodes can reach it",
            ),
            SourceError::Status(status) => Problem::new(
                "source-refused",
                format!("{shown} answers {status}"),
                "check that the URL is right, and a signed one still valid",
            ),
        }
    }
}

/// Asks what lies behind a URL, by its first byte: signed URLs often allow GET
/// and no HEAD.
///
/// # Errors
/// [`SourceError`], also for a file whose length its server does not say.
pub async fn look(outside: &Outside, url: &Url) -> Result<Found, SourceError> {
    let answer = outside.get(url, &headers("bytes=0-0".to_string())).await?;
    let status = answer.status();
    let bytes = match status {
        StatusCode::PARTIAL_CONTENT => content_range(&answer).and_then(|range| range.total),
        StatusCode::OK => length(&answer),
        // There is no first byte.
        StatusCode::RANGE_NOT_SATISFIABLE => Some(0),
        status => return Err(SourceError::Status(status.as_u16())),
    };
    let bytes = bytes.ok_or_else(|| {
        SourceError::Never(Problem::new(
            "source-length-unknown",
            "its server does not say how long it is",
            "download it, and upload the file",
        ))
    })?;
    Ok(Found {
        bytes,
        name: given_name(&answer).unwrap_or_else(|| name_of(url)),
        validator: validator(&answer),
    })
}

/// The headers of every request for bytes.
fn headers(range: String) -> HeaderMap {
    let range = HeaderValue::try_from(range).expect("a range is digits");
    HeaderMap::from_iter([
        (RANGE, range),
        (ACCEPT_ENCODING, HeaderValue::from_static("identity")),
    ])
}

fn text(answer: &Answer, name: HeaderName) -> Option<&str> {
    answer.headers().get(name)?.to_str().ok()
}

fn length(answer: &Answer) -> Option<u64> {
    text(answer, CONTENT_LENGTH)?.parse().ok()
}

fn validator(answer: &Answer) -> String {
    let found = text(answer, ETAG).or_else(|| text(answer, LAST_MODIFIED));
    let short = found.filter(|text| text.len() <= super::limits::VALIDATOR_BYTES_MAX);
    short.unwrap_or_default().to_string()
}

/// The name that a server gives a file; that of RFC 5987 is left alone.
fn given_name(answer: &Answer) -> Option<String> {
    let value = text(answer, CONTENT_DISPOSITION)?;
    let parameters = value.split(';').map(str::trim);
    let name = parameters
        .filter_map(|it| it.strip_prefix("filename="))
        .next()?;
    let name = name.trim_matches('"');
    (!name.is_empty()).then(|| plain_name(name))
}

struct ContentRange {
    from: u64,
    total: Option<u64>,
}

fn content_range(answer: &Answer) -> Option<ContentRange> {
    let value = text(answer, CONTENT_RANGE)?.strip_prefix("bytes ")?;
    let (range, total) = value.split_once('/')?;
    let (from, _) = range.split_once('-')?;
    Some(ContentRange {
        from: from.parse().ok()?,
        total: total.parse().ok(),
    })
}

/// The bytes of a file that was looked at.
pub struct Remote {
    outside: Outside,
    url: Url,
    total: u64,
    validator: String,
    /// The answer that is being read, and where its next byte lies.
    open: Option<(Answer, u64)>,
    /// What of it came beyond what was asked for.
    rest: Bytes,
}

impl Remote {
    /// A file as it was found.
    pub fn new(outside: &Outside, url: Url, total: u64, validator: &str) -> Self {
        Remote {
            outside: outside.clone(),
            url,
            total,
            validator: validator.to_string(),
            open: None,
            rest: Bytes::new(),
        }
    }

    /// The bytes from an offset on, of which there must be so many. Those that
    /// follow on what was read before cost no further request.
    ///
    /// # Errors
    /// [`SourceError`].
    pub async fn read(&mut self, from: u64, bytes: usize) -> Result<Bytes, SourceError> {
        self.seek(from).await?;
        let mut parts = bytes::BytesMut::with_capacity(bytes);
        while parts.len() < bytes {
            if self.rest.is_empty() {
                self.rest = self.next().await?;
            }
            let taken = self.rest.len().min(bytes - parts.len());
            parts.extend_from_slice(&self.rest.split_to(taken));
        }
        if let Some((_, at)) = &mut self.open {
            *at = from + bytes as u64;
        }
        Ok(parts.freeze())
    }

    /// Opens the file at an offset, unless that is where it is read already. A
    /// server that knows no ranges sends it from the beginning: what lies before
    /// the offset is read over.
    ///
    /// # Errors
    /// [`SourceError`].
    pub async fn seek(&mut self, from: u64) -> Result<(), SourceError> {
        if self.open.as_ref().is_some_and(|(_, at)| *at == from) {
            return Ok(());
        }
        (self.open, self.rest) = (None, Bytes::new());
        let mut headers = headers(format!("bytes={from}-"));
        // Weak tags don't tell whether the bytes are the same.
        let tells = !self.validator.is_empty() && !self.validator.starts_with("W/");
        if tells && let Ok(validator) = HeaderValue::try_from(&self.validator) {
            headers.insert(IF_RANGE, validator);
        }
        let answer = self.outside.get(&self.url, &headers).await?;
        let skip = self.judge(&answer, from)?;
        self.open = Some((answer, from));
        let mut skipped = 0;
        while skipped < skip {
            self.rest = self.next().await?;
            let over = (skip - skipped).min(self.rest.len() as u64);
            let _ = self.rest.split_to(over as usize);
            skipped += over;
        }
        Ok(())
    }

    /// How much of an answer is to be read over; or that it is another file's.
    fn judge(&self, answer: &Answer, from: u64) -> Result<u64, SourceError> {
        let changed = |cause: String| {
            let hint = "leave the file alone until it is fetched, and submit it as a new job";
            SourceError::Never(Problem::new("source-changed", cause, hint))
        };
        let (skip, total) = match answer.status() {
            StatusCode::OK => (from, length(answer)),
            StatusCode::PARTIAL_CONTENT => {
                let range = content_range(answer).filter(|range| range.from == from);
                let cause = "its server sent another range than was asked for".to_string();
                let range = range.ok_or(SourceError::Later(cause))?;
                (0, range.total)
            }
            StatusCode::RANGE_NOT_SATISFIABLE => {
                return Err(changed(format!("it has no byte {from} any more")));
            }
            status => return Err(SourceError::Status(status.as_u16())),
        };
        if let Some(total) = total.filter(|total| *total != self.total) {
            let had = self.total;
            return Err(changed(format!("it had {had} bytes, and has {total}")));
        }
        let tag = if self.validator.contains('"') {
            ETAG
        } else {
            LAST_MODIFIED
        };
        let now = text(answer, tag).unwrap_or(&self.validator);
        match self.validator.is_empty() || now == self.validator {
            true => Ok(skip),
            false => Err(changed("it changed while it was fetched".to_string())),
        }
    }

    async fn next(&mut self) -> Result<Bytes, SourceError> {
        let Some((answer, _)) = &mut self.open else {
            return Err(SourceError::Later("it is not open".to_string()));
        };
        let ended = match answer.chunk().await {
            Ok(Some(part)) => return Ok(part),
            Ok(None) => "its server ended it too early".to_string(),
            Err(error) => cause_of(&error.without_url()),
        };
        self.open = None;
        Err(SourceError::Later(ended))
    }
}
