//! Selects subtitles, attachments and covers, and takes them out of the source.

pub(crate) mod choose;
pub(crate) mod take;
