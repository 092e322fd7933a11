//! What the search for a job's rate factor makes: probes, and shards that are encoded
//! again where the film is off.

use super::writer::Writer;
use crate::{
    limits::CORRECTIONS_MAX,
    rate,
    rate_row::Rate,
    rows::{JobState, Task, TaskKey, TaskKind, TaskState},
    spec::Aim,
};

impl Writer<'_> {
    /// Begins the search of a job whose plan is whole, if its spec aims at something.
    pub(super) fn begin_search(&mut self, id: &str) {
        let Some(entry) = self.state.jobs.get(id) else {
            return;
        };
        if entry.job.spec.aim().is_none() || entry.shards().next().is_none() {
            return;
        }
        let former: Vec<TaskKey> = entry.probes().map(Task::key).collect();
        let mut job = entry.job.clone();
        let rates = rate::first_rates(&job.spec);
        job.rate = Some(Rate::default());
        self.put_job(job);
        for key in former {
            self.drop_task(id, key);
        }
        self.probe_at(id, &rates);
    }

    /// Has samples encoded at these rate factors.
    pub(super) fn probe_at(&mut self, id: &str, rates: &[u32]) {
        let Some(entry) = self.state.jobs.get(id) else {
            return;
        };
        let mut job = entry.job.clone();
        let Some(rate) = &mut job.rate else { return };
        rate.rounds += 1;
        let first = entry.probes().map(|task| task.number + 1).max();
        let samples: Vec<Task> = rate::samples(entry.job.shards_total)
            .filter_map(|shard| entry.tasks.get(&(TaskKind::Shard, shard)))
            .map(|task| Task::clone(task))
            .collect();
        let each = rates
            .iter()
            .flat_map(|centi| samples.iter().map(move |shard| (*centi, shard)));
        let probes = (first.unwrap_or(0)..).zip(each);
        let probes: Vec<Task> = probes
            .map(|(number, (rate_centi, shard))| Task {
                from_pts: shard.from_pts,
                to_pts: shard.to_pts,
                frames: shard.frames,
                shard: shard.number,
                rate_centi,
                ..Task::pending(TaskKind::Probe, number)
            })
            .collect();
        self.put_job(job);
        for probe in probes {
            self.make_task(id, probe);
        }
    }

    /// Has shards encoded again where the frames have not the bytes that they may
    /// have, all of them together; whether there are any.
    pub(super) fn correct(&mut self, id: &str) -> bool {
        let Some(entry) = self.state.jobs.get(id) else {
            return false;
        };
        let Some(mut rate) = entry.job.rate else {
            return false;
        };
        if rate.corrections >= CORRECTIONS_MAX {
            return false;
        }
        let changed = rate::corrections(entry);
        if changed.is_empty() {
            return false;
        }
        let anew = |(number, centi): &(u32, u32)| {
            let task = entry.tasks.get(&(TaskKind::Shard, *number))?;
            Some(Task {
                state: TaskState::Pending.into(),
                rate_centi: *centi,
                // It is to give other bytes.
                hash: String::new(),
                report: String::new(),
                payload: 0,
                ..Task::clone(task)
            })
        };
        let again: Vec<Task> = changed.iter().filter_map(anew).collect();
        rate.corrections += 1;
        rate.shards_again += again.len() as u32;
        // A film of one shard has no other rate than that one's.
        if let ([(_, centi)], 1) = (changed.as_slice(), entry.job.shards_total) {
            rate.film_centi = *centi;
        }
        let mut job = entry.job.clone();
        job.rate = Some(rate);
        job.state = JobState::Encoding.into();
        self.put_job(job);
        for task in again {
            self.put_task(id, task);
        }
        true
    }

    /// Learns from an output what the file holds beside its frames, and has shards
    /// encoded again where that makes it too large; whether there are any.
    pub(super) fn correct_output(&mut self, id: &str, output_bytes: u64) -> bool {
        let Some(entry) = self.state.jobs.get(id) else {
            return false;
        };
        let sized = matches!(entry.job.spec.aim(), Some(Aim::Size(_)));
        let mut job = entry.job.clone();
        let Some(rate) = job.rate.as_mut().filter(|_| sized) else {
            return false;
        };
        rate.beside_bytes = output_bytes.saturating_sub(entry.payload()).max(1);
        self.put_job(job);
        self.correct(id)
    }

    /// Notes what the whole film has come to.
    pub(super) fn note_reached(&mut self, id: &str) {
        let Some(entry) = self.state.jobs.get(id) else {
            return;
        };
        let mut job = entry.job.clone();
        let Some(rate) = &mut job.rate else { return };
        rate.payload = entry.payload();
        let frames: u64 = entry.shards().map(|task| task.frames).sum();
        let scores = entry
            .shards()
            .map(|task| u128::from(task.score_micro) * u128::from(task.frames));
        rate.reached_micro = (scores.sum::<u128>() / u128::from(frames.max(1))) as u64;
        self.put_job(job);
    }
}
