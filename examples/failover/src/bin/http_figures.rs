//! Measures the HTTP port of three nodes: a large upload against `dd` with a sync
//! of the same bytes, as often as homes keep them, and how many times a second a
//! job is shown over HTTP and over gRPC.
//!
//! `cargo run --release -p reelraft-failover --bin http_figures -- [--mib N] [--seconds N] [--short]`

use std::{
    fs::File,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    time::{Duration, Instant},
};

use reelraft_failover::{
    experiment::{Settings, Verdict, run_experiment},
    grpc,
};
use reelraft_harness::{HttpAnswer, LocalCluster, Options, http_ask};
use reelraft_proto::v1::GetRequest;

/// Homes of a job among three nodes: each keeps the bytes.
const COPIES: u64 = 2;

/// Clients that ask at once.
const CLIENTS: usize = 8;

/// What an upload must reach of `dd`'s rate, and HTTP of gRPC's, in thousandths.
const UPLOAD_MILLI_MIN: u128 = 700;
const RATE_MILLI_MIN: u128 = 500;

fn main() -> ExitCode {
    run_experiment(
        "http_figures",
        &["--mib", "--seconds"],
        |settings, folder| {
            let mib = settings.extra_number("--mib")?;
            let mib = mib.unwrap_or(if settings.short { 64 } else { 2048 });
            let seconds = settings.extra_number("--seconds")?;
            let seconds = seconds.unwrap_or(if settings.short { 1 } else { 10 });
            let options = Options {
                http: true,
                ..Default::default()
            };
            let cluster = LocalCluster::start(&folder.join("cluster"), options);
            let upload = upload_figure(&cluster, folder, mib)?;
            let rate = rate_figure(&cluster, Duration::from_secs(seconds))?;
            Ok(Verdict::Broken(judged(settings, upload, rate)))
        },
    )
}

/// What is below its limit. The short form runs beside other tests, where no rate
/// means anything.
fn judged(settings: &Settings, upload_milli: u128, rate_milli: u128) -> Vec<String> {
    let mut broken = Vec::new();
    for (what, milli, least) in [
        ("an upload against dd", upload_milli, UPLOAD_MILLI_MIN),
        ("GET over HTTP against gRPC", rate_milli, RATE_MILLI_MIN),
    ] {
        if milli < least && !settings.short {
            broken.push(format!("{what}: {milli} thousandths, not {least}"));
        }
    }
    broken
}

/// A file of bytes that nothing can make smaller.
fn source(folder: &Path, mib: u64) -> Result<PathBuf, String> {
    let path = folder.join("source");
    let mut bytes = blake3::Hasher::new().finalize_xof().take(mib << 20);
    let mut file = File::create(&path).map_err(|error| error.to_string())?;
    std::io::copy(&mut bytes, &mut file).map_err(|error| error.to_string())?;
    Ok(path)
}

/// The rate of an upload, in thousandths of that of `dd`.
fn upload_figure(cluster: &LocalCluster, folder: &Path, mib: u64) -> Result<u128, String> {
    let path = source(folder, mib)?;
    let by_dd = dd(&path, folder)?;
    let node = cluster.http(1);
    let job = format!("{{\"source_bytes\": {}}}", mib << 20);
    let made = http_ask(&node, "POST", "/api/v1/jobs", "", job.as_bytes());
    let made = made.map_err(|error| error.to_string())?;
    let place = made.header("location").ok_or("no job was made")?;
    let begun = Instant::now();
    let sent = put(&node, &format!("{place}/source"), &path, mib << 20);
    let by_http = begun.elapsed();
    match sent {
        Ok(answer) if answer.status == 200 => {}
        other => return Err(format!("the upload ended with {other:?}")),
    }
    let milli = by_dd.as_micros() * 1000 / by_http.as_micros().max(1);
    println!(
        "{mib} MiB: dd with sync {COPIES} times {} ms, an upload to {COPIES} homes {} ms: {milli} thousandths",
        by_dd.as_millis(),
        by_http.as_millis()
    );
    Ok(milli)
}

/// How long `dd` takes to write the same bytes as often as homes do.
fn dd(source: &Path, folder: &Path) -> Result<Duration, String> {
    let begun = Instant::now();
    for copy in 0..COPIES {
        let copy = folder.join(format!("copy-{copy}"));
        let written = Command::new("dd")
            .arg(format!("if={}", source.display()))
            .arg(format!("of={}", copy.display()))
            .args(["bs=1M", "conv=fsync", "status=none"])
            .status();
        if !written.is_ok_and(|status| status.success()) {
            return Err("dd failed".into());
        }
    }
    let took = begun.elapsed();
    for copy in 0..COPIES {
        let _ = std::fs::remove_file(folder.join(format!("copy-{copy}")));
    }
    Ok(took)
}

/// Sends a file as a body.
fn put(node: &str, path: &str, file: &Path, bytes: u64) -> std::io::Result<HttpAnswer> {
    let mut socket = TcpStream::connect(node)?;
    write!(
        socket,
        "PUT {path} HTTP/1.1\r\nHost: {node}\r\nConnection: close\r\nContent-Length: {bytes}\r\n\r\n"
    )?;
    std::io::copy(&mut File::open(file)?, &mut socket)?;
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer)?;
    HttpAnswer::parse(answer)
}

/// The rate at which a job is shown over HTTP, in thousandths of that over gRPC.
fn rate_figure(cluster: &LocalCluster, time: Duration) -> Result<u128, String> {
    let jobs = cluster.json(&["job", "list"]);
    let job = jobs["jobs"][0]["id"].as_str().ok_or("there is no job")?;
    let by_grpc = grpc_rate(cluster, job, time)?;
    let by_http = http_rate(&cluster.http(1), job, time)?;
    let milli = by_http * 1000 / by_grpc.max(1);
    println!(
        "GET of a job: {by_grpc} times by gRPC, {by_http} by HTTP in {time:?}: {milli} thousandths"
    );
    Ok(milli)
}

fn grpc_rate(cluster: &LocalCluster, job: &str, time: Duration) -> Result<u128, String> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let endpoint = cluster.endpoint(1);
    runtime.block_on(async {
        let mut asking = tokio::task::JoinSet::new();
        for _ in 0..CLIENTS {
            let connected = grpc::connect(&endpoint).await;
            let mut jobs = connected.map_err(|error| format!("{error:?}"))?;
            let job = job.to_string();
            asking.spawn(async move {
                let until = Instant::now() + time;
                let mut count: u128 = 0;
                while Instant::now() < until {
                    let job = job.clone();
                    jobs.get(GetRequest { job, local: false })
                        .await
                        .map_err(|status| status.to_string())?;
                    count += 1;
                }
                Ok::<u128, String>(count)
            });
        }
        asking.join_all().await.into_iter().sum()
    })
}

fn http_rate(node: &str, job: &str, time: Duration) -> Result<u128, String> {
    let asking: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (node, job) = (node.to_string(), job.to_string());
            std::thread::spawn(move || shown(&node, &job, time))
        })
        .collect();
    let counts = asking.into_iter().map(|asking| {
        let counted = asking.join().map_err(|_| "a client broke".to_string())?;
        counted.map_err(|error| error.to_string())
    });
    counts.sum()
}

/// Shows a job again and again over one connection.
fn shown(node: &str, job: &str, time: Duration) -> std::io::Result<u128> {
    let mut socket = TcpStream::connect(node)?;
    socket.set_nodelay(true)?;
    let mut answers = BufReader::new(socket.try_clone()?);
    let request = format!("GET /api/v1/jobs/{job} HTTP/1.1\r\nHost: {node}\r\n\r\n");
    let until = Instant::now() + time;
    let mut count = 0;
    while Instant::now() < until {
        socket.write_all(request.as_bytes())?;
        let mut length = 0;
        let mut line = String::new();
        answers.read_line(&mut line)?;
        if !line.starts_with("HTTP/1.1 200") {
            return Err(std::io::Error::other(line));
        }
        loop {
            line.clear();
            answers.read_line(&mut line)?;
            let (name, value) = line.split_once(':').unwrap_or_default();
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().unwrap_or(0);
            }
            if line.trim().is_empty() {
                break;
            }
        }
        std::io::copy(&mut (&mut answers).take(length), &mut std::io::sink())?;
        count += 1;
    }
    Ok(count)
}
