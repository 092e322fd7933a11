//! The search for the rate factor of a job that aims at something: what follows once
//! its probes are done.

use super::writer::Writer;
use crate::{
    command::Reply,
    job_entry::JobEntry,
    rate::{self, Next},
    rate_row::Rate,
    rows::{Task, TaskKind, TaskState},
};

impl Writer<'_> {
    /// Goes on with a search once all is there that it waits for.
    pub(super) fn search_on(&mut self, id: &str, unix_ms: u64) -> Reply {
        let Some(entry) = self.state.jobs.get(id) else {
            return Reply::stale(id);
        };
        if !entry.is_searching() || rate::waits_for_more(entry) {
            return Reply::done(id);
        }
        match rate::next(entry) {
            None => {}
            Some(Next::Probe(rates)) => self.probe_at(id, &rates),
            Some(Next::Settle(rate)) => self.settle_rate(id, rate),
            Some(Next::Fail(problem)) => return self.fail(id, unix_ms, problem),
        }
        Reply::done(id)
    }

    /// Gives the film its rate factor. What was probed at that of its shard is that
    /// shard.
    fn settle_rate(&mut self, id: &str, rate: Rate) {
        let Some(mut job) = self.job(id).cloned() else {
            return;
        };
        job.rate = Some(rate);
        self.put_job(job);
        let Some(entry) = self.state.jobs.get(id) else {
            return;
        };
        let made: Vec<Task> = entry
            .probes()
            .filter_map(|probe| made_shard(entry, probe))
            .collect();
        for shard in made {
            self.put_task(id, shard);
        }
        self.assemble_if_encoded(id);
    }
}

/// The shard that a probe is, where it was encoded at that one's rate factor.
fn made_shard(entry: &JobEntry, probe: &Task) -> Option<Task> {
    let shard = entry.tasks.get(&(TaskKind::Shard, probe.shard))?;
    let same = entry.rate_centi(shard) == probe.rate_centi;
    let pending = shard.state() == TaskState::Pending;
    (same && pending && probe.state() == TaskState::Done).then(|| Task {
        state: TaskState::Done.into(),
        node: probe.node,
        frames: probe.frames,
        hash: probe.hash.clone(),
        bytes_out: probe.bytes_out,
        bytes_in: probe.bytes_in,
        report: probe.report.clone(),
        started_unix_ms: probe.started_unix_ms,
        ended_unix_ms: probe.ended_unix_ms,
        payload: probe.payload,
        score_micro: probe.score_micro,
        ..Task::clone(shard)
    })
}
