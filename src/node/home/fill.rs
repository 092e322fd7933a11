//! Fills this disk with what its jobs count on.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use reelraft_model::{
    Command, EndMeasure, HomeFilled, Job, JobEntry, JobState, Kept, Problem, State,
    home_rules::{FillDuty, holders, must_fill},
};
use tokio::task::{AbortHandle, JoinError, JoinSet};
use tracing::{debug, error, info, warn};

use super::fill_queue::{Due, FillQueue};
use crate::{
    data::{DataError, LOST_BYTES},
    node::context::NodeContext,
};

/// Fills this node for every job that counts on it: as a new home, and after
/// an absence in which parts were finished that only the other homes hold.
/// A few at once, each in a task of its own, which end with the filler.
#[derive(Default)]
pub struct Filler {
    queue: FillQueue,
    fills: JoinSet<Filled>,
    running: BTreeMap<String, AbortHandle>,
    /// What was found whole, by age, so that a quiet job costs nothing.
    whole: BTreeMap<u64, FillMark>,
    /// Jobs whose loss was told already.
    lost: BTreeSet<String>,
    /// What this home lacked when it first knew the table as it is.
    owed: Option<Owed>,
    /// The table and the disk when nothing was due at the last look.
    at_rest: Option<AtRest>,
}

/// What says that nothing can be due anew.
#[derive(PartialEq, Eq)]
struct AtRest {
    /// How far the log was applied.
    log_index: u64,
    /// Blobs found damaged up to then.
    damaged: u64,
}

/// The jobs that must be filled once before a home has caught up. A job that
/// is being encoded lacks something anew at every look, so that nothing else
/// would tell when the absence is made good.
struct Owed {
    jobs: BTreeSet<String>,
    /// A fill counts that was begun with the table at this index or later.
    since_index: u64,
}

/// What a job was when this home was last found to hold all of it.
#[derive(Clone, PartialEq, Eq)]
struct FillMark {
    epoch: u64,
    state: JobState,
    /// Finished tasks, whose results are blobs of the job.
    results: u32,
    /// Blobs found damaged on this disk up to then, of whatever job.
    damaged: u64,
    /// Which comparison of its output with its source it has the findings of.
    measured: u64,
}

/// A fill that has ended.
struct Filled {
    job: String,
    age: u64,
    mark: FillMark,
    /// How far the log was applied when it was begun.
    log_index: u64,
    result: Result<Extent, DataError>,
}

/// How much of a job a home has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Extent {
    All,
    /// All but a part of what was found when its output was compared with its source.
    Film,
}

impl FillMark {
    fn of(entry: &JobEntry, damaged: u64) -> Self {
        FillMark {
            epoch: entry.job.epoch,
            state: entry.job.state(),
            results: entry.counts.done,
            damaged,
            measured: Kept::of(&entry.job).measured,
        }
    }

    /// Of a finished job whose tasks are no rows any more.
    fn of_output(kept: Kept, damaged: u64) -> Self {
        FillMark {
            epoch: kept.epoch,
            state: JobState::Succeeded,
            results: 0,
            damaged,
            measured: kept.measured,
        }
    }

    /// Whether the source's chunks, which were here then, must be here still.
    fn vouches_for_source(&self, now: &FillMark) -> bool {
        (self.epoch, self.damaged) == (now.epoch, now.damaged)
    }
}

impl Filler {
    /// Looks at all jobs anew, ends the fills that nobody needs any more, and
    /// begins others. `current` says that this replica was just brought up to
    /// date. Returns whether all has been filled that was lacking when that
    /// was first so.
    pub fn look(&mut self, context: &Arc<NodeContext>, current: bool) -> bool {
        let node = context.node();
        let log_index = *context.cluster.applied().borrow();
        let damaged = context.data.store().damaged();
        let now = AtRest { log_index, damaged };
        if self.owed.is_some() && self.at_rest.as_ref() == Some(&now) {
            return self.is_paid();
        }
        let state = context.cluster.local();
        let is_gone = |job: &str| {
            let entry = state.job(job);
            entry.and_then(|entry| must_fill(&entry, node)).is_none()
        };
        self.whole.retain(|age, _| state.has_age(*age));
        self.lost.retain(|job| state.has_job(job));
        self.queue.forget(is_gone);
        for (_, fill) in self.running.iter().filter(|(job, _)| is_gone(job)) {
            fill.abort();
        }
        let due: Vec<Due> = self.due(&state, node, damaged);
        tell_copies(context, &state, &due);
        if current && self.owed.is_none() {
            self.owed = Some(Owed {
                jobs: due.iter().map(|due| due.job.clone()).collect(),
                since_index: log_index,
            });
        }
        if let Some(owed) = &mut self.owed {
            owed.jobs.retain(|job| !is_gone(job));
        }
        self.at_rest = (due.is_empty() && self.running.is_empty()).then_some(now);
        self.queue.wait_for(due);
        self.begin(context);
        self.is_paid()
    }

    /// The jobs of which something may have to be copied. Of those that are over
    /// there may be many, and their rows are not read while nothing has changed.
    fn due(&self, state: &State, node: u64, damaged: u64) -> Vec<Due> {
        let is_due = |entry: &JobEntry| match must_fill(entry, node) {
            None => false,
            Some(FillDuty::BecomeWhole) => true,
            Some(FillDuty::StayWhole) => {
                self.whole.get(&entry.job.created_index) != Some(&FillMark::of(entry, damaged))
            }
        };
        let kept = state.outputs_at(node).filter(|(age, kept)| {
            let mark = FillMark::of_output(*kept, damaged);
            !state.is_current(*age) && self.whole.get(age) != Some(&mark)
        });
        let kept = kept.filter_map(|(age, _)| state.job_at(age));
        let sources = state.sources_due_at(node);
        let sources = sources.filter(|age| !state.is_current(*age));
        let kept = kept.chain(sources.filter_map(|age| state.job_at(age)));
        let current = state.all_current().filter(|entry| is_due(entry));
        let kept = kept.filter(|entry| is_due(entry));
        let all = current.map(|entry| due(&entry.job));
        all.chain(kept.map(|entry| due(&entry.job))).collect()
    }

    fn is_paid(&self) -> bool {
        self.owed.as_ref().is_some_and(|owed| owed.jobs.is_empty())
    }

    /// Waits until a fill has ended, if one is running, and begins the next.
    pub async fn go_on(&mut self, context: &Arc<NodeContext>) {
        match self.fills.join_next().await {
            Some(Ok(filled)) => self.end(filled),
            Some(Err(ended)) => self.cut_off(&ended),
            None => std::future::pending().await,
        }
        self.begin(context);
    }

    /// Begins as many fills as there is room for.
    fn begin(&mut self, context: &Arc<NodeContext>) {
        while let Some(job) = self.queue.begin() {
            // Read before the state, so that the state is at least as new.
            let log_index = *context.cluster.applied().borrow();
            let state = context.cluster.local();
            let duty = state
                .job(&job)
                .and_then(|entry| Some((must_fill(&entry, context.node())?, entry)));
            let Some((duty, entry)) = duty else {
                self.queue.end(&job, true);
                continue;
            };
            let mark = FillMark::of(&entry, context.data.store().damaged());
            let age = entry.job.created_index;
            let known = self.whole.get(&age);
            let source_known = known.is_some_and(|known| known.vouches_for_source(&mark));
            let fill = fill(context.clone(), entry, duty, source_known);
            let fill = async move {
                let (job, result) = fill.await;
                Filled {
                    job,
                    age,
                    mark,
                    log_index,
                    result,
                }
            };
            self.running.insert(job, self.fills.spawn(fill));
        }
    }

    fn end(&mut self, filled: Filled) {
        let Filled {
            job,
            age,
            mark,
            log_index,
            result,
        } = filled;
        self.running.remove(&job);
        self.queue.end(&job, matches!(result, Ok(Extent::All)));
        match result {
            Ok(extent) => {
                self.lost.remove(&job);
                if let Some(owed) = &mut self.owed
                    && log_index >= owed.since_index
                {
                    owed.jobs.remove(&job);
                }
                if extent == Extent::All {
                    self.whole.insert(age, mark);
                }
            }
            Err(error) if error.is_lost() && self.lost.insert(job.clone()) => {
                error!(job, %error, "bytes that were stored are lost");
            }
            Err(error) => debug!(job, %error, "not filled yet"),
        }
    }

    fn cut_off(&mut self, ended: &JoinError) {
        let of_it = |(_, fill): &(&String, &AbortHandle)| fill.id() == ended.id();
        let job = self.running.iter().find(of_it).map(|(job, _)| job.clone());
        if let Some(job) = job {
            self.running.remove(&job);
            self.queue.end(&job, false);
            if !ended.is_cancelled() {
                warn!(job, error = %ended, "a fill ended without a result");
            }
        }
    }
}

/// Says what this home copies to become whole. What is finished of running jobs
/// meanwhile comes and goes, and is not told.
fn tell_copies(context: &NodeContext, state: &State, due: &[Due]) {
    let node = context.node();
    let becomes = |due: &&Due| {
        let entry = state.job(&due.job);
        let duty = entry.and_then(|entry| must_fill(&entry, node));
        duty == Some(FillDuty::BecomeWhole)
    };
    let becomes = due.iter().filter(becomes);
    let (jobs, bytes) = becomes.fold((0, 0), |(jobs, bytes), due| (jobs + 1, bytes + due.bytes));
    context.data.upkeep().to_copy(jobs, bytes);
}

fn due(job: &Job) -> Due {
    Due {
        job: job.id.clone(),
        copies: holders(job).count(),
        bytes: match job.state() {
            JobState::Succeeded => job.output_bytes,
            _ => job.source_bytes,
        },
    }
}

/// Fills this home for one job, and says so if it was not filled before.
async fn fill(
    context: Arc<NodeContext>,
    entry: Arc<JobEntry>,
    duty: FillDuty,
    source_known: bool,
) -> (String, Result<Extent, DataError>) {
    let job = entry.job.id.clone();
    let beside = match context.data.fill(&entry, source_known).await {
        Ok(beside) => beside,
        Err(error) => return (job, Err(error)),
    };
    if duty == FillDuty::BecomeWhole {
        propose_filled(&context, &entry.job).await;
    }
    let extent = match beside {
        None => Extent::All,
        Some(error) => {
            debug!(job, %error, "filled, but for how it compares with its source");
            if let DataError::Lost { hash, .. } = &error {
                end_lost_measure(&context, &entry, hash).await;
            }
            Extent::Film
        }
    };
    (job, Ok(extent))
}

/// What was found of an output, compared with its source, can be found again, and is
/// not to keep the film from having its homes.
async fn end_lost_measure(context: &NodeContext, entry: &JobEntry, hash: &str) {
    let Some(measurement) = entry.job.measurement.as_ref() else {
        return;
    };
    if !entry.is_measured_blob(hash) {
        return;
    }
    let cause = "a part of what was found is on no home any more";
    let hint = "ask for it again, while its source is held";
    let command = Command::EndMeasure(EndMeasure {
        job: entry.job.id.clone(),
        begun_index: measurement.begun_index,
        problem: Problem::new(LOST_BYTES, cause, hint),
        lost: hash.to_string(),
    });
    if let Err(error) = context.cluster.propose(vec![command]).await {
        debug!(job = entry.job.id, %error, "the loss could not be proposed");
    }
}

async fn propose_filled(context: &Arc<NodeContext>, job: &Job) {
    info!(job = job.id, "filled as a new home");
    let command = HomeFilled {
        job: job.id.clone(),
        epoch: job.epoch,
        node: context.node(),
        index_hash: Some(job.index_hash.clone()),
    };
    if let Err(error) = context
        .cluster
        .propose(vec![Command::HomeFilled(command)])
        .await
    {
        debug!(job = job.id, %error, "the fill could not be proposed");
    }
}
