//! One storm: a cluster made of a seed, some hundred steps of trouble, and
//! then calm weather until all has ended.

use std::{collections::BTreeMap, sync::Arc};

use reelraft_model::{JobEntry, JobState, job_id};

use crate::{
    bugs::{Bug, Bugs},
    calm_rates::wrong_rates,
    client::{Client, Phase, Wish},
    engine::{Engines, rests_on_liar},
    leader::{REHOME_AFTER_MS, UPLOAD_EXPIRY_MS},
    log::Log,
    measuring::is_measured,
    node::Node,
    rng::Rng,
    story::Story,
    truth::{TrueJob, Truth},
    world::World,
};

const STEP_MS: u64 = 500;
/// In calm weather after all jobs have ended only the sweeps are waited for.
const IDLE_STEP_MS: u64 = 2_000;
/// All must have ended so long after the storm. A client that abandons its
/// upload may have to wait for a place until two others expire, and then its
/// own upload waits for its expiry.
const CALM_MS_MAX: u64 = 2 * UPLOAD_EXPIRY_MS + 400_000;

/// What came of a storm.
pub struct Outcome {
    pub broken: Option<String>,
    /// Whether some output was compared with its source.
    pub measured: bool,
    pub story: Vec<String>,
}

/// Runs a seed; tells its story if asked to.
pub fn run(seed: u64, bug: Option<Bug>, told: bool) -> Outcome {
    let mut world = make(seed, Bugs(bug), told);
    let steps = world.rng.between(150, 400);
    for _ in 0..steps {
        world.step();
        if world.truth.first_broken.is_some() {
            break;
        }
    }
    if world.truth.first_broken.is_none() {
        world.calm_down();
    }
    if world.truth.first_broken.is_none() && seed.is_multiple_of(16) && !world.log.replays() {
        world
            .truth
            .broken("a replica that reads the log comes to another table".into());
    }
    let broken = world.truth.first_broken.take();
    Outcome {
        broken: broken.map(|broken| world.story.named(&broken)),
        measured: world.seen.measured,
        story: world.story.lines,
    }
}

fn make(seed: u64, bugs: Bugs, told: bool) -> World {
    let mut rng = Rng::new(seed);
    let (voters, learners) = [(3u64, 0u64), (3, 0), (3, 1), (3, 2), (5, 0)][rng.below(5) as usize];
    let mut nodes = BTreeMap::new();
    for id in 1..=voters + learners {
        let mut node = Node::new(id, id <= voters);
        node.copies_a_look = rng.between(1, 4);
        node.slow = rng.chance(300);
        node.slots = rng.between(1, 3) as u32;
        nodes.insert(id, node);
    }
    let mut clients = Vec::new();
    let mut truth = Truth::new(REHOME_AFTER_MS);
    for number in 0..rng.between(1, 4) {
        // Now and then the same as another's.
        let same = clients.last().filter(|_| rng.chance(400));
        let chunks = same.map_or_else(|| rng.between(1, 12), |other: &Client| other.chunks);
        let starts_ms = rng.below(60) * 1_000;
        let mut client = Client::new(format!("job{number}"), chunks, starts_ms);
        client.wish = match rng.below(20) {
            0..=1 => Wish::Cancel,
            2 => Wish::Delete,
            3..=5 => Wish::FetchAndDelete,
            6 => Wish::Abandon,
            _ => Wish::Fetch,
        };
        client.ends_ms = starts_ms + rng.below(60) * 1_000;
        let of = TrueJob {
            cursed: rng.chance(70),
            odd: rng.chance(250),
            abandoned: client.wish == Wish::Abandon,
            chunks,
            ..Default::default()
        };
        truth.jobs.insert(job_id("t", &client.request), of);
        clients.push(client);
    }
    let requests = clients.iter().map(|client| client.request.clone());
    let requests: Vec<String> = requests.collect();
    let engines = Engines::of(seed);
    let mut log = Log::founded_by(nodes.keys().copied());
    if !engines.permits().is_empty() {
        log.append(engines.permits());
    }
    World {
        rng,
        bugs,
        now_ms: 0,
        step_ms: STEP_MS,
        log,
        engines,
        nodes,
        voters: voters as u32,
        term: 0,
        leader: None,
        election_due_ms: 0,
        proposals: Vec::new(),
        replies: Vec::new(),
        assignments: Vec::new(),
        puts: Vec::new(),
        clients,
        upgraded_to: "b",
        calm: false,
        dirty: false,
        seen: Default::default(),
        truth,
        story: Story::new(told, &requests),
    }
}

impl World {
    /// One step of virtual time.
    fn step(&mut self) {
        self.now_ms += self.step_ms;
        self.truth.now_ms = self.now_ms;
        self.break_something();
        self.pass_time();
        self.move_engines();
        self.elect();
        self.deliver();
        self.hand_out_replies();
        self.take_assignments();
        self.move_puts();
        let up: Vec<u64> = self.nodes.keys().copied().collect();
        for node in up {
            if self.nodes[&node].up(self.now_ms) {
                self.work(node);
                self.do_duties(node);
            }
        }
        self.lead();
        for client in 0..self.clients.len() {
            self.serve(client);
        }
        if std::mem::take(&mut self.dirty) {
            let state = self.log.state();
            self.truth.look(state, &self.nodes);
            let wrong = state.jobs().find_map(|entry| wrong_rates(&entry));
            if let Some(wrong) = wrong.or_else(|| rests_on_liar(state)) {
                self.truth.broken(wrong);
            }
            self.look_at_findings();
            self.look_at_sources();
        }
    }

    /// Heals all and waits until all has ended.
    fn calm_down(&mut self) {
        self.heal();
        let until_ms = self.now_ms + CALM_MS_MAX;
        loop {
            let idle = self.log.state().active().all(|entry| {
                let of = self.truth.job(&entry.job.id);
                let uploads = entry.job.state() == JobState::Uploading;
                uploads && of.is_some_and(|of| of.abandoned)
            });
            self.step_ms = if idle { IDLE_STEP_MS } else { STEP_MS };
            self.step();
            let open = self.unfinished();
            if open.is_none() || self.truth.first_broken.is_some() {
                break;
            }
            if self.now_ms > until_ms {
                let open = open.unwrap_or_default();
                self.truth
                    .broken(format!("in calm weather it never ends: {open}"));
            }
        }
        self.truth.judge_copying();
    }

    /// What has not ended yet, if anything.
    fn unfinished(&self) -> Option<String> {
        let waits = |client: &&Client| client.phase != Phase::Rest;
        if let Some(client) = self.clients.iter().find(waits) {
            return Some(format!("{} is at {:?}", client.request, client.phase));
        }
        let state = self.log.state();
        if let Some(entry) = state.active().next() {
            return Some(format!("{} is {}", entry.job.id, entry.job.state().name()));
        }
        let living = self.nodes.values().filter(|node| !node.lost).count() as u64;
        for entry in state
            .jobs()
            .filter(|entry| entry.job.state() == JobState::Succeeded)
        {
            let homes = &entry.job.homes;
            let filled = homes
                .iter()
                .filter(|home| home.filled && !self.nodes[&home.node].lost);
            if (filled.count() as u64) < living.min(self.faults() + 1) {
                return Some(format!("{} lacks filled homes: {homes:?}", entry.job.id));
            }
            let mut current = entry.job.current_homes().map(|home| home.node);
            let lacks = |home| !self.nodes[&home].lost && !self.has_findings(&entry, home);
            if is_measured(&entry) && current.any(lacks) {
                return Some(format!("a home of {} lacks what was found", entry.job.id));
            }
        }
        let rows = |entry: &Arc<JobEntry>| !entry.tasks.is_empty();
        if let Some(entry) = state.jobs().find(rows) {
            return Some(format!("the tasks of {} stay in the table", entry.job.id));
        }
        for node in self.nodes.values() {
            for job in node.disk.keys() {
                let kept = state
                    .job(job)
                    .is_some_and(|entry| entry.job.state().keeps_bytes() && entry.is_home(node.id));
                let kept = kept || reelraft_model::home_rules::keeps_bytes_of(state, job, node.id);
                if !kept {
                    return Some(format!("node {} keeps bytes of {job} for nobody", node.id));
                }
            }
        }
        None
    }
}
