//! What must hold in an event log whatever fails: work that a node had begun
//! and could have ended is not begun again (P4), a term has one leader, and a
//! leader that was replaced assigns nothing new (P6).

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    clock::now_us,
    event_log::EventLog,
    events::{Absence, Attempt, AttemptEnd, AttemptKey, EventKind, Kill},
};

/// How long a replaced leader may still log what it had committed before: the
/// time between a commit and its line, on a machine whose cores are busy.
const LATE_LINE_US: u64 = 500_000;

/// How soon an attempt ends after the one beside it is done: the time between a
/// commit and the line of the node that hears of it.
const TOLD_WITHIN_US: u64 = 1_000_000;

/// Tasks that were begun again.
#[derive(Default)]
pub(crate) struct RestartedTasks {
    /// Attempts at something that had been attempted before.
    pub count: usize,
    /// Those whose earlier attempt no absence explains, in words.
    pub unexplained: Vec<String>,
}

/// Work that was begun again. A second attempt is explained if the node of the
/// one before it was absent between the two (P4): whatever a reachable node
/// had begun must end there. The twin of a last shard is none of it.
pub(crate) fn find_restarted_tasks(attempts: &[Attempt], absences: &[Absence]) -> RestartedTasks {
    let mut last: BTreeMap<(&str, &str, u32), &Attempt> = BTreeMap::new();
    let mut restarted = RestartedTasks::default();
    for attempt in attempts {
        let before = last.get(&attempt.key.task());
        // A node that was stopped may begin what it was told before that. The
        // table takes it away again at once.
        if before.is_some_and(|before| before.key.attempt > attempt.key.attempt) {
            continue;
        }
        if let Some(before) = last.insert(attempt.key.task(), attempt) {
            if is_twin(before, attempt) {
                continue;
            }
            restarted.count += 1;
            let explained = absences.iter().any(|absence| {
                absence.node == before.node
                    && absence.from_us <= attempt.from_us
                    && absence.to_us >= before.from_us
            });
            if !explained {
                restarted.unexplained.push(unexplained(before, attempt));
            }
        }
    }
    restarted
}

/// Whether an attempt was given out beside the one before it, which ran on until one
/// of them was done: the last shards of a film may have a second attempt.
fn is_twin(before: &Attempt, attempt: &Attempt) -> bool {
    let beside = attempt.from_us < before.to_us;
    let first_won = before.end == AttemptEnd::Finished;
    let lost = before.end == AttemptEnd::Stopped && attempt.end == AttemptEnd::Finished;
    beside && (first_won || (lost && before.to_us + TOLD_WITHIN_US >= attempt.to_us))
}

fn unexplained(before: &Attempt, attempt: &Attempt) -> String {
    format!(
        "{}/{}/{}: attempt {} on node {} ended as {:?} after {} ms, and attempt {} began on \
         node {} though node {} had lived",
        attempt.key.job,
        attempt.key.kind,
        attempt.key.number,
        before.key.attempt,
        before.node,
        before.end,
        (before.to_us - before.from_us) / 1_000,
        attempt.key.attempt,
        attempt.node,
        before.node,
    )
}

/// The attempts that a node was working on at a moment, and that other nodes
/// can take over.
pub fn attempts_running_at(
    log: &EventLog,
    kills: &[Kill],
    node: u64,
    at_us: u64,
) -> Vec<AttemptKey> {
    // Without a kill at this very moment, which would seem to have ended them.
    let earlier: Vec<Kill> = kills
        .iter()
        .copied()
        .filter(|kill| kill.at_us < at_us)
        .collect();
    let attempts = log.attempts(&earlier, now_us());
    let running = attempts.into_iter().filter(|attempt| {
        attempt.node == node && (attempt.from_us..attempt.to_us).contains(&at_us)
    });
    // Every home assembles for itself; that is never given to another node.
    let movable = running.filter(|attempt| attempt.key.kind != "assemble");
    movable.map(|attempt| attempt.key).collect()
}

/// When a node first began something after a moment.
pub fn first_start_after(log: &EventLog, node: u64, from_us: u64) -> Option<u64> {
    let started = log
        .after(from_us)
        .iter()
        .find(|event| event.node == node && matches!(event.kind, EventKind::Started { .. }));
    started.map(|event| event.at_us)
}

/// Reports where two nodes led in one term, and where a leader assigned
/// something new after another had been elected in a later term. Repeating an
/// old assignment is allowed: it was committed when it could be.
pub fn leadership_violations(log: &EventLog) -> Vec<String> {
    let mut violations = Vec::new();
    let mut led: BTreeMap<u64, u64> = BTreeMap::new();
    let mut known: BTreeSet<&AttemptKey> = BTreeSet::new();
    let mut elections: Vec<(u64, u64, u64)> = Vec::new();
    for event in &log.events {
        match &event.kind {
            EventKind::BecameLeader { term } => {
                let before = led.insert(*term, event.node);
                if let Some(other) = before.filter(|&other| other != event.node) {
                    violations.push(format!(
                        "nodes {other} and {} both led in term {term}",
                        event.node
                    ));
                }
                elections.push((event.at_us, *term, event.node));
            }
            EventKind::Assigned { key, .. } if known.insert(key) => {
                // The latest election that had long been known.
                let settled = elections
                    .iter()
                    .filter(|(at_us, ..)| at_us + LATE_LINE_US <= event.at_us)
                    .max_by_key(|(_, term, _)| *term);
                let newest = elections.iter().max_by_key(|(_, term, _)| *term);
                let leads = |election: Option<&(u64, u64, u64)>| {
                    election.is_none_or(|(.., node)| *node == event.node)
                };
                if !leads(settled) && !leads(newest) {
                    violations.push(format!(
                        "node {} gave out {}/{}/{}#{} though {:?} leads (time, term, node)",
                        event.node, key.job, key.kind, key.number, key.attempt, newest
                    ));
                }
            }
            _ => {}
        }
    }
    violations
}

/// Whether some task has lost its attempt `times` times in a row. A task that
/// dies with three nodes is given up as poison, so an experiment that hits one
/// node after the other spares what it has hit twice.
pub fn has_lost_attempts_in_a_row(attempts: &[Attempt], times: usize) -> bool {
    let mut lost: BTreeMap<(&str, &str, u32), usize> = BTreeMap::new();
    for attempt in attempts {
        let count = lost.entry(attempt.key.task()).or_default();
        *count = match attempt.end {
            AttemptEnd::Finished => 0,
            AttemptEnd::Open => *count,
            AttemptEnd::Killed | AttemptEnd::Stopped | AttemptEnd::Failed(_) => *count + 1,
        };
    }
    lost.values().any(|&count| count >= times)
}
