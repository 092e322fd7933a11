//! Jobs that aim at a size: what their shards come to, and which rate factors they
//! must have in the end, whatever happened on the way (P1).

use std::{
    collections::BTreeMap,
    sync::{Mutex, OnceLock, PoisonError},
};

use reelraft_model::{
    Assign, AttemptKey, Command, CreateJob, Entry, FailureClass, Job, JobEntry, PlanAppend,
    Problem, RegisterNode, Release, SealSource, SetHomes, State, Task, TaskKind,
    limits::FEATURE_LEVEL,
    spec::{Spec, SpecRequest, resolve},
};

use crate::{truth, worker::made};

/// The spec of the jobs with so many chunks: every fourth aims at a size, with an
/// encoder that takes fractions or one that does not.
pub fn spec_of(chunks: u64) -> Spec {
    let (codec, size_bytes) = match chunks % 8 {
        3 => ("h264", Some(400_000)),
        7 => ("av1", Some(500_000)),
        _ => ("", None),
    };
    let request = SpecRequest {
        codec: codec.into(),
        size_bytes,
        ..Default::default()
    };
    resolve(&request).expect("valid")
}

/// Bytes of a shard's frames at a rate factor: about half for each six, and not quite
/// evenly.
pub fn payload(shard: u32, single: bool, centi: u32) -> u64 {
    let of_shard = match single {
        true => 1_500_000,
        false => 400_000 + 150_000 * u64::from(shard),
    };
    let halved = of_shard * 16 >> (centi / 600);
    let even = halved - halved * u64::from(centi % 600) / 1_200;
    even + even * u64::from((centi * 7 + shard * 13) % 29) / 1_000
}

/// The shard that a task encodes, if it encodes one.
pub fn shard_of(task: &Task) -> Option<u32> {
    match task.kind() {
        TaskKind::Shard => Some(task.number),
        TaskKind::Probe => Some(task.shard),
        _ => None,
    }
}

/// The rate factors that the shards of a job have in the end.
pub fn rates_of(entry: &JobEntry) -> Vec<u32> {
    entry.shards().map(|task| entry.rate_centi(task)).collect()
}

/// The same of such a job in a cluster of one node where nothing happens.
pub fn calm_rates(job: &Job) -> Vec<u32> {
    static KNOWN: OnceLock<Mutex<BTreeMap<(u64, bool), Vec<u32>>>> = OnceLock::new();
    let known = KNOWN.get_or_init(Mutex::default);
    let key = (job.source_bytes, job.single);
    let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
    known.entry(key).or_insert_with(|| play(job)).clone()
}

fn play(job: &Job) -> Vec<u32> {
    let (mut state, mut index) = (State::default(), 0);
    let mut apply = |state: &mut State, command: Command| {
        index += 1;
        state.apply(index, &Entry::new(vec![command]));
    };
    let level = RegisterNode {
        node: 1,
        feature_level: FEATURE_LEVEL,
        ..Default::default()
    };
    apply(&mut state, Command::RegisterNode(level));
    let create = CreateJob {
        spec: job.spec.clone(),
        source_bytes: job.source_bytes,
        ..Default::default()
    };
    apply(&mut state, Command::CreateJob(create));
    let id = state
        .all_current()
        .next()
        .expect("it was made")
        .job
        .id
        .clone();
    let homes = SetHomes {
        job: id.clone(),
        homes: vec![1],
        ..Default::default()
    };
    apply(&mut state, Command::SetHomes(homes));
    let seal = SealSource {
        job: id.clone(),
        epoch: state.job(&id).expect("it is there").job.epoch,
        manifest: "m".into(),
        root: "r".into(),
        ..Default::default()
    };
    apply(&mut state, Command::SealSource(seal));
    let mut odd = job.single;
    loop {
        let entry = state.job(&id).expect("it is there");
        let mut pending = entry.pending.iter();
        let waits = |kind: TaskKind| kind == TaskKind::Shard && entry.is_searching();
        let next = pending.find(|(kind, _)| *kind != TaskKind::Assemble && !waits(*kind));
        let Some(task) = next.and_then(|key| entry.tasks.get(key)) else {
            return rates_of(&entry);
        };
        let key = AttemptKey {
            attempt: task.attempt + 1,
            ..AttemptKey::of(&id, task)
        };
        let assign = Assign {
            key: key.clone(),
            node: 1,
            build: "b".into(),
            ..Default::default()
        };
        let kind = task.kind();
        apply(&mut state, Command::Assign(assign));
        if odd && kind == TaskKind::Probe {
            odd = false;
            let release = Release {
                key,
                class: FailureClass::PlanMismatch.into(),
                problem: Problem::new("test", "other frames", "mend it"),
            };
            apply(&mut state, Command::Release(release));
            continue;
        }
        let complete = made(&key, &state.job(&id).expect("it is there"), "b");
        if kind == TaskKind::Analyze {
            let append = PlanAppend {
                key,
                ranges: truth::ranges_of(&complete.key, complete.shards_total),
                ..Default::default()
            };
            apply(&mut state, Command::PlanAppend(append));
        }
        apply(&mut state, Command::Complete(complete));
    }
}
