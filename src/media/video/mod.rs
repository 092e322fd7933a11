//! Encodes the video: time bases, grid, filters, arguments, and the checks of
//! each shard.

pub(crate) mod args;
pub(crate) mod complaints;
pub(crate) mod encoder;
pub(crate) mod filter_clock;
pub(crate) mod filters;
pub(crate) mod frame_checker;
pub(crate) mod grid;
mod key;
pub(crate) mod keyframes;
pub(crate) mod measure;
mod memory;
pub(crate) mod picture;
pub(crate) mod rate;
pub(crate) mod seam;
pub(crate) mod shard;
pub(crate) mod shard_check;
pub(crate) mod timing;
