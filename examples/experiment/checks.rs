//! What must hold in a record whatever fails: work that a node had begun and
//! could have ended is not begun again (P4), a term has one leader, and a
//! leader that was replaced gives out nothing new (P6).

use std::collections::{BTreeMap, BTreeSet};

use super::{
    now_us,
    record::{End, Key, Kill, Record, Try, What},
};

/// How long a replaced leader may still log what it had written down before:
/// the time between a commit and its line, on a machine whose cores are busy.
const LATE_LINE_US: u64 = 500_000;

/// A time in which the others could not hear a node. A kill is one of no
/// length: what matters is that it fell between two tries.
#[derive(Clone, Copy, Debug)]
pub struct Away {
    pub node: u64,
    pub from_us: u64,
    pub to_us: u64,
}

impl From<Kill> for Away {
    fn from(kill: Kill) -> Self {
        Away {
            node: kill.node,
            from_us: kill.at_us,
            to_us: kill.at_us,
        }
    }
}

/// What was done again, and why.
#[derive(Default)]
pub struct Again {
    /// Tries at something that had been tried before.
    pub tries: usize,
    /// Those of them whose earlier try no kill explains, in words.
    pub unexplained: Vec<String>,
}

/// Work that was begun again. A second try is explained if the node of the
/// try before it was away between the two (P4); whatever a node had begun that
/// could be heard must end there.
pub fn begun_again(tries: &[Try], away: &[Away]) -> Again {
    let mut last: BTreeMap<(&str, &str, u32), &Try> = BTreeMap::new();
    let mut again = Again::default();
    for found in tries {
        let before = last.get(&found.key.task());
        // A stopped node may begin, when it goes on, what it was told before.
        // The table takes that from it again at once.
        if before.is_some_and(|before| before.key.attempt > found.key.attempt) {
            continue;
        }
        if let Some(before) = last.insert(found.key.task(), found) {
            again.tries += 1;
            let explained = away.iter().any(|away| {
                away.node == before.node
                    && away.from_us <= found.from_us
                    && away.to_us >= before.from_us
            });
            if !explained {
                again.unexplained.push(format!(
                    "{}/{}/{}: attempt {} on node {} ended as {:?} after {} ms, and attempt {} \
                     began on node {} though node {} had lived",
                    found.key.job,
                    found.key.kind,
                    found.key.number,
                    before.key.attempt,
                    before.node,
                    before.end,
                    (before.to_us - before.from_us) / 1_000,
                    found.key.attempt,
                    found.node,
                    before.node,
                ));
            }
        }
    }
    again
}

/// The first assignment after a moment, by a leader elected since then, of
/// something that nobody had given out before: (elected, assigned, by whom).
pub fn taken_over(record: &Record, from_us: u64) -> Option<(u64, u64, u64)> {
    let mut assigned_before = None;
    let mut elected = None;
    for event in record.after(from_us) {
        match &event.what {
            // Where the first one chosen is replaced at once, the wait goes
            // on, and the election that counts is the last.
            What::Leads { .. } => elected = Some((event.at_us, event.node)),
            What::Assigned { key, .. } => {
                let Some((elected_us, leader)) = elected else {
                    continue;
                };
                let before = assigned_before.get_or_insert_with(|| record.assigned_before(from_us));
                if leader == event.node && !before.contains(key) {
                    return Some((elected_us, event.at_us, leader));
                }
            }
            _ => {}
        }
    }
    None
}

/// The attempts that a node was at in a moment, and that others can make.
pub fn running_at(record: &Record, kills: &[Kill], node: u64, at_us: u64) -> Vec<Key> {
    // But for this moment's own kill, which would seem to have ended them.
    let earlier: Vec<Kill> = kills
        .iter()
        .copied()
        .filter(|kill| kill.at_us < at_us)
        .collect();
    let tries = record.tries(&earlier, now_us());
    let at_it = tries
        .into_iter()
        .filter(|found| found.node == node && (found.from_us..found.to_us).contains(&at_us));
    // Every home assembles for itself: nobody else is given that.
    let movable = at_it.filter(|found| found.key.kind != "assemble");
    movable.map(|found| found.key).collect()
}

/// When a node first began something after a moment.
pub fn began_after(record: &Record, node: u64, from_us: u64) -> Option<u64> {
    let found = record
        .after(from_us)
        .iter()
        .find(|event| event.node == node && matches!(event.what, What::Started { .. }));
    found.map(|event| event.at_us)
}

/// Says where two nodes led in one term, or a leader gave out something new
/// after another had been elected in a later one. To say again what had been
/// given out before is allowed: it was written down when it could be.
pub fn one_leader(record: &Record) -> Vec<String> {
    let mut broken = Vec::new();
    let mut led: BTreeMap<u64, u64> = BTreeMap::new();
    let mut known: BTreeSet<&Key> = BTreeSet::new();
    let mut elected: Vec<(u64, u64, u64)> = Vec::new();
    for event in &record.events {
        match &event.what {
            What::Leads { term } => {
                let before = led.insert(*term, event.node);
                if let Some(other) = before.filter(|&other| other != event.node) {
                    broken.push(format!(
                        "nodes {other} and {} both led in term {term}",
                        event.node
                    ));
                }
                elected.push((event.at_us, *term, event.node));
            }
            What::Assigned { key, .. } if known.insert(key) => {
                // The latest term that could long be known of.
                let settled = elected
                    .iter()
                    .filter(|(at_us, ..)| at_us + LATE_LINE_US <= event.at_us)
                    .max_by_key(|(_, term, _)| *term);
                let newest = elected.iter().max_by_key(|(_, term, _)| *term);
                let leads = |found: Option<&(u64, u64, u64)>| {
                    found.is_none_or(|(.., node)| *node == event.node)
                };
                if !leads(settled) && !leads(newest) {
                    broken.push(format!(
                        "node {} gave out {}/{}/{}#{} though {:?} leads (time, term, node)",
                        event.node, key.job, key.kind, key.number, key.attempt, newest
                    ));
                }
            }
            _ => {}
        }
    }
    broken
}

/// Whether some task has lost its try `times` times in a row. One that dies with
/// three nodes is given up as poison, so an experiment that hits one node after
/// the other spares what it has hit twice.
pub fn tried_in_vain(tries: &[Try], times: usize) -> bool {
    let mut vain: BTreeMap<(&str, &str, u32), usize> = BTreeMap::new();
    for found in tries {
        let count = vain.entry(found.key.task()).or_default();
        *count = match found.end {
            End::Finished => 0,
            End::Open => *count,
            End::Killed | End::Stopped | End::Failed(_) => *count + 1,
        };
    }
    vain.values().any(|&count| count >= times)
}
