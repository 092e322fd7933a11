//! What a job and its tasks say of its rate factor.

use super::rates::Rates;
use crate::{
    job_entry::JobEntry,
    rate_row::Rate,
    rows::{Task, TaskKind},
    spec::{Aim, Spec},
};

impl JobEntry {
    /// Whether shards that are done may still be made again, so that nobody is to
    /// be given them before the end.
    pub fn may_change_shards(&self) -> bool {
        matches!(self.job.spec.aim(), Some(Aim::Size(_) | Aim::Bitrate(_)))
    }

    /// The rate factor of a shard or probe in hundredths, where it is found and not
    /// asked for; 0 otherwise.
    pub fn rate_centi(&self, task: &Task) -> u32 {
        let is_film = |task: &Task| task.kind() == TaskKind::Shard && task.rate_centi == 0;
        match &self.job.rate {
            Some(rate) if is_film(task) && rate.film_centi != 0 => {
                Rates::of(self.job.spec.codec()).of_shard(rate.film_centi, task.number)
            }
            _ => task.rate_centi,
        }
    }

    /// The probes in order.
    pub fn probes(&self) -> impl Iterator<Item = &Task> {
        let probes = (TaskKind::Probe, 0)..=(TaskKind::Probe, u32::MAX);
        self.tasks.range(probes).map(|(_, task)| task.as_ref())
    }

    /// Bytes of all frames of shards that are done.
    pub(crate) fn payload(&self) -> u64 {
        self.shards().map(|task| task.payload).sum()
    }

    /// The spec that a task is done by: with the rate factor of its own, or that of
    /// the film, as near as encoders take it.
    pub fn spec_of(&self, task: &Task) -> Spec {
        match task.kind() {
            TaskKind::Shard | TaskKind::Probe => self.job.spec.at_rate(self.rate_centi(task)),
            _ => self.film_spec(),
        }
    }

    /// Whether shards may have another rate factor than the film's: encoded again for a
    /// size, or one of the two next to it.
    pub fn mixes_rates(&self) -> bool {
        let step = Rates::of(self.job.spec.codec()).step;
        let mixed = |rate: &Rate| rate.shards_again > 0 || !rate.film_centi.is_multiple_of(step);
        self.job.shards_total > 1 && self.job.rate.as_ref().is_some_and(mixed)
    }

    /// The spec with the rate factor of the film, as near as encoders take it.
    pub fn film_spec(&self) -> Spec {
        let step = Rates::of(self.job.spec.codec()).step;
        let film_centi = self.job.rate.map_or(0, |rate| rate.film_centi);
        self.job.spec.at_rate((film_centi + step / 2) / step * step)
    }
}
