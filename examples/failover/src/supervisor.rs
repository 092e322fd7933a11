//! Restarts nodes that ended by themselves, as `reelraft dev` and service
//! managers do: after a pause that grows from one end to the next. Whether a
//! node may end is the experiment's to judge.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use crate::{clock::now_us, events::Kill, process_cluster::ProcessCluster};

/// The first pause and the longest one: those of `reelraft dev`.
const RESTART_MIN: Duration = Duration::from_millis(500);
const RESTART_MAX: Duration = Duration::from_secs(3);

/// A node that has ended since all nodes were last well.
struct Ended {
    /// When it is to be started; `None` while it runs.
    due: Option<Instant>,
    next_pause: Duration,
}

#[derive(Default)]
pub struct Supervisor {
    ended: BTreeMap<u64, Ended>,
    /// Every end of a node, as it was noticed.
    pub kills: Vec<Kill>,
}

impl Supervisor {
    /// To be called often: notices which nodes have ended, and starts those
    /// whose pause is over. Gives each node that has newly ended, and how.
    ///
    /// # Errors
    /// If a node can't be started.
    pub fn poll(&mut self, cluster: &mut ProcessCluster) -> Result<Vec<(u64, String)>, String> {
        let mut new = Vec::new();
        for node in cluster.ids() {
            let Err(how) = cluster.pid(node) else {
                continue;
            };
            let ended = self.ended.entry(node).or_insert(Ended {
                due: None,
                next_pause: RESTART_MIN,
            });
            match ended.due {
                None => {
                    let at_us = now_us();
                    self.kills.push(Kill { at_us, node });
                    new.push((node, how));
                    ended.due = Some(Instant::now() + ended.next_pause);
                    ended.next_pause = (ended.next_pause * 2).min(RESTART_MAX);
                }
                Some(due) if due <= Instant::now() => {
                    cluster.start_node(node)?;
                    ended.due = None;
                }
                Some(_) => {}
            }
        }
        Ok(new)
    }

    /// All nodes are well: the next pause is the shortest again.
    pub fn all_well(&mut self) {
        self.ended.clear();
    }
}
