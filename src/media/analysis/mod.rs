//! What a source is and how it is cut.

pub(crate) mod analyze;
pub(crate) mod packets;
pub(crate) mod planner;
pub(crate) mod probe;
