//! The guard against URLs that lead inside: none of them is connected to.

#![allow(clippy::unwrap_used)]

use std::{
    io,
    net::IpAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use futures::{FutureExt, future::BoxFuture};
use reqwest::{Method, Url, header::HeaderMap};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::{Buckets, Lookup, Outside, OutsideError, check};

/// Where connections came in, by the address that was connected to.
type Met = Arc<Mutex<Vec<IpAddr>>>;

/// Listens on all addresses of this machine, and answers every request with a
/// redirect to what its path says after `/to/`.
async fn listen() -> (u16, Met) {
    let listener = match TcpListener::bind("[::]:0").await {
        Ok(listener) => listener,
        Err(_) => TcpListener::bind("0.0.0.0:0").await.unwrap(),
    };
    let port = listener.local_addr().unwrap().port();
    let met = Met::default();
    let seen = met.clone();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let address = socket.local_addr().unwrap().ip().to_canonical();
            seen.lock().unwrap().push(address);
            tokio::spawn(async move {
                let mut head = vec![0; 4096];
                let length = socket.read(&mut head).await.unwrap_or(0);
                let head = String::from_utf8_lossy(&head[..length]).into_owned();
                let path = head.split(' ').nth(1).unwrap_or_default();
                let answer = match path.strip_prefix("/to/") {
                    Some(to) => format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\n"),
                    None => "HTTP/1.1 200 OK\r\n".to_string(),
                };
                let end = "Content-Length: 0\r\nConnection: close\r\n\r\n";
                let _ = socket.write_all((answer + end).as_bytes()).await;
            });
        }
    });
    (port, met)
}

/// Every name is this machine's.
struct Local;

impl Lookup for Local {
    fn addresses(&self, _: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        async { Ok(vec!["127.0.0.1".parse().unwrap()]) }.boxed()
    }
}

fn outside(allowed: &str, lookup: impl Lookup) -> Outside {
    Outside::new(
        allowed.parse().unwrap(),
        Buckets::default(),
        Arc::new(lookup),
    )
}

async fn get(outside: &Outside, url: &str) -> Result<u16, OutsideError> {
    let url = check("url", url, false).map_err(|problem| OutsideError::Refused(problem.cause))?;
    let answer = outside.get(&url, &HeaderMap::new()).await?;
    Ok(answer.status().as_u16())
}

/// Hosts that are, or lead to, what must not be reached.
const HOSTS: &[&str] = &[
    // Loopback in all its spellings.
    "127.0.0.1",
    "127.1",
    "127.0.1",
    "127.0.0.1.",
    "127.0.0.2",
    "127.255.255.254",
    "2130706433",
    "2130706433.",
    "0x7f000001",
    "0x7F000001",
    "0x7f.1",
    "0x7f.0.0.1",
    "0x7f.0x0.0x0.0x1",
    "017700000001",
    "0177.0.0.1",
    "0177.0.0.01",
    "0177.1",
    "00000177.0.0.1",
    "127.0.0.0x1",
    "127.0x1",
    "0",
    "0.0.0.0",
    "0.0",
    "0x0",
    "00.00.00.00",
    "0.0.0.0.",
    "%31%32%37.0.0.1",
    "127%2e0%2e0%2e1",
    "１２７.0.0.1",
    "127。0。0。1",
    "①②⑦.⓪.⓪.①",
    "localhost",
    "LOCALHOST",
    "localhost.",
    "loc%61lhost",
    "ｌｏｃａｌｈｏｓｔ",
    // IPv6, and IPv4 within it.
    "[::1]",
    "[::]",
    "[0:0:0:0:0:0:0:1]",
    "[0000::0001]",
    "[::127.0.0.1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::ffff:0:0]",
    "[0:0:0:0:0:ffff:7f00:0001]",
    "[::FFFF:127.0.0.1]",
    "[::ffff:a00:1]",
    "[::ffff:169.254.169.254]",
    "[64:ff9b::127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[64:ff9b::a9fe:a9fe]",
    "[64:ff9b:1::7f00:1]",
    "[2002:7f00:1::]",
    "[2002:a9fe:a9fe::]",
    "[2001:0:7f00:1::]",
    "[2001:db8::1]",
    "[fe80::1]",
    "[febf::1]",
    "[fec0::1]",
    "[fc00::1]",
    "[fd00:ec2::254]",
    "[fd12:3456::1]",
    "[ff02::1]",
    "[ff05::2]",
    "[100::1]",
    "[3fff::1]",
    // Private, shared, link-local, of tests, multicast, reserved.
    "10.0.0.1",
    "10.255.255.255",
    "0xa000001",
    "167772161",
    "012.0.0.1",
    "100.64.0.1",
    "100.127.255.255",
    "169.254.169.254",
    "2852039166",
    "0xa9fea9fe",
    "0251.0376.0251.0376",
    "169.254.43518",
    "169.16689662",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.0.1",
    "0xc0a80001",
    "192.0.0.1",
    "192.0.2.1",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "0xffffffff",
    // With a name or password.
    "user@127.0.0.1",
    "user:word@127.0.0.1",
    "1.1.1.1@127.0.0.1",
    "@127.0.0.1",
    "a%40b@[::1]",
    "1.1.1.1:80@127.0.0.1",
];

#[tokio::test]
async fn none_of_a_hundred_urls_that_lead_inside_is_connected_to() {
    assert!(HOSTS.len() >= 100, "{}", HOSTS.len());
    let (port, met) = listen().await;
    let outside = outside("", Local);
    for host in HOSTS {
        let url = format!("http://{host}:{port}/");
        let refused = get(&outside, &url).await;
        let refused = matches!(refused, Err(OutsideError::Refused(_)));
        assert!(refused, "{url}");
    }
    assert_eq!(*met.lock().unwrap(), Vec::<IpAddr>::new());
}

/// The same hosts, behind a redirect from a listener that may be reached.
#[tokio::test]
async fn no_redirect_leads_there_either() {
    let (port, met) = listen().await;
    let allowed: IpAddr = "127.0.0.77".parse().unwrap();
    let outside = outside("127.0.0.77", Local);
    for host in HOSTS {
        let to = format!("http://{host}:{port}/");
        let ascii: String = to.chars().filter(char::is_ascii).collect();
        if ascii != to {
            continue;
        }
        let url = format!("http://127.0.0.77:{port}/to/{to}");
        let refused = get(&outside, &url).await;
        let refused = refused.is_err_and(|error| !error.is_passing());
        assert!(refused, "{url}");
    }
    let met = met.lock().unwrap();
    assert!(met.iter().all(|address| *address == allowed), "{met:?}");
    assert!(met.len() > 90);
}

#[tokio::test]
async fn redirects_are_followed_a_few_times_and_never_to_other_protocols() {
    let (port, _) = listen().await;
    let outside = outside("127.0.0.1", Local);
    let end = format!("http://127.0.0.1:{port}/");
    assert_eq!(get(&outside, &end).await.unwrap(), 200);
    assert_eq!(get(&outside, &format!("{end}to/{end}")).await.unwrap(), 200);
    for to in [
        "file:///etc/passwd",
        "ftp://127.0.0.1/",
        "http://u:p@127.0.0.1/",
    ] {
        let refused = get(&outside, &format!("{end}to/{to}")).await.unwrap_err();
        assert!(matches!(refused, OutsideError::BadRedirect(_)), "{to}");
    }
    let circle = format!("{end}to/{}", format!("{end}to/").repeat(9));
    let refused = get(&outside, &circle).await.unwrap_err();
    assert!(matches!(refused, OutsideError::BadRedirect(_)), "{refused}");
}

/// A name whose answers alternate: what was judged first is not what comes next.
struct Rebinding {
    answers: Vec<Vec<&'static str>>,
    asked: AtomicUsize,
}

impl Lookup for Rebinding {
    fn addresses(&self, _: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        let at = self.asked.fetch_add(1, Ordering::SeqCst);
        let answer = &self.answers[at.min(self.answers.len() - 1)];
        let answer = answer.iter().map(|text| text.parse().unwrap()).collect();
        async move { Ok(answer) }.boxed()
    }
}

#[tokio::test]
async fn a_name_is_connected_to_where_it_was_judged() {
    let (port, met) = listen().await;
    let answers = vec![
        vec!["127.0.0.77"],
        vec!["127.0.0.1"],
        vec!["127.0.0.77", "127.0.0.1"],
        vec!["1.1.1.1", "169.254.169.254"],
        vec![],
    ];
    let asked = AtomicUsize::new(0);
    let outside = outside("127.0.0.77", Rebinding { answers, asked });
    let url = format!("http://rebinding.example:{port}/");
    assert_eq!(get(&outside, &url).await.unwrap(), 200);
    for _ in 0..3 {
        let refused = get(&outside, &url).await.unwrap_err();
        assert!(matches!(refused, OutsideError::Refused(_)), "{refused}");
    }
    assert!(get(&outside, &url).await.unwrap_err().is_passing());
    let allowed: IpAddr = "127.0.0.77".parse().unwrap();
    assert_eq!(*met.lock().unwrap(), [allowed]);
}

/// What can't be resolved is not connected to, and no proxy is asked instead.
#[tokio::test]
async fn a_name_that_is_none_reaches_nobody() {
    struct Nowhere;
    impl Lookup for Nowhere {
        fn addresses(&self, _: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
            async { Err(io::Error::other("no such name")) }.boxed()
        }
    }
    let outside = outside("127.0.0.1", Nowhere);
    let error = get(&outside, "http://name.example/?secret=word").await;
    let error = error.unwrap_err();
    assert!(error.is_passing() && error.to_string().contains("no such name"));
    assert!(!error.to_string().contains("word"), "{error}");
    let url = Url::parse("http://name.example/").unwrap();
    let put = outside
        .send(Method::PUT, &url, HeaderMap::new(), None)
        .await;
    assert!(put.is_err());
}
