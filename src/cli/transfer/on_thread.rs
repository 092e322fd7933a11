//! Work that may wait for a disk, on a thread of its own: the connection's
//! pings, the progress bar and Ctrl-C go on meanwhile.

use crate::error::CliError;

/// Runs `work` where it may block; `what` names it if it panics.
///
/// # Errors
/// [`CliError::Local`] if it panicked.
pub async fn on_thread<T: Send + 'static>(
    what: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, CliError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| CliError::Local {
            what: format!("{what} failed"),
            cause: error.to_string(),
            hint: "try again".into(),
        })
}
