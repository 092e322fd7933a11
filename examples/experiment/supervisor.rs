//! Starts nodes of a fleet again that ended by themselves, as `reelraft dev`
//! and service managers do: after a pause that grows from one end to the next.
//! Whether a node may end is the experiment's to judge.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use reelraft_cli::limits::{RESTART_MS_MAX, RESTART_MS_MIN};

use super::{fleet::Fleet, now_us, record::Kill};

/// What it knows of a node that has ended since it was last well.
struct Ended {
    /// When it is to be started; `None` while it runs.
    due: Option<Instant>,
    next_pause_ms: u64,
}

#[derive(Default)]
pub struct Supervisor {
    ended: BTreeMap<u64, Ended>,
    /// Every end of a node, as it was noticed.
    pub kills: Vec<Kill>,
}

impl Supervisor {
    /// To be called often: notices who has ended, and starts whose pause is
    /// over. Gives the nodes whose end is new, and how they ended.
    ///
    /// # Errors
    /// That a node could not be started.
    pub fn tend(&mut self, fleet: &mut Fleet) -> Result<Vec<(u64, String)>, String> {
        let mut new = Vec::new();
        for node in fleet.ids() {
            let Err(how) = fleet.pid(node) else { continue };
            let ended = self.ended.entry(node).or_insert(Ended {
                due: None,
                next_pause_ms: RESTART_MS_MIN,
            });
            match ended.due {
                None => {
                    let at_us = now_us();
                    self.kills.push(Kill { at_us, node });
                    new.push((node, how));
                    ended.due = Some(Instant::now() + Duration::from_millis(ended.next_pause_ms));
                    ended.next_pause_ms = (ended.next_pause_ms * 2).min(RESTART_MS_MAX);
                }
                Some(due) if due <= Instant::now() => {
                    fleet.start_node(node)?;
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
