//! Why bytes are no entry or table of ours: one enum for the crate.

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ModelError {
    #[error("undecodable {what}: {cause}")]
    Undecodable { what: &'static str, cause: String },
    /// A later version wrote this command. The node must stop: skipping it
    /// would let replicas differ.
    #[error("a command that this version does not know")]
    UnknownCommand,
    /// A later version wrote it, with fields that this one would drop: replicas
    /// would differ. The node must stop.
    #[error("a {what} with fields that this version does not know")]
    UnknownField { what: &'static str },
    /// A row without its owner.
    #[error("row {key} is orphaned or misplaced")]
    BadRow { key: String },
}
