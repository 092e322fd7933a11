//! Housekeeping, last in priority: what is abandoned ends, what has ended is
//! folded, and what is old is deleted where that is asked for. A few an entry,
//! and each found by an index.

use std::{collections::BTreeSet, sync::Arc};

use super::{health::ClusterHealth, measuring::hopeless};
use crate::{
    command::{Command, DeleteJob, RegisterNode},
    fold::foldable_at_once,
    housekeeping::{ExpireUpload, Fold, TouchUpload},
    job_entry::JobEntry,
    kept_parts::{DropParts, KeptParts},
    limits::{
        COMMANDS_PER_ENTRY_MAX, COMPARE_WAITS_MS, FOLDS_PER_ENTRY_MAX, HELD_SOURCE_ROOM,
        HOLD_SOURCE_MS, HOUSEKEEPING_LEVEL, KEEP_PARTS_MS, KEPT_SOURCES_LEVEL,
        LEFT_BEHIND_AFTER_MS, LEFT_BEHIND_LEVEL, MEMBERS_LEVEL, RETRY_LEVEL,
    },
    member_commands::RemoveNode,
    retry::DropSource,
    rows::{Home, Job, Node},
    state::State,
};

/// Adds what keeps the table small, in what room the entry has left.
pub(super) fn tidy_up(state: &State, health: &ClusterHealth, commands: &mut Vec<Command>) {
    let room = COMMANDS_PER_ENTRY_MAX.saturating_sub(commands.len());
    commands.extend(left_behind(state, health).into_iter().take(room));
    let room = COMMANDS_PER_ENTRY_MAX.saturating_sub(commands.len());
    commands.extend(replaced(state, health).take(room));
    if state.feature_level() < HOUSEKEEPING_LEVEL {
        return;
    }
    let room = COMMANDS_PER_ENTRY_MAX.saturating_sub(commands.len());
    commands.extend(expired(state, health).take(room));
    let room = COMMANDS_PER_ENTRY_MAX.saturating_sub(commands.len());
    commands.extend(folds(state).take(room));
    if state.feature_level() >= RETRY_LEVEL {
        let room = COMMANDS_PER_ENTRY_MAX.saturating_sub(commands.len());
        commands.extend(given_up(state, health).take(room.min(FOLDS_PER_ENTRY_MAX)));
        let room = COMMANDS_PER_ENTRY_MAX.saturating_sub(commands.len());
        commands.extend(nowhere(state, health).take(room.min(FOLDS_PER_ENTRY_MAX)));
    }
    let room = COMMANDS_PER_ENTRY_MAX.saturating_sub(commands.len());
    commands.extend(hopeless(state, health).take(room.min(FOLDS_PER_ENTRY_MAX)));
    let room = COMMANDS_PER_ENTRY_MAX.saturating_sub(commands.len());
    commands.extend(held_let_go(state, health).take(room.min(FOLDS_PER_ENTRY_MAX)));
    let room = COMMANDS_PER_ENTRY_MAX.saturating_sub(commands.len());
    commands.extend(parts_let_go(state, health).take(room.min(FOLDS_PER_ENTRY_MAX)));
    let room = COMMANDS_PER_ENTRY_MAX.saturating_sub(commands.len());
    commands.extend(outdated(state, health).take(room.min(FOLDS_PER_ENTRY_MAX)));
}

/// Uploads that stood still for too long. One without a stamp is given one
/// first.
fn expired<'a>(state: &'a State, health: &'a ClusterHealth) -> impl Iterator<Item = Command> + 'a {
    let now_ms = state.cluster_ms();
    let due = move |touched_ms: u64| touched_ms.saturating_add(health.upload_expiry_ms) <= now_ms;
    let jobs = state.uploading().map(|entry| &entry.job);
    let still =
        jobs.take_while(move |job| job.touched_cluster_ms == 0 || due(job.touched_cluster_ms));
    still.map(|job| {
        let (job, touched_cluster_ms) = (job.id.clone(), job.touched_cluster_ms);
        match touched_cluster_ms {
            0 => Command::TouchUpload(TouchUpload {
                job,
                touched_cluster_ms,
            }),
            _ => Command::ExpireUpload(ExpireUpload {
                job,
                touched_cluster_ms,
                unix_ms: health.unix_ms,
            }),
        }
    })
}

/// Jobs that ended without an output. The homes of the others see to those.
fn folds(state: &State) -> impl Iterator<Item = Command> {
    let folds = foldable_at_once(state.to_be_folded()).into_iter();
    folds.map(|entry| {
        let job = entry.job.id.clone();
        Command::Fold(Fold { job })
    })
}

/// Sources of ended jobs that nobody asked for in time, and those on a disk that
/// is full: they go before anything else does.
fn given_up<'a>(state: &'a State, health: &'a ClusterHealth) -> impl Iterator<Item = Command> + 'a {
    let now_ms = state.cluster_ms();
    let old = move |folded_ms: u64| folded_ms.saturating_add(health.keep_source_ms) <= now_ms;
    let crowded = health.nodes.values().any(|node| node.full);
    let full = |node: u64| health.nodes.get(&node).is_some_and(|node| node.full);
    let held = state.index.held();
    let looked_at = held.take_while(move |(folded_ms, _)| crowded || old(*folded_ms));
    let looked_at = looked_at.filter_map(|(_, age)| state.job_at(age));
    let on_full = move |job: &Job| job.homes.iter().any(|home| full(home.node));
    let gone =
        looked_at.filter(move |entry| old(entry.job.folded_cluster_ms) || on_full(&entry.job));
    gone.map(|entry| {
        Command::DropSource(DropSource {
            job: entry.job.id.clone(),
            folded_cluster_ms: entry.job.folded_cluster_ms,
        })
    })
}

/// Sources of ended jobs that no home has that may come back.
fn nowhere<'a>(state: &'a State, health: &'a ClusterHealth) -> impl Iterator<Item = Command> + 'a {
    let alive = |home: &Home| home.filled && health.alive(home.node);
    let judged = state.feature_level() >= KEPT_SOURCES_LEVEL;
    let sources = state.outputs().sources().filter(move |_| judged);
    let gone = sources.filter(move |(homes, _)| state.are_gone(homes) && !homes.iter().any(alive));
    let gone = gone.flat_map(|(_, jobs)| jobs.iter());
    let gone = gone.filter_map(|age| state.job_at(*age));
    gone.map(|entry| {
        Command::DropSource(DropSource {
            job: entry.job.id.clone(),
            folded_cluster_ms: entry.job.folded_cluster_ms,
        })
    })
}

/// Sources of finished jobs that were held long enough, and those for which there is
/// too little room: these also where a full disk keeps the tasks from being put by.
/// Rows are read of what goes, and of what is compared.
fn held_let_go<'a>(
    state: &'a State,
    health: &'a ClusterHealth,
) -> impl Iterator<Item = Command> + 'a {
    let now_ms = state.cluster_ms();
    let hold_ms = health.keep_source_ms.min(HOLD_SOURCE_MS);
    let due = move |since_ms: u64, for_ms: u64| since_ms.saturating_add(for_ms) <= now_ms;
    let old = move |entry: &JobEntry| match &entry.job.measurement {
        // A long part takes as long as it does, as a shard may.
        Some(_) if entry.job.is_measuring() && !entry.running.is_empty() => false,
        Some(measurement) if entry.job.is_measuring() => {
            due(measurement.touched_cluster_ms, COMPARE_WAITS_MS)
        }
        _ => due(entry.job.held_since_ms(), hold_ms),
    };
    let crowded = crowded_out(state, health);
    let first = crowded.clone().into_iter();
    let first = first.filter_map(|age| state.job_at(age));
    let held = state.index.sources().since();
    let held = held.take_while(move |(since_ms, _)| due(*since_ms, hold_ms));
    let held = held.filter(move |(_, age)| !crowded.contains(age));
    let held = held.filter_map(|(_, age)| state.job_at(age));
    let gone = held.filter(move |entry| old(entry));
    first.chain(gone).map(|entry| {
        Command::DropSource(DropSource {
            job: entry.job.id.clone(),
            folded_cluster_ms: entry.job.folded_cluster_ms,
        })
    })
}

/// The ages of jobs whose sources a home can't hold: its disk is full, or all that it
/// holds takes more than a part of the room that is left. A few of each home.
fn crowded_out(state: &State, health: &ClusterHealth) -> BTreeSet<u64> {
    let nodes = health.nodes.iter();
    let sources = nodes.filter_map(|(id, node)| {
        // A disk that does not say what it has may have much.
        let known = node.alive && node.room_bytes > 0;
        let bytes_max = match (node.full, known) {
            (true, _) => 0,
            (false, true) => node.room_bytes / HELD_SOURCE_ROOM,
            (false, false) => return None,
        };
        let sources = state.index.sources().beyond(*id, bytes_max);
        Some(sources.take(FOLDS_PER_ENTRY_MAX))
    });
    sources.flatten().collect()
}

/// Parts of finished jobs that nobody took in time, those on a disk that is full, and
/// all where nothing is reused. Those of others go with their sources.
fn parts_let_go<'a>(
    state: &'a State,
    health: &'a ClusterHealth,
) -> impl Iterator<Item = Command> + 'a {
    let now_ms = state.cluster_ms();
    let keep_ms = if health.reuse_outputs {
        KEEP_PARTS_MS
    } else {
        0
    };
    let old = move |row: &KeptParts| row.since_cluster_ms.saturating_add(keep_ms) <= now_ms;
    let full = |node: u64| health.nodes.get(&node).is_some_and(|node| node.full);
    let crowded = health.nodes.values().any(|node| node.full);
    let looked_at = state.shelf.finished().map(AsRef::as_ref);
    let looked_at = looked_at.take_while(move |row| crowded || old(row));
    let gone = looked_at.filter(move |row| {
        let on_full = |entry: Arc<JobEntry>| entry.job.homes.iter().any(|home| full(home.node));
        old(row) || state.job(&row.job).is_some_and(on_full)
    });
    gone.map(|row| {
        Command::DropParts(DropParts {
            job: row.job.clone(),
            since_cluster_ms: row.since_cluster_ms,
        })
    })
}

/// Nodes that have been silent for so long that their programs hold the level of
/// the others down no more, once all of these can read that.
fn left_behind(state: &State, health: &ClusterHealth) -> Vec<Command> {
    let silent = |id: u64| {
        let node = health.nodes.get(&id);
        node.is_some_and(|node| !node.alive && node.silent_ms >= LEFT_BEHIND_AFTER_MS)
    };
    let (gone, others): (Vec<&Node>, Vec<&Node>) = state.nodes().partition(|node| silent(node.id));
    let level = others.iter().map(|node| node.feature_level).min();
    let level = level.filter(|level| *level >= LEFT_BEHIND_LEVEL);
    let behind = gone
        .into_iter()
        .filter(|node| Some(node.feature_level) < level);
    let registered = behind.map(|node| {
        Command::RegisterNode(RegisterNode {
            node: node.id,
            incarnation: node.incarnation.clone(),
            address: node.address.clone(),
            feature_level: level.unwrap_or_default(),
            left_behind: true,
        })
    });
    registered.collect()
}

/// Nodes whose places others have taken: another disk was let in at their address,
/// their votes are gone, and their bytes are elsewhere.
fn replaced<'a>(state: &'a State, health: &'a ClusterHealth) -> impl Iterator<Item = Command> + 'a {
    let left = |id: u64| {
        let member = health.nodes.get(&id);
        member.is_none_or(|node| node.gone && !node.votes)
    };
    let written = state.feature_level() >= MEMBERS_LEVEL;
    let superseded = state.nodes().map(|node| node.id);
    let superseded = superseded.filter(move |id| written && left(*id) && state.is_superseded(*id));
    let empty = superseded.filter(|id| state.bytes_at(*id).count == 0);
    empty.map(|node| Command::RemoveNode(RemoveNode { node, dead: true }))
}

/// Jobs that ended long ago.
fn outdated<'a>(state: &'a State, health: &'a ClusterHealth) -> impl Iterator<Item = Command> + 'a {
    let old = health.keep_ended_ms.into_iter().flat_map(|keep_ms| {
        let now_ms = state.cluster_ms();
        let due = move |folded_ms: u64| folded_ms.saturating_add(keep_ms) <= now_ms;
        let folded = state.index.folded();
        let old = folded.take_while(move |(folded_ms, _)| due(*folded_ms));
        let old = old.filter_map(|(_, age)| state.job_at(age));
        // What is still to be sent of it would go, too.
        old.filter(|entry| entry.job.pending_deliveries().next().is_none())
    });
    old.map(|entry| {
        Command::DeleteJob(DeleteJob {
            job: entry.job.id.clone(),
            unix_ms: health.unix_ms,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        command::Tick, entry::Entry, job_id::job_id, plan::health::NodeHealth, rows::JobState,
        summary::Summary,
    };

    /// A finished job on nodes 1 to 3, whose source the first two hold.
    fn held(age: u64, folded: bool) -> Job {
        let home = |node| Home {
            node,
            filled: true,
            ..Default::default()
        };
        Job {
            id: job_id("t", &age.to_string()),
            created_index: age,
            folded_cluster_ms: age,
            source_bytes: 1_000,
            state: JobState::Succeeded.into(),
            summary: folded.then(Summary::default),
            homes: [1, 2, 3].map(home).to_vec(),
            source_at: vec![1, 2],
            ..Default::default()
        }
    }

    fn health(rooms: [u64; 3]) -> ClusterHealth {
        let node = |room_bytes| NodeHealth {
            alive: true,
            room_bytes,
            ..Default::default()
        };
        ClusterHealth {
            nodes: (1..).zip(rooms.map(node)).collect(),
            ..Default::default()
        }
    }

    /// What goes in one entry.
    fn gone(state: &State, health: &ClusterHealth) -> Vec<Command> {
        let gone = held_let_go(state, health);
        gone.take(FOLDS_PER_ENTRY_MAX).collect()
    }

    fn apply(state: &mut State, commands: Vec<Command>) {
        state.apply(1_000, &Entry::new(commands));
    }

    #[test]
    fn many_held_sources_are_judged_together() {
        let mut state = State::default();
        (1..=20).for_each(|age| state.put_job(held(age, true)));
        let ample = 1 << 40;
        assert_eq!(gone(&state, &health([80_000, ample, ample])), []);
        // A disk that does not answer, and one that holds none of them.
        assert_eq!(gone(&state, &health([0, ample, 1])), []);
        let cramped = health([8_000, ample, ample]);
        let first = gone(&state, &cramped);
        let named = |age: u64| {
            Command::DropSource(DropSource {
                job: job_id("t", &age.to_string()),
                folded_cluster_ms: age,
            })
        };
        assert_eq!(first, (1..=16).map(named).collect::<Vec<_>>());
        apply(&mut state, first);
        assert_eq!(gone(&state, &cramped), [17, 18].map(named));
        apply(&mut state, [17, 18].map(named).to_vec());
        assert_eq!(gone(&state, &cramped), []);
        let mut full = health([ample; 3]);
        full.nodes.entry(2).and_modify(|node| node.full = true);
        assert_eq!(gone(&state, &full), [19, 20].map(named));
    }

    #[test]
    fn a_source_is_not_held_for_ever_where_its_job_is_never_put_by() {
        let mut state = State::default();
        let mut job = held(1, false);
        (job.folded_cluster_ms, job.touched_cluster_ms) = (0, 5_000);
        state.put_job(job);
        let ample = health([1 << 40; 3]);
        for (cluster_ms, goes) in [(HOLD_SOURCE_MS, 0), (HOLD_SOURCE_MS + 5_000, 1)] {
            apply(&mut state, vec![Command::Tick(Tick { cluster_ms })]);
            assert_eq!(gone(&state, &ample).len(), goes);
        }
    }
}
