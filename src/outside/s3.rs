//! Buckets by name: `s3://NAME/KEY` is looked up among those that this node was
//! configured with, and becomes a signed URL of its endpoint. Clients know names
//! alone; where a name leads and who signs is the operator's word, so the guard of
//! addresses is not asked.

use std::{collections::BTreeMap, path::Path, str::FromStr};

use reelraft_proto::bucket::SCHEME;
use reqwest::{Method, Url};
use serde::Deserialize;

use super::{
    limits::{BUCKET_PUT_BYTES_MAX, BUCKET_WHOLE_BYTES_MAX},
    s3_sign::{Credentials, Subject, encoded, signed},
};
use crate::toml_cause::toml_cause;

/// The buckets of a node.
#[derive(Clone, Default)]
pub struct Buckets {
    named: BTreeMap<String, Bucket>,
}

#[derive(Clone)]
struct Bucket {
    endpoint: Url,
    bucket: String,
    credentials: Credentials,
    virtual_host: bool,
    write: bool,
    tenants: Option<Vec<String>>,
}

/// One bucket in the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    endpoint: String,
    /// Its name there; else the one by which it is known here.
    bucket: Option<String>,
    region: Option<String>,
    access_key: String,
    secret_key: String,
    session_token: Option<String>,
    /// Whether the bucket stands before the host, as newer regions of AWS want it.
    #[serde(default)]
    virtual_host: bool,
    /// Whether outputs may be put there, over whatever has their name.
    #[serde(default)]
    write: bool,
    /// Who may name it; without it everybody.
    tenants: Option<Vec<String>>,
}

/// The region where a bucket names none: that of most servers but AWS.
const REGION_DEFAULT: &str = "us-east-1";

impl Buckets {
    /// Reads the file with a node's buckets.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
        text.parse()
    }

    /// Whether a tenant may name this bucket: none if there is no such one.
    pub fn may(&self, name: &str, tenant: &str) -> Option<bool> {
        let bucket = self.named.get(name)?;
        let tenants = bucket.tenants.as_ref();
        Some(tenants.is_none_or(|tenants| tenants.iter().any(|may| may == tenant)))
    }

    /// Whether outputs may be put into it.
    pub fn may_write(&self, name: &str) -> bool {
        self.named.get(name).is_some_and(|bucket| bucket.write)
    }

    /// Whether two URLs name one object, by whatever names of its bucket and however its
    /// key is written.
    pub fn same_object(&self, one: &Url, other: &Url) -> bool {
        let object = |url: &Url| {
            let bucket = self.named.get(url.host_str().filter(|_| is_bucket(url))?)?;
            let server = (bucket.endpoint.host(), bucket.endpoint.port());
            // By http or https, at the usual ports, it is one server.
            Some((server.0?.to_owned(), server.1, &bucket.bucket, key_of(url)))
        };
        object(one).is_some_and(|one| Some(one) == object(other))
    }

    /// The signed URL for one request; none where there is no such bucket, or the key
    /// would lead out of it. `unix_s` is the time.
    pub fn signed(
        &self,
        method: &Method,
        (url, subject): (&Url, &Subject<'_>),
        unix_s: u64,
    ) -> Option<Url> {
        let bucket = self.named.get(url.host_str()?)?;
        let key = encoded(&key_of(url), true);
        let mut target = bucket.endpoint.clone();
        let path = match bucket.virtual_host {
            true => {
                let host = format!("{}.{}", bucket.bucket, target.host_str()?);
                target.set_host(Some(&host)).ok()?;
                format!("/{key}")
            }
            false => format!("/{}/{key}", bucket.bucket),
        };
        target.set_path(&path);
        // A part of it was resolved.
        if target.path() != path {
            return None;
        }
        let stamp = stamp(unix_s);
        let target = (&target, subject);
        Some(signed(&bucket.credentials, method, target, &stamp))
    }
}

/// Whether a URL names an object in a bucket.
pub fn is_bucket(url: &Url) -> bool {
    url.scheme() == SCHEME
}

/// The key that an `s3` URL names: all after the one slash.
pub fn key_of(url: &Url) -> Vec<u8> {
    let path = url.path();
    let key = path.strip_prefix('/').unwrap_or(path);
    percent_encoding::percent_decode_str(key).collect()
}

/// Whether so many bytes go there in parts.
pub fn goes_in_parts(url: &Url, bytes: u64) -> bool {
    is_bucket(url) && bytes > BUCKET_WHOLE_BYTES_MAX
}

/// Why so many bytes can't be put there in one request; none if they can.
pub fn too_large_for(url: &Url, bytes: u64) -> Option<String> {
    let too_large = is_bucket(url) && bytes > BUCKET_PUT_BYTES_MAX;
    too_large.then(|| {
        let most = BUCKET_PUT_BYTES_MAX >> 30;
        format!(
            "the output has {bytes} bytes, a bucket takes {most} GiB at once, and some node's \
             program knows no parts"
        )
    })
}

impl FromStr for Buckets {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let entries: BTreeMap<String, Entry> =
            toml::from_str(text).map_err(|error| toml_cause(text, &error))?;
        let mut named = BTreeMap::new();
        for (name, entry) in entries {
            let plain = |byte: u8| {
                byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte)
            };
            if name.is_empty() || !name.bytes().all(plain) {
                return Err(format!(
                    "the name '{name}' is not of small letters, digits, '-' and '.'"
                ));
            }
            let endpoint = endpoint_of(&name, &entry.endpoint)?;
            let own = entry.bucket.unwrap_or_else(|| name.clone());
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
            if !own.bytes().all(plain) || own.bytes().all(|byte| byte == b'.') {
                return Err(format!(
                    "the bucket of '{name}' has a name that none may have"
                ));
            }
            let bucket = Bucket {
                endpoint,
                bucket: own,
                credentials: Credentials {
                    access_key: entry.access_key,
                    secret_key: entry.secret_key,
                    session_token: entry.session_token,
                    region: entry.region.unwrap_or_else(|| REGION_DEFAULT.to_string()),
                },
                virtual_host: entry.virtual_host,
                write: entry.write,
                tenants: entry.tenants,
            };
            named.insert(name, bucket);
        }
        Ok(Buckets { named })
    }
}

/// The server of a bucket: a scheme and a host, to which paths are added.
fn endpoint_of(name: &str, text: &str) -> Result<Url, String> {
    let url = Url::parse(text).ok();
    let url = url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    let url = url.ok_or_else(|| format!("the endpoint of '{name}' is no http or https URL"))?;
    let more = url.path() != "/" || url.query().is_some() || url.fragment().is_some();
    match more || !url.username().is_empty() || url.password().is_some() {
        true => Err(format!(
            "the endpoint of '{name}' has more than a host and a port"
        )),
        false => Ok(url),
    }
}

/// Secrets never get into a log.
impl std::fmt::Debug for Buckets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.named.keys()).finish()
    }
}

/// A time as S3 writes it.
fn stamp(unix_s: u64) -> String {
    let [year, month, day, hour, minute, second] =
        reelraft_proto::utc::fields(unix_s.saturating_mul(1000));
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const FILE: &str = r#"
        [media]
        endpoint = "http://127.0.0.1:9000"
        bucket = "films-2026"
        access_key = "me"
        secret_key = "secret"
        tenants = ["anna"]
        write = true

        [far]
        endpoint = "https://s3.eu-west-1.amazonaws.com"
        region = "eu-west-1"
        access_key = "me"
        secret_key = "secret"
        virtual_host = true
    "#;

    #[test]
    fn a_name_becomes_a_signed_url() {
        let buckets: Buckets = FILE.parse().unwrap();
        let signed = |url: &str| {
            let url = Url::parse(url).unwrap();
            let signed = buckets.signed(&Method::GET, (&url, &[]), 1_369_353_600)?;
            Some(signed.as_str().split("&X-Amz-Expires").next()?.to_string())
        };
        assert_eq!(
            signed("s3://media/a b/%25+ü.mkv").unwrap(),
            "http://127.0.0.1:9000/films-2026/a%20b/%25%2B%C3%BC.mkv?X-Amz-Algorithm=AWS4-HMAC-SHA256\
             &X-Amz-Credential=me%2F20130524%2Fus-east-1%2Fs3%2Faws4_request\
             &X-Amz-Date=20130524T000000Z"
        );
        let far = signed("s3://far/a.mkv").unwrap();
        assert!(
            far.starts_with("https://far.s3.eu-west-1.amazonaws.com/a.mkv?"),
            "{far}"
        );
        assert_eq!(signed("s3://other/a.mkv"), None);
        let kept = signed("s3://media//a//b").unwrap();
        assert!(kept.contains("/films-2026//a//b?"), "{kept}");
        // None leads out of its bucket.
        for key in [
            "..%2Fother%2Fkey",
            "a%2F..%2F..%2Fother",
            "a/..%2f..%2fb",
            "%2E%2E%2Fb",
        ] {
            assert_eq!(signed(&format!("s3://media/{key}")), None, "{key}");
        }
        assert!(buckets.may_write("media"));
        assert!(!buckets.may_write("far") && !buckets.may_write("x"));
        assert_eq!(buckets.may("media", "anna"), Some(true));
        assert_eq!(buckets.may("media", "bob"), Some(false));
        assert_eq!(
            (buckets.may("far", "bob"), buckets.may("x", "bob")),
            (Some(true), None)
        );
        assert_eq!(format!("{buckets:?}"), r#"{"far", "media"}"#);
    }

    #[test]
    fn one_object_has_many_names() {
        let table = |name: &str, endpoint: &str, bucket: &str| {
            format!(
                "[{name}]\nendpoint = '{endpoint}'\nbucket = '{bucket}'\naccess_key = 'me'\n\
                 secret_key = 'secret'\n"
            )
        };
        let file = [
            table("media", "https://s3.example", "films"),
            table("again", "https://S3.example:443", "films"),
            table("plain", "http://s3.example", "films"),
            table("other", "https://s3.example", "cuts"),
            table("port", "https://s3.example:9000", "films"),
            table("far", "https://s3.far.example", "films"),
        ];
        let buckets: Buckets = file.concat().parse().unwrap();
        let same = |one: &str, other: &str| {
            let url = |text: &str| Url::parse(text).unwrap();
            buckets.same_object(&url(one), &url(other))
        };
        let film = "s3://media/a/film.mov";
        for name in [
            film,
            "s3://media/a/%66ilm.mov",
            "s3://media/a%2Ffilm%2emov",
            "s3://again/a/film.mov",
            "s3://plain/a/film.mov",
        ] {
            assert!(same(film, name) && same(name, film), "{name}");
        }
        for name in [
            "s3://media/a/film.mp4",
            "s3://media//a/film.mov",
            "s3://media/a/Film.mov",
            "s3://other/a/film.mov",
            "s3://port/a/film.mov",
            "s3://far/a/film.mov",
            "s3://unknown/a/film.mov",
            "https://media/a/film.mov",
        ] {
            assert!(!same(film, name), "{name}");
        }
        assert!(!same("s3://unknown/a", "s3://unknown/a"));
    }

    #[test]
    fn a_bucket_takes_so_many_bytes_at_once() {
        let url = |text: &str| Url::parse(text).unwrap();
        let bucket = url("s3://media/a");
        assert_eq!(too_large_for(&bucket, BUCKET_PUT_BYTES_MAX), None);
        let cause = too_large_for(&bucket, BUCKET_PUT_BYTES_MAX + 1).unwrap();
        assert!(cause.contains("5 GiB"), "{cause}");
        assert!(goes_in_parts(&bucket, BUCKET_WHOLE_BYTES_MAX + 1));
        assert!(!goes_in_parts(&bucket, BUCKET_WHOLE_BYTES_MAX));
        let other = url("https://host/a");
        assert_eq!(too_large_for(&other, u64::MAX), None);
        assert!(!goes_in_parts(&other, u64::MAX));
    }

    #[test]
    fn a_bad_file_is_refused_by_name() {
        let entry = |text: &str| format!("[media]\naccess_key = 'a'\nsecret_key = 'b'\n{text}");
        for (text, cause) in [
            (entry("endpoint = 'ftp://x'"), "no http or https URL"),
            (entry("endpoint = 'http://x'\nkey = 1"), "unknown field"),
            (entry(""), "missing field"),
            (entry("endpoint = 'http://x/deep'"), "more than a host"),
            (entry("endpoint = 'http://me:pw@x'"), "more than a host"),
            (
                entry("endpoint = 'http://x'\nbucket = 'a/b'"),
                "none may have",
            ),
            (
                entry("endpoint = 'http://x'\nbucket = '..'"),
                "none may have",
            ),
            (entry("endpoint = 'http://x'\nbucket = ''"), "none may have"),
            (
                entry("endpoint = 'http://x'\nsecret_key = 'hush"),
                "line 5: ",
            ),
            (
                entry("endpoint = 'http://x'").replace("media", "Media"),
                "small letters",
            ),
        ] {
            let error = text.parse::<Buckets>().unwrap_err();
            assert!(error.contains(cause), "{error}");
            assert!(!error.contains("hush"), "{error}");
        }
    }
}
