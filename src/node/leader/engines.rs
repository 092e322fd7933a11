//! The leader's side of engines: which are there, by what their members say. Memory
//! that a successor rebuilds, as with the nodes' sessions (P6).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use reelraft_model::{
    AttemptKey, State, is_engine,
    plan::{ENGINE_LEASE_MS, NodeHealth},
};
use tokio::time::Instant;

use crate::node::{
    engine_messages::{EngineBeat, EngineNews, EngineStatus},
    messages::Progress,
};

/// The engines that are there.
#[derive(Debug, Default)]
pub(super) struct Engines {
    here: BTreeMap<u64, AtMember>,
    /// When a member last heard each of those that are not there.
    gone: BTreeMap<u64, Instant>,
    /// Those of which a result was chosen to be made again since this node leads.
    checked: BTreeSet<u64>,
    told: Arc<Vec<EngineStatus>>,
}

#[derive(Debug)]
struct AtMember {
    member: u64,
    beat: EngineBeat,
}

impl Engines {
    /// Notes what a member says; gives what the engines run that it named.
    pub fn hear(&mut self, member: u64, news: EngineNews) -> Vec<(u64, Progress)> {
        let now = Instant::now();
        for id in news.gone {
            // It may be at another member by now.
            if self.member_of(id) == Some(member) {
                self.here.remove(&id);
                self.gone.insert(id, now);
            }
        }
        let mut running = Vec::new();
        for beat in news.changed.into_iter().filter(|beat| is_engine(beat.id)) {
            running.push((beat.id, beat.running.clone()));
            self.gone.remove(&beat.id);
            self.here.insert(beat.id, AtMember { member, beat });
        }
        running
    }

    /// Notes that a member is heard no more.
    pub fn lose(&mut self, member: u64) {
        let now = Instant::now();
        let lost = self.here.iter();
        let lost: Vec<u64> = lost
            .filter(|(_, at)| at.member == member)
            .map(|(id, _)| *id)
            .collect();
        for id in lost {
            self.here.remove(&id);
            self.gone.insert(id, now);
        }
    }

    /// The member that an engine is connected to.
    pub fn member_of(&self, id: u64) -> Option<u64> {
        self.here.get(&id).map(|at| at.member)
    }

    /// Whether an engine runs an attempt.
    pub fn runs(&self, id: u64, key: &AttemptKey) -> bool {
        let at = self.here.get(&id);
        at.is_some_and(|at| at.beat.running.contains_key(key))
    }

    /// All that they run.
    pub fn running(&self) -> impl Iterator<Item = (&AttemptKey, &u64)> {
        self.here.values().flat_map(|at| &at.beat.running)
    }

    /// The engines as the plan sees them: those that are there, and those that may come
    /// back. `silence` is how long a member was not heard, `since` when this node began
    /// to lead.
    pub fn health(
        &self,
        state: &State,
        since: Instant,
        silence: impl Fn(u64) -> Duration,
    ) -> BTreeMap<u64, NodeHealth> {
        let lease = Duration::from_millis(ENGINE_LEASE_MS);
        let health = state.engines().filter_map(|engine| {
            let id = engine.id;
            let at = self.here.get(&id);
            let heard = self.gone.get(&id).copied().unwrap_or(since).max(since);
            let silent = at.map_or_else(|| heard.elapsed(), |at| silence(at.member));
            // Of most engines nothing is heard for days.
            if silent >= lease {
                return None;
            }
            let mut health = NodeHealth {
                silent_ms: silent.as_millis() as u64,
                ..Default::default()
            };
            if let Some(AtMember { beat, .. }) = at {
                health.alive = true;
                health.slots = beat.slots;
                health.memory_mib = beat.memory_mib;
                health.build = beat.build.clone();
                health.lacks = beat.lacks.iter().cloned().collect();
                health.speeds = beat.speeds.clone();
                health.trouble = beat.trouble.clone();
            }
            Some((id, health))
        });
        health.collect()
    }

    /// Whether a result of an engine is to be made again by a member: of so many in a
    /// hundred, and of its first one since this node leads.
    pub fn checks(&mut self, id: u64, percent: u32) -> bool {
        if percent == 0 {
            return false;
        }
        self.checked.insert(id) || rand::random_range(0..100) < percent
    }

    /// The engines as people see them. The same list as long as nothing changes.
    pub fn status(&mut self) -> Arc<Vec<EngineStatus>> {
        let status = self
            .here
            .iter()
            .map(|(id, AtMember { member, beat })| EngineStatus {
                id: *id,
                member: *member,
                build: beat.build.clone(),
                build_words: beat.build_words.clone(),
                version: beat.version.clone(),
                slots: beat.slots,
                slots_busy: beat.running.len() as u32,
                trouble: beat.trouble.clone(),
                labels: beat.labels.clone(),
            });
        let now: Vec<EngineStatus> = status.collect();
        if now != *self.told {
            self.told = Arc::new(now);
        }
        self.told.clone()
    }
}

#[cfg(test)]
mod tests {
    use reelraft_model::ENGINE_ID_MIN;

    use super::*;

    fn news(changed: &[u64], gone: &[u64]) -> EngineNews {
        let beat = |id: &u64| EngineBeat {
            id: ENGINE_ID_MIN + id,
            ..Default::default()
        };
        EngineNews {
            changed: changed.iter().map(beat).collect(),
            gone: gone.iter().map(|id| ENGINE_ID_MIN + id).collect(),
        }
    }

    #[test]
    fn an_engine_is_where_it_was_named_last() {
        let mut engines = Engines::default();
        engines.hear(1, news(&[1, 2], &[]));
        engines.hear(2, news(&[1], &[]));
        engines.hear(1, news(&[], &[1]));
        assert_eq!(engines.member_of(ENGINE_ID_MIN + 1), Some(2));
        engines.lose(1);
        assert_eq!(engines.member_of(ENGINE_ID_MIN + 2), None);
        assert_eq!(engines.member_of(ENGINE_ID_MIN + 1), Some(2));
        let status = engines.status();
        assert_eq!(status.len(), 1);
        assert!(Arc::ptr_eq(&status, &engines.status()));
    }

    #[test]
    fn nobody_takes_a_nodes_place_by_calling_itself_an_engine() {
        let mut engines = Engines::default();
        let node = EngineBeat {
            id: 1,
            ..Default::default()
        };
        engines.hear(
            2,
            EngineNews {
                changed: vec![node],
                gone: Vec::new(),
            },
        );
        assert_eq!(engines.member_of(1), None);
    }

    #[test]
    fn the_first_result_of_an_engine_is_made_again_unless_none_is() {
        let mut engines = Engines::default();
        assert!(!engines.checks(1, 0));
        assert!(engines.checks(1, 1));
        assert!(engines.checks(1, 100) && engines.checks(2, 1));
    }
}
