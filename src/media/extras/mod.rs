//! Subtitles, attachments and covers.

pub(crate) mod choose;
pub(crate) mod take;
