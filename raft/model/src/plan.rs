//! `plan`: all of the leader's judgement, as a function of the table and of
//! what the nodes report. The loop around it proposes the commands and calls
//! again. Planning twice proposes the same thing twice, which the commands'
//! conditions make harmless.
//!
//! The rules, in order:
//! 1. End jobs that can't be done, and take work back from lost nodes
//!    (`failures`).
//! 2. Give unfinished jobs their homes and replace lost ones (`homes`).
//! 3. Hand out pending tasks (`assign`). First those lost with their node, as
//!    they had their turn already; then by fair share over tenants, then by
//!    age. Assemblies, analysis and audio come before shards, and the longest
//!    shard first. Only nodes of the job's build with a free slot take part:
//!    homes first for tasks that read or make whole files, then the least busy.
//! 4. Give finished outputs other homes for those that have been silent for
//!    minutes (`homes`): a few an entry, as each costs a copy.
//! 5. Keep the table small: end abandoned uploads, fold what has ended, and
//!    delete what is old, where that is asked for (`housekeeping`).

mod assign;
mod failures;
mod health;
mod homes;
mod housekeeping;
mod waiting;

use std::collections::BTreeSet;

pub use self::{
    health::{ClusterHealth, HOME_LOST_MS, LEASE_MS, NodeHealth, home_count},
    waiting::{Waiting, waiting},
};
use crate::{
    command::{AttemptKey, Command, FailJob},
    limits::COMMANDS_PER_ENTRY_MAX,
    rows::TaskState,
    state::State,
};

/// The commands that the table and the nodes call for now; at most one
/// entry's worth, the most urgent first.
pub fn plan(state: &State, health: &ClusterHealth) -> Vec<Command> {
    let mut commands = Vec::new();
    let mut failing = BTreeSet::new();
    for entry in state.active() {
        if let Some(problem) = failures::terminal_failure(entry, health) {
            commands.push(Command::FailJob(FailJob {
                job: entry.job.id.clone(),
                problem,
                unix_ms: health.unix_ms,
            }));
            failing.insert(&entry.job.id);
        } else {
            failures::release_lost(entry, health, &mut commands);
        }
    }
    homes::place_active(state, health, &mut commands);
    commands.truncate(COMMANDS_PER_ENTRY_MAX);
    assign::assign_tasks(state, health, &failing, &mut commands);
    homes::place_outputs(state, health, &mut commands);
    housekeeping::tidy_up(state, health, &mut commands);
    commands
}

/// Whether the table still has this attempt running on this node. Workers stop
/// an attempt that is not current any more.
pub fn attempt_is_current(state: &State, key: &AttemptKey, node: u64) -> bool {
    state.job(&key.job).is_some_and(|entry| {
        !entry.job.state().ended()
            && entry.tasks.get(&key.task()).is_some_and(|task| {
                task.state() == TaskState::Running
                    && task.attempt == key.attempt
                    && task.node == node
            })
    })
}
