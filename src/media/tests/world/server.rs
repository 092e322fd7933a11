//! A range server on loopback, as a node serves a source to its own ffmpeg.

use std::{
    io::{BufRead, BufReader, Read, Seek, SeekFrom, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use reelraft_media::{BytesServed, Input};

pub struct Server {
    url: String,
    served: Arc<AtomicU64>,
}

impl Server {
    /// Serves a file; after `bytes_max` bytes in all it breaks off.
    pub fn start(path: &Path, bytes_max: u64) -> Server {
        let listener = listen();
        let url = format!("http://{}/token", listener.local_addr().unwrap());
        let served = Arc::new(AtomicU64::new(0));
        let (path, count) = (path.to_path_buf(), served.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (path, count) = (path.clone(), count.clone());
                // A client that goes away ends its thread, which is all.
                std::thread::spawn(move || answer(stream, &path, &count, bytes_max));
            }
        });
        Server { url, served }
    }

    pub fn input(&self) -> Input {
        let served = self.served.clone();
        Input::Http {
            url: self.url.clone(),
            served: BytesServed::new(move || served.load(Ordering::Relaxed)),
        }
    }

    pub fn bytes_served(&self) -> u64 {
        self.served.load(Ordering::Relaxed)
    }
}

/// Listens as a node's server does, with little on its way to a reader: what it
/// hangs up on would count as read.
fn listen() -> TcpListener {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .unwrap();
    let _entered = runtime.enter();
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_send_buffer_size(128 << 10).unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(64).unwrap().into_std().unwrap();
    listener.set_nonblocking(false).unwrap();
    listener
}

fn answer(stream: TcpStream, path: &PathBuf, count: &AtomicU64, bytes_max: u64) -> Option<()> {
    let mut lines = BufReader::new(stream.try_clone().ok()?);
    let mut stream = stream;
    loop {
        let mut range = None;
        loop {
            let mut line = String::new();
            if lines.read_line(&mut line).ok()? == 0 {
                return None;
            }
            let line = line.trim().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(asked) = line.strip_prefix("range: bytes=") {
                range = Some(asked.to_string());
            }
        }
        let mut file = std::fs::File::open(path).ok()?;
        let size = file.metadata().ok()?.len();
        let (from, to) = match &range {
            None => (0, size),
            Some(range) => {
                let (from, to) = range.split_once('-')?;
                let to = to.parse::<u64>().map_or(size, |last| last + 1);
                (from.parse().ok()?, to.min(size))
            }
        };
        if from >= size && size > 0 {
            write!(stream, "HTTP/1.1 416 Range Not Satisfiable\r\nContent-Range: bytes */{size}\r\nContent-Length: 0\r\n\r\n").ok()?;
            continue;
        }
        let status = if range.is_some() {
            "206 Partial Content"
        } else {
            "200 OK"
        };
        write!(
            stream,
            "HTTP/1.1 {status}\r\nAccept-Ranges: bytes\r\nContent-Length: {}\r\nContent-Range: bytes {from}-{}/{size}\r\n\r\n",
            to - from,
            to.max(1) - 1
        )
        .ok()?;
        file.seek(SeekFrom::Start(from)).ok()?;
        let mut body = file.take(to - from);
        let mut chunk = [0u8; 16 << 10];
        loop {
            let read = body.read(&mut chunk).ok()?;
            if read == 0 {
                break;
            }
            if count.fetch_add(read as u64, Ordering::Relaxed) > bytes_max {
                return None;
            }
            stream.write_all(&chunk[..read]).ok()?;
        }
    }
}
