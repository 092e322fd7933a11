//! A web server of a test: what the outside of a cluster looks like. It notes each
//! request, and may break an answer off in the middle.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
};

/// A request as it came.
#[derive(Clone, Debug, Default)]
pub struct WebRequest {
    /// Such as `GET`.
    pub method: String,
    /// With its query.
    pub path: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// All of it.
    pub body: Vec<u8>,
}

impl WebRequest {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// What is answered.
#[derive(Clone, Debug, Default)]
pub struct WebAnswer {
    /// The status.
    pub status: u16,
    /// Whole lines, each with its end.
    pub headers: String,
    /// The body; its length is said unless `headers` say something else of it.
    pub body: Vec<u8>,
    /// After so many bytes of it the connection ends.
    pub breaks_after: Option<usize>,
}

impl WebAnswer {
    /// A status and nothing else.
    pub fn status(status: u16) -> Self {
        WebAnswer {
            status,
            ..Default::default()
        }
    }

    /// A file, or the range of it that is asked for.
    pub fn file(request: &WebRequest, bytes: &[u8], tag: &str) -> Self {
        let tag_line = format!("ETag: \"{tag}\"\r\nAccept-Ranges: bytes\r\n");
        let whole = WebAnswer {
            status: 200,
            headers: tag_line.clone(),
            body: bytes.to_vec(),
            breaks_after: None,
        };
        let same = request.header("if-range");
        let range = request.header("range").and_then(|range| {
            let (from, to) = range.strip_prefix("bytes=")?.split_once('-')?;
            let last = bytes.len() - 1;
            Some((from.parse().ok()?, to.parse().unwrap_or(last).min(last)))
        });
        match range {
            Some((from, to)) if same.is_none_or(|same| same == format!("\"{tag}\"")) => {
                let total = bytes.len();
                let range = format!("Content-Range: bytes {from}-{to}/{total}\r\n");
                WebAnswer {
                    status: 206,
                    headers: tag_line + &range,
                    body: bytes[from..=to].to_vec(),
                    breaks_after: None,
                }
            }
            _ => whole,
        }
    }
}

/// A running server. Its threads end with the process.
pub struct WebServer {
    address: String,
    requests: Arc<Mutex<Vec<WebRequest>>>,
}

impl WebServer {
    /// Serves on a port of loopback.
    ///
    /// # Panics
    /// If there is none.
    pub fn start(answer: impl Fn(&WebRequest) -> WebAnswer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it is bound").to_string();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (noted, answer) = (requests.clone(), Arc::new(answer));
        std::thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let (noted, answer) = (noted.clone(), answer.clone());
                std::thread::spawn(move || serve(socket, &noted, &*answer));
            }
        });
        WebServer { address, requests }
    }

    /// A URL of it.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// What came so far on paths that begin so.
    ///
    /// # Panics
    /// Never.
    pub fn requests(&self, path: &str) -> Vec<WebRequest> {
        let requests = self.requests.lock().expect("no holder panics");
        let here = requests.iter().filter(|it| it.path.starts_with(path));
        here.cloned().collect()
    }
}

fn serve(
    socket: TcpStream,
    noted: &Mutex<Vec<WebRequest>>,
    answer: &dyn Fn(&WebRequest) -> WebAnswer,
) -> Option<()> {
    let mut reader = BufReader::new(socket.try_clone().ok()?);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace().map(str::to_string);
    let mut request = WebRequest {
        method: words.next()?,
        path: words.next()?,
        ..Default::default()
    };
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            break;
        };
        let field = (name.to_lowercase(), value.to_string());
        request.headers.push(field);
    }
    let length = request.header("content-length");
    let length = length.and_then(|text| text.parse().ok()).unwrap_or(0);
    request.body = vec![0; length];
    reader.read_exact(&mut request.body).ok()?;
    noted.lock().ok()?.push(request.clone());
    let WebAnswer {
        status,
        headers,
        body,
        breaks_after,
    } = answer(&request);
    let length = match headers.contains("Transfer-Encoding") {
        true => String::new(),
        false => format!("Content-Length: {}\r\n", body.len()),
    };
    let head = format!("HTTP/1.1 {status} X\r\nConnection: close\r\n{length}{headers}\r\n");
    let mut socket = socket;
    socket.write_all(head.as_bytes()).ok()?;
    let end = breaks_after.unwrap_or(body.len()).min(body.len());
    socket.write_all(&body[..end]).ok()
}
