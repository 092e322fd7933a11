//! `plan`: all of the leader's judgement, as a function of the table and of
//! what the nodes report. The loop around it proposes the commands and calls
//! again. Planning twice proposes the same thing twice, which the commands'
//! conditions make harmless.
//!
//! The rules, in order:
//! 1. End jobs that can't be done, plan those anew whose encoder build is gone
//!    (`builds`), and take work back from lost nodes (`failures`).
//!    Have jobs take the output of an equal one that was made before.
//! 2. Give unfinished jobs their homes and replace lost ones (`homes`).
//! 3. Hand out pending tasks (`assign`). First those lost with their node, as
//!    they had their turn already; then by fair share over tenants, then by
//!    age. Assemblies, analysis and audio come before shards, and the longest
//!    shard first. Only nodes of the job's build with a free slot take part:
//!    homes first for tasks that read or make whole files, then the least busy.
//!    A node that lacks an encoder, where others of its build do not, gets none.
//!    Engines take part as nodes do, and get shards alone.
//!    An assembly has a place beside the slots, and waits for nobody's shards.
//!    What is left of the nodes when a job waits for its last shards takes a second
//!    attempt at those whose end is far off (`twins`).
//! 4. Give finished outputs other homes for those that have been silent for
//!    minutes (`homes`): a few an entry, as each costs a copy. Have kept sources leave
//!    homes that drain.
//! 5. Remove nodes that others have replaced, and keep the table small: end abandoned uploads, fold what has ended, and
//!    delete what is old, where that is asked for (`housekeeping`).

mod assign;
mod builds;
mod failures;
mod health;
mod homes;
mod housekeeping;
mod measuring;
mod membership;
mod outlook;
mod rates;
mod speeds;
mod turns;
mod twins;
mod usage;
mod waiting;
mod zones;

use std::collections::BTreeSet;

use self::builds::Builds;
pub use self::{
    health::{
        ClusterHealth, ENGINE_LEASE_MS, HOME_LOST_MS, LEASE_MS, NodeHealth, encoder_of, files_of,
        home_count, is_files, needs,
    },
    membership::{Change, Membership, drain_refusal, membership},
    speeds::Speeds,
    waiting::{Waiting, waiting},
    zones::zone_notes,
};
use crate::{
    command::{AttemptKey, Command},
    limits::COMMANDS_PER_ENTRY_MAX,
    reuse::DecideReuse,
    state::State,
};

/// The commands that the table and the nodes call for now; at most one
/// entry's worth, the most urgent first.
pub fn plan(state: &State, health: &ClusterHealth) -> Vec<Command> {
    let mut commands = Vec::new();
    let builds = Builds::of(health);
    let mut replans = builds.replans(state);
    // Jobs whose tasks are about to go.
    let mut leaving = BTreeSet::new();
    // Only what runs can be lost, and only what has failed can fail a job.
    for entry in state.eventful() {
        let id = &entry.job.id;
        if let Some(problem) = failures::terminal_failure(entry, &builds) {
            commands.push(failures::end(&entry.job, problem, health.unix_ms));
            leaving.insert(id);
            replans.remove(id);
        } else if !replans.contains_key(id) {
            failures::release_lost(entry, health, &mut commands);
            failures::release_abandoned(state, entry, &mut commands);
        }
    }
    for (id, replan) in replans {
        commands.push(Command::Replan(replan));
        leaving.insert(id);
    }
    for id in state.open().offered() {
        let Some(job) = state.current(id).map(|entry| &entry.job) else {
            continue;
        };
        let Some(offer) = job.offer() else { continue };
        let other = state.job(&offer.job);
        commands.push(Command::DecideReuse(DecideReuse {
            job: id.clone(),
            of: offer.job.clone(),
            taken: other.is_some_and(|other| builds.takes(job, &other.job)),
        }));
        leaving.insert(id);
    }
    homes::place_active(state, &builds, &mut commands);
    commands.truncate(COMMANDS_PER_ENTRY_MAX);
    assign::assign_tasks(state, &builds, &leaving, &mut commands);
    homes::place_outputs(state, &builds, &mut commands);
    homes::place_sources(state, &builds, &mut commands);
    housekeeping::tidy_up(state, health, &mut commands);
    commands
}

/// Whether the table still has this attempt running on this node. Workers stop
/// an attempt that is not current any more.
pub fn attempt_is_current(state: &State, key: &AttemptKey, node: u64) -> bool {
    state.job(&key.job).is_some_and(|entry| {
        entry.job.runs(key.kind())
            && entry.tasks.get(&key.task()).is_some_and(|task| {
                task.attempts_running()
                    .any(|running| running == (key.attempt, node))
            })
    })
}
