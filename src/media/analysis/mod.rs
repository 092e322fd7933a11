//! Analyzes a source: what it is, what the job takes from it, and how it is
//! cut.

pub(crate) mod analyze;
pub(crate) mod args;
pub(crate) mod clean_keys;
pub(crate) mod color;
pub(crate) mod early;
pub(crate) mod first_frame;
pub(crate) mod left_out;
pub(crate) mod one_pass;
pub(crate) mod packet;
pub(crate) mod packets;
pub(crate) mod picture;
pub(crate) mod planner;
pub(crate) mod probe;
pub(crate) mod select;
pub(crate) mod shard_length;
pub(crate) mod side_data;
pub(crate) mod timecode;
