//! Reads a child's pipe line by line, with a bound on each line.

use tokio::io::{AsyncRead, AsyncReadExt};

/// Lines of a pipe. A carriage return ends a line too; what exceeds the limit
/// is dropped.
pub(crate) struct Lines<R> {
    reader: R,
    chunk: Box<[u8; 16 << 10]>,
    at: usize,
    filled: usize,
    line: Vec<u8>,
    line_bytes_max: usize,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    pub fn new(reader: R, line_bytes_max: usize) -> Self {
        Lines {
            reader,
            chunk: Box::new([0; 16 << 10]),
            at: 0,
            filled: 0,
            line: Vec::new(),
            line_bytes_max,
        }
    }

    /// The next line. Safe to drop before it completes: what was read stays in
    /// `self`.
    pub async fn next(&mut self) -> std::io::Result<Option<String>> {
        loop {
            while self.at < self.filled {
                let byte = self.chunk[self.at];
                self.at += 1;
                if byte == b'\n' || byte == b'\r' {
                    return Ok(Some(self.take()));
                }
                if self.line.len() < self.line_bytes_max {
                    self.line.push(byte);
                }
            }
            self.filled = self.reader.read(&mut self.chunk[..]).await?;
            self.at = 0;
            if self.filled == 0 {
                return Ok((!self.line.is_empty()).then(|| self.take()));
            }
        }
    }

    fn take(&mut self) -> String {
        let text = String::from_utf8_lossy(&self.line).into_owned();
        self.line.clear();
        text
    }
}
