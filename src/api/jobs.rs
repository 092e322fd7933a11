//! Jobs and their tasks: showing, cancelling, planning anew, deleting, and what
//! belongs to them (proof, reference).

use std::sync::Arc;

use reelraft_model::{
    CancelJob, Command, DeleteJob, JobEntry, Problem, Replan, RetryJob, Scope, State, Task,
    limits::{FENCES_LEVEL, REPLAN_LEVEL, RETRY_LEVEL},
};

use super::{Api, Consistency, JobView, bad_request, not_found, not_yet};
use crate::{
    clock::unix_ms,
    limits::{PAGE_DEFAULT, PAGE_MAX},
};

/// Which tasks to list, in the order of a job's life.
#[derive(Clone, Debug, Default)]
pub struct TasksRequest {
    pub job: String,
    /// At most so many; 0 takes the default.
    pub page_size: u32,
    /// From an earlier page; empty starts at the first.
    pub page_token: String,
}

/// One page of a list.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// Asks for the next page; empty on the last.
    pub next_page_token: String,
}

impl<T> Page<T> {
    /// The first of what matches, as many as were asked for; `token` names the
    /// last of them, after which the next page begins.
    pub(super) fn of(
        mut matching: impl Iterator<Item = T>,
        asked: u32,
        token: impl FnOnce(&T) -> String,
    ) -> Self {
        let items: Vec<T> = matching.by_ref().take(page_size(asked)).collect();
        let next_page_token = match items.last() {
            Some(last) if matching.next().is_some() => token(last),
            _ => String::new(),
        };
        Page {
            items,
            next_page_token,
        }
    }
}

/// The reference of a job (P3).
#[derive(Clone, Debug, PartialEq)]
pub struct Reference {
    /// The ffmpeg command, as an argument list.
    pub args: Vec<String>,
    /// Why the film is one shard, or how like its pictures are known to be; may be
    /// empty.
    pub note: String,
}

impl Api {
    /// A job.
    ///
    /// # Errors
    /// `not-found`, and what keeps the cluster from reading.
    pub async fn job(&self, id: &str, consistency: Consistency) -> Result<JobView, Problem> {
        let entry = self.entry(Scope::Read, id, consistency).await?;
        let view = self.views(&[entry]).pop();
        Ok(view.expect("of one entry there is one view"))
    }

    /// A page of a job's tasks; of one that ended without an output, of those
    /// that failed.
    ///
    /// # Errors
    /// `not-found`, `bad-request`, and what keeps the cluster from reading, or
    /// of a finished job the homes from giving them.
    pub async fn tasks(&self, request: TasksRequest) -> Result<Page<Task>, Problem> {
        let skip = read_token(&request.page_token)?.unwrap_or(0);
        let skip = usize::try_from(skip).unwrap_or(usize::MAX);
        let read = Consistency::Linearizable;
        let entry = self.entry(Scope::Read, &request.job, read).await?;
        let size = page_size(request.page_size);
        Ok(match entry.job.summary {
            None => page(entry.tasks.values().map(AsRef::as_ref), skip, size),
            Some(_) if entry.job.history_hash.is_empty() => {
                page(entry.job.failed_tasks.iter(), skip, size)
            }
            Some(_) => {
                let history = self.context().history(&entry).await?;
                // Those that compare its output are rows.
                let rows: Vec<Task> = entry.tasks.values().map(|it| Task::clone(it)).collect();
                let tasks: Vec<&Task> = history.tasks.iter().chain(&rows).collect();
                page(tasks.into_iter(), skip, size)
            }
        })
    }

    /// Stops a job for good.
    ///
    /// # Errors
    /// `not-found`, the model's refusal of a job that has ended, and what keeps
    /// the cluster from writing.
    pub async fn cancel(&self, id: &str) -> Result<JobView, Problem> {
        let command = CancelJob {
            job: id.to_string(),
            unix_ms: unix_ms(),
        };
        let tenant = self.owner(id).await?;
        self.change(&tenant, id, Command::CancelJob(command)).await
    }

    /// Makes an unfinished job anew from its analysis, under whatever encoder
    /// build most nodes have now. What was encoded is encoded again.
    ///
    /// # Errors
    /// `not-found`, `mixed-versions`, `too-early` while no node has said its version,
    /// the model's refusal of a job that has ended or has no plan yet, and what keeps
    /// the cluster from reading or writing.
    pub async fn replan(&self, id: &str) -> Result<JobView, Problem> {
        let seen = self.seen(Scope::Submit, Consistency::Linearizable).await?;
        let entry = seen.job(id)?;
        all_know(seen.whole(), REPLAN_LEVEL, "plan jobs anew")?;
        let tenant = entry.job.tenant.clone();
        let command = Replan {
            job: id.to_string(),
            build: entry.job.build.clone(),
            replans: entry.job.replans,
            note: "planned anew, as was asked for".to_string(),
        };
        // Held no longer: the apply would have to copy what is shared.
        drop((seen, entry));
        self.change(&tenant, id, Command::Replan(command)).await
    }

    /// Tries a job again that failed or was cancelled, from its sealed source.
    ///
    /// # Errors
    /// `not-found`, `mixed-versions`, `too-early` while no node has said its version,
    /// the model's refusal of a job that has not ended or has an output, `source-gone`
    /// where its source is not kept, and what keeps the cluster from reading or
    /// writing.
    pub async fn retry(&self, id: &str) -> Result<JobView, Problem> {
        let seen = self.seen(Scope::Submit, Consistency::Linearizable).await?;
        let job = seen.job(id)?.job.clone();
        all_know(seen.whole(), RETRY_LEVEL, "try jobs again")?;
        let fenced = seen.whole().feature_level() >= FENCES_LEVEL;
        drop(seen);
        let (tenant, replans) = (job.tenant, job.replans);
        let command = RetryJob {
            job: id.to_string(),
            replans: fenced.then_some(replans),
        };
        self.change(&tenant, id, Command::RetryJob(command)).await
    }

    /// Deletes a job and its bytes. One that is deleted already is not an
    /// error: the answer to the first request may have been lost on its way.
    ///
    /// # Errors
    /// `not-found`, and what keeps the cluster from writing.
    pub async fn delete(&self, id: &str) -> Result<JobView, Problem> {
        let command = DeleteJob {
            job: id.to_string(),
            unix_ms: unix_ms(),
        };
        let tenant = self.owner(id).await?;
        self.change(&tenant, id, Command::DeleteJob(command)).await
    }

    /// The tenant of a job that is to be changed, also of one that is deleted.
    async fn owner(&self, id: &str) -> Result<String, Problem> {
        let seen = self.seen(Scope::Submit, Consistency::Linearizable).await?;
        Ok(seen.remembered(id)?.job.tenant.clone())
    }

    async fn change(&self, tenant: &str, id: &str, command: Command) -> Result<JobView, Problem> {
        let (_, state) = self.apply(Scope::Submit, tenant, command).await?;
        let entry = state.job(id).ok_or_else(|| not_found(id))?;
        Ok(self.view(&entry))
    }

    /// The proof of a finished job, as JSON.
    ///
    /// # Errors
    /// `not-found`, `not-finished`, and what keeps the homes from giving it.
    pub async fn proof(&self, id: &str) -> Result<String, Problem> {
        let entry = self.entry_or_local(Scope::Read, id).await?;
        let hash = &entry.job.proof_hash;
        if hash.is_empty() {
            let hint = "wait for it with `reelraft job wait`";
            return Err(not_yet(
                "not-finished",
                &entry,
                " and has no proof yet",
                hint,
            ));
        }
        let bytes = self.context().blob(&entry, hash).await?;
        String::from_utf8(bytes).map_err(|_| {
            let cause = format!("the proof of job {id} is not UTF-8");
            Problem::new("internal", cause, "submit the job again")
        })
    }

    /// The reference command of a job whose source was analysed.
    ///
    /// # Errors
    /// `not-found`, `not-analysed`, `not-kept` of a job that ended without an
    /// output, and what keeps the homes from giving the analysis.
    pub async fn reference(&self, id: &str) -> Result<Reference, Problem> {
        let entry = self.analysed(id).await?;
        let (args, likeness) = self.context().reference(&entry).await?;
        let notes = [entry.job.plan_note.as_str(), likeness];
        let said: Vec<&str> = notes.into_iter().filter(|note| !note.is_empty()).collect();
        Ok(Reference {
            args,
            note: said.join("; "),
        })
    }

    /// A job whose analysis is kept.
    pub(super) async fn analysed(&self, id: &str) -> Result<Arc<JobEntry>, Problem> {
        let entry = self.entry_or_local(Scope::Read, id).await?;
        if entry.job.index_hash.is_empty() {
            let lacks = ": its source has not been looked at yet";
            let hint = "ask again when it is encoding";
            return Err(not_yet("not-analysed", &entry, lacks, hint));
        }
        if !entry.job.state().keeps_bytes() {
            let lacks = ", and its bytes are not kept";
            let hint = "submit the file again";
            return Err(not_yet("not-kept", &entry, lacks, hint));
        }
        Ok(entry)
    }
}

/// Refuses what some node could not read in the log; `can` says what that is.
///
/// # Errors
/// `mixed-versions`, and `too-early` while no node has said its version.
pub(super) fn all_know(state: &State, level: u32, can: &str) -> Result<(), Problem> {
    if state.feature_level() >= level {
        return Ok(());
    }
    let older = state.nodes().filter(|node| node.feature_level < level);
    let older: Vec<String> = older.map(|node| node.id.to_string()).collect();
    if older.is_empty() {
        return Err(Problem::new(
            "too-early",
            "no node has said yet which version it is",
            "try again in a moment",
        ));
    }
    Err(Problem::new(
        "mixed-versions",
        format!(
            "node {} was last seen with a version that can't {can}",
            older.join(", ")
        ),
        "start it with the version of the others; `reelraft cluster status` lists the nodes",
    ))
}

fn page<'a>(
    tasks: impl ExactSizeIterator<Item = &'a Task>,
    skip: usize,
    size: usize,
) -> Page<Task> {
    let total = tasks.len();
    let items: Vec<Task> = tasks.skip(skip).take(size).cloned().collect();
    let end = skip.saturating_add(items.len());
    let next_page_token = match end < total {
        true => end.to_string(),
        false => String::new(),
    };
    Page {
        items,
        next_page_token,
    }
}

fn page_size(asked: u32) -> usize {
    let size = match asked {
        0 => PAGE_DEFAULT,
        asked => asked.min(PAGE_MAX),
    };
    size as usize
}

pub(super) fn read_token(token: &str) -> Result<Option<u64>, Problem> {
    match token {
        "" => Ok(None),
        token => token.parse().map(Some).map_err(|_| {
            bad_request(
                "the page token is not one of ours",
                "start again without it",
            )
        }),
    }
}
