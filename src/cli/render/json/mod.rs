//! The JSON of `-o json`: the documents of `reelraft_proto::documents`, a line
//! each, and that of an error.

mod error;
mod file;
mod line;
#[cfg(test)]
mod tests;

pub use error::Document as ErrorDocument;
pub use file::Document as FileDocument;
pub use line::{line, value};
