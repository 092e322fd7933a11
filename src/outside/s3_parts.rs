//! A large file into a bucket, in parts whose number and size need not be known
//! before. It gets its name once it is whole; what is given up leaves nothing behind.

use std::time::Duration;

use bytes::Bytes;
use reqwest::{
    Body, Method, StatusCode, Url,
    header::{CONTENT_LENGTH, ETAG, HeaderMap, HeaderValue},
};
use tokio::time::sleep;

use super::{
    client::{Answer, Outside, OutsideError},
    limits::{BUCKET_ANSWER_BYTES_MAX, BUCKET_PART_TRIES_MAX, BUCKET_PARTS_MAX},
    s3_sign::Subject,
};

/// The pause before a part is sent again; each further one is twice as long.
const PART_AGAIN: Duration = Duration::from_secs(1);

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
            BucketError::Refused { status, .. } => *status >= 500 || *status == 429,
            _ => false,
        }
    }
}

/// A file that is being put.
pub struct PartedUpload {
    outside: Outside,
    url: Url,
    id: String,
    /// What the server calls the parts, in order.
    tags: Vec<String>,
}

impl PartedUpload {
    /// Begins one under a name that no file has, or `over` the one that has it.
    ///
    /// # Errors
    /// [`BucketError`].
    pub async fn begin(outside: &Outside, url: Url, over: bool) -> Result<Self, BucketError> {
        let ask = |method| ask(outside, method, (&url, &[]), None);
        if !over {
            match ask(Method::HEAD).await {
                Ok(_) => return Err(BucketError::Exists),
                Err(BucketError::Refused { status: 404, .. }) => {}
                Err(error) => return Err(error),
            }
        }
        let begin = asked(outside, Method::POST, (&url, &[("uploads", "")]), None);
        let text = begin.await?;
        let id = element(&text, "UploadId").filter(|id| !id.is_empty());
        let id = id.ok_or(BucketError::Nonsense("how the upload is called"))?;
        Ok(PartedUpload {
            outside: outside.clone(),
            id: unescaped(id),
            url,
            tags: Vec::new(),
        })
    }

    /// Puts the next part. All but the last must have the same size, of 5 MiB at least.
    ///
    /// # Errors
    /// [`BucketError`], once it was tried a few times.
    pub async fn put(&mut self, part: Bytes) -> Result<(), BucketError> {
        if self.tags.len() as u64 >= BUCKET_PARTS_MAX {
            return Err(BucketError::TooManyParts);
        }
        let mut pause = PART_AGAIN;
        let mut tries = 1;
        loop {
            match self.try_put(part.clone()).await {
                Ok(tag) => {
                    self.tags.push(tag);
                    return Ok(());
                }
                Err(error) if tries < BUCKET_PART_TRIES_MAX && error.is_passing() => {
                    sleep(pause).await;
                    (tries, pause) = (tries + 1, pause * 2);
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn try_put(&self, part: Bytes) -> Result<String, BucketError> {
        let number = (self.tags.len() + 1).to_string();
        let subject = [("partNumber", number.as_str()), ("uploadId", &self.id)];
        let answer = ask(
            &self.outside,
            Method::PUT,
            (&self.url, &subject),
            Some(part),
        );
        let answer = answer.await?;
        let tag = answer.headers().get(ETAG);
        let tag = tag.and_then(|tag| tag.to_str().ok());
        tag.map(str::to_string)
            .ok_or(BucketError::Nonsense("which part it has"))
    }

    /// Gives the parts their name.
    ///
    /// # Errors
    /// [`BucketError`]; the parts are given up then.
    pub async fn finish(self) -> Result<(), BucketError> {
        let parts = self.tags.iter().enumerate().map(|(at, tag)| {
            let (number, tag) = (at + 1, escaped(tag));
            format!("<Part><PartNumber>{number}</PartNumber><ETag>{tag}</ETag></Part>")
        });
        let parts: String = parts.collect();
        let list = format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>");
        let subject = [("uploadId", self.id.as_str())];
        let subject = (&self.url, &subject[..]);
        let text = asked(&self.outside, Method::POST, subject, Some(list.into())).await;
        // It begins to answer before it knows how it ends.
        let done = text.and_then(|text| match element(&text, "Code") {
            Some(code) => Err(BucketError::Refused {
                status: StatusCode::OK.as_u16(),
                code: unescaped(code),
            }),
            None if element(&text, "ETag").is_some() => Ok(()),
            None => Err(BucketError::Nonsense("that it has the file")),
        });
        if done.is_err() {
            self.give_up().await;
        }
        done
    }

    /// Leaves nothing of it in the bucket, as far as its server answers.
    pub async fn give_up(self) {
        let subject = [("uploadId", self.id.as_str())];
        let gone = ask(&self.outside, Method::DELETE, (&self.url, &subject), None);
        if let Err(error) = gone.await {
            tracing::warn!(%error, "parts of an upload that was given up may stay in its bucket");
        }
    }
}

/// Asks, and takes no refusal for an answer.
async fn ask(
    outside: &Outside,
    method: Method,
    (url, subject): (&Url, &Subject<'_>),
    body: Option<Bytes>,
) -> Result<Answer, BucketError> {
    let mut headers = HeaderMap::new();
    if method != Method::GET && method != Method::HEAD {
        let bytes = body.as_ref().map_or(0, Bytes::len);
        headers.insert(CONTENT_LENGTH, HeaderValue::from(bytes));
    }
    let body = body.map(Body::from);
    let mut answer = outside
        .send_to_bucket(method, (url, subject), headers, body)
        .await?;
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

/// Asks for what is said in words.
async fn asked(
    outside: &Outside,
    method: Method,
    subject: (&Url, &Subject<'_>),
    body: Option<Bytes>,
) -> Result<String, BucketError> {
    text_of(&mut ask(outside, method, subject, body).await?).await
}

/// The text of an answer, as much as one may have.
async fn text_of(answer: &mut Answer) -> Result<String, BucketError> {
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

/// The text of the first element of a name, which has no attributes.
fn element<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let begin = format!("<{name}>");
    let from = text.find(&begin)? + begin.len();
    let rest = &text[from..];
    Some(&rest[..rest.find(&format!("</{name}>"))?])
}

/// The signs that stand for others in a text.
const SIGNS: [(&str, &str); 5] = [
    ("&", "&amp;"),
    ("<", "&lt;"),
    (">", "&gt;"),
    ("\"", "&quot;"),
    ("'", "&apos;"),
];

fn escaped(text: &str) -> String {
    SIGNS.iter().fold(text.to_string(), |text, (plain, sign)| {
        text.replace(plain, sign)
    })
}

fn unescaped(text: &str) -> String {
    SIGNS
        .iter()
        .rev()
        .fold(text.to_string(), |text, (plain, sign)| {
            text.replace(sign, plain)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_an_answer_is_found() {
        let text = "<?xml version=\"1.0\"?><R xmlns=\"x\"><Bucket>b</Bucket>\
                    <UploadId>a&amp;b&quot;</UploadId></R>";
        let id = element(text, "UploadId").map(unescaped);
        assert_eq!(id.as_deref(), Some("a&b\""));
        assert_eq!(element(text, "Code"), None);
        assert_eq!(element("<Code>cut", "Code"), None);
    }

    #[test]
    fn signs_are_written_and_read_back() {
        for text in ["\"d41d8\"", "a<b>&amp;'"] {
            assert_eq!(unescaped(&escaped(text)), text);
        }
        assert_eq!(escaped("<&"), "&lt;&amp;");
    }

    #[test]
    fn what_may_pass_is_tried_again_and_what_is_forbidden_is_not() {
        let refused = |status| BucketError::Refused {
            status,
            code: "X".into(),
        };
        assert!(refused(503).is_passing() && refused(429).is_passing());
        assert!(!refused(403).is_passing() && !BucketError::Exists.is_passing());
        assert_eq!(refused(403).to_string(), "its server answers 403 (X)");
    }
}
