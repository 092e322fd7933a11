//! What an output is worth. One program each for its bytes over many options
//! (`output_hashes`), for its quality where two shards meet (`joints`), and for how near it comes
//! to a size or quality that was asked for (`aims`). What it
//! costs is measured by `examples/speed`.
//!
//! Here is what `output_hashes` is made of: small clips that come out the same
//! on every run, the jobs to do with them, and the row that one job gives; and the
//! films of the other two.

pub mod cases;
pub mod clips;
pub mod films;
pub mod row;
