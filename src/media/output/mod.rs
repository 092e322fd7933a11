//! Assembles the output file and proves it.

pub(crate) mod args;
pub(crate) mod assemble;
pub(crate) mod checks;
pub(crate) mod covers;
pub(crate) mod join;
pub(crate) mod last_packets;
pub(crate) mod measure;
pub(crate) mod notes;
pub(crate) mod preview;
pub(crate) mod proof;
pub(crate) mod rate_header;
