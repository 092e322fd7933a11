//! What the cluster agrees on: commands, state, `apply`, `plan`, `check`.
//!
//! Pure by rule: no I/O, no clock, no async, no randomness, no floats, no hash
//! maps. Everything is a function of its arguments, so that replicas agree and
//! a whole cluster can be replayed.

mod anew;
mod apply;
mod attempts;
mod authorities;
pub mod check;
mod command;
mod deliveries;
mod early;
mod engine_rows;
mod engines;
mod entry;
mod error;
mod failure;
mod fold;
mod held_index;
pub mod home_rules;
mod housekeeping;
mod invitation;
mod job_entry;
mod job_id;
mod job_index;
mod kept_parts;
mod keys;
pub mod limits;
mod line;
mod made_before;
mod made_parts;
mod measurement;
mod measuring;
mod member_commands;
mod members;
mod node_rows;
mod open_index;
mod output_index;
mod outside;
mod pages;
mod past;
mod place;
pub mod plan;
mod problem;
mod rate;
mod rate_row;
mod reply;
mod restored;
mod retry;
mod reuse;
mod row_parts;
mod rows;
mod shard_range;
pub mod spec;
mod state;
mod summary;
mod table_rows;
mod task_counts;
mod token;
mod tokens;
mod tombstones;
mod turned;
mod twin;

pub use authorities::{Authorities, Authority, SetAuthorities};
pub use command::*;
pub use early::*;
pub use engine_rows::{
    Claim, CreateEngine, ENGINE_ID_MIN, Engine, EngineShare, Quarantine, RevokeEngine,
    engine_number, is_engine, worker_words,
};
pub use engines::{ENGINE_TOKEN_PREFIX, EngineText, engine_digest};
pub use entry::Entry;
pub use error::ModelError;
pub use fold::{History, HistoryBlob, foldable_at_once};
pub use housekeeping::*;
pub use invitation::Invited;
pub use job_entry::JobEntry;
pub use job_id::job_id;
pub use job_index::TenantCount;
pub use kept_parts::{DropParts, KeptPart, KeptParts};
pub use keys::*;
pub use measurement::Measurement;
pub use measuring::{EndMeasure, MeasureJob, SOURCE_GONE, source_gone};
pub use member_commands::*;
pub use members::{SomeJobs, check_address};
pub use output_index::Kept;
pub use outside::*;
pub use rate_row::Rate;
pub use restored::{BackupBlobs, BackupMedia, InBackup, NamedJob, Restored, RestoredOn};
pub use retry::*;
pub use reuse::*;
pub use rows::*;
pub use state::{Applied, State};
pub use summary::{KindSummary, Summary};
pub use task_counts::TaskCounts;
pub use token::{TOKEN_PREFIX, TokenText, token_digest};
pub use turned::{Mark, Turned};
pub use twin::Twin;
