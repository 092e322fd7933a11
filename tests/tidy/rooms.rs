//! Who may import whom, and the checks of it.
//!
//! ```text
//! main -> server -> grpc | http -> api -> { node::context, data, consensus }
//! node -> { data, media, consensus }      raft/consensus -> storage
//! media:  facts <- ffmpeg <- video, audio, extras <- analysis, output
//! cli:    commands -> library -> transfer -> client -> render;  dev -> render
//! ```
//! A re-export counts where it is defined. Tests, examples and builds may import more.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs,
};

use crate::{
    house::{House, is_below, is_test_path, product_modules},
    modules::TargetKind,
    resolve::{Arrow, Resolver},
};

/// A room: the files below a prefix (a folder or a file), less those below another row's.
/// After it come those that it may import besides itself, with all that lies below them.
type Room = (&'static str, &'static [&'static str]);

const ROOMS: &[Room] = &[
    ("proto", &[]),
    ("proto/src/auth.rs", &[]),
    ("proto/src/bucket.rs", &[]),
    ("proto/src/utc.rs", &[]),
    ("src/trust", &[]),
    ("storage", &[]),
    ("raft/model", &[]),
    (
        "raft/consensus",
        &["proto", "src/trust", "storage", "raft/model"],
    ),
    // The media crate.
    ("src/media/lib.rs", MEDIA),
    ("src/media/trial.rs", MEDIA),
    ("src/media/benchmark.rs", MEDIA),
    ("src/media/door.rs", MEDIA),
    ("src/media/limits.rs", &["raft/model"]),
    ("src/media/error.rs", &["src/media/facts", "raft/model"]),
    ("src/media/facts", &["raft/model"]),
    ("src/media/ffmpeg", &["src/media/facts", "raft/model"]),
    ("src/media/video", MEDIA_STEP),
    ("src/media/audio", MEDIA_STEP),
    ("src/media/extras", MEDIA_STEP),
    ("src/media/analysis", MEDIA_WHOLE),
    ("src/media/output", MEDIA_WHOLE),
    // The client.
    ("src/cli/lib.rs", CLI),
    ("src/cli/limits.rs", &[]),
    ("src/cli/exit.rs", &[]),
    ("src/cli/error.rs", &["proto"]),
    ("src/cli/job_end.rs", &["proto"]),
    ("src/cli/file_lock.rs", &[]),
    ("src/cli/signals.rs", &[]),
    ("src/cli/spec_options", &["proto"]),
    ("src/cli/render", &["src/cli/job_end.rs", "proto"]),
    ("src/cli/door.rs", &["proto", "src/trust"]),
    (
        "src/cli/client.rs",
        &["src/cli/door.rs", "src/cli/render", "proto", "src/trust"],
    ),
    ("src/cli/transfer", CLI_TRANSFER),
    ("src/cli/library", CLI_LIBRARY),
    ("src/cli/commands", CLI),
    ("src/cli/dev", CLI_DEV),
    // The node.
    ("src/main.rs", MAIN),
    (
        "src/daemon.rs",
        &[
            "src/server",
            "src/engine",
            "src/service.rs",
            "src/watches.rs",
            "src/config",
            "src/json_log.rs",
            "src/recent_log.rs",
            "raft/model",
        ],
    ),
    ("src/service.rs", &[]),
    ("src/watches.rs", WATCHES),
    ("src/json_log.rs", &[]),
    ("src/recent_log.rs", &[]),
    ("src/lib.rs", &[]),
    ("src/limits.rs", &["raft/model", "raft/consensus"]),
    ("src/clock.rs", &[]),
    ("src/sha256.rs", &[]),
    ("src/toml_cause.rs", &[]),
    (
        "src/config",
        &["src/outside", "proto", "src/trust", "raft/model"],
    ),
    ("src/outside", OUTSIDE),
    ("src/outside/addresses.rs", &[]),
    ("src/doctor.rs", &["src/config", "src/media", "raft/model"]),
    ("src/engine", ENGINE),
    ("src/server", SERVER),
    ("src/grpc", GRPC),
    ("src/grpc/convert.rs", GRPC_CONVERT),
    ("src/grpc/convert_outside.rs", GRPC_CONVERT),
    ("src/grpc/convert_access.rs", GRPC_CONVERT),
    ("src/grpc/convert_engines.rs", GRPC_CONVERT),
    ("src/grpc/convert_progress.rs", GRPC_CONVERT),
    ("src/grpc/convert_spec.rs", GRPC_CONVERT),
    ("src/grpc/convert_certificates.rs", GRPC_CONVERT),
    ("src/grpc/convert_upkeep.rs", GRPC_CONVERT),
    ("src/grpc/router.rs", GRPC_BETWEEN_NODES),
    ("src/grpc/join.rs", GRPC_BETWEEN_NODES),
    ("src/grpc/workers.rs", GRPC_BETWEEN_NODES),
    ("src/grpc/worker_client.rs", GRPC_BETWEEN_NODES),
    ("src/grpc/blobs.rs", GRPC_BETWEEN_NODES),
    ("src/grpc/blob_client.rs", GRPC_BETWEEN_NODES),
    ("src/http", HTTP),
    ("src/api", API),
    ("src/node", NODE),
    ("src/node/context.rs", NODE),
    ("src/node/authorities.rs", NODE),
    (
        "src/node/messages.rs",
        &["src/node/engine_messages.rs", "raft/model"],
    ),
    ("src/node/engine_messages.rs", &["raft/model"]),
    ("src/node/engines", NODE),
    ("src/node/previews.rs", NODE),
    (
        "src/node/tally.rs",
        &["src/node/messages.rs", "raft/model", "raft/consensus"],
    ),
    ("src/data", DATA),
    ("src/data/limits.rs", &["storage"]),
    ("src/data/upload/messages.rs", &["src/data", "raft/model"]),
    ("src/data/backup/messages.rs", &[]),
];

const MEDIA: &[&str] = &[
    "src/media/benchmark.rs",
    "src/media/trial.rs",
    "src/media/facts",
    "src/media/ffmpeg",
    "src/media/video",
    "src/media/audio",
    "src/media/extras",
    "src/media/analysis",
    "src/media/output",
    "raft/model",
];
const MEDIA_WHOLE: &[&str] = &[
    "src/media/facts",
    "src/media/ffmpeg",
    "src/media/video",
    "src/media/audio",
    "src/media/extras",
    "raft/model",
];
const MEDIA_STEP: &[&str] = &["src/media/facts", "src/media/ffmpeg", "raft/model"];

const CLI: &[&str] = &[
    "src/trust",
    "src/cli/client.rs",
    "src/cli/door.rs",
    "src/cli/commands",
    "src/cli/dev",
    "src/cli/job_end.rs",
    "src/cli/library",
    "src/cli/render",
    "src/cli/signals.rs",
    "src/cli/spec_options",
    "src/cli/transfer",
    "proto",
];
const CLI_LIBRARY: &[&str] = &[
    "src/cli/client.rs",
    "src/cli/file_lock.rs",
    "src/cli/job_end.rs",
    "src/cli/render",
    "src/cli/spec_options",
    "src/cli/transfer",
    "proto",
];
const CLI_TRANSFER: &[&str] = &[
    "src/cli/client.rs",
    "src/cli/door.rs",
    "src/cli/file_lock.rs",
    "src/cli/job_end.rs",
    "src/cli/render",
    "src/cli/spec_options",
    "proto",
];

const CLI_DEV: &[&str] = &[
    "src/cli/file_lock.rs",
    "src/cli/signals.rs",
    "src/cli/render",
];
const WATCHES: &[&str] = &[
    "src/config",
    "src/cli",
    "src/server",
    "src/recent_log.rs",
    "raft/model",
];
const MAIN: &[&str] = &[
    "src/daemon.rs",
    "src/watches.rs",
    "src/config",
    "src/doctor.rs",
    "src/engine",
    "src/server",
    "src/cli",
    "raft/model",
];
const OUTSIDE: &[&str] = &["raft/model", "proto/src/bucket.rs", "proto/src/utc.rs"];
/// An engine is no node: it speaks to them as anybody may.
const ENGINE: &[&str] = &["src/trust", "src/data", "src/media", "raft/model"];
const SERVER: &[&str] = &[
    "src/trust",
    "src/config",
    "src/grpc",
    "src/http",
    "src/api",
    "src/node",
    "src/data",
    "src/media",
    "src/outside",
    "proto",
    "storage",
    "raft/model",
    "raft/consensus",
];
/// What clients ask goes through the api; its plain types come from below it.
const GRPC: &[&str] = &[
    "src/trust",
    "src/grpc/convert_certificates.rs",
    "src/grpc/convert_upkeep.rs",
    "src/grpc/convert.rs",
    "src/grpc/convert_outside.rs",
    "src/grpc/convert_access.rs",
    "src/grpc/convert_spec.rs",
    "src/api",
    "src/node/messages.rs",
    "src/data/limits.rs",
    "src/data/upload/messages.rs",
    "src/data/backup/messages.rs",
    "proto",
    "raft/model",
];
const GRPC_CONVERT: &[&str] = &[
    "src/grpc/convert_upkeep.rs",
    "src/grpc/convert_certificates.rs",
    "src/grpc/convert_outside.rs",
    "src/grpc/convert_progress.rs",
    "src/grpc/convert_spec.rs",
    "src/api",
    "src/node/messages.rs",
    "src/node/engine_messages.rs",
    "proto",
    "raft/model",
];
/// Its documents are made of the wire's types, and its options read as the CLI's.
const HTTP: &[&str] = &[
    "src/trust",
    "src/api",
    "src/node/messages.rs",
    "src/node/engine_messages.rs",
    "src/node/engines",
    "src/node/tally.rs",
    "src/data/limits.rs",
    "src/data/upload/messages.rs",
    "src/grpc/convert.rs",
    "src/grpc/convert_outside.rs",
    "src/grpc/convert_access.rs",
    "src/grpc/convert_engines.rs",
    "src/grpc/convert_spec.rs",
    "src/cli/spec_options",
    "proto",
    "raft/model",
];
/// What nodes ask of each other is answered by the node and the data plane.
const GRPC_BETWEEN_NODES: &[&str] = &[
    "src/trust",
    "src/grpc",
    "src/api",
    "src/node",
    "src/data",
    "proto",
    "storage",
    "raft/model",
    "raft/consensus",
];
const API: &[&str] = &[
    "src/recent_log.rs",
    "src/trust",
    "src/config",
    "src/node/authorities.rs",
    "src/node/context.rs",
    "src/node/messages.rs",
    "src/node/engine_messages.rs",
    "src/node/engines",
    "src/node/previews.rs",
    "src/node/tally.rs",
    "src/data",
    "src/outside",
    "proto/src/auth.rs",
    "raft/model",
    "raft/consensus",
];
const NODE: &[&str] = &[
    "src/trust",
    "src/config",
    "src/node",
    "src/data",
    "src/outside",
    "src/media",
    "proto",
    "storage",
    "raft/model",
    "raft/consensus",
];
const DATA: &[&str] = &["proto", "storage", "raft/model", "raft/consensus"];

/// The folders of our crates, less the root crate's.
const CRATES: &[&str] = &[
    "proto",
    "src/trust",
    "storage",
    "raft/model",
    "raft/consensus",
    "src/media",
    "src/cli",
];

/// Files that every file of the same crate may import.
const COMMON: &[&str] = &[
    "src/limits.rs",
    "src/clock.rs",
    "src/toml_cause.rs",
    "src/sha256.rs",
    "src/media/limits.rs",
    "src/media/error.rs",
    "src/cli/limits.rs",
    "src/cli/error.rs",
    "src/cli/exit.rs",
];

/// Where the wire's types may be named; `raft/consensus` may name its own, and problems.
const WIRE: &[&str] = &["proto", "src/grpc", "src/cli"];

/// The room with the longest prefix of a path.
fn room_of(path: &str) -> Option<&'static Room> {
    ROOMS
        .iter()
        .filter(|(prefix, _)| is_below(path, prefix))
        .max_by_key(|(prefix, _)| prefix.len())
}

/// The crate folder of a path; what is in none of them is the root crate.
fn crate_of(path: &str) -> &'static str {
    let found = CRATES.iter().find(|folder| is_below(path, folder));
    found.copied().unwrap_or("src")
}

fn may_import(from: &str, to: &str) -> bool {
    let Some((room, may)) = room_of(from) else {
        // Said by `homeless`.
        return true;
    };
    let common = COMMON.contains(&to) && crate_of(from) == crate_of(to);
    common || is_below(to, room) || may.iter().any(|entry| is_below(to, entry))
}

/// The references of the product's code, tests left out.
fn product_arrows<'a>(house: &'a House, resolver: &Resolver<'a>) -> Vec<Arrow<'a>> {
    let crates = house.crates.iter().enumerate();
    let products = crates.filter(|(_, krate)| krate.kind != TargetKind::Other);
    products
        .flat_map(|(id, _)| resolver.arrows(id))
        .filter(|arrow| !is_test_path(arrow.from))
        .collect()
}

/// Imports that the table does not allow, a pair of files each.
pub fn forbidden_imports(house: &House) -> Vec<String> {
    let mut pairs: BTreeMap<(&str, &str), Mentions> = BTreeMap::new();
    for arrow in product_arrows(house, &Resolver::new(house)) {
        // A module may hand on what is below it, as `lib.rs` does.
        if !arrow.hands_on_child && !may_import(arrow.from, arrow.to) {
            let pair = pairs.entry((arrow.from, arrow.to)).or_default();
            pair.add(arrow.line, &arrow.reached);
        }
    }
    let said = pairs.into_iter().map(|((from, to), mentions)| {
        let (room, other) = (room_name(from), room_name(to));
        format!("{from}:{mentions}; {room} must not import {other}")
    });
    said.collect()
}

/// The first line that names something, and all names.
#[derive(Default)]
pub struct Mentions {
    line: usize,
    names: BTreeSet<String>,
}

impl Mentions {
    pub fn add(&mut self, line: usize, name: &str) {
        if self.names.is_empty() {
            self.line = line;
        }
        self.names.insert(name.to_string());
    }
}

impl fmt::Display for Mentions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.names.iter().map(String::as_str).collect();
        write!(f, "{} names {}", self.line, names.join(", "))
    }
}

fn room_name(path: &str) -> &str {
    room_of(path).map_or(path, |(prefix, _)| prefix)
}

/// Files of the product that stand in no room.
pub fn homeless(house: &House) -> Vec<String> {
    let files: BTreeSet<&str> = product_modules(house)
        .filter(|module| !module.test_only)
        .map(|module| module.file.as_str())
        .filter(|file| !is_test_path(file) && room_of(file).is_none())
        .collect();
    files.into_iter().map(String::from).collect()
}

/// Names of `reelraft_proto::v1` where our own types belong.
pub fn wire_types_inside(house: &House) -> Vec<String> {
    let raft_words = words_of_peer_service(house);
    let mut files: BTreeMap<&str, Mentions> = BTreeMap::new();
    for arrow in product_arrows(house, &Resolver::new(house)) {
        let Some(name) = arrow.reached.strip_prefix("reelraft_proto::v1") else {
            continue;
        };
        let name = name.trim_start_matches("::");
        let at_edge = WIRE.iter().any(|room| is_below(arrow.from, room));
        let of_raft = is_below(arrow.from, "raft/consensus")
            && (name.is_empty() || raft_words.contains(&plain(name)));
        if !at_edge && !of_raft {
            let mentions = files.entry(arrow.from).or_default();
            mentions.add(
                arrow.line,
                arrow.reached.trim_start_matches("reelraft_proto::"),
            );
        }
    }
    let said = files
        .into_iter()
        .map(|(file, mentions)| format!("{file}:{mentions}"));
    said.collect()
}

/// The messages and services of the file that defines Raft's own protocol.
fn words_of_peer_service(house: &House) -> BTreeSet<String> {
    let text = fs::read_to_string(house.root.join("proto/reelraft/v1/peer.proto"));
    let text = text.unwrap_or_default();
    let shared = ["Problem"];
    let defined = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        matches!(words.next(), Some("message" | "service" | "enum"))
            .then(|| words.next())
            .flatten()
    });
    defined.chain(shared).map(plain).collect()
}

/// `peer_client::PeerClient`, `Peer` and `peer_server` are one word.
fn plain(name: &str) -> String {
    let first = name.split("::").next().unwrap_or("");
    let word = first.replace('_', "").to_lowercase();
    let ending = ["client", "server"]
        .iter()
        .find_map(|ending| word.strip_suffix(ending));
    ending.unwrap_or(&word).to_string()
}

/// Names in the table that are neither a row of it nor a crate.
pub fn unknown_rooms() -> Vec<&'static str> {
    let is_room = |name: &&str| ROOMS.iter().any(|(room, _)| room == name);
    let unknown = |name: &&'static str| !CRATES.contains(name) && !is_room(name);
    let named = ROOMS.iter().flat_map(|(_, may)| may.iter());
    named.chain(COMMON).copied().filter(unknown).collect()
}
