//! A large file into a bucket, in parts whose number and size need not be known
//! before. It gets its name once it is whole; what is given up leaves nothing behind, or
//! says what it may have left.

use std::time::Duration;

use bytes::Bytes;
use reqwest::{
    Body, Method, StatusCode, Url,
    header::{CONTENT_LENGTH, ETAG, HeaderMap, HeaderValue, IF_NONE_MATCH},
};
use tokio::time::{sleep, timeout};

use super::{
    client::{Answer, Content, Outside, OutsideError},
    limits::{
        BUCKET_ANSWER_BYTES_MAX, BUCKET_PART_BYTES, BUCKET_PART_UNIT, BUCKET_PARTS_MAX,
        BUCKET_TRIES_MAX, SILENCE_MAX, UPLOAD_ID_BYTES_MAX, VALIDATOR_BYTES_MAX,
    },
    s3_sign::Subject,
    s3_text::{element, escaped, unescaped},
};

/// The pause before the same is asked again; each further one is twice as long.
const AGAIN: Duration = Duration::from_millis(if cfg!(test) { 5 } else { 1_000 });

/// Of an MD5, as it stands in tags.
const DIGEST_DIGITS: usize = 32;

/// How large the parts of a file of at most so many bytes are: all alike, as some servers
/// want them, and few enough.
pub fn part_bytes(bytes_max: u64) -> u64 {
    let least = bytes_max.div_ceil(BUCKET_PARTS_MAX);
    least
        .max(BUCKET_PART_BYTES)
        .next_multiple_of(BUCKET_PART_UNIT)
}

/// Why a bucket did not take a file.
#[derive(Debug, thiserror::Error)]
pub enum BucketError {
    #[error("{0}")]
    Outside(#[from] OutsideError),
    /// Its server refuses, by this status and its own word.
    #[error("its server answers {status}{}", word_of(code))]
    Refused { status: u16, code: String },
    /// What it answers makes no sense.
    #[error("its server does not say {0}")]
    Nonsense(&'static str),
    /// There is a file of that name.
    #[error("a file of that name is there already")]
    Exists,
    #[error("it takes no more than {BUCKET_PARTS_MAX} parts")]
    TooManyParts,
    /// Its server knows no uploads in parts.
    #[error("its server takes no file in parts")]
    NoParts,
}

fn word_of(code: &str) -> String {
    match code.is_empty() {
        true => String::new(),
        false => format!(" ({code})"),
    }
}

impl BucketError {
    fn is_passing(&self) -> bool {
        match self {
            BucketError::Outside(error) => matches!(error, OutsideError::Unreachable(_)),
            // 200 before it failed after all, which it says in words.
            BucketError::Refused { status, .. } => match *status {
                200 | 408 | 429 => true,
                status => status >= 500 && status != 501,
            },
            _ => false,
        }
    }

    /// Whether it is the same each time that it is asked, and for no reason that an
    /// operator may mend.
    pub fn lasts(&self) -> bool {
        match self {
            BucketError::Refused { status, .. } => match *status {
                401 | 403 | 404 | 408 | 429 => false,
                status => (400..500).contains(&status),
            },
            BucketError::Nonsense(_) => true,
            _ => false,
        }
    }

    /// Whether one may put there, and not look: not allowed to, or the server can't tell.
    pub(super) fn may_not_look(&self) -> bool {
        matches!(
            self,
            BucketError::Refused {
                status: 401 | 403 | 405 | 501,
                ..
            }
        )
    }

    fn is(&self, word: u16, name: &str) -> bool {
        matches!(self, BucketError::Refused { status, code } if *status == word || code == name)
    }
}

/// What is known of a file that was not put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    Nothing,
    /// Parts of it may have stayed, under no name.
    Parts,
    /// It may be there after all.
    File,
}

/// A file that is being put.
pub struct PartedUpload {
    pub(super) outside: Outside,
    pub(super) url: Url,
    pub(super) id: String,
    /// What the server calls the parts, in order.
    pub(super) tags: Vec<String>,
    pub(super) bytes: u64,
    /// Whether a file that has the name gives way.
    pub(super) over: bool,
    /// What the server called the file that had the name before.
    pub(super) before: Option<String>,
}

impl Left {
    /// That of one that was not begun.
    pub fn of_begin(error: &BucketError) -> Self {
        match error {
            // It may have been, and the answer was lost.
            BucketError::Outside(OutsideError::Unreachable(_)) => Left::Parts,
            _ => Left::Nothing,
        }
    }
}

impl PartedUpload {
    /// Begins one under a name that no file has, or `over` the one that has it. Let it
    /// come to its end: what is begun must be given up.
    ///
    /// # Errors
    /// [`BucketError`].
    pub async fn begin(outside: &Outside, url: Url, over: bool) -> Result<Self, BucketError> {
        let before = match again(|| look(outside, &url)).await {
            Ok(_) if !over => return Err(BucketError::Exists),
            Ok(found) => Some(found.tag),
            Err(BucketError::Refused { status: 404, .. }) => None,
            // Who puts over it may have no leave to look at it.
            Err(error) if over && error.may_not_look() => None,
            Err(error) => return Err(error),
        };
        let subject = (&url, &[("uploads", "")][..]);
        let begun = posted(outside, subject, HeaderMap::new(), Bytes::new()).await;
        let text = begun.map_err(|error| match error {
            BucketError::Refused {
                status: 405 | 501, ..
            } => BucketError::NoParts,
            error => error,
        })?;
        let id = element(&text, "UploadId");
        let id = id.filter(|id| (1..=UPLOAD_ID_BYTES_MAX).contains(&id.len()));
        let id = id.ok_or(BucketError::Nonsense("how the upload is called"))?;
        Ok(PartedUpload {
            outside: outside.clone(),
            id: unescaped(id),
            url,
            tags: Vec::new(),
            bytes: 0,
            over,
            before,
        })
    }

    /// How many parts are there.
    pub fn parts(&self) -> u64 {
        self.tags.len() as u64
    }

    /// Puts the next part. All but the last must have the same size; see [`part_bytes`].
    ///
    /// # Errors
    /// [`BucketError`], once it was tried a few times.
    pub async fn put(&mut self, part: Bytes) -> Result<(), BucketError> {
        let bytes = part.len() as u64;
        let read = || futures::stream::iter([Ok(part.clone())]);
        self.put_read(bytes, read).await
    }

    /// Puts the next part, of so many bytes, which are read anew each time that they are
    /// sent.
    ///
    /// # Errors
    /// As [`PartedUpload::put`].
    pub async fn put_read<T: Content>(
        &mut self,
        bytes: u64,
        read: impl Fn() -> T,
    ) -> Result<(), BucketError> {
        if self.parts() >= BUCKET_PARTS_MAX {
            return Err(BucketError::TooManyParts);
        }
        let upload = &*self;
        let tag = again(|| upload.try_put(bytes, read())).await?;
        self.tags.push(tag);
        self.bytes += bytes;
        Ok(())
    }

    async fn try_put(&self, bytes: u64, content: impl Content) -> Result<String, BucketError> {
        let number = (self.tags.len() + 1).to_string();
        let subject = [("partNumber", number.as_str()), ("uploadId", &self.id)];
        let put = (bytes, content);
        let answer = self.outside.put_to_bucket((&self.url, &subject), put);
        // Of a client that waits for as long as bytes move.
        let judging = timeout(SILENCE_MAX, judged(answer.await?));
        let broken = |_| OutsideError::Unreachable("its answer broke off".to_string());
        let answer = judging.await.map_err(broken)??;
        tag_of(&answer).ok_or(BucketError::Nonsense("which part it has"))
    }

    /// Gives the parts their name.
    ///
    /// # Errors
    /// [`BucketError`], and what is left; the parts are given up then.
    pub async fn finish(self) -> Result<(), (BucketError, Left)> {
        let mut alone = !self.over;
        let mut pause = AGAIN;
        let mut tries = 1;
        // Whether it may have the file though it has not said so.
        let mut unsure = false;
        let error = loop {
            let error = match self.try_finish(alone).await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            if alone && error.is(501, "NotImplemented") {
                // It can't look whether the name is taken: that was done at the beginning.
                alone = false;
                continue;
            }
            if error.is(412, "PreconditionFailed") {
                // By this file, perhaps.
                break BucketError::Exists;
            }
            let silent = error.is_passing() || matches!(error, BucketError::Nonsense(_));
            unsure |= silent || error.is(404, "NoSuchUpload");
            if !error.is_passing() || tries == BUCKET_TRIES_MAX {
                break error;
            }
            sleep(pause).await;
            (tries, pause) = (tries + 1, pause * 2);
        };
        // What goes on meanwhile at its server is ended, too, before one looks.
        let gone = self.abort().await;
        match (unsure, gone) {
            (false, true) => Err((error, Left::Nothing)),
            (false, false) => Err((error, Left::Parts)),
            (true, gone) => match self.is_there(self.parts()).await {
                Ok(true) => Ok(()),
                Ok(false) if gone => Err((error, Left::Nothing)),
                _ => Err((error, Left::File)),
            },
        }
    }

    pub(super) async fn try_finish(&self, alone: bool) -> Result<(), BucketError> {
        let parts = self.tags.iter().enumerate().map(|(at, tag)| {
            let (number, tag) = (at + 1, escaped(tag));
            format!("<Part><PartNumber>{number}</PartNumber><ETag>{tag}</ETag></Part>")
        });
        let parts: String = parts.collect();
        let list = format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>");
        let subject = [("uploadId", self.id.as_str())];
        let mut headers = HeaderMap::new();
        if alone {
            headers.insert(IF_NONE_MATCH, HeaderValue::from_static("*"));
        }
        let subject = (&self.url, &subject[..]);
        let text = posted(&self.outside, subject, headers, list.into()).await?;
        // It begins to answer before it knows how it ends.
        match element(&text, "Code") {
            Some(code) => Err(BucketError::Refused {
                status: StatusCode::OK.as_u16(),
                code: unescaped(code),
            }),
            None if element(&text, "ETag").is_some() => Ok(()),
            None => Err(BucketError::Nonsense("that it has the file")),
        }
    }

    /// Whether the name leads to this file by now, which was put in so many parts.
    pub(super) async fn is_there(&self, parts: u64) -> Result<bool, BucketError> {
        match again(|| look(&self.outside, &self.url)).await {
            Ok(found) => {
                let new = self.before.as_ref() != Some(&found.tag);
                Ok(new && found.bytes == self.bytes && fits(&found.tag, parts))
            }
            Err(BucketError::Refused { status: 404, .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Leaves nothing of it in the bucket, as far as its server answers.
    pub async fn give_up(self) -> Left {
        match self.abort().await {
            true => Left::Nothing,
            false => Left::Parts,
        }
    }

    /// Whether no parts are left.
    async fn abort(&self) -> bool {
        let subject = [("uploadId", self.id.as_str())];
        let drop = || ask(&self.outside, Method::DELETE, (&self.url, &subject));
        match again(drop).await {
            Ok(_) | Err(BucketError::Refused { status: 404, .. }) => true,
            Err(error) => {
                tracing::warn!(%error, "parts of an upload that was given up may stay in its bucket");
                false
            }
        }
    }
}

/// Asks a few times where the server fails.
pub(super) async fn again<T, F>(mut asking: impl FnMut() -> F) -> Result<T, BucketError>
where
    F: Future<Output = Result<T, BucketError>>,
{
    let mut pause = AGAIN;
    for _ in 1..BUCKET_TRIES_MAX {
        match asking().await {
            Err(error) if error.is_passing() => sleep(pause).await,
            ended => return ended,
        }
        pause *= 2;
    }
    asking().await
}

/// A file as its server knows it.
struct Seen {
    bytes: u64,
    tag: String,
}

async fn look(outside: &Outside, url: &Url) -> Result<Seen, BucketError> {
    let answer = ask(outside, Method::HEAD, (url, &[])).await?;
    let bytes = answer.headers().get(CONTENT_LENGTH);
    let bytes = bytes.and_then(|bytes| bytes.to_str().ok()?.parse().ok());
    Ok(Seen {
        bytes: bytes.ok_or(BucketError::Nonsense("how long the file is"))?,
        tag: tag_of(&answer).unwrap_or_default(),
    })
}

/// Whether a file with this tag may be one of so many parts: most servers name the digest
/// of a file that was put whole, and behind it their number for one that was put in parts.
fn fits(tag: &str, parts: u64) -> bool {
    let tag = tag.trim_start_matches("W/").trim_matches('"');
    let is_digest = |text: &str| {
        text.len() == DIGEST_DIGITS && text.bytes().all(|digit| digit.is_ascii_hexdigit())
    };
    match tag.rsplit_once('-') {
        Some((digest, number)) if is_digest(digest) => number.parse() == Ok(parts),
        _ => !is_digest(tag),
    }
}

fn tag_of(answer: &Answer) -> Option<String> {
    let tag = answer.headers().get(ETAG)?;
    let tag = tag.to_str().ok()?;
    // It is kept with a job.
    Some(tag.chars().take(VALIDATOR_BYTES_MAX).collect())
}

/// Asks, and takes no refusal for an answer.
pub(super) async fn ask(
    outside: &Outside,
    method: Method,
    subject: (&Url, &Subject<'_>),
) -> Result<Answer, BucketError> {
    ask_with(outside, method, subject, (HeaderMap::new(), None)).await
}

async fn ask_with(
    outside: &Outside,
    method: Method,
    subject: (&Url, &Subject<'_>),
    (mut headers, body): (HeaderMap, Option<Bytes>),
) -> Result<Answer, BucketError> {
    if method != Method::GET && method != Method::HEAD {
        let bytes = body.as_ref().map_or(0, Bytes::len);
        headers.insert(CONTENT_LENGTH, HeaderValue::from(bytes));
    }
    let body = body.map(Body::from);
    let answer = outside.send_to_bucket(method, subject, headers, body);
    judged(answer.await?).await
}

async fn judged(mut answer: Answer) -> Result<Answer, BucketError> {
    let status = answer.status();
    if status.is_success() {
        return Ok(answer);
    }
    let text = text_of(&mut answer).await.unwrap_or_default();
    Err(BucketError::Refused {
        status: status.as_u16(),
        code: unescaped(element(&text, "Code").unwrap_or_default()),
    })
}

/// Posts, and asks for what is said in words.
async fn posted(
    outside: &Outside,
    subject: (&Url, &Subject<'_>),
    headers: HeaderMap,
    body: Bytes,
) -> Result<String, BucketError> {
    let answer = ask_with(outside, Method::POST, subject, (headers, Some(body)));
    text_of(&mut answer.await?).await
}

/// The text of an answer, as much as one may have.
pub(super) async fn text_of(answer: &mut Answer) -> Result<String, BucketError> {
    let mut text = Vec::new();
    loop {
        let part = answer.chunk().await;
        let part = part.map_err(|error| OutsideError::Unreachable(error.without_url().to_string()));
        let Some(part) = part? else {
            return Ok(String::from_utf8_lossy(&text).into_owned());
        };
        if text.len() + part.len() > BUCKET_ANSWER_BYTES_MAX {
            return Err(BucketError::Nonsense("it shortly"));
        }
        text.extend_from_slice(&part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_says_whether_a_file_was_put_in_so_many_parts() {
        let digest = "0123456789abcdef0123456789ABCDEF";
        assert!(fits(&format!("\"{digest}-3\""), 3));
        assert!(!fits(&format!("\"{digest}-4\""), 3));
        assert!(!fits(&format!("\"{digest}\""), 3), "it was put whole");
        // Of a server with tags of its own.
        for own in ["", "\"abc\"", "W/\"abc-7\"", "a-b"] {
            assert!(fits(own, 3), "{own}");
        }
    }

    #[test]
    fn what_may_pass_is_tried_again_and_what_is_forbidden_is_not() {
        let refused = |status| BucketError::Refused {
            status,
            code: "X".into(),
        };
        assert!(refused(503).is_passing() && refused(429).is_passing());
        assert!(!refused(403).is_passing() && !BucketError::Exists.is_passing());
        assert!(!refused(501).is_passing() && refused(501).may_not_look());
        assert!(refused(400).lasts() && BucketError::Nonsense("x").lasts());
        for passing in [401, 403, 404, 408, 429, 500, 503] {
            assert!(!refused(passing).lasts(), "{passing}");
        }
        assert_eq!(refused(403).to_string(), "its server answers 403 (X)");
    }
}
