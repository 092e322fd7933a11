//! Files that are put into a bucket in parts, by a server that fails now and then.

#![allow(clippy::unwrap_used)]

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use reqwest::Url;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};

use super::{
    BucketError, Buckets, Left, Outside, PartedUpload, SystemLookup,
    limits::{BUCKET_ANSWER_BYTES_MAX, BUCKET_PART_BYTES, BUCKET_PARTS_MAX},
    part_bytes,
};

/// How a server answers where the parts are to get their name.
#[derive(Clone, Copy)]
pub(super) enum End {
    /// Not at all: it takes the file, and says that it failed.
    Silent,
    /// By a failure, after it has said that all is well.
    Late,
    Busy,
    /// Another has the name by now.
    Taken,
    /// It knows no conditions.
    Unconditional,
}

/// What a server has been asked, and how it is to answer.
#[derive(Default)]
pub(crate) struct Store {
    /// Whether a file of the name is there.
    taken: bool,
    /// Its first answers at the end; it does as asked after them.
    ends: Vec<End>,
    /// How often it fails before it takes a part.
    failures: u32,
    /// Whether parts may be given up.
    keeps_parts: bool,
    /// How it answers who asks which parts it has; 0: it says so.
    pub(super) listing: u16,
    /// How it answers who looks whether the file is there; 0: it says so.
    pub(super) looking: u16,
    /// How it answers who begins; 0: it does.
    beginning: u16,
    /// Of the file that has the name; else it is the number of parts.
    pub(super) tag: Option<&'static str>,
    pub(crate) parts: Vec<Vec<u8>>,
    pub(super) list: String,
    /// Of each time that it was asked to give the name, whether only if nobody has it.
    asked_alone: Vec<bool>,
    /// Whether the file has its name.
    pub(crate) named: bool,
    pub(crate) given_up: bool,
}

impl Store {
    fn bytes(&self) -> usize {
        self.parts.iter().map(Vec::len).sum()
    }

    /// Which parts it has behind the first `from`, two at once.
    fn list(&self, from: usize) -> (u16, String) {
        match self.listing {
            0 => {}
            // It asks for no more than it can name, and yet.
            200 => return (200, "<R></R>".repeat(BUCKET_ANSWER_BYTES_MAX / 7 + 1)),
            status => return (status, "<Error><Code>Some</Code></Error>".into()),
        }
        if self.named || self.given_up {
            return (404, "<Error><Code>NoSuchUpload</Code></Error>".into());
        }
        let parts = self.parts.iter().enumerate().skip(from).take(2);
        let parts: String = parts
            .map(|(at, part)| {
                let (number, size) = (at + 1, part.len());
                format!(
                    "<Part><PartNumber>{number}</PartNumber><ETag>&#34;{number}&#34;</ETag>\
                     <Size>{size}</Size></Part>"
                )
            })
            .collect();
        let more = from + 2 < self.parts.len();
        let text = format!("<R>{parts}<IsTruncated>{more}</IsTruncated></R>");
        (200, text)
    }

    fn end(&mut self, body: Vec<u8>, alone: bool) -> (u16, String) {
        let error = |code| format!("<Error><Code>{code}</Code></Error>");
        self.asked_alone.push(alone);
        if self.named || self.given_up {
            return (404, error("NoSuchUpload"));
        }
        if self.ends.is_empty() {
            self.list = String::from_utf8(body).unwrap();
            let parts = self.list.split("<PartNumber>").skip(1);
            let mut numbers = parts.map(|part| part.split_once("</PartNumber>").unwrap());
            // By the tags that it gave.
            if !numbers.all(|(number, rest)| {
                rest.starts_with(&format!("<ETag>&quot;{number}&quot;</ETag>"))
            }) {
                return (400, error("InvalidPart"));
            }
            self.named = true;
            return (200, "<R><ETag>whole</ETag></R>".into());
        }
        match self.ends.remove(0) {
            End::Silent => {
                self.named = true;
                (500, error("InternalError"))
            }
            End::Late => (200, error("InternalError")),
            End::Busy => (503, error("SlowDown")),
            End::Taken => (412, error("PreconditionFailed")),
            End::Unconditional => (501, error("NotImplemented")),
        }
    }
}

pub(crate) type Shared = Arc<Mutex<Store>>;

/// A server with buckets `own` and `read`; the one object is `a/b`.
pub(crate) async fn serve(store: Shared) -> Outside {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(answer(socket, store.clone()));
        }
    });
    let table = "access_key = 'me'\nsecret_key = 'secret'\nendpoint = ";
    let text = format!(
        "[own]\nwrite = true\n{table}'http://{address}'\n[read]\n{table}'http://{address}'\n"
    );
    let buckets: Buckets = text.parse().unwrap();
    Outside::new("".parse().unwrap(), buckets, Arc::new(SystemLookup))
}

async fn answer(socket: TcpStream, store: Shared) {
    let mut socket = BufReader::new(socket);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        socket.read_line(&mut line).await.unwrap();
        match line.trim() {
            "" => break,
            line => head.push(line.to_ascii_lowercase()),
        }
    }
    // A request that was given up before it was sent.
    if head.is_empty() {
        return;
    }
    let length = head
        .iter()
        .find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    if socket.read_exact(&mut body).await.is_err() {
        return;
    }
    let reply = reply(&head, body, &mut store.lock().unwrap());
    // Whoever asked may be gone.
    let _ = socket.write_all(reply.as_bytes()).await;
}

fn reply(head: &[String], body: Vec<u8>, store: &mut Store) -> String {
    let asked = &head[0];
    let (method, rest) = asked.split_once(' ').unwrap();
    assert!(rest.starts_with("/own/a/b?x-amz-algorithm="), "{asked}");
    assert!(rest.contains("&x-amz-signature="), "{asked}");
    let of_upload = rest.contains("&uploadid=an%26id&");
    let (status, text) = match method {
        "head" if store.looking > 0 => (store.looking, String::new()),
        "head" if store.taken || store.named => (200, String::new()),
        "head" => (404, String::new()),
        "post" if rest.contains("&uploads=&") && store.beginning > 0 => {
            (store.beginning, String::new())
        }
        "post" if rest.contains("&uploads=&") => (
            200,
            "<R xmlns=\"x\"><UploadId>an&amp;id</UploadId></R>".into(),
        ),
        "put" if store.failures > 0 => {
            store.failures -= 1;
            (503, "<Error><Code>SlowDown</Code></Error>".into())
        }
        "put" => {
            store.parts.push(body);
            let number = store.parts.len();
            assert!(rest.contains(&format!("&partnumber={number}&uploadid=an%26id&")));
            (200, String::new())
        }
        "get" if of_upload => {
            let marker = rest.split("&part-number-marker=").nth(1).unwrap();
            let from = marker.split('&').next().unwrap();
            store.list(from.parse().unwrap())
        }
        "post" if of_upload => {
            let alone = head.iter().any(|line| line == "if-none-match: *");
            store.end(body, alone)
        }
        "delete" if of_upload && store.keeps_parts => (403, String::new()),
        "delete" if of_upload => {
            store.given_up = true;
            (204, String::new())
        }
        _ => panic!("{asked}"),
    };
    let number = store.parts.len().to_string();
    let tag = store.tag.filter(|_| method == "head").unwrap_or(&number);
    let length = match method {
        "head" => store.bytes(),
        _ => text.len(),
    };
    format!(
        "HTTP/1.1 {status} X\r\nETag: \"{tag}\"\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n{text}"
    )
}

pub(super) fn name(bucket: &str) -> Url {
    Url::parse(&format!("s3://{bucket}/a/b")).unwrap()
}

#[tokio::test]
async fn a_file_has_its_name_once_all_parts_are_there() {
    let store = Shared::default();
    store.lock().unwrap().failures = 1;
    let outside = serve(store.clone()).await;
    let mut upload = PartedUpload::begin(&outside, name("own"), false)
        .await
        .unwrap();
    for part in [&b"first"[..], b"second"] {
        upload.put(Bytes::from_static(part)).await.unwrap();
    }
    assert_eq!(store.lock().unwrap().list, "", "it has no name yet");
    upload.finish().await.unwrap();
    let store = store.lock().unwrap();
    assert_eq!(store.parts, [&b"first"[..], b"second"]);
    let part = |number| {
        format!("<Part><PartNumber>{number}</PartNumber><ETag>&quot;{number}&quot;</ETag></Part>")
    };
    let list = format!(
        "<CompleteMultipartUpload>{}{}</CompleteMultipartUpload>",
        part(1),
        part(2)
    );
    assert_eq!(
        (store.list.as_str(), store.given_up),
        (list.as_str(), false)
    );
}

/// What becomes of one part where the end goes so, and what the server was asked.
async fn ended(over: bool, store: Store) -> (Result<(), (BucketError, Left)>, Shared) {
    let store = Arc::new(Mutex::new(store));
    let outside = serve(store.clone()).await;
    let upload = PartedUpload::begin(&outside, name("own"), over).await;
    let mut upload = upload.unwrap();
    upload.put(Bytes::from_static(b"part")).await.unwrap();
    (upload.finish().await, store)
}

pub(super) fn ends(ends: &[End]) -> Store {
    Store {
        ends: ends.to_vec(),
        ..Default::default()
    }
}

#[tokio::test]
async fn an_end_that_fails_is_tried_again() {
    let (done, store) = ended(false, ends(&[End::Busy, End::Late])).await;
    done.unwrap();
    let store = store.lock().unwrap();
    assert!(store.named && !store.given_up);
    assert_eq!(store.asked_alone, [true; 3]);
}

#[tokio::test]
async fn a_file_whose_end_was_not_answered_is_looked_for() {
    for over in [false, true] {
        let (done, store) = ended(over, ends(&[End::Silent])).await;
        done.unwrap();
        assert!(store.lock().unwrap().named);
    }
}

#[tokio::test]
async fn what_fails_at_its_end_says_what_it_leaves() {
    let (failed, store) = ended(false, ends(&[End::Late; 9])).await;
    let (error, left) = failed.unwrap_err();
    assert!(error.to_string().contains("(InternalError)"), "{error}");
    assert_eq!(left, Left::Nothing);
    assert!(store.lock().unwrap().given_up);
    let stuck = Store {
        keeps_parts: true,
        ..ends(&[End::Late; 9])
    };
    let (failed, _) = ended(false, stuck).await;
    assert_eq!(failed.unwrap_err().1, Left::File, "its end may still come");
}

#[tokio::test]
async fn a_name_is_given_only_if_it_is_free_where_the_server_can_tell() {
    let (failed, store) = ended(false, ends(&[End::Taken])).await;
    let (error, left) = failed.unwrap_err();
    assert!(matches!(error, BucketError::Exists), "{error}");
    assert_eq!(left, Left::Nothing);
    assert!(store.lock().unwrap().given_up);
    let (done, store) = ended(false, ends(&[End::Unconditional])).await;
    done.unwrap();
    assert_eq!(store.lock().unwrap().asked_alone, [true, false]);
    let (done, store) = ended(true, Store::default()).await;
    done.unwrap();
    assert_eq!(store.lock().unwrap().asked_alone, [false]);
}

#[tokio::test]
async fn what_is_given_up_leaves_nothing_or_says_so() {
    for keeps_parts in [false, true] {
        let store = Shared::default();
        store.lock().unwrap().keeps_parts = keeps_parts;
        let outside = serve(store.clone()).await;
        let mut upload = PartedUpload::begin(&outside, name("own"), true)
            .await
            .unwrap();
        upload.put(Bytes::from_static(b"part")).await.unwrap();
        let left = match keeps_parts {
            true => Left::Parts,
            false => Left::Nothing,
        };
        assert_eq!(upload.give_up().await, left);
        assert_eq!(store.lock().unwrap().given_up, !keeps_parts);
    }
}

#[tokio::test]
async fn a_name_that_is_taken_and_a_bucket_that_is_read_are_refused() {
    let store = Shared::default();
    store.lock().unwrap().taken = true;
    let outside = serve(store.clone()).await;
    let begin = |bucket: &str, over| PartedUpload::begin(&outside, name(bucket), over);
    let error = begin("own", false).await.err().unwrap();
    assert!(matches!(error, BucketError::Exists), "{error}");
    begin("own", true).await.unwrap().give_up().await;
    for bucket in ["read", "none"] {
        let error = begin(bucket, true).await.err().unwrap();
        assert!(error.to_string().contains(bucket), "{error}");
    }
}

#[test]
fn parts_have_one_size_that_follows_from_the_file() {
    assert_eq!(part_bytes(1), BUCKET_PART_BYTES);
    for bytes in [100 << 30, 5 << 40, 50 << 40] {
        let part = part_bytes(bytes);
        assert!(bytes.div_ceil(part) <= BUCKET_PARTS_MAX, "{bytes}");
        assert_eq!(part % (1 << 20), 0);
    }
}

#[tokio::test]
async fn a_server_that_knows_no_parts_says_so() {
    for (beginning, is_so) in [(405, true), (501, true), (403, false)] {
        let store = Store {
            beginning,
            ..Default::default()
        };
        let outside = serve(Arc::new(Mutex::new(store))).await;
        let begun = PartedUpload::begin(&outside, name("own"), true).await;
        let error = begun.err().unwrap();
        assert_eq!(matches!(error, BucketError::NoParts), is_so, "{error}");
    }
}
