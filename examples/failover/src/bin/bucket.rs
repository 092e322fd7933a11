//! A source in a bucket of S3, and an output into it, both of a gigabyte. The bucket's
//! server is killed while it is read and while it is written, and started again; so is the
//! leader. The output in the bucket is the same to the byte as one that was made of an
//! uploaded file in calm (P1), nothing is put twice that was there, and nothing is left of
//! the upload.
//!
//! `cargo run --release -p reelraft-failover --bin bucket -- [--mib 1024] [--short]`

use std::{
    fs::{self, File},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use reelraft_failover::{
    cli_client::CliClient,
    experiment::{Verdict, run_experiment},
    process_cluster::{ProcessCluster, end_with_this_process},
};
use reelraft_harness::{BucketServer, blake3_of, free_ports};

const NODES: usize = 3;

/// Bytes of a picture of the film, none of which can be saved.
const PICTURE_BYTES: u64 = 1280 * 720 * 3 / 2;

/// Size of the film, in MiB.
const MIB: (u64, u64) = (64, 1_024);

/// How long the source is read before its server is killed.
const READING: Duration = Duration::from_millis(1_000);

/// How long the server is away.
const AWAY: Duration = Duration::from_secs(5);

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(1_800);

/// By these words this program is the server.
const SERVES: &str = "--serve-bucket";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().collect();
    if let [_, word, folder, address] = &words[..]
        && word == SERVES
    {
        return serve(Path::new(folder), address);
    }
    run_experiment("bucket", &["--mib"], |settings, folder| {
        let mib = settings.extra_number("--mib")?;
        let mib = mib.unwrap_or(if settings.short { MIB.0 } else { MIB.1 });
        Experiment::new(folder, mib)?.run().map(Verdict::Broken)
    })
}

fn serve(folder: &Path, address: &str) -> ExitCode {
    let parts = folder.join("parts");
    let noted = move |number: u32| {
        let file = File::options().create(true).append(true).open(&parts);
        let written = file.and_then(|mut file| {
            std::io::Write::write_all(&mut file, format!("{number}\n").as_bytes())
        });
        // Whoever counts them finds out.
        drop(written);
    };
    let served = BucketServer::new(folder, noted).and_then(|server| {
        let listener = TcpListener::bind(address)?;
        server.serve(&listener);
        Ok(())
    });
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{address}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The server's process, ended with this.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Experiment {
    bucket: PathBuf,
    address: String,
    film: PathBuf,
    cluster: ProcessCluster,
    server: Option<Server>,
    broken: Vec<String>,
}

impl Experiment {
    fn new(folder: &Path, mib: u64) -> Result<Self, String> {
        let failed = |error: std::io::Error| error.to_string();
        let (bucket, film) = (folder.join("bucket"), folder.join("film.mkv"));
        let address = format!("127.0.0.1:{}", free_ports(1));
        let buckets = folder.join("buckets.toml");
        let table = format!(
            "[media]\nendpoint = 'http://{address}'\naccess_key = 'me'\nsecret_key = 'x'\nwrite = true\n"
        );
        fs::write(&buckets, table).map_err(failed)?;
        let environment = vec![
            (
                "REELRAFT_S3_BUCKETS".to_string(),
                buckets.display().to_string(),
            ),
            ("REELRAFT_REUSE_OUTPUTS".to_string(), "false".to_string()),
        ];
        noise(&film, (mib << 20).div_ceil(PICTURE_BYTES))?;
        let cluster = ProcessCluster::with_environments(folder, vec![environment; NODES], 1)?;
        cluster.wait_for_nodes(NODES, Duration::from_secs(120))?;
        let mut experiment = Experiment {
            bucket,
            address,
            film,
            cluster,
            server: None,
            broken: Vec::new(),
        };
        experiment.start_server()?;
        let source = experiment.file("film.mkv");
        fs::copy(&experiment.film, source).map_err(failed)?;
        Ok(experiment)
    }

    fn file(&self, key: &str) -> PathBuf {
        self.bucket.join("files").join(format!("media%2F{key}"))
    }

    fn start_server(&mut self) -> Result<(), String> {
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        fs::create_dir_all(self.bucket.join("files")).map_err(|error| error.to_string())?;
        let mut command = Command::new(program);
        command.arg(SERVES).arg(&self.bucket).arg(&self.address);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        end_with_this_process(&mut command);
        let server = command.spawn().map_err(|error| error.to_string())?;
        self.server = Some(Server(server));
        let begun = Instant::now();
        while std::net::TcpStream::connect(&self.address).is_err() {
            if begun.elapsed() > Duration::from_secs(30) {
                return Err("the bucket's server does not come up".to_string());
            }
            sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Kills the server, and starts it again after a while.
    fn kill_server(&mut self, when: &str) -> Result<(), String> {
        println!("the server is killed {when}");
        self.server = None;
        sleep(AWAY);
        self.start_server()
    }

    fn run(mut self) -> Result<Vec<String>, String> {
        let calm = self.submit(&self.film.display().to_string(), &[])?;
        let calm = self.ended(&calm)?;
        println!(
            "calm: {} bytes, blake3 {}",
            calm["output_bytes"], calm["output_hash"]
        );

        let begun = Instant::now();
        let to = ["--output-url", "s3://media/out.mkv"];
        let job = self.submit("s3://media/film.mkv", &to)?;
        sleep(READING);
        let state = self.cluster.try_json(&["job", "show", &job])?["state"].clone();
        println!("the job is {state}");
        self.kill_server("while the source is read")?;
        let made = self.ended(&job)?;
        println!("{} s until it is made", begun.elapsed().as_secs());
        if made["output_hash"] != calm["output_hash"] {
            let (made, calm) = (&made["output_hash"], &calm["output_hash"]);
            self.broken
                .push(format!("the output is {made}, and not {calm}"));
        }
        self.wait("two parts are there", |it| Ok(it.parts().len() >= 2))?;
        self.kill_server("while the output is put")?;
        let leader = self
            .cluster
            .wait_for_nodes(NODES, Duration::from_secs(60))?;
        println!("the leader, node {leader}, is killed");
        self.cluster.kill(leader)?;
        sleep(AWAY);
        self.cluster.start_node(leader)?;
        self.wait("the output is delivered", |it| {
            let list = it.cluster.try_json(&["job", "deliveries", &job])?;
            Ok(list["deliveries"][0]["state"] == "delivered")
        })?;
        println!("{} s until it is put", begun.elapsed().as_secs());
        self.judge(made["output_hash"].as_str().unwrap_or_default());
        Ok(self.broken)
    }

    fn judge(&mut self, hash: &str) {
        let out = blake3_of(&self.file("out.mkv"));
        if out != hash {
            self.broken
                .push(format!("the bucket has {out}, and not {hash}"));
        }
        let mut parts = self.parts();
        let put = parts.len();
        parts.sort_unstable();
        parts.dedup();
        println!("{} parts, {put} puts that came to their end", parts.len());
        // One may be put twice for each that was killed: its answer was lost.
        if put > parts.len() + 3 {
            let cause = format!("{put} puts of {} parts", parts.len());
            self.broken.push(cause);
        }
        let left = fs::read_dir(self.bucket.join("uploads"));
        let left = left.map_or(0, Iterator::count);
        if left > 0 {
            self.broken.push(format!("{left} uploads are left"));
        }
    }

    /// The numbers of the parts that were put.
    fn parts(&self) -> Vec<u32> {
        let noted = fs::read_to_string(self.bucket.join("parts")).unwrap_or_default();
        noted.lines().filter_map(|line| line.parse().ok()).collect()
    }

    fn submit(&self, source: &str, more: &[&str]) -> Result<String, String> {
        let submit = ["job", "submit", source, "--detach", "--codec", "ffv1"];
        let spec = ["--container", "mkv", "--shard-seconds", "1"];
        let made = self
            .cluster
            .try_json(&[&submit[..], &spec, more].concat())?;
        let id = made["job"]["id"].as_str();
        id.map(str::to_string).ok_or(format!("no job: {made}"))
    }

    fn ended(&self, id: &str) -> Result<serde_json::Value, String> {
        self.cluster
            .try_run(&["job", "wait", id, "--timeout", "30m"])?;
        self.cluster.try_json(&["job", "show", id])
    }

    fn wait(
        &self,
        what: &str,
        is_so: impl Fn(&Self) -> Result<bool, String>,
    ) -> Result<(), String> {
        let begun = Instant::now();
        // There may be no leader to ask just now.
        while !is_so(self).unwrap_or(false) {
            if begun.elapsed() > PATIENCE {
                return Err(format!("not in time: {what}"));
            }
            sleep(Duration::from_millis(100));
        }
        Ok(())
    }
}

/// A film of pictures that nothing can make smaller.
fn noise(film: &Path, pictures: u64) -> Result<(), String> {
    let made = Command::new("ffmpeg")
        .args([
            "-nostdin", "-v", "error", "-f", "rawvideo", "-pix_fmt", "yuv420p",
        ])
        .args(["-s", "1280x720", "-r", "25", "-i", "/dev/urandom"])
        .args(["-frames:v", &pictures.to_string(), "-c:v", "rawvideo"])
        .arg(film)
        .status();
    match made {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("ffmpeg makes no film: {status}")),
        Err(error) => Err(format!("ffmpeg: {error}")),
    }
}
