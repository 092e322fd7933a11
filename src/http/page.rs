//! The page: its files, which are part of the program. They tell nothing of the
//! cluster, so that anybody may have them: who opens the page has to ask for a
//! key before it knows one.

use std::io::Write;

use axum::{
    body::Body,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header},
    response::Response,
};
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};

/// Letters of a hash that tell two versions of a file apart.
const TAG_LETTERS: usize = 32;

/// Types of the files that are served, by how their names end. Of any other
/// nothing is served.
const KINDS: [(&str, &str); 4] = [
    ("html", "text/html; charset=utf-8"),
    ("js", "text/javascript; charset=utf-8"),
    ("css", "text/css; charset=utf-8"),
    ("svg", "image/svg+xml"),
];

/// A file of the page, ready to be sent.
#[derive(Clone)]
struct File {
    kind: &'static str,
    plain: Bytes,
    gzip: Bytes,
    /// A weak entity tag: it holds for both forms.
    tag: String,
}

impl File {
    /// `None` for a type that the page does not have.
    fn new(name: &str, plain: Bytes) -> Option<File> {
        let (_, ending) = name.rsplit_once('.')?;
        let (_, kind) = KINDS.iter().find(|(known, _)| *known == ending)?;
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        let gzip = gzip.write_all(&plain).and_then(|()| gzip.finish());
        let hash = blake3::hash(&plain).to_hex();
        Some(File {
            kind,
            gzip: gzip.expect("memory takes all that is written").into(),
            tag: format!("W/\"{}\"", &hash[..TAG_LETTERS]),
            plain,
        })
    }
}

/// The file of that name below the page's folder.
#[cfg(not(debug_assertions))]
fn find(name: &str) -> Option<File> {
    use std::{collections::BTreeMap, sync::LazyLock};

    const EMBEDDED: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/page_files.rs"));
    static FILES: LazyLock<BTreeMap<&str, File>> = LazyLock::new(|| {
        let files = EMBEDDED.iter().filter_map(|(name, bytes)| {
            let file = File::new(name, Bytes::from_static(bytes))?;
            Some((*name, file))
        });
        files.collect()
    });
    FILES.get(name).cloned()
}

/// The same from disk, so that a change is seen at once.
#[cfg(debug_assertions)]
fn find(name: &str) -> Option<File> {
    let plain = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.contains('\\');
    if !name.split('/').all(plain) {
        return None;
    }
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/http/web");
    let bytes = std::fs::read(std::path::Path::new(folder).join(name)).ok()?;
    File::new(name, bytes.into())
}

/// The page's file under a path, as an answer; `None` where there is none.
///
/// `fellows` are the origins of all nodes, at one of which the page goes on when
/// this node fails.
pub fn file(uri: &Uri, headers: &HeaderMap, fellows: &[String]) -> Option<Response> {
    let name = match uri.path() {
        "/" => "index.html",
        path => path.strip_prefix('/')?,
    };
    let file = find(name)?;
    let mut response = Response::new(Body::empty());
    describe(&file, fellows, response.headers_mut());
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let known = text(header::IF_NONE_MATCH).unwrap_or_default();
    if known.split(',').any(|known| is_tag(known, &file.tag)) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return Some(response);
    }
    *response.body_mut() = match takes_gzip(text(header::ACCEPT_ENCODING).unwrap_or_default()) {
        true => {
            insert(response.headers_mut(), header::CONTENT_ENCODING, "gzip");
            Body::from(file.gzip)
        }
        false => Body::from(file.plain),
    };
    Some(response)
}

/// Whether a tag that the client has, weak or not, is this weak one.
fn is_tag(known: &str, tag: &str) -> bool {
    let plain = |tag: &str| tag.trim().trim_start_matches("W/").to_string();
    plain(known) == plain(tag)
}

/// Whether a list of encodings has gzip in it, and not as what is refused.
fn takes_gzip(encodings: &str) -> bool {
    encodings.split(',').any(|encoding| {
        let (name, weight) = encoding.split_once(';').unwrap_or((encoding, ""));
        let weight = weight.trim().strip_prefix("q=").unwrap_or("1");
        name.trim().eq_ignore_ascii_case("gzip") && weight.parse().is_ok_and(|it: f32| it > 0.0)
    })
}

/// What the page may load, run and talk to: code and styles from this port alone,
/// and films and answers from fellow nodes too. No script and no style stands
/// within the document.
fn policy(fellows: &[String]) -> String {
    let fellows = fellows.join(" ");
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; \
         media-src 'self' blob: {fellows}; connect-src 'self' {fellows}; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'"
    )
}

fn describe(file: &File, fellows: &[String], headers: &mut HeaderMap) {
    for (name, value) in [
        (header::CONTENT_TYPE, file.kind),
        (header::ETAG, &file.tag),
        // A node of another version may answer next: each use asks whether it
        // still holds.
        (header::CACHE_CONTROL, "no-cache"),
        (header::VARY, "Accept-Encoding"),
        (header::CONTENT_SECURITY_POLICY, &policy(fellows)),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (OPENER_POLICY, "same-origin"),
    ] {
        insert(headers, name, value);
    }
}

const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");

fn insert(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    let value = HeaderValue::from_str(value).expect("it was made of plain ASCII");
    headers.insert(name, value);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn encodings_are_read_as_the_rfc_says() {
        for takes in ["gzip", "br, gzip;q=0.5", "GZIP", "deflate,gzip ; q=1"] {
            assert!(takes_gzip(takes), "{takes}");
        }
        for refuses in ["", "br", "gzip;q=0", "gzip;q=0.000", "xgzip"] {
            assert!(!takes_gzip(refuses), "{refuses}");
        }
    }

    #[test]
    fn nothing_beside_the_pages_files_is_found() {
        assert!(find("index.html").is_some());
        for other in [
            "",
            ".",
            "../page.rs",
            "lib/../../page.rs",
            "/etc/passwd",
            "lib",
            "a//b",
        ] {
            assert!(find(other).is_none(), "{other}");
        }
        assert!(File::new("page.rs", Bytes::new()).is_none());
    }
}
