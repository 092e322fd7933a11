//! Subtitles, attachments and covers.

pub(crate) mod take;
