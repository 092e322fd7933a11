//! Trying a job again, and giving up what that would take.

use super::{
    refusals::{already_ended, not_found},
    writer::Writer,
};
use crate::{
    command::Reply,
    limits::KEPT_SOURCES_LEVEL,
    measuring::source_gone,
    retry::{DropSource, RetryJob},
    rows::{Job, JobState, Problem},
};

impl Writer<'_> {
    /// Begins an ended job again, with its analysis.
    pub(super) fn retry_job(&mut self, c: &RetryJob) -> Reply {
        let Some(entry) = self.state.jobs.get(&c.job) else {
            return not_found(&c.job);
        };
        let mut job = entry.job.clone();
        // Of an ended job nothing else counts them up: this retry has been made.
        let made = c.replans.is_some_and(|seen| job.replans > seen);
        match job.state() {
            JobState::Deleted => return not_found(&c.job),
            _ if made => return Reply::stale(&c.job),
            JobState::Succeeded => return already_ended(&c.job, JobState::Succeeded),
            state if !state.ended() => {
                let cause = format!("job {} is {}", c.job, state.name());
                let hint = "wait for it, or cancel it first";
                return Reply::refused(&c.job, Problem::new("not-ended", cause, hint));
            }
            _ if !job.source_kept => {
                let cause = format!("the source of job {} is not kept any more", c.job);
                return no_source(&c.job, cause);
            }
            _ if self.state.feature_level() < KEPT_SOURCES_LEVEL => {}
            _ if self.state.are_gone(&job.homes) => {
                let cause = format!("all nodes that kept the source of job {} are gone", c.job);
                return no_source(&c.job, cause);
            }
            _ => {}
        }
        job.give_up_deliveries();
        job.replan_note.clear();
        job.plan_note.clear();
        job.problem = None;
        job.ended_unix_ms = 0;
        job.summary = None;
        job.failed_tasks.clear();
        job.folded_cluster_ms = 0;
        self.analyze_anew(job)
    }

    pub(super) fn drop_source(&mut self, c: &DropSource) -> Reply {
        if self.job(&c.job).is_some_and(Job::holds_source) {
            return self.drop_held_source(c);
        }
        let job = self.job(&c.job).filter(|job| job.keeps_source());
        let seen = job.filter(|job| job.folded_cluster_ms == c.folded_cluster_ms);
        let Some(mut job) = seen.cloned() else {
            return Reply::stale(&c.job);
        };
        job.source_kept = false;
        self.remove_parts(&c.job);
        self.put_job(job);
        Reply::done(&c.job)
    }

    /// Gives up the source of a finished job, and what needs it.
    fn drop_held_source(&mut self, c: &DropSource) -> Reply {
        let seen = self.job(&c.job).map(|job| job.folded_cluster_ms);
        if seen != Some(c.folded_cluster_ms) {
            return Reply::stale(&c.job);
        }
        let cause = "its homes have given the source up: it made no progress, or a disk is full";
        self.give_up_measuring(&c.job, source_gone(cause));
        if let Some(mut job) = self.job(&c.job).cloned() {
            job.source_at.clear();
            self.put_job(job);
        }
        Reply::done(&c.job)
    }
}

fn no_source(id: &str, cause: String) -> Reply {
    let hint = "submit the file again, under another request id";
    Reply::refused(id, Problem::new("source-gone", cause, hint))
}
