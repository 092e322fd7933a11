//! What can go wrong with certificates.

use std::path::PathBuf;

/// Why there is no certificate, or why one can't be used.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// A file can't be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file or a message has something else in it than it should.
    #[error("{what} {cause}")]
    Bad {
        /// What.
        what: String,
        /// What is wrong with it.
        cause: String,
    },
    /// The library makes or takes no such certificate.
    #[error("no certificate: {0}")]
    Make(#[from] rcgen::Error),
    /// TLS can't be set up with it.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
}

impl TrustError {
    /// Something that can't be used, and why.
    pub fn bad(what: impl Into<String>, cause: impl Into<String>) -> Self {
        TrustError::Bad {
            what: what.into(),
            cause: cause.into(),
        }
    }
}
