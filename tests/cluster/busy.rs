//! A node that is slow again and again is given more time, and only for as long
//! as it lasts.

use super::*;

/// The node that is stopped. It need not lead.
const NODE: u64 = 3;

/// What is usual, in milliseconds.
const USUAL_MS: u64 = 600;

/// The node's own election timeout; `None` if it does not answer in time.
fn election_timeout_ms(cluster: &LocalCluster) -> Option<u64> {
    let endpoint = cluster.endpoint(NODE);
    let args = ["cluster", "status", "-o", "json", "--endpoints", &endpoint];
    let output = cluster.run(&args);
    let status: serde_json::Value = serde_json::from_slice(&output.stdout).ok()?;
    status["election_timeout_ms"].as_u64()
}

fn signal(pid: i32, name: &str) {
    let args = [format!("-{name}"), pid.to_string()];
    let sent = std::process::Command::new("kill").args(args).status();
    assert!(sent.unwrap().success());
}

/// Seconds in which a node runs for two and is stopped for two. Its heartbeats
/// then come two seconds late, which the usual timeouts don't bear; and a minute
/// after the last it has them again.
#[test]
#[ignore = "long: make test-all"]
fn a_stretched_election_timeout_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = LocalCluster::start(folder.path(), Options::default());
    cluster.wait_for_leader();
    let pid = cluster.pid(NODE);
    let mut stretched_ms = 0;
    for _ in 0..5 {
        signal(pid, "STOP");
        std::thread::sleep(Duration::from_secs(2));
        signal(pid, "CONT");
        std::thread::sleep(Duration::from_secs(2));
        stretched_ms = stretched_ms.max(election_timeout_ms(&cluster).unwrap_or(0));
    }
    assert!(stretched_ms >= 4 * USUAL_MS, "{stretched_ms} ms");
    let started = Instant::now();
    loop {
        // Whatever else this machine does may be slow, too, but not as slow.
        let back_ms = election_timeout_ms(&cluster);
        if back_ms.is_some_and(|ms| ms <= stretched_ms / 2) {
            break;
        }
        assert!(started.elapsed() < Duration::from_secs(120), "{back_ms:?}");
        std::thread::sleep(Duration::from_secs(1));
    }
}
