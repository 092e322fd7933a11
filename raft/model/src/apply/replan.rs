//! Planning a job anew, under another encoder build.

use super::{
    refusals::{already_ended, not_found},
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
        job.forget_analysis(entry.last_attempt());
        // A source that is not sealed yet is analysed as it comes.
        if job.state() != JobState::Uploading {
            job.state = JobState::Analyzing.into();
        }
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
