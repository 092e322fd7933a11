//! Taking the output of an equal job, and giving that up.

use super::{stages::joined_notes, writer::Writer};
use crate::{
    command::Reply,
    limits::MEASURE_LEVEL,
    reuse::DecideReuse,
    rows::{JobState, TaskKey},
};

impl Writer<'_> {
    pub(super) fn decide_reuse(&mut self, c: &DecideReuse) -> Reply {
        let Some(entry) = self.state.jobs.get(&c.job) else {
            return Reply::stale(&c.job);
        };
        let mut job = entry.job.clone();
        let Some(offer) = job.offer().filter(|offer| offer.job == c.of).cloned() else {
            return Reply::stale(&c.job);
        };
        let other = self.state.job(&offer.job);
        let other = other.filter(|other| {
            let same = other.job.output_hash == offer.output_hash;
            c.taken && same && job.is_made_by(&other.job)
        });
        let Some(other) = other else {
            job.reuse = None;
            self.put_job(job);
            return Reply::done(&c.job);
        };
        let note = format!(
            "its output is that of job {}, which was the same",
            offer.job
        );
        let former: Vec<TaskKey> = entry.tasks.keys().copied().collect();
        job.attempts_before = entry.last_attempt();
        job.state = JobState::Assembling.into();
        job.build = other.job.build.clone();
        job.frames_total = other.job.frames_total;
        job.audio_tracks = other.job.audio_tracks;
        job.single = other.job.single;
        if self.state.feature_level() >= MEASURE_LEVEL {
            job.shard_memory_mib = other.job.shard_memory_mib;
        }
        // What was begun while the source came goes.
        job.index_hash.clear();
        job.shards_total = 0;
        job.plan_sealed = false;
        job.plan_note = joined_notes([&note, &other.job.plan_note]);
        for key in former {
            self.remove_task(&c.job, key);
        }
        self.put_job(job);
        self.open_assemblies(&c.job);
        Reply::done(&c.job)
    }

    /// Has a job make its output by itself after all.
    pub(super) fn give_up_reuse(&mut self, id: &str) {
        if let Some(mut job) = self.job(id).cloned() {
            job.plan_note.clear();
            self.analyze_anew(job);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        command::Command,
        entry::Entry,
        limits::MEASURE_LEVEL,
        reuse::{DecideReuse, Reuse},
        rows::{Job, JobState},
        state::State,
    };

    #[test]
    fn an_output_that_is_taken_is_as_hard_to_decode() {
        let other = Job {
            id: "other".into(),
            created_index: 1,
            state: JobState::Succeeded.into(),
            index_hash: "i".into(),
            output_hash: "o".into(),
            proof_hash: "p".into(),
            shard_memory_mib: 700,
            ..Default::default()
        };
        let job = Job {
            id: "job".into(),
            created_index: 2,
            state: JobState::Analyzing.into(),
            reuse: Some(Reuse {
                job: "other".into(),
                output_hash: "o".into(),
                ..Default::default()
            }),
            ..Default::default()
        };
        for (level, memory_mib) in [(MEASURE_LEVEL - 1, 0), (MEASURE_LEVEL, 700)] {
            let mut state = State::default();
            state.cluster.feature_level = level;
            state.put_job(other.clone());
            state.put_job(job.clone());
            let decided = Command::DecideReuse(DecideReuse {
                job: "job".into(),
                of: "other".into(),
                taken: true,
            });
            state.apply(3, &Entry::new(vec![decided]));
            let taken = &state.current("job").expect("it was put").job;
            assert_eq!(taken.state(), JobState::Assembling);
            assert_eq!(taken.shard_memory_mib, memory_mib, "level {level}");
        }
    }
}
