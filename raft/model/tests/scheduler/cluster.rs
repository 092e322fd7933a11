//! A cluster in simulated time.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    sync::Arc,
    time::{Duration, Instant},
};

use reelraft_model::{
    Assign, AttemptKey, Command, Complete, CreateJob, Entry, JobState, PlanAppend, RegisterNode,
    SealSource, SetHomes, ShardRange, State, TaskKind, job_id,
    limits::{COMMANDS_PER_ENTRY_MAX, FEATURE_LEVEL},
    plan::{ClusterHealth, NodeHealth, attempt_is_current, plan},
};

const BUILD: &str = "b";

/// How often nodes say how far they are.
const BEAT_MS: u64 = 1_000;

/// What an attempt takes besides its frames.
const START_MS: u64 = 100;

/// What an assembly and all other tasks take.
const OTHER_MS: u64 = 200;

pub struct Machine {
    pub slots: u32,
    /// Frames in a thousand seconds of one slot.
    pub mfps: u64,
    /// Whether its benchmark tells that, but for a tenth.
    pub known: bool,
    /// When it becomes slower, and how many times.
    pub slows: Option<(u64, u64)>,
}

#[derive(Clone, Copy)]
pub struct Film {
    pub tenant: &'static str,
    pub at_ms: u64,
    pub shards: u32,
    /// Frames of a shard.
    pub frames: u64,
    /// By how much they differ at most.
    pub unlike_percent: u64,
}

/// An attempt that runs.
struct Run {
    node: u64,
    /// Its frames up to a time, from which on it goes evenly.
    since_ms: u64,
    before: u64,
    ends_ms: u64,
    frames: u64,
}

impl Run {
    fn frames_at(&self, now_ms: u64) -> u64 {
        let (done_ms, all_ms) = (now_ms - self.since_ms, self.ends_ms - self.since_ms);
        self.before + (self.frames - self.before) * done_ms / all_ms.max(1)
    }
}

pub struct Cluster {
    pub machines: Vec<Machine>,
    pub shards: u64,
    pub plans: u32,
    pub planned: Duration,
    pub longest_plan: Duration,
    /// How many shards were given to a second node.
    pub twins: u32,
    /// The shards in the order in which they were given out.
    pub order: Vec<u32>,
    films: Vec<Film>,
    ended_ms: Vec<u64>,
    given: BTreeMap<u64, u64>,
    seed: u64,
    state: State,
    health: ClusterHealth,
    index: u64,
    now_ms: u64,
    running: BTreeMap<AttemptKey, Run>,
    ends: BinaryHeap<Reverse<(u64, AttemptKey)>>,
}

impl Cluster {
    pub fn new(seed: u64, machines: Vec<Machine>, films: Vec<Film>) -> Self {
        Cluster::of_level(FEATURE_LEVEL, seed, machines, films)
    }

    /// A cluster whose nodes can read the log up to a level.
    pub fn of_level(level: u32, seed: u64, machines: Vec<Machine>, films: Vec<Film>) -> Self {
        let mut cluster = Cluster {
            shards: films.iter().map(|film| u64::from(film.shards)).sum(),
            ended_ms: vec![0; films.len()],
            machines,
            films,
            seed,
            plans: 0,
            planned: Duration::ZERO,
            longest_plan: Duration::ZERO,
            twins: 0,
            order: Vec::new(),
            given: BTreeMap::new(),
            state: State::default(),
            health: ClusterHealth::default(),
            index: 0,
            now_ms: 0,
            running: BTreeMap::new(),
            ends: BinaryHeap::new(),
        };
        cluster.health.voters = 3;
        for number in 0..cluster.machines.len() {
            let off = cluster.random(200);
            let machine = &cluster.machines[number];
            let mut node = NodeHealth {
                alive: true,
                slots: machine.slots,
                build: BUILD.into(),
                ..Default::default()
            };
            if machine.known {
                let told = machine.mfps * (900 + off) / 1000;
                node.speeds.insert("h264".into(), told);
            }
            cluster.health.nodes.insert(number as u64 + 1, node);
            cluster.apply(Command::RegisterNode(RegisterNode {
                node: number as u64 + 1,
                feature_level: level,
                ..Default::default()
            }));
        }
        cluster
    }

    fn random(&mut self, below: u64) -> u64 {
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005);
        self.seed = self.seed.wrapping_add(1_442_695_040_888_963_407);
        (self.seed >> 33) % below.max(1)
    }

    fn apply(&mut self, command: Command) {
        self.index += 1;
        let applied = self.state.apply(self.index, &Entry::new(vec![command]));
        let reply = &applied.replies[0];
        assert!(!reply.stale && reply.refused.is_none(), "{reply:?}");
    }

    fn id(&self, number: usize) -> String {
        job_id(self.films[number].tenant, &number.to_string())
    }

    /// Has a film analysed at once.
    fn submit(&mut self, number: usize) {
        let film = self.films[number];
        let job = self.id(number);
        self.apply(Command::CreateJob(CreateJob {
            tenant: film.tenant.into(),
            request_id: number.to_string(),
            source_bytes: 1,
            ..Default::default()
        }));
        let nodes = self.machines.len() as u64;
        let home = |offset: u64| (number as u64 * 2 + offset) % nodes + 1;
        self.apply(Command::SetHomes(SetHomes {
            job: job.clone(),
            homes: vec![home(0), home(1)],
            ..Default::default()
        }));
        let epoch = self.index;
        self.apply(Command::SealSource(SealSource {
            job: job.clone(),
            epoch,
            manifest: "m".into(),
            root: number.to_string(),
            ..Default::default()
        }));
        let key = AttemptKey {
            job,
            kind: TaskKind::Analyze.into(),
            number: 0,
            attempt: 1,
        };
        self.apply(Command::Assign(Assign {
            key: key.clone(),
            node: home(0),
            build: BUILD.into(),
            ..Default::default()
        }));
        let mut ranges = Vec::new();
        for shard in 0..i64::from(film.shards) {
            ranges.push(ShardRange {
                from_pts: shard,
                to_pts: shard + 1,
                frames: self.length(&film),
            });
        }
        for (part, ranges) in ranges.chunks(256).enumerate() {
            self.apply(Command::PlanAppend(PlanAppend {
                key: key.clone(),
                first: part as u32 * 256,
                ranges: ranges.to_vec(),
                early: None,
                replace: false,
                shard_keys: Vec::new(),
            }));
        }
        self.apply(Command::Complete(Complete {
            key,
            hash: "h".into(),
            frames: ranges.iter().map(|range| range.frames).sum(),
            shards_total: film.shards,
            ..Default::default()
        }));
    }

    /// The frames of all shards, as they will be drawn.
    fn lengths(&self) -> Vec<u64> {
        let mut probe = Cluster::new(self.seed, Vec::new(), Vec::new());
        let mut all = Vec::new();
        for film in &self.films {
            let lengths = (0..film.shards).map(|_| probe.length(film));
            all.extend(lengths);
        }
        all
    }

    fn length(&mut self, film: &Film) -> u64 {
        film.frames - self.random(film.frames * film.unlike_percent / 100 + 1)
    }

    /// The speed of each slot.
    fn slots(&self) -> impl Iterator<Item = u64> {
        let machines = self.machines.iter();
        machines.flat_map(|of| std::iter::repeat_n(of.mfps, of.slots as usize))
    }

    /// No assignment of these films ends sooner: all slots work until the end, and each
    /// shard takes its start.
    pub fn bound_ms(&self) -> u64 {
        let all = self.lengths();
        let (count, frames) = (all.len() as u64, all.iter().sum::<u64>());
        let done_by = |ms: u64| -> u64 {
            let one_us = |mfps: u64| START_MS * 1000 + frames * 1_000_000_000 / count / mfps;
            self.slots().map(|mfps| ms * 1_000_000 / one_us(mfps)).sum()
        };
        let (mut early, mut late) = (0, 1 << 32);
        while late - early > 1 {
            let middle = (early + late) / 2;
            match done_by(middle) >= count * 1000 {
                true => late = middle,
                false => early = middle,
            }
        }
        late + OTHER_MS
    }

    /// How long it takes where all is known beforehand: the longest first, each where it
    /// ends first.
    pub fn foreseen_ms(&self) -> u64 {
        let mut lengths = self.lengths();
        lengths.sort_unstable_by_key(|frames| Reverse(*frames));
        let mut slots: Vec<(u64, u64)> = self.slots().map(|mfps| (mfps, 0)).collect();
        for frames in lengths {
            let end = |(mfps, at): &(u64, u64)| at + START_MS + frames * 1_000_000 / mfps;
            let first = slots.iter_mut().min_by_key(|slot| end(slot)).unwrap();
            first.1 = end(first);
        }
        slots.into_iter().map(|(_, at)| at).max().unwrap() + OTHER_MS
    }

    /// Runs until all films are done; how long that takes.
    pub fn run(&mut self) -> u64 {
        let mut next_film = 0;
        let mut beat_ms = 0;
        loop {
            while next_film < self.films.len() && self.films[next_film].at_ms <= self.now_ms {
                self.submit(next_film);
                next_film += 1;
            }
            while let Some(Reverse((at_ms, key))) = self.ends.peek().cloned()
                && at_ms <= self.now_ms
            {
                self.ends.pop();
                // One that became slower ends later.
                if self
                    .running
                    .get(&key)
                    .is_some_and(|run| run.ends_ms == at_ms)
                {
                    self.end(&key);
                }
            }
            self.slow_down();
            if beat_ms <= self.now_ms {
                beat_ms = self.now_ms + BEAT_MS;
                self.beat();
            }
            while self.plan() {}
            if next_film == self.films.len() && self.state.active().next().is_none() {
                return self.ended_ms.iter().copied().max().unwrap();
            }
            let next = self
                .ends
                .peek()
                .map_or(u64::MAX, |Reverse((at_ms, _))| *at_ms);
            let film = self
                .films
                .get(next_film)
                .map_or(u64::MAX, |film| film.at_ms);
            let slows = self.machines.iter().filter_map(|of| of.slows);
            let slows = slows.map(|(at_ms, _)| at_ms).min().unwrap_or(u64::MAX);
            self.now_ms = next.min(film).min(beat_ms).min(slows);
            assert!(self.now_ms < 1 << 32, "it never ends");
        }
    }

    /// Plans; whether there is more to do than one entry takes.
    fn plan(&mut self) -> bool {
        let begun = Instant::now();
        let commands = plan(&self.state, &self.health);
        let took = begun.elapsed();
        self.plans += 1;
        self.planned += took;
        self.longest_plan = self.longest_plan.max(took);
        let full = commands.len() >= COMMANDS_PER_ENTRY_MAX;
        for command in commands {
            let given = match &command {
                Command::Assign(c) => {
                    if c.key.kind() == TaskKind::Shard {
                        self.order.push(c.key.number);
                    }
                    self.twins += u32::from(c.twin);
                    Some((c.key.clone(), c.node))
                }
                _ => None,
            };
            self.apply(command);
            if let Some((key, node)) = given {
                self.start(key, node);
            }
        }
        full
    }

    /// Has machines become slower whose time has come, with what runs on them.
    fn slow_down(&mut self) {
        let now_ms = self.now_ms;
        for (node, machine) in (1..).zip(&mut self.machines) {
            let Some((_, times)) = machine.slows.take_if(|(at_ms, _)| *at_ms <= now_ms) else {
                continue;
            };
            machine.mfps /= times;
            let here = self.running.iter_mut().filter(|(_, run)| run.node == node);
            for (key, run) in here {
                run.before = run.frames_at(now_ms);
                run.ends_ms = now_ms + (run.ends_ms - now_ms) * times;
                run.since_ms = now_ms;
                self.ends.push(Reverse((run.ends_ms, key.clone())));
            }
        }
    }

    fn start(&mut self, key: AttemptKey, node: u64) {
        let noise = self.random(100);
        let machine = &self.machines[node as usize - 1];
        let entry = self.state.job(&key.job).unwrap();
        let frames = entry.tasks[&key.task()].frames;
        let takes_ms = match key.kind() {
            TaskKind::Shard => {
                *self.given.entry(node).or_default() += 1;
                START_MS + frames * 1_000_000 / machine.mfps * (950 + noise) / 1000
            }
            _ => OTHER_MS,
        };
        let ends_ms = self.now_ms + takes_ms.max(1);
        Arc::make_mut(&mut self.health.speeds).goes(&key, node, 0, self.now_ms);
        let run = Run {
            node,
            since_ms: self.now_ms,
            before: 0,
            ends_ms,
            frames,
        };
        self.running.insert(key.clone(), run);
        self.ends.push(Reverse((ends_ms, key)));
    }

    fn beat(&mut self) {
        let speeds = Arc::make_mut(&mut self.health.speeds);
        let state = &self.state;
        self.running
            .retain(|key, run| attempt_is_current(state, key, run.node));
        let mut said: BTreeMap<u64, BTreeMap<AttemptKey, u64>> = BTreeMap::new();
        for (key, run) in &self.running {
            let frames = run.frames_at(self.now_ms);
            said.entry(run.node)
                .or_default()
                .insert(key.clone(), frames);
        }
        for (node, running) in said {
            speeds.runs(node, &running, self.now_ms);
        }
    }

    fn end(&mut self, key: &AttemptKey) {
        let run = self.running.remove(key).unwrap();
        let speeds = Arc::make_mut(&mut self.health.speeds);
        speeds.ended(key, run.node, Some(run.frames), self.now_ms);
        if !attempt_is_current(&self.state, key, run.node) {
            return;
        }
        self.apply(Command::Complete(Complete {
            key: key.clone(),
            hash: "h".into(),
            report: "p".into(),
            frames: run.frames,
            ..Default::default()
        }));
        let entry = self.state.job(&key.job).unwrap();
        if entry.job.state() == JobState::Succeeded {
            let number: usize = entry.job.request_id.parse().unwrap();
            self.ended_ms[number] = self.now_ms;
        }
    }

    /// How long a film took from its submission.
    pub fn took_ms(&self, film: usize) -> u64 {
        self.ended_ms[film] - self.films[film].at_ms
    }

    /// How many shards a node was given.
    pub fn shards_on(&self, node: u64) -> u64 {
        self.given.get(&node).copied().unwrap_or(0)
    }
}
