//! The HTTP port of a node: each handler decodes, calls `api`, and encodes. Any
//! node answers anything. What a job, a task or a node looks like as JSON is
//! said in `reelraft_proto::documents` and docs/json.md, and the options of a
//! job are those of the command line, by the same names.
//!
//! ```text
//! server (connections) -> router -> access, counts, openapi, page (its files are in web/)
//!                                '-> fellows (pages of other nodes)
//!   '-> jobs -> events     keys, webhooks, health, metrics
//!       tus -> checksum, tails, sources     transcode -> sources, outputs -> ranges
//!         '-> faces, request (what comes in), documents, refusal (what goes out)
//! ```

mod access;
mod checksum;
mod counts;
mod documents;
mod engine_tasks;
mod engines;
mod events;
mod faces;
mod fellows;
mod health;
mod jobs;
mod keys;
pub mod limits;
mod measures;
mod members;
mod metrics;
mod openapi;
mod outputs;
mod page;
mod pictures;
mod previews;
mod ranges;
mod refusal;
mod request;
mod router;
pub mod server;
mod sources;
mod spec;
mod spec_check;
mod spec_schema;
mod tails;
mod transcode;
mod tus;
mod webhooks;

pub use self::{
    faces::Port,
    router::{document, router},
};
