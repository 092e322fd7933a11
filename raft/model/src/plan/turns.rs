//! Whose turn it is: the jobs that have something to hand out, in the order in
//! which they may. A line of jobs is looked at only as far as slots go, so that
//! neither a long queue nor one that no free node can work on costs anything.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap},
};

use super::{builds::Builds, usage::Usage};
use crate::{
    home_rules::holders,
    job_entry::JobEntry,
    rows::{self, FailureClass, JobState, Task, TaskKind},
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
}

/// Jobs in their order, of which the first is next.
struct Lane<'a> {
    first: Turn<'a>,
    rest: Box<dyn Iterator<Item = &'a JobEntry> + 'a>,
    place: Place<'a>,
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
    place: Place<'a>,
    /// Its tasks, put in order only when its turn comes.
    queue: Option<Queue<'a>>,
    /// How many of its pending tasks were lost with their node. They stand at
    /// the head of its queue.
    lost: usize,
}

/// Which job is next; the least comes first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct TurnRank {
    /// It has no lost task: those had their turn already and go first.
    nothing_lost: bool,
    /// Running tasks of its tenant: fair share.
    tenant_running: u32,
    /// The oldest job of its tenant that is first in a lane. Priority gains nothing
    /// by it: what overtakes older jobs of its tenant is itself younger.
    tenant_since: u64,
    /// Its place among its tenant's.
    place: rows::Place,
}

impl<'a> Turn<'a> {
    fn new(entry: &'a JobEntry, place: Place<'a>) -> Self {
        Turn {
            entry,
            place,
            queue: None,
            lost: entry.lost().count(),
        }
    }

    fn rank(&self, usage: &Usage<'_>, since: &BTreeMap<&str, u64>) -> TurnRank {
        let job = &self.entry.job;
        let tenant_since = since.get(job.tenant.as_str()).copied();
        TurnRank {
            nothing_lost: self.lost == 0,
            tenant_running: usage.running_of(&job.tenant),
            tenant_since: tenant_since.unwrap_or(job.created_index),
            place: job.place(),
        }
    }

    /// Whether a node may be free for one of its tasks.
    fn is_open(&self, usage: &Usage<'_>, builds: &Builds<'_>) -> bool {
        let job = &self.entry.job;
        let queue = self.queue.as_ref();
        let build = queue.map_or(job.build.as_str(), |queue| queue.build);
        match kind_of(self.entry) {
            TaskKind::Assemble => usage.any_free(build, TaskKind::Assemble),
            kind => usage.any_free_but(build, kind, |node| builds.shuns(node, job)),
        }
    }

    /// Its tasks.
    pub fn queue(&mut self) -> &mut Queue<'a> {
        self.queue
            .get_or_insert_with(|| Queue::new(self.entry, self.place))
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
        let has_lost = |entry: &&JobEntry| entry.lost().next().is_some();
        let entry_of = |id: &String| state.current(id).map(AsRef::as_ref);
        let mut turns = Turns {
            builds,
            lanes: Vec::new(),
            since: BTreeMap::new(),
            heap: BinaryHeap::new(),
        };
        // Each job with a lost task is a lane of its own.
        let eventful = state.eventful().map(AsRef::as_ref);
        for entry in eventful.filter(has_lost).filter(workable) {
            if usage.any_free(&entry.job.build, kind_of(entry)) {
                turns.add(Place::Any, Box::new(std::iter::once(entry)), usage);
            }
        }
        let in_line = move |entry: &&JobEntry| !has_lost(entry) && workable(entry);
        for (node, build, jobs) in state.open().assembling() {
            let jobs = jobs.values().filter_map(entry_of);
            turns.add(
                Place::Home(node, build),
                Box::new(jobs.filter(in_line)),
                usage,
            );
        }
        for (build, jobs) in state.open().lines() {
            let jobs = jobs.values().filter_map(entry_of);
            turns.add(Place::Build(build), Box::new(jobs.filter(in_line)), usage);
        }
        let ranks = turns.lanes.iter().enumerate();
        let ranks = ranks.map(|(at, lane)| Reverse((lane.first.rank(usage, &turns.since), at)));
        turns.heap = ranks.collect::<Vec<_>>().into();
        turns
    }

    fn add(
        &mut self,
        place: Place<'a>,
        mut jobs: Box<dyn Iterator<Item = &'a JobEntry> + 'a>,
        usage: &Usage<'_>,
    ) {
        if place.is_free(usage)
            && let Some(first) = jobs.next()
        {
            let job = &first.job;
            let since = self.since.entry(job.tenant.as_str());
            let since = since.or_insert(u64::MAX);
            *since = job.created_index.min(*since);
            let first = Turn::new(first, place);
            self.lanes.push(Lane {
                first,
                rest: jobs,
                place,
            });
        }
    }

    /// The next task and whose it is.
    pub fn next(&mut self, usage: &Usage<'_>) -> Option<(&mut Turn<'a>, &'a Task)> {
        loop {
            let Reverse((rank, at)) = self.heap.pop()?;
            let lane = &mut self.lanes[at];
            let now = lane.first.rank(usage, &self.since);
            if now != rank {
                self.heap.push(Reverse((now, at)));
                continue;
            }
            // Slots are only ever taken while a plan is made.
            if !lane.place.is_free(usage) {
                continue;
            }
            let task = match lane.first.is_open(usage, self.builds) {
                true => lane.first.queue().next(),
                false => None,
            };
            if let Some(task) = task {
                let turn = &mut self.lanes[at].first;
                turn.lost = turn.lost.saturating_sub(1);
                // Its rank is looked at when it comes up.
                self.heap.push(Reverse((rank, at)));
                return Some((&mut self.lanes[at].first, task));
            }
            if let Some(next) = lane.rest.next() {
                lane.first = Turn::new(next, lane.place);
                self.heap
                    .push(Reverse((lane.first.rank(usage, &self.since), at)));
            }
        }
    }
}

/// The kind of a job's next tasks, as far as it matters for slots.
fn kind_of(entry: &JobEntry) -> TaskKind {
    match entry.job.state() {
        JobState::Assembling => TaskKind::Assemble,
        _ => TaskKind::Shard,
    }
}

/// Whether a task may be given out before its source is sealed or its plan whole.
/// What has failed by then waits for that: there may be nothing wrong with it.
fn may_begin_early(task: &Task) -> bool {
    let mut failures = task.failures.iter();
    failures.all(|failure| failure.class() == FailureClass::NodeLost)
}

/// A job's tasks that may start now, in order.
pub(super) struct Queue<'a> {
    /// The job's encoder build; empty until its first task is assigned.
    pub build: &'a str,
    tasks: BinaryHeap<Reverse<TaskRank>>,
    entry: &'a JobEntry,
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
                TaskKind::Shard => task.frames,
                _ => u64::MAX,
            }),
            kind: task.kind(),
            number: task.number,
        }
    }
}

impl<'a> Queue<'a> {
    fn new(entry: &'a JobEntry, place: Place<'a>) -> Self {
        let state = entry.job.state();
        let elsewhere = |number: u32| match place {
            Place::Home(node, _) => node != u64::from(number),
            _ => false,
        };
        let may_start = |task: &&Task| match task.kind() {
            TaskKind::Analyze if state == JobState::Uploading => may_begin_early(task),
            TaskKind::Analyze => state == JobState::Analyzing,
            TaskKind::Shard | TaskKind::Audio
                if task.early.is_some() && state != JobState::Encoding =>
            {
                may_begin_early(task)
            }
            TaskKind::Audio | TaskKind::Shard | TaskKind::Extras => state == JobState::Encoding,
            TaskKind::Assemble => state == JobState::Assembling && !elsewhere(task.number),
        };
        let tasks = entry.pending.iter();
        let tasks = tasks.filter_map(|key| entry.tasks.get(key).map(AsRef::as_ref));
        let tasks = tasks.filter(may_start);
        let ranked = tasks.map(|task| Reverse(TaskRank::of(task)));
        Queue {
            build: &entry.job.build,
            // A few are wanted of many: a heap is made in one pass.
            tasks: ranked.collect::<Vec<_>>().into(),
            entry,
        }
    }

    fn next(&mut self) -> Option<&'a Task> {
        let Reverse(TaskRank { kind, number, .. }) = self.tasks.pop()?;
        self.entry.tasks.get(&(kind, number)).map(AsRef::as_ref)
    }
}
