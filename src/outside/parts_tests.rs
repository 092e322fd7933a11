//! Files that are put into a bucket in parts, by a server that fails now and then.

#![allow(clippy::unwrap_used)]

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use reqwest::Url;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};

use super::{BucketError, Buckets, Outside, PartedUpload, SystemLookup};

/// What a server has been asked, and how it is to answer.
#[derive(Default)]
struct Store {
    /// Whether a file of the name is there.
    taken: bool,
    /// Whether it says at the end that it failed after all.
    fails_at_the_end: bool,
    /// How often it fails before it takes a part.
    failures: u32,
    parts: Vec<Vec<u8>>,
    list: String,
    given_up: bool,
}

type Shared = Arc<Mutex<Store>>;

async fn serve(store: Shared) -> Outside {
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
    let length = head
        .iter()
        .find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    socket.read_exact(&mut body).await.unwrap();
    let reply = reply(&head[0], body, &mut store.lock().unwrap());
    socket.write_all(reply.as_bytes()).await.unwrap();
}

fn reply(asked: &str, body: Vec<u8>, store: &mut Store) -> String {
    let (method, rest) = asked.split_once(' ').unwrap();
    assert!(rest.starts_with("/own/a/b?x-amz-algorithm="), "{asked}");
    assert!(rest.contains("&x-amz-signature="), "{asked}");
    let of_upload = rest.contains("&uploadid=an%26id&");
    let (status, text) = match method {
        "head" if store.taken => (200, String::new()),
        "head" => (404, String::new()),
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
        "post" if of_upload && store.fails_at_the_end => {
            (200, "<Error><Code>InternalError</Code></Error>".into())
        }
        "post" if of_upload => {
            store.list = String::from_utf8(body).unwrap();
            (200, "<R><ETag>whole</ETag></R>".into())
        }
        "delete" if of_upload => {
            store.given_up = true;
            (204, String::new())
        }
        _ => panic!("{asked}"),
    };
    let (number, length) = (store.parts.len(), text.len());
    format!(
        "HTTP/1.1 {status} X\r\nETag: \"{number}\"\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n{text}"
    )
}

fn name(bucket: &str) -> Url {
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

#[tokio::test]
async fn what_fails_at_its_end_or_is_given_up_leaves_nothing() {
    for fails in [true, false] {
        let store = Shared::default();
        store.lock().unwrap().fails_at_the_end = fails;
        let outside = serve(store.clone()).await;
        let mut upload = PartedUpload::begin(&outside, name("own"), true)
            .await
            .unwrap();
        upload.put(Bytes::from_static(b"part")).await.unwrap();
        match fails {
            true => {
                let error = upload.finish().await.unwrap_err();
                assert!(error.to_string().contains("(InternalError)"), "{error}");
            }
            false => upload.give_up().await,
        }
        assert!(store.lock().unwrap().given_up);
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
