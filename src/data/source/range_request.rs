//! The requests of the range server as data: what was asked for, which bytes
//! that is, and the head of the answer.

/// A request.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RangeRequest {
    /// The path without its slash.
    pub token: String,
    /// `HEAD`: no bytes are wanted.
    pub head_only: bool,
    /// Whether another request may follow.
    pub keep_alive: bool,
    /// Which bytes.
    pub range: ByteRange,
}

/// The bytes that a request wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ByteRange {
    /// All.
    Whole,
    /// From an offset on, up to one that is included, if it is given.
    From(u64, Option<u64>),
    /// The last bytes, so many.
    Last(u64),
}

/// Bytes that exist.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Range {
    /// The first.
    pub from: u64,
    /// The one after the last.
    pub to: u64,
    /// Whether a part was asked for, be it the whole.
    pub partial: bool,
}

impl RangeRequest {
    /// Reads a request's head; `None` if it is none that this server takes.
    pub fn parse(head: &str) -> Option<Self> {
        let mut lines = head.split("\r\n");
        let mut first = lines.next()?.split(' ');
        let head_only = match first.next()? {
            "GET" => false,
            "HEAD" => true,
            _ => return None,
        };
        let token = first.next()?.strip_prefix('/')?.to_string();
        let mut request = RangeRequest {
            token,
            head_only,
            keep_alive: match first.next()? {
                "HTTP/1.1" => true,
                "HTTP/1.0" => false,
                _ => return None,
            },
            range: ByteRange::Whole,
        };
        for line in lines.take_while(|line| !line.is_empty()) {
            let (name, value) = line.split_once(':')?;
            let value = value.trim();
            if name.eq_ignore_ascii_case("range") {
                // A range that can't be read is no range, says the standard.
                request.range = ByteRange::parse(value).unwrap_or(ByteRange::Whole);
            } else if name.eq_ignore_ascii_case("connection") {
                request.keep_alive = request.keep_alive && !value.eq_ignore_ascii_case("close");
            } else if name.eq_ignore_ascii_case("content-length") && value != "0" {
                return None;
            }
        }
        Some(request)
    }
}

impl ByteRange {
    fn parse(value: &str) -> Option<Self> {
        let (first, last) = value.strip_prefix("bytes=")?.split_once('-')?;
        if first.is_empty() {
            return last.parse().ok().map(ByteRange::Last);
        }
        let first = first.parse().ok()?;
        if last.is_empty() {
            return Some(ByteRange::From(first, None));
        }
        let last = last.parse().ok()?;
        (first <= last).then_some(ByteRange::From(first, Some(last)))
    }

    /// The bytes that there are of those wanted; `None` if there are none
    /// where a part was asked for.
    pub fn within(self, total_bytes: u64) -> Option<Range> {
        let (from, to) = match self {
            ByteRange::Whole => {
                return Some(Range {
                    from: 0,
                    to: total_bytes,
                    partial: false,
                });
            }
            ByteRange::From(from, last) => {
                let to = last.map_or(total_bytes, |last| last.saturating_add(1).min(total_bytes));
                (from, to)
            }
            ByteRange::Last(bytes) => (total_bytes.saturating_sub(bytes), total_bytes),
        };
        (from < to).then_some(Range {
            from,
            to,
            partial: true,
        })
    }
}

/// Heads of answers.
pub(super) struct ResponseHead;

impl ResponseHead {
    /// The head of an answer that has these bytes, or refuses the range.
    pub fn of(range: Option<&Range>, total_bytes: u64, keep_alive: bool) -> String {
        let (status, length, content) = match range {
            None => (
                "416 Range Not Satisfiable",
                0,
                format!("Content-Range: bytes */{total_bytes}\r\n"),
            ),
            Some(Range {
                from,
                to,
                partial: true,
            }) => {
                let content = format!("Content-Range: bytes {from}-{}/{total_bytes}\r\n", to - 1);
                ("206 Partial Content", to - from, content)
            }
            Some(Range { from, to, .. }) => ("200 OK", to - from, String::new()),
        };
        let connection = connection(keep_alive);
        format!(
            "HTTP/1.1 {status}\r\nContent-Type: application/octet-stream\r\nAccept-Ranges: bytes\r\n\
             Content-Length: {length}\r\n{content}Connection: {connection}\r\n\r\n"
        )
    }

    /// The head of an answer without bytes.
    pub fn refusal(status: &str, keep_alive: bool) -> String {
        let connection = connection(keep_alive);
        format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: {connection}\r\n\r\n")
    }
}

fn connection(keep_alive: bool) -> &'static str {
    if keep_alive { "keep-alive" } else { "close" }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn range(value: &str, total_bytes: u64) -> Option<(u64, u64)> {
        let head = format!("GET /t HTTP/1.1\r\nHost: x\r\nRange: {value}\r\n\r\n");
        let range = RangeRequest::parse(&head)
            .unwrap()
            .range
            .within(total_bytes);
        range.map(|range| (range.from, range.to))
    }

    #[test]
    fn ranges_are_cut_to_what_there_is() {
        assert_eq!(range("bytes=0-", 10), Some((0, 10)));
        assert_eq!(range("bytes=3-5", 10), Some((3, 6)));
        assert_eq!(range("bytes=3-500", 10), Some((3, 10)));
        assert_eq!(range("bytes=9-18446744073709551615", 10), Some((9, 10)));
        assert_eq!(range("bytes=-4", 10), Some((6, 10)));
        assert_eq!(range("bytes=-40", 10), Some((0, 10)));
        assert_eq!(range("bytes=10-", 10), None);
        assert_eq!(range("bytes=-0", 10), None);
        assert_eq!(range("bytes=0-", 0), None);
        for ignored in [
            "bytes=5-3",
            "bytes=a-b",
            "lines=1-2",
            "bytes=",
            "bytes=1-2,4-5",
        ] {
            assert_eq!(range(ignored, 10), Some((0, 10)), "{ignored}");
        }
    }

    #[test]
    fn a_request_that_is_none_is_refused() {
        for head in [
            "",
            "POST /t HTTP/1.1\r\n\r\n",
            "GET t HTTP/1.1\r\n\r\n",
            "GET /t\r\n\r\n",
            "GET /t HTTP/2\r\n\r\n",
        ] {
            assert_eq!(RangeRequest::parse(head), None, "{head}");
        }
        let body = "GET /t HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc";
        assert_eq!(RangeRequest::parse(body), None);
    }

    #[test]
    fn connections_are_kept_as_the_reader_wants() {
        let ask = |line: &str| RangeRequest::parse(&format!("HEAD /t {line}\r\n\r\n")).unwrap();
        assert!(ask("HTTP/1.1").keep_alive && ask("HTTP/1.1").head_only);
        assert!(!ask("HTTP/1.1\r\nconnection: Close").keep_alive);
        assert!(!ask("HTTP/1.0").keep_alive);
    }
}
