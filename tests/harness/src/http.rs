//! A client of the HTTP port that shows what went over the wire.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    time::Duration,
};

use serde_json::Value;

/// How long an answer may be waited for.
const PATIENCE: Duration = Duration::from_secs(300);

/// What came back.
#[derive(Debug)]
pub struct HttpAnswer {
    /// The status.
    pub status: u16,
    /// The status line and the headers.
    pub head: String,
    /// The body.
    pub body: Vec<u8>,
}

impl HttpAnswer {
    /// Reads what came over a connection.
    ///
    /// # Errors
    /// Where it is no answer.
    pub fn parse(mut bytes: Vec<u8>) -> std::io::Result<Self> {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        let end = end.ok_or_else(|| std::io::Error::other("no answer"))?;
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let status = head.split(' ').nth(1).and_then(|text| text.parse().ok());
        Ok(HttpAnswer {
            status: status.ok_or_else(|| std::io::Error::other("no status"))?,
            head,
            body: bytes.split_off(end + 4),
        })
    }

    /// The body as JSON; null if it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines();
        let mut fields = lines.filter_map(|line| line.split_once(": "));
        let found = fields.find(|(field, _)| field.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value)
    }

    /// Status and kind of a refusal.
    pub fn refusal(&self) -> (u16, String) {
        let kind = &self.json()["kind"];
        (self.status, kind.as_str().unwrap_or_default().to_string())
    }
}

/// Sends bytes as they are, and reads until the other side closes.
///
/// # Errors
/// Where there is no connection, or no answer.
pub fn http_exchange(address: &str, request: &[u8]) -> std::io::Result<HttpAnswer> {
    let mut socket = TcpStream::connect(address)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    // A server that refuses what it has not read resets the connection; its
    // answer comes before that.
    let _ = socket.write_all(request);
    let mut bytes = Vec::new();
    let _ = socket.read_to_end(&mut bytes);
    HttpAnswer::parse(bytes)
}

/// Sends a request; `headers` are whole lines.
///
/// # Errors
/// As [`http_exchange`].
pub fn http_ask(
    address: &str,
    method: &str,
    path: &str,
    headers: &str,
    body: &[u8],
) -> std::io::Result<HttpAnswer> {
    let bytes = body.len();
    let mut request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
         Content-Length: {bytes}\r\n{headers}\r\n"
    )
    .into_bytes();
    request.extend_from_slice(body);
    http_exchange(address, &request)
}

/// A server-sent event.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HttpEvent {
    /// Its kind.
    pub name: String,
    /// What to go on from.
    pub id: Option<String>,
    /// What it says.
    pub data: Value,
}

/// Server-sent events as they come; they end with their connection.
#[derive(Debug)]
pub struct HttpEvents {
    lines: BufReader<TcpStream>,
    event: HttpEvent,
}

impl HttpEvents {
    /// Asks for a stream; `headers` are whole lines.
    ///
    /// # Errors
    /// Where there is no connection, or the answer is not 200.
    pub fn open(address: &str, path: &str, headers: &str) -> std::io::Result<Self> {
        let mut socket = TcpStream::connect(address)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{headers}\r\n");
        socket.write_all(request.as_bytes())?;
        let mut events = HttpEvents {
            lines: BufReader::new(socket),
            event: HttpEvent::default(),
        };
        let status = events.line().unwrap_or_default();
        match status.starts_with("HTTP/1.1 200") {
            true => Ok(events),
            false => Err(std::io::Error::other(status)),
        }
    }

    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let bytes = self.lines.read_line(&mut line).ok()?;
        (bytes > 0).then(|| line.trim_end().to_string())
    }
}

impl Iterator for HttpEvents {
    type Item = HttpEvent;

    /// The next event. Each ends with its data; headers and the sizes of chunks
    /// lie between them.
    fn next(&mut self) -> Option<HttpEvent> {
        loop {
            let line = self.line()?;
            let Some((field, value)) = line.split_once(": ") else {
                continue;
            };
            match field {
                "event" => self.event.name = value.to_string(),
                "id" => self.event.id = Some(value.to_string()),
                "data" => {
                    self.event.data = serde_json::from_str(value).unwrap_or_default();
                    return Some(std::mem::take(&mut self.event));
                }
                _ => {}
            }
        }
    }
}
