//! Programs that are no good in place of ffmpeg or ffprobe: `doctor` and the
//! node itself name them, and the other nodes go on.

use std::{
    fs::File,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use reelraft_harness::{LocalCluster, Options, binary, make_clip};

use crate::{lost::words_of, succeed};

/// How long a node may take to say what it thinks of its tools. One that hangs
/// is given half a minute, and a busy machine takes its own.
const PATIENCE: Duration = Duration::from_secs(120);

/// Tools that are no good.
struct Bad {
    name: &'static str,
    variable: &'static str,
    /// What the variable says: a program's text, or else a path.
    script: Option<&'static str>,
    path: &'static str,
    /// What `doctor` and the node's log say.
    doctor: &'static str,
    log: &'static str,
}

const BAD: [Bad; 5] = [
    Bad {
        name: "lacks",
        variable: "REELRAFT_FFMPEG",
        script: Some(
            "for word in \"$@\"; do case $word in libx265|libsvtav1) echo \"[fatal] Unknown encoder '$word'\" >&2; exit 1;; esac; done\nexec /usr/bin/ffmpeg \"$@\"",
        ),
        path: "",
        doctor: "this ffmpeg has no encoder libsvtav1",
        log: "this node can't make av1",
    },
    Bad {
        name: "no-ffprobe",
        variable: "REELRAFT_FFPROBE",
        script: None,
        path: "/no/such/ffprobe",
        doctor: "REELRAFT_FFPROBE names /no/such/ffprobe, which is no program",
        log: "REELRAFT_FFPROBE names /no/such/ffprobe, which is no program",
    },
    Bad {
        name: "directory",
        variable: "REELRAFT_FFMPEG",
        script: None,
        path: "/usr/bin",
        doctor: "REELRAFT_FFMPEG names /usr/bin, which is no program",
        log: "REELRAFT_FFMPEG names /usr/bin, which is no program",
    },
    Bad {
        name: "hangs",
        variable: "REELRAFT_FFMPEG",
        script: Some("exec sleep 1000"),
        path: "",
        doctor: "made no progress for 15 s",
        log: "made no progress for 15 s",
    },
    Bad {
        name: "nonsense",
        variable: "REELRAFT_FFMPEG",
        script: Some("echo nonsense"),
        path: "",
        doctor: "it does not say its version",
        log: "it does not say its version",
    },
];

impl Bad {
    /// What the variable says; a script is written to `folder`.
    fn value(&self, folder: &Path) -> String {
        let Some(script) = self.script else {
            return self.path.into();
        };
        let path = folder.join(self.name);
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        path.to_str().unwrap().to_string()
    }

    /// `doctor` names it, and ends.
    fn is_named_by_doctor(&self, value: &str) {
        let doctor = Command::new(binary())
            .args(["doctor", "--data", "/nowhere", "--ports", "0"])
            .env(self.variable, value)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&doctor.stdout);
        assert_eq!(doctor.status.code(), Some(1), "{}: {said}", self.name);
        assert!(said.contains(self.doctor), "{}: {said}", self.name);
    }
}

/// A node's process, killed with the test.
struct Node(Child);

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
#[ignore = "long: make test-all"]
fn tools_that_are_no_good_are_named_and_other_jobs_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let clip = folder.path().join("clip.mp4");
    make_clip(&clip, 2, "160x90");
    let values = BAD.each_ref().map(|bad| bad.value(folder.path()));
    std::thread::scope(|scope| {
        for (bad, value) in BAD.iter().zip(&values) {
            scope.spawn(move || bad.is_named_by_doctor(value));
        }
        scope.spawn(|| nodes_go_on(folder.path(), &clip, &values));
    });
}

/// The third node gets one after the other.
fn nodes_go_on(folder: &Path, clip: &Path, values: &[String]) {
    let place = folder.join("cluster");
    let options = Options {
        restart: false,
        ..Default::default()
    };
    let cluster = LocalCluster::start(&place, options);
    let words = words_of(cluster.pid(3));
    cluster.kill(3);
    for (bad, value) in BAD.iter().zip(values) {
        let log = folder.join(format!("{}.log", bad.name));
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).current_dir(&place);
        command.env(bad.variable, value).stdout(Stdio::null());
        let node = Node(command.stderr(File::create(&log).unwrap()).spawn().unwrap());
        let out = folder.join(format!("{}.mp4", bad.name));
        let (clip, out) = (clip.to_str().unwrap(), out.to_str().unwrap());
        let args = ["transcode", clip, out, "--codec", "av1", "--preset", "12"];
        succeed(&cluster.run(&args));
        let started = Instant::now();
        loop {
            let said = std::fs::read_to_string(&log).unwrap();
            if said.contains(bad.log) {
                break;
            }
            assert!(started.elapsed() < PATIENCE, "{}: {said}", bad.name);
            std::thread::sleep(Duration::from_millis(50));
        }
        drop(node);
    }
}
