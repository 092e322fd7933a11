//! What a client may name, and what a file is called that it names.

use reelraft_model::{Problem, limits::URL_BYTES_MAX};
use reqwest::Url;

use super::{
    limits::NAME_BYTES_MAX,
    s3::{is_bucket, key_of},
};

/// Reads a URL that a client named; `what` says what it is for, and whether a bucket
/// will do.
///
/// # Errors
/// `bad-url`.
pub fn check(what: &str, text: &str, may_be_bucket: bool) -> Result<Url, Problem> {
    let bad = |cause: String| {
        let hint = "give one such as https://host/path, without a name or password in it";
        Err(Problem::new("bad-url", format!("the {what} {cause}"), hint))
    };
    if text.len() > URL_BYTES_MAX {
        return bad(format!("is longer than {URL_BYTES_MAX} bytes"));
    }
    let url = match Url::parse(text) {
        Ok(url) => url,
        Err(error) => return bad(format!("can't be read: {error}")),
    };
    let bucket = may_be_bucket && is_bucket(&url);
    if !bucket && !matches!(url.scheme(), "http" | "https") {
        return bad("is neither http nor https".to_string());
    }
    if bucket && let Some(cause) = bad_key(&url) {
        return bad(cause.to_string());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return bad("has a name or password in it".to_string());
    }
    match url.host_str() {
        None | Some("") => bad("names no host".to_string()),
        Some(_) => Ok(url),
    }
}

/// What is wrong with the key of a bucket's URL.
fn bad_key(url: &Url) -> Option<&'static str> {
    let key = key_of(url);
    let mut parts = key.split(|byte| *byte == b'/');
    if key.is_empty() || url.query().is_some() || url.port().is_some() {
        Some("is not of the form s3://NAME/KEY; write ? as %3F")
    } else if url.fragment().is_some() {
        Some("is cut off at a #; write # as %23")
    } else if parts.any(|part| part == b"." || part == b"..") {
        Some("has a key with a part . or .., which servers may resolve")
    } else {
        None
    }
}

/// The host of a URL that was checked, for people and for counting.
pub fn host_of(url: &str) -> String {
    let host = Url::parse(url).ok();
    let host = host.and_then(|url| url.host_str().map(str::to_string));
    host.unwrap_or_default()
}

/// The file's name, from the last part of the path.
pub fn name_of(url: &Url) -> String {
    let last = url.path_segments().and_then(|mut parts| parts.next_back());
    let last = percent_encoding::percent_decode_str(last.unwrap_or_default());
    plain_name(&last.decode_utf8_lossy())
}

/// A name without folders and control characters, of a bounded length.
pub fn plain_name(text: &str) -> String {
    let last = text.rsplit(['/', '\\']).next().unwrap_or_default();
    let mut name: String = last.chars().filter(|letter| !letter.is_control()).collect();
    while name.len() > NAME_BYTES_MAX {
        name.pop();
    }
    match name.trim_matches(['.', ' ']).is_empty() {
        true => "source".to_string(),
        false => name,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_no_plain_url_is_refused_by_name() {
        for (text, cause) in [
            ("film.mp4", "can't be read"),
            ("ftp://host/film", "neither http"),
            ("file:///etc/passwd", "neither http"),
            ("http://name@host/film", "name or password"),
            ("http://:word@host/film", "name or password"),
            ("http://", "can't be read"),
            ("http://ho st/", "can't be read"),
            ("s3://media/", "s3://NAME/KEY"),
            ("s3://media/a?versionId=1", "s3://NAME/KEY"),
            ("s3://media/a#1.mov", "write # as %23"),
            ("s3://media/..%2Fother%2Fkey", "a part . or .."),
            ("s3://media/a/b%2F..%2f..%2fkey", "a part . or .."),
            ("s3://media/a%2F.", "a part . or .."),
        ] {
            let problem = check("source_url", text, true).unwrap_err();
            assert_eq!(problem.kind, "bad-url");
            assert!(problem.cause.contains(cause), "{text}: {problem}");
        }
        let long = format!("http://host/{}", "a".repeat(URL_BYTES_MAX));
        assert!(check("source_url", &long, false).is_err());
        assert!(check("url", "s3://media/a", false).is_err());
        for fine in [
            "s3://media/a%3Fb%23",
            "s3://media/..a/b..mov",
            "s3://media//a",
        ] {
            assert!(check("source_url", fine, true).is_ok(), "{fine}");
        }
    }

    #[test]
    fn names_are_plain() {
        for (url, name) in [
            ("https://h/a/b%20c.mp4?x=y/z", "b c.mp4"),
            ("https://h", "source"),
            ("https://h/..%2f..%2fetc%2fpasswd", "passwd"),
            ("https://h/%2e%2e", "source"),
            ("https://h/a%0ab", "ab"),
        ] {
            assert_eq!(name_of(&Url::parse(url).unwrap()), name, "{url}");
        }
    }
}
