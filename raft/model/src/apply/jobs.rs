//! Commands about jobs as a whole, and about time.

use super::{
    homes::{all_filled, new_homes, release_retired},
    refusals::{already_ended, not_found},
    writer::{Writer, clipped},
};
use crate::{
    command::{
        CancelJob, CreateJob, DeleteJob, FailJob, HomeFilled, Reply, SealSource, SetHomes, Tick,
    },
    job_id::job_id,
    limits::{
        FENCES_LEVEL, KEPT_SOURCES_LEVEL, PURGE_ROWS_PER_COMMAND_MAX, REQUEST_MEMORY_MS,
        RETIRING_HOMES_MAX,
    },
    outside::Outside,
    rows::{Home, Job, JobState, Problem, Task, TaskKey, TaskKind},
    table_rows::cluster_key,
    tombstones::Tombstone,
};

impl Writer<'_> {
    pub(super) fn create_job(&mut self, age: u64, c: &CreateJob) -> Reply {
        let id = job_id(&c.tenant, &c.request_id);
        if let Some(job) = self.job(&id) {
            let same_spec = job.spec == c.spec && ends_alike(job, c);
            let same = same_spec
                && job.source_bytes == c.source_bytes
                && job.source_fingerprint == c.source_fingerprint;
            if !same {
                let what = if same_spec { "source" } else { "spec" };
                return Reply::refused(
                    &id,
                    Problem::new(
                        "request-id-reused",
                        format!(
                            "request id '{}' already belongs to job {id} with another {what}",
                            c.request_id
                        ),
                        "use a new --request-id, or send the same file and options again",
                    ),
                );
            }
            return Reply {
                job: id,
                existed: true,
                ..Default::default()
            };
        }
        if let Some(problem) = self.find_room_for(c) {
            return Reply::refused(&id, problem);
        }
        let cluster_ms = self.state.cluster_ms().max(1);
        self.put_job(Job {
            id: id.clone(),
            tenant: c.tenant.clone(),
            request_id: c.request_id.clone(),
            state: JobState::Uploading.into(),
            spec: c.spec.clone(),
            source_name: c.source_name.clone(),
            source_bytes: c.source_bytes,
            source_fingerprint: c.source_fingerprint.clone(),
            created_index: age,
            created_unix_ms: c.unix_ms,
            touched_cluster_ms: c.bounds.map_or(0, |_| cluster_ms),
            outside: c.outside.clone(),
            priority: c.priority,
            max_retries: c.max_retries,
            deadline_unix_ms: c.deadline_unix_ms,
            ..Default::default()
        });
        Reply::done(&id)
    }

    pub(super) fn set_homes(&mut self, index: u64, c: &SetHomes) -> Reply {
        let Some(mut job) = self.job(&c.job).cloned() else {
            return Reply::stale(&c.job);
        };
        let seen = job.epoch == c.epoch && c.retiring.len() <= RETIRING_HOMES_MAX;
        let moves = self.state.feature_level() >= KEPT_SOURCES_LEVEL;
        let kept = job.state().keeps_bytes() || (moves && job.keeps_source());
        if !kept || !seen || c.homes.is_empty() {
            return Reply::stale(&c.job);
        }
        let homes = new_homes(&job, c);
        let holds = |homes: &[Home]| homes.iter().any(|home| home.filled);
        // The last full copy of a sealed source is never let go.
        if job.state() != JobState::Uploading && holds(&job.homes) && !holds(&homes) {
            return Reply::stale(&c.job);
        }
        let before = std::mem::replace(&mut job.homes, homes);
        release_retired(&mut job);
        job.epoch = index;
        // Each home of the new epoch says anew what it has.
        job.history_at.clear();
        let (assembling, ended) = (job.state() == JobState::Assembling, job.state().ended());
        let uploading = job.state() == JobState::Uploading;
        self.put_job(job);
        self.forget_former_sources(&c.job);
        if c.early && c.epoch == 0 && uploading {
            self.make_task(&c.job, Task::pending(TaskKind::Analyze, 0));
        }
        // Parts that are made again leave assemblies behind them.
        let left = before.iter().filter(|home| !c.homes.contains(&home.node));
        for home in left.filter(|_| !ended) {
            self.drop_task(&c.job, (TaskKind::Assemble, home.node as u32));
        }
        if assembling {
            self.open_assemblies(&c.job);
            self.succeed_if_agreed(&c.job, 0);
        }
        Reply::done(&c.job)
    }

    pub(super) fn home_filled(&mut self, c: &HomeFilled) -> Reply {
        let Some(mut job) = self.job(&c.job).cloned() else {
            return Reply::stale(&c.job);
        };
        let epoch = job.epoch;
        let seen = c.index_hash.as_ref();
        if seen.is_some_and(|seen| *seen != job.index_hash) {
            return Reply::stale(&c.job);
        }
        match job
            .homes
            .iter_mut()
            .find(|home| home.node == c.node && !home.retiring)
            .filter(|home| !home.filled || home.returned)
        {
            Some(home) if epoch == c.epoch => {
                home.filled = true;
                home.returned = false;
            }
            _ => return Reply::stale(&c.job),
        }
        release_retired(&mut job);
        self.put_job(job);
        self.forget_former_sources(&c.job);
        Reply::done(&c.job)
    }

    pub(super) fn seal_source(&mut self, c: &SealSource) -> Reply {
        let Some(mut job) = self.job(&c.job).cloned() else {
            return Reply::stale(&c.job);
        };
        if job.state() != JobState::Uploading || job.epoch != c.epoch {
            return Reply::stale(&c.job);
        }
        job.manifest = c.manifest.clone();
        job.source_root = c.root.clone();
        job.source_kept = c.keep_source;
        job.state = JobState::Analyzing.into();
        // The epoch is that of the homes that acknowledged every chunk.
        all_filled(&mut job);
        job.close_source_url();
        job.reuse = self.state.made_before(&job);
        self.put_job(job);
        // An analysis that has begun goes on.
        let begun = self.state.jobs.get(&c.job).is_some_and(|entry| {
            let analysis = (TaskKind::Analyze, 0);
            entry.tasks.contains_key(&analysis)
        });
        match begun {
            true => self.forgive(&c.job),
            false => self.put_task(&c.job, Task::pending(TaskKind::Analyze, 0)),
        }
        Reply::done(&c.job)
    }

    pub(super) fn fail_job(&mut self, c: &FailJob) -> Reply {
        match self.job(&c.job) {
            Some(job) if !job.state().ended() => self.fail(&c.job, c.unix_ms, clipped(&c.problem)),
            _ => Reply::stale(&c.job),
        }
    }

    pub(super) fn cancel_job(&mut self, c: &CancelJob) -> Reply {
        let Some(mut job) = self.job(&c.job).cloned() else {
            return not_found(&c.job);
        };
        let fenced = self.state.feature_level() >= FENCES_LEVEL;
        match job.state() {
            JobState::Cancelled => return Reply::stale(&c.job),
            JobState::Deleted => return not_found(&c.job),
            // Its output stays; what compares it ends.
            JobState::Succeeded if job.is_measuring() => {
                let problem = Problem::new(CANCELLED, "it was cancelled", "ask for it again");
                self.give_up_measuring(&c.job, problem);
                return Reply::done(&c.job);
            }
            JobState::Succeeded if fenced && was_cancelled(&job) => return Reply::stale(&c.job),
            state if state.ended() => return already_ended(&c.job, state),
            _ => {}
        }
        job.state = JobState::Cancelled.into();
        job.ended_unix_ms = c.unix_ms;
        self.put_ended_job(job);
        self.stop_tasks(&c.job);
        Reply::done(&c.job)
    }

    pub(super) fn delete_job(&mut self, c: &DeleteJob) -> Reply {
        let cluster_ms = self.state.cluster_ms();
        let Some(entry) = self.state.jobs.get(&c.job) else {
            return not_found(&c.job);
        };
        if entry.job.state() == JobState::Deleted {
            return Reply::stale(&c.job);
        }
        let mut job = entry.job.clone();
        let tasks: Vec<TaskKey> = entry.tasks.keys().copied().collect();
        job.state = JobState::Deleted.into();
        job.deleted_cluster_ms = cluster_ms;
        job.ended_unix_ms = c.unix_ms;
        // What is asked of a tombstone is whose request it was.
        job.summary = None;
        job.history_hash.clear();
        job.history_at.clear();
        job.failed_tasks.clear();
        job.reuse = None;
        job.outside = None;
        job.measurement = None;
        job.source_at.clear();
        self.remove_parts(&c.job);
        self.put_job(job);
        for key in tasks {
            self.remove_task(&c.job, key);
        }
        Reply::done(&c.job)
    }

    pub(super) fn tick(&mut self, c: &Tick) -> Reply {
        let now = self.state.cluster.cluster_ms.max(c.cluster_ms);
        self.state.cluster.cluster_ms = now;
        self.touched.insert(cluster_key());
        let tombstones = self.state.tombstones.iter();
        let old = tombstones.take_while(|(deleted_ms, _)| deleted_ms + REQUEST_MEMORY_MS <= now);
        let old: Vec<Tombstone> = old.take(PURGE_ROWS_PER_COMMAND_MAX).collect();
        for tombstone in old {
            self.forget(tombstone);
        }
        Reply::default()
    }
}

/// Whether a job sends what a request says where it says. A tombstone does not know.
fn ends_alike(job: &Job, c: &CreateJob) -> bool {
    job.state() == JobState::Deleted || ends(job.outside.as_ref()) == ends(c.outside.as_ref())
}

/// Where something is sent when a job ends: its webhook's URL and its output's.
fn ends(outside: Option<&Outside>) -> (&str, &str) {
    outside.map_or(("", ""), |it| (&it.webhook_url, &it.output_url))
}

/// What a comparison ends with that its owner has cancelled.
const CANCELLED: &str = "cancelled";

/// Whether the comparison of a finished job was cancelled, and none was asked for since.
fn was_cancelled(job: &Job) -> bool {
    let problem = job.measurement.as_ref().and_then(|it| it.problem.as_ref());
    problem.is_some_and(|problem| problem.kind == CANCELLED)
}
