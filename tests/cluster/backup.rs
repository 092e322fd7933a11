//! A backup under load, all nodes destroyed, and another cluster made of it.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use reelraft_harness::{LocalCluster, Options, binary, blake3_of, free_ports};
use serde_json::Value;

use crate::{calm, newest, piped, succeed, transcode, wait_until_midway};

/// How long anything may take, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A node of its own, killed with the test.
pub struct Alone {
    process: Child,
    address: String,
}

impl Alone {
    /// Starts one with these settings.
    pub fn start(data: &Path, settings: &[&str]) -> Self {
        let address = format!("127.0.0.1:{}", free_ports(1));
        let log = fs::File::create(data.with_extension("log")).unwrap();
        let mut command = Command::new(binary());
        command.args(["node", "--slots", "1", "--listen", &address]);
        command.args(settings).arg("--data").arg(data);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        Alone {
            process: command.spawn().unwrap(),
            address,
        }
    }

    pub fn ask(&self, key: &str, args: &[&str]) -> Output {
        let mut command = Command::new(binary());
        command.args(args).stdin(Stdio::null());
        command.env("REELRAFT_ENDPOINTS", &self.address);
        command.env("REELRAFT_KEY", key).output().unwrap()
    }

    pub fn json(&self, args: &[&str]) -> Option<Value> {
        let output = self.ask("", &[args, &["-o", "json"]].concat());
        serde_json::from_slice(&output.stdout).ok()
    }

    /// The job, as soon as it is in a state.
    pub fn job_in(&self, id: &str, state: &str) -> Value {
        let begun = Instant::now();
        loop {
            let job = self.json(&["job", "show", id]).unwrap_or_default();
            if job["state"] == state {
                return job;
            }
            assert!(begun.elapsed() < PATIENCE, "not {state}: {job}");
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    fn fetch(&self, id: &str, out: &Path) -> String {
        let out = out.to_str().unwrap();
        succeed(&self.ask("", &["job", "fetch", id, out, "--overwrite"]));
        blake3_of(Path::new(out))
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn restore(file: &Path, more: &[&str]) -> Output {
    let mut command = Command::new(binary());
    command.arg("restore").arg(file).args(more);
    command.stdin(Stdio::null()).output().unwrap()
}

fn backup(cluster: &LocalCluster, file: &Path, media: &str) -> Value {
    let begun = Instant::now();
    let made = cluster.json(&[
        "cluster",
        "backup",
        file.to_str().unwrap(),
        "--media",
        media,
    ]);
    println!("backup of {media}: {:?}, {made}", begun.elapsed());
    let mode = fs::metadata(file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "it holds secrets");
    assert_eq!(made["incomplete"], serde_json::json!([]));
    made
}

/// Of what is cut or changed nothing is taken.
fn refuses_what_is_not_whole(file: &Path, folder: &Path) {
    let whole = fs::read(file).unwrap();
    let (cut, flipped) = (folder.join("cut"), folder.join("flipped"));
    fs::write(&cut, &whole[..whole.len() - 7]).unwrap();
    let mut bytes = whole.clone();
    bytes[whole.len() / 2] ^= 1;
    fs::write(&flipped, bytes).unwrap();
    let data = folder.join("none");
    for (file, kind) in [(&cut, "backup-truncated"), (&flipped, "backup-damaged")] {
        let refused = restore(file, &["--data", data.to_str().unwrap()]);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(said.contains(&format!("error: {kind}: ")), "{said}");
        assert!(!data.exists(), "nothing was begun");
    }
}

/// Two jobs, one of them in the midst, and a key; gives the jobs' ids, the key, and both
/// backups, when all nodes are gone.
fn backed_up(folder: &Path) -> (String, String, String, [PathBuf; 2]) {
    let options = Options {
        slots: Some(1),
        ..Default::default()
    };
    let mut cluster = LocalCluster::start(&folder.join("old"), options);
    let key = [
        "key", "create", "ci", "--tenant", "studio", "--scope", "read",
    ];
    let key = cluster.json(&key)["text"].as_str().unwrap().to_string();
    let done = transcode(&cluster, &folder.join("before.mp4"));
    succeed(&done.wait_with_output().unwrap());
    let id = |cluster: &LocalCluster| newest(cluster).unwrap()["id"].as_str().unwrap().to_string();
    let finished = id(&cluster);
    let mut following = transcode(&cluster, &folder.join("unseen.mkv"));
    wait_until_midway(&cluster, 2);
    let running = id(&cluster);
    let files = ["all", "outputs"].map(|media| {
        let file = folder.join(format!("{media}.backup"));
        let made = backup(&cluster, &file, media);
        assert_eq!(made["jobs"], 2);
        file
    });
    assert_ne!(
        newest(&cluster).unwrap()["state"],
        "succeeded",
        "under load"
    );
    let asked = piped(&cluster, &["cluster", "backup", files[0].to_str().unwrap()]);
    let refused = asked.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("it exists already"), "{said}");
    cluster.kill_all();
    let _ = following.kill();
    let _ = following.wait();
    drop(cluster);
    fs::remove_dir_all(folder.join("old")).unwrap();
    (finished, running, key, files)
}

#[test]
#[ignore = "long: make test-all"]
fn a_backup_under_load_comes_back_when_all_nodes_are_gone() {
    let (mp4, mkv) = (calm("mp4"), calm("mkv"));
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path();
    let (finished, running, key, [all, outputs]) = backed_up(folder);
    refuses_what_is_not_whole(&all, folder);

    let looked = restore(&all, &[]);
    succeed(&looked);
    let said = String::from_utf8_lossy(&looked.stdout).into_owned();
    assert!(
        said.contains("finished jobs with their films: 1\n"),
        "{said}"
    );
    assert!(
        said.contains(&running) && said.contains("keys: 1\n"),
        "{said}"
    );

    let data = folder.join("new");
    let begun = Instant::now();
    let restored = restore(&all, &["--data", data.to_str().unwrap()]);
    succeed(&restored);
    print!("{}", String::from_utf8_lossy(&restored.stdout));
    let again = restore(&all, &["--data", data.to_str().unwrap()]);
    assert!(!again.status.success(), "a folder in use is left alone");
    let node = Alone::start(&data, &[]);
    assert!(node.job_in(&finished, "succeeded")["output_hash"] == *mp4);
    println!("restored and serving after {:?}", begun.elapsed());
    assert_eq!(node.fetch(&finished, &folder.join("again.mp4")), mp4);
    succeed(&node.ask("", &["job", "proof", &finished]));
    succeed(&node.ask(&key, &["job", "list"]));
    let listed = node.json(&["job", "list"]).unwrap();
    assert_eq!(listed["jobs"].as_array().unwrap().len(), 2);
    node.job_in(&running, "succeeded");
    assert_eq!(node.fetch(&running, &folder.join("made.mkv")), mkv);
    drop(node);

    // Without its source the other job is given up, by name.
    let data = folder.join("outputs");
    succeed(&restore(&outputs, &["--data", data.to_str().unwrap()]));
    let node = Alone::start(&data, &[]);
    let lost = node.job_in(&running, "failed");
    assert_eq!(lost["problem"]["kind"], "source-not-in-backup");
    assert_eq!(node.fetch(&finished, &folder.join("again.mp4")), mp4);
}
