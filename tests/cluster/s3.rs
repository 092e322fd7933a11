//! A source and an output in a bucket, at a server of S3.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use reelraft_harness::{LocalCluster, Options, binary, free_ports, http_ask};

use crate::{backup::Alone, calm, clip, succeed};

/// How long the server may take to start, and a job to be delivered.
const PATIENCE: Duration = Duration::from_secs(120);

/// Ended with the test, however that ends.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// moto's server and its address, if this machine has it.
fn server() -> Option<(Server, String)> {
    let known = Command::new("python3")
        .args(["-c", "import moto.server"])
        .output();
    if !known.is_ok_and(|output| output.status.success()) {
        return None;
    }
    let started = Instant::now();
    loop {
        // It ends by itself where somebody else has taken the port meanwhile.
        let port = free_ports(1);
        let child = Command::new("python3")
            .args(["-c", "from moto.server import main; main()"])
            .args(["-H", "127.0.0.1", "-p", &port.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let mut server = Server(child.unwrap());
        let address = format!("127.0.0.1:{port}");
        while server.0.try_wait().unwrap().is_none() {
            let own = http_ask(&address, "GET", "/moto-api/data.json", "", b"");
            if own.is_ok_and(|answer| answer.status == 200) {
                return Some((server, address));
            }
            assert!(started.elapsed() < PATIENCE, "the server is there in time");
            sleep(Duration::from_millis(100));
        }
        assert!(started.elapsed() < PATIENCE, "the server starts");
    }
}

#[test]
fn a_film_goes_from_a_bucket_into_a_bucket() {
    let calm = calm("mp4");
    let Some((_server, address)) = server() else {
        eprintln!("skipped: there is no server of S3 (pip install 'moto[server]')");
        return;
    };
    // The server asks for a name and not for its signature, which is tested apart.
    let whose = "Authorization: AWS4-HMAC-SHA256 Credential=key/20260101/us-east-1/s3/aws4_request, \
                 SignedHeaders=host, Signature=0\r\n";
    let request = |method: &str, path: &str, body: &[u8]| {
        http_ask(&address, method, path, whose, body).unwrap()
    };
    assert_eq!(request("PUT", "/films", b"").status, 200);
    let film = std::fs::read(clip()).unwrap();
    assert_eq!(request("PUT", "/films/in/a%20film.mov", &film).status, 200);

    let folder = tempfile::tempdir().unwrap();
    let buckets = folder.path().join("buckets.toml");
    let table = |name: &str, more: &str| {
        format!(
            "[{name}]\nendpoint = 'http://{address}'\nbucket = 'films'\naccess_key = 'key'\n\
             secret_key = 'secret'\n{more}\n"
        )
    };
    let text = table("media", "write = true")
        + &table("again", "write = true")
        + &table("read", "")
        + &table("closed", "tenants = ['anna']");
    std::fs::write(&buckets, text).unwrap();
    let cluster = LocalCluster::start(
        folder.path(),
        Options {
            environment: vec![(
                "REELRAFT_S3_BUCKETS".into(),
                buckets.to_str().unwrap().into(),
            )],
            ..Default::default()
        },
    );
    let spec = [
        "--preset",
        "medium",
        "--shard-seconds",
        "1",
        "--container",
        "mp4",
    ];
    let submit = ["job", "submit", "s3://media/in/a film.mov"];
    let out = ["--output-url", "s3://media/out/film.mp4"];
    let made = cluster.json(&[&submit[..], &out, &spec].concat());
    assert_eq!(made["job"]["output_hash"], calm.as_str(), "{made}");

    let started = Instant::now();
    loop {
        let answer = request("GET", "/films/out/film.mp4", b"");
        if answer.status == 200 {
            assert_eq!(blake3::hash(&answer.body).to_hex().as_str(), calm);
            break;
        }
        assert!(started.elapsed() < PATIENCE, "it is put in time");
        sleep(Duration::from_millis(200));
    }
    refusals(&cluster, &submit);
    let job = made["job"]["id"].as_str().unwrap();
    a_backup_comes_back(&cluster, &buckets, (job, &calm));
}

/// A backup is put into the bucket by a node, and read from it where no node runs.
fn a_backup_comes_back(cluster: &LocalCluster, buckets: &Path, (job, calm): (&str, &str)) {
    let place = "s3://media/backups/a day.backup";
    let backup = ["cluster", "backup", place];
    let made = cluster.json(&backup);
    assert_eq!(
        (&made["jobs_whole"], &made["file"]),
        (&1.into(), &place.into())
    );
    let again = cluster.run(&backup);
    let said = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(said.contains("error: already-there: "), "{said}");
    succeed(&cluster.run(&[&backup[..], &["--overwrite"]].concat()));

    let data = buckets.with_file_name("restored");
    let mut restore = Command::new(binary());
    restore.args(["restore", place, "--data"]).arg(&data);
    restore.arg("--s3-buckets").arg(buckets);
    succeed(&restore.output().unwrap());
    let node = Alone::start(&data, &[]);
    assert_eq!(node.job_in(job, "succeeded")["output_hash"], calm);
}

/// What `submit` can't be given, and buckets that are others' or nobody's.
fn refusals(cluster: &LocalCluster, submit: &[&str]) {
    let refused = |words: &[&str], kind: &str| {
        let refused = cluster.run(words);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(said.contains(&format!("error: {kind}: ")), "{said}");
    };
    for (output, kind) in [
        (submit[2], "bad-url"),
        ("s3://media/in/%61%20film.mov", "bad-url"),
        ("s3://again/in/a film.mov", "bad-url"),
        ("s3://read/out/film.mp4", "read-only-bucket"),
        ("s3://media/..%2Fother%2Ffilm.mp4", "bad-url"),
    ] {
        refused(&[submit, &["--output-url", output]].concat(), kind);
    }
    for name in ["s3://films/in/a film.mov", "s3://closed/in/a film.mov"] {
        refused(&["job", "submit", name], "unknown-bucket");
    }
}
