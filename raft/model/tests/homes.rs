//! What a script would say too often: a long wait for bytes, and many outputs.
#![allow(clippy::unwrap_used)]

use reelraft_model::{
    Assign, AttemptKey, Command, Complete, CreateJob, Entry, FailureClass, HomeFilled, PlanAppend,
    Problem, Release, SealSource, SetHomes, ShardRange, State, TaskKind,
    check::check,
    job_id,
    limits::{NODE_FAULTS_MAX, REHOMED_PER_ENTRY_MAX},
    plan::{ClusterHealth, NodeHealth, plan},
    spec::Spec,
};

#[derive(Default)]
struct World {
    state: State,
    index: u64,
}

impl World {
    fn apply(&mut self, command: Command) {
        self.index += 1;
        let applied = self.state.apply(self.index, &Entry::new(vec![command]));
        assert!(!applied.replies[0].stale, "{:?}", applied.replies);
    }

    /// A job without homes.
    fn created(&mut self, request: &str, source_bytes: u64) -> String {
        self.apply(Command::CreateJob(CreateJob {
            tenant: "t".into(),
            request_id: request.into(),
            spec: Spec::default(),
            source_bytes,
            ..Default::default()
        }));
        job_id("t", request)
    }

    /// A job whose source is sealed on nodes 1 and 2.
    fn sealed(&mut self, request: &str) -> String {
        let job = self.created(request, 1);
        self.apply(Command::SetHomes(SetHomes {
            job: job.clone(),
            homes: vec![1, 2],
            ..Default::default()
        }));
        self.apply(Command::SealSource(SealSource {
            job: job.clone(),
            epoch: self.index,
            manifest: "m".into(),
            root: "r".into(),
            ..Default::default()
        }));
        job
    }

    fn assign(&mut self, job: &str, kind: TaskKind, number: u32, attempt: u32) -> AttemptKey {
        let key = AttemptKey {
            job: job.to_string(),
            kind: kind.into(),
            number,
            attempt,
        };
        self.apply(Command::Assign(Assign {
            key: key.clone(),
            node: 1,
            build: "b".into(),
            unix_ms: 0,
            twin: false,
        }));
        key
    }

    fn run(&mut self, job: &str, kind: TaskKind, number: u32) {
        let key = self.assign(job, kind, number, 1);
        if kind == TaskKind::Analyze {
            self.apply(Command::PlanAppend(PlanAppend {
                key: key.clone(),
                first: 0,
                ranges: vec![ShardRange {
                    from_pts: 0,
                    to_pts: 1,
                    frames: 1,
                }],
                ..Default::default()
            }));
        }
        self.apply(Command::Complete(Complete {
            key,
            hash: "h".into(),
            report: "p".into(),
            shards_total: 1,
            ..Default::default()
        }));
    }
}

fn three_nodes() -> ClusterHealth {
    let node = NodeHealth {
        alive: true,
        slots: 1,
        build: "b".into(),
        ..Default::default()
    };
    ClusterHealth {
        nodes: (1..=3).map(|id| (id, node.clone())).collect(),
        voters: 3,
        ..Default::default()
    }
}

/// However often no home could be reached: the job goes on when one is back.
#[test]
fn bytes_out_of_reach_never_fail_a_job() {
    let mut world = World::default();
    let job = world.sealed("r");
    for (class, fails) in [
        (FailureClass::OutOfReach, false),
        (FailureClass::NodeFault, true),
    ] {
        for _ in 0..=NODE_FAULTS_MAX {
            let task = &world.state.job(&job).unwrap().tasks[&(TaskKind::Analyze, 0)];
            let attempt = task.attempt + 1;
            let key = world.assign(&job, TaskKind::Analyze, 0, attempt);
            world.apply(Command::Release(Release {
                key,
                class: class.into(),
                problem: Problem::new("unavailable-bytes", "no home answers", "wait"),
            }));
        }
        let commands = plan(&world.state, &three_nodes());
        let failed = matches!(commands[0], Command::FailJob(_));
        assert_eq!(failed, fails, "{class:?}: {commands:?}");
    }
    assert_eq!(check(&world.state), []);
}

#[test]
fn outputs_move_a_few_at_a_time() {
    let mut world = World::default();
    for number in 0..2 * REHOMED_PER_ENTRY_MAX {
        let job = world.sealed(&number.to_string());
        world.run(&job, TaskKind::Analyze, 0);
        world.run(&job, TaskKind::Shard, 0);
        world.run(&job, TaskKind::Assemble, 1);
        world.run(&job, TaskKind::Assemble, 2);
    }
    let mut health = three_nodes();
    let lost = health.nodes.get_mut(&2).unwrap();
    lost.alive = false;
    lost.silent_ms = health.rehome_after_ms;
    for _ in 0..2 {
        let commands = plan(&world.state, &health);
        assert_eq!(commands.len(), REHOMED_PER_ENTRY_MAX);
        commands
            .into_iter()
            .for_each(|command| world.apply(command));
    }
    assert_eq!(plan(&world.state, &health), []);
    // All come back to it, and nothing is left to be copied.
    let all = three_nodes();
    for _ in 0..2 {
        let commands = plan(&world.state, &all);
        commands
            .into_iter()
            .for_each(|command| world.apply(command));
    }
    assert!(world.state.jobs().all(|entry| !entry.job.is_filling()));
    assert_eq!(check(&world.state), []);
}

/// A new home whose disk fills up before it has the output gives way.
#[test]
fn an_output_looks_for_room_elsewhere() {
    let mut world = World::default();
    let job = world.sealed("r");
    world.run(&job, TaskKind::Analyze, 0);
    world.run(&job, TaskKind::Shard, 0);
    world.run(&job, TaskKind::Assemble, 1);
    world.run(&job, TaskKind::Assemble, 2);
    let mut health = three_nodes();
    let spare = health.nodes[&3].clone();
    health.nodes.get_mut(&2).unwrap().alive = false;
    health.nodes.get_mut(&2).unwrap().silent_ms = health.rehome_after_ms;
    let homes = |world: &World| -> Vec<u64> {
        let job = &world.state.job(&job).unwrap().job;
        job.current_homes().map(|home| home.node).collect()
    };
    let commands = plan(&world.state, &health);
    commands
        .into_iter()
        .for_each(|command| world.apply(command));
    assert_eq!(homes(&world), [1, 3]);
    health.nodes.get_mut(&3).unwrap().full = true;
    assert_eq!(plan(&world.state, &health), [], "there is no other");
    health.nodes.insert(4, spare);
    let commands = plan(&world.state, &health);
    commands
        .into_iter()
        .for_each(|command| world.apply(command));
    assert_eq!(homes(&world), [1, 4]);
    assert_eq!(plan(&world.state, &health), []);
    assert_eq!(check(&world.state), []);
}

/// The analysis that came while a home was filled is not in it.
#[test]
fn a_fill_that_missed_the_analysis_does_not_count() {
    let mut world = World::default();
    let job = world.sealed("r");
    let homes = SetHomes {
        job: job.clone(),
        epoch: world.state.job(&job).unwrap().job.epoch,
        homes: vec![1, 3],
        retiring: vec![2],
        ..Default::default()
    };
    world.apply(Command::SetHomes(homes));
    let before = world.state.job(&job).unwrap().job.clone();
    world.run(&job, TaskKind::Analyze, 0);
    let mut filled = HomeFilled {
        job: job.clone(),
        epoch: before.epoch,
        node: 3,
        index_hash: Some(before.index_hash),
    };
    world.index += 1;
    let late = Entry::new(vec![Command::HomeFilled(filled.clone())]);
    assert!(world.state.apply(world.index, &late).replies[0].stale);
    assert!(world.state.job(&job).unwrap().job.is_filling());
    filled.index_hash = Some(world.state.job(&job).unwrap().job.index_hash.clone());
    world.apply(Command::HomeFilled(filled));
    assert!(!world.state.job(&job).unwrap().job.is_filling());
}

/// A home with a little room would be full in the midst of the upload.
#[test]
fn an_upload_goes_where_there_is_room() {
    let mut world = World::default();
    world.created("r", 100);
    let mut health = three_nodes();
    for (node, room_bytes) in [(1, 99), (2, 100), (3, 1_000)] {
        health.nodes.get_mut(&node).unwrap().room_bytes = room_bytes;
    }
    match &plan(&world.state, &health)[..] {
        [Command::SetHomes(set), ..] => assert_eq!(set.homes, [2, 3]),
        other => panic!("{other:?}"),
    }
}

/// One with room that can't assemble the output would keep the job waiting.
#[test]
fn a_home_that_can_assemble_is_better_than_one_with_room() {
    let mut world = World::default();
    world.created("r", 100);
    let mut health = three_nodes();
    let lone = health.nodes.get_mut(&3).unwrap();
    lone.build = "another".into();
    for node in [1, 2] {
        health.nodes.get_mut(&node).unwrap().room_bytes = 99;
    }
    match &plan(&world.state, &health)[..] {
        [Command::SetHomes(set), ..] => assert_eq!(set.homes, [1, 2]),
        other => panic!("{other:?}"),
    }
}
