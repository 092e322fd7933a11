//! How answers look: tables for people, JSON for programs, progress on
//! standard error. Almost all of it is pure, from messages to text; only
//! [`screen`] and [`report`] write. Nothing here asks a node.

pub mod format;
pub mod json;
pub mod measured;
pub mod progress;
pub mod report;
pub mod screen;
pub mod table;

/// What `-o` chooses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// For people; may change.
    #[default]
    Table,
    /// One line of JSON with a stable schema.
    Json,
}
