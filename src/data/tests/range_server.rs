//! The range server, asked over a real socket.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::*;
use crate::data::source::range_server::{RangeServer, Ranged};

/// Bytes in memory, given out in odd pieces; a read at or after `broken` fails.
struct Memory {
    bytes: Bytes,
    broken: u64,
}

impl Ranged for Memory {
    fn total_bytes(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read(&self, offset: u64) -> BoxFuture<'_, Result<Bytes, DataError>> {
        let end = (offset as usize + 777).min(self.bytes.len());
        let read = if offset >= self.broken {
            Err(DataError::Lost {
                job: "j".into(),
                hash: "h".into(),
            })
        } else {
            Ok(self.bytes.slice(offset as usize..end))
        };
        async { read }.boxed()
    }
}

fn memory(bytes: usize) -> Memory {
    Memory {
        bytes: content(bytes).into(),
        broken: u64::MAX,
    }
}

async fn connect(url: &str) -> (TcpStream, String) {
    let (address, path) = url
        .strip_prefix("http://")
        .unwrap()
        .split_once('/')
        .unwrap();
    (TcpStream::connect(address).await.unwrap(), path.to_string())
}

/// Sends a request and reads the head of the answer.
async fn ask(stream: &mut TcpStream, method: &str, path: &str, range: &str) -> (String, u64) {
    let range = if range.is_empty() {
        String::new()
    } else {
        format!("Range: bytes={range}\r\n")
    };
    let request = format!("{method} /{path} HTTP/1.1\r\nHost: x\r\n{range}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("Content-Length: "));
    let length = length.unwrap().parse().unwrap();
    (head, length)
}

async fn body(stream: &mut TcpStream, bytes: u64) -> Vec<u8> {
    let mut body = vec![0; bytes as usize];
    stream.read_exact(&mut body).await.unwrap();
    body
}

#[tokio::test]
async fn ranges_come_over_one_kept_connection() {
    let server = RangeServer::start().await.unwrap();
    let source = server.serve(memory(10_000));
    let whole = content(10_000);
    let (mut stream, path) = connect(source.url()).await;
    let (head, length) = ask(&mut stream, "GET", &path, "").await;
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains("Accept-Ranges: bytes\r\n"));
    assert_eq!(body(&mut stream, length).await, whole);
    for (range, from, to) in [
        ("0-", 0, 10_000),
        ("5-5", 5, 6),
        ("777-9000", 777, 9_001),
        ("9000-99999", 9_000, 10_000),
        ("-10", 9_990, 10_000),
    ] {
        let (head, length) = ask(&mut stream, "GET", &path, range).await;
        assert!(
            head.starts_with("HTTP/1.1 206 Partial Content\r\n"),
            "{head}"
        );
        assert!(
            head.contains(&format!("Content-Range: bytes {from}-{}/10000\r\n", to - 1)),
            "{head}"
        );
        assert_eq!(body(&mut stream, length).await, whole[from..to]);
    }
    let (head, length) = ask(&mut stream, "HEAD", &path, "").await;
    assert_eq!(length, 10_000, "{head}");
    for past in ["10000-", "-0"] {
        let (head, length) = ask(&mut stream, "GET", &path, past).await;
        assert!(head.starts_with("HTTP/1.1 416 "), "{head}");
        assert!(head.contains("Content-Range: bytes */10000\r\n"));
        assert_eq!(length, 0);
    }
    assert_eq!(
        source.bytes_served(),
        10_000 + 10_000 + 1 + 8_224 + 1_000 + 10
    );
    let (head, _) = ask(&mut stream, "GET", "0123", "").await;
    assert!(head.starts_with("HTTP/1.1 404 "));
}

#[tokio::test]
async fn a_token_is_gone_with_its_source() {
    let server = RangeServer::start().await.unwrap();
    let one = server.serve(memory(10));
    let other = server.serve(memory(10));
    assert_ne!(one.url(), other.url());
    let (mut stream, path) = connect(one.url()).await;
    drop(one);
    let (head, _) = ask(&mut stream, "GET", &path, "").await;
    assert!(head.starts_with("HTTP/1.1 404 "));
}

#[tokio::test]
async fn bytes_that_cannot_be_had_break_the_answer_off() {
    let server = RangeServer::start().await.unwrap();
    let source = server.serve(Memory {
        bytes: content(2_000).into(),
        broken: 1_000,
    });
    let (mut stream, path) = connect(source.url()).await;
    let (_, length) = ask(&mut stream, "GET", &path, "").await;
    assert_eq!(length, 2_000);
    let mut got = Vec::new();
    stream.read_to_end(&mut got).await.unwrap();
    assert_eq!(got, content(2_000)[..got.len()]);
    assert!(got.len() < 2_000);
    assert_eq!(source.trouble().unwrap().kind, "lost-bytes");
}

#[tokio::test]
async fn nonsense_is_refused_and_the_server_goes_on() {
    let server = RangeServer::start().await.unwrap();
    let source = server.serve(memory(10));
    for nonsense in [
        "hello\r\n\r\n".to_string(),
        "POST / HTTP/1.1\r\n\r\n".to_string(),
        "x".repeat(100_000),
    ] {
        let (mut stream, _) = connect(source.url()).await;
        let _ = stream.write_all(nonsense.as_bytes()).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 400 "));
    }
    let (mut stream, path) = connect(source.url()).await;
    let (_, length) = ask(&mut stream, "GET", &path, "3-").await;
    assert_eq!(body(&mut stream, length).await, content(10)[3..]);
}

#[tokio::test]
async fn a_sealed_source_is_served_from_its_chunks() {
    let nodes = ThreeNodes::start().await;
    let source = content(40 * CHUNK_BYTES + 11);
    let job = nodes.job(source.len() as u64, &[1, 2]);
    nodes.upload(1, &job, &source).await.unwrap();
    let entry = nodes.entry(&job);
    // Node 3 has none of it.
    let served = nodes.data(3).serve_source(&entry).await.unwrap();
    let (mut stream, path) = connect(served.url()).await;
    let from = CHUNK_BYTES - 100;
    let (_, length) = ask(&mut stream, "GET", &path, &format!("{from}-")).await;
    assert!(body(&mut stream, length).await == source[from..]);
    let (_, length) = ask(&mut stream, "GET", &path, "-11").await;
    assert_eq!(body(&mut stream, length).await, source[source.len() - 11..]);
    assert!(served.trouble().is_none());
}
