//! A watched folder while nodes and the watcher itself are killed: each film once.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command},
    time::{Duration, Instant, SystemTime},
};

use reelraft_harness::{LocalCluster, Options, frames_of, make_clip};

use crate::{piped, succeed};

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

/// A sound film, and three that are not to be replaced.
const ODD: [&str; 4] = ["cut.mkv", "two.mkv", "whole.mkv", "zeros.mkv"];

/// Makes them, as nobody has touched them for an hour: one that has come half, one with
/// two videos, a sound one, and one with zeros in place of its end.
fn make_odd(films: &Path) {
    let whole = films.join("whole.mkv");
    make_clip(&whole, 4, "160x90");
    let bytes = std::fs::read(&whole).unwrap();
    let (head, tail) = bytes.split_at(bytes.len() / 3);
    std::fs::write(films.join("cut.mkv"), head).unwrap();
    let zeros = [head, &vec![0; tail.len()]].concat();
    std::fs::write(films.join("zeros.mkv"), zeros).unwrap();
    let two = Command::new("ffmpeg")
        .args(["-nostdin", "-v", "error", "-i"])
        .arg(&whole)
        .args(["-map", "0:v", "-map", "0:v", "-map", "0:a", "-c", "copy"])
        .arg(films.join("two.mkv"))
        .status();
    assert!(two.unwrap().success());
    for name in ODD {
        let file = std::fs::File::options().write(true).open(films.join(name));
        let hour_ago = SystemTime::now() - Duration::from_secs(3600);
        file.unwrap().set_modified(hour_ago).unwrap();
    }
}

#[test]
fn no_source_goes_for_a_damaged_film_or_for_less_than_all_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let (films, out) = (folder.path().join("films"), folder.path().join("out"));
    std::fs::create_dir_all(&films).unwrap();
    std::fs::create_dir_all(&out).unwrap();
    make_odd(&films);
    let content = |name: &str| std::fs::read(films.join(name)).ok();
    let before = ODD.map(content);
    let options = Options {
        nodes: 1,
        ..Options::default()
    };
    let cluster = LocalCluster::start(folder.path(), options);
    let (films_word, out_word) = (films.to_str().unwrap(), out.to_str().unwrap());
    let fast = ["--preset", "ultrafast"];

    let replace = ["transcode", films_word, "--replace", "--crf", "40"];
    let ended = cluster.run(&[&replace[..], &fast, &["-o", "json"]].concat());
    assert_eq!(ended.status.code(), Some(1), "two are damaged");
    let said = String::from_utf8_lossy(&ended.stdout).into_owned();
    let after = ODD.map(content);
    let stayed: Vec<bool> = (0..4).map(|at| before[at] == after[at]).collect();
    assert_eq!(stayed, [true, true, false, true], "{said}");
    for (name, end, why) in [
        ("cut.mkv", "failed", "the source is damaged"),
        ("zeros.mkv", "failed", "the source is damaged"),
        (
            "two.mkv",
            "skipped",
            "video track 2 (h264, 160x90) is left out",
        ),
        ("whole.mkv", "done", ""),
    ] {
        let line = said.lines().find(|line| line.contains(name)).unwrap();
        let told: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(told["end"], end, "{line}");
        assert!(
            told["why"].as_str().unwrap_or_default().contains(why),
            "{line}"
        );
    }

    let watch = ["watch-folder", films_word, "--to", out_word, "--once"];
    let pace = [
        "--done",
        "delete",
        "--settle",
        "1s",
        "--scan-every",
        "300ms",
    ];
    let watch = [&watch[..], &pace, &fast].concat();
    assert_eq!(cluster.run(&watch).status.code(), Some(1));
    // Of the two that are left the videos beside are no damage.
    assert_eq!(
        ODD.map(|name| content(name).is_some()),
        [true, false, false, true]
    );
    succeed(&cluster.run(&[&watch[..], &["--allow-damaged"]].concat()));
    assert_eq!(ODD.map(|name| content(name).is_some()), [false; 4]);
    assert_eq!(outputs(&out).len(), 4);
}
