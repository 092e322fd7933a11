//! What requests say: query, headers and small bodies, each checked before it is
//! used. A name that we don't know is refused rather than passed over.

use axum::{
    body::Body,
    http::{HeaderMap, Uri, header},
};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use rand::distr::{Alphanumeric, SampleString};
use reelraft_model::Problem;
use serde::de::DeserializeOwned;
use utoipa::IntoParams;

use super::{
    limits::{JSON_BYTES_MAX, JSON_TIME_MAX},
    refusal::Refusal,
};

/// The header by which a repeated request finds its job (P5).
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// Letters and digits of a request id that we make: as many as nobody guesses
/// or meets twice.
const REQUEST_ID_LETTERS: usize = 24;

/// The pairs of a query, in order.
///
/// # Errors
/// `bad-request` for text that is not UTF-8 once it is decoded.
pub fn query(uri: &Uri) -> Result<Vec<(String, String)>, Refusal> {
    let text = uri.query().unwrap_or_default();
    let decoded = percent_encoding::percent_decode_str(text).decode_utf8();
    decoded.map_err(|_| {
        Refusal::bad_request("the query is not UTF-8", "percent-encode it as UTF-8")
    })?;
    let pairs = form_urlencoded::parse(text.as_bytes());
    Ok(pairs.into_owned().collect())
}

/// The values of a query by their names, which must all be known.
///
/// # Errors
/// `bad-request` that names the first unknown one, or one given twice.
pub fn known<const N: usize>(uri: &Uri, names: [&str; N]) -> Result<[String; N], Refusal> {
    let mut values = [const { String::new() }; N];
    for (name, value) in query(uri)? {
        let Some(at) = names.iter().position(|known| **known == *name) else {
            let all = names.join(", ");
            let hint = match N {
                0 => "leave it out".to_string(),
                _ => format!("these are known: {all}"),
            };
            return Err(Refusal(Problem::new(
                "bad-request",
                format!("there is no parameter {name}"),
                hint,
            )));
        };
        if !values[at].is_empty() {
            return Err(Refusal::bad_request(
                format!("{name} is given twice"),
                "give it once",
            ));
        }
        values[at] = value;
    }
    Ok(values)
}

/// What a query says of a job's turn and its retries, and the other pairs of it.
///
/// # Errors
/// As [`query`], and `bad-request` where they are no numbers.
pub fn turn(uri: &Uri) -> Result<(Turn, Vec<(String, String)>), Refusal> {
    let mut turn = Turn::default();
    let mut others = Vec::new();
    for (name, value) in query(uri)? {
        let known = match name.replace('-', "_").as_str() {
            "priority" => value.parse().map(|priority| turn.priority = priority),
            "max_retries" => value.parse().map(|max| turn.max_retries = Some(max)),
            "deadline_unix_ms" => value.parse().map(|at| turn.deadline_unix_ms = at),
            _ => {
                others.push((name, value));
                continue;
            }
        };
        known.map_err(|_| {
            let cause = format!("{name} is no whole number in its range");
            Refusal::bad_request(cause, "give a number, or leave it out")
        })?;
    }
    Ok((turn, others))
}

/// When a job's turn is, and how often it is tried again.
#[derive(Debug, Default, PartialEq, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Turn {
    /// Within the tenant's jobs the higher go first.
    #[param(required = false, minimum = -10, maximum = 10, default = 0)]
    pub priority: i32,
    /// How often a task may fail; the cluster's own rules where it is left out.
    #[param(maximum = 10)]
    pub max_retries: Option<u32>,
    /// When it should be done: among jobs of one priority the earliest goes first.
    /// 0: at no such time.
    #[param(required = false, default = 0)]
    pub deadline_unix_ms: u64,
}

/// How many items a page is to have; 0 where nothing is said.
///
/// # Errors
/// `bad-request` where it is no number.
pub fn page_size(text: &str) -> Result<u32, Refusal> {
    match text {
        "" => Ok(0),
        text => text.parse().map_err(|_| {
            Refusal::bad_request("page_size is no number", "give a number, or leave it out")
        }),
    }
}

/// A header's text.
///
/// # Errors
/// `bad-request` where it is none.
pub fn header_text<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Refusal> {
    let value = headers.get(name);
    let text = value.map(|value| std::str::from_utf8(value.as_bytes()));
    text.transpose().map_err(|_| {
        Refusal::bad_request(
            format!("the header {name} is not UTF-8"),
            "send plain text in it",
        )
    })
}

/// The request's own id, or one that we make.
///
/// # Errors
/// As [`header_text`].
pub fn request_id(headers: &HeaderMap) -> Result<String, Refusal> {
    let given = header_text(headers, IDEMPOTENCY_KEY)?;
    let given = given.filter(|id| !id.is_empty()).map(str::to_string);
    Ok(given.unwrap_or_else(|| Alphanumeric.sample_string(&mut rand::rng(), REQUEST_ID_LETTERS)))
}

/// How long the body says it is.
///
/// # Errors
/// `bad-request` where that is no number.
pub fn content_length(headers: &HeaderMap) -> Result<Option<u64>, Refusal> {
    let text = header_text(headers, header::CONTENT_LENGTH.as_str())?;
    text.map(str::parse).transpose().map_err(|_| {
        Refusal::bad_request("the content length is no number", "send the body's size")
    })
}

/// A small body as JSON.
///
/// # Errors
/// `too-large`, `client-lost`, and `bad-request` that names what is wrong.
pub async fn json_body<T: DeserializeOwned>(body: Body) -> Result<T, Refusal> {
    let limited = Limited::new(body, JSON_BYTES_MAX).collect();
    let collected = tokio::time::timeout(JSON_TIME_MAX, limited).await;
    let collected = collected.map_err(|_| {
        let cause = "the body took too long to come";
        Problem::new("client-lost", cause, "send it at once")
    })?;
    let collected = collected.map_err(|error| match error.is::<LengthLimitError>() {
        true => {
            let cause = format!("the body is larger than {JSON_BYTES_MAX} bytes");
            Problem::new("too-large", cause, "send only what is documented")
        }
        false => Problem::new(
            "client-lost",
            format!("the body broke off: {error}"),
            "send it again",
        ),
    })?;
    serde_json::from_slice(&collected.to_bytes()).map_err(|error| {
        Refusal::bad_request(
            format!("the body can't be read: {error}"),
            "see docs/http.md for its fields",
        )
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn unknown_and_repeated_parameters_are_named() {
        let uri: Uri = "/?page_size=3&page_token=a%20b".parse().unwrap();
        let [size, token] = known(&uri, ["page_size", "page_token"]).unwrap();
        assert_eq!((size.as_str(), token.as_str()), ("3", "a b"));
        for (bad, cause) in [
            ("/?pagesize=3", "there is no parameter pagesize"),
            ("/?page_size=3&page_size=4", "page_size is given twice"),
            ("/?page_size=%ff", "the query is not UTF-8"),
        ] {
            let refused = known(&bad.parse().unwrap(), ["page_size"]).unwrap_err();
            assert_eq!(refused.0.cause, cause, "{bad}");
        }
    }

    #[test]
    fn a_turn_is_told_apart_from_options() {
        let read = |text: &str| turn(&text.parse().unwrap());
        let (turn, others) = read("/?width=3&priority=-2&max-retries=0").unwrap();
        assert_eq!((turn.priority, turn.max_retries), (-2, Some(0)));
        assert_eq!(others, [("width".to_string(), "3".to_string())]);
        assert!(read("/?priority=high").is_err() && read("/?max_retries=-1").is_err());
    }

    #[tokio::test]
    async fn bodies_have_a_size_and_known_fields() {
        #[derive(serde::Deserialize, Debug)]
        #[serde(deny_unknown_fields)]
        struct Fields {
            #[serde(rename = "name")]
            _name: String,
        }
        let kind = async |body: String| {
            let read = json_body::<Fields>(Body::from(body)).await;
            read.map(drop).map_err(|refused| refused.0.kind)
        };
        assert_eq!(kind(r#"{"name":"a"}"#.into()).await, Ok(()));
        let refused = Err("bad-request".to_string());
        assert_eq!(kind(r#"{"name":"a","b":1}"#.into()).await, refused);
        assert_eq!(kind("[".repeat(9_999)).await, refused);
        let long = "a".repeat(JSON_BYTES_MAX + 1);
        assert_eq!(kind(long).await, Err("too-large".to_string()));
    }
}
