//! Why a spec is refused.

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// A word that names no codec, audio mode or container.
    #[error("{what} '{found}' is not known")]
    Unknown {
        what: &'static str,
        found: String,
        /// The known words.
        known: &'static str,
    },
    /// A number out of its range.
    #[error("{what} {found} is out of range")]
    OutOfRange {
        what: &'static str,
        /// As users write it.
        found: String,
        /// The range in words.
        range: &'static str,
    },
    /// A codec that the container can't hold.
    #[error("{inner} can't be stored in {container}")]
    Pair {
        /// The codec or audio mode.
        inner: &'static str,
        container: &'static str,
        hint: &'static str,
    },
    /// Two options that contradict each other.
    #[error("{wish} can't go with {other}")]
    Clash {
        wish: &'static str,
        other: String,
        hint: &'static str,
    },
}

impl SpecError {
    /// What the user could do next.
    pub fn hint(&self) -> String {
        match self {
            SpecError::Unknown { known, .. } => format!("choose one of {known}"),
            SpecError::OutOfRange { range, .. } => format!("use {range}"),
            SpecError::Pair { hint, .. } | SpecError::Clash { hint, .. } => (*hint).to_string(),
        }
    }
}
