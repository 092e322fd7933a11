//! Which rate factors the shards of a job that aims at a size must have in the end,
//! whatever happened on the way (P1).

use std::{
    collections::BTreeMap,
    sync::{Mutex, OnceLock, PoisonError},
};

use reelraft_model::{
    Assign, AttemptKey, Command, CreateJob, Entry, FailureClass, Job, JobEntry, JobState,
    PlanAppend, Problem, RegisterNode, Release, SealSource, SetHomes, State, TaskKind,
    limits::FEATURE_LEVEL,
};

use crate::{truth, worker::made};

/// The rate factors that the shards of a job have in the end.
fn rates_of(entry: &JobEntry) -> Vec<u32> {
    entry.shards().map(|task| entry.rate_centi(task)).collect()
}

/// What is wrong with the rate factors of a finished job, beside those that calm nodes
/// find.
pub fn wrong_rates(entry: &JobEntry) -> Option<String> {
    let job = &entry.job;
    let own = job.reuse.is_none() && job.summary.is_none();
    if !own || job.state() != JobState::Succeeded || job.spec.aim().is_none() {
        return None;
    }
    let (found, due) = (rates_of(entry), calm_rates(job));
    let wrong = || format!("{} has rate factors {found:?} and not {due:?} (P1)", job.id);
    (found != due).then(wrong)
}

/// Rate factors of the shards, by the bytes of the source and whether it is one shard.
type KnownRates = BTreeMap<(u64, bool), Vec<u32>>;

/// The same of such a job in a cluster of one node where nothing happens.
fn calm_rates(job: &Job) -> Vec<u32> {
    static KNOWN: OnceLock<Mutex<KnownRates>> = OnceLock::new();
    let known = KNOWN.get_or_init(Mutex::default);
    let key = (job.source_bytes, job.single);
    let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
    known.entry(key).or_insert_with(|| play(job)).clone()
}

fn play(job: &Job) -> Vec<u32> {
    let (mut calm, id) = Calm::begin(job);
    let mut odd = job.single;
    loop {
        let entry = calm.state.job(&id).expect("it is there");
        let mut pending = entry.pending.iter();
        let assembles = entry.job.state() == JobState::Assembling;
        let waits = |kind: TaskKind| match kind {
            TaskKind::Assemble => !assembles,
            kind => kind == TaskKind::Shard && entry.is_searching(),
        };
        let next = pending.find(|(kind, _)| !waits(*kind));
        let Some(task) = next.and_then(|key| entry.tasks.get(key)) else {
            return rates_of(&entry);
        };
        let key = AttemptKey {
            attempt: task.attempt + 1,
            ..AttemptKey::of(&id, task)
        };
        let kind = task.kind();
        calm.apply(Command::Assign(Assign {
            key: key.clone(),
            node: 1,
            build: "b".into(),
            ..Default::default()
        }));
        if odd && kind == TaskKind::Probe {
            odd = false;
            calm.apply(Command::Release(Release {
                key,
                class: FailureClass::PlanMismatch.into(),
                problem: Problem::new("test", "other frames", "mend it"),
            }));
            continue;
        }
        let complete = made(&key, &calm.state.job(&id).expect("it is there"), "b");
        if kind == TaskKind::Analyze {
            calm.apply(Command::PlanAppend(PlanAppend {
                key,
                ranges: truth::ranges_of(&complete.key, complete.shards_total),
                ..Default::default()
            }));
        }
        calm.apply(Command::Complete(complete));
    }
}

/// A cluster of one node where nothing happens.
#[derive(Default)]
struct Calm {
    state: State,
    index: u64,
}

impl Calm {
    fn apply(&mut self, command: Command) {
        self.index += 1;
        self.state.apply(self.index, &Entry::new(vec![command]));
    }

    /// Its only job, sealed.
    fn begin(job: &Job) -> (Self, String) {
        let mut calm = Calm::default();
        calm.apply(Command::RegisterNode(RegisterNode {
            node: 1,
            feature_level: FEATURE_LEVEL,
            ..Default::default()
        }));
        calm.apply(Command::CreateJob(CreateJob {
            spec: job.spec.clone(),
            source_bytes: job.source_bytes,
            ..Default::default()
        }));
        let own = calm.state.all_current().next().expect("it was made");
        let id = own.job.id.clone();
        calm.apply(Command::SetHomes(SetHomes {
            job: id.clone(),
            homes: vec![1],
            ..Default::default()
        }));
        let epoch = calm.state.job(&id).expect("it is there").job.epoch;
        calm.apply(Command::SealSource(SealSource {
            job: id.clone(),
            epoch,
            manifest: "m".into(),
            root: "r".into(),
            ..Default::default()
        }));
        (calm, id)
    }
}
