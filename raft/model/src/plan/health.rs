//! What the leader knows of the nodes when it plans: in memory only, rebuilt
//! from the hellos by each new leader (P6).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::speeds::Speeds;
use crate::{
    engine_rows::is_engine,
    limits::{
        KEEP_SOURCE_MS, REHOME_AFTER_MS, REPLACE_VOTER_AFTER_MS, REPLAN_AFTER_MS, UPLOAD_EXPIRY_MS,
    },
    spec::{Audio, Codec, Container, Spec},
    state::State,
};

/// How long a node may be silent before its attempts are given to others.
/// Beats come every 0.5 s; losing six in a row is no hiccup.
pub const LEASE_MS: u64 = 3_000;

/// The same of an engine, after no member hears it any more: it may be on its way to
/// another one, over a network that is nobody's own.
pub const ENGINE_LEASE_MS: u64 = 10_000;

/// How long a home of an unfinished job may be silent before another node takes
/// its place. Longer than a restart takes, because a replacement costs a copy of
/// the job's bytes.
pub const HOME_LOST_MS: u64 = 8_000;

const _: () = assert!(LEASE_MS < HOME_LOST_MS && HOME_LOST_MS < REHOME_AFTER_MS);

/// What the leader knows of one node from its session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeHealth {
    /// Whether its session is open and was heard from within the lease.
    pub alive: bool,
    /// Milliseconds since it was last heard from; since the takeover if never.
    pub silent_ms: u64,
    /// How many tasks it may run at once.
    pub slots: u32,
    /// What its encoders may take together, in MiB; 0 where that is not known.
    pub memory_mib: u64,
    /// By codec: frames of its benchmark's clip that one slot encodes in a thousand
    /// seconds. Nothing is known of those that are not named.
    pub speeds: BTreeMap<String, u64>,
    /// Its encoder build; empty while it is not known.
    pub build: String,
    /// Whether it still tries its encoders: it lives, its bytes can be read, and
    /// its build will be known in a moment. Until then it gets no work.
    pub starting: bool,
    /// Codecs, sound formats and files that it can't make, as [`needs`] names
    /// them.
    pub lacks: BTreeSet<String>,
    /// Why it takes no new work; empty if it does.
    pub trouble: String,
    /// Whether its disk has no room. Such a node becomes nobody's home and
    /// gives up its place in jobs that still grow.
    pub full: bool,
    /// What its disk can still take beyond the uploads that were begun there; 0 where
    /// it does not say.
    pub room_bytes: u64,
    /// Whether it votes, or is to vote once a change under way is done.
    pub votes: bool,
    /// What fails together with it; empty where that is not said.
    pub zone: String,
    /// Entries of the log that it lacks; `None` while that is not known.
    pub behind: Option<u64>,
    /// Whether it hands over what it has: see [`ClusterHealth::take_standings`].
    pub draining: bool,
    /// Whether it was removed, or another disk has taken its place at its address:
    /// it will not come back.
    pub gone: bool,
}

/// What the leader knows of all nodes, and the size of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterHealth {
    /// Every member, whether heard from or not.
    pub nodes: BTreeMap<u64, NodeHealth>,
    /// Engines that were heard of lately. They are given shards, and count for nothing
    /// else.
    pub engines: BTreeMap<u64, NodeHealth>,
    /// How many members vote.
    pub voters: u32,
    /// The member that leads.
    pub leader: u64,
    /// Whether a change of voters is under way.
    pub joint: bool,
    /// How long a voter may be silent before a learner takes its vote.
    pub replace_voter_after_ms: u64,
    /// How fast they go, as was seen.
    pub speeds: Arc<Speeds>,
    /// The leader's wall clock, for display only.
    pub unix_ms: u64,
    /// How long a home of a finished output may be silent before another node
    /// takes its place.
    pub rehome_after_ms: u64,
    /// How long a silent node is counted on to come back with the build of a
    /// job.
    pub replan_after_ms: u64,
    /// How long an upload may make no progress before it ends.
    pub upload_expiry_ms: u64,
    /// How long the source of a job that failed or was cancelled is kept, so that
    /// it can be tried again.
    pub keep_source_ms: u64,
    /// Whether a job takes the output of an equal one that was made before.
    pub reuse_outputs: bool,
    /// How long a job is kept after it was folded; for ever where it is `None`.
    pub keep_ended_ms: Option<u64>,
}

impl Default for ClusterHealth {
    fn default() -> Self {
        ClusterHealth {
            nodes: BTreeMap::new(),
            engines: BTreeMap::new(),
            voters: 0,
            leader: 0,
            joint: false,
            replace_voter_after_ms: REPLACE_VOTER_AFTER_MS,
            speeds: Arc::default(),
            unix_ms: 0,
            rehome_after_ms: REHOME_AFTER_MS,
            replan_after_ms: REPLAN_AFTER_MS,
            upload_expiry_ms: UPLOAD_EXPIRY_MS,
            keep_source_ms: KEEP_SOURCE_MS,
            reuse_outputs: true,
            keep_ended_ms: None,
        }
    }
}

/// f + 1: how many nodes keep each byte in a cluster with so many voters.
pub fn home_count(voters: u32) -> usize {
    (voters.max(1) as usize - 1) / 2 + 1
}

/// What a node must be able to make for a spec, as the spec names it.
pub fn needs(spec: &Spec) -> impl Iterator<Item = &'static str> {
    let pictures = spec.codec() != Codec::None && !spec.container().sound_alone();
    let sound = !matches!(spec.audio(), Audio::Copy | Audio::None);
    let pictures = pictures.then(|| spec.codec().name());
    pictures
        .into_iter()
        .chain(sound.then(|| spec.audio().name()))
        .chain([files_of(spec.container())])
}

/// What a node must be able to write for a container, as it says so.
pub fn files_of(container: Container) -> &'static str {
    match container {
        Container::Mp4 => "mp4 files",
        Container::Mkv => "mkv files",
        Container::Webm => "webm files",
        Container::Mov => "mov files",
        Container::M4a => "m4a files",
        Container::Opus => "opus files",
        Container::Flac => "flac files",
    }
}

/// Whether something that a spec needs is files of a container, see [`files_of`].
pub fn is_files(what: &str) -> bool {
    what.ends_with(" files")
}

/// The encoder or muxer of something that a spec needs, in words.
pub fn encoder_of(what: &str) -> String {
    match what {
        files if is_files(files) => format!("a muxer for {files}"),
        "h264" => "an H.264 encoder".into(),
        "hevc" => "an HEVC encoder".into(),
        "opus" => "an Opus encoder".into(),
        // As it is spelled: an A, an F.
        "aac" | "av1" | "ffv1" => format!("an {} encoder", what.to_uppercase()),
        _ => format!("a {} encoder", what.to_uppercase()),
    }
}

impl NodeHealth {
    /// Whether it may become a home.
    pub(super) fn takes_bytes(&self) -> bool {
        self.alive && !self.full && !self.draining && !self.gone
    }

    /// The first thing for a spec that the node can't make.
    pub(super) fn lacking(&self, spec: &Spec) -> Option<&'static str> {
        needs(spec).find(|what| self.lacks.contains(*what))
    }
}

impl ClusterHealth {
    /// Notes what the table says of the members.
    pub fn take_standings(&mut self, state: &State) {
        for (&id, health) in &mut self.nodes {
            let node = state.node(id);
            let removed = node.is_some_and(|node| node.is_removed());
            health.draining = node.is_some_and(|node| node.is_draining());
            health.gone = removed || (!health.alive && state.is_superseded(id));
        }
        self.engines.retain(|&id, _| state.takes_engine(id));
    }

    /// How many nodes may become homes.
    pub(super) fn takers(&self) -> usize {
        let nodes = self.nodes.values();
        nodes.filter(|node| node.takes_bytes()).count()
    }

    /// A node, or an engine.
    pub(super) fn worker(&self, id: u64) -> Option<&NodeHealth> {
        match is_engine(id) {
            true => self.engines.get(&id),
            false => self.nodes.get(&id),
        }
    }

    /// Nodes and engines, in the order of their ids.
    pub(super) fn workers(&self) -> impl Iterator<Item = (u64, &NodeHealth)> {
        let all = self.nodes.iter().chain(&self.engines);
        all.map(|(id, health)| (*id, health))
    }

    /// After how long a silence what a node or an engine runs is lost.
    pub(super) fn lease_ms(id: u64) -> u64 {
        match is_engine(id) {
            true => ENGINE_LEASE_MS,
            false => LEASE_MS,
        }
    }

    /// Whether a node hands over what it has.
    pub(super) fn draining(&self, node: u64) -> bool {
        self.nodes.get(&node).is_some_and(|health| health.draining)
    }

    /// f: how many nodes may fail.
    pub(super) fn faults(&self) -> usize {
        home_count(self.voters) - 1
    }

    pub(super) fn alive(&self, node: u64) -> bool {
        self.nodes.get(&node).is_some_and(|health| health.alive)
    }

    pub(super) fn silent_ms(&self, node: u64) -> u64 {
        self.worker(node)
            .map_or(u64::MAX, |health| match (health.gone, health.alive) {
                (true, _) => u64::MAX,
                (false, true) => 0,
                (false, false) => health.silent_ms,
            })
    }

    /// How long a home of a job may be silent before it is lost.
    pub(super) fn home_patience_ms(&self, ended: bool) -> u64 {
        match ended {
            true => self.rehome_after_ms,
            false => HOME_LOST_MS,
        }
    }

    /// Whether a node lives and can't run a job's tasks, as far as can be told.
    pub(super) fn cant_run(&self, node: u64, build: &str) -> bool {
        let known = self.nodes.get(&node).is_some_and(|node| !node.starting);
        known && self.alive(node) && !self.can_run(node, build)
    }

    /// Nodes that still try their encoders.
    pub(super) fn starting(&self) -> Vec<u64> {
        let starting = self
            .nodes
            .iter()
            .filter(|(_, node)| node.alive && node.starting);
        starting.map(|(id, _)| *id).collect()
    }

    /// Whether a node may run a job's tasks. An empty `build` is that of a job
    /// whose first task has not been assigned yet: any build will do.
    pub(super) fn can_run(&self, node: u64, build: &str) -> bool {
        self.worker(node).is_some_and(|health| {
            health.alive
                && !health.gone
                && !health.starting
                && health.trouble.is_empty()
                && !health.build.is_empty()
                && (build.is_empty() || health.build == build)
        })
    }
}
