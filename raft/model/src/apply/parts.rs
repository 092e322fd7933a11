//! Taking single parts that were made before, and keeping those of a job for others.

use super::{stages::joined_notes, writer::Writer};
use crate::{
    command::Reply,
    kept_parts::{DropParts, KeptPart, KeptParts},
    limits::KEPT_PARTS_MAX,
    rows::{Job, JobState, Task},
    table_rows::parts_key,
};

impl Writer<'_> {
    /// Has a job whose plan is whole take what was made before of it.
    pub(super) fn take_made_parts(&mut self, id: &str) {
        let Some(entry) = self.state.jobs.get(id) else {
            return;
        };
        let made = self.state.made_parts_for(&entry.job);
        let waiting = entry.pending.iter().filter_map(|key| entry.tasks.get(key));
        let found = waiting.filter_map(|task| {
            let (part, of) = made.find(task)?;
            let mut task = Task::clone(task);
            part.complete(&mut task, if of == id { "" } else { of });
            Some(task)
        });
        let found: Vec<Task> = found.collect();
        let (taken, all) = (found.len(), entry.parts().count());
        let mut job = entry.job.clone();
        for task in found {
            self.put_task(id, task);
        }
        // What of its own former plan is of no use goes.
        self.remove_parts(id);
        if taken > 0 {
            let note = format!("{taken} of its {all} parts had been made before");
            job.plan_note = joined_notes([&job.plan_note, &note]);
            self.put_job(job);
        }
    }

    /// A pending part that was made meanwhile for another job.
    pub(super) fn made_meanwhile(&self, job: &Job, task: &Task) -> Option<Task> {
        let made = self.state.made_parts_for(job);
        let (part, of) = made.find(task)?;
        let mut task = task.clone();
        part.complete(&mut task, if of == job.id { "" } else { of });
        Some(task)
    }

    /// Keeps the finished parts of a job whose tasks are about to go.
    pub(super) fn keep_parts(&mut self, id: &str) {
        let Some(entry) = self.state.jobs.get(id) else {
            return;
        };
        let parts: Vec<KeptPart> = entry.parts_to_keep().collect();
        let job = &entry.job;
        if parts.is_empty() {
            // Of one that is never made again, what a former plan has left goes too.
            if job.state().ended() && !job.holds_parts() {
                self.remove_parts(id);
            }
            return;
        }
        let row = KeptParts {
            job: job.id.clone(),
            created_index: job.created_index,
            tenant: job.tenant.clone(),
            source_root: job.source_root.clone(),
            likeness: job.likeness(),
            build: job.build.clone(),
            since_cluster_ms: self.state.cluster_ms(),
            finished: job.state() == JobState::Succeeded,
            parts,
        };
        self.touched.insert(parts_key(id));
        self.state.shelf.put(row);
        while self.state.shelf.count() > KEPT_PARTS_MAX
            && let Some(oldest) = self.state.shelf.oldest().cloned()
        {
            self.remove_parts(&oldest);
        }
    }

    /// Lets the kept parts of a job go, if it has any.
    pub(super) fn remove_parts(&mut self, id: &str) {
        if self.state.shelf.remove(id).is_some() {
            self.touched.insert(parts_key(id));
        }
    }

    pub(super) fn drop_parts(&mut self, c: &DropParts) -> Reply {
        let kept = self.state.shelf.get(&c.job);
        if kept.is_none_or(|row| row.since_cluster_ms != c.since_cluster_ms) {
            return Reply::stale(&c.job);
        }
        self.remove_parts(&c.job);
        Reply::done(&c.job)
    }
}
