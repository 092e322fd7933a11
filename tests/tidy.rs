//! The house rules that a machine can hold: which room may import which, how
//! pure the model is, how long files are, and what the repo must not say.
#![allow(missing_docs, clippy::unwrap_used)]

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Longest file, in lines.
const LINES_MAX: usize = 500;

/// A folder, and the crates of ours that it must not name.
const ROOMS: [(&str, &[&str]); 7] = [
    (
        "proto",
        &[
            "reelraft_storage",
            "reelraft_model",
            "reelraft_consensus",
            "reelraft_media",
            "reelraft_cli",
        ],
    ),
    (
        "storage",
        &[
            "reelraft_proto",
            "reelraft_model",
            "reelraft_consensus",
            "reelraft_media",
            "reelraft_cli",
            "openraft",
            "tonic",
        ],
    ),
    (
        "raft/model",
        &[
            "reelraft_proto",
            "reelraft_storage",
            "reelraft_consensus",
            "reelraft_media",
            "reelraft_cli",
            "openraft",
            "tonic",
            "tokio",
        ],
    ),
    ("raft/consensus", &["reelraft_media", "reelraft_cli"]),
    (
        "src/media",
        &[
            "reelraft_proto",
            "reelraft_storage",
            "reelraft_consensus",
            "reelraft_cli",
            "openraft",
            "tonic",
        ],
    ),
    (
        "src/cli",
        &[
            "reelraft_storage",
            "reelraft_model",
            "reelraft_consensus",
            "reelraft_media",
            "openraft",
        ],
    ),
    ("src", &["openraft", "sled"]),
];

/// What the pure model must not contain.
const IMPURE: [&str; 10] = [
    "std::fs",
    "std::net",
    "std::time",
    "std::thread",
    "HashMap",
    "HashSet",
    "async ",
    "f32",
    "f64",
    "rand::",
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for file in fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            files(&path, found);
        } else if path.is_file() {
            found.push(path);
        }
    }
}

fn rust_files(folder: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    files(&root().join(folder), &mut found);
    found
        .into_iter()
        .filter(|path| path.extension().is_some_and(|ending| ending == "rs"))
        .map(|path| {
            let name = path.strip_prefix(root()).unwrap().display().to_string();
            (name, fs::read_to_string(path).unwrap())
        })
        .collect()
}

#[test]
fn rooms_import_only_what_they_may() {
    for (room, forbidden) in ROOMS {
        for (name, text) in rust_files(room) {
            // Nested crates have a rule of their own, tests may use more.
            let nested =
                room == "src" && (name.starts_with("src/media/") || name.starts_with("src/cli/"));
            if nested || name.contains("/tests/") {
                continue;
            }
            for line in text
                .lines()
                .filter(|line| !line.trim_start().starts_with("//"))
            {
                // What stands in a string, as in a log filter, is no import.
                let code: String = line.split('"').step_by(2).collect();
                for word in forbidden {
                    let named = code.contains(&format!("{word}::"))
                        || code.contains(&format!("use {word}"));
                    assert!(!named, "{name} names {word}: {line}");
                }
            }
        }
    }
}

#[test]
fn the_model_is_pure() {
    for (name, text) in rust_files("raft/model/src") {
        for line in text
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"))
        {
            for word in IMPURE {
                assert!(!line.contains(word), "{name} is not pure: {line}");
            }
        }
    }
}

#[test]
fn one_file_starts_processes_for_media() {
    let starters: Vec<String> = rust_files("src/media")
        .into_iter()
        .filter(|(name, text)| !name.contains("/tests/") && text.contains("Command::new"))
        .map(|(name, _)| name)
        .collect();
    assert_eq!(starters.len(), 1, "{starters:?}");
}

#[test]
fn files_open_with_their_purpose_and_stay_short() {
    for (name, text) in rust_files("") {
        assert!(
            text.starts_with("//!"),
            "{name} does not say what it is for"
        );
        let lines = text.lines().count();
        assert!(lines <= LINES_MAX, "{name} has {lines} lines");
    }
}

#[test]
fn nothing_stands_in_for_work() {
    let words = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("unimplemented", "!("),
        concat!("to", "do!("),
    ];
    for (name, text) in rust_files("") {
        for word in words {
            assert!(!text.contains(word), "{name} contains {word}");
        }
    }
}
