//! Following many jobs and the cluster on one stream.
//!
//! A job's states come from what each replica applies, so that they have the same
//! marks on every node, and whoever has one may go on at any node. Progress and
//! the cluster's nodes are what one node knows now: they come whole, whenever
//! they change, and only the latest counts. Everything is shared by all that
//! follow; a follower itself holds a place and no queue.

use std::{
    collections::VecDeque,
    sync::{Arc, PoisonError, Weak},
};

use futures::Stream;
use reelraft_consensus::{ConsensusError, Leadership, Turn, Turns};
use reelraft_model::{JobEntry, JobState, Mark, Problem, Scope, Turned};
use tokio::{
    sync::{
        broadcast::{self, error::RecvError},
        watch,
    },
    time::{Instant, Interval, MissedTickBehavior, interval_at, timeout_at},
};

use super::{
    Api, ClusterStatus, Consistency, Outgoing,
    estimate::estimate,
    limits::{CLIENT_STALL, EVENTS_PING, PROGRESS_EVERY},
    news::{ClusterNews, Hub, JobNews, Look, Progress, Shared},
    not_found, problem,
    views::{Counted, counted},
};
use crate::{clock::unix_ms, limits::WATCH_LEADERLESS};

/// Whose events to send.
#[derive(Clone, Debug, Default)]
pub struct EventsRequest {
    /// Of this tenant's jobs alone; none: of all that the caller sees.
    pub tenant: Option<String>,
    /// Of these jobs alone; empty: of all.
    pub jobs: Vec<String>,
    /// What the client has seen already.
    pub after: Option<Mark>,
}

impl EventsRequest {
    fn wants(&self, job: &str, tenant: &str) -> bool {
        let chosen = self.jobs.is_empty() || self.jobs.iter().any(|wanted| wanted == job);
        chosen && self.tenant.as_deref().is_none_or(|own| own == tenant)
    }
}

/// What is told.
#[derive(Clone, Debug)]
pub enum Event {
    /// Everything up to this entry is in what can be asked for now.
    Start(Begun),
    /// The same, of a client that has missed something: it should ask anew.
    Reset(Begun),
    /// A job that was chosen, as it is at the start.
    Present(Turned),
    /// A job came into a state.
    Turn(Arc<Turn>),
    Progress(Arc<Shared<JobNews>>),
    /// Who leads, and which nodes there are.
    Cluster(Arc<Shared<ClusterStatus>>),
    /// Nothing more up to this mark.
    Ping(Mark),
}

/// Where a stream begins.
#[derive(Clone, Copy, Debug)]
pub struct Begun {
    pub index: u64,
    /// Whether all of the beginning has been told with this. Where jobs were chosen,
    /// they come after it, and a ping with the mark behind them.
    pub whole: bool,
}

impl Api {
    /// Follows jobs and the cluster, until the client goes or no leader has been
    /// known for [`WATCH_LEADERLESS`].
    ///
    /// # Errors
    /// `not-found` for a chosen job that is not there or another tenant's,
    /// `too-busy`, `no-leader`, and what else keeps the cluster from reading.
    pub async fn events(&self, mut request: EventsRequest) -> Result<Outgoing<Event>, Problem> {
        let named = request.tenant.take().unwrap_or_default();
        let tenant = self.tenant(Scope::Read, &named)?;
        request.tenant = Some(tenant.to_string()).filter(|tenant| !tenant.is_empty());
        if request.after.is_none() {
            for id in &request.jobs {
                let entry = self.entry(Scope::Read, id, Consistency::Linearizable);
                if !request.wants(id, &entry.await?.job.tenant) {
                    return Err(not_found(id));
                }
            }
        }
        let pass = self.doors().events.enter(1)?;
        let ahead = self.is_ahead(request.after);
        if ahead || self.table().leadership().borrow().leader.is_none() {
            self.table().read().await.map_err(problem)?;
        }
        // What is ahead of all that the cluster has agreed on is not of this log.
        let foreign = ahead && self.is_ahead(request.after);
        if foreign {
            request.after = Some(Mark::default());
        }
        let follower = told(self.follower(request));
        Ok(Outgoing::new(follower, pass, self.welcome(), CLIENT_STALL))
    }

    /// Whether a mark is of an entry that this replica has not applied.
    fn is_ahead(&self, mark: Option<Mark>) -> bool {
        let applied = self.table().local_at().1;
        mark.is_some_and(|mark| mark.index > applied)
    }

    fn follower(&self, request: EventsRequest) -> Follower {
        let hub = self.current_hub();
        let (latest, progress) = hub.progress.join();
        let turns = self.table().turns().clone();
        let mut ping = interval_at(Instant::now() + EVENTS_PING, EVENTS_PING);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut follower = Follower {
            api: self.clone(),
            added: turns.added(),
            turns,
            mark: request.after.unwrap_or_default(),
            ready: VecDeque::new(),
            progress,
            cluster: hub.cluster.subscribe(),
            leadership: self.table().leadership(),
            leaderless_since: None,
            hub,
            ping,
            request,
        };
        if follower.request.after.is_none() {
            follower.begin(Event::Start);
        }
        let cluster = follower.cluster_now();
        follower.ready.push_back(cluster);
        follower.add_progress(latest);
        follower
    }

    /// The hub of all that follow now.
    fn current_hub(&self) -> Arc<Hub> {
        // Nothing is left half-done while it is held.
        let mut current = self.hub().0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(hub) = current.upgrade() {
            return hub;
        }
        let operator = self.as_operator();
        let status = ClusterNews::new(operator.cluster_news(None));
        let hub = Arc::new(Hub {
            progress: Progress::new(),
            cluster: watch::Sender::new(status),
        });
        *current = Arc::downgrade(&hub);
        tokio::spawn(tell(operator, Arc::downgrade(&hub)));
        hub
    }

    /// The cluster without what changes all the time. Where the leader's report is
    /// missing the nodes are as they were.
    fn cluster_news(&self, former: Option<&ClusterStatus>) -> ClusterStatus {
        let nodes = self.context().report.nodes(<[_]>::to_vec);
        let reported = nodes.is_some();
        let mut status = self.status_from(nodes.unwrap_or_default());
        status.applied_index = 0;
        status.election_timeout_ms = 0;
        for node in &mut status.nodes {
            let known = former.and_then(|former| former.nodes.iter().find(|it| it.id == node.id));
            if let Some(known) = known.filter(|_| !reported) {
                node.reachable = known.reachable;
                node.trouble.clone_from(&known.trouble);
            }
            node.load_milli = 0;
            node.slots_busy = 0;
            node.disk_free_bytes = 0;
            node.disk_total_bytes = 0;
            node.room_bytes = 0;
            node.applied_index = 0;
        }
        status
    }

    fn look(&self, entry: &JobEntry) -> Look {
        let report = self.context().report.job(&entry.job.id);
        let Counted {
            shards_done,
            shards_running,
            frames_done,
        } = counted(entry, report.as_ref());
        let job = &entry.job;
        let news = JobNews {
            job: job.id.clone(),
            tenant: job.tenant.clone(),
            shards_total: job.shards_total,
            shards_done,
            shards_running,
            frames_total: job.frames_total,
            frames_done,
            estimate: estimate(entry, frames_done, report.as_ref(), unix_ms()),
        };
        let reported = report.is_some_and(|report| !report.running.is_empty());
        Look { news, reported }
    }
}

/// Looks what has changed, while there is somebody to tell.
async fn tell(api: Api, hub: Weak<Hub>) {
    let mut leadership = api.table().leadership();
    loop {
        let stopped = tokio::select! {
            changed = leadership.changed() => changed.is_err(),
            () = tokio::time::sleep(PROGRESS_EVERY) => false,
        };
        let Some(hub) = hub.upgrade().filter(|_| !stopped) else {
            return;
        };
        let former = hub.cluster.borrow().whole.clone();
        let status = api.cluster_news(Some(&former.value));
        if status != former.value {
            hub.cluster.send_replace(ClusterNews::new(status));
        }
        let state = api.table().local();
        let now = state.eventful().map(|job| api.look(job)).collect();
        // Held no longer: the next apply would have to copy what is shared.
        drop(state);
        hub.progress.tell(now, |id| {
            let entry = api.table().local().job(id)?;
            (entry.job.state() != JobState::Deleted).then(|| api.look(&entry))
        });
    }
}

/// One that follows.
struct Follower {
    api: Api,
    request: EventsRequest,
    turns: Turns,
    added: watch::Receiver<u64>,
    /// How far it was told of turns.
    mark: Mark,
    /// What comes next; a few at most.
    ready: VecDeque<Event>,
    progress: broadcast::Receiver<Arc<Shared<JobNews>>>,
    cluster: watch::Receiver<ClusterNews>,
    leadership: watch::Receiver<Leadership>,
    /// None while a leader is known.
    leaderless_since: Option<Instant>,
    /// Progress and the cluster are told as long as this is held.
    hub: Arc<Hub>,
    ping: Interval,
}

impl Follower {
    /// Begins at what is now.
    fn begin(&mut self, how: fn(Begun) -> Event) {
        let (state, index) = self.api.table().local_at();
        self.mark = Mark::after(index);
        let whole = self.request.jobs.is_empty();
        self.ready.push_back(how(Begun { index, whole }));
        let jobs = self.request.jobs.iter().filter_map(|id| state.job(id));
        let jobs = jobs.filter(|entry| {
            let job = &entry.job;
            job.state() != JobState::Deleted && self.request.wants(&job.id, &job.tenant)
        });
        let jobs = jobs.map(|entry| Event::Present(Turned::of(&entry.job)));
        self.ready.extend(jobs);
        if !whole {
            self.ready.push_back(Event::Ping(self.mark));
        }
    }

    fn add_progress(&mut self, latest: Vec<Arc<Shared<JobNews>>>) {
        let wanted =
            |news: &Arc<Shared<JobNews>>| self.request.wants(&news.value.job, &news.value.tenant);
        let wanted = latest.into_iter().filter(wanted).map(Event::Progress);
        self.ready.extend(wanted);
    }

    fn cluster_now(&mut self) -> Event {
        let news = self.cluster.borrow_and_update();
        Event::Cluster(match self.api.sees_all() {
            true => news.whole.clone(),
            false => news.short.clone(),
        })
    }

    /// Takes the turns that follow; whether there may be more at once.
    fn take_turns(&mut self) -> bool {
        let Some(taken) = self.turns.after(self.mark) else {
            self.begin(Event::Reset);
            return true;
        };
        self.mark = taken.next;
        let any = !taken.turns.is_empty();
        let wanted = |turn: &Arc<Turn>| self.request.wants(&turn.job.job, &turn.job.tenant);
        let wanted = taken.turns.into_iter().filter(wanted).map(Event::Turn);
        self.ready.extend(wanted);
        any
    }

    /// The next event; none once the node has ended.
    ///
    /// # Errors
    /// `no-leader` once none has been known for [`WATCH_LEADERLESS`].
    async fn next(&mut self) -> Result<Option<Event>, Problem> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(Some(event));
            }
            self.added.borrow_and_update();
            if self.take_turns() {
                continue;
            }
            tokio::select! {
                biased;
                lost = lost(&mut self.leadership, &mut self.leaderless_since) => {
                    return lost.map_or(Ok(None), |lost| Err(problem(lost)));
                }
                changed = self.added.changed() => if changed.is_err() {
                    return Ok(None);
                },
                changed = self.cluster.changed() => {
                    return Ok(changed.ok().map(|()| self.cluster_now()));
                }
                _ = self.ping.tick() => return Ok(Some(Event::Ping(self.mark))),
                news = self.progress.recv() => match news {
                    Ok(news) if self.request.wants(&news.value.job, &news.value.tenant) => {
                        return Ok(Some(Event::Progress(news)));
                    }
                    Ok(_) => {}
                    Err(RecvError::Lagged(_)) => {
                        let (latest, progress) = self.hub.progress.join();
                        self.progress = progress;
                        self.add_progress(latest);
                    }
                    Err(RecvError::Closed) => return Ok(None),
                },
            }
        }
    }
}

/// Waits until no leader has been known for [`WATCH_LEADERLESS`]; none where the
/// node has ended.
async fn lost(
    leadership: &mut watch::Receiver<Leadership>,
    since: &mut Option<Instant>,
) -> Option<ConsensusError> {
    loop {
        if leadership.borrow_and_update().leader.is_some() {
            *since = None;
            leadership.changed().await.ok()?;
            continue;
        }
        let since = *since.get_or_insert_with(Instant::now);
        match timeout_at(since + WATCH_LEADERLESS, leadership.changed()).await {
            Ok(changed) => changed.ok()?,
            Err(_) => {
                let waited_ms = since.elapsed().as_millis() as u64;
                return Some(ConsensusError::NoLeader { waited_ms });
            }
        }
    }
}

fn told(follower: Follower) -> impl Stream<Item = Result<Event, Problem>> {
    futures::stream::try_unfold(follower, |mut follower| async move {
        let event = follower.next().await?;
        Ok(event.map(|event| (event, follower)))
    })
}
