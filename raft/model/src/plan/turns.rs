//! Whose turn it is: the jobs that have something to hand out, in the order in
//! which they may. A line of jobs is looked at only as far as slots go, so that
//! neither a long queue nor one that no free node can work on costs anything.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap},
    sync::Arc,
};

use super::{builds::Builds, outlook::Outlook, usage::Usage};
use crate::{
    home_rules::holders,
    job_entry::JobEntry,
    place::Place as LinePlace,
    rows::{FailureClass, JobState, Task, TaskKind},
    state::State,
};

/// The turns that are left.
pub(super) struct Turns<'a> {
    builds: &'a Builds<'a>,
    lanes: Vec<Lane<'a>>,
    /// Of each tenant, the age of the oldest of its jobs that was first in a lane
    /// when the plan was begun.
    since: BTreeMap<&'a str, u64>,
    /// The next one of each lane. A rank only ever grows while a plan is made,
    /// so one that has become stale is put back with what it is now.
    heap: BinaryHeap<Reverse<(TurnRank, usize)>>,
    /// The lane whose turn it is.
    current: Option<(TurnRank, usize)>,
}

/// Jobs in their order, of which the first is next.
struct Lane<'a> {
    first: Turn<'a>,
    rest: Box<dyn Iterator<Item = &'a JobEntry> + 'a>,
    place: Place<'a>,
    /// Its jobs are small.
    small: bool,
}

/// Where the jobs of a lane may be worked on.
#[derive(Clone, Copy)]
enum Place<'a> {
    /// Anywhere, as far as the lane knows.
    Any,
    /// On nodes of this encoder build.
    Build(&'a str),
    /// On this home alone, which assembles them under this build.
    Home(u64, &'a str),
}

impl Place<'_> {
    /// Whether a node of it may be free.
    fn is_free(self, usage: &Usage<'_>) -> bool {
        match self {
            Place::Any => usage.any_free("", TaskKind::Assemble),
            Place::Build(build) => usage.any_free(build, TaskKind::Shard),
            Place::Home(node, build) => {
                usage.free(node, TaskKind::Assemble) > 0 && usage.health.can_run(node, build)
            }
        }
    }
}

/// A job that has something to hand out.
pub(super) struct Turn<'a> {
    pub entry: &'a JobEntry,
    /// The job's encoder build; empty until its first task is assigned.
    pub build: &'a str,
    place: Place<'a>,
    /// Its tasks but for fresh shards, put in order only when its turn comes.
    first: Option<Vec<&'a Task>>,
    /// Fresh shards that this plan has given out.
    given: BTreeSet<u32>,
    /// Of its fresh shards.
    outlook: Option<Outlook>,
    /// How many of its pending tasks were lost with their node. They come first.
    lost: usize,
}

/// Which job is next; the least comes first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct TurnRank {
    /// It is a film that is compared. All that are made come first, whoever's.
    compared: bool,
    /// It has no lost task: those had their turn already and go first.
    nothing_lost: bool,
    /// Running tasks of its tenant: fair share.
    tenant_running: u32,
    /// The oldest job of its tenant that is first in a lane. Priority gains nothing
    /// by it: what overtakes older jobs of its tenant is itself younger.
    tenant_since: u64,
    /// The higher goes first within its tenant's.
    priority: Reverse<i32>,
    /// It is not small, or enough small ones have overtaken it.
    in_line: bool,
    /// Its place among its tenant's.
    place: LinePlace,
}

impl<'a> Turn<'a> {
    fn new(entry: &'a JobEntry, place: Place<'a>) -> Self {
        Turn {
            entry,
            build: &entry.job.build,
            place,
            first: None,
            given: BTreeSet::new(),
            outlook: None,
            lost: lost_of(entry),
        }
    }

    fn rank(&self, small: bool, usage: &Usage<'_>, since: &BTreeMap<&str, u64>) -> TurnRank {
        let job = &self.entry.job;
        let tenant_since = since.get(job.tenant.as_str()).copied();
        let place = job.place();
        TurnRank {
            compared: job.is_measuring(),
            nothing_lost: self.lost == 0,
            tenant_running: usage.running_of(&job.tenant),
            tenant_since: tenant_since.unwrap_or(job.in_line_since()),
            priority: place.1,
            in_line: !(small && usage.may_overtake(&job.tenant)),
            place,
        }
    }

    /// Whether a node may be free for one of its tasks.
    fn is_open(&self, usage: &Usage<'_>, builds: &Builds<'_>) -> bool {
        let job = &self.entry.job;
        // Until shards are planned all that it has reads along with its upload.
        let beside = job.state() == JobState::Uploading && job.shards_total == 0;
        if beside && !usage.any_place_beside() {
            return false;
        }
        match kind_of(self.entry) {
            TaskKind::Assemble => usage.any_free(self.build, TaskKind::Assemble),
            kind => usage.any_free_but(self.build, kind, |node| {
                // Where its films are not it can't be compared.
                let elsewhere = job.is_measuring() && !job.compares_at(node);
                let elsewhere = elsewhere || usage.free(node, kind) == 0;
                elsewhere || builds.shuns(node, job) || !self.fits(node, usage)
            }),
        }
    }

    /// Whether a node has memory for the least that it may be given.
    fn fits(&self, node: u64, usage: &Usage<'_>) -> bool {
        let (entry, large) = (self.entry, kind_of(self.entry));
        let mut pending = entry.pending.iter();
        pending.any(|(kind, _)| *kind != large) || usage.has_memory(node, large, &entry.job)
    }

    /// The next of its tasks that are no fresh shards: those that were lost, that read
    /// or make whole files, or that have failed before.
    pub fn next_special(&mut self) -> Option<&'a Task> {
        let (entry, place) = (self.entry, self.place);
        let first = self.first.get_or_insert_with(|| specials(entry, place));
        let next = first.pop();
        self.lost = self.lost.saturating_sub(usize::from(next.is_some()));
        next
    }

    /// Whether fresh shards are left that wait for other nodes than are free.
    pub fn is_held_back(&self) -> bool {
        self.entry.job.state() == JobState::Encoding
            && !self.entry.is_searching()
            && self.given.len() < self.entry.fresh_count()
    }

    /// Lets slower nodes help with its shards, where so many frames of its own and of
    /// other jobs wait.
    pub fn give_way(&mut self, waiting: u64) {
        let backlog = waiting.saturating_sub(self.entry.counts.frames_waiting);
        if let Some(outlook) = &mut self.outlook {
            outlook.give_way(backlog);
        }
    }

    /// The next fresh shard, and the node that takes it.
    pub fn next_shard(
        &mut self,
        usage: &Usage<'_>,
        builds: &Builds<'_>,
    ) -> Option<(&'a Task, u64)> {
        let entry = self.entry;
        if entry.job.state() != JobState::Encoding || entry.is_searching() {
            return None;
        }
        let given = &self.given;
        let waits = |task: &&'a Arc<Task>| !given.contains(&task.number);
        let longest = entry.fresh_shards(u64::MAX).find(waits)?.frames;
        let shortest = entry.shortest_fresh()?;
        let build = self.build;
        let outlook = self
            .outlook
            .get_or_insert_with(|| Outlook::of(entry, build, usage, builds));
        let (node, frames_max) = outlook.pick(&entry.job, (longest, shortest), usage)?;
        let first = || entry.fresh_in_order().find(waits);
        let first = outlook.in_order().then(first).flatten();
        let task = match first.filter(|task| task.frames <= frames_max) {
            Some(first) => first,
            None => entry.fresh_shards(frames_max).find(waits)?,
        };
        self.given.insert(task.number);
        Some((task, node))
    }
}

impl<'a> Turns<'a> {
    /// The turns of all jobs that can be worked on, except those in `failing`.
    pub fn new(
        state: &'a State,
        usage: &Usage<'_>,
        builds: &'a Builds<'a>,
        failing: &'a BTreeSet<&'a String>,
    ) -> Self {
        // Without a living node that holds the bytes there is nothing to read, and
        // without a living home of the epoch nowhere to write.
        let health = builds.health;
        let workable = move |entry: &&JobEntry| {
            let job = &entry.job;
            !failing.contains(&job.id)
                && holders(job).any(|node| health.alive(node))
                && job.current_homes().any(|home| health.alive(home.node))
        };
        let has_lost = |entry: &&JobEntry| lost_of(entry) > 0;
        let entry_of = |id: &String| state.current(id).map(AsRef::as_ref);
        let mut turns = Turns {
            builds,
            lanes: Vec::new(),
            since: BTreeMap::new(),
            heap: BinaryHeap::new(),
            current: None,
        };
        // Each job with a lost task is a lane of its own.
        let eventful = state.eventful().map(AsRef::as_ref);
        for entry in eventful.filter(has_lost).filter(workable) {
            if usage.any_free(&entry.job.build, kind_of(entry)) {
                turns.add(Place::Any, false, Box::new(std::iter::once(entry)), usage);
            }
        }
        let in_line = move |entry: &&JobEntry| !has_lost(entry) && workable(entry);
        for (node, build, jobs) in state.open().assembling() {
            let jobs = jobs.values().filter_map(entry_of);
            turns.add(
                Place::Home(node, build),
                false,
                Box::new(jobs.filter(in_line)),
                usage,
            );
        }
        for (build, small, jobs) in state.open().lines() {
            let jobs = jobs.values().filter_map(entry_of).filter(in_line);
            turns.add(Place::Build(build), small, Box::new(jobs), usage);
        }
        let ranks = turns.lanes.iter().enumerate();
        let ranks = ranks.map(|(at, lane)| Reverse((lane.rank(usage, &turns.since), at)));
        turns.heap = ranks.collect::<Vec<_>>().into();
        turns
    }

    fn add(
        &mut self,
        place: Place<'a>,
        small: bool,
        mut jobs: Box<dyn Iterator<Item = &'a JobEntry> + 'a>,
        usage: &Usage<'_>,
    ) {
        if place.is_free(usage)
            && let Some(first) = jobs.next()
        {
            let job = &first.job;
            // A comparison helps no film of its tenant.
            if !job.is_measuring() {
                let since = self.since.entry(job.tenant.as_str());
                let since = since.or_insert(u64::MAX);
                *since = job.created_index.min(*since);
            }
            let first = Turn::new(first, place);
            self.lanes.push(Lane {
                first,
                rest: jobs,
                place,
                small,
            });
        }
    }

    /// The job whose turn it is. Either it is given another ([`Turns::again`]) or
    /// passed by ([`Turns::pass`]).
    pub fn next(&mut self, usage: &Usage<'_>) -> Option<&mut Turn<'a>> {
        loop {
            let Reverse((rank, at)) = self.heap.pop()?;
            let lane = &self.lanes[at];
            let now = lane.rank(usage, &self.since);
            if now != rank {
                self.heap.push(Reverse((now, at)));
                continue;
            }
            // Slots are only ever taken while a plan is made.
            if !lane.place.is_free(usage) {
                continue;
            }
            let open = lane.first.is_open(usage, self.builds);
            self.current = Some((rank, at));
            if open {
                return Some(&mut self.lanes[at].first);
            }
            self.pass(usage);
        }
    }

    /// Gives the job whose turn it was another one, by and by.
    pub fn again(&mut self) {
        // Its rank is looked at when it comes up.
        self.heap.extend(self.current.take().map(Reverse));
    }

    /// Has the next job of its lane take the place of that whose turn it was, and
    /// gives that turn back.
    pub fn pass(&mut self, usage: &Usage<'_>) -> Option<Turn<'a>> {
        let (_, at) = self.current.take()?;
        let lane = &mut self.lanes[at];
        let next = lane.rest.next();
        let turn = Turn::new(next.unwrap_or(lane.first.entry), lane.place);
        let passed = std::mem::replace(&mut lane.first, turn);
        if next.is_some() {
            self.heap.push(Reverse((lane.rank(usage, &self.since), at)));
        }
        Some(passed)
    }
}

impl Lane<'_> {
    fn rank(&self, usage: &Usage<'_>, since: &BTreeMap<&str, u64>) -> TurnRank {
        self.first.rank(self.small, usage, since)
    }
}

/// How many of a job's tasks come before all others as they were lost with a node. Of a
/// comparison none does.
fn lost_of(entry: &JobEntry) -> usize {
    match entry.job.is_measuring() {
        true => 0,
        false => entry.lost().count(),
    }
}

/// The kind of a job's next tasks, as far as it matters for slots.
fn kind_of(entry: &JobEntry) -> TaskKind {
    match entry.job.state() {
        JobState::Assembling => TaskKind::Assemble,
        JobState::Succeeded => TaskKind::Measure,
        _ => TaskKind::Shard,
    }
}

/// Which task of a job is next; the least comes first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct TaskRank {
    /// It was not lost with its node.
    not_lost: bool,
    /// Frames of a shard, the longest first; all other kinds come before.
    length: Reverse<u64>,
    /// Breaks ties between kinds.
    kind: TaskKind,
    /// Breaks ties within a kind.
    number: u32,
}

impl TaskRank {
    fn of(task: &Task) -> Self {
        TaskRank {
            not_lost: !task.was_lost(),
            length: Reverse(match task.kind() {
                TaskKind::Shard | TaskKind::Probe => task.frames,
                _ => u64::MAX,
            }),
            kind: task.kind(),
            number: task.number,
        }
    }
}

/// Whether a task may start in the present state of its job.
fn may_start(task: &Task, entry: &JobEntry) -> bool {
    let state = entry.job.state();
    match task.kind() {
        TaskKind::Shard if entry.is_searching() => false,
        TaskKind::Probe => state == JobState::Encoding,
        TaskKind::Analyze if state == JobState::Uploading => task.may_begin_early(),
        TaskKind::Analyze => state == JobState::Analyzing,
        TaskKind::Shard | TaskKind::Audio
            if task.early.is_some() && state != JobState::Encoding =>
        {
            task.may_begin_early()
        }
        TaskKind::Audio | TaskKind::Shard | TaskKind::Extras => state == JobState::Encoding,
        TaskKind::Assemble => state == JobState::Assembling,
        TaskKind::Measure => entry.job.is_measuring(),
    }
}

/// A job's tasks that may start now, but for fresh shards: the last is next.
fn specials<'a>(entry: &'a JobEntry, place: Place<'a>) -> Vec<&'a Task> {
    let elsewhere = |number: u32| match place {
        Place::Home(node, _) => node != u64::from(number),
        _ => false,
    };
    let state = entry.job.state();
    let before = entry.pending.range(..(TaskKind::Shard, 0));
    let after = entry.pending.range((TaskKind::Shard, u32::MAX)..);
    // Before its plan is whole a job has few shards that may start.
    let shards = match state {
        JobState::Encoding => &entry.failed,
        _ => &entry.pending,
    };
    let shards = shards.range((TaskKind::Shard, 0)..(TaskKind::Shard, u32::MAX));
    let tasks = before.chain(after).chain(shards);
    let tasks = tasks.filter_map(|key| entry.tasks.get(key).map(AsRef::as_ref));
    let held = state == JobState::Uploading && lacks_bytes(entry);
    let tasks = tasks.filter(|task: &&Task| {
        may_start(task, entry)
            && !(held && task.kind() == TaskKind::Shard)
            && !(task.kind() == TaskKind::Assemble && elsewhere(task.number))
    });
    let mut tasks: Vec<&Task> = tasks.collect();
    tasks.sort_by_key(|task| Reverse(TaskRank::of(task)));
    tasks
}

/// Whether a shard waited in vain for bytes of a source that is uploaded. Others would
/// wait for the same, an index at the end of the file, and each in a slot.
fn lacks_bytes(entry: &JobEntry) -> bool {
    let failed = entry.failed.iter().filter_map(|key| entry.tasks.get(key));
    let shards = failed.filter(|task| task.kind() == TaskKind::Shard);
    let mut failures = shards.flat_map(|task| &task.failures);
    failures.any(|failure| failure.class() == FailureClass::OutOfReach)
}
