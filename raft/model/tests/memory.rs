//! What the table costs in memory: of the jobs that are over there may be
//! thousands for each that runs.
#![allow(clippy::unwrap_used)]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::atomic::{AtomicUsize, Ordering},
};

use reelraft_model::{
    Assign, AttemptKey, Command, Complete, CreateJob, DeleteJob, Entry, History, KeepHistory,
    PlanAppend, RegisterNode, SealSource, SetHomes, ShardRange, State, TaskKind, check::check,
    job_id, limits::FEATURE_LEVEL,
};

/// The system's allocator, which counts what is taken.
struct Counting;

static TAKEN_BYTES: AtomicUsize = AtomicUsize::new(0);
static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

/// What an allocation costs besides, and in which steps glibc gives memory.
const OVERHEAD_BYTES: usize = 8;
const STEP_BYTES: usize = 16;

fn cost(layout: Layout) -> usize {
    (layout.size() + OVERHEAD_BYTES).next_multiple_of(STEP_BYTES)
}

// SAFETY: all is left to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        TAKEN_BYTES.fetch_add(cost(layout), Ordering::Relaxed);
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        TAKEN_BYTES.fetch_sub(cost(layout), Ordering::Relaxed);
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const JOBS: usize = 2_000;

/// What a finished job may cost, with all its indexes. Its row has 900 bytes, 600
/// of them digits of hashes; before rows were kept in short it took 2,400.
const JOB_BYTES_MAX: usize = 750;

fn hash_of(number: usize, what: &str) -> String {
    blake3::hash(format!("{number} {what}").as_bytes())
        .to_hex()
        .to_string()
}

struct World {
    state: State,
    index: u64,
}

impl World {
    fn apply(&mut self, command: Command) {
        self.index += 1;
        let applied = self.state.apply(self.index, &Entry::new(vec![command]));
        let reply = &applied.replies[0];
        assert!(!reply.stale && reply.refused.is_none(), "{reply:?}");
    }

    /// A job from its request to the fold of its tasks.
    fn finish_job(&mut self, number: usize) {
        let request_id = format!("request-{number:030}");
        let job = job_id("a tenant", &request_id);
        self.apply(Command::CreateJob(CreateJob {
            tenant: "a tenant".into(),
            request_id,
            source_name: format!("a film with a name of some length {number}.mp4"),
            source_bytes: 1 << 30,
            source_fingerprint: hash_of(number, "fingerprint"),
            unix_ms: 1_700_000_000_000,
            ..Default::default()
        }));
        self.apply(Command::SetHomes(SetHomes {
            job: job.clone(),
            homes: vec![number as u64 % 3 + 1, (number as u64 + 1) % 3 + 1],
            ..Default::default()
        }));
        let epoch = self.index;
        self.apply(Command::SealSource(SealSource {
            job: job.clone(),
            epoch,
            manifest: hash_of(number, "manifest"),
            root: hash_of(number, "root"),
            keep_source: false,
        }));
        let analysis = self.assign(&job, TaskKind::Analyze, 0);
        let range = ShardRange {
            from_pts: 0,
            to_pts: 90_000,
            frames: 150,
        };
        self.apply(Command::PlanAppend(PlanAppend {
            key: analysis.clone(),
            first: 0,
            ranges: vec![range],
            ..Default::default()
        }));
        self.complete(analysis, number, "index");
        let shard = self.assign(&job, TaskKind::Shard, 0);
        self.complete(shard, number, "shard");
        for home in [number as u32 % 3 + 1, (number as u32 + 1) % 3 + 1] {
            let key = self.assign(&job, TaskKind::Assemble, home);
            self.complete(key, number, "output");
        }
        for home in [number as u64 % 3 + 1, (number as u64 + 1) % 3 + 1] {
            let entry = self.state.job(&job).unwrap();
            self.apply(Command::KeepHistory(KeepHistory {
                job: job.clone(),
                epoch,
                node: home,
                history_hash: History::blob(&entry).hash,
            }));
        }
    }

    fn assign(&mut self, job: &str, kind: TaskKind, number: u32) -> AttemptKey {
        let key = AttemptKey {
            job: job.to_string(),
            kind: kind.into(),
            number,
            attempt: 1,
        };
        self.apply(Command::Assign(Assign {
            key: key.clone(),
            node: 1,
            build: "b".repeat(64),
            unix_ms: 1_700_000_000_000,
            twin: false,
        }));
        key
    }

    fn complete(&mut self, key: AttemptKey, number: usize, what: &str) {
        self.apply(Command::Complete(Complete {
            key,
            hash: hash_of(number, what),
            report: hash_of(number, "report"),
            frames: 150,
            shards_total: 1,
            bytes_out: 1 << 20,
            unix_ms: 1_700_000_000_000,
            ..Default::default()
        }));
    }
}

#[test]
fn a_job_that_is_over_costs_little_more_than_its_hashes() {
    let mut world = World {
        state: State::default(),
        index: 0,
    };
    for node in 1..=3 {
        world.apply(Command::RegisterNode(RegisterNode {
            node,
            feature_level: FEATURE_LEVEL,
            ..Default::default()
        }));
    }
    let before_bytes = TAKEN_BYTES.load(Ordering::Relaxed);
    (0..JOBS).for_each(|number| world.finish_job(number));
    let job_bytes = (TAKEN_BYTES.load(Ordering::Relaxed) - before_bytes) / JOBS;
    println!("a finished job takes {job_bytes} bytes");
    assert!(job_bytes <= JOB_BYTES_MAX, "{job_bytes} bytes");
    // It is all there, and what is asked of it is answered.
    assert_eq!(check(&world.state), []);
    let all = world
        .state
        .newest_before(u64::MAX)
        .map(|entry| entry.job.id.clone());
    let own = world.state.newest_of("a tenant", u64::MAX);
    assert!(all.eq(own.map(|entry| entry.job.id.clone())));
    // A tenant's page costs no look at what the others have.
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    assert!(world.state.newest_of("another", u64::MAX).next().is_none());
    let allocations = ALLOCATIONS.load(Ordering::Relaxed) - before;
    assert!(allocations < 100, "{allocations} allocations");
    let listed = world.state.newest_before(u64::MAX);
    assert!(
        listed.map(|entry| entry.job.id.clone()).eq((0..JOBS)
            .rev()
            .map(|number| job_id("a tenant", &format!("request-{number:030}"))))
    );
    for job in world
        .state
        .jobs()
        .map(|entry| entry.job.id.clone())
        .collect::<Vec<_>>()
    {
        world.apply(Command::DeleteJob(DeleteJob { job, unix_ms: 0 }));
    }
    assert_eq!(check(&world.state), []);
}
