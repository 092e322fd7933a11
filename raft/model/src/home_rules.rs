//! What a node owes to the bytes of a job, as functions of the table: whether
//! it must keep them, copy them, or may thin them out. The node's loops do
//! what these say, and so do the tests that play a whole cluster.

use crate::{
    fold::History,
    housekeeping::TouchUpload,
    job_entry::JobEntry,
    kept_parts::KeptPart,
    limits::{HOUSEKEEPING_LEVEL, UPLOAD_TOUCH_MS},
    rows::{Job, JobState, TaskKey},
    state::State,
};

/// What a home owes to a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FillDuty {
    /// It became a home later, or again: it copies all that the job has, and
    /// then says that it is filled.
    BecomeWhole,
    /// It is filled, and copies what was finished while it was away.
    StayWhole,
}

/// Whether a job's bytes may be needed on this node: as its home, for an
/// attempt that runs here, or because some home of the job is not filled yet. Of
/// a job that may be tried again its homes alone keep what they have. What no job
/// keeps here is swept.
pub fn keeps_bytes_of(state: &State, job: &str, node: u64) -> bool {
    state.job(job).is_some_and(|entry| {
        let here = |key: &TaskKey| {
            let task = entry.tasks.get(key);
            task.is_some_and(|task| task.attempts_running().any(|(_, at)| at == node))
        };
        let home = entry.is_read_from(node) || entry.job.is_filling();
        let live = entry.job.state().keeps_bytes();
        let held = entry.job.keeps_source() && entry.is_read_from(node);
        held || (live && (home || entry.running.iter().any(here)))
    })
}

/// What this node must copy of a job, if anything.
pub fn must_fill(entry: &JobEntry, node: u64) -> Option<FillDuty> {
    if !entry.job.is_kept() {
        return None;
    }
    let home = entry.job.current_homes().find(|home| home.node == node)?;
    match home.filled && !home.returned {
        false => Some(FillDuty::BecomeWhole),
        // The upload itself fills those that were homes from the start.
        true if entry.job.state() == JobState::Uploading => None,
        // Nothing comes to a source that is only kept.
        true if entry.job.keeps_source() => None,
        true => Some(FillDuty::StayWhole),
    }
}

/// Whether this node fetches a job's source: the first home of its epoch does. Where
/// it is lost the leader replaces it, and where two do it for a while, both give the
/// same bytes.
pub fn must_fetch(job: &Job, node: u64) -> bool {
    let first = job.current_homes().next();
    job.fetches_from().is_some() && first.is_some_and(|home| home.node == node)
}

/// The stamp that an upload which goes on is due, if its last one is old.
pub fn touch_due(state: &State, job: &Job) -> Option<TouchUpload> {
    let touched_cluster_ms = job.touched_cluster_ms;
    let age_ms = state.cluster_ms().saturating_sub(touched_cluster_ms);
    let due = job.state() == JobState::Uploading && age_ms >= UPLOAD_TOUCH_MS;
    let readable = state.feature_level() >= HOUSEKEEPING_LEVEL;
    (due && readable).then(|| TouchUpload {
        job: job.id.clone(),
        touched_cluster_ms,
    })
}

/// Whether this home must write down the tasks of a finished job, so that they
/// may leave the table.
pub fn owes_history(entry: &JobEntry, node: u64) -> bool {
    let job = &entry.job;
    let mut homes = job.current_homes();
    job.state() == JobState::Succeeded
        && job.summary.is_none()
        && !job.history_at.contains(&node)
        && homes.any(|home| home.node == node && home.filled)
}

/// The blobs of a finished job that a home does not remove: those that it must
/// have, the history that it may have written down already, parts that others
/// may take, and the manifest of a source that is held, with its chunks.
pub fn kept_blobs(state: &State, entry: &JobEntry) -> Vec<String> {
    let mut kept = entry.blobs();
    let mut keep = |part: &KeptPart| kept.extend([part.hash.clone(), part.report.clone()]);
    match state.kept_parts(&entry.job.id) {
        Some(row) => row.parts.iter().for_each(keep),
        None => entry.parts_to_keep().for_each(|part| keep(&part)),
    }
    if entry.job.summary.is_none() {
        kept.push(History::blob(entry).hash);
    }
    if entry.job.holds_source() {
        kept.push(entry.job.manifest.clone());
    }
    kept
}

/// Whether this home removes all but [`kept_blobs`]: of a finished job
/// it keeps what its owner can still ask for. What is found while it is compared with
/// its source comes before the table names it.
pub fn may_prune(entry: &JobEntry, node: u64) -> bool {
    let succeeded = entry.job.state() == JobState::Succeeded;
    succeeded && entry.is_read_from(node) && !entry.job.is_measuring()
}

/// Whether this home lets go of what a former plan of an unfinished job has left
/// here, so that nothing but its source and what the table names remains. Only
/// while it encodes: before, its analysis puts an index, and after it the home
/// keeps an output, and the table names neither yet.
pub fn may_let_go(entry: &JobEntry, node: u64) -> bool {
    let job = &entry.job;
    let given_up = job.replans > 0 || job.single;
    given_up && job.state() == JobState::Encoding && entry.is_home(node)
}

/// The nodes that a job's bytes can be read from: the homes of its epoch, and
/// those that retire.
pub fn sources(job: &Job) -> impl Iterator<Item = u64> + '_ {
    let homes = job.current_homes().chain(job.retiring_homes());
    homes.map(|home| home.node)
}

/// The nodes that hold all of a job's bytes. While it uploads, what retires
/// lacks the chunks that came since.
pub fn holders(job: &Job) -> impl Iterator<Item = u64> + '_ {
    let uploading = job.state() == JobState::Uploading;
    let whole = move |home: &&crate::rows::Home| home.filled && !(home.retiring && uploading);
    job.homes.iter().filter(whole).map(|home| home.node)
}
