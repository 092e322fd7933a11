//! A pipe for what a child says at length. ffmpeg writes each line of its log in
//! several pieces, some twenty for each frame, and whoever waits for them is woken
//! for each: reading them would cost a node as much as all its other work. Here a
//! thread reads them, and once the child has run for a moment, leaves some together
//! before it reads on. The runtime's poller would not do: a pipe that it has seen
//! wakes it with each write, read or not.

use std::{
    io::{ErrorKind, PipeReader, Read},
    os::fd::AsRawFd,
    pin::Pin,
    process::Stdio,
    task::{Context, Poll, ready},
    time::Instant,
};

use tokio::{
    io::{AsyncRead, ReadBuf},
    sync::mpsc,
};

use crate::limits::{LOG_CHUNK_BYTES, LOG_CHUNKS_AHEAD, LOG_PACE, LOG_PACED_AFTER};

/// The reading end.
pub(crate) struct PacedPipe {
    chunks: mpsc::Receiver<std::io::Result<Vec<u8>>>,
    chunk: Vec<u8>,
    at: usize,
}

impl PacedPipe {
    /// Opens a pipe, and gives the end that a child writes to. It is at its end when
    /// every copy of that is closed.
    pub fn open() -> std::io::Result<(PacedPipe, Stdio)> {
        let (reader, writer) = std::io::pipe()?;
        // A wish. A smaller one would fill up meanwhile, so it is read at once.
        // SAFETY: plain system calls on a descriptor of our own.
        let held = unsafe {
            let pipe = writer.as_raw_fd();
            libc::fcntl(pipe, libc::F_SETPIPE_SZ, LOG_CHUNK_BYTES as libc::c_int);
            libc::fcntl(pipe, libc::F_GETPIPE_SZ)
        };
        let paced = held >= LOG_CHUNK_BYTES as libc::c_int;
        let (sender, chunks) = mpsc::channel(LOG_CHUNKS_AHEAD);
        std::thread::Builder::new()
            .name("media-log".into())
            .spawn(move || forward(reader, &sender, paced))?;
        let pipe = PacedPipe {
            chunks,
            chunk: Vec::new(),
            at: 0,
        };
        Ok((pipe, writer.into()))
    }
}

impl AsyncRead for PacedPipe {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        if self.at == self.chunk.len() {
            let Some(next) = ready!(self.chunks.poll_recv(context)) else {
                return Poll::Ready(Ok(()));
            };
            (self.chunk, self.at) = (next?, 0);
        }
        let left = &self.chunk[self.at..];
        let taken = left.len().min(into.remaining());
        into.put_slice(&left[..taken]);
        self.at += taken;
        Poll::Ready(Ok(()))
    }
}

/// Reads until the pipe's end, or until nobody listens.
fn forward(mut reader: PipeReader, sender: &mpsc::Sender<std::io::Result<Vec<u8>>>, paced: bool) {
    let begun = Instant::now();
    let mut chunk = vec![0; LOG_CHUNK_BYTES];
    loop {
        let read = match reader.read(&mut chunk) {
            Ok(0) => return,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Ok(bytes) => Ok(chunk[..bytes].to_vec()),
            Err(error) => Err(error),
        };
        // A child that says so much would soon wait for us.
        let more = matches!(&read, Ok(bytes) if bytes.len() >= LOG_CHUNK_BYTES / 2);
        if sender.blocking_send(read).is_err() {
            return;
        }
        if paced && !more && begun.elapsed() >= LOG_PACED_AFTER {
            std::thread::sleep(LOG_PACE);
        }
    }
}
