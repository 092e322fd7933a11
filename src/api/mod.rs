//! What a client may ask of a node, free of any transport: plain functions and
//! streams over our own types, with validation, paging and the watch loop. Any
//! node answers anything.
//!
//! Writes go through the log, to the leader wherever it is; they answer from
//! this replica as soon as it has applied them. Reads are linearizable unless
//! asked otherwise. Every refusal is a [`Problem`].
//!
//! A face (gRPC, HTTP) decodes a request, has [`Access`] say who asks, calls a
//! function of [`Api`], and encodes the answer.

mod access;
mod attempts;
mod caller;
mod cluster;
mod doors;
mod jobs;
mod keys;
pub mod limits;
mod list;
mod outgoing;
mod outputs;
mod rates;
mod submit;
mod tenants;
mod uploads;
mod views;
mod watch;

use reelraft_consensus::ConsensusError;
use reelraft_model::{JobEntry, Problem, spec::Spec};

use self::views::Makers;
pub use self::{
    access::Access,
    attempts::{Attempt, TaskRequest, TaskView},
    caller::{Api, Welcome},
    cluster::{Census, Check, ClusterStatus},
    doors::{Door, Pass},
    jobs::{Page, Reference, TasksRequest},
    keys::{CreatedKey, KeyRequest, KeysRequest},
    list::ListRequest,
    outgoing::Outgoing,
    outputs::Output,
    submit::{SubmitRequest, Submitted},
    tenants::TenantView,
    views::JobView,
    watch::WatchEvent,
};

/// Which state of the table answers a read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Consistency {
    /// Everything that anyone was told before.
    #[default]
    Linearizable,
    /// This node's own replica, however old. It needs no quorum.
    Local,
}

impl Api {
    fn view(&self, entry: &JobEntry) -> JobView {
        let mut view = JobView::new(entry, self.context().report.job(&entry.job.id).as_ref());
        if !entry.job.state().ended() {
            let makers = self.makers(&entry.job.spec);
            view.makers = makers.map_or_else(String::new, |makers| makers.to_string());
        }
        view
    }

    /// Which nodes can make a spec; `None` where that is not known of all, and
    /// where no node lacks anything.
    fn makers(&self, spec: &Spec) -> Option<Makers> {
        let makers = self.context().report.nodes(|nodes| {
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
