//! When a job's shards may be over, and which node is to take which of them until
//! then: in the film's order while much is left, so that its beginning can be looked at
//! early, and then the longest first; the fastest node first, and a slow one none that
//! would end after everybody else is done.

use std::cmp::Reverse;

use super::{
    builds::Builds,
    rates::{class_of, rates_of},
    speeds::Rates,
    usage::{Slots, Usage},
};
use crate::{
    job_entry::JobEntry,
    limits::{IN_ORDER_TIMES, SMALL_TASK_MS},
    rows::{Job, TaskKind},
};

/// A job's free nodes, and how long it may take them.
pub(super) struct Outlook {
    /// Those that were free when the plan was begun, by id.
    nodes: Vec<Candidate>,
    /// No shard is to end later than this.
    end_ms: u64,
    /// Frames of its shards that wait, and those that all nodes together encode in a
    /// thousand seconds.
    waiting: u64,
    together: u64,
    /// Whether its order matters more than how long its shards are.
    in_order: bool,
}

/// A node that may take a shard.
#[derive(Clone, Copy)]
struct Candidate {
    node: u64,
    rate: u64,
    /// How fast it is among those that have the job's build.
    class: u64,
    /// It is not a home.
    away: bool,
}

impl Outlook {
    /// The outlook of a job with shards that wait.
    pub fn of(entry: &JobEntry, build: &str, usage: &Usage<'_>, builds: &Builds<'_>) -> Self {
        let rates = rates_of(usage.health, &entry.job);
        let all = usage
            .slots_of(build, &entry.job)
            .filter(|slots| !builds.shuns(slots.node, &entry.job));
        let all: Vec<(Slots, u64)> = all.map(|slots| (slots, rates.rate(slots.node))).collect();
        let most = all.iter().map(|(_, rate)| *rate).max().unwrap_or(1);
        let candidates = all.iter().filter(|(slots, _)| slots.free > 0);
        let nodes = candidates.map(|(slots, rate)| Candidate {
            node: slots.node,
            rate: *rate,
            class: class_of(*rate, most),
            away: !entry.is_home(slots.node),
        });
        let together = all.iter().map(|(slots, rate)| u64::from(slots.all) * rate);
        let (together, waiting): (u64, u64) = (together.sum(), entry.counts.frames_waiting);
        let fluid_ms = Rates::ms(waiting, together);
        let longest = entry.fresh_shards(u64::MAX).next();
        let longest = longest.map_or(0, |task| task.frames);
        let slots = all.iter().map(|(slots, _)| u64::from(slots.all));
        // What a slot does that is as fast as all are on average.
        let mean = together.checked_div(slots.sum()).unwrap_or(1);
        Outlook {
            nodes: nodes.collect(),
            end_ms: end_ms(entry, &all, usage, (fluid_ms, longest)),
            waiting,
            together,
            in_order: fluid_ms >= Rates::ms(longest, mean).saturating_mul(IN_ORDER_TIMES),
        }
    }

    /// Lets slower nodes help, as so many frames of other jobs wait as well.
    pub fn give_way(&mut self, backlog: u64) {
        let all = self.waiting.saturating_add(backlog);
        self.end_ms = self.end_ms.max(Rates::ms(all, self.together));
    }

    /// Whether the first shard of those that wait is next, and not the longest.
    pub fn in_order(&self) -> bool {
        self.in_order
    }

    /// The node that takes a shard next, and how many frames that may have at most.
    /// `longest` and `shortest` are those of the shards that wait.
    pub fn pick(
        &self,
        job: &Job,
        (longest, shortest): (u64, u64),
        usage: &Usage<'_>,
    ) -> Option<(u64, u64)> {
        let kind = TaskKind::Shard;
        let free = |node: &&Candidate| {
            usage.free(node.node, kind) > 0 && usage.has_memory(node.node, kind, job)
        };
        let useful = self.nodes.iter().filter(free);
        let useful = useful.filter(|node| Rates::ms(shortest, node.rate) <= self.end_ms);
        let small = useful.clone();
        let small = small.filter(|node| Rates::ms(longest, node.rate) <= SMALL_TASK_MS);
        let slowest = small.min_by_key(|node| (node.class, suits(node, usage)));
        let fastest = || useful.min_by_key(|node| (Reverse(node.class), suits(node, usage)));
        let best = slowest.or_else(fastest)?;
        let frames = u128::from(self.end_ms) * u128::from(best.rate) / 1_000_000;
        let frames = frames.min(u64::MAX.into()) as u64;
        Some((best.node, frames.max(shortest)))
    }
}

/// How well a node suits a shard among those that are as fast; the least comes first.
fn suits(of: &Candidate, usage: &Usage<'_>) -> (Reverse<u32>, bool, u64) {
    let free = usage.free(of.node, TaskKind::Shard);
    (Reverse(free), of.away, of.node)
}

/// When all shards that wait may have ended, on these nodes alone, which would take
/// `fluid_ms` if they could be cut at will; `longest` are the frames of the longest.
fn end_ms(
    entry: &JobEntry,
    all: &[(Slots, u64)],
    usage: &Usage<'_>,
    (fluid_ms, longest): (u64, u64),
) -> u64 {
    let count = entry.fresh_count() as u64;
    let waiting = entry.counts.frames_waiting;
    let slowest = all.iter().map(|(_, rate)| *rate).min().unwrap_or(1);
    // Where there is so much to do, nobody waits.
    if count == 0 || fluid_ms >= Rates::ms(longest, slowest) {
        return u64::MAX;
    }
    let mean = waiting / count;
    // For each slot: when it is free, and how long it takes for a shard.
    let slots: Vec<(u64, u64, u64)> = all
        .iter()
        .flat_map(|(slots, rate)| {
            let one_ms = Rates::ms(mean, *rate).max(1);
            let longest_ms = Rates::ms(longest, *rate);
            let busy = usage.busy_ms(slots.node);
            let idle = std::iter::repeat_n(0, slots.free as usize);
            // What this plan has given out already.
            let known = busy.len() + slots.free as usize;
            let given = (slots.all as usize).saturating_sub(known);
            let given = std::iter::repeat_n(one_ms, given);
            let free_at = busy.iter().copied().chain(idle).chain(given);
            free_at.map(move |at_ms| (at_ms, one_ms, longest_ms))
        })
        .collect();
    let ended_by = |ms: u64| {
        let ended = slots
            .iter()
            .map(|(at, one, _)| ms.saturating_sub(*at) / one);
        ended.sum::<u64>() >= count
    };
    let first = slots.iter().map(|(at, one, longest)| at + longest.max(one));
    let least_ms = first.min().unwrap_or(0);
    let (mut early, mut late) = (0, least_ms.max(1));
    while !ended_by(late) {
        early = late;
        late = late.saturating_mul(2);
        if late == u64::MAX {
            return late;
        }
    }
    while late - early > 1 + late / 256 {
        let middle = early + (late - early) / 2;
        match ended_by(middle) {
            true => late = middle,
            false => early = middle,
        }
    }
    // What is expected is never quite so.
    let late = late.max(least_ms).max(fluid_ms);
    (late + late / 50).max(SMALL_TASK_MS)
}
