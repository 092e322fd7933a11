//! Planning a job anew, under another encoder build.

use super::{
    jobs::{already_ended, not_found},
    writer::{Writer, clip},
};
use crate::{
    command::{Replan, Reply},
    limits::PROBLEM_BYTES_MAX,
    rows::{Job, JobState, Problem, Task, TaskKey, TaskKind},
};

impl Writer<'_> {
    /// Drops all that was made from the sealed source, which stays. Hash and
    /// bytes of an output are told to nobody before a job has succeeded, so one
    /// that has not may still get another output.
    pub(super) fn replan(&mut self, c: &Replan) -> Reply {
        let Some(entry) = self.state.jobs.get(&c.job) else {
            return not_found(&c.job);
        };
        let mut job = entry.job.clone();
        match job.state() {
            JobState::Deleted => return not_found(&c.job),
            JobState::Uploading if job.build.is_empty() => {
                return no_plan(&c.job, "its source is still being uploaded");
            }
            state if state.ended() => return already_ended(&c.job, state),
            _ => {}
        }
        if (job.replans, &job.build) != (c.replans, &c.build) {
            return Reply::stale(&c.job);
        }
        if job.build.is_empty() {
            return no_plan(&c.job, "its analysis has not begun yet");
        }
        job.replan_note = clip(&c.note, PROBLEM_BYTES_MAX);
        job.plan_note = job.replan_note.clone();
        self.analyze_anew(job)
    }

    /// Sends a job back to its analysis, without what was
    /// made of that before. Attempts are counted on, so that whatever comes late
    /// from before is refused.
    pub(super) fn analyze_anew(&mut self, mut job: Job) -> Reply {
        let id = job.id.clone();
        self.keep_parts(&id);
        let Some(entry) = self.state.jobs.get(&id) else {
            return not_found(&id);
        };
        let former: Vec<TaskKey> = entry.tasks.keys().copied().collect();
        job.attempts_before = entry.last_attempt();
        job.replans += 1;
        // A source that is not sealed yet is analysed as it comes.
        if job.state() != JobState::Uploading {
            job.state = JobState::Analyzing.into();
        }
        job.build.clear();
        job.index_hash.clear();
        job.plan_sealed = false;
        job.shards_total = 0;
        job.frames_total = 0;
        job.audio_tracks = 0;
        job.single = false;
        job.reuse = None;
        job.rate = None;
        job.duration_us = 0;
        self.put_job(job);
        for key in former {
            self.remove_task(&id, key);
        }
        self.make_task(&id, Task::pending(TaskKind::Analyze, 0));
        Reply::done(&id)
    }
}

fn no_plan(id: &str, why: &str) -> Reply {
    Reply::refused(
        id,
        Problem::new(
            "no-plan-yet",
            format!("job {id} has no plan that could be made anew: {why}"),
            "it takes the encoder build of most nodes when its analysis begins",
        ),
    )
}
