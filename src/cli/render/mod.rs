//! How answers look: tables for people, JSON for programs. Pure functions from
//! messages to text; nothing here asks or prints.

pub mod json;
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
