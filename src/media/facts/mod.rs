//! What is known: types that pass between steps and are stored, and pure functions of them.

pub(crate) mod color;
pub(crate) mod file_metadata;
pub(crate) mod index;
pub(crate) mod labels;
pub(crate) mod record;
pub(crate) mod report;
pub(crate) mod times;
