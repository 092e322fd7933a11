//! The client through the HTTP port, and through a proxy that is in the way.

use std::{path::Path, sync::Arc};

use clap::Parser;
use reelraft_cli::{CliError, ClientCommand, GlobalArgs, Screen, exit};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy},
    net::{TcpListener, TcpStream},
};

use crate::{
    http::Client,
    node::{SECRET, film, start},
};

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    global: GlobalArgs,
    #[command(subcommand)]
    command: ClientCommand,
}

async fn run(address: &str, secret: &str, words: &[&str]) -> Result<(), CliError> {
    let server = format!("http://{address}");
    let line = ["reelraft", "--server", &server];
    let Line { global, command } = Line::try_parse_from(line.iter().chain(words)).unwrap();
    let screen = Arc::new(Screen::new());
    reelraft_cli::execute(&global, secret, command, &screen).await
}

/// Passes all on, but for what puts bytes into an upload: as a proxy with a
/// limit for bodies does.
async fn proxy_without_patch(node: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let node = TcpStream::connect(&node).await.unwrap();
            tokio::spawn(pass_on(client, node));
        }
    });
    address
}

async fn pass_on(client: TcpStream, node: TcpStream) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_node, mut to_node) = node.into_split();
    let asking = async {
        let mut bytes = vec![0; 64 << 10];
        while let Ok(read @ 1..) = from_client.read(&mut bytes).await {
            if bytes[..read].starts_with(b"PATCH ") {
                return true;
            }
            to_node.write_all(&bytes[..read]).await.unwrap();
        }
        false
    };
    let refused = tokio::select! {
        refused = asking => refused,
        _ = copy(&mut from_node, &mut to_client) => false,
    };
    if refused {
        let answer =
            "HTTP/1.1 413 Payload Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        let _ = to_client.write_all(answer.as_bytes()).await;
        // What it still sends is taken in, so that the answer arrives.
        let _ = copy(&mut from_client, &mut tokio::io::sink()).await;
    }
}

async fn serve(folder: &Path) -> (String, impl Sized + use<>) {
    let (access, stopper) = start(folder).await;
    let (port, open) = Client::serve(access).await;
    (port.address, (stopper, open))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_asks_by_the_http_port_alone() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("film.mp4");
    std::fs::write(&source, film(folder.path())).unwrap();
    let source = source.to_str().unwrap();
    let (address, _node) = serve(&folder.path().join("node")).await;
    let submit = ["job", "submit", source, "--request-id", "one"];
    run(&address, SECRET, &submit).await.unwrap();
    // The same request finds its job, and its bytes.
    run(&address, SECRET, &submit).await.unwrap();
    run(&address, SECRET, &["job", "list"]).await.unwrap();
    let refused = run(&address, "wrong", &["job", "list"]).await.unwrap_err();
    assert_eq!(refused.kind(), "unauthenticated", "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_takes_no_large_body_ends_an_upload_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("film.mp4");
    std::fs::write(&source, film(folder.path())).unwrap();
    let (address, _node) = serve(&folder.path().join("node")).await;
    let proxy = proxy_without_patch(address).await;
    let submit = ["job", "submit", source.to_str().unwrap()];
    let refused = run(&proxy, SECRET, &submit).await.unwrap_err();
    assert_eq!(refused.kind(), "too-large", "{refused}");
    assert_ne!(refused.exit_code(), exit::UNREACHABLE);
}
