//! Clients that have a finished job's output compared with its source, what an attempt
//! at that reads, and what becomes of what was found.

use std::collections::BTreeSet;

use reelraft_model::{
    Command, EndMeasure, FailureClass, JobEntry, MeasureJob, Measurement, Problem, SOURCE_GONE,
};

use crate::{
    aims::is_held,
    node::Outcome,
    truth,
    world::{Origin, World},
};

/// Shards that the proof of each output is taken to have.
const SHARDS: u32 = 3;
/// How often a client asks before it does without: the source may be gone.
const TRIES: u8 = 4;
const PATIENCE_MS: u64 = 4_000;

impl World {
    /// Whether a client waits for a comparison; every third wants one.
    pub fn measures(&mut self, client: usize) -> bool {
        let job = self.job_of(client);
        let known = self.log.state().job(&job);
        let known = known.and_then(|entry| entry.job.measurement.clone());
        if known.as_ref().is_some_and(Measurement::is_open) {
            return true;
        }
        let of = &mut self.clients[client];
        let wants = is_held(of.chunks) && of.measured < TRIES;
        if !wants || known.is_some_and(|known| known.problem.is_none()) {
            return false;
        }
        of.measured += 1;
        of.again_ms = self.now_ms + PATIENCE_MS;
        let known = self.log.state().job(&job);
        let known = known.and_then(|entry| entry.job.measurement.clone());
        let command = Command::MeasureJob(MeasureJob {
            job,
            shards: SHARDS,
            seen_index: known.map_or(0, |known| known.begun_index),
        });
        self.propose(vec![vec![command]], Origin::Home);
        true
    }

    /// Reads an output and its source.
    pub fn read_both(&self, node: u64, entry: &JobEntry) -> Result<(), Outcome> {
        let job = &entry.job;
        let all = truth::all_chunks(job.source_bytes);
        let failed = |class, cause: &str| Err(Outcome::Failed(class, cause.into(), vec![]));
        let output = [&job.index_hash, &job.output_hash, &job.proof_hash];
        let mut output = output
            .map(|blob| self.can_read(entry, node, blob))
            .into_iter();
        let source = self.readable_chunks(entry, node) & all == all;
        if source && output.all(|read| read.is_ok()) {
            return Ok(());
        }
        // Who asks for what nobody has learns whether all were asked.
        match self.can_read(entry, node, "nothing") {
            Err(true) if !source => failed(FailureClass::Final, SOURCE_GONE),
            _ => failed(FailureClass::OutOfReach, "out of reach"),
        }
    }

    /// Ends a comparison of which a home found a part on no home.
    pub fn end_lost(&mut self, entry: &JobEntry, lost: String) {
        let Some(measurement) = &entry.job.measurement else {
            return;
        };
        let command = Command::EndMeasure(EndMeasure {
            job: entry.job.id.clone(),
            begun_index: measurement.begun_index,
            problem: Problem::new("lost-bytes", "a part of it is lost", "ask again"),
            lost,
        });
        self.propose(vec![vec![command]], Origin::Home);
    }

    /// Notes which homes have what was found, and whether one let go of it that had it.
    pub fn look_at_findings(&mut self) {
        if self.clients.iter().all(|client| client.measured == 0) {
            return;
        }
        let state = self.log.state().clone();
        let mut held = BTreeSet::new();
        for entry in state.jobs().filter(|entry| is_measured(entry)) {
            let (id, begun) = (&entry.job.id, begun_index(&entry));
            for home in entry.job.current_homes().map(|home| home.node) {
                let at = (id.clone(), begun, home);
                if self.has_findings(&entry, home) {
                    held.insert(at);
                } else if !self.nodes[&home].lost && self.seen.findings.contains(&at) {
                    let name = self.story.name(id);
                    let gone = format!("node {home} let go of what was found of {name}");
                    self.truth.broken(gone);
                }
            }
        }
        self.seen.measured |= !held.is_empty();
        self.seen.findings = held;
    }

    /// Notes which homes have a source that is held there, and whether one let go of it
    /// that had it.
    pub fn look_at_sources(&mut self) {
        let state = self.log.state().clone();
        let mut held = BTreeSet::new();
        for entry in state.jobs().filter(|entry| entry.job.holds_source()) {
            let job = &entry.job;
            let all = truth::all_chunks(job.source_bytes);
            for home in &job.source_at {
                let (node, at) = (&self.nodes[home], (job.id.clone(), *home));
                let here = node.chunks(&job.id) & all == all;
                if here && node.has_blob(&job.id, &job.manifest) {
                    held.insert(at);
                } else if !node.lost && self.seen.sources.contains(&at) {
                    let name = self.story.name(&job.id);
                    let gone = format!("node {home} let go of the source of {name}, which is held");
                    self.truth.broken(gone);
                }
            }
        }
        self.seen.sources = held;
    }

    /// Whether a node has all that was found of an output.
    pub fn has_findings(&self, entry: &JobEntry, node: u64) -> bool {
        let found = entry.job.measurement.iter().flat_map(|it| &it.parts);
        let node = &self.nodes[&node];
        found
            .into_iter()
            .all(|blob| node.has_blob(&entry.job.id, blob))
    }
}

/// Whether it is known how an output compares with its source.
pub fn is_measured(entry: &JobEntry) -> bool {
    let found = entry.job.measurement.as_ref();
    found.is_some_and(|found| !found.parts.is_empty())
}

fn begun_index(entry: &JobEntry) -> u64 {
    let begun = entry.job.measurement.as_ref();
    begun.map_or(0, |begun| begun.begun_index)
}
