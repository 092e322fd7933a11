//! What planning costs over large tables. The figures are printed; the limits
//! only catch a plan that walks every task or pairs every job with every other.
#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use reelraft_model::{
    Assign, AttemptKey, Command, Complete, CreateJob, Entry, PlanAppend, SealSource, SetHomes,
    ShardRange, State, TaskKind, job_id,
    plan::{ClusterHealth, NodeHealth, plan},
};

const COMMON: &str = "common";
const FOREIGN: &str = "foreign";

/// Far above what a plan takes on any machine, far below what a walk over all
/// tasks would.
const PLAN_MAX: Duration = Duration::from_millis(100);

/// The same where nothing of ten thousand jobs can be handed out: a look at each
/// takes ten times as long.
const ELSEWHERE_MAX: Duration = Duration::from_millis(2);

fn table(jobs: u64, shards: u32, homes: impl Fn(u64) -> [u64; 2]) -> State {
    let mut state = State::default();
    let mut index = 0;
    for number in 0..jobs {
        let job = job_id("t", &number.to_string());
        let mut apply = |command| {
            index += 1;
            let applied = state.apply(index, &Entry::new(vec![command]));
            assert!(!applied.replies[0].stale, "{:?}", applied.replies);
        };
        let (tenant, request_id) = ("t".to_string(), number.to_string());
        apply(Command::CreateJob(CreateJob {
            tenant,
            request_id,
            source_bytes: 1,
            ..Default::default()
        }));
        apply(Command::SetHomes(SetHomes {
            job: job.clone(),
            homes: homes(number).to_vec(),
            ..Default::default()
        }));
        let epoch = number * 6 + 2;
        apply(Command::SealSource(SealSource {
            job: job.clone(),
            epoch,
            ..Default::default()
        }));
        let key = AttemptKey {
            job: job.clone(),
            kind: TaskKind::Analyze.into(),
            number: 0,
            attempt: 1,
        };
        apply(Command::Assign(Assign {
            key: key.clone(),
            node: 1,
            build: COMMON.into(),
            unix_ms: 1,
            twin: false,
        }));
        let range = |shard: u32| ShardRange {
            from_pts: shard.into(),
            to_pts: (shard + 1).into(),
            frames: 100 + u64::from(shard % 7),
        };
        apply(Command::PlanAppend(PlanAppend {
            key: key.clone(),
            first: 0,
            ranges: (0..shards).map(range).collect(),
            ..Default::default()
        }));
        apply(Command::Complete(Complete {
            key,
            hash: "h".into(),
            shards_total: shards,
            ..Default::default()
        }));
    }
    state
}

fn node(slots: u32, build: &str) -> NodeHealth {
    NodeHealth {
        alive: true,
        slots,
        build: build.into(),
        ..Default::default()
    }
}

fn health(nodes: [NodeHealth; 3]) -> ClusterHealth {
    ClusterHealth {
        nodes: BTreeMap::from_iter((1..).zip(nodes)),
        voters: 3,
        ..Default::default()
    }
}

fn measure(what: &str, state: &State, health: &ClusterHealth) -> usize {
    const ROUNDS: u32 = 5;
    let begun = Instant::now();
    let mut commands = 0;
    for _ in 0..ROUNDS {
        commands = plan(state, health).len();
    }
    let took = begun.elapsed() / ROUNDS;
    println!("{what}: {commands} commands in {took:?}");
    assert!(took < PLAN_MAX, "{what}: {took:?}");
    commands
}

#[test]
fn a_plan_costs_what_is_to_be_done_and_not_what_there_is() {
    let mut state = table(10_000, 100, |number| [number % 3 + 1, (number + 1) % 3 + 1]);
    let idle = health([node(2, COMMON), node(2, COMMON), node(2, COMMON)]);
    assert_eq!(measure("free slots", &state, &idle), 6);
    let many = health([node(64, COMMON), node(64, COMMON), node(64, COMMON)]);
    assert_eq!(measure("many free slots", &state, &many), 64);
    let foreign = health([node(2, FOREIGN), node(2, FOREIGN), node(2, FOREIGN)]);
    assert_eq!(measure("no node of the build", &state, &foreign), 0);
    let commands = plan(&state, &idle);
    state.apply(1_000_000, &Entry::new(commands));
    assert_eq!(measure("full slots", &state, &idle), 0);
    let mixed = health([node(2, COMMON), node(2, COMMON), node(64, FOREIGN)]);
    measure("an idle node of another build", &state, &mixed);
    let mut silent = idle.clone();
    silent.nodes.insert(
        3,
        NodeHealth {
            silent_ms: 1_000_000,
            ..Default::default()
        },
    );
    assert_eq!(measure("a node that is gone", &state, &silent), 64);
    let begun = Instant::now();
    let copy = state.clone();
    println!("a copy of the table: {:?}", begun.elapsed());
    drop(copy);
}

/// Jobs that wait for the assembly at node 3: their other home, 2, has done its
/// own.
fn assembling(jobs: u64) -> State {
    let mut state = table(jobs, 1, |_| [2, 3]);
    let mut index = jobs * 6;
    for number in 0..jobs {
        let job = job_id("t", &number.to_string());
        for (kind, task, node) in [(TaskKind::Shard, 0, 2), (TaskKind::Assemble, 2, 2)] {
            let key = AttemptKey {
                job: job.clone(),
                kind: kind.into(),
                number: task,
                attempt: 1,
            };
            let commands = vec![
                Command::Assign(Assign {
                    key: key.clone(),
                    node,
                    build: COMMON.into(),
                    unix_ms: 1,
                    twin: false,
                }),
                Command::Complete(Complete {
                    key,
                    hash: "h".into(),
                    ..Default::default()
                }),
            ];
            index += 1;
            let applied = state.apply(index, &Entry::new(commands));
            assert!(!applied.replies[1].stale, "{:?}", applied.replies);
        }
    }
    state
}

/// The places of homes that are idle are no reason to look at what waits for
/// others.
#[test]
fn assemblies_that_wait_for_another_home_cost_nothing() {
    let state = assembling(10_000);
    let busy = || node(0, COMMON);
    let none = health([busy(), busy(), busy()]);
    assert_eq!(measure("no free place", &state, &none), 0);
    let elsewhere = health([node(2, COMMON), node(2, COMMON), busy()]);
    assert_eq!(measure("free places elsewhere", &state, &elsewhere), 0);
    let took = || {
        let begun = Instant::now();
        plan(&state, &elsewhere);
        begun.elapsed()
    };
    // The best of a few: the machine may be busy.
    let best = (0..20).map(|_| took()).min().unwrap();
    assert!(best < ELSEWHERE_MAX, "{best:?}");
    let idle = health([node(2, COMMON), node(2, COMMON), node(2, COMMON)]);
    assert_eq!(measure("free places", &state, &idle), 3);
}
