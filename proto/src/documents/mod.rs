//! Jobs, tasks and nodes as JSON documents: what `-o json` prints and what the
//! HTTP port answers. Stable: fields are added, never renamed or removed.
//!
//! docs/json.md describes every document and field to users; a test of the
//! client holds it to the types here.

mod access;
mod certificates;
mod cluster;
mod engines;
mod events;
mod field;
mod job;
mod outside;
mod spec;
mod spec_options;
mod task;
mod words;

pub use access::{CreatedKey, Key, KeyList, Tenant};
pub use certificates::{Certificates, NodeCertificate};
pub use cluster::{
    Changed, Leader, LeaderTransferred, Node, NodeLevel, Nodes, ScrubBegun, Status, Token, Upgrade,
};
pub use engines::{CreatedEngine, Engine, EngineList};
pub use events::{ClusterNews, JobProgress, JobTurn, NodeNews};
pub use field::speed;
pub use job::{Event, Home, Job, JobList, Problem, Reference, Submitted};
pub use outside::{Delivery, DeliveryAttempt, DeliveryList, Webhook};
pub use spec::Spec;
pub use spec_options::spec_options;
pub use task::{Attempt, Task, TaskDetails, TaskList};
pub use words::{crop_option, fps_fraction, job_state, milli, pad_option, task_state};
