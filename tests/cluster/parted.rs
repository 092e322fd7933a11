//! A large output into a bucket: in parts, with the leader killed on the way.

use std::{
    fs,
    net::TcpListener,
    path::Path,
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::sleep,
    time::{Duration, Instant},
};

use reelraft_harness::{BucketServer, LocalCluster, Options, blake3_of};

use crate::{succeed, until};

/// How long anything may take, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// The part that is held back until the leader was killed.
const HELD: u32 = 2;

/// A film that can't be made smaller: some 36 MiB, which are three parts.
fn noise(film: &Path) {
    let made = Command::new("ffmpeg")
        .args([
            "-nostdin", "-v", "error", "-f", "rawvideo", "-pix_fmt", "yuv420p",
        ])
        .args(["-s", "1280x720", "-r", "25", "-i", "/dev/urandom"])
        .args(["-frames:v", "27", "-c:v", "rawvideo"])
        .arg(film)
        .output();
    succeed(&made.unwrap());
}

#[test]
#[ignore = "long: make test-all"]
fn a_large_output_is_put_in_parts_whatever_leads() {
    let folder = tempfile::tempdir().unwrap();
    let released = Arc::new(AtomicBool::new(false));
    let parts: Arc<Mutex<Vec<u32>>> = Arc::default();
    let (gate, noted) = (released.clone(), parts.clone());
    let on_part = move |number| {
        noted.lock().unwrap().push(number);
        let begun = Instant::now();
        while number == HELD && !gate.load(Ordering::SeqCst) && begun.elapsed() < PATIENCE {
            sleep(Duration::from_millis(20));
        }
    };
    let bucket = BucketServer::new(&folder.path().join("bucket"), on_part).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serving = bucket.clone();
    std::thread::spawn(move || serving.serve(&listener));
    let table = folder.path().join("buckets.toml");
    let text = format!(
        "[media]\nendpoint = 'http://{address}'\naccess_key = 'me'\nsecret_key = 'x'\nwrite = true\n"
    );
    fs::write(&table, text).unwrap();
    let film = folder.path().join("noise.mkv");
    noise(&film);
    let cluster = LocalCluster::start(
        folder.path(),
        Options {
            environment: vec![("REELRAFT_S3_BUCKETS".into(), table.display().to_string())],
            ..Default::default()
        },
    );
    let submit = ["job", "submit", film.to_str().unwrap(), "--codec", "ffv1"];
    let to = ["--container", "mkv", "--output-url", "s3://media/noise.mkv"];
    let made = cluster.json(&[&submit[..], &to].concat());
    let id = made["job"]["id"].as_str().unwrap();

    until("a part comes", PATIENCE, || {
        parts.lock().unwrap().contains(&HELD)
    });
    assert_eq!(bucket.uploads(), 1);
    let out = bucket.file("media", "noise.mkv");
    assert!(!out.exists(), "it has its name once it is whole");
    cluster.kill(cluster.leader());
    released.store(true, Ordering::SeqCst);
    until("it is put", PATIENCE, || out.exists());
    assert_eq!(
        blake3_of(&out),
        made["job"]["output_hash"].as_str().unwrap()
    );
    until("that is written down", PATIENCE, || {
        let list = cluster.json(&["job", "deliveries", id]);
        list["deliveries"][0]["state"] == "delivered"
    });
    assert_eq!(bucket.uploads(), 0);
    let firsts = parts
        .lock()
        .unwrap()
        .iter()
        .filter(|part| **part == 1)
        .count();
    // Twice where the leader changed during the first, too.
    assert!(firsts <= 2, "what was there is not put again: {firsts}");
    deleted_midway(&cluster, &submit, &bucket, (&released, &parts));
}

/// One that is deleted while it is put leaves nothing.
fn deleted_midway(
    cluster: &LocalCluster,
    submit: &[&str],
    bucket: &BucketServer,
    (released, parts): (&AtomicBool, &Mutex<Vec<u32>>),
) {
    released.store(false, Ordering::SeqCst);
    parts.lock().unwrap().clear();
    let to = ["--container", "mkv", "--output-url", "s3://media/gone.mkv"];
    let made = cluster.json(&[submit, &to].concat());
    until("a part comes", PATIENCE, || {
        parts.lock().unwrap().contains(&HELD)
    });
    let id = made["job"]["id"].as_str().unwrap();
    succeed(&cluster.run(&["job", "delete", id]));
    released.store(true, Ordering::SeqCst);
    until("it is given up", PATIENCE, || bucket.uploads() == 0);
    assert!(!bucket.file("media", "gone.mkv").exists());
}
