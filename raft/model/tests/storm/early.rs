//! Work on sources that are still being uploaded. An early plan may be another
//! than that of the sealed source: then what was made by it must go.

use std::sync::Arc;

use reelraft_model::{
    AttemptKey, ChunksRead, Command, Early, EarlyPlan, JobEntry, JobState, PlanAppend, Task,
    TaskKind,
};

use crate::{
    node::Attempt,
    truth,
    world::{Origin, World},
};

/// How long an early attempt waits for the client.
const PATIENCE_MS: u64 = 20_000;

/// The index of an early plan, as a blob.
const INDEX: &str = "early-index";

/// What becomes of an attempt that reads an unsealed source.
pub enum EarlyStep {
    Goes,
    GivenUp,
    /// It goes on as any other: the source is sealed, or all it needs is there.
    AsEver,
}

/// Whether a task may be begun before the plan of its job is whole.
fn is_early(entry: &JobEntry, key: &AttemptKey) -> bool {
    entry.job.state() == JobState::Uploading || (is_part(key) && entry.job.index_hash.is_empty())
}

fn is_part(key: &AttemptKey) -> bool {
    matches!(key.kind(), TaskKind::Shard | TaskKind::Audio)
}

/// Whether a plan that is right has this part.
pub fn is_right(task: &Task) -> bool {
    let number = task.number;
    let right = |early: &Early| early.key == format!("k{number}");
    task.early.as_ref().is_none_or(right)
}

/// How many early audio tracks the plan of the sealed source takes over.
pub fn audio_taken_over(entry: &JobEntry, bug: bool) -> u32 {
    let task = entry.tasks.get(&(TaskKind::Audio, 0));
    u32::from(task.is_some_and(|task| bug || is_right(task)))
}

/// How many early shards the plan of the sealed source takes over.
pub fn taken_over(entry: &JobEntry, bug: bool) -> usize {
    let early = entry.shards().take_while(|task| task.early.is_some());
    let mut early = early.take(truth::shards(&entry.job) as usize);
    match bug {
        true => early.count(),
        false => early.by_ref().take_while(|task| is_right(task)).count(),
    }
}

impl World {
    /// An attempt that began before the plan of its job was whole.
    pub fn go_early(
        &mut self,
        node: u64,
        key: &AttemptKey,
        attempt: &mut Attempt,
        entry: &Arc<JobEntry>,
    ) -> EarlyStep {
        if !is_early(entry, key) {
            return EarlyStep::AsEver;
        }
        let Some(now) = self.local(node).job(&key.job) else {
            return EarlyStep::Goes;
        };
        let sealed = now.job.state() != JobState::Uploading;
        let here = self.readable_chunks(&now, node);
        let count = now.job.source_bytes;
        let whole = here & truth::all_chunks(count) == truth::all_chunks(count);
        if sealed && key.kind() == TaskKind::Analyze {
            attempt.entry = Some(now);
            return EarlyStep::AsEver;
        }
        let progress = match key.kind() {
            TaskKind::Analyze => self.plan_early(node, key, attempt, &now, here),
            _ => {
                // What it needs was there when it was planned.
                let planned = self.can_read(&now, node, INDEX).is_ok();
                let share = u64::from(key.number + 1) * count / u64::from(truth::shards(&now.job));
                let audio = key.kind() == TaskKind::Audio;
                let needed = truth::all_chunks(if audio { count } else { share });
                if planned && (whole || here & needed == needed) {
                    attempt.outage_ms = 0;
                    return EarlyStep::AsEver;
                }
                false
            }
        };
        attempt.outage_ms += self.step_ms;
        if progress {
            attempt.outage_ms = 0;
        }
        match attempt.outage_ms < PATIENCE_MS {
            true => EarlyStep::Goes,
            false => EarlyStep::GivenUp,
        }
    }

    /// Plans as many shards as the chunks reach for; whether there were more.
    fn plan_early(
        &mut self,
        node: u64,
        key: &AttemptKey,
        attempt: &mut Attempt,
        entry: &JobEntry,
        here: u64,
    ) -> bool {
        let (job, shards) = (&entry.job, u64::from(truth::shards(&entry.job)));
        let reached = u64::from(here.trailing_ones()) * shards / job.source_bytes;
        let reached = reached.min(shards) as u32;
        if reached <= attempt.planned {
            return false;
        }
        if attempt.planned == 0 {
            attempt.wrong = self.rng.chance(250);
        }
        let of = if attempt.wrong { "w" } else { "k" };
        let first = attempt.planned;
        attempt.planned = reached;
        let homes: Vec<u64> = job.current_homes().map(|home| home.node).collect();
        for home in homes {
            if self.reaches(node, home) {
                self.write(home, &job.id, &[INDEX.to_string()]);
            }
        }
        let ranges = truth::ranges_of(key, reached).split_off(first as usize);
        let keys = (first..reached).map(|number| format!("{of}{number}"));
        let early = EarlyPlan {
            index: INDEX.into(),
            keys: keys.collect(),
            audio_keys: vec![format!("{of}0")],
            shard_memory_mib: 0,
        };
        let append = Command::PlanAppend(PlanAppend {
            key: key.clone(),
            first,
            ranges,
            early: Some(early),
            replace: false,
            shard_keys: Vec::new(),
        });
        self.propose(vec![vec![append]], Origin::Home);
        true
    }

    /// What an attempt says that it has read, where its source is not sealed.
    pub fn read_early(&self, node: u64, key: &AttemptKey) -> Option<ChunksRead> {
        let entry = self.local(node).job(&key.job)?;
        let uploading = entry.job.state() == JobState::Uploading;
        (uploading && is_part(key)).then(ChunksRead::default)
    }
}
