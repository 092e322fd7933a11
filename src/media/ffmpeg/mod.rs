//! How ffmpeg and ffprobe are run and understood.

pub(crate) mod args;
pub(crate) mod cancel;
pub(crate) mod encoders;
pub(crate) mod log;
pub(crate) mod process;
pub(crate) mod tools;
