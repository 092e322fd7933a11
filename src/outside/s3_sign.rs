//! Signatures of S3 (AWS Signature Version 4), in the query of a URL: what is asked
//! for needs no further secret then, as with the signed URLs that clients give.

use reqwest::{Method, Url};
use ring::{digest, hmac};

/// How long a signed URL may be used: each request is signed anew, and one begins
/// at once.
const EXPIRES_S: u32 = 900;

/// Whose signature it is, and where it counts.
#[derive(Clone)]
pub struct Credentials {
    pub access_key: String,
    pub secret_key: String,
    /// Of temporary credentials.
    pub session_token: Option<String>,
    pub region: String,
}

/// What is asked of an object beside its bytes, as pairs of a query, sorted by name.
pub type Subject<'a> = [(&'a str, &'a str)];

/// A URL with its signature; `url` has no query. `stamp` is the time as S3 writes
/// it: 20130524T000000Z.
pub fn signed(
    credentials: &Credentials,
    method: &Method,
    (url, subject): (&Url, &Subject<'_>),
    stamp: &str,
) -> Url {
    signed_for(credentials, method, (url, subject), stamp, EXPIRES_S)
}

fn signed_for(
    credentials: &Credentials,
    method: &Method,
    (url, subject): (&Url, &Subject<'_>),
    stamp: &str,
    expires_s: u32,
) -> Url {
    let Credentials {
        access_key,
        secret_key,
        session_token,
        region,
    } = credentials;
    let day = stamp.split('T').next().unwrap_or_default();
    let scope = format!("{day}/{region}/s3/aws4_request");
    let mut query = vec![
        ("X-Amz-Algorithm", "AWS4-HMAC-SHA256".to_string()),
        ("X-Amz-Credential", format!("{access_key}/{scope}")),
        ("X-Amz-Date", stamp.to_string()),
        ("X-Amz-Expires", expires_s.to_string()),
    ];
    if let Some(token) = session_token {
        query.push(("X-Amz-Security-Token", token.clone()));
    }
    query.push(("X-Amz-SignedHeaders", "host".to_string()));
    // Sorted by bytes, so that small letters come after these.
    query.extend(
        subject
            .iter()
            .map(|(name, value)| (*name, value.to_string())),
    );
    let pairs = query.iter();
    let pairs: Vec<String> = pairs
        .map(|(name, value)| format!("{name}={}", encoded(value.as_bytes(), false)))
        .collect();
    let query = pairs.join("&");
    let host = match (url.host_str().unwrap_or_default(), url.port()) {
        (host, Some(port)) => format!("{host}:{port}"),
        (host, None) => host.to_string(),
    };
    let path = url.path();
    let request = format!("{method}\n{path}\n{query}\nhost:{host}\n\nhost\nUNSIGNED-PAYLOAD");
    let hash = digest::digest(&digest::SHA256, request.as_bytes());
    let hash = hex(hash.as_ref());
    let text = format!("AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hash}");
    let key = format!("AWS4{secret_key}").into_bytes();
    let key = [day, region, "s3", "aws4_request"]
        .iter()
        .fold(key, |key, part| mac(&key, part));
    let signature = hex(&mac(&key, &text));
    let mut signed = url.clone();
    signed.set_query(Some(&format!("{query}&X-Amz-Signature={signature}")));
    signed
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    hmac::sign(&key, text.as_bytes()).as_ref().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Percent-encoded as S3 compares it: all but letters, digits and `-._~`, and in a
/// path the slash.
pub fn encoded(bytes: &[u8], in_path: bool) -> String {
    let mut text = String::with_capacity(bytes.len());
    for byte in bytes {
        let plain = byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
        match plain || (in_path && *byte == b'/') {
            true => text.push(char::from(*byte)),
            false => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// The example of the protocol's own documentation.
    #[test]
    fn the_documented_example_is_signed_as_documented() {
        let credentials = Credentials {
            access_key: "AKIAIOSFODNN7EXAMPLE".into(),
            secret_key: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".into(),
            session_token: None,
            region: "us-east-1".into(),
        };
        let url = Url::parse("https://examplebucket.s3.amazonaws.com/test.txt").unwrap();
        let stamp = "20130524T000000Z";
        let signed = signed_for(&credentials, &Method::GET, (&url, &[]), stamp, 86_400);
        let wanted = "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404";
        assert!(signed.as_str().ends_with(wanted), "{signed}");
    }

    #[test]
    fn keys_are_encoded_as_they_are_compared() {
        assert_eq!(encoded("a/b c+é~".as_bytes(), true), "a/b%20c%2B%C3%A9~");
        assert_eq!(encoded(b"a/b", false), "a%2Fb");
    }
}
