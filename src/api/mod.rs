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
mod backup;
mod caller;
mod certificates;
mod cluster;
mod diagnose;
mod doors;
mod engines;
mod estimate;
mod events;
mod jobs;
mod keys;
pub mod limits;
mod links;
mod list;
mod measuring;
mod members;
pub mod metrics;
mod news;
mod outgoing;
mod outputs;
mod outside;
mod previews;
mod rates;
mod redact;
mod submit;
mod tenants;
mod upkeep;
mod uploads;
mod views;
mod watch;
mod webhooks;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use reelraft_model::{JobEntry, Problem, spec::Spec};

pub use self::{
    access::Access,
    attempts::{Attempt, TaskRequest, TaskView},
    backup::whole_backup,
    caller::{Api, Consistency, Welcome},
    certificates::{AuthorityView, CertificatesView, Rotation},
    cluster::{Census, Check},
    diagnose::Section,
    doors::{Door, Pass},
    engines::{Answered, EngineApi, EngineView, NewEngine, Registered},
    estimate::Estimate,
    events::{Begun, Event, EventsRequest},
    jobs::{Page, Reference, TasksRequest},
    keys::{CreatedKey, KeyRequest, KeysRequest, scope_of},
    links::OutputLink,
    list::ListRequest,
    measuring::MeasureView,
    members::NewToken,
    news::{ClusterStatus, JobNews},
    outgoing::Outgoing,
    outputs::Output,
    submit::{SubmitRequest, Submitted},
    tenants::TenantView,
    upkeep::ScrubBegun,
    views::{JobView, RateView},
    watch::WatchEvent,
    webhooks::WebhookView,
};
use self::{
    caller::{not_found, problem},
    views::Makers,
};

impl Api {
    fn view(&self, entry: &JobEntry) -> JobView {
        let mut view = JobView::new(entry, self.context().report.job(&entry.job.id).as_ref());
        if !entry.job.state().ended() {
            let makers = self.makers(&entry.job.spec);
            view.makers = makers.map_or_else(String::new, |makers| makers.to_string());
        }
        view
    }

    /// Jobs, each with its place in its tenant's line, where it waits.
    fn views(&self, entries: &[Arc<JobEntry>]) -> Vec<JobView> {
        let waits = |entry: &JobEntry| entry.running.is_empty() && !entry.pending.is_empty();
        let waiting = entries.iter().filter(|entry| waits(entry));
        let tenants: BTreeSet<&str> = waiting.map(|entry| entry.job.tenant.as_str()).collect();
        let state = self.table().local();
        let lines = tenants
            .into_iter()
            .flat_map(|tenant| (1..).zip(state.line_of(tenant)));
        let places: BTreeMap<&str, u32> = lines.map(|(place, job)| (job, place)).collect();
        let view = |entry: &Arc<JobEntry>| {
            let mut view = self.view(entry);
            let place = places.get(entry.job.id.as_str()).filter(|_| waits(entry));
            view.queue_position = place.copied().unwrap_or_default();
            view
        };
        entries.iter().map(view).collect()
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

fn bad_request(cause: impl Into<String>, hint: &str) -> Problem {
    Problem::new("bad-request", cause, hint)
}

/// The refusal of what a job in this state does not have yet.
fn not_yet(kind: &str, entry: &JobEntry, lacks: &str, hint: &str) -> Problem {
    let job = &entry.job;
    let cause = format!("job {} is {}{lacks}", job.id, job.state().name());
    Problem::new(kind, cause, hint)
}
