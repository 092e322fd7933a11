//! What really happened, and the oracles that compare the cluster with it.

use std::collections::{BTreeMap, BTreeSet};

use reelraft_model::{
    AttemptKey, Command, Complete, DecideReuse, History, Home, Job, JobEntry, JobState, Reply,
    SetHomes, ShardRange, State, TaskKey, TaskKind,
    home_rules::{holders, sources},
};

use crate::{aims::shard_of, client::UPLOADING_MAX, engine::is_lie, node::Node};

/// How long a process may go on with what was to be taken back from it.
const TAKEN_BACK_MS: u64 = 6_000;
/// How long a plan may take to be written down.
const LATE_PLAN_MS: u64 = 10_000;
/// How long a result may be sent that no table waits for.
const LATE_RESULT_MS: u64 = 60_000;
/// Sendings further apart than this are of two tries at the same attempt.
const SENT_AGAIN_MS: u64 = 5_000;

/// What a client asked for, and what it was told.
#[derive(Default)]
pub struct TrueJob {
    /// Its first shard fails wherever it is tried.
    pub cursed: bool,
    /// Its decoder gives other frames than its packets promise.
    pub odd: bool,
    /// Its client goes away while it uploads.
    pub abandoned: bool,
    pub chunks: u64,
    /// Chunks that the client was told are safe.
    pub acked: u64,
    pub copied_chunks: u64,
    pub copied_outputs: u64,
    /// When its success was written down.
    pub ended_ms: Option<u64>,
    /// Homes that had another build than one that it was bound to.
    pub unfit_homes: u64,
    /// The name of its tasks as they were then.
    pub history: Option<String>,
    /// Losses that had happened when it was made.
    pub losses_before: Option<u64>,
}

/// When a node began an attempt, and whether it had begun it before.
struct Begun {
    process: u64,
    term: u64,
    ms: u64,
    again: bool,
}

#[derive(Default)]
pub struct Truth {
    pub now_ms: u64,
    pub term: u64,
    /// How long a home of a finished output may be away.
    pub finished_lost_ms: u64,
    pub jobs: BTreeMap<String, TrueJob>,
    /// The first promise that was broken.
    pub first_broken: Option<String>,
    /// Absences that outlasted a home's limit, disks that filled up or were
    /// lost, and nodes that came back with another build.
    pub losses: u64,
    /// When a node was last draining: outputs move then.
    pub drained_ms: Option<u64>,
    /// Nodes whose disks were lost for good.
    pub lost_disks: BTreeSet<u64>,
    begun: BTreeMap<(AttemptKey, u64), Begun>,
    /// Every attempt that was given out.
    assigned: BTreeSet<AttemptKey>,
    /// Since when a result has been sent late, and when it last was.
    late: BTreeMap<(AttemptKey, u64), (u64, u64)>,
}

/// A bit for each chunk of a source.
pub fn all_chunks(count: u64) -> u64 {
    (1 << count) - 1
}

/// How many shards a job's film has.
pub fn shards(job: &Job) -> u32 {
    1 + (job.source_bytes % 3) as u32
}

/// The ranges that an analysis plans.
pub fn ranges_of(key: &AttemptKey, shards: u32) -> Vec<ShardRange> {
    let count = if key.kind() == TaskKind::Analyze {
        shards
    } else {
        0
    };
    let range = |number: i64| ShardRange {
        from_pts: number * 100,
        to_pts: number * 100 + 100,
        frames: 100,
    };
    (0..i64::from(count)).map(range).collect()
}

/// What a task makes under a build, wherever and whenever it is done. A probe makes
/// the shard that it encodes.
pub fn part_hash(build: &str, entry: &JobEntry, key: TaskKey) -> String {
    let task = entry.tasks.get(&key);
    let shard = task.and_then(|task| Some((task, shard_of(task)?)));
    let Some((task, shard)) = shard else {
        return format!("{build}:{}{}", key.0.name(), key.1);
    };
    let name = match entry.job.single {
        true => format!("{build}:whole"),
        false => format!("{build}:shard{shard}"),
    };
    match entry.rate_centi(task) {
        0 => name,
        centi => format!("{name}@{centi}"),
    }
}

impl Truth {
    pub fn new(finished_lost_ms: u64) -> Self {
        Truth {
            finished_lost_ms,
            ..Default::default()
        }
    }

    pub fn broken(&mut self, what: String) {
        self.first_broken.get_or_insert(what);
    }

    pub fn job(&self, id: &str) -> Option<&TrueJob> {
        self.jobs.get(id)
    }

    pub fn acknowledged(&mut self, id: &str, chunks: u64) {
        if let Some(job) = self.jobs.get_mut(id) {
            job.acked |= chunks;
        }
    }

    /// A client learns what it need not send (again).
    pub fn plan_sent(&mut self, id: &str, have: u64) {
        let job = self.jobs.get(id);
        if job.is_some_and(|job| job.acked & !have != 0) {
            self.broken(format!(
                "an acknowledged chunk of {id} is asked for again (P2)"
            ));
        }
    }

    /// A job was bound to a build, and so many of its homes have another.
    pub fn bound(&mut self, id: &str, unfit_homes: u64) {
        if let Some(job) = self.jobs.get_mut(id) {
            job.unfit_homes += unfit_homes;
        }
    }

    pub fn copied_chunk(&mut self, id: &str) {
        if let Some(job) = self.jobs.get_mut(id) {
            job.copied_chunks += 1;
        }
    }

    pub fn copied_output(&mut self, id: &str) {
        if let Some(job) = self.jobs.get_mut(id) {
            job.copied_outputs += 1;
        }
    }

    pub fn begun(&mut self, key: &AttemptKey, node: u64, process: u64, term: u64) {
        let before = self.begun.get(&(key.clone(), node));
        let again = before.is_some_and(|begun| begun.process != process && begun.term == term);
        let ms = self.now_ms;
        let begun = Begun {
            process,
            term,
            ms,
            again,
        };
        self.begun.insert((key.clone(), node), begun);
    }

    pub fn sent(&mut self, key: &AttemptKey, node: u64, current: bool, now_ms: u64) {
        let key = (key.clone(), node);
        if current {
            self.late.remove(&key);
            return;
        }
        let (since, last) = self.late.entry(key.clone()).or_insert((now_ms, now_ms));
        if now_ms - *last > SENT_AGAIN_MS {
            *since = now_ms;
        }
        *last = now_ms;
        if now_ms - *since > LATE_RESULT_MS {
            self.broken(format!(
                "{} is sent for ever, though nobody waits for it",
                key.0
            ));
        }
    }

    /// Judges what a command did. `absent` is how long a node was out of
    /// reach just now.
    pub fn command(
        &mut self,
        command: &Command,
        reply: &Reply,
        (before, after): (&State, &State),
        absent: &dyn Fn(u64) -> u64,
    ) {
        if reply.stale || reply.refused.is_some() {
            return;
        }
        match command {
            Command::CreateJob(_) => {
                let losses = self.losses;
                match self.jobs.get_mut(&reply.job) {
                    Some(job) => drop(job.losses_before.get_or_insert(losses)),
                    None => self.broken("a retry of a request made another job (P5)".into()),
                }
            }
            Command::Complete(complete) => self.completed(complete, before),
            Command::Assign(assign) if !self.assigned.insert(assign.key.clone()) => {
                self.broken(format!("{} is given out twice", assign.key));
            }
            Command::DecideReuse(decided) if decided.taken => self.taken(decided, after),
            Command::SetHomes(set) => self.homes_set(set, (before, after), absent),
            _ => {}
        }
        self.failed(before, after, &reply.job);
        let entry = after.job(&reply.job);
        self.parts_taken(entry.as_deref());
        let succeeded = entry.filter(|entry| entry.job.state() == JobState::Succeeded);
        if let Some((entry, job)) = succeeded.zip(self.jobs.get_mut(&reply.job)) {
            job.ended_ms.get_or_insert(self.now_ms);
            let then = job
                .history
                .get_or_insert_with(|| History::blob(&entry).hash);
            let kept = &entry.job.history_hash;
            if !kept.is_empty() && kept != then {
                let id = &reply.job;
                self.broken(format!("the history of {id} is not that of its tasks"));
            }
        }
    }

    /// An output may be taken only of a job of the same source.
    fn taken(&mut self, decided: &DecideReuse, after: &State) {
        let Some(entry) = after.job(&decided.job) else {
            return;
        };
        let chunks = |id: &str| self.jobs.get(id).map(|job| job.chunks);
        if entry.job.reuse.is_some() && chunks(&decided.job) != chunks(&decided.of) {
            let (job, of) = (&decided.job, &decided.of);
            self.broken(format!("{job} takes the output of another film, {of} (P1)"));
        }
    }

    /// A part may be taken only of a job of the same source.
    fn parts_taken(&mut self, entry: Option<&JobEntry>) {
        let chunks = |id: &str| self.jobs.get(id).map(|job| job.chunks);
        let parts = entry.into_iter().flat_map(JobEntry::parts);
        let foreign = parts
            .filter(|task| !task.taken_from.is_empty())
            .find(|task| {
                entry.map(|entry| chunks(&entry.job.id)) != Some(chunks(&task.taken_from))
            });
        if let Some(task) = foreign {
            let of = &task.taken_from;
            self.broken(format!("a part of another film, {of}, is taken (P1)"));
        }
    }

    fn completed(&mut self, complete: &Complete, before: &State) {
        let key = &complete.key;
        let Some(entry) = before.job(&key.job) else {
            return;
        };
        // Its plan may be another than that of the sealed source.
        if entry.job.index_hash.is_empty() && key.kind() != TaskKind::Analyze {
            return;
        }
        let expected = match key.kind() {
            TaskKind::Assemble => match &entry.job.reuse {
                Some(reuse) => reuse.output_hash.clone(),
                None => output(&entry),
            },
            _ => part_hash(&entry.job.build, &entry, key.task()),
        };
        // An engine may say anything: what counts of it is looked at in the output.
        if complete.hash != expected && !is_lie(&complete.hash) {
            let found = &complete.hash;
            self.broken(format!("{key} gave {found} where {expected} was due (P1)"));
        }
        let mut running = entry.attempts_running();
        let Some((_, node)) = running.find(|(running, _)| running == key) else {
            return;
        };
        let begun = self.begun.get(&(key.clone(), node));
        // What was to be taken back may be lost with the leader.
        let term = self.term;
        let again = begun.filter(|begun| begun.again && begun.term == term);
        if again.is_some_and(|begun| self.now_ms - begun.ms > TAKEN_BACK_MS) {
            self.broken(format!("{key} went on as if its process had not died"));
        }
    }

    fn homes_set(
        &mut self,
        set: &SetHomes,
        (before, after): (&State, &State),
        absent: &dyn Fn(u64) -> u64,
    ) {
        let Some(entry) = before.job(&set.job) else {
            return;
        };
        if entry.job.state() != JobState::Succeeded {
            return;
        }
        // A change that was planned before the job had ended may come later.
        let ended_ms = self.jobs.get(&set.job).and_then(|job| job.ended_ms);
        let since_ms = ended_ms.max(ended_ms.and(self.drained_ms));
        if since_ms.is_none_or(|since_ms| self.now_ms - since_ms < LATE_PLAN_MS) {
            return;
        }
        let dropped = entry.job.homes.iter().filter(|home| home.filled);
        for home in dropped.filter(|home| !set.homes.contains(&home.node)) {
            let (node, ms) = (home.node, absent(home.node));
            // One that is there, or was when this was planned, may be read from
            // until the exchange is undone.
            let read = after
                .job(&set.job)
                .is_some_and(|entry| entry.is_read_from(node));
            if ms + 1_000 < self.finished_lost_ms && !(read && ms < LATE_PLAN_MS) {
                self.broken(format!(
                    "the finished {} left node {node}, which was away for {ms} ms",
                    set.job
                ));
            }
        }
    }

    fn failed(&mut self, before: &State, after: &State, id: &str) {
        let failed = |state: &State| {
            let entry = state.job(id);
            entry.is_some_and(|entry| entry.job.state() == JobState::Failed)
        };
        let cursed = self.jobs.get(id).is_some_and(|job| {
            let was = before.job(id).map(|entry| entry.job.state());
            job.cursed || (job.abandoned && was == Some(JobState::Uploading))
        });
        // All its homes were lost when they were chosen, before that was known:
        // its upload waited for them until it expired.
        let cursed = cursed
            || before.job(id).is_some_and(|entry| {
                let mut homes = entry.job.current_homes();
                entry.job.state() == JobState::Uploading
                    && homes.all(|home| self.lost_disks.contains(&home.node))
            });
        if failed(after) && !failed(before) && !cursed {
            let problem = after.job(id).and_then(|entry| entry.job.problem.clone());
            let problem = problem
                .map(|problem| problem.to_string())
                .unwrap_or_default();
            self.broken(format!("{id} failed for its nodes' sake (P2): {problem}"));
        }
    }

    /// Looks at every byte that was acknowledged.
    pub fn look(&mut self, state: &State, nodes: &BTreeMap<u64, Node>) {
        if state.uploading().count() as u64 > UPLOADING_MAX {
            self.broken("more uploads are taken than may be".into());
        }
        for entry in state.jobs() {
            if let Some(broken) = self.look_at(&entry, nodes) {
                self.broken(format!("{}: {broken}", entry.job.id));
            }
        }
    }

    fn look_at(&self, entry: &JobEntry, nodes: &BTreeMap<u64, Node>) -> Option<String> {
        let (job, id) = (&entry.job, &entry.job.id);
        let (chunks, blobs) = self.counted_on(entry)?;
        let living = |id: &u64| nodes.get(id).filter(|node| !node.lost);
        let all: Vec<&Node> = nodes.values().filter(|node| !node.lost).collect();
        let named: Vec<u64> = sources(job).collect();
        let named: Vec<&Node> = named.iter().filter_map(living).collect();
        let union = |nodes: &[&Node]| nodes.iter().fold(0, |all, node| all | node.chunks(id));
        let on = |nodes: &[&Node], blob: &str| nodes.iter().any(|node| node.has_blob(id, blob));
        let gone = |blob: &&String| !on(&all, blob);
        if union(&all) & chunks != chunks || blobs.iter().any(|blob| gone(&blob)) {
            return Some("acknowledged bytes are gone (P2)".into());
        }
        let unnamed = |blob: &&String| !on(&named, blob);
        if union(&named) & chunks != chunks || blobs.iter().any(|blob| unnamed(&blob)) {
            let holders = all.iter().filter(|node| node.disk.contains_key(id));
            let holders: Vec<u64> = holders.map(|node| node.id).collect();
            return Some(format!(
                "living nodes hold acknowledged bytes and the table names none that has them \
                 (P2): {:?} of {blobs:?}, homes {:?}, folders on {holders:?}",
                blobs.iter().find(|blob| unnamed(blob)),
                job.homes
                    .iter()
                    .map(|home| (home.node, home.filled))
                    .collect::<Vec<_>>()
            ));
        }
        let lacks = |home: &&Home| {
            let node = living(&home.node).filter(|_| home.filled && !home.returned);
            node.is_some_and(|node| !node.has_blob(id, &job.index_hash))
        };
        if let Some(home) = job.current_homes().find(lacks)
            && blobs.contains(&job.index_hash)
        {
            let node = home.node;
            return Some(format!("home {node} counts as filled and lacks the index"));
        }
        for node in holders(job).filter_map(|id| living(&id)) {
            let output = [&job.output_hash, &job.manifest];
            let output = output[usize::from(job.state() != JobState::Succeeded)];
            let named = [output, &job.history_hash];
            let mut named = named.iter().filter(|blob| !blob.is_empty());
            let has = named.all(|blob| node.has_blob(id, blob));
            if node.chunks(id) & chunks != chunks || !has {
                return Some(format!(
                    "home {} counts as filled and is not (P2): it has chunks {:b} of {chunks:b}",
                    node.id,
                    node.chunks(id)
                ));
            }
        }
        None
    }

    /// The chunks and blobs that must not be lost; `None` where all may be.
    fn counted_on(&self, entry: &JobEntry) -> Option<(u64, Vec<String>)> {
        let job = &entry.job;
        let acked = self.jobs.get(&job.id)?.acked;
        match job.state() {
            JobState::Uploading => Some((acked, Vec::new())),
            JobState::Succeeded => Some((0, entry.film_blobs())),
            state if state.keeps_bytes() => {
                let mut blobs = vec![job.manifest.clone()];
                blobs.extend((!job.index_hash.is_empty()).then(|| job.index_hash.clone()));
                Some((all_chunks(job.source_bytes), blobs))
            }
            _ if job.keeps_source() => {
                Some((all_chunks(job.source_bytes), vec![job.manifest.clone()]))
            }
            _ => None,
        }
    }

    /// Whether another disk may be lost: all that counts lies on so many
    /// living disks, those of filled homes.
    pub fn all_copied(&self, state: &State, nodes: &BTreeMap<u64, Node>, copies: u64) -> bool {
        state.jobs().all(|entry| {
            let whole = entry.job.homes.iter().filter(|home| {
                let node = &nodes[&home.node];
                let has = self.counted_on(&entry).is_none_or(|(chunks, blobs)| {
                    let id = &entry.job.id;
                    let blobs = blobs.iter().all(|blob| node.has_blob(id, blob));
                    node.chunks(id) & chunks == chunks && blobs
                });
                home.filled && !node.lost && has
            });
            self.counted_on(&entry).is_none() || whole.count() as u64 >= copies
        })
    }

    /// For each loss that outlasted its limit, disk that filled up, build that
    /// changed and home of another build than its job's: at most one copy of a job for the replacement, one more of
    /// what was uploaded until the lost home was back, and one of an output.
    pub fn judge_copying(&mut self) {
        let mut found = Vec::new();
        for (id, job) in &self.jobs {
            let losses = self.losses - job.losses_before.unwrap_or(self.losses) + job.unfit_homes;
            if job.copied_chunks > 2 * job.chunks * losses || job.copied_outputs > losses {
                found.push(format!(
                    "{id}: {} chunks and {} outputs were copied for {losses} losses",
                    job.copied_chunks, job.copied_outputs
                ));
            }
        }
        for broken in found {
            self.broken(broken);
        }
    }
}

/// The output that a job's parts make, all of them under its build.
fn output(entry: &JobEntry) -> String {
    let job = &entry.job;
    let parts = entry
        .parts()
        .map(|task| part_hash(&job.build, entry, task.key()));
    let parts: Vec<String> = parts.collect();
    format!("{}:out({})", job.build, parts.join(" "))
}
