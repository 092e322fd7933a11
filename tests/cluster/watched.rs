//! A folder that a node watches, as its settings say.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use reelraft_harness::{binary, frames_of, make_clip};

use crate::backup::Alone;

/// How long a film may take, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

fn drop_film(folder: &Path, name: &str) {
    let film = folder.join(name);
    make_clip(&film, 1, "160x90");
    fs::rename(&film, folder.join("in").join(name)).unwrap();
}

fn wait_for(path: &Path) {
    let begun = Instant::now();
    while !path.exists() {
        let log = fs::read_to_string(path.ancestors().nth(2).unwrap().join("node.log"));
        assert!(begun.elapsed() < PATIENCE, "{path:?}: {}", log.unwrap());
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// The node speaks by TLS, is killed before it has done the second film, and is started
/// again.
#[test]
fn a_node_watches_a_folder_of_its_settings() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (films, out, done) = (folder.join("in"), folder.join("out"), folder.join("done"));
    for made in [&films, &out, &done] {
        fs::create_dir(made).unwrap();
    }
    let config = folder.join("node.toml");
    let watch = format!(
        "tls = true\n[[watch]]\nfolder = {films:?}\nto = {out:?}\ndone = 'move={}'\n\
         settle = '1s'\nscan_every = '300ms'\npreset = 'ultrafast'\n",
        done.display()
    );
    refused(folder, &watch);
    fs::write(&config, watch).unwrap();
    let (data, settings) = (folder.join("node"), ["--config", config.to_str().unwrap()]);
    let node = Alone::start(&data, &settings);
    drop_film(folder, "first.mp4");
    wait_for(&done.join("first.mp4"));
    drop_film(folder, "second.mp4");
    // Its job is made, and may have ended or not.
    let authority = data.join("tls/ca.pem");
    let jobs = |node: &Alone| {
        let jobs = node.json(&["job", "list", "--ca", authority.to_str().unwrap()]);
        jobs.map_or(0, |jobs| jobs["jobs"].as_array().unwrap().len())
    };
    let begun = Instant::now();
    while jobs(&node) < 2 {
        assert!(begun.elapsed() < PATIENCE, "the second job is made");
        std::thread::sleep(Duration::from_millis(50));
    }
    drop(node);
    let node = Alone::start(&data, &settings);
    wait_for(&done.join("second.mp4"));
    let outputs = fs::read_dir(&out).unwrap().flatten();
    let outputs: Vec<_> = outputs.map(|entry| entry.path()).collect();
    let films = outputs.iter().filter(|path| path.extension().is_some());
    assert_eq!(films.count(), 2, "{outputs:?}");
    for name in ["first.mp4", "second.mp4"] {
        assert_eq!(frames_of(&out.join(name)), 24, "{name}");
    }
    assert_eq!(jobs(&node), 2);
}

/// What `watch-folder` does not know is refused before the node begins, by name.
fn refused(folder: &Path, watch: &str) {
    let config = folder.join("bad.toml");
    fs::write(&config, format!("{watch}codecc = 'hevc'\n")).unwrap();
    for command in [&["node"][..], &["config", "show"]] {
        let refused = Command::new(binary())
            .args(command)
            .arg("--config")
            .arg(&config)
            .arg("--data")
            .arg(folder.join("none"))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(said.contains("bad-config: [[watch]] 1: "), "{said}");
        assert!(said.contains("--codecc"), "{said}");
        assert!(!refused.status.success());
    }
}
