//! Comparing outputs with their sources after the fact: begun, gone on with, and ended.

use super::{
    refusals::not_found,
    writer::{Writer, clipped},
};
use crate::{
    command::Reply,
    limits::{MEASURING_MAX, MEASURING_OF_TENANT_MAX, SHARDS_PER_JOB_MAX},
    measurement::Measurement,
    measuring::{EndMeasure, MeasureJob, SOURCE_GONE, source_gone},
    rows::{Job, JobState, Problem, Task, TaskKey, TaskKind, TaskState},
    spec::Codec,
    state::State,
};

impl Writer<'_> {
    pub(super) fn measure_job(&mut self, age: u64, c: &MeasureJob) -> Reply {
        let Some(mut job) = self.job(&c.job).cloned() else {
            return not_found(&c.job);
        };
        if job.state() == JobState::Deleted {
            return not_found(&c.job);
        }
        if let Some(problem) = unmeasurable(&job) {
            return Reply::refused(&c.job, problem);
        }
        // Only one that has come to nothing is made again.
        let known = job.measurement.as_ref();
        if known.is_some_and(|it| it.problem.is_none() || it.begun_index != c.seen_index) {
            return Reply {
                existed: true,
                ..Reply::done(&c.job)
            };
        }
        if !job.holds_source() {
            let cause = match job.spec.holds_source() {
                true => format!("the source of job {} is not held any more", c.job),
                false => format!("the source of job {} was not held after its end", c.job),
            };
            return Reply::refused(&c.job, source_gone(&cause));
        }
        if let Some(problem) = too_many(self.state, &job.tenant) {
            return Reply::refused(&c.job, problem);
        }
        if c.shards == 0 || c.shards as usize > SHARDS_PER_JOB_MAX {
            return Reply::stale(&c.job);
        }
        let tasks = Measurement::tasks_for(c.shards, job.output_bytes);
        let measurement = Measurement {
            begun_index: age,
            shards: c.shards,
            tasks,
            touched_cluster_ms: self.state.cluster_ms(),
            ..Default::default()
        };
        job.measurement = Some(measurement);
        self.put_job(job);
        for number in 0..tasks {
            self.make_task(&c.job, Task::pending(TaskKind::Measure, number));
        }
        Reply::done(&c.job)
    }

    /// Goes on after a part was compared.
    pub(super) fn measured(&mut self, id: &str) -> Reply {
        let now = self.state.cluster_ms();
        let Some(entry) = self.state.jobs.get(id) else {
            return Reply::stale(id);
        };
        let mut tasks = entry.tasks.range((TaskKind::Measure, 0)..);
        let open = tasks.any(|(_, task)| task.state() != TaskState::Done);
        let found: Vec<String> = entry.measured_so_far().cloned().collect();
        let mut job = entry.job.clone();
        let Some(measurement) = &mut job.measurement else {
            return Reply::stale(id);
        };
        measurement.touched_cluster_ms = now;
        if !open {
            measurement.parts = found;
            self.drop_measuring(id);
            job.attempts_before = self.job(id).map_or(0, |job| job.attempts_before);
        }
        self.put_job(job);
        Reply::done(id)
    }

    pub(super) fn end_measure(&mut self, c: &EndMeasure) -> Reply {
        let entry = self.state.jobs.get(&c.job);
        let meant = entry.is_some_and(|entry| {
            let begun = entry.job.measurement.as_ref();
            let known = begun.is_some_and(|begun| begun.begun_index == c.begun_index);
            known && (entry.job.is_measuring() || entry.is_measured_blob(&c.lost))
        });
        if !meant {
            return Reply::stale(&c.job);
        }
        self.put_measuring_off(&c.job, clipped(&c.problem));
        if c.problem.kind == SOURCE_GONE
            && let Some(mut job) = self.job(&c.job).cloned()
        {
            job.source_at.clear();
            self.put_job(job);
        }
        Reply::done(&c.job)
    }

    /// Takes those homes for none that hold the source which are none any more. What
    /// needs it ends with the last of them.
    pub(super) fn forget_former_sources(&mut self, id: &str) {
        let Some(mut job) = self.job(id).filter(|job| job.holds_source()).cloned() else {
            return;
        };
        job.forget_former_sources();
        let gone = job.source_at.is_empty();
        self.put_job(job);
        if gone {
            let cause = "the homes that held the source were replaced";
            self.give_up_measuring(id, source_gone(cause));
        }
    }

    /// Ends a comparison that goes on, if there is one.
    pub(super) fn give_up_measuring(&mut self, id: &str, problem: Problem) {
        if self.job(id).is_some_and(Job::is_measuring) {
            self.put_measuring_off(id, problem);
        }
    }

    fn put_measuring_off(&mut self, id: &str, problem: Problem) {
        self.drop_measuring(id);
        let Some(mut job) = self.job(id).cloned() else {
            return;
        };
        if let Some(measurement) = &mut job.measurement {
            measurement.parts.clear();
            measurement.problem = Some(problem);
        }
        self.put_job(job);
    }

    /// Takes its tasks out of the table. What comes late of them is fenced off.
    fn drop_measuring(&mut self, id: &str) {
        let entry = self.state.jobs.get(id);
        let tasks = entry.iter().flat_map(|entry| entry.tasks.keys());
        let tasks: Vec<TaskKey> = tasks
            .filter(|(kind, _)| *kind == TaskKind::Measure)
            .copied()
            .collect();
        for key in tasks {
            self.drop_task(id, key);
        }
    }
}

/// Why an output can't be compared, whatever its homes keep.
fn unmeasurable(job: &Job) -> Option<Problem> {
    let id = &job.id;
    let refused = |kind: &str, cause: String, hint: &str| Some(Problem::new(kind, cause, hint));
    if let Some(problem) = job.lacks_output() {
        return Some(problem);
    }
    if job.spec.codec() == Codec::None {
        let cause = format!("the output of job {id} has sound alone");
        return refused("no-pictures", cause, "measure a job that has pictures");
    }
    if job.summary.is_none() {
        let cause = format!("job {id} has just ended, and its tasks are still being put by");
        return refused("not-settled", cause, "ask again in a moment");
    }
    None
}

/// Why one more comparison of a tenant's would be too many.
fn too_many(state: &State, tenant: &str) -> Option<Problem> {
    let open = state.open().measuring();
    let tenants = open.filter_map(|id| Some(&state.current(id)?.job.tenant));
    let tenants: Vec<&String> = tenants.collect();
    let own = tenants.iter().filter(|of| **of == tenant).count();
    let refused = |cause| {
        let hint = "ask again when others are done, or cancel some with `reelraft job cancel`";
        Some(Problem::new("too-many-comparisons", cause, hint))
    };
    if own >= MEASURING_OF_TENANT_MAX {
        return refused(format!(
            "{own} outputs of tenant '{tenant}' are being compared"
        ));
    }
    match tenants.len() {
        all if all >= MEASURING_MAX => {
            refused(format!("{all} outputs of all tenants are being compared"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{command::Command, entry::Entry, job_id::job_id, rows::Home, summary::Summary};

    /// Has one more finished job of a tenant compared; what is refused of it.
    fn measure(state: &mut State, index: u64, tenant: &str) -> Option<String> {
        let id = job_id(tenant, &index.to_string());
        let home = Home {
            node: 1,
            filled: true,
            ..Default::default()
        };
        state.put_job(Job {
            id: id.clone(),
            tenant: tenant.into(),
            created_index: index,
            state: JobState::Succeeded.into(),
            summary: Some(Summary::default()),
            homes: vec![home],
            source_at: vec![1],
            ..Default::default()
        });
        let (job, shards, seen_index) = (id, 1, 0);
        let command = Command::MeasureJob(MeasureJob {
            job,
            shards,
            seen_index,
        });
        let applied = state.apply(index, &Entry::new(vec![command]));
        applied.replies[0]
            .refused
            .as_ref()
            .map(|it| it.kind.clone())
    }

    #[test]
    fn so_many_comparisons_are_open_at_once() {
        let mut state = State::default();
        let (own, all) = (MEASURING_OF_TENANT_MAX as u64, MEASURING_MAX as u64);
        for index in 1..=own {
            assert_eq!(measure(&mut state, index, "t"), None);
        }
        let refused = Some("too-many-comparisons".to_string());
        assert_eq!(measure(&mut state, own + 1, "t"), refused);
        for index in own + 2..=all + 1 {
            let tenant = format!("t{}", index % 16);
            assert_eq!(measure(&mut state, index, &tenant), None);
        }
        assert_eq!(measure(&mut state, all + 2, "u"), refused);
        // One that is cancelled makes room.
        let job = job_id("t", "1");
        let cancel = Command::CancelJob(crate::command::CancelJob { job, unix_ms: 0 });
        state.apply(all + 3, &Entry::new(vec![cancel]));
        assert_eq!(measure(&mut state, all + 4, "u"), None);
    }
}
