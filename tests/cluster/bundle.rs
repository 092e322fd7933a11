//! A bundle for whoever is asked for help: what is in it, and what never is.

use std::{
    fs::{self, File},
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use reelraft_harness::{binary, free_ports};

use crate::{clip, succeed};

const SECRET: &str = "what-clients-alone-know";
const PEER_SECRET: &str = "what-nodes-alone-know";

/// The name that the film goes by.
const NAME: &str = "unreleased-and-confidential.mp4";

struct Node {
    process: Child,
    address: String,
}

impl Node {
    fn start(folder: &Path) -> Self {
        let address = format!("127.0.0.1:{}", free_ports(1));
        let log = File::create(folder.join("node.log")).unwrap();
        let mut command = Command::new(binary());
        command.args([
            "node",
            "--tls",
            "true",
            "--slots",
            "1",
            "--allow-addresses",
            "127.0.0.0/8",
        ]);
        command.args(["--listen", &address]).arg("--data");
        command.arg(folder.join("data"));
        command.env("REELRAFT_SECRET", SECRET);
        command.env("REELRAFT_PEER_SECRET", PEER_SECRET);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        Node {
            process: command.spawn().unwrap(),
            address,
        }
    }

    fn ask(&self, folder: &Path, args: &[&str]) -> Output {
        let mut command = Command::new(binary());
        command.args(args).stdin(Stdio::null());
        // One more that nobody listens at.
        let endpoints = format!("{},127.0.0.1:1", self.address);
        command.env("REELRAFT_ENDPOINTS", endpoints);
        command.env("REELRAFT_CA", folder.join("data/tls/ca.pem"));
        command.env("REELRAFT_SECRET", SECRET).output().unwrap()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Has the node know a film, a key and a webhook; all that nobody else may read then.
fn confide(node: &Node, folder: &Path) -> Vec<String> {
    let begun = Instant::now();
    while !node.ask(folder, &["job", "list"]).status.success() {
        assert!(
            begun.elapsed() < Duration::from_secs(90),
            "it does not serve"
        );
        std::thread::sleep(Duration::from_millis(200));
    }
    let film = folder.join(NAME);
    fs::copy(clip(), &film).unwrap();
    let made = node.ask(
        folder,
        &["job", "submit", film.to_str().unwrap(), "--detach"],
    );
    succeed(&made);
    let key = node.ask(folder, &["key", "create", "ci", "--tenant", "studio"]);
    succeed(&key);
    let hook = [
        "webhook",
        "set",
        "http://127.0.0.1:9/told?token=tell-nobody",
    ];
    let hook = node.ask(folder, &[&hook[..], &["--tenant", "studio"]].concat());
    let authority = fs::read_to_string(folder.join("data/tls/node.pem")).unwrap();
    let private = authority.lines().nth(1).unwrap().to_string();
    let words: Vec<String> = text(&hook).split_whitespace().map(String::from).collect();
    let signs = words.into_iter().filter(|word| word.starts_with("whsec_"));
    let known = [SECRET, PEER_SECRET, NAME, "tell-nobody"].map(String::from);
    let own = [text(&key).trim().to_string(), private];
    known.into_iter().chain(own).chain(signs).collect()
}

#[test]
#[ignore = "long: make test-all"]
fn a_bundle_has_what_helps_and_no_secrets() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path();
    let node = Node::start(folder);
    let secrets = confide(&node, folder);
    let file = folder.join("bundle.tar");
    let bundle = ["debug", "bundle", file.to_str().unwrap()];
    let bundled = node.ask(folder, &bundle);
    succeed(&bundled);
    let told = String::from_utf8_lossy(&bundled.stderr).into_owned();
    assert!(told.contains("127.0.0.1:1 did not answer"), "{told}");
    let bytes = String::from_utf8_lossy(&fs::read(&file).unwrap()).into_owned();
    for secret in &secrets {
        assert!(
            !bytes.contains(secret.as_str()),
            "{secret} is in the bundle"
        );
    }
    for name in [
        "status.json",
        "versions.txt",
        "config.txt",
        "metrics.txt",
        "table.txt",
        "jobs.txt",
        "log.txt",
        "client/doctor.txt",
        "no-answer.txt",
    ] {
        assert!(bytes.contains(name), "{name} is missing");
    }
    for known in [
        "reelraft_committed_index",
        "violations: 0",
        "peer_secret",
        "(set)",
        "ffmpeg",
    ] {
        assert!(bytes.contains(known), "{known} is missing");
    }
    let named = [&bundle[..], &["--names", "--overwrite"]].concat();
    succeed(&node.ask(folder, &named));
    let bytes = fs::read(&file).unwrap();
    assert!(String::from_utf8_lossy(&bytes).contains(NAME), "asked for");
}
