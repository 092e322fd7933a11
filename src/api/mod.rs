//! What a client may ask of a node, free of any transport: plain functions and
//! streams over our own types, with validation, paging and the watch loop. Any
//! node answers anything.
//!
//! Writes go through the log, to the leader wherever it is; they answer from
//! this replica as soon as it has applied them. Reads are linearizable unless
//! asked otherwise. Every refusal is a [`Problem`].
//!
//! A face (gRPC, HTTP) decodes a request, calls one of these, and encodes the
//! answer.

mod attempts;
mod cluster;
mod doors;
mod jobs;
pub mod limits;
mod list;
mod outgoing;
mod outputs;
mod submit;
mod uploads;
mod views;
mod watch;

use std::sync::Arc;

use reelraft_consensus::{Cluster, ConsensusError};
use reelraft_model::{Command, JobEntry, JobState, Problem, Reply, State, spec::Spec};

pub use self::{
    attempts::{Attempt, TaskRequest, TaskView},
    cluster::{Census, Check, ClusterStatus},
    doors::{Door, Pass},
    jobs::{Page, Reference, TasksRequest},
    list::ListRequest,
    outgoing::Outgoing,
    outputs::Output,
    submit::{SubmitRequest, Submitted},
    views::JobView,
    watch::WatchEvent,
};
use self::{doors::Doors, views::Makers};
use crate::node::context::NodeContext;

/// Which state of the table answers a read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Consistency {
    /// Everything that anyone was told before.
    #[default]
    Linearizable,
    /// This node's own replica, however old. It needs no quorum.
    Local,
}

/// One node as clients see it.
#[derive(Clone)]
pub struct Api {
    context: Arc<NodeContext>,
    doors: Arc<Doors>,
}

impl Api {
    /// The functions over a node.
    pub fn new(context: Arc<NodeContext>) -> Self {
        Api {
            context,
            doors: Arc::default(),
        }
    }

    fn table(&self) -> &Cluster {
        &self.context.cluster
    }

    async fn state(&self, consistency: Consistency) -> Result<Arc<State>, Problem> {
        match consistency {
            Consistency::Local => Ok(self.table().local()),
            Consistency::Linearizable => self.table().read().await.map_err(problem),
        }
    }

    async fn entry(&self, id: &str, consistency: Consistency) -> Result<Arc<JobEntry>, Problem> {
        visible(&*self.state(consistency).await?, id)
    }

    /// A job as it is now, or as this replica has it where there is no quorum:
    /// what is finished can be read from a living home whatever else is down.
    async fn entry_or_local(&self, id: &str) -> Result<Arc<JobEntry>, Problem> {
        match self.table().read().await {
            Ok(state) => visible(&state, id),
            Err(_) => visible(&self.table().local(), id),
        }
    }

    /// Has a command applied; gives its reply and a state that has it.
    async fn apply(&self, command: Command) -> Result<(Reply, Arc<State>), Problem> {
        let committed = self.table().propose(vec![command]).await.map_err(problem)?;
        let reply = committed.replies.into_iter().next().unwrap_or_default();
        let reply = reply.accepted()?;
        let state = self.table().state_at(committed.index).await;
        Ok((reply, state.map_err(problem)?))
    }

    fn view(&self, entry: &JobEntry) -> JobView {
        let mut view = JobView::new(entry, self.context.report.job(&entry.job.id).as_ref());
        if !entry.job.state().ended() {
            let makers = self.makers(&entry.job.spec);
            view.makers = makers.map_or_else(String::new, |makers| makers.to_string());
        }
        view
    }

    /// Which nodes can make a spec; `None` where that is not known of all, and
    /// where no node lacks anything.
    fn makers(&self, spec: &Spec) -> Option<Makers> {
        let makers = self.context.report.nodes(|nodes| {
            if nodes.iter().all(|node| node.lacks.is_empty()) {
                return None;
            }
            let node = |id: u64| nodes.iter().find(|node| node.id == id);
            let members = self.table().members();
            let known: Option<Vec<_>> = members.iter().map(|member| node(member.id)).collect();
            Makers::of(&known?, spec)
        });
        makers.flatten()
    }
}

fn problem(error: ConsensusError) -> Problem {
    error.problem()
}

/// A job that exists for users: a tombstone does not.
fn visible(state: &State, id: &str) -> Result<Arc<JobEntry>, Problem> {
    state
        .job(id)
        .filter(|entry| entry.job.state() != JobState::Deleted)
        .cloned()
        .ok_or_else(|| not_found(id))
}

fn not_found(id: &str) -> Problem {
    Problem::new(
        "not-found",
        format!("there is no job {id}"),
        "see `reelraft job list`",
    )
}

fn bad_request(cause: impl Into<String>, hint: &str) -> Problem {
    Problem::new("bad-request", cause, hint)
}

/// The refusal of what a job in this state does not have yet.
fn not_yet(kind: &str, entry: &JobEntry, lacks: &str, hint: &str) -> Problem {
    let job = &entry.job;
    let cause = format!("job {} is {}{lacks}", job.id, job.state().name());
    Problem::new(kind, cause, hint)
}
