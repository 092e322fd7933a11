//! Selects, measures and encodes audio tracks.

pub(crate) mod args;
pub(crate) mod encode;
pub(crate) mod filters;
mod key;
pub(crate) mod loudness;
pub(crate) mod tracks;
