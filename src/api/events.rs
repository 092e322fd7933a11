//! Following many jobs and the cluster on one stream.
//!
//! A job's states come from what each replica applies, so that they have the same
//! marks on every node, and whoever has one may go on at any node. Progress and
//! the cluster's nodes are what one node knows now: they come whole, whenever
//! they change, and only the latest counts. Everything is shared by all that
//! follow; a follower itself holds a place and no queue.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, PoisonError, Weak},
};

use futures::Stream;
use reelraft_consensus::{Turn, Turns};
use reelraft_model::{JobEntry, JobState, Mark, Problem, Scope, Turned};
use tokio::{
    sync::{
        broadcast::{self, error::RecvError},
        watch,
    },
    time::{Instant, Interval, MissedTickBehavior, interval_at},
};

use super::{
    Api, ClusterStatus, Consistency, JobView, Outgoing,
    limits::{CLIENT_STALL, EVENTS_PING, PROGRESS_EVERY, PROGRESS_KEPT},
    news::{ClusterNews, Hub, JobNews, Shared},
    not_found,
};

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
    Start(u64),
    /// The same, of a client that has missed something: it should ask anew.
    Reset(u64),
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

impl Api {
    /// Follows jobs and the cluster, until the client goes.
    ///
    /// # Errors
    /// `not-found` for a chosen job that is not there or another tenant's,
    /// `too-busy`, and at the first start what keeps the cluster from reading.
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
        let follower = told(self.follower(request));
        Ok(Outgoing::new(follower, pass, self.welcome(), CLIENT_STALL))
    }

    fn follower(&self, request: EventsRequest) -> Follower {
        let hub = self.current_hub();
        let turns = self.table().turns().clone();
        let mut ping = interval_at(Instant::now() + EVENTS_PING, EVENTS_PING);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut follower = Follower {
            api: self.clone(),
            added: turns.added(),
            turns,
            mark: request.after.unwrap_or_default(),
            ready: VecDeque::new(),
            progress: hub.progress.subscribe(),
            cluster: hub.cluster.subscribe(),
            _hub: hub,
            ping,
            request,
        };
        if follower.request.after.is_none() {
            follower.begin(Event::Start);
        }
        let cluster = follower.cluster_now();
        follower.ready.push_back(cluster);
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
            progress: broadcast::Sender::new(PROGRESS_KEPT),
            cluster: watch::Sender::new(status),
        });
        *current = Arc::downgrade(&hub);
        tokio::spawn(tell(operator, Arc::downgrade(&hub)));
        hub
    }

    /// The cluster without what changes all the time. Where the leader's report is
    /// missing the nodes are as they were.
    fn cluster_news(&self, former: Option<&ClusterStatus>) -> ClusterStatus {
        let mut status = self.cluster_status(Consistency::Linearizable);
        let reported = self.context().report.nodes(|_| ()).is_some();
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

    fn job_news(&self, entry: &JobEntry) -> JobNews {
        let view = JobView::new(entry, self.context().report.job(&entry.job.id).as_ref());
        JobNews {
            shards_total: view.job.shards_total,
            shards_done: view.shards_done,
            shards_running: view.shards_running,
            frames_total: view.job.frames_total,
            frames_done: view.frames_done,
            job: view.job.id,
            tenant: view.job.tenant,
        }
    }
}

/// Looks what has changed, while there is somebody to tell.
async fn tell(api: Api, hub: Weak<Hub>) {
    let mut leadership = api.table().leadership();
    let mut told: BTreeMap<String, JobNews> = BTreeMap::new();
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
        let news: Vec<_> = state.eventful().map(|job| api.job_news(job)).collect();
        // Held no longer: the next apply would have to copy what is shared.
        drop(state);
        let mut now = BTreeMap::new();
        for news in news {
            if told.get(&news.job) != Some(&news) {
                // Nobody may be there to hear it.
                let _ = hub.progress.send(Shared::new(news.clone()));
            }
            now.insert(news.job.clone(), news);
        }
        told = now;
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
    /// Both are told as long as this is held.
    _hub: Arc<Hub>,
    ping: Interval,
}

impl Follower {
    /// Begins at what is now.
    fn begin(&mut self, how: fn(u64) -> Event) {
        let (state, applied) = self.api.table().local_at();
        self.mark = Mark::after(applied);
        self.ready.push_back(how(applied));
        let jobs = self.request.jobs.iter().filter_map(|id| state.job(id));
        let jobs = jobs.filter(|entry| {
            let job = &entry.job;
            job.state() != JobState::Deleted && self.request.wants(&job.id, &job.tenant)
        });
        let jobs = jobs.map(|entry| Event::Present(Turned::of(&entry.job)));
        self.ready.extend(jobs);
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
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            self.added.borrow_and_update();
            if self.take_turns() {
                continue;
            }
            tokio::select! {
                biased;
                changed = self.added.changed() => changed.ok()?,
                changed = self.cluster.changed() => {
                    changed.ok()?;
                    return Some(self.cluster_now());
                }
                _ = self.ping.tick() => return Some(Event::Ping(self.mark)),
                news = self.progress.recv() => match news {
                    Ok(news) if self.request.wants(&news.value.job, &news.value.tenant) => {
                        return Some(Event::Progress(news));
                    }
                    // What was missed is told again, further on.
                    Ok(_) | Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return None,
                },
            }
        }
    }
}

fn told(follower: Follower) -> impl Stream<Item = Result<Event, Problem>> {
    futures::stream::unfold(follower, |mut follower| async move {
        let event = follower.next().await?;
        Some((Ok(event), follower))
    })
}
