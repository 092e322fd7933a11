//! Selects subtitles, attachments and covers, and takes them out of the source.

pub(crate) mod choose;
pub(crate) mod cues;
pub(crate) mod in_turn;
pub(crate) mod take;
