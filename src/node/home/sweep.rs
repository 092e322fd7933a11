//! Removes what belongs to no job any more, and what a finished job no longer
//! needs, or an unfinished one whose plan was given up.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::SystemTime,
};

use reelraft_model::{
    Job, JobEntry, State,
    home_rules::{keeps_bytes_of, kept_blobs, may_let_go, may_prune},
};
use reelraft_storage::blobs::Removal;
use tokio::{sync::watch, time::Instant};
use tracing::{debug, info, warn};

use crate::{
    data::DataError,
    limits::{GIVEN_UP_GRACE, SWEEP_EVERY, SWEEP_GRACE},
    node::context::NodeContext,
};

/// Sweeps until `stop` is set; first of all away what an earlier run of this
/// node had only begun to delete.
pub async fn run(context: Arc<NodeContext>, mut stop: watch::Receiver<bool>) {
    let mut sweep = Sweep::default();
    loop {
        if let Err(error) = context.data.empty_trash().await {
            warn!(%error, "removed bytes could not be deleted yet");
        }
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            () = tokio::time::sleep(SWEEP_EVERY) => {}
        }
        sweep.run(&context).await;
    }
}

/// What was seen by the sweeps before.
#[derive(Default)]
struct Sweep {
    /// Folders of jobs that have no claim here, and since when.
    unwanted: BTreeMap<String, Instant>,
    /// Finished jobs that have nothing more than they keep, since when, and what that
    /// was. A late part may come for a moment after a job has succeeded.
    pruned: BTreeMap<String, (Instant, Keeps)>,
    /// Unfinished jobs that have had another plan before.
    given_up: BTreeMap<String, GivenUp>,
}

/// What a finished job keeps beside its output.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Keeps {
    /// Parts, for others.
    parts: bool,
    source: bool,
    /// The last comparison with its source that it is known of, and whether it came to
    /// nothing: also one that had its findings may.
    measured: (u64, bool),
}

impl Keeps {
    fn of(state: &State, job: &Job) -> Self {
        let measurement = job.measurement.as_ref();
        Keeps {
            parts: state.kept_parts(&job.id).is_some(),
            source: job.holds_source(),
            measured: measurement.map_or((0, false), |it| (it.begun_index, it.problem.is_some())),
        }
    }
}

/// What a plan that was given up has left here.
struct GivenUp {
    /// How often the job was planned anew, and whether it was collapsed.
    plan: (u32, bool),
    since: Instant,
    /// Blobs of no use then, with their last put.
    blobs: BTreeMap<String, SystemTime>,
}

impl GivenUp {
    /// Whether it is time for another look. Also where the last one has found
    /// nothing: what the former plan made may come late.
    fn is_due(&self, now: Instant) -> bool {
        now.duration_since(self.since) >= GIVEN_UP_GRACE
    }
}

impl Sweep {
    /// Removes the bytes of jobs that are gone. Judged only on a linearizable
    /// read: a node that was away must not act on what it remembers.
    async fn run(&mut self, context: &Arc<NodeContext>) {
        let Ok(held) = context.data.jobs_held().await else {
            return;
        };
        let Ok(state) = context.cluster.read().await else {
            return;
        };
        let node = context.node();
        self.prune(context, &state, &held).await;
        self.let_go(context, &state, &held).await;
        let unwanted: BTreeSet<String> = held
            .into_iter()
            .filter(|id| !keeps_bytes_of(&state, id, node))
            .collect();
        self.unwanted.retain(|id, _| unwanted.contains(id));
        for id in unwanted {
            let since = *self.unwanted.entry(id.clone()).or_insert_with(Instant::now);
            if since.elapsed() < SWEEP_GRACE {
                continue;
            }
            // Asked anew for each: an earlier removal may have taken minutes.
            match context.cluster.read().await {
                Ok(state) if !keeps_bytes_of(&state, &id, node) => {}
                _ => continue,
            }
            let job = id.clone();
            let unwanted = move |state: &State| !keeps_bytes_of(state, &job, node);
            match context.data.remove_job_if(&id, unwanted).await {
                Ok(Removal::Removed) => info!(job = id, "its bytes are removed"),
                Ok(Removal::Wanted) => debug!(job = id, "its bytes are wanted again"),
                // Tried again by the next sweep.
                Ok(Removal::InUse) => continue,
                Err(error) => warn!(job = id, %error, "its bytes could not be removed"),
            }
            self.unwanted.remove(&id);
        }
    }

    /// Removes the parts of finished jobs. What was found without any twice, a
    /// grace apart, has none any more.
    async fn prune(&mut self, context: &Arc<NodeContext>, state: &State, held: &[String]) {
        let node = context.node();
        self.pruned.retain(|id, _| state.has_job(id));
        for id in held {
            let Some(entry) = state.job(id).filter(|entry| may_prune(entry, node)) else {
                continue;
            };
            let keeps = Keeps::of(state, &entry.job);
            let clean = self.pruned.get(id);
            if clean
                .is_some_and(|(since, kept)| since.elapsed() >= 2 * SWEEP_GRACE && *kept == keeps)
            {
                continue;
            }
            let job = id.clone();
            let kept = move |state: &State| {
                let entry = state.job(&job).filter(|entry| may_prune(entry, node))?;
                Some(
                    kept_blobs(state, &entry)
                        .into_iter()
                        .collect::<BTreeSet<_>>(),
                )
            };
            match context.data.prune(&entry, kept).await {
                // Gone on with by the next sweep.
                Ok(None) => {}
                Ok(Some(0)) => {
                    let clean = (Instant::now(), keeps);
                    let known = self.pruned.entry(id.clone()).or_insert(clean);
                    if known.1 != keeps {
                        *known = clean;
                    }
                }
                Ok(Some(removed)) => {
                    self.pruned.remove(id);
                    debug!(job = id, removed, "its parts are removed");
                }
                Err(error) => warn!(job = id, %error, "its parts could not be removed"),
            }
        }
    }

    /// Removes what a plan that was given up has left of unfinished jobs: of no use
    /// in two looks, a grace apart, and not put meanwhile.
    async fn let_go(&mut self, context: &Arc<NodeContext>, state: &State, held: &[String]) {
        let node = context.node();
        self.given_up.retain(|id, _| state.current(id).is_some());
        for id in held {
            let entry = state.current(id);
            let Some(entry) = entry.filter(|entry| may_let_go(entry, node)) else {
                continue;
            };
            let plan = (entry.job.replans, entry.job.single);
            let seen = self.given_up.get(id).filter(|seen| seen.plan == plan);
            if seen.is_some_and(|seen| !seen.is_due(Instant::now())) {
                continue;
            }
            match look(context, entry, seen).await {
                Ok(Some(blobs)) => {
                    let since = Instant::now();
                    let seen = GivenUp { plan, since, blobs };
                    self.given_up.insert(id.clone(), seen);
                }
                // Gone on with by the next sweep.
                Ok(None) => {}
                Err(error) => debug!(job = id, %error, "its former parts stay"),
            }
        }
    }
}

/// Finds a job's blobs that are of no use, and removes those that were not
/// when they were seen before either. None if the job is in use.
async fn look(
    context: &Arc<NodeContext>,
    entry: &JobEntry,
    seen: Option<&GivenUp>,
) -> Result<Option<BTreeMap<String, SystemTime>>, DataError> {
    let unneeded = context.data.unneeded(entry).await?;
    let Some(seen) = seen else {
        return Ok(Some(unneeded));
    };
    let former = unneeded.iter();
    let former = former.filter(|(blob, put)| seen.blobs.get(*blob) == Some(*put));
    let former: BTreeMap<_, _> = former.map(|(blob, put)| (blob.clone(), *put)).collect();
    if former.is_empty() {
        return Ok(Some(unneeded));
    }
    let (job, node, count) = (&entry.job.id, context.node(), former.len());
    let may_go = move |entry: &JobEntry| may_let_go(entry, node);
    match context.data.remove_unneeded(job, former, may_go).await? {
        Removal::InUse => Ok(None),
        removal => {
            debug!(job, count, ?removal, "its former parts were let go of");
            Ok(Some(unneeded))
        }
    }
}

#[cfg(test)]
mod tests {
    use reelraft_model::{Measurement, Problem};

    use super::*;

    #[test]
    fn what_was_found_is_looked_at_again_once_it_is_lost() {
        let keeps = |problem: Option<Problem>| {
            let measurement = Some(Measurement {
                begun_index: 7,
                problem,
                ..Default::default()
            });
            let job = Job {
                measurement,
                ..Default::default()
            };
            Keeps::of(&State::default(), &job)
        };
        let lost = Problem::new("lost-bytes", "it is lost", "");
        assert!(keeps(None) == keeps(None) && keeps(None) != keeps(Some(lost)));
    }

    #[test]
    fn a_look_that_finds_nothing_is_not_the_last() {
        let since = Instant::now();
        let seen = GivenUp {
            plan: (1, false),
            since,
            blobs: BTreeMap::new(),
        };
        assert!(!seen.is_due(since));
        assert!(seen.is_due(since + GIVEN_UP_GRACE));
    }
}
