//! Trying a job again, and giving up what that would take.

use std::sync::Arc;

use super::{
    jobs::{already_ended, not_found},
    writer::Writer,
};
use crate::{
    command::Reply,
    job_entry::JobEntry,
    retry::{DropSource, RetryJob},
    rows::{JobState, Problem, Task, TaskKey, TaskKind},
    state::State,
};

impl Writer<'_> {
    /// Begins again with the analysis. Attempts are counted on, so that whatever
    /// comes late from before is refused.
    pub(super) fn retry_job(&mut self, c: &RetryJob) -> Reply {
        let Some(entry) = self.state.jobs.get(&c.job) else {
            return not_found(&c.job);
        };
        let mut job = entry.job.clone();
        match job.state() {
            JobState::Deleted => return not_found(&c.job),
            JobState::Succeeded => return already_ended(&c.job, JobState::Succeeded),
            state if !state.ended() => {
                let cause = format!("job {} is {}", c.job, state.name());
                let hint = "wait for it, or cancel it first";
                return Reply::refused(&c.job, Problem::new("not-ended", cause, hint));
            }
            _ if !job.source_kept => {
                let cause = format!("the source of job {} is not kept any more", c.job);
                let hint = "submit the file again, under another request id";
                return Reply::refused(&c.job, Problem::new("source-gone", cause, hint));
            }
            _ => {}
        }
        let former: Vec<TaskKey> = entry.tasks.keys().copied().collect();
        job.attempts_before = entry.last_attempt();
        job.replans += 1;
        job.state = JobState::Analyzing.into();
        job.build.clear();
        job.index_hash.clear();
        job.shards_total = 0;
        job.frames_total = 0;
        job.audio_tracks = 0;
        job.single = false;
        job.replan_note.clear();
        job.plan_note.clear();
        job.problem = None;
        job.ended_unix_ms = 0;
        job.summary = None;
        job.failed_tasks.clear();
        job.folded_cluster_ms = 0;
        self.put_job(job);
        for key in former {
            self.remove_task(&c.job, key);
        }
        self.make_task(&c.job, Task::pending(TaskKind::Analyze, 0));
        Reply::done(&c.job)
    }

    pub(super) fn drop_source(&mut self, c: &DropSource) -> Reply {
        let job = self.job(&c.job).filter(|job| job.keeps_source());
        let seen = job.filter(|job| job.folded_cluster_ms == c.folded_cluster_ms);
        let Some(mut job) = seen.cloned() else {
            return Reply::stale(&c.job);
        };
        job.source_kept = false;
        self.put_job(job);
        Reply::done(&c.job)
    }
}

impl State {
    /// Folded jobs whose source is kept, the first to be folded first.
    pub(crate) fn held(&self) -> impl Iterator<Item = Arc<JobEntry>> {
        let held = self.index.held();
        held.filter_map(|(_, age)| self.job_at(age))
    }
}
