//! The checksum that a client sends with a part of an upload (an extension of
//! tus). What does not have it must leave nothing behind, so that the part is
//! held until all of it has come.

use axum::{body::Body, http::HeaderMap};
use base64::{Engine, prelude::BASE64_STANDARD};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use reelraft_model::Problem;
use ring::digest::{self, Algorithm};

use super::{
    limits::{CHECKED_BYTES_MAX, CHECKED_TIME_MAX},
    refusal::Refusal,
    request::header_text,
};
use crate::api::Api;

/// What this server can, as a client is told.
pub const ALGORITHMS: &str = "sha1,sha256";

/// What a body is to come to.
pub struct Wanted {
    algorithm: &'static Algorithm,
    sum: Vec<u8>,
}

/// What the header `Upload-Checksum` says, if there is one.
///
/// # Errors
/// `bad-request` where it can't be read or names an algorithm that is not there.
pub fn wanted(headers: &HeaderMap) -> Result<Option<Wanted>, Refusal> {
    let Some(text) = header_text(headers, "upload-checksum")? else {
        return Ok(None);
    };
    let refused = |cause: String| {
        let hint = "send the algorithm, a space, and the sum in base64: sha1 or sha256";
        Refusal::bad_request(cause, hint)
    };
    let (name, sum) = text.trim().split_once(' ').unwrap_or((text, ""));
    let algorithm = match name {
        "sha1" => &digest::SHA1_FOR_LEGACY_USE_ONLY,
        "sha256" => &digest::SHA256,
        _ => return Err(refused(format!("there is no checksum {name}"))),
    };
    let sum = BASE64_STANDARD.decode(sum.trim()).ok();
    let sum = sum.filter(|sum| sum.len() == algorithm.output_len());
    let sum = sum.ok_or_else(|| refused(format!("the sum is none of {name}")))?;
    Ok(Some(Wanted { algorithm, sum }))
}

impl Wanted {
    /// Takes a body in, of `length` bytes where that is known, and gives it back once
    /// it has the sum.
    ///
    /// # Errors
    /// `checksum-mismatch`, `too-large`, `too-busy`, and `client-lost` where it
    /// ends early or takes too long.
    pub async fn check(&self, api: &Api, body: Body, length: Option<u64>) -> Result<Body, Refusal> {
        let length = length.unwrap_or(CHECKED_BYTES_MAX as u64);
        let too_large = || {
            let cause = format!("the body is larger than {CHECKED_BYTES_MAX} bytes");
            let hint = "send less at once, or leave its checksum out";
            Refusal(Problem::new("too-large", cause, hint))
        };
        if length > CHECKED_BYTES_MAX as u64 {
            return Err(too_large());
        }
        let _room = api.room_for_upload(length)?;
        let lost = |cause: String| {
            let hint = "ask for the offset with HEAD, and go on from there";
            Refusal(Problem::new("client-lost", cause, hint))
        };
        let limited = Limited::new(body, CHECKED_BYTES_MAX).collect();
        let collected = tokio::time::timeout(CHECKED_TIME_MAX, limited).await;
        let collected = collected.map_err(|_| lost("the body took too long to come".into()))?;
        let collected = collected.map_err(|error| match error.is::<LengthLimitError>() {
            true => too_large(),
            false => lost(format!("the body broke off: {error}")),
        })?;
        let bytes = collected.to_bytes();
        match digest::digest(self.algorithm, &bytes).as_ref() == self.sum {
            true => Ok(Body::from(bytes)),
            false => Err(Refusal(Problem::new(
                "checksum-mismatch",
                "the body has another checksum than was said, and is not kept",
                "send it again",
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn sums_are_read_as_the_protocol_says() {
        let read = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert("upload-checksum", HeaderValue::from_static(text));
            let wanted = wanted(&headers).map_err(|refused| refused.0.kind)?;
            Ok::<_, String>(wanted.unwrap().sum)
        };
        let hello = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, b"hello world");
        assert_eq!(
            read("sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=").unwrap(),
            hello.as_ref()
        );
        for bad in ["sha1", "sha1 %", "sha1 Kq5s", "md5 Kq5s", "crc32", ""] {
            assert_eq!(read(bad).unwrap_err(), "bad-request", "{bad}");
        }
        assert!(wanted(&HeaderMap::new()).unwrap().is_none());
    }
}
