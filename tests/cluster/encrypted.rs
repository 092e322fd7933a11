//! Nodes that speak by TLS, each behind a wiretap: a film through the death of the
//! leader, nothing readable on the wires, strangers refused by name, and other keys
//! and another authority without a pause.

use std::{
    fs::File,
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use reelraft_harness::{blake3_of, free_ports, tail};
use reelraft_proto::v1::{self, peer_client::PeerClient};
use reelraft_trust::{Anchor, Authority, Holder, Own, Trust, new_key, public_key};
use tonic::{Code, transport::Endpoint};

use super::{calm, clip, succeed};

const NODES: u16 = 3;
const SECRET: &str = "what-clients-alone-know";
const PEER_SECRET: &str = "what-nodes-alone-know";

/// The name that the film goes by: nobody may read it on the way.
const NAME: &str = "unreleased-and-confidential.mp4";

/// How long anything may take, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// Listens in on all that goes to a port.
struct Wiretap {
    address: String,
    heard: Arc<Mutex<Vec<u8>>>,
}

impl Wiretap {
    fn before(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let heard: Arc<Mutex<Vec<u8>>> = Arc::default();
        let ears = heard.clone();
        thread::spawn(move || {
            for caller in listener.incoming().flatten() {
                let Ok(node) = TcpStream::connect(("127.0.0.1", port)) else {
                    continue;
                };
                let (back, forth) = (caller.try_clone().unwrap(), node.try_clone().unwrap());
                let [one, other] = [(caller, forth), (node, back)];
                for (from, to) in [one, other] {
                    let ears = ears.clone();
                    thread::spawn(move || pass(from, to, &ears));
                }
            }
        });
        Wiretap { address, heard }
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, ears: &Mutex<Vec<u8>>) {
    let mut bytes = [0; 16 << 10];
    while let Ok(read) = from.read(&mut bytes)
        && read > 0
    {
        ears.lock().unwrap().extend_from_slice(&bytes[..read]);
        if to.write_all(&bytes[..read]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}

/// Three nodes that know each other by their wiretaps.
struct Tapped {
    folder: PathBuf,
    ports: u16,
    taps: Vec<Wiretap>,
    nodes: Vec<Option<Child>>,
}

impl Tapped {
    fn start(folder: &Path) -> Self {
        let ports = free_ports(NODES);
        let mut cluster = Tapped {
            folder: folder.to_path_buf(),
            ports,
            taps: (ports..ports + NODES).map(Wiretap::before).collect(),
            nodes: Vec::new(),
        };
        cluster.nodes = (1..=NODES).map(|id| Some(cluster.node(id))).collect();
        cluster
    }

    fn node(&self, id: u16) -> Child {
        let taps = (1..).zip(&self.taps);
        let peers: Vec<String> = taps
            .map(|(id, tap)| format!("{id}={}", tap.address))
            .collect();
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log(id))
            .unwrap();
        Command::new(reelraft_harness::binary())
            .args(["node", "--tls", "true", "--id", &id.to_string()])
            .args(["--listen", &format!("127.0.0.1:{}", self.ports + id - 1)])
            .args(["--peers", &peers.join(",")])
            .arg("--data")
            .arg(self.data(id))
            .env("REELRAFT_SECRET", SECRET)
            .env("REELRAFT_PEER_SECRET", PEER_SECRET)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap()
    }

    fn data(&self, id: u16) -> PathBuf {
        self.folder.join(format!("n{id}"))
    }

    fn log(&self, id: u16) -> PathBuf {
        self.folder.join(format!("n{id}.log"))
    }

    fn authority_file(&self) -> PathBuf {
        self.data(1).join("tls/ca.pem")
    }

    fn endpoints(&self) -> String {
        let all: Vec<&str> = self.taps.iter().map(|tap| tap.address.as_str()).collect();
        all.join(",")
    }

    fn cli(&self, known_by: &str, args: &[&str]) -> Command {
        let mut command = Command::new(reelraft_harness::binary());
        command
            .args(args)
            .env("REELRAFT_ENDPOINTS", self.endpoints())
            .env("REELRAFT_SECRET", SECRET)
            .env("REELRAFT_CA", known_by)
            .stdin(Stdio::null());
        command
    }

    fn ask(&self, args: &[&str]) -> Output {
        let known_by = self.authority_file();
        self.cli(known_by.to_str().unwrap(), args).output().unwrap()
    }

    fn json(&self, args: &[&str]) -> serde_json::Value {
        let output = self.ask(&[args, &["-o", "json"]].concat());
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    }

    /// Waits until what a command prints as JSON is as it should be.
    #[track_caller]
    fn until(&self, args: &[&str], good: impl Fn(&serde_json::Value) -> bool) -> serde_json::Value {
        let started = Instant::now();
        loop {
            let found = self.json(args);
            if good(&found) {
                return found;
            }
            if started.elapsed() > PATIENCE {
                let logs = (1..=NODES).map(|id| std::fs::read_to_string(self.log(id)).unwrap());
                let logs: String = logs.map(|log| tail(&log, 30)).collect();
                panic!("{args:?} says {found}\n{logs}");
            }
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// Waits until all nodes have certificates of the present authority, as told last.
    #[track_caller]
    fn until_certified(&self, more: impl Fn(&serde_json::Value) -> bool) -> serde_json::Value {
        self.until(&["cluster", "cert", "show"], |found| {
            let nodes = found["certificates"]
                .as_array()
                .cloned()
                .unwrap_or_default();
            let good = |node: &serde_json::Value| {
                node["renewed"] == true && node["authority_sha256"] == found["authority_sha256"]
            };
            nodes.len() >= usize::from(NODES) && nodes.iter().all(good) && more(found)
        })
    }

    #[track_caller]
    fn until_logged(&self, words: &str) {
        let started = Instant::now();
        loop {
            let logs = (1..=NODES).map(|id| std::fs::read_to_string(self.log(id)).unwrap());
            let logs: String = logs.collect();
            if logs.contains(words) {
                return;
            }
            assert!(
                started.elapsed() < PATIENCE,
                "nobody logs '{words}': {}",
                tail(&logs, 60)
            );
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// Fails if any wire carried any of these.
    fn carried_none(&self, secrets: &[(&str, &[u8])]) {
        let heard: Vec<Vec<u8>> = self
            .taps
            .iter()
            .map(|tap| tap.heard.lock().unwrap().clone())
            .collect();
        let total: usize = heard.iter().map(Vec::len).sum();
        let film = std::fs::metadata(clip()).unwrap().len() as usize;
        assert!(total > 2 * film, "the wiretaps heard {total} bytes only");
        for (what, secret) in secrets {
            for wire in &heard {
                assert!(!contains(wire, secret), "{what} can be read on a wire");
            }
        }
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    let first = part[0];
    let starts = bytes.iter().enumerate().filter(|(_, byte)| **byte == first);
    starts
        .map(|(at, _)| &bytes[at..])
        .any(|rest| rest.starts_with(part))
}

impl Drop for Tapped {
    fn drop(&mut self) {
        for node in self.nodes.iter_mut().flatten() {
            let _ = node.kill();
            let _ = node.wait();
        }
    }
}

/// Asks one of Raft's questions, as somebody with a certificate or without.
async fn ask_as_a_node(address: &str, own: Option<&Trust>, known_by: &Anchor) -> tonic::Status {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    let channel = match own {
        Some(own) => own.channel(&endpoint, None).await,
        None => endpoint.connect_with_connector(known_by.connector()).await,
    };
    let channel = match channel {
        Ok(channel) => channel,
        Err(error) => return tonic::Status::unavailable(format!("{error:?}")),
    };
    let secret = reelraft_proto::auth::Secret::new(PEER_SECRET).unwrap();
    let asked = v1::IdentifyRequest::default();
    let mut client = PeerClient::with_interceptor(channel, secret);
    client.identify(asked).await.unwrap_err()
}

/// What somebody has who knows the nodes' secret and comes after the founding.
fn latecomer(known_by: &Path, cluster: &str) -> Trust {
    let founding = Authority::of_secret(PEER_SECRET).unwrap();
    let (key, holder) = (new_key().unwrap(), Holder::node(cluster, 9, "theirs"));
    let now = std::time::SystemTime::now();
    let first = founding
        .sign(&holder, &[], &public_key(&key).unwrap(), now)
        .unwrap();
    let chain = [vec![first], founding.chain(None)].concat();
    let roots = std::fs::read(known_by).unwrap();
    let trust = Trust::on();
    let believed = trust.change(|view| {
        view.own = Some(Arc::new(Own::new(key, chain, 0)?));
        view.trust_only(reelraft_trust::certificates_in("it", &roots)?)
    });
    believed.unwrap();
    trust
}

#[test]
fn a_film_crosses_tapped_wires_and_nobody_can_read_it() {
    let calm = calm("mp4");
    let folder = tempfile::tempdir().unwrap();
    let mut cluster = Tapped::start(folder.path());
    let started = Instant::now();
    while !cluster.authority_file().exists() {
        assert!(started.elapsed() < PATIENCE, "no node has an authority");
        thread::sleep(Duration::from_millis(50));
    }
    // The authority of the founding has gone, as all have certificates of the next.
    let founded = cluster.until_certified(|found| found["former_authority_sha256"].is_null());

    let source = folder.path().join(NAME);
    std::fs::copy(clip(), &source).unwrap();
    let (out, known_by) = (folder.path().join("out.mp4"), cluster.authority_file());
    let (source, out_text) = (source.to_str().unwrap(), out.to_str().unwrap());
    let mut transcoding = cluster
        .cli(known_by.to_str().unwrap(), &["transcode", source, out_text])
        .args(["--preset", "medium", "--shard-seconds", "1"])
        .spawn()
        .unwrap();
    let listed = cluster.until(&["job", "list"], |jobs| {
        jobs["jobs"][0]["shards_done"].as_u64() > Some(0)
    });
    let leader = cluster.json(&["cluster", "status"])["leader_id"]
        .as_u64()
        .unwrap_or(1);
    if let Some(mut node) = cluster.nodes[leader as usize - 1].take() {
        node.kill().unwrap();
        node.wait().unwrap();
    }
    assert!(transcoding.wait().unwrap().success(), "{listed}");
    assert_eq!(blake3_of(&out), calm);
    cluster.nodes[leader as usize - 1] = Some(cluster.node(leader as u16));

    strangers_are_refused(&cluster);
    a_newcomer_comes_and_goes(&cluster);
    keys_and_authority_change(&cluster, founded["authority_sha256"].as_str().unwrap());

    let film = std::fs::read(clip()).unwrap();
    let made = std::fs::read(&out).unwrap();
    cluster.carried_none(&[
        ("the clients' secret", SECRET.as_bytes()),
        ("the nodes' secret", PEER_SECRET.as_bytes()),
        ("the film's name", NAME.as_bytes()),
        ("the source", &film[film.len() / 2..][..24]),
        ("the output", &made[made.len() / 2..][..24]),
        ("the protocol", b"PRI * HTTP/2.0"),
        ("a header", b"reelraft-secret"),
        ("a node's name", b"reelraft node"),
        ("a node's id", b"reelraft://"),
    ]);
}

fn strangers_are_refused(cluster: &Tapped) {
    let known_by = cluster.authority_file();
    let anchor = Anchor::parse(known_by.to_str().unwrap()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let address = &cluster.taps[0].address;
    let status = cluster.until(&["cluster", "status"], |it| it["cluster_id"].is_string());
    let id = status["cluster_id"].as_str().unwrap();
    runtime.block_on(async {
        // The node that was killed may have to come up yet.
        let started = Instant::now();
        let nobody = loop {
            let answer = ask_as_a_node(address, None, &anchor).await;
            if answer.code() != Code::Unavailable || started.elapsed() > PATIENCE {
                break answer;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        };
        assert_eq!(nobody.code(), Code::Unauthenticated, "{nobody:?}");
        let latecomer = latecomer(&known_by, id);
        ask_as_a_node(address, Some(&latecomer), &anchor).await;
    });
    cluster.until_logged("somebody without a certificate asks what nodes alone may");
    cluster.until_logged("node 9 (disk theirs) of cluster");
    cluster.until_logged("was signed by an authority that is not trusted here");
    let foreign = format!("sha256:{}", "0".repeat(64));
    let refused = cluster
        .cli(&foreign, &["cluster", "status"])
        .output()
        .unwrap();
    let refused = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        refused.starts_with("error: wrong-certificate: "),
        "{refused}"
    );
}

fn a_newcomer_comes_and_goes(cluster: &Tapped) {
    let made = cluster.until(&["cluster", "token", "create"], |made| {
        made["token"].is_string()
    });
    let token = made["token"].as_str().unwrap();
    let (rest, authority) = token.rsplit_once('.').unwrap();
    assert_eq!(authority.len(), 64, "a token names the authority");
    let listen = format!("127.0.0.1:{}", free_ports(1));
    let log = cluster.folder.join("newcomer.log");
    let start = |token: &str| {
        let to = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .unwrap();
        Command::new(reelraft_harness::binary())
            .args([
                "node",
                "--listen",
                &listen,
                "--join",
                &cluster.taps[1].address,
            ])
            .args(["--token", token, "--data"])
            .arg(cluster.folder.join("newcomer"))
            .stdin(Stdio::null())
            .stdout(to.try_clone().unwrap())
            .stderr(to)
            .spawn()
            .unwrap()
    };
    let logged = |words: &str| {
        let started = Instant::now();
        while !std::fs::read_to_string(&log).unwrap().contains(words) {
            assert!(started.elapsed() < PATIENCE, "it does not log '{words}'");
            thread::sleep(Duration::from_millis(100));
        }
    };
    let mut fooled = start(&format!("{rest}.{}", "0".repeat(64)));
    logged("is not what the token names");
    fooled.kill().unwrap();
    fooled.wait().unwrap();

    let mut newcomer = start(token);
    let known = cluster.until_certified(|found| {
        found["certificates"]
            .as_array()
            .is_some_and(|nodes| nodes.len() > usize::from(NODES))
    });
    let id = known["certificates"][usize::from(NODES)]["node"].to_string();
    newcomer.kill().unwrap();
    newcomer.wait().unwrap();
    let started = Instant::now();
    while !cluster
        .ask(&["cluster", "remove", &id, "--dead"])
        .status
        .success()
    {
        assert!(started.elapsed() < PATIENCE, "it can't be removed");
        thread::sleep(Duration::from_millis(200));
    }
    // Until then it may come to know by the log that it was removed.
    cluster.until_logged(&format!("the members were changed change=Drop({id})"));
    let mut newcomer = start(token);
    cluster.until_logged("is that of a node that was removed");
    assert_eq!(end_of(&mut newcomer).code(), Some(7), "it ends by itself");
}

/// How a node ends that is to end by itself; one that does not is killed.
fn end_of(node: &mut std::process::Child) -> std::process::ExitStatus {
    let started = Instant::now();
    loop {
        if let Some(status) = node.try_wait().unwrap() {
            return status;
        }
        if started.elapsed() > PATIENCE {
            node.kill().unwrap();
        }
        thread::sleep(Duration::from_millis(100));
    }
}

fn keys_and_authority_change(cluster: &Tapped, first: &str) {
    let before = cluster.until_certified(|_| true);
    succeed(&cluster.ask(&["cluster", "cert", "rotate"]));
    let renewed = cluster.until_certified(|found| {
        let hash =
            |found: &serde_json::Value, at: usize| found["certificates"][at]["sha256"].clone();
        (0..usize::from(NODES)).all(|at| hash(found, at) != hash(&before, at))
    });
    assert_eq!(renewed["authority_sha256"], first);

    succeed(&cluster.ask(&["cluster", "cert", "rotate-ca"]));
    let both = cluster.until_certified(|found| found["authority_sha256"] != first);
    assert_eq!(both["former_authority_sha256"], first);
    let old = format!("sha256:{first}");
    succeed(&cluster.cli(&old, &["cluster", "status"]).output().unwrap());
    let finish = ["cluster", "cert", "rotate-ca", "--finish"];
    cluster.until(&finish, |found| {
        found["former_authority_sha256"].is_null() && found.is_object()
    });
    let started = Instant::now();
    while cluster
        .cli(&old, &["cluster", "status"])
        .output()
        .unwrap()
        .status
        .success()
    {
        assert!(
            started.elapsed() < PATIENCE,
            "the former authority is trusted still"
        );
        thread::sleep(Duration::from_millis(100));
    }
    cluster.until(&["cluster", "status"], |status| {
        status["leader_id"].as_u64() > Some(0)
    });
}
