//! A watched folder while nodes and the watcher itself are killed: each film once.

use std::{
    path::{Path, PathBuf},
    process::Child,
    time::{Duration, Instant},
};

use reelraft_harness::{LocalCluster, Options, frames_of, make_clip};

use crate::piped;

/// Films dropped.
const FILMS: usize = 6;

/// How long all of it may take, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(240);

/// Ended with the test, however that ends.
struct Watcher(Child);

impl Drop for Watcher {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn watcher(cluster: &LocalCluster, films: &Path, out: &Path) -> Watcher {
    let done = format!("move={}", out.parent().unwrap().join("done").display());
    let (films, out) = (films.to_str().unwrap(), out.to_str().unwrap());
    let words = ["watch-folder", films, "--to", out, "--done", &done];
    let pace = [
        "--settle",
        "1s",
        "--scan-every",
        "300ms",
        "--preset",
        "ultrafast",
    ];
    Watcher(piped(cluster, &[&words[..], &pace].concat()))
}

fn outputs(out: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(out).unwrap().flatten();
    let paths = entries.map(|entry| entry.path());
    let mut films: Vec<PathBuf> = paths
        .filter(|path| path.extension().is_some_and(|ending| ending == "mp4"))
        .collect();
    films.sort();
    films
}

/// Films come slowly, each written in two halves. Meanwhile a node and the first of
/// two watchers are killed, and that one is started again.
#[test]
#[ignore = "long: make test-all"]
fn each_film_of_a_watched_folder_is_done_once() {
    let folder = tempfile::tempdir().unwrap();
    let (films, out) = (folder.path().join("in"), folder.path().join("out"));
    std::fs::create_dir_all(&films).unwrap();
    std::fs::create_dir_all(&out).unwrap();
    let cluster = LocalCluster::start(folder.path(), Options::default());
    let mut first = watcher(&cluster, &films, &out);
    let second = watcher(&cluster, &films, &out);
    for number in 0..FILMS {
        let clip = folder.path().join("clip.mp4");
        make_clip(&clip, 1 + number as u32 % 2, "160x90");
        let bytes = std::fs::read(&clip).unwrap();
        let film = films.join(format!("film {number}.mp4"));
        std::fs::write(&film, &bytes[..bytes.len() / 2]).unwrap();
        std::thread::sleep(Duration::from_millis(500));
        std::fs::write(&film, &bytes).unwrap();
        match number {
            2 => cluster.kill(cluster.leader()),
            3 => {
                let _ = first.0.kill();
                let _ = first.0.wait();
                first = watcher(&cluster, &films, &out);
            }
            _ => {}
        }
    }
    let started = Instant::now();
    while std::fs::read_dir(&films).unwrap().count() > 0 {
        assert!(started.elapsed() < PATIENCE, "{:?}", outputs(&out));
        std::thread::sleep(Duration::from_millis(200));
    }
    drop((first, second));
    let outputs = outputs(&out);
    assert_eq!(outputs.len(), FILMS, "{outputs:?}");
    for (number, output) in outputs.iter().enumerate() {
        let frames = 24 * (1 + number as u64 % 2);
        assert_eq!(frames_of(output), frames, "{output:?}");
    }
    let done = std::fs::read_dir(folder.path().join("done")).unwrap();
    assert_eq!(done.count(), FILMS);
    let jobs = cluster.json(&["job", "list"]);
    let jobs = jobs["jobs"].as_array().unwrap();
    let good = jobs.iter().filter(|job| job["state"] == "succeeded");
    assert_eq!(good.count(), FILMS, "{jobs:?}");
}
