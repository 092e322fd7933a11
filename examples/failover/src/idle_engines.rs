//! Many engines that ask for work and never get any, as they are on most days: what they
//! cost a node. They are simulated in one process, each with a connection of its own.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    runtime::Runtime,
};

/// Another build than any node's, so that none of them is given work.
const BUILD: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// How long one waits before it comes again.
const AGAIN: Duration = Duration::from_secs(2);

/// Engines that ask, until this is dropped.
pub struct IdleEngines {
    _runtime: Runtime,
}

impl IdleEngines {
    /// Makes so many tokens at nodes that serve HTTP at these addresses, without a
    /// secret, and has an engine ask with each of them, at one node after the other.
    ///
    /// # Errors
    /// If the nodes give no tokens.
    pub fn start(addresses: &[String], count: usize) -> Result<Self, String> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .map_err(|error| error.to_string())?;
        let tokens = runtime.block_on(tokens(&addresses[0], count))?;
        for (number, token) in tokens.into_iter().enumerate() {
            let address = addresses[number % addresses.len()].clone();
            runtime.spawn(async move {
                loop {
                    let _ = ask_for_work(&address, &token).await;
                    tokio::time::sleep(AGAIN).await;
                }
            });
        }
        Ok(IdleEngines { _runtime: runtime })
    }
}

async fn tokens(address: &str, count: usize) -> Result<Vec<String>, String> {
    let mut connection = Connection::open(address).await?;
    let mut tokens = Vec::new();
    for number in 0..count {
        let made = connection
            .post("", "", &json!({"name": format!("idle{number}")}))
            .await?;
        let token = made["token"].as_str();
        tokens.push(token.ok_or(format!("no token: {made}"))?.to_string());
    }
    Ok(tokens)
}

async fn ask_for_work(address: &str, token: &str) -> Result<(), String> {
    let mut connection = Connection::open(address).await?;
    let hello = json!({"build": BUILD, "slots": 1});
    let told = connection.post("/register", token, &hello).await?;
    let session = told["session"].as_str().ok_or("it is not registered")?;
    loop {
        let said = json!({"session": session, "wait_s": 5});
        let told = connection.post("/beat", token, &said).await?;
        let again = told["again_in_ms"].as_u64().ok_or("it is not answered")?;
        tokio::time::sleep(Duration::from_millis(again)).await;
    }
}

struct Connection {
    address: String,
    socket: BufReader<TcpStream>,
}

impl Connection {
    async fn open(address: &str) -> Result<Self, String> {
        let socket = TcpStream::connect(address).await;
        let socket = socket.map_err(|error| error.to_string())?;
        Ok(Connection {
            address: address.to_string(),
            socket: BufReader::new(socket),
        })
    }

    async fn post(&mut self, path: &str, token: &str, body: &Value) -> Result<Value, String> {
        let told = self.exchange(path, token, &body.to_string()).await;
        told.map_err(|error| error.to_string())
    }

    async fn exchange(&mut self, path: &str, token: &str, body: &str) -> std::io::Result<Value> {
        let credential = match token {
            "" => String::new(),
            token => format!("Authorization: Bearer {token}\r\n"),
        };
        let request = format!(
            "POST /api/v1/engines{path} HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\n\
             Content-Type: application/json\r\n{credential}\r\n{body}",
            self.address,
            body.len()
        );
        self.socket.get_mut().write_all(request.as_bytes()).await?;
        let (mut line, mut bytes) = (String::new(), 0);
        loop {
            line.clear();
            if self.socket.read_line(&mut line).await? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            let field = line.trim_end().to_ascii_lowercase();
            if field.is_empty() {
                break;
            }
            if let Some(length) = field.strip_prefix("content-length: ") {
                bytes = length.parse().unwrap_or(0);
            }
        }
        let mut body = vec![0; bytes];
        self.socket.read_exact(&mut body).await?;
        Ok(serde_json::from_slice(&body).unwrap_or_default())
    }
}
