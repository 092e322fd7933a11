//! A server of S3 in a test: buckets in a folder, which outlives the server. It knows
//! what this program asks of such a server, and looks at no signature.

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write},
    net::{TcpListener, TcpStream},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// Told of each part before it is kept.
type OnPart = dyn Fn(u32) + Send + Sync;

/// What a folder holds: files by their names, and uploads that are under way.
#[derive(Clone)]
pub struct BucketServer {
    folder: PathBuf,
    on_part: Arc<OnPart>,
    made: Arc<AtomicU64>,
}

/// A request without its body.
struct Asked {
    method: String,
    /// Of the file in the folder.
    file: PathBuf,
    query: Vec<(String, String)>,
    range: Option<(u64, Option<u64>)>,
    length: u64,
}

/// What is answered.
struct Reply {
    status: u16,
    /// A line of the head, or none.
    tag: String,
    text: String,
}

impl Reply {
    fn status(status: u16) -> Self {
        Reply {
            status,
            tag: String::new(),
            text: String::new(),
        }
    }

    fn text(text: String) -> Self {
        Reply {
            text,
            ..Reply::status(200)
        }
    }

    fn tag(tag: String) -> Self {
        Reply {
            tag: format!("ETag: \"{tag}\"\r\n"),
            ..Reply::status(200)
        }
    }
}

impl Asked {
    fn get(&self, name: &str) -> Option<&str> {
        let found = self.query.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    fn number(&self, name: &str) -> u32 {
        let number = self.get(name).and_then(|text| text.parse().ok());
        number.unwrap_or(0)
    }
}

impl BucketServer {
    /// One that keeps its files in a folder.
    ///
    /// # Errors
    /// If that can't be made.
    pub fn new(folder: &Path, on_part: impl Fn(u32) + Send + Sync + 'static) -> io::Result<Self> {
        for below in ["files", "uploads"] {
            fs::create_dir_all(folder.join(below))?;
        }
        Ok(BucketServer {
            folder: folder.to_path_buf(),
            on_part: Arc::new(on_part),
            // Names of another process are not given again.
            made: Arc::new(AtomicU64::new(u64::from(std::process::id()) << 20)),
        })
    }

    /// The file of a bucket's key in its folder.
    pub fn file(&self, bucket: &str, key: &str) -> PathBuf {
        self.folder.join("files").join(format!("{bucket}%2F{key}"))
    }

    /// Uploads that have not ended.
    pub fn uploads(&self) -> usize {
        let uploads = fs::read_dir(self.folder.join("uploads"));
        uploads.map_or(0, Iterator::count)
    }

    /// Serves, and does not come back.
    pub fn serve(self, listener: &TcpListener) {
        for socket in listener.incoming().flatten() {
            let server = self.clone();
            std::thread::spawn(move || server.answer(socket));
        }
    }

    fn answer(&self, socket: TcpStream) -> io::Result<()> {
        let mut reader = BufReader::new(socket.try_clone()?);
        let Some(asked) = self.read(&mut reader)? else {
            return Ok(());
        };
        let mut body = reader.take(asked.length);
        let mut socket = socket;
        let reply = match (asked.method.as_str(), asked.get("uploadId")) {
            ("GET" | "HEAD", None) => return give(&asked, &mut socket),
            ("PUT", None) => Reply::tag(self.put(&asked.file, &mut body)?),
            ("POST", None) => Reply::text(self.begin()?),
            (_, Some(id)) => {
                self.of_upload(&self.folder.join("uploads").join(id), &asked, &mut body)?
            }
            _ => Reply::status(405),
        };
        let Reply { status, tag, text } = reply;
        let length = text.len();
        let head = format!(
            "HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {length}\r\n{tag}\r\n"
        );
        socket.write_all((head + &text).as_bytes())
    }

    fn of_upload(
        &self,
        upload: &Path,
        asked: &Asked,
        body: &mut io::Take<impl Read>,
    ) -> io::Result<Reply> {
        if !upload.is_dir() {
            return Ok(Reply {
                text: "<Error><Code>NoSuchUpload</Code></Error>".into(),
                ..Reply::status(404)
            });
        }
        Ok(match asked.method.as_str() {
            "PUT" => {
                let number = asked.number("partNumber");
                let tag = self.put(&upload.join(number.to_string()), body)?;
                (self.on_part)(number);
                Reply::tag(tag)
            }
            "GET" => Reply::text(list(upload, asked)?),
            "POST" => self.end(upload, &asked.file, body)?,
            _ => {
                fs::remove_dir_all(upload)?;
                Reply::status(204)
            }
        })
    }

    fn read(&self, reader: &mut impl BufRead) -> io::Result<Option<Asked>> {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let mut words = line.split_whitespace();
        let (Some(method), Some(target)) = (words.next(), words.next()) else {
            return Ok(None);
        };
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let pair = |pair: &str| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (name.to_string(), value.to_string())
        };
        let name = path.trim_start_matches('/').replace('/', "%2F");
        let mut asked = Asked {
            method: method.to_string(),
            file: self.folder.join("files").join(name),
            query: query.split('&').map(pair).collect(),
            range: None,
            length: 0,
        };
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let line = line.trim_end().to_lowercase();
            let Some((name, value)) = line.split_once(": ") else {
                return Ok(Some(asked));
            };
            match name {
                "content-length" => asked.length = value.parse().unwrap_or(0),
                "range" => asked.range = range(value),
                _ => {}
            }
        }
    }

    /// Keeps what comes under a name, once it is whole; its tag.
    fn put(&self, file: &Path, body: &mut io::Take<impl Read>) -> io::Result<String> {
        let length = body.limit();
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let partial = self.folder.join(format!("partial-{number}"));
        let copied = io::copy(body, &mut File::create(&partial)?)?;
        if copied < length {
            fs::remove_file(&partial)?;
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        fs::rename(&partial, file)?;
        tag_of(file)
    }

    fn begin(&self) -> io::Result<String> {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        fs::create_dir(self.folder.join("uploads").join(format!("u{number}")))?;
        Ok(format!("<R><UploadId>u{number}</UploadId></R>"))
    }

    /// Puts the parts that are named together, by the tags that it gave.
    fn end(&self, upload: &Path, file: &Path, body: &mut impl Read) -> io::Result<Reply> {
        let mut named = String::new();
        body.read_to_string(&mut named)?;
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let partial = self.folder.join(format!("partial-{number}"));
        let mut whole = File::create(&partial)?;
        for part in named.split("<PartNumber>").skip(1) {
            let number = part.split('<').next().unwrap_or_default();
            let part_file = upload.join(number);
            let tag = format!("<ETag>&quot;{}&quot;</ETag>", tag_of(&part_file)?);
            if !part.contains(&tag) {
                fs::remove_file(&partial)?;
                return Ok(Reply {
                    text: "<Error><Code>InvalidPart</Code></Error>".into(),
                    ..Reply::status(400)
                });
            }
            io::copy(&mut File::open(part_file)?, &mut whole)?;
        }
        fs::rename(&partial, file)?;
        fs::remove_dir_all(upload)?;
        Ok(Reply::text("<R><ETag>whole</ETag></R>".to_string()))
    }
}

fn range(value: &str) -> Option<(u64, Option<u64>)> {
    let (from, to) = value.strip_prefix("bytes=")?.split_once('-')?;
    Some((from.parse().ok()?, to.parse().ok()))
}

fn tag_of(file: &Path) -> io::Result<String> {
    let found = fs::metadata(file)?;
    Ok(format!("{}x{}", found.len(), found.ino()))
}

/// The parts of an upload behind one.
fn list(upload: &Path, asked: &Asked) -> io::Result<String> {
    let (from, most) = (
        asked.number("part-number-marker"),
        asked.number("max-parts"),
    );
    let mut text = String::new();
    let mut number = from + 1;
    while let Ok(found) = fs::metadata(upload.join(number.to_string())) {
        if number > from + most {
            break;
        }
        let (tag, size) = (tag_of(&upload.join(number.to_string()))?, found.len());
        text += &format!(
            "<Part><PartNumber>{number}</PartNumber><ETag>&#34;{tag}&#34;</ETag><Size>{size}</Size></Part>"
        );
        number += 1;
    }
    let more = upload.join(number.to_string()).exists();
    Ok(format!("<R>{text}<IsTruncated>{more}</IsTruncated></R>"))
}

/// Answers with a file, or the range of it that is asked for.
fn give(asked: &Asked, socket: &mut TcpStream) -> io::Result<()> {
    let Ok(mut file) = File::open(&asked.file) else {
        let none = "HTTP/1.1 404 X\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
        return socket.write_all(none.as_bytes());
    };
    let total = file.metadata()?.len();
    let (from, to) = asked.range.unwrap_or_default();
    let end = to.map_or(total, |to| total.min(to + 1));
    let (status, range) = match asked.range {
        Some(_) => (
            206,
            format!("Content-Range: bytes {from}-{}/{total}\r\n", end - 1),
        ),
        None => (200, String::new()),
    };
    let (length, tag) = (end.saturating_sub(from), tag_of(&asked.file)?);
    let head = format!(
        "HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {length}\r\n\
         Accept-Ranges: bytes\r\nETag: \"{tag}\"\r\n{range}\r\n"
    );
    socket.write_all(head.as_bytes())?;
    if asked.method == "HEAD" {
        return Ok(());
    }
    file.seek(SeekFrom::Start(from))?;
    io::copy(&mut file.take(length), socket).map(drop)
}
