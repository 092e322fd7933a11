//! Other people's crates, and the rooms that may name them.

use std::collections::BTreeMap;

use crate::{
    house::{House, is_below, is_test_path, product_modules},
    rooms::Mentions,
};

/// A crate that is not ours, and the only rooms that may name it.
const FOREIGN: &[(&str, &[&str])] = &[
    ("openraft", &["raft/consensus"]),
    ("raft_log", &["storage"]),
    ("sled", &["storage"]),
    (
        "tonic",
        &[
            "proto",
            "src/trust",
            "raft/consensus",
            "src/grpc",
            "src/cli",
            "src/server",
        ],
    ),
    ("tokio", &["proto", "src/trust", "raft/consensus", "src"]),
    (
        "clap",
        &[
            "src/main.rs",
            "src/config",
            "src/cli",
            "src/engine/mod.rs",
            "src/http/spec.rs",
            "src/http/spec_schema.rs",
        ],
    ),
    ("axum", &["src/http", "src/grpc/router.rs"]),
    ("reqwest", &["src/outside", "src/cli", "src/engine"]),
    (
        "rustls",
        &["src/trust", "src/outside", "src/cli", "src/engine"],
    ),
    ("rcgen", &["src/trust"]),
];

/// Names of other people's crates outside the rooms that may know them.
pub fn foreign_crates(house: &House) -> Vec<String> {
    let mut files: BTreeMap<(&str, &str), Mentions> = BTreeMap::new();
    for module in product_modules(house) {
        if module.test_only || is_test_path(&module.file) {
            continue;
        }
        for reference in &module.references {
            let named = FOREIGN.iter().find(|(name, _)| *name == reference.path[0]);
            let Some((name, rooms)) = named else { continue };
            if !rooms.iter().any(|room| is_below(&module.file, room)) {
                let mentions = files.entry((&module.file, name)).or_default();
                mentions.add(reference.line, &reference.path.join("::"));
            }
        }
    }
    let said = files
        .into_iter()
        .map(|((file, _), mentions)| format!("{file}:{mentions}"));
    said.collect()
}
